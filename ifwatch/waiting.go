package ifwatch

import "net/netip"

// Waited is something that a policy names and that does not exist.
type Waited struct {
	Interface string     // the pattern that no link matches, or the zone of Addr; may be ""
	Addr      netip.Addr // zero if an interface is waited for
	Reason    Reason     // [ReasonInterfaceMissing] or [ReasonAddressMissing]
}

// Explain says in one sentence what is waited for.
func (w Waited) Explain() string {
	if w.Reason == ReasonInterfaceMissing {
		return "no interface is called " + w.Interface + ", or matches it"
	}
	if w.Interface != "" {
		return "no interface " + w.Interface + " has the address " + w.Addr.String()
	}
	return "no interface has the address " + w.Addr.String()
}

// Waiting lists what the policy names and the snapshot lacks: interface patterns that no link matches, and Named
// addresses that no link has. Those in Gone are not waited for: they have a verdict.
func (p *Policy) Waiting(s *Snapshot) []Waited {
	var waited []Waited
	for _, glob := range p.Interfaces.want {
		if _, ok := s.find(func(l *Link) bool { return matchLink(glob, l) }); !ok {
			waited = append(waited, Waited{Interface: glob, Reason: ReasonInterfaceMissing})
		}
	}
	for _, n := range p.Named {
		if n.IsValid() && !n.IsUnspecified() && !s.hasNamed(n) {
			waited = append(waited, Waited{
				Interface: n.Zone(), Addr: n.Unmap().WithZone(""), Reason: ReasonAddressMissing,
			})
		}
	}
	return waited
}

func (s *Snapshot) hasNamed(n netip.Addr) bool {
	for _, addrs := range [2][]Addr{s.Addrs, s.Gone} {
		for _, a := range addrs {
			if named(s, n, a) {
				return true
			}
		}
	}
	return false
}
