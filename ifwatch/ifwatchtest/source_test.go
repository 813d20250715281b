package ifwatchtest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
)

func TestSourceIsLevelTriggered(t *testing.T) { synctest.Test(t, testSourceIsLevelTriggered) }

func testSourceIsLevelTriggered(t *testing.T) {
	src := ifwatchtest.NewSource()
	if gen := src.Current().Gen; gen != 0 {
		t.Fatalf("Gen %d before the first Set, want 0", gen)
	}
	got := make(chan *ifwatch.Snapshot, 1)
	go func() {
		snap, err := src.Wait(t.Context(), 0)
		if err != nil {
			t.Errorf("Wait: %v", err)
		}
		got <- snap
	}()
	synctest.Wait()
	select {
	case <-got:
		t.Fatal("Wait returned before anything was published")
	default:
	}
	eth0 := []ifwatch.Link{ifwatchtest.Link(2, "eth0")}
	src.Set(eth0, []ifwatch.Addr{ifwatchtest.Addr(2, "2001:db8::1/64"), ifwatchtest.Addr(2, "192.0.2.1/24")})
	if snap := <-got; snap.Gen != 1 || !snap.Complete || snap.Addrs[0].Addr.Is6() {
		t.Errorf("got generation %d, complete %t, addresses %v", snap.Gen, snap.Complete, snap.Addrs)
	}
	src.Set(eth0, nil)
	src.Set(eth0, nil)
	if snap, err := src.Wait(t.Context(), 1); err != nil || snap.Gen != 3 {
		t.Errorf("a late Wait returned %v, %v; want the newest at once", snap, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := src.Wait(ctx, 3); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait on nothing new: %v, want deadline exceeded", err)
	}
}

func TestSourceStampsCarrierChanges(t *testing.T) { synctest.Test(t, testSourceStampsCarrierChanges) }

func testSourceStampsCarrierChanges(t *testing.T) {
	src := ifwatchtest.NewSource()
	up, down := ifwatchtest.Link(2, "eth0"), ifwatchtest.Link(2, "eth0")
	down.LowerUp = false
	changed := func(l ifwatch.Link) time.Time {
		src.Set([]ifwatch.Link{l}, nil)
		got, _ := src.Current().Link(2)
		return got.Changed
	}
	if at := changed(up); !at.IsZero() {
		t.Errorf("a new link changed at %v, want never", at)
	}
	time.Sleep(time.Second)
	lost := time.Now()
	if at := changed(down); !at.Equal(lost) {
		t.Errorf("carrier lost at %v, want %v", at, lost)
	}
	time.Sleep(time.Second)
	if at := changed(down); !at.Equal(lost) {
		t.Errorf("still lost, but changed at %v, want %v", at, lost)
	}
	scripted := up
	scripted.Changed = lost.Add(-time.Hour)
	if at := changed(scripted); !at.Equal(scripted.Changed) {
		t.Errorf("a scripted change became %v, want %v", at, scripted.Changed)
	}
}
