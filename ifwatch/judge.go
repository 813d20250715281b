package ifwatch

import (
	"net/netip"
	"time"
)

// Verdict is what a policy makes of one address at one moment: four answers, and why.
type Verdict struct {
	Bind      bool // a new listener may be opened on it
	Keep      bool // a listener that is open already may stay
	Advertise bool // it may be named to peers: in a SIP Contact, Via or SDP, or whatever a program hands out
	NewFlows  bool // it may be the source of new flows; a loopback or link-local one only towards peers of that scope

	Reason  Reason    // the gravest of Reasons
	Reasons []Reason  // all that apply, the gravest first; just [ReasonOK] if nothing is wrong
	Next    time.Time // when the verdict will change by itself; zero: only with another snapshot
}

// Judge says how the address may be used. It depends on nothing but its arguments. The address need not be in
// the snapshot's Addrs: one of Gone is judged too.
func (p *Policy) Judge(s *Snapshot, a Addr, now time.Time) Verdict {
	return Verdict{}
}

// Selected reports whether the policy wants the link.
func (p *Policy) Selected(l Link) bool { return p.Interfaces.match(&l) }

// Waited is something that a policy names and that does not exist.
type Waited struct {
	Interface string     // the pattern that no link matches, or the zone of Addr; may be ""
	Addr      netip.Addr // zero if an interface is waited for
	Reason    Reason     // [ReasonInterfaceMissing] or [ReasonAddressMissing]
}

// Waiting lists what the policy names and the snapshot lacks: interface patterns that no link matches, and Named
// addresses that no link has.
func (p *Policy) Waiting(s *Snapshot) []Waited { return nil }
