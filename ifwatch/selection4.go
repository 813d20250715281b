package ifwatch

import (
	"net/netip"
	"slices"
)

// kernel4 is how Linux chooses an IPv4 source: the route says which, or else an address of the outgoing link
// (net/ipv4/fib_semantics.c, fib_result_prefsrc; net/ipv4/devinet.c, inet_select_addr). Deprecated addresses are like
// all others to it.
func kernel4() method {
	return method{
		given: given4, links: links4, exclude: exclude4,
		rules: []rule{
			{RuleInterface, onOutgoing, whyInterface},
			{RuleSubnet, holdsNextHop, whySubnet},
			{RuleSecondary, primary, whyText(RuleSecondary)},
		},
	}
}

// group4 is how it chooses for a multicast or broadcast destination if the link is given: before it looks for a route, which
// [kernel4] does if this finds nothing.
func group4() method {
	return method{
		given: func(*contest) (netip.Addr, Rule) { return netip.Addr{}, "" }, links: links4,
		exclude: func(c *contest, d *candidate) Rule {
			toLink := c.dst.IsLinkLocalMulticast() || isBroadcast(c.dst)
			return excludeBeyond(c, d, choose(toLink, ScopeLink, ScopeGlobal))
		},
		rules: []rule{{RuleInterface, onOutgoing, whyInterface}, {RuleSecondary, primary, whyText(RuleSecondary)}},
	}
}

// boundToGroup reports whether group4 comes first.
func (s *Selection) boundToGroup() bool {
	dst := s.Route.Dst
	return s.Route.Bound && dst.Is4() && (dst.IsMulticast() || isBroadcast(dst))
}

func isBroadcast(a netip.Addr) bool { return a.As4() == [4]byte{255, 255, 255, 255} }

// given4: a route that names a source settles it, and those to connected networks always do. A destination on this host
// answers to itself.
func given4(c *contest) (netip.Addr, Rule) {
	switch {
	case c.Route.PrefSrc.IsValid():
		return c.Route.PrefSrc, RuleRoute
	case c.Route.Type == RouteLocal:
		return c.dst, RuleDestination
	default:
		return netip.Addr{}, ""
	}
}

// links4 are all links in the order in which they were registered, the VRF of the outgoing one first.
func links4(c *contest) []*Link {
	all := c.tables.inOrder(c.Snapshot)
	if vrf := c.domain(c.oif); vrf != 0 {
		slices.SortStableFunc(all, func(a, b *Link) int { return count(b.Index == vrf) - count(a.Index == vrf) })
	}
	return all
}

// exclude4 leaves out addresses whose scope is narrower than the route's.
func exclude4(c *contest, d *candidate) Rule {
	return excludeBeyond(c, d, choose(c.Route.Assumed, ScopeLink, c.Route.Scope))
}

// excludeBeyond leaves out addresses of a narrower scope, but loopback ones of the outgoing link where route_localnet allows
// them. Those of other links, which stand in if it has none, must not be link-local.
func excludeBeyond(c *contest, d *candidate, limit Scope) Rule {
	scope := d.Scope
	switch {
	case d.Flags.Has(Tentative): // on systems that detect duplicates
		return RuleTentative
	case c.domain(d.Link) != c.domain(c.oif):
		return RuleVRF
	case d.Link == c.oif && c.tables.knobs(c.Snapshot, d.Link).RouteLocalnet:
		scope = min(scope, ScopeLink)
	case d.Link != c.oif && scope == ScopeLink:
		return RuleScope
	}
	if scope > limit {
		return RuleScope
	}
	return ""
}

// holdsNextHop prefers the first address in whose network the next hop is. One with a peer is in the peer's network.
func holdsNextHop(c *contest, d *candidate) int {
	hop := c.Route.Gateway
	if !hop.Is4() || d.Link != c.oif {
		return 0
	}
	network := d.Prefix()
	if d.Peer.IsValid() {
		network = netip.PrefixFrom(d.Peer, d.Bits)
	}
	return count(network.Contains(hop))
}

// primary: the kernel leaves out secondary addresses, which come behind a primary one of the same network and scope in any
// case. If the policy does not allow that one, they are better than nothing.
func primary(_ *contest, d *candidate) int { return count(!d.Flags.Has(Secondary)) }

func whySubnet(c *contest, lost, _ *candidate) string {
	return "the next hop " + c.Route.Gateway.String() + " is not in " + lost.Prefix().Masked().String()
}
