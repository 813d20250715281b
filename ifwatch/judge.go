package ifwatch

import (
	"net/netip"
	"strconv"
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
	Next    time.Time // when the verdict may change by itself; zero: only with another snapshot
}

// defaultCarrierGrace bridges a switch that restarts or a cable that is moved.
const defaultCarrierGrace = 30 * time.Second

// What a reason forbids.
const (
	noBind = 1 << iota
	noKeep
	noAdvertise
	noNewFlows

	notAnew = noBind | noAdvertise | noNewFlows // an open listener may stay
	never   = notAnew | noKeep
)

// Judge says how the address may be used. It depends on nothing but its arguments. The address need not be in
// the snapshot's Addrs: one of Gone is judged too.
func (p *Policy) Judge(s *Snapshot, a Addr, now time.Time) Verdict {
	v := Verdict{Bind: true, Keep: true, Advertise: true, NewFlows: true}
	link, linked := s.Link(a.Link)
	p.judgeChoice(&v, &link, a)
	judgeLife(&v, a, now)
	if !linked || !link.Up {
		v.forbid(ReasonLinkDown, p.carrierLost(&link, now))
	}
	p.judgeDAD(&v, &link, a)
	p.judgeCarrier(&v, &link, now)
	if a.Unsure {
		v.forbid(ReasonUnsure, notAnew)
	}
	p.judgeKind(&v, s, a, now)
	if len(v.Reasons) == 0 {
		v.Reasons = []Reason{ReasonOK}
	}
	v.Reason = v.Reasons[0]
	return v
}

// forbid notes a reason and what it forbids.
func (v *Verdict) forbid(r Reason, what int) {
	v.Reasons = append(v.Reasons, r)
	v.Bind = v.Bind && what&noBind == 0
	v.Keep = v.Keep && what&noKeep == 0
	v.Advertise = v.Advertise && what&noAdvertise == 0
	v.NewFlows = v.NewFlows && what&noNewFlows == 0
}

// wake notes that the verdict may change at t.
func (v *Verdict) wake(t, now time.Time) {
	if t.After(now) && (v.Next.IsZero() || t.Before(v.Next)) {
		v.Next = t
	}
}

func (p *Policy) judgeChoice(v *Verdict, l *Link, a Addr) {
	if !p.Interfaces.match(l) {
		v.forbid(ReasonInterfaceNotSelected, never)
	}
	if p.Family != AnyFamily && p.Family != a.Family() {
		v.forbid(ReasonFamilyNotSelected, never)
	}
}

func judgeLife(v *Verdict, a Addr, now time.Time) {
	if expired(a, now) {
		v.forbid(ReasonExpired, never)
	}
	v.wake(a.ValidUntil, now)
	v.wake(a.PreferredUntil, now)
}

func (p *Policy) judgeDAD(v *Verdict, l *Link, a Addr) {
	if a.Flags.Has(DADFailed) {
		v.forbid(ReasonDADFailed, never)
		return
	}
	if !a.Flags.Has(Tentative) {
		return
	}
	// RFC 4862 section 5.4: a tentative address is not assigned to the link in the usual sense. Linux would go on sending
	// from a socket that was bound before, so it may not even be kept; not so an optimistic one, RFC 4429 section 3.3.
	optimistic := a.Flags.Has(Optimistic)
	if waitsForCarrier(l, a) && (!optimistic || p.Optimistic == OptimisticWait) {
		v.forbid(ReasonDADWaitsForCarrier, notAnew)
	}
	if !optimistic {
		v.forbid(ReasonTentative, never)
	}
}

// waitsForCarrier reports whether DAD has not begun because the link has never had carrier since it was brought up.
func waitsForCarrier(l *Link, a Addr) bool {
	return a.Flags.Has(Tentative) && a.Family() == Inet6 && !l.In6Ready
}

func (p *Policy) judgeCarrier(v *Verdict, l *Link, now time.Time) {
	if l.Up && !l.Carrier() {
		reason := ReasonNoCarrier
		if l.LowerUp && l.Oper == OperDormant {
			reason = ReasonDormant
		}
		v.forbid(reason, p.carrierLost(l, now))
	}
	if !l.Carrier() {
		v.wake(p.graceEnd(l), now)
	}
}

