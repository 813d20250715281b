package ifwatch

import (
	"net/netip"
	"testing"
)

// TestReadersAgree compares what the ways of reading this host say about loopback, which every host has.
func TestReadersAgree(t *testing.T) {
	system, err := readSystem(t.Context())
	if err != nil {
		t.Fatalf("readSystem: %v", err)
	}
	library, err := readNet(t.Context())
	if err != nil {
		t.Skipf("the standard library cannot read the interfaces here: %v", err)
	}
	for _, r := range []reading{system, library} {
		checkLoopback(t, r)
	}
}

func checkLoopback(t *testing.T, r reading) {
	t.Helper()
	home := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for _, a := range r.addrs {
		if a.Addr != home {
			continue
		}
		if a.Bits != 8 || a.Scope != ScopeHost {
			t.Errorf("%s: %s has %d bits and scope %d", r.source, a.Addr, a.Bits, a.Scope)
		}
		for _, l := range r.links {
			if l.Index == a.Link && l.Loopback && l.Carrier() && l.MTU > 0 {
				return
			}
		}
		t.Errorf("%s: no loopback link %d with carrier in %+v", r.source, a.Link, r.links)
		return
	}
	t.Errorf("%s: no %s in %v", r.source, home, r.addrs)
}

func TestRead(t *testing.T) {
	s, err := Read(t.Context())
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if s.Gen != 1 || !s.Complete || s.Source == "" || len(s.Links) == 0 {
		t.Errorf("got generation %d, complete %t, source %q, %d links", s.Gen, s.Complete, s.Source, len(s.Links))
	}
}
