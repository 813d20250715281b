package ifwatch

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestFlood(t *testing.T) {
	inBubble(t, "a change that follows a quiet moment is published at once", testFirstOfFlood)
	inBubble(t, "a link with ten addresses comes and goes without a pause", testBusyButNoFlood)
	inBubble(t, "1,000 changes a second", testFlood)
	inBubble(t, "the buffer overflows in a flood", testFloodOverflow)
}

// flood changes something every millisecond.
func flood(k *fakeKernel, n int) {
	for i := range n {
		if i%2 == 0 {
			k.setAddr(address(2, fmt.Sprintf("2001:db8::%x/64", 1+i)))
		} else {
			k.deleteAddr(address(2, fmt.Sprintf("2001:db8::%x/64", i)))
		}
		time.Sleep(time.Millisecond)
	}
}

func testFirstOfFlood(t *testing.T, k *fakeKernel, w *Watcher) {
	for range 5 {
		k.setAddr(address(2, global, Tentative))
		k.check(t, after0(t, w, time.Now()))
		flood(k, 101)
		time.Sleep(2 * breather)
		k.deleteAddr(address(2, global))
		k.check(t, after0(t, w, time.Now()))
	}
}

func testBusyButNoFlood(t *testing.T, k *fakeKernel, w *Watcher) {
	for range 3 {
		k.setLink(ethernet(3, "eth1"))
		k.check(t, after0(t, w, time.Now()))
		for i := range 10 {
			k.setAddr(address(3, fmt.Sprintf("2001:db8::%x/64", 1+i), Tentative))
			k.check(t, after0(t, w, time.Now()))
			k.setAddr(address(3, fmt.Sprintf("2001:db8::%x/64", 1+i)))
			k.check(t, after0(t, w, time.Now()))
		}
		k.deleteLink(3)
		k.check(t, after0(t, w, time.Now()))
		time.Sleep(200 * time.Millisecond)
	}
}

func testFlood(t *testing.T, k *fakeKernel, w *Watcher) {
	before := w.Stats()
	const n = 1001
	flood(k, n)
	time.Sleep(breather)
	k.check(t, after0(t, w, time.Now()))
	after := w.Stats()
	if got := after.Events - before.Events; got != n {
		t.Errorf("%d events were read, want %d", got, n)
	}
	if got := after.Published - before.Published; got < 200 || got > n/4+2*freely {
		t.Errorf("%d snapshots in a second", got)
	}
}

func testFloodOverflow(t *testing.T, k *fakeKernel, w *Watcher) {
	k.rig(func() { k.capacity = 2 }) // a pause's events are twice as many
	flood(k, 1001)
	time.Sleep(time.Second)
	k.check(t, after0(t, w, time.Now()))
	if w.Stats().Overflows == 0 {
		t.Error("nothing overflowed")
	}
	synctest.Wait()
}
