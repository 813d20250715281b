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
			a.keep(key(1+i), key(10_000+i), f, fmt.Append(nil, i), 32*time.Second)
			time.Sleep(100 * time.Millisecond)
		}
		for i := range 300 {
			for _, k := range []key{key(1 + i), key(10_000 + i)} {
				if raw, got := a.find(k); got != flow(f) || raw != fmt.Sprint(i) {
					t.Fatalf("find(%d): %q %v", k, raw, got)
				}
			}
		}
		for i := range 300 {
			// The time is 30 s; the i-th ends at 32 s + i*100 ms.
			time.Sleep(time.Duration(i)*100*time.Millisecond + 32*time.Second - time.Nanosecond - a.now())
			if raw, _ := a.find(key(1 + i)); raw != fmt.Sprint(i) {
				t.Fatalf("answer %d is gone too early", i)
			}
			time.Sleep(time.Nanosecond)
			if _, f := a.find(key(1 + i)); f != nil {
				t.Fatalf("answer %d is still there", i)
			}
		}
		time.Sleep(sweepEvery)
		synctest.Wait()
		if a.len() != 0 || a.head != nil || a.tail != nil || len(a.index) != 0 || a.timer != nil {
			t.Errorf("left behind: %d answers, index of %d, head %v, timer %v", a.len(), len(a.index), a.head, a.timer)
		}
		a.keep(1, 0, f, []byte("again"), time.Second)
		if raw, _ := a.find(1); raw != "again" {
			t.Errorf("find after it was empty: %q", raw)
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
		f := newFakeFlow(transport.UDP)
		for i := range 250 {
			a.keep(key(1+i), 0, f, fmt.Append(nil, i), time.Minute)
		}
		if a.len() != 100 {
			t.Errorf("%d kept, want 100", a.len())
		}
		for i := range 250 {
			if _, got := a.find(key(1 + i)); (got != nil) != (i >= 150) {
				t.Fatalf("find(%d) = %v", 1+i, got)
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
		f := newFakeFlow(transport.UDP)
		a.keep(1, 11, f, []byte("first"), time.Minute)
		a.keep(1, 11, f, []byte("second"), time.Minute)
		a.keep(2, 0, f, []byte("other"), time.Minute) // drops the first
		for _, k := range []key{1, 11} {
			if raw, _ := a.find(k); raw != "second" {
				t.Errorf("find(%d) = %q, want the second", k, raw)
			}
		}
	})
}
