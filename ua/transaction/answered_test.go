package transaction

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gosipua/gosipua/transport"
)

func newAnswered(limit int) *answered {
	start := time.Now()
	a := new(answered)
	a.init(func() instant { return time.Since(start) }, limit)
	return a
}

func TestAnsweredUntilTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnswered(1000)
		f := newFakeFlow(transport.UDP)
		for i := range 300 { // of several blocks
			a.keep(answer{key: key(1 + i), branch: key(10_000 + i), flow: f, raw: fmt.Append(nil, i)}, 32*time.Second)
			time.Sleep(100 * time.Millisecond)
		}
		for i := range 300 {
			if e, ok := a.find(key(1 + i)); !ok || e.flow != flow(f) || string(e.raw) != fmt.Sprint(i) || e.branch != key(10_000+i) {
				t.Fatalf("find(%d): %+v %v", 1+i, e, ok)
			}
		}
		for i := range 300 {
			// The time is 30 s; the i-th ends at 32 s + i*100 ms.
			time.Sleep(time.Duration(i)*100*time.Millisecond + 32*time.Second - time.Nanosecond - a.now())
			if _, ok := a.find(key(1 + i)); !ok {
				t.Fatalf("answer %d is gone too early", i)
			}
			time.Sleep(time.Nanosecond)
			if _, ok := a.find(key(1 + i)); ok {
				t.Fatalf("answer %d is still there", i)
			}
		}
		time.Sleep(sweepEvery)
		synctest.Wait()
		if a.len() != 0 || a.head != nil || a.tail != nil || len(a.index) != 0 || a.timer != nil {
			t.Errorf("left behind: %d answers, index of %d, head %v, timer %v", a.len(), len(a.index), a.head, a.timer)
		}
		a.keep(answer{key: 1, raw: []byte("again")}, time.Second)
		if e, _ := a.find(1); string(e.raw) != "again" {
			t.Errorf("find after it was empty: %q", e.raw)
		}
		a.close()
		if a.len() != 0 {
			t.Error("not empty after close")
		}
	})
}

func TestAnsweredDropsTheOldestWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnswered(100)
		defer a.close()
		for i := range 250 {
			a.keep(answer{key: key(1 + i)}, time.Minute)
		}
		if a.len() != 100 {
			t.Errorf("%d kept, want 100", a.len())
		}
		for i := range 250 {
			if _, ok := a.find(key(1 + i)); ok != (i >= 150) {
				t.Fatalf("find(%d) = %v", 1+i, ok)
			}
		}
	})
}

// The same request may be answered a second time when the first answer is past
// its time but not yet removed; that must not take the second with it.
func TestAnsweredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnswered(2)
		defer a.close()
		a.keep(answer{key: 1, raw: []byte("first")}, time.Minute)
		a.keep(answer{key: 1, raw: []byte("second")}, time.Minute)
		a.keep(answer{key: 2, raw: []byte("other")}, time.Minute) // drops the first
		if e, _ := a.find(1); string(e.raw) != "second" {
			t.Errorf("found %q, want the second", e.raw)
		}
	})
}
