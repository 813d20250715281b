package ifwatch

import (
	"net/netip"
	"slices"
)

// Mutant is the algorithm with one mistake. It exists to show that the comparison with the kernel would notice it.
type Mutant struct {
	Name   string
	method method
	change func(*contest) // of the facts; may be nil
}

// Source returns what the mutant chooses.
func (m *Mutant) Source(s *Selection) netip.Addr {
	if s.boundToGroup() {
		return s.Choose().Source // not what is wrong with it
	}
	if m.change != nil {
		c := s.contest()
		changed := *s
		c.Selection = &changed
		m.change(c)
		changed.Tables = c.tables
		s = &changed
	}
	return s.source(m.method)
}

// source is what choose chooses, found as the kernel does it: by comparing each candidate with the best so far. It is quicker,
// as it explains nothing.
func (s *Selection) source(m method) netip.Addr {
	c := s.contest()
	if source, _ := m.given(c); source.IsValid() {
		return source
	}
	var best *candidate
	for _, d := range c.candidates(m) {
		if d.out == "" && (best == nil || c.compare(m, d, best) > 0) {
			best = d
		}
	}
	if best == nil {
		return netip.Addr{}
	}
	return best.Addr.Addr
}

// without leaves out a rule.
func without(m method, name Rule) method {
	m.rules = slices.DeleteFunc(slices.Clone(m.rules), func(r rule) bool { return r.name == name })
	return m
}

// valued gives a rule another value.
func valued(m method, name Rule, value func(*contest, *candidate) int) method {
	m.rules = slices.Clone(m.rules)
	for i := range m.rules {
		if m.rules[i].name == name {
			m.rules[i].value = value
		}
	}
	return m
}

// swapped exchanges two rules.
func swapped(m method, a, b Rule) method {
	m.rules = slices.Clone(m.rules)
	i := slices.IndexFunc(m.rules, func(r rule) bool { return r.name == a })
	j := slices.IndexFunc(m.rules, func(r rule) bool { return r.name == b })
	m.rules[i], m.rules[j] = m.rules[j], m.rules[i]
	return m
}

// excluding replaces the reasons for which an address does not take part.
func excluding(m method, exclude func(*contest, *candidate) Rule) method {
	m.exclude = exclude
	return m
}

// negated turns a rule round.
func negated(value func(*contest, *candidate) int) func(*contest, *candidate) int {
	return func(c *contest, d *candidate) int { return -value(c, d) }
}

// reversed looks at a link's addresses from the last to the first.
func reversed(c *contest) {
	s := *c.Snapshot
	s.Addrs = slices.Clone(s.Addrs)
	slices.Reverse(s.Addrs)
	c.Snapshot = &s
}

// byIndex forgets the order in which links were registered.
func byIndex(c *contest) {
	t := *c.tables
	t.Order = nil
	c.tables = &t
}

// relabelled changes the label table.
func relabelled(change func([]Label) []Label) func(*contest) {
	return func(c *contest) {
		t := *c.tables
		t.Labels = change(slices.Clone(t.Labels))
		c.tables = &t
	}
}

