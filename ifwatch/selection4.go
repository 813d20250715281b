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
		},
	}
}

// given4: a route that names a source settles it, and those to connected networks always do. A destination on this host
// answers to itself.
func given4(c *contest) (netip.Addr, Rule) {
	switch {
	case c.boundMulticast():
		return netip.Addr{}, ""
	case c.Route.PrefSrc.IsValid():
		return c.Route.PrefSrc, RuleRoute
	case c.Route.Type == RouteLocal:
		return c.dst, RuleDestination
	default:
		return netip.Addr{}, ""
	}
}

// boundMulticast reports whether the destination is a group, or the broadcast address, and the link is given: then the
// source is chosen before there is a route.
func (c *contest) boundMulticast() bool {
	return c.Route.Bound && (c.dst.IsMulticast() || isBroadcast(c.dst))
}

func isBroadcast(a netip.Addr) bool { return a.As4() == [4]byte{255, 255, 255, 255} }

// links4 are all links in the order in which they were registered, the VRF of the outgoing one first.
func links4(c *contest) []*Link {
	all := c.tables.inOrder(c.Snapshot)
	if vrf := c.domain(c.oif); vrf != 0 {
		slices.SortStableFunc(all, func(a, b *Link) int { return count(b.Index == vrf) - count(a.Index == vrf) })
	}
	return all
}

// exclude4: on the outgoing link, an address whose scope is wide enough for the route, and loopback ones where
// route_localnet allows them; on the others, which stand in only if it has none, no link-local ones.
func exclude4(c *contest, d *candidate) Rule {
	scope, limit := d.Scope, c.limit()
	switch {
	case d.Flags.Has(Tentative): // on systems that detect duplicates
		return RuleTentative
	case d.Flags.Has(Secondary):
		return RuleSecondary
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

// limit is the narrowest scope that will do: that of the route.
func (c *contest) limit() Scope {
	switch {
	case c.boundMulticast():
		return choose(c.dst.IsLinkLocalMulticast() || isBroadcast(c.dst), ScopeLink, ScopeGlobal)
	case c.Route.Assumed:
		return ScopeLink
	default:
		return c.Route.Scope
	}
}

// holdsNextHop prefers the first address in whose network the next hop is. One with a peer is in the peer's network.
func holdsNextHop(c *contest, d *candidate) int {
	hop := c.Route.Gateway
	if !hop.Is4() || d.Link != c.oif || c.boundMulticast() {
		return 0
	}
	network := d.Prefix()
	if d.Peer.IsValid() {
		network = netip.PrefixFrom(d.Peer, d.Bits)
	}
	return count(network.Contains(hop))
}

func whySubnet(c *contest, lost, _ *candidate) string {
	return "the next hop " + c.Route.Gateway.String() + " is not in " + lost.Prefix().Masked().String()
}
