package ifwatch

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestResync(t *testing.T) {
	inBubble(t, "overflow", testOverflow)
	inBubble(t, "what was dropped after the report of an overflow", testDeafAfterOverflow)
	inBubble(t, "an address fails DAD in the queue of an overflow", testGoneInOverflow)
	inBubble(t, "overflow while everything is read", testOverflowInResync)
	inBubble(t, "a drop that is not reported", testUnreportedDrop)
	inBubble(t, "the host was suspended", testSuspend)
	inBubble(t, "the host was suspended and nothing changed", testSuspendOnly)
	inBubble(t, "a change while its link is being read", testChangeInDump)
	inBubble(t, "a reading is interrupted", testInterrupted)
	inBubble(t, "all readings are interrupted", testInterruptedForLong)
	inBubble(t, "the kernel takes its time", testSlowDump)
}

// convergence is how long after the last change everything has to be right again, however many events were lost.
const convergence = 50 * time.Millisecond

func testOverflow(t *testing.T, k *fakeKernel, w *Watcher) {
	k.rig(func() { k.capacity = 20 })
	k.burst("2001:db8::%x/64", 1000)
	k.deleteAddr(address(2, "2001:db8::5/64"))
	time.Sleep(convergence)
	k.check(t, w)
	if s := w.Stats(); s.Overflows == 0 || s.Resyncs < 2 {
		t.Errorf("%d overflows and %d resyncs: the test has tested nothing", s.Overflows, s.Resyncs)
	}
}

func testDeafAfterOverflow(t *testing.T, k *fakeKernel, w *Watcher) {
	// The change happens after the dump of its link, and the kernel, still congested, does not report it. Only a
	// follower that empties the queue before it dumps hears of it.
	k.rig(func() { k.capacity = 5 })
	k.onDump(5, func() { k.setAddr(address(2, "2001:db8::ffff/64")) })
	k.burst("2001:db8::%x/64", 10)
	time.Sleep(convergence)
	k.check(t, w)
}

func testGoneInOverflow(t *testing.T, k *fakeKernel, w *Watcher) {
	k.rig(func() { k.capacity = 5 })
	k.burst("2001:db8:1::%x/64", 10, addrEvent(unix.RTM_DELADDR, address(2, global, Tentative, DADFailed)))
	time.Sleep(convergence)
	k.check(t, w)
	if s := w.Current(); len(s.Gone) != 1 {
		t.Errorf("gone: %v", s.Gone)
	}
}

func testOverflowInResync(t *testing.T, k *fakeKernel, w *Watcher) {
	bursts := 0
	k.rig(func() {
		k.capacity = 5
		k.dumping = func() {
			if bursts++; bursts > 30 {
				return
			}
			k.burst(fmt.Sprintf("2001:db8:%x::%%x/64", bursts), 10)
		}
	})
	k.burst("2001:db8::%x/64", 10)
	time.Sleep(time.Second)
	k.check(t, w)
	if bursts <= 30 {
		t.Errorf("%d bursts", bursts)
	}
}

// testUnreportedDrop: the counter is asked, too.
func testUnreportedDrop(t *testing.T, k *fakeKernel, w *Watcher) {
	k.suspend(time.Hour) // makes it read everything
	k.onDump(5, func() { // the last one
		k.setSilently(address(1, "192.0.2.53/32"))
		k.rig(func() { k.dropped++ })
	})
	time.Sleep(wake + convergence)
	k.check(t, w)
}

func testSuspendOnly(t *testing.T, k *fakeKernel, w *Watcher) {
	k.suspend(time.Hour)
	time.Sleep(wake)
	if s := settled(w); !s.Resumed.Equal(time.Now()) {
		t.Errorf("resumed at %v, want %v", s.Resumed, time.Now())
	}
}

func testSuspend(t *testing.T, k *fakeKernel, w *Watcher) {
	k.setSilently(address(2, global))
	k.suspend(time.Hour)
	time.Sleep(wake)
	k.check(t, after0(t, w, time.Now()))
	if s := w.Current(); !s.Resumed.Equal(time.Now()) {
		t.Errorf("resumed at %v, want %v", s.Resumed, time.Now())
	}
}

func testChangeInDump(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global, Tentative)
	k.setAddr(a)
	synctest.Wait()
	k.onDump(2, func() { // the dump shows it, and it is gone when the dump is read
		k.deleteAddr(a)
		k.setAddr(address(2, "2001:db8::2/64"))
	})
	l := ethernet(2, "eth0")
	l.MTU = 1400
	k.setLink(l)
	k.check(t, after0(t, w, time.Now()))
}

