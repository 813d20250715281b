package ifwatch

import (
	"fmt"
	"math/bits"
	"net/netip"
)

// kernel6 is how Linux chooses an IPv6 source (net/ipv6/addrconf.c, ipv6_dev_get_saddr). Its form is not quite that of
// RFC 6724: any interface's addresses take part; rule 5.5, the prefix that the next hop advertised, is missing; and PREFIX
// looks no further than the candidate's own prefix.
func kernel6() method {
	return method{
		given: given6, links: links6, exclude: exclude6,
		rules: []rule{
			{RuleLocal, isDestination, whyText(RuleLocal)},
			{RuleScope, scopeFit, whyScope},
			{RulePreferred, preferred, whyPreferred},
			{RuleHome, home, whyText(RuleHome)},
			{RuleInterface, onOutgoing, whyInterface},
			{RuleLabel, sameLabel, whyLabel},
			{RulePrivacy, privacy, whyPrivacy},
			{RuleORCHID, sameORCHID, whyText(RuleORCHID)},
			{RulePrefix, matchingPrefix, whyPrefix},
			{RuleNotOptimistic, notOptimistic, whyText(RuleNotOptimistic)},
		},
	}
}

// given6: a route that names a source settles it.
func given6(c *contest) (netip.Addr, Rule) { return c.Route.PrefSrc, RuleRoute }

// links6 are all links in the order in which they were registered, but those of a VRF begin with the outgoing one and
// the VRF itself.
func links6(c *contest) []*Link {
	all := c.tables.inOrder(c.Snapshot)
	vrf := c.domain(c.oif)
	if vrf == 0 || vrf == c.oif {
		return all
	}
	var first, rest []*Link
	for _, l := range all {
		switch l.Index {
		case c.oif:
			first = append([]*Link{l}, first...)
		case vrf:
			first = append(first, l)
		default:
			rest = append(rest, l)
		}
	}
	return append(first, rest...)
}

// domain returns the index of the VRF that a link belongs to, or is; 0 if none.
func (c *contest) domain(index int) int {
	l, ok := c.Snapshot.Link(index)
	if !ok {
		return 0
	}
	if l.Kind == "vrf" {
		return index
	}
	if master, ok := c.Snapshot.Link(l.Master); ok && master.Kind == "vrf" {
		return master.Index
	}
	return 0
}

// exclude6 leaves out what RFC 6724 section 4 does. Links that are down or have no carrier stay in.
func exclude6(c *contest, d *candidate) Rule {
	switch {
	case d.Flags.Has(Tentative) && !d.Flags.Has(Optimistic):
		return RuleTentative
	case multicast6(d.Addr.Addr) || d.Addr.Addr.IsUnspecified():
		return RuleNotUnicast
	case c.onlyOutgoing():
		if d.Link != c.oif {
			return RuleInterface
		}
	case c.domain(d.Link) != c.domain(c.oif):
		return RuleVRF
	}
	return ""
}

// onlyOutgoing reports whether only addresses of the outgoing interface take part: for multicast and for destinations
// that mean something on that link only, and where use_oif_addrs_only is set.
func (c *contest) onlyOutgoing() bool {
	return c.oif != 0 && (multicast6(c.dst) || scopeOf6(c.dst) <= scopeLinkLocal || c.tables.knobs(c.Snapshot, c.oif).OIFAddrsOnly)
}

func multicast6(a netip.Addr) bool { return a.As16()[0] == 0xff }

// The scopes of RFC 4291 section 2.7.
const (
	scopeLinkLocal = 0x02
	scopeSiteLocal = 0x05
	scopeGlobal6   = 0x0e
)

// scopeOf6 is the scope of a source or destination. That of a unicast address comes from its prefix, and loopback counts
// as link-local (RFC 6724 sections 3.1 and 3.4). Package netip takes an address that stands for an IPv4 one for that.
func scopeOf6(a netip.Addr) int {
	b := a.As16()
	switch {
	case b[0] == 0xff:
		return int(b[1] & 0x0f)
	case b[0] == 0xfe && b[1]&0xc0 == 0x80, a == netip.IPv6Loopback():
		return scopeLinkLocal
	case b[0] == 0xfe && b[1]&0xc0 == 0xc0:
		return scopeSiteLocal
	default:
		return scopeGlobal6
	}
}

func isDestination(c *contest, d *candidate) int { return count(d.Addr.Addr == c.dst) }

// scopeFit prefers the smallest scope that is enough, and if none is, the greatest.
func scopeFit(c *contest, d *candidate) int {
	s := scopeOf6(d.Addr.Addr)
	if s >= scopeOf6(c.dst) {
		return -s
	}
	return s - 128
}

