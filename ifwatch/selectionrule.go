package ifwatch

// Rule says why one address was chosen as source and another was not. The words are stable; people and programs may rely
// on them.
type Rule string

// The rules by which the kernel compares IPv6 addresses, in its order. The comments name the rule of RFC 6724 section 5
// that each stands for.
const (
	RuleLocal         Rule = "local"              // rule 1: it is the destination itself
	RuleScope         Rule = "scope"              // rule 2: the smallest scope that is no smaller than the destination's
	RulePreferred     Rule = "preferred"          // rule 3: neither deprecated nor, unless use_optimistic is set, optimistic
	RuleHome          Rule = "home"               // rule 4: a Mobile IPv6 home address
	RuleInterface     Rule = "outgoing_interface" // rule 5: on the interface that the route leaves by; IPv4 too
	RuleLabel         Rule = "label"              // rule 6: it has the destination's label
	RulePrivacy       Rule = "privacy"            // rule 7: public or temporary, as preferred
	RuleORCHID        Rule = "orchid"             // not in RFC 6724: both are ORCHIDs (RFC 4843), or neither is
	RulePrefix        Rule = "prefix"             // rule 8: the longest prefix in common, no longer than its own
	RuleNotOptimistic Rule = "not_optimistic"     // RFC 4429 section 3.3: DAD has finished
	RuleOrder         Rule = "order"              // it comes first in the kernel's list: of one scope, the newest; IPv4 too
)

// The rules for IPv4, besides [RuleInterface] and [RuleOrder].
const (
	RuleSubnet    Rule = "subnet"    // its subnet has the next hop
	RuleSecondary Rule = "secondary" // it is not the secondary address of a network
)

// What decides without a comparison.
const (
	RuleOnly        Rule = "only"         // nothing else took part
	RuleRoute       Rule = "route_source" // the route names it ("src")
	RuleDestination Rule = "destination"  // the destination is on this host, and answers to itself
	RuleKernel      Rule = "kernel"       // the kernel chose it, against what the rules say
)

// Why an address does not take part, besides [RuleInterface] and [RuleScope].
const (
	RuleTentative  Rule = "tentative"   // DAD has not finished, or has failed
	RuleNotUnicast Rule = "not_unicast" // a multicast address, or none
	RuleVRF        Rule = "vrf"         // its link belongs to another routing domain
	RuleNotUsable  Rule = "not_usable"  // the policy does not allow it for new flows
	RuleReach      Rule = "reach"       // the policy allows it for peers of its own scope only
)

// Text returns a few words for people, about the address that loses by the rule: "has another label than the destination".
func (r Rule) Text() string {
	switch r {
	case RuleLocal:
		return "is not the destination"
	case RuleScope:
		return "has a scope that fits the destination less"
	case RulePreferred:
		return "is deprecated or optimistic"
	case RuleHome:
		return "is not a home address"
	case RuleInterface:
		return "is not on the outgoing interface"
	case RuleLabel:
		return "has another label than the destination"
	case RulePrivacy:
		return "is temporary where public addresses are preferred, or the reverse"
	case RuleORCHID:
		return "is an ORCHID and the destination is not, or the reverse"
	case RulePrefix:
		return "has a shorter prefix in common with the destination"
	case RuleNotOptimistic:
		return "is optimistic"
	case RuleOrder:
		return "comes later in the kernel's list"
	case RuleSubnet:
		return "has a subnet without the next hop"
	case RuleSecondary:
		return "is a secondary address"
	case RuleOnly:
		return "is the only one"
	case RuleRoute:
		return "is not the source that the route names"
	case RuleDestination:
		return "is not the destination, which is on this host"
	case RuleKernel:
		return "is not what the kernel chose"
	case RuleTentative:
		return "is tentative: DAD has not finished"
	case RuleNotUnicast:
		return "is no unicast address"
	case RuleVRF:
		return "is in another VRF"
	case RuleNotUsable:
		return "is not usable for new flows"
	case RuleReach:
		return "reaches peers of its own scope only"
	default:
		return string(r)
	}
}
