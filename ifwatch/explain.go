package ifwatch

import (
	"slices"
	"strconv"
	"time"
)

// Explain says in one sentence why the verdict on the address is as it is, with names:
// "DAD waits for carrier: virbr2 has none".
func (s *Snapshot) Explain(a Addr, v Verdict) string {
	link, ok := s.Link(a.Link)
	if !ok {
		link.Name = "interface " + strconv.Itoa(a.Link)
	}
	switch v.Reason {
	case ReasonInterfaceNotSelected, ReasonLinkDown, ReasonDADWaitsForCarrier, ReasonNoCarrier, ReasonDormant, ReasonUnsure:
		return explainLink(&link, a, v)
	case ReasonLoopback:
		return choose(v.Bind, "loopback: reachable from this host only", "loopback addresses are refused")
	case ReasonLinkLocal:
		return choose(v.Bind, "link-local: reachable on "+link.Name+" only", "link-local addresses are refused")
	default:
		return s.explainAddr(&link, a, v)
	}
}

// explainLink explains what the link is the reason of.
func explainLink(l *Link, a Addr, v Verdict) string {
	switch v.Reason {
	case ReasonInterfaceNotSelected:
		return l.Name + " is not selected"
	case ReasonLinkDown:
		return l.Name + choose(l.Index == 0, " has vanished", " is down") + grace(v)
	case ReasonDADWaitsForCarrier:
		if l.LowerUp {
			return "DAD waits until " + l.Name + " is ready"
		}
		return "DAD waits for carrier: " + l.Name + " has none"
	case ReasonNoCarrier:
		return l.Name + explainCarrier(l) + grace(v)
	case ReasonDormant:
		return l.Name + " is dormant: it has carrier but waits for something, such as 802.1X" + grace(v)
	default:
		return l.Name + " changed, and " + a.Addr.String() + " could not be read again yet"
	}
}

func explainCarrier(l *Link) string {
	switch {
	case l.Oper == OperLowerLayerDown:
		return " has no carrier: the link below it is down"
	case l.Oper == OperTesting:
		return " passes no packets: it is being tested"
	case l.LowerUp && l.Oper == OperDown:
		return " has carrier but is not operational yet"
	default:
		return " has no carrier"
	}
}

// grace mentions the listener that may stay.
func grace(v Verdict) string {
	return choose(v.Keep, "; an open listener stays for now", "")
}

// explainAddr explains what the address itself is the reason of.
func (s *Snapshot) explainAddr(l *Link, a Addr, v Verdict) string {
	switch v.Reason {
	case ReasonFamilyNotSelected:
		return choose(a.Family() == Inet, "IPv4", "IPv6") + " is not selected"
	case ReasonExpired:
		return "its valid lifetime ended at " + a.ValidUntil.Format(time.TimeOnly)
	case ReasonDADFailed:
		gone := slices.ContainsFunc(s.Gone, func(g Addr) bool { return g.Key == a.Key })
		return "DAD failed: another host on " + l.Name + " has this address" + choose(gone, "; the kernel removed it", "")
	case ReasonTentative:
		return "DAD is running on " + l.Name
	case ReasonBindRefused:
		return "the system refuses to bind it"
	case ReasonHeldDown:
		return "it came and went too often, and has to stay for a while before it is advertised"
	case ReasonOptimistic:
		return "optimistic: DAD has not finished on " + l.Name
	case ReasonDeprecated:
		return "deprecated: its preferred lifetime is over" +
			choose(v.Keep, choose(v.Bind, "; listened on, but not advertised", "; only an open listener stays"), "")
	case ReasonTemporary:
		return "temporary: a public address of " + l.Name + " is advertised instead"
	case ReasonOK:
		return "usable"
	default:
		return v.Reason.Text()
	}
}

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