// preferred does not mind the state of addresses that have none: loopback and those that stand for IPv4.
func preferred(c *contest, d *candidate) int {
	avoid := Deprecated
	if !c.tables.knobs(c.Snapshot, d.Link).UseOptimistic {
		avoid |= Optimistic
	}
	return count(d.Flags&avoid == 0 || stateless(d.Addr.Addr))
}

// stateless reports whether a is ::1, in ::/96 or in ::ffff:0:0/96.
func stateless(a netip.Addr) bool {
	b := a.As16()
	return [10]byte(b[:]) == [10]byte{} && (b[10] == 0 && b[11] == 0 || b[10] == 0xff && b[11] == 0xff)
}

// home exists in kernels with CONFIG_IPV6_MIP6 only, which they do not tell. Without Mobile IPv6 no address is Home.
func home(_ *contest, d *candidate) int { return count(d.Flags.Has(Home)) }

func onOutgoing(c *contest, d *candidate) int { return count(c.oif == 0 || d.Link == c.oif) }

func sameLabel(c *contest, d *candidate) int {
	return count(c.tables.label(d.Addr.Addr, d.Link) == c.tables.label(c.dst, c.oif))
}

func privacy(c *contest, d *candidate) int {
	return count(d.Flags.Has(Temporary) == c.prefersTemporary(d))
}

// prefersTemporary reports whether a candidate should be temporary: what its own link says, if the socket says nothing.
func (c *contest) prefersTemporary(d *candidate) bool {
	if c.Temporary == TemporaryKernel {
		return c.tables.knobs(c.Snapshot, d.Link).UseTempAddr >= 2
	}
	return c.Temporary == TemporaryPrefer
}

func sameORCHID(c *contest, d *candidate) int { return count(orchid(d.Addr.Addr) == orchid(c.dst)) }

// orchid reports whether a is in 2001:10::/28 (RFC 4843). The kernel does not know ORCHIDv2, 2001:20::/28 (RFC 7343).
func orchid(a netip.Addr) bool {
	b := a.As16()
	return b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x00 && b[3]&0xf0 == 0x10
}

func matchingPrefix(c *contest, d *candidate) int { return min(commonBits(d.Addr.Addr, c.dst), d.Bits) }

func notOptimistic(_ *contest, d *candidate) int { return count(!d.Flags.Has(Optimistic)) }

// commonBits counts the leading bits that two IPv6 addresses share.
func commonBits(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	for i := range x {
		if diff := x[i] ^ y[i]; diff != 0 {
			return 8*i + bits.LeadingZeros8(diff)
		}
	}
	return 128
}

// count is 1 for true, 0 for false.
func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func whyText(r Rule) func(*contest, *candidate, *candidate) string {
	return func(*contest, *candidate, *candidate) string { return r.Text() }
}

func whyScope(c *contest, lost, _ *candidate) string {
	return fmt.Sprintf("%s scope, the destination's is %s", scopeName(scopeOf6(lost.Addr.Addr)), scopeName(scopeOf6(c.dst)))
}

func scopeName(s int) string {
	switch s {
	case 0x01:
		return "interface-local"
	case scopeLinkLocal:
		return "link-local"
	case scopeSiteLocal:
		return "site-local"
	case 0x08:
		return "organization-local"
	case scopeGlobal6:
		return "global"
	default:
		return fmt.Sprintf("number %d", s)
	}
}

func whyPreferred(_ *contest, lost, _ *candidate) string {
	return choose(lost.Flags.Has(Deprecated), "deprecated: its preferred lifetime is over", "optimistic: DAD has not finished")
}

func whyInterface(c *contest, lost, _ *candidate) string {
	return "on " + lost.link.Name + ", the route leaves by " + c.linkName(c.oif)
}

func whyLabel(c *contest, lost, _ *candidate) string {
	return fmt.Sprintf("label %s, the destination has %s",
		labelText(c.tables.label(lost.Addr.Addr, lost.Link)), labelText(c.tables.label(c.dst, c.oif)))
}

func labelText(label uint32) string {
	if label == NoLabel {
		return "none"
	}
	return fmt.Sprint(label)
}

func whyPrivacy(c *contest, lost, _ *candidate) string {
	if lost.Flags.Has(Temporary) {
		return "temporary, and public addresses are preferred"
	}
	if c.prefersTemporary(lost) {
		return "public, and temporary addresses are preferred"
	}
	return RulePrivacy.Text()
}

func whyPrefix(c *contest, lost, won *candidate) string {
	return fmt.Sprintf("%d bits in common with the destination, %s has %d", matchingPrefix(c, lost), won.Addr.Addr, matchingPrefix(c, won))
}
