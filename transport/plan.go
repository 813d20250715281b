package transport

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
)

// Plan says what a Manager would do with the addresses of s, without doing it:
// listeners are Planned, or Waiting on addresses that are not usable. Addresses
// in listen need not be in p.Named.
func Plan(p ifwatch.Policy, listen []Listen, s *ifwatch.Snapshot, now time.Time) []AddrState {
	p = withNamed(p, listen)
	states := make([]AddrState, 0, len(s.Addrs)+len(s.Gone))
	for _, addrs := range [2][]ifwatch.Addr{s.Addrs, s.Gone} {
		for _, a := range addrs {
			if !a.Addr.IsMulticast() {
				states = append(states, planAddr(&p, listen, s, a, now))
			}
		}
	}
	for _, w := range p.Waiting(s) {
		states = append(states, planWaited(listen, w))
	}
	return states
}

// withNamed adds the addresses in listen to those that the user named.
func withNamed(p ifwatch.Policy, listen []Listen) ifwatch.Policy {
	p.Named = slices.Clone(p.Named)
	for _, l := range listen {
		if l.Addr.IsValid() && !slices.Contains(p.Named, l.Addr) {
			p.Named = append(p.Named, l.Addr)
		}
	}
	return p
}

func planAddr(p *ifwatch.Policy, listen []Listen, s *ifwatch.Snapshot, a ifwatch.Addr, now time.Time) AddrState {
	v := p.Judge(s, a, now)
	link, _ := s.Link(a.Link)
	state := AddrState{Addr: a, Local: s.Zoned(a), Interface: link.Name, Verdict: v, Why: s.Explain(a, v)}
	if unwanted(v.Reason) {
		return state
	}
	planned := Waiting
	if v.Bind {
		planned = Planned
	}
	for _, l := range listen {
		if l.wants(a, link) {
			state.add(l, planned)
		}
	}
	return state
}

// planWaited plans for what does not exist: an address that was asked for, or
// whatever addresses a missing interface will have.
func planWaited(listen []Listen, w ifwatch.Waited) AddrState {
	state := AddrState{
		Local: w.Addr, Interface: w.Interface, Why: w.Explain(),
		Verdict: ifwatch.Verdict{Reason: w.Reason, Reasons: []ifwatch.Reason{w.Reason}},
	}
	if w.Addr.IsValid() && needsZone(w.Addr) {
		state.Local = w.Addr.WithZone(w.Interface)
	}
	for _, l := range listen {
		if l.Addr.IsValid() == w.Addr.IsValid() && l.Addr.WithZone("") == w.Addr && (l.Addr.Zone() == "" || l.Addr.Zone() == w.Interface) {
			state.add(l, Waiting)
		}
	}
	return state
}

// add notes a listener, unless two lines of the configuration ask for the same one.
func (s *AddrState) add(l Listen, state State) {
	next := ListenerState{Proto: l.Proto, Port: l.Port, State: state}
	if l.Port == 0 || !slices.Contains(s.Listeners, next) {
		s.Listeners = append(s.Listeners, next)
	}
}

// unwanted reports whether an address is none of the user's choice, so that
// nothing waits for it.
func unwanted(r ifwatch.Reason) bool {
	return r == ifwatch.ReasonInterfaceNotSelected || r == ifwatch.ReasonFamilyNotSelected
}

// wants reports whether l applies to the address of the link.
func (l Listen) wants(a ifwatch.Addr, link ifwatch.Link) bool {
	if !l.Addr.IsValid() {
		return true
	}
	if l.Addr.Unmap().WithZone("") != a.Addr {
		return false
	}
	zone := l.Addr.Zone()
	return zone == "" || link.Named(zone) || zone == strconv.Itoa(a.Link)
}

// needsZone reports whether an address means nothing without its link.
func needsZone(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

// bound returns the address as it is bound: a link-local one has the index of
// its link as zone. Package net remembers for a minute which index a name had,
// and a replugged adapter gets another index under its old name.
func bound(a ifwatch.Addr) netip.Addr {
	if needsZone(a.Addr) {
		return a.Addr.WithZone(strconv.Itoa(a.Link))
	}
	return a.Addr
}
