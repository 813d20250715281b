package ifwatch

// Reason says why an address is used as it is. The words are stable; people and programs may rely on them.
type Reason string

// The reasons, the gravest first: a verdict's reason is the first of them that applies.
const (
	ReasonInterfaceNotSelected Reason = "interface_not_selected"
	ReasonFamilyNotSelected    Reason = "family_not_selected"
	ReasonExpired              Reason = "expired"
	ReasonLinkDown             Reason = "link_down"
	ReasonDADFailed            Reason = "dad_failed"
	ReasonDADWaitsForCarrier   Reason = "dad_waits_for_carrier"
	ReasonTentative            Reason = "tentative"
	ReasonNoCarrier            Reason = "no_carrier"
	ReasonDormant              Reason = "dormant"
	ReasonUnsure               Reason = "unsure"
	ReasonBindRefused          Reason = "bind_refused" // never by Judge: whoever binds knows
	ReasonHeldDown             Reason = "held_down"    // never by Judge: whoever remembers flapping knows
	ReasonOptimistic           Reason = "optimistic"
	ReasonDeprecated           Reason = "deprecated"
	ReasonTemporary            Reason = "temporary"
	ReasonLoopback             Reason = "loopback"
	ReasonLinkLocal            Reason = "link_local"
	ReasonOK                   Reason = "ok" // bind, advertise and new flows are all true
)

// The reasons of what is waited for, see [Policy.Waiting].
const (
	ReasonInterfaceMissing Reason = "interface_missing"
	ReasonAddressMissing   Reason = "address_missing"
)

// Text returns a few words for people, without names and numbers: "DAD waits for carrier". [Snapshot.Explain] says more.
func (r Reason) Text() string {
	switch r {
	case ReasonInterfaceNotSelected:
		return "interface not selected"
	case ReasonFamilyNotSelected:
		return "address family not selected"
	case ReasonExpired:
		return "valid lifetime is over"
	case ReasonLinkDown:
		return "link is down"
	case ReasonDADFailed:
		return "DAD failed"
	case ReasonDADWaitsForCarrier:
		return "DAD waits for carrier"
	case ReasonTentative:
		return "DAD is running"
	case ReasonNoCarrier:
		return "no carrier"
	case ReasonDormant:
		return "link is dormant"
	case ReasonUnsure:
		return "link is being read again"
	case ReasonBindRefused:
		return "bind refused"
	case ReasonHeldDown:
		return "held down after flapping"
	case ReasonOptimistic:
		return "optimistic: DAD has not finished"
	case ReasonDeprecated:
		return "preferred lifetime is over"
	case ReasonTemporary:
		return "temporary"
	case ReasonLoopback:
		return "loopback"
	case ReasonLinkLocal:
		return "link-local"
	case ReasonOK:
		return "usable"
	case ReasonInterfaceMissing:
		return "interface does not exist"
	case ReasonAddressMissing:
		return "address does not exist"
	default:
		return string(r)
	}
}