func testInterrupted(t *testing.T, k *fakeKernel, w *Watcher) {
	for i := range 3 {
		k.setAddr(address(2, fmt.Sprintf("2001:db8::%x/64", i+1)))
	}
	synctest.Wait()
	k.rig(func() { k.interrupt = dumpTries - 1 })
	k.setLink(linkDown(ethernet(2, "eth0")))
	k.check(t, after0(t, w, time.Now()))
}

func testInterruptedForLong(t *testing.T, k *fakeKernel, w *Watcher) {
	for i := range 3 {
		k.setAddr(address(2, fmt.Sprintf("2001:db8::%x/64", i+1)))
	}
	synctest.Wait()
	k.rig(func() { k.interrupt = 3 * dumpTries })
	k.setLink(linkDown(ethernet(2, "eth0")))
	s := settled(w)
	var unsure []Addr
	for _, a := range s.Addrs {
		if a.Unsure {
			unsure = append(unsure, a)
		}
	}
	if len(unsure) != 1 || unsure[0].Addr.String() != "2001:db8::1" || s.Complete {
		t.Fatalf("unsure: %v, complete: %t; want the address that no reading had", unsure, s.Complete)
	}
	time.Sleep(3 * lookAgain)
	k.check(t, after0(t, w, time.Now()))
	if find(t, w.Current(), unsure[0].Key).Unsure {
		t.Error("still unsure")
	}
}

// testSlowDump: somebody holds the kernel's lock for two seconds. Events go on being published, and nothing is believed
// that may be outdated.
func testSlowDump(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, "192.0.2.1/24", Permanent)
	k.setAddr(a)
	synctest.Wait()
	free := time.Now().Add(2 * time.Second)
	k.rig(func() { k.delay = func() time.Duration { return max(0, time.Until(free)) } })
	l := ethernet(2, "eth0")
	l.NoARP = true
	k.setLink(l)
	time.Sleep(2 * dumpLate)
	if s := settled(w); !find(t, s, a.Key).Unsure {
		t.Error("an address of a link that changed is still believed")
	}
	began := time.Now()
	b := address(1, "192.0.2.53/32")
	k.setAddr(b)
	s, err := w.Wait(t.Context(), w.Current().Gen)
	if err != nil || time.Since(began) > 2*dumpLate {
		t.Errorf("the event was published after %v, error %v", time.Since(began), err)
	}
	find(t, s, b.Key)
	k.deleteAddr(a) // the dump still has it
	time.Sleep(2 * time.Second)
	k.check(t, after0(t, w, time.Now()))
	if n := strings.Count(k.logged.String(), "192.0.2.1/24 on eth0: new"); n != 1 {
		t.Errorf("the address appeared %d times, want once: it came back from an old dump", n)
	}
}

// TestRandomOperations lets a lossy kernel do anything at random, and compares after each burst.
func TestRandomOperations(t *testing.T) {
	for seed := range uint64(20) {
		inBubble(t, fmt.Sprintf("seed %d", seed), func(t *testing.T, k *fakeKernel, w *Watcher) {
			r := rand.New(rand.NewPCG(seed, 1))
			for range 100 {
				k.rig(func() { k.capacity, k.interrupt = 1+r.IntN(60), r.IntN(3) })
				for range r.IntN(60) {
					randomOperation(r, k)
				}
				time.Sleep(lookAgain + time.Duration(r.IntN(1000))*time.Millisecond)
				k.check(t, after0(t, w, time.Now()))
				if t.Failed() {
					return
				}
			}
			if w.Stats().Overflows == 0 {
				t.Error("no overflow: the test has tested too little")
			}
		})
	}
}

func randomOperation(r *rand.Rand, k *fakeKernel) {
	index := 2 + r.IntN(4)
	a := address(index, fmt.Sprintf("2001:db8::%x/64", 1+r.IntN(10)))
	if r.IntN(4) == 0 {
		a = address(index, fmt.Sprintf("fe80::%x/64", 1+r.IntN(3)))
	}
	k.mu.Lock()
	_, exists := k.links[index]
	k.mu.Unlock()
	switch n := r.IntN(10); {
	case !exists || n == 0:
		k.setLink(ethernet(index, fmt.Sprintf("eth%d", r.IntN(100))))
	case n == 1:
		k.deleteLink(index)
	case n == 2:
		k.setLink(linkDown(ethernet(index, "down")))
	case n < 7:
		a.Flags = Flags(r.Uint32()) & (Tentative | Deprecated | Permanent | Temporary)
		k.setAddr(a)
	default:
		k.deleteAddr(a)
	}
}