// Mutants6 are wrong versions of the algorithm for IPv6.
func Mutants6() []Mutant {
	k := kernel6()
	var all []Mutant
	add := func(name string, m method) { all = append(all, Mutant{Name: name, method: m}) }
	for _, r := range []Rule{
		RuleLocal, RuleScope, RulePreferred, RuleInterface, RuleLabel, RulePrivacy, RuleORCHID, RulePrefix, RuleNotOptimistic,
	} {
		add("no rule "+string(r), without(k, r))
	}
	add("scope and preferred exchanged", swapped(k, RuleScope, RulePreferred))
	add("preferred and interface exchanged", swapped(k, RulePreferred, RuleInterface))
	add("interface and label exchanged", swapped(k, RuleInterface, RuleLabel))
	add("label and privacy exchanged", swapped(k, RuleLabel, RulePrivacy))
	add("privacy and prefix exchanged", swapped(k, RulePrivacy, RulePrefix))
	add("prefix and not_optimistic exchanged", swapped(k, RulePrefix, RuleNotOptimistic))
	add("the greatest scope wins", valued(k, RuleScope, negated(scopeFit)))
	add("scope too small is as good", valued(k, RuleScope, func(_ *contest, d *candidate) int { return -scopeOf6(d.Addr.Addr) }))
	add("site-local is global", valued(k, RuleScope, siteIsGlobal))
	add("unique local has site scope", valued(k, RuleScope, ulaIsSite))
	add("deprecated is as good", valued(k, RulePreferred, onlyOptimisticAvoided))
	add("optimistic is never avoided", valued(k, RulePreferred, onlyDeprecatedAvoided))
	add("optimistic is always avoided", valued(k, RulePreferred, bothAvoided))
	add("mapped addresses can be deprecated", valued(k, RulePreferred, statefulPreferred))
	add("temporary always preferred", valued(k, RulePrivacy, func(_ *contest, d *candidate) int { return count(d.Flags.Has(Temporary)) }))
	add("public always preferred", valued(k, RulePrivacy, func(_ *contest, d *candidate) int { return count(!d.Flags.Has(Temporary)) }))
	add("use_tempaddr 1 prefers temporary", valued(k, RulePrivacy, eagerPrivacy))
	add("use_tempaddr of the outgoing link", valued(k, RulePrivacy, outgoingPrivacy))
	add("the socket's preference ignored", valued(k, RulePrivacy, sysctlPrivacy))
	add("prefix not limited by the address's own", valued(k, RulePrefix, func(c *contest, d *candidate) int { return commonBits(d.Addr.Addr, c.dst) }))
	add("prefix limited to 64 bits", valued(k, RulePrefix, func(c *contest, d *candidate) int { return min(matchingPrefix(c, d), 64) }))
	add("ORCHIDv2 too", valued(k, RuleORCHID, orchid2))
	add("tentative takes part", excluding(k, func(c *contest, d *candidate) Rule { return exclude6(c, detected(d)) }))
	add("optimistic does not take part", excluding(k, withoutFlag(Optimistic)))
	add("deprecated does not take part", excluding(k, withoutFlag(Deprecated)))
	add("only the outgoing link's take part", excluding(k, strong))
	add("links that are down do not take part", excluding(k, onlyUp))
	add("use_oif_addrs_only ignored", excluding(k, withoutOIFOnly))
	add("link-local destinations from all links", excluding(k, scopeless))
	add("the route's source ignored", ungiven(k))
	all = append(all,
		Mutant{"the last of equals wins", k, reversed},
		Mutant{"links by index", k, byIndex},
		Mutant{"labels of one link apply to all", k, relabelled(func(l []Label) []Label {
			for i := range l {
				l[i].Link = 0
			}
			return l
		})},
		Mutant{"no labels of one link", k, relabelled(func(l []Label) []Label {
			return slices.DeleteFunc(l, func(l Label) bool { return l.Link != 0 })
		})},
		Mutant{"the labels of RFC 6724", k, relabelled(func(l []Label) []Label {
			for i := range l {
				switch l[i].Prefix.String() {
				case "fc00::/7":
					l[i].Label = 13
				case "2001:10::/28":
					l[i].Label = 1
				}
			}
			return l
		})},
		Mutant{"the last label that matches", k, relabelled(func(l []Label) []Label { slices.Reverse(l); return l })},
		Mutant{"labels not changed by the administrator", k, relabelled(func([]Label) []Label { return defaultLabels() })},
	)
	return all
}

func siteIsGlobal(c *contest, d *candidate) int {
	s := scopeOf6(d.Addr.Addr)
	if s == scopeSiteLocal {
		s = scopeGlobal6
	}
	if s >= scopeOf6(c.dst) {
		return -s
	}
	return s - 128
}

func ulaIsSite(c *contest, d *candidate) int {
	s := scopeOf6(d.Addr.Addr)
	if d.Addr.Addr.As16()[0]&0xfe == 0xfc {
		s = scopeSiteLocal
	}
	if s >= scopeOf6(c.dst) {
		return -s
	}
	return s - 128
}

func onlyOptimisticAvoided(c *contest, d *candidate) int {
	return count(!d.Flags.Has(Optimistic) || c.tables.knobs(c.Snapshot, d.Link).UseOptimistic || stateless(d.Addr.Addr))
}

func onlyDeprecatedAvoided(_ *contest, d *candidate) int {
	return count(!d.Flags.Has(Deprecated) || stateless(d.Addr.Addr))
}

func bothAvoided(_ *contest, d *candidate) int {
	return count(d.Flags&(Deprecated|Optimistic) == 0 || stateless(d.Addr.Addr))
}

func statefulPreferred(c *contest, d *candidate) int {
	return count(!d.Flags.Has(Deprecated) && (!d.Flags.Has(Optimistic) || c.tables.knobs(c.Snapshot, d.Link).UseOptimistic))
}

func eagerPrivacy(c *contest, d *candidate) int {
	if c.Temporary != TemporaryKernel {
		return privacy(c, d)
	}
	return count(d.Flags.Has(Temporary) == (c.tables.knobs(c.Snapshot, d.Link).UseTempAddr >= 1))
}