// carrierLost returns what the lack of carrier forbids now.
func (p *Policy) carrierLost(l *Link, now time.Time) int {
	if now.Before(p.graceEnd(l)) {
		return notAnew
	}
	return never
}

// graceEnd returns until when a listener may stay on a link without carrier. A link that never had carrier since the
// watcher sees it has no listener to be kept, so zero will do.
func (p *Policy) graceEnd(l *Link) time.Time {
	switch {
	case l.Changed.IsZero() || p.CarrierGrace < 0:
		return time.Time{}
	case p.CarrierGrace == 0:
		return l.Changed.Add(defaultCarrierGrace)
	default:
		return l.Changed.Add(p.CarrierGrace)
	}
}

// judgeKind weighs what is lasting or harmless about an address that works.
func (p *Policy) judgeKind(v *Verdict, s *Snapshot, a Addr, now time.Time) {
	if a.Flags.Has(Optimistic) && p.Optimistic == OptimisticWait {
		v.forbid(ReasonOptimistic, notAnew)
	}
	if deprecated(a, now) {
		v.forbid(ReasonDeprecated, p.ofDeprecated(s, a))
	}
	if a.Flags.Has(Temporary) {
		if public, ok := p.insteadOf(s, a, now); ok {
			v.forbid(ReasonTemporary, noAdvertise|noNewFlows)
			v.wake(public.Next, now)
		}
	}
	switch {
	case a.Addr.IsLoopback() || a.Scope == ScopeHost:
		if p.Loopback == LoopbackRefuse {
			v.forbid(ReasonLoopback, never)
		} else {
			v.forbid(ReasonLoopback, noAdvertise)
		}
	case a.Addr.IsLinkLocalUnicast():
		switch p.LinkLocal {
		case LinkLocalRefuse:
			v.forbid(ReasonLinkLocal, never)
		case LinkLocalAuto:
			v.forbid(ReasonLinkLocal, noAdvertise)
		case LinkLocalUse:
		}
	}
}

func (p *Policy) ofDeprecated(s *Snapshot, a Addr) int {
	switch {
	case p.Deprecated == DeprecatedRefuse:
		return never
	case p.Deprecated == DeprecatedUse || p.names(s, a):
		return noAdvertise | noNewFlows
	default:
		return notAnew
	}
}

// insteadOf returns the verdict on the public address behind which a temporary one has to stand back: one of the same link
// and reach that may be advertised, if the policy prefers public ones.
func (p *Policy) insteadOf(s *Snapshot, a Addr, now time.Time) (Verdict, bool) {
	link, _ := s.Link(a.Link)
	if p.Temporary == TemporaryPrefer || p.Temporary == TemporaryKernel && link.UseTempAddr >= 2 {
		return Verdict{}, false
	}
	for _, b := range s.Addrs {
		if b.Link == a.Link && b.Family() == a.Family() && !b.Flags.Has(Temporary) && b.Addr.IsPrivate() == a.Addr.IsPrivate() {
			if v := p.Judge(s, b, now); v.Advertise {
				return v, true
			}
		}
	}
	return Verdict{}, false
}

// names reports whether the user named the address.
func (p *Policy) names(s *Snapshot, a Addr) bool {
	for _, n := range p.Named {
		if named(s, n, a) {
			return true
		}
	}
	return false
}

// named reports whether n, which may have a zone, means a.
func named(s *Snapshot, n netip.Addr, a Addr) bool {
	if n.Unmap().WithZone("") != a.Addr {
		return false
	}
	if n.Zone() == "" {
		return true
	}
	l, ok := s.Link(a.Link)
	return ok && (l.Named(n.Zone()) || n.Zone() == strconv.Itoa(l.Index))
}

func expired(a Addr, now time.Time) bool {
	return !a.ValidUntil.IsZero() && !now.Before(a.ValidUntil)
}

func deprecated(a Addr, now time.Time) bool {
	return a.Flags.Has(Deprecated) || !a.PreferredUntil.IsZero() && !now.Before(a.PreferredUntil)
}

// Selected reports whether the policy wants the link.
func (p *Policy) Selected(l Link) bool { return p.Interfaces.match(&l) }