func outgoingPrivacy(c *contest, d *candidate) int {
	if c.Temporary != TemporaryKernel {
		return privacy(c, d)
	}
	return count(d.Flags.Has(Temporary) == (c.tables.knobs(c.Snapshot, c.oif).UseTempAddr >= 2))
}

func sysctlPrivacy(c *contest, d *candidate) int {
	return count(d.Flags.Has(Temporary) == (c.tables.knobs(c.Snapshot, d.Link).UseTempAddr >= 2))
}

func orchid2(c *contest, d *candidate) int {
	either := func(a netip.Addr) bool {
		return orchid(a) || netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0, 0x20}), 28).Contains(a)
	}
	return count(either(d.Addr.Addr) == either(c.dst))
}

// detected is a candidate whose DAD is over.
func detected(d *candidate) *candidate {
	a := *d.Addr
	a.Flags &^= Tentative
	return &candidate{Addr: &a, link: d.link}
}

func withoutFlag(f Flags) func(*contest, *candidate) Rule {
	return func(c *contest, d *candidate) Rule {
		if d.Flags.Has(f) {
			return RuleNotUsable
		}
		return exclude6(c, d)
	}
}

func strong(c *contest, d *candidate) Rule {
	if c.oif != 0 && d.Link != c.oif {
		return RuleInterface
	}
	return exclude6(c, d)
}

func onlyUp(c *contest, d *candidate) Rule {
	if !d.link.Carrier() {
		return RuleNotUsable
	}
	return exclude6(c, d)
}

func withoutOIFOnly(c *contest, d *candidate) Rule {
	out := exclude6(c, d)
	if out == RuleInterface && !multicast6(c.dst) && scopeOf6(c.dst) > scopeLinkLocal {
		return ""
	}
	return out
}

func scopeless(c *contest, d *candidate) Rule {
	out := exclude6(c, d)
	if out == RuleInterface && !c.tables.knobs(c.Snapshot, c.oif).OIFAddrsOnly {
		return ""
	}
	return out
}

// ungiven compares even where the route names a source.
func ungiven(m method) method {
	m.given = func(*contest) (netip.Addr, Rule) { return netip.Addr{}, "" }
	return m
}

// Mutants4 are wrong versions of the algorithm for IPv4.
func Mutants4() []Mutant {
	k := kernel4()
	exclude4Without := func(r Rule) func(*contest, *candidate) Rule {
		return func(c *contest, d *candidate) Rule {
			if out := exclude4(c, d); out != r {
				return out
			}
			return ""
		}
	}
	return []Mutant{
		{"no rule outgoing_interface", without(k, RuleInterface), nil},
		{"no rule subnet", without(k, RuleSubnet), nil},
		{"subnet before interface", swapped(valued(k, RuleSubnet, func(c *contest, d *candidate) int {
			return count(c.Route.Gateway.Is4() && d.Prefix().Contains(c.Route.Gateway))
		}), RuleInterface, RuleSubnet), nil},
		{"subnet of the destination", valued(k, RuleSubnet, func(c *contest, d *candidate) int {
			return count(d.Link == c.oif && d.Prefix().Contains(c.dst))
		}), nil},
		{"subnet of the address, not the peer", valued(k, RuleSubnet, func(c *contest, d *candidate) int {
			return count(d.Link == c.oif && c.Route.Gateway.Is4() && d.Prefix().Contains(c.Route.Gateway))
		}), nil},
		{"scope ignored", excluding(k, exclude4Without(RuleScope)), nil},
		{"deprecated does not take part", excluding(k, func(c *contest, d *candidate) Rule {
			if d.Flags.Has(Deprecated) {
				return RuleNotUsable
			}
			return exclude4(c, d)
		}), nil},
		{"only the outgoing link's take part", excluding(k, func(c *contest, d *candidate) Rule {
			if d.Link != c.oif {
				return RuleInterface
			}
			return exclude4(c, d)
		}), nil},
		{"links that are down do not take part", excluding(k, func(c *contest, d *candidate) Rule {
			if !d.link.Carrier() {
				return RuleNotUsable
			}
			return exclude4(c, d)
		}), nil},
		{"the route's source ignored", ungiven(k), nil},
		{"the last of equals wins", k, reversed},
		{"route_localnet ignored", k, func(c *contest) {
			t := *c.tables
			t.Knobs = nil
			c.tables = &t
		}},
		{"the route's scope ignored", k, func(c *contest) { c.Route.Scope = ScopeGlobal }},
		{"the next hop ignored", k, func(c *contest) { c.Route.Gateway = netip.Addr{} }},
		{"links by index", k, byIndex},
	}
}
