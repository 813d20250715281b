package ifwatch_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
)

// selection is one choice of a source on a host with lo, eth0 (index 2) and eth1 (3).
type selection struct {
	name   string
	addrs  []ifwatch.Addr
	dst    string
	route  ifwatch.Route // Dst is filled in; Link 0 is eth0
	change func(*ifwatch.Selection)
	want   string // the source, "" if there is none, and the rule
	lost   string // the others: "address rule", those that took part first, as "address:rule address:rule / ..."
	why    string // of the first of them; "" is not checked
}

func addr2(prefix string, flags ...ifwatch.Flags) ifwatch.Addr {
	return ifwatchtest.Addr(2, prefix, flags...)
}

func addr3(prefix string, flags ...ifwatch.Flags) ifwatch.Addr {
	return ifwatchtest.Addr(3, prefix, flags...)
}

func (c *selection) selection() *ifwatch.Selection {
	s := &ifwatch.Selection{
		Snapshot: &ifwatch.Snapshot{
			Gen: 1, At: noon, Complete: true,
			Links: []ifwatch.Link{ifwatchtest.Loopback(), ifwatchtest.Link(2, "eth0"), ifwatchtest.Link(3, "eth1")},
			Addrs: c.addrs,
		},
		Route: c.route, Now: noon,
	}
	s.Route.Dst = netip.MustParseAddr(c.dst)
	if s.Route.Link == 0 {
		s.Route.Link = 2
	}
	if s.Route.Type == 0 {
		s.Route.Type = ifwatch.RouteUnicast
	}
	if c.change != nil {
		c.change(s)
	}
	return s
}

// outcome writes a choice as the tables do.
func outcome(c ifwatch.Choice) (source, lost string) {
	var took, out []string
	for _, l := range c.Candidates {
		word := l.Addr.Addr.String() + ":" + string(l.Rule)
		if l.TookPart {
			took = append(took, word)
		} else {
			out = append(out, word)
		}
	}
	if c.Source.IsValid() {
		source = c.Source.String() + " " + string(c.Rule)
	}
	lost = strings.Join(took, " ")
	if len(out) > 0 {
		lost = strings.TrimSpace(lost + " / " + strings.Join(out, " "))
	}
	return source, lost
}

func TestChoose(t *testing.T) {
	for _, table := range [][]selection{rules6, exclusions6, domains, rules4, restricted} {
		for _, c := range table {
			t.Run(c.name, func(t *testing.T) { checkChoose(t, &c) })
		}
	}
}

func checkChoose(t *testing.T, c *selection) {
	choice := c.selection().Choose()
	source, lost := outcome(choice)
	if source != c.want || lost != c.lost {
		t.Errorf("chose %q against %q, want %q against %q", source, lost, c.want, c.lost)
	}
	for i, l := range choice.Candidates {
		if l.Why == "" || l.Interface == "" || l.Rule.Text() == string(l.Rule) {
			t.Errorf("%s on %q lost by %q (%q), because %q", l.Addr.Addr, l.Interface, l.Rule, l.Rule.Text(), l.Why)
		}
		if i == 0 && c.why != "" && l.Why != c.why {
			t.Errorf("lost because %q, want %q", l.Why, c.why)
		}
		if l.TookPart && l.Verdict.Reason != "" {
			t.Errorf("%s took part, and has verdict %s", l.Addr.Addr, l.Verdict.Reason)
		}
	}
	if choice.Source.IsValid() && choice.Rule.Text() == string(choice.Rule) {
		t.Errorf("rule %s has no text", choice.Rule)
	}
}

func knobs(link int, k ifwatch.Knobs) func(*ifwatch.Selection) {
	return func(s *ifwatch.Selection) { s.Tables = &ifwatch.Tables{Knobs: map[int]ifwatch.Knobs{link: k}} }
}

func labels(l ...ifwatch.Label) func(*ifwatch.Selection) {
	return func(s *ifwatch.Selection) { s.Tables = &ifwatch.Tables{Labels: append([]ifwatch.Label{}, l...)} }
}

var rules6 = []selection{
	{
		name: "one address", addrs: []ifwatch.Addr{addr2("2001:db8::1/64")}, dst: "2001:db8:9::9",
		want: "2001:db8::1 only",
	},
	{
		name: "no address", addrs: []ifwatch.Addr{addr2("192.0.2.1/24")}, dst: "2001:db8:9::9",
	},
	{
		name:  "to itself",
		addrs: []ifwatch.Addr{addr2("2001:db8::2/64"), addr2("2001:db8::1/64", ifwatch.Deprecated)}, dst: "2001:db8::1",
		want: "2001:db8::1 local", lost: "2001:db8::2:local",
	},
	{
		name:  "link-local to link-local",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr2("fe80::1/64")}, dst: "fe80::9",
		want: "fe80::1 scope", lost: "2001:db8::1:scope", why: "global scope, the destination's is link-local",
	},
	{
		name:  "global to global, although the link-local one is on the outgoing link",
		addrs: []ifwatch.Addr{addr2("fe80::1/64"), addr3("2001:db8::1/64")}, dst: "2001:db8:9::9",
		want: "2001:db8::1 scope", lost: "fe80::1:scope",
	},
	{
		name:  "site-local to site-local (deprecated by RFC 3879, but known)",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr2("fec0::1/64")}, dst: "fec0::9",
		want: "fec0::1 scope", lost: "2001:db8::1:scope",
	},
	{
		name:  "no scope is enough: the greatest",
		addrs: []ifwatch.Addr{addr2("fe80::1/64"), addr2("fec0::1/64")}, dst: "2001:db8::9",
		want: "fec0::1 scope", lost: "fe80::1:scope",
	},
	{
		name:  "the preferred of two",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Deprecated), addr2("2001:db8::2/64")}, dst: "2001:db8::9",
		want: "2001:db8::2 preferred", lost: "2001:db8::1:preferred", why: "deprecated: its preferred lifetime is over",
	},
	{
		name:  "a deprecated global one is better than a link-local one",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Deprecated), addr2("fe80::1/64")}, dst: "2001:db8::9",
		want: "2001:db8::1 scope", lost: "fe80::1:scope",
	},
	{
		name:  "preferred on another link is better than deprecated on the outgoing one",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Deprecated), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
		want: "2001:db8:3::1 preferred", lost: "2001:db8::1:preferred",
	},
	{
		name:  "deprecation means nothing for addresses that stand for IPv4",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Deprecated), addr2("::ffff:192.0.2.1/96", ifwatch.Deprecated)}, dst: "2001:db8::9",
		want: "::ffff:192.0.2.1 preferred", lost: "2001:db8::1:preferred",
	},
	{
		name:  "a home address",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr2("2001:db8:7::1/64", ifwatch.Home)}, dst: "2001:db8::9",
		want: "2001:db8:7::1 home", lost: "2001:db8::1:home",
	},
	{
		name:  "on the outgoing link, although another shares more bits",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr3("2001:db8:9::1/64")}, dst: "2001:db8:9::9",
		want: "2001:db8::1 outgoing_interface", lost: "2001:db8:9::1:outgoing_interface", why: "on eth1, the route leaves by eth0",
	},
	{
		name:  "before there is a route, no link is the outgoing one",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr3("2001:db8:9::1/64")}, dst: "2001:db8:9::9",
		change: func(s *ifwatch.Selection) { s.Route.Link = 0 },
		want:   "2001:db8:9::1 prefix", lost: "2001:db8::1:prefix", why: "44 bits in common with the destination, 2001:db8:9::1 has 64",
	},
	{
		name:  "unique local to unique local",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr2("fd00::1/64")}, dst: "fd00:9::9",
		want: "fd00::1 label", lost: "2001:db8::1:label", why: "label 1, the destination has 5",
	},
	{
		name:  "not unique local to the world",
		addrs: []ifwatch.Addr{addr2("fd00::1/64"), addr2("2001:db8::1/64")}, dst: "2001:db8:9::9",
		want: "2001:db8::1 label", lost: "fd00::1:label",
	},
	{
		name:  "6to4 to 6to4",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr2("2002:c000:201::1/64")}, dst: "2002:c633:6401::9",
		want: "2002:c000:201::1 label", lost: "2001:db8::1:label",
	},
	{
		name:  "the administrator's label",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr2("2001:db8:7::1/64")}, dst: "2001:db8:9::9",
		change: labels(
			ifwatch.Label{Prefix: netip.MustParsePrefix("2001:db8:7::/48"), Label: 99},
			ifwatch.Label{Prefix: netip.MustParsePrefix("2001:db8:9::/48"), Label: 99},
		),
		want: "2001:db8:7::1 label", lost: "2001:db8::1:label", why: "label none, the destination has 99",
	},
	{
		name:  "a label for another link",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr2("2001:db8:7::1/64")}, dst: "2001:db8:9::9",
		change: labels(
			ifwatch.Label{Prefix: netip.MustParsePrefix("2001:db8:7::/48"), Link: 3, Label: 99},
			ifwatch.Label{Prefix: netip.MustParsePrefix("2001:db8:9::/48"), Label: 99},
		),
		want: "2001:db8::1 order", lost: "2001:db8:7::1:order",
	},
	{
		name:  "all labels were deleted",
		addrs: []ifwatch.Addr{addr2("fd00::1/64"), addr2("2001:db8::1/64")}, dst: "3ffe::9", change: labels(),
		want: "2001:db8::1 prefix", lost: "fd00::1:prefix",
	},
	{
		name:  "public by default",
		addrs: []ifwatch.Addr{addr2("2001:db8::a/64", ifwatch.Temporary), addr2("2001:db8::1/64")}, dst: "2001:db8:9::9",
		want: "2001:db8::1 privacy", lost: "2001:db8::a:privacy", why: "temporary, and public addresses are preferred",
	},
	{
		name:  "use_tempaddr 1 makes temporary addresses and does not prefer them",
		addrs: []ifwatch.Addr{addr2("2001:db8::a/64", ifwatch.Temporary), addr2("2001:db8::1/64")}, dst: "2001:db8:9::9",
		change: knobs(2, ifwatch.Knobs{UseTempAddr: 1}),
		want:   "2001:db8::1 privacy", lost: "2001:db8::a:privacy",
	},
	{
		name:  "use_tempaddr 2",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr2("2001:db8::a/64", ifwatch.Temporary)}, dst: "2001:db8:9::9",
		change: knobs(2, ifwatch.Knobs{UseTempAddr: 2}),
		want:   "2001:db8::a privacy", lost: "2001:db8::1:privacy", why: "public, and temporary addresses are preferred",
	},
	{
		name:  "use_tempaddr of the snapshot, without tables",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr2("2001:db8::a/64", ifwatch.Temporary)}, dst: "2001:db8:9::9",
		change: func(s *ifwatch.Selection) { s.Snapshot.Links[1].UseTempAddr = 2 },
		want:   "2001:db8::a privacy", lost: "2001:db8::1:privacy",
	},
	{
		name:  "the socket prefers temporary addresses",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr2("2001:db8::a/64", ifwatch.Temporary)}, dst: "2001:db8:9::9",
		change: func(s *ifwatch.Selection) { s.Temporary = ifwatch.TemporaryPrefer },
		want:   "2001:db8::a privacy", lost: "2001:db8::1:privacy",
	},
	{
		name:  "the socket prefers public addresses, whatever use_tempaddr is",
		addrs: []ifwatch.Addr{addr2("2001:db8::a/64", ifwatch.Temporary), addr2("2001:db8::1/64")}, dst: "2001:db8:9::9",
		change: func(s *ifwatch.Selection) {
			s.Temporary = ifwatch.TemporaryAvoid
			knobs(2, ifwatch.Knobs{UseTempAddr: 2})(s)
		},
		want: "2001:db8::1 privacy", lost: "2001:db8::a:privacy",
	},
	{
		name:  "no ORCHID to others of its label",
		addrs: []ifwatch.Addr{addr2("2001:1f::1/64"), addr2("2001:db8::1/64")}, dst: "2001:20::9",
		change: labels(ifwatch.Label{Prefix: netip.MustParsePrefix("::/0"), Label: 1}),
		want:   "2001:db8::1 orchid", lost: "2001:1f::1:orchid",
	},
	{
		name:  "the longest prefix",
		addrs: []ifwatch.Addr{addr2("2001:db8:1::1/64"), addr2("2001:db8:9::1/64")}, dst: "2001:db8:9::9",
		want: "2001:db8:9::1 prefix", lost: "2001:db8:1::1:prefix",
	},
	{
		name:  "bits beyond the address's own prefix do not count",
		addrs: []ifwatch.Addr{addr2("2001:db8:9::1/32"), addr2("2001:db8:1::1/64")}, dst: "2001:db8:9::9",
		want: "2001:db8:1::1 prefix", lost: "2001:db8:9::1:prefix", why: "32 bits in common with the destination, 2001:db8:1::1 has 44",
	},
	{
		name:  "the older of equals comes later in the list",
		addrs: []ifwatch.Addr{addr2("2001:db8::2/64"), addr2("2001:db8::1/64")}, dst: "2001:db8:9::9",
		want: "2001:db8::2 order", lost: "2001:db8::1:order", why: "comes later in the kernel's list",
	},
	{
		name:  "equals of several links, in the order of registration",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/32"), addr3("2001:db8::2/32")}, dst: "2001:db8:9::9",
		change: func(s *ifwatch.Selection) {
			s.Route.Link = 1
			s.Tables = &ifwatch.Tables{Order: []int{1, 3, 2}}
		},
		want: "2001:db8::2 order", lost: "2001:db8::1:order",
	},
	{
		name:  "the strongest first",
		addrs: []ifwatch.Addr{addr2("fe80::1/64"), addr3("2001:db8:3::1/64"), addr2("2001:db8::1/64"), addr2("fd00::1/64")}, dst: "2001:db8::9",
		want: "2001:db8::1 label", lost: "fd00::1:label 2001:db8:3::1:outgoing_interface fe80::1:scope",
	},
	{
		name:  "the route names a source",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr3("fd00::1/64", ifwatch.Deprecated)}, dst: "2001:db8::9",
		route: ifwatch.Route{PrefSrc: netip.MustParseAddr("fd00::1")},
		want:  "fd00::1 route_source", lost: "/ 2001:db8::1:route_source", why: "is not the source that the route names",
	},
}

var exclusions6 = []selection{
	{
		name:  "tentative",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
		want: "2001:db8:3::1 only", lost: "/ 2001:db8::1:tentative",
	},
	{
		name:  "DAD failed",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative, ifwatch.DADFailed)}, dst: "2001:db8::9",
		lost: "/ 2001:db8::1:tentative",
	},
	{
		name:  "optimistic ones stand back",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative, ifwatch.Optimistic), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
		want: "2001:db8:3::1 preferred", lost: "2001:db8::1:preferred", why: "optimistic: DAD has not finished",
	},
	{
		name:  "optimistic ones are better than nothing",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative, ifwatch.Optimistic)}, dst: "2001:db8::9",
		want: "2001:db8::1 only",
	},
	{
		name:  "use_optimistic",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative, ifwatch.Optimistic), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
		change: knobs(2, ifwatch.Knobs{UseOptimistic: true}),
		want:   "2001:db8::1 outgoing_interface", lost: "2001:db8:3::1:outgoing_interface",
	},
	{
		name:  "use_optimistic, and an equal whose DAD has finished",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative, ifwatch.Optimistic), addr2("2001:db8::2/64")}, dst: "2001:db8::9",
		change: knobs(2, ifwatch.Knobs{UseOptimistic: true}),
		want:   "2001:db8::2 not_optimistic", lost: "2001:db8::1:not_optimistic",
	},
	{
		name:  "only addresses of the outgoing link to link-local destinations",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr3("fe80::1/64")}, dst: "fe80::9",
		want: "2001:db8::1 only", lost: "/ fe80::1:outgoing_interface", why: "on eth1, and only addresses of eth0 take part",
	},
	{
		name:  "only addresses of the outgoing link to multicast",
		addrs: []ifwatch.Addr{addr2("fe80::1/64"), addr3("2001:db8::1/64")}, dst: "ff0e::9",
		want: "fe80::1 only", lost: "/ 2001:db8::1:outgoing_interface",
	},
	{
		name:  "use_oif_addrs_only",
		addrs: []ifwatch.Addr{addr2("fe80::1/64"), addr3("2001:db8::1/64")}, dst: "2001:db8::9",
		change: knobs(2, ifwatch.Knobs{OIFAddrsOnly: true}),
		want:   "fe80::1 only", lost: "/ 2001:db8::1:outgoing_interface",
	},
	{
		name:  "a link that is down has addresses like any other",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr3("2001:db8:3::1/64")}, dst: "2001:db8:3::9",
		change: func(s *ifwatch.Selection) { switchedOff(0)(&s.Snapshot.Links[1]) },
		want:   "2001:db8::1 outgoing_interface", lost: "2001:db8:3::1:outgoing_interface",
	},
	{
		name:  "a multicast address of the host",
		addrs: []ifwatch.Addr{addr2("ff0e::1/64", ifwatch.MulticastAutoJoin), addr2("2001:db8::1/64")}, dst: "2001:db8::9",
		want: "2001:db8::1 only", lost: "/ ff0e::1:not_unicast",
	},
}

// vrf makes eth0 a member of a VRF with index 4.
func vrf(s *ifwatch.Selection) {
	red := ifwatchtest.Link(4, "red")
	red.Kind = "vrf"
	s.Snapshot.Links = append(s.Snapshot.Links, red)
	s.Snapshot.Links[1].Master = 4
}

var domains = []selection{
	{
		name:  "nothing from outside of the VRF",
		addrs: []ifwatch.Addr{addr2("fe80::1/64"), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9", change: vrf,
		want: "fe80::1 only", lost: "/ 2001:db8:3::1:vrf",
	},
	{
		name:  "of equals in the VRF, the VRF's own before the links of lower index",
		addrs: []ifwatch.Addr{addr3("2001:db8::3/32"), ifwatchtest.Addr(4, "2001:db8::4/32")}, dst: "2001:db8:9::9",
		change: func(s *ifwatch.Selection) { vrf(s); s.Snapshot.Links[2].Master = 4 },
		want:   "2001:db8::4 order", lost: "2001:db8::3:order",
	},
	{
		name:  "nothing from inside of the VRF to outside",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr3("fe80::1/64")}, dst: "2001:db8::9", route: ifwatch.Route{Link: 3}, change: vrf,
		want: "fe80::1 only", lost: "/ 2001:db8::1:vrf",
	},
	{
		name:  "IPv4, nothing on the outgoing link: the VRF's own first",
		addrs: []ifwatch.Addr{addr3("192.0.2.3/24"), ifwatchtest.Addr(4, "192.0.2.4/24")}, dst: "203.0.113.9",
		change: func(s *ifwatch.Selection) { vrf(s); s.Snapshot.Links[2].Master = 4 },
		want:   "192.0.2.4 order", lost: "192.0.2.3:order",
	},
}

func scoped(a ifwatch.Addr, s ifwatch.Scope) ifwatch.Addr { a.Scope = s; return a }

func hop(s string) ifwatch.Route { return ifwatch.Route{Gateway: netip.MustParseAddr(s)} }

var home4 = ifwatchtest.Addr(1, "127.0.0.1/8")

var rules4 = []selection{
	{
		name:  "a connected network names its address",
		addrs: []ifwatch.Addr{addr2("198.51.100.1/24"), addr2("192.0.2.1/24")}, dst: "192.0.2.9",
		route: ifwatch.Route{PrefSrc: netip.MustParseAddr("192.0.2.1"), Scope: ifwatch.ScopeLink},
		want:  "192.0.2.1 route_source", lost: "/ 198.51.100.1:route_source",
	},
	{
		name:  "to itself",
		addrs: []ifwatch.Addr{addr2("192.0.2.1/24"), addr2("198.51.100.1/24")}, dst: "198.51.100.1",
		route: ifwatch.Route{Type: ifwatch.RouteLocal, Scope: ifwatch.ScopeHost},
		want:  "198.51.100.1 destination", lost: "/ 192.0.2.1:destination",
	},
	{
		name:  "to an address of this host that no link has",
		addrs: []ifwatch.Addr{addr2("192.0.2.1/24")}, dst: "198.51.100.1",
		route: ifwatch.Route{Type: ifwatch.RouteLocal, Scope: ifwatch.ScopeHost},
		want:  "198.51.100.1 destination", lost: "/ 192.0.2.1:destination",
	},
	{
		name:  "in the network of the next hop",
		addrs: []ifwatch.Addr{addr2("198.51.100.1/24"), addr2("192.0.2.1/24")}, dst: "203.0.113.9", route: hop("192.0.2.254"),
		want: "192.0.2.1 subnet", lost: "198.51.100.1:subnet", why: "the next hop 192.0.2.254 is not in 198.51.100.0/24",
	},
	{
		name:  "the next hop is in no network: the first",
		addrs: []ifwatch.Addr{addr2("198.51.100.1/24"), addr2("192.0.2.1/24")}, dst: "203.0.113.9", route: hop("100.64.0.1"),
		want: "198.51.100.1 order", lost: "192.0.2.1:order",
	},
	{
		name:  "the next hop has an IPv6 address (RFC 8950): the first",
		addrs: []ifwatch.Addr{addr2("198.51.100.1/24"), addr2("192.0.2.1/24")}, dst: "203.0.113.9", route: hop("fe80::9"),
		want: "198.51.100.1 order", lost: "192.0.2.1:order",
	},
	{
		name: "the peer of an address is in its network, the address itself is not",
		addrs: []ifwatch.Addr{addr2("192.0.2.1/24"), func() ifwatch.Addr {
			a := addr2("198.51.100.1/32")
			a.Peer = netip.MustParseAddr("192.0.2.254")
			return a
		}()},
		dst: "203.0.113.9", route: hop("192.0.2.254"),
		want: "192.0.2.1 order", lost: "198.51.100.1:order",
	},
	{
		name:  "secondary addresses stand back",
		addrs: []ifwatch.Addr{addr2("192.0.2.2/24", ifwatch.Secondary), addr2("192.0.2.1/24")}, dst: "203.0.113.9", route: hop("192.0.2.254"),
		want: "192.0.2.1 secondary", lost: "192.0.2.2:secondary",
	},
	{
		name:  "deprecated makes no difference",
		addrs: []ifwatch.Addr{addr2("192.0.2.1/24", ifwatch.Deprecated), addr2("198.51.100.1/24")}, dst: "203.0.113.9",
		want: "192.0.2.1 order", lost: "198.51.100.1:order",
	},
	{
		name:  "link-local only where the route reaches no further",
		addrs: []ifwatch.Addr{addr2("169.254.1.1/16"), addr2("192.0.2.1/24")}, dst: "203.0.113.9",
		want: "192.0.2.1 only", lost: "/ 169.254.1.1:scope",
	},
	{
		name:  "link-local on a route without next hop",
		addrs: []ifwatch.Addr{addr2("169.254.1.1/16"), addr2("192.0.2.1/24")}, dst: "203.0.113.9", route: ifwatch.Route{Scope: ifwatch.ScopeLink},
		want: "169.254.1.1 order", lost: "192.0.2.1:order",
	},
	{
		name:  "nothing on the outgoing link: one of another",
		addrs: []ifwatch.Addr{home4, addr3("192.0.2.1/24")}, dst: "203.0.113.9",
		want: "192.0.2.1 only", lost: "/ 127.0.0.1:scope",
	},
	{
		name:  "no link-local address of another link",
		addrs: []ifwatch.Addr{home4, addr3("169.254.1.1/16")}, dst: "203.0.113.9", route: ifwatch.Route{Scope: ifwatch.ScopeLink},
		lost: "/ 127.0.0.1:scope 169.254.1.1:scope",
	},
	{
		name:  "on another link in the order of registration",
		addrs: []ifwatch.Addr{home4, addr2("192.0.2.1/24"), addr3("198.51.100.1/24")}, dst: "203.0.113.9", route: ifwatch.Route{Link: 1},
		change: func(s *ifwatch.Selection) { s.Tables = &ifwatch.Tables{Order: []int{1, 3, 2}} },
		want:   "198.51.100.1 order", lost: "192.0.2.1:order / 127.0.0.1:scope",
	},
	{
		name:  "loopback addresses leave by links with route_localnet",
		addrs: []ifwatch.Addr{scoped(addr2("127.1.0.1/16"), ifwatch.ScopeHost)}, dst: "127.1.0.9", route: ifwatch.Route{Scope: ifwatch.ScopeLink},
		change: knobs(2, ifwatch.Knobs{RouteLocalnet: true}),
		want:   "127.1.0.1 only",
	},
	{
		name:  "no route, but a link: assumed to be there",
		addrs: []ifwatch.Addr{addr2("169.254.1.1/16"), addr2("192.0.2.1/24")}, dst: "203.0.113.9",
		route: ifwatch.Route{Bound: true, Assumed: true},
		want:  "169.254.1.1 order", lost: "192.0.2.1:order",
	},
	{
		name:  "multicast on the link, by a given one",
		addrs: []ifwatch.Addr{addr2("169.254.1.1/16"), addr2("192.0.2.1/24")}, dst: "224.0.0.9",
		route: ifwatch.Route{Type: ifwatch.RouteMulticast, Bound: true, PrefSrc: netip.MustParseAddr("192.0.2.1")},
		want:  "169.254.1.1 order", lost: "192.0.2.1:order",
	},
	{
		name:  "multicast beyond the link, by a given one",
		addrs: []ifwatch.Addr{addr2("169.254.1.1/16"), addr2("192.0.2.1/24")}, dst: "224.0.1.75",
		route: ifwatch.Route{Type: ifwatch.RouteMulticast, Bound: true, PrefSrc: netip.MustParseAddr("169.254.1.1")},
		want:  "192.0.2.1 only", lost: "/ 169.254.1.1:scope",
	},
	{
		name:  "multicast beyond the link, and nothing that reaches so far: by the route",
		addrs: []ifwatch.Addr{addr2("169.254.1.1/16")}, dst: "224.0.1.75",
		route: ifwatch.Route{Type: ifwatch.RouteMulticast, Bound: true, PrefSrc: netip.MustParseAddr("169.254.1.1")},
		want:  "169.254.1.1 route_source",
	},
	{
		name:  "tentative, on a system that detects duplicates",
		addrs: []ifwatch.Addr{addr2("192.0.2.1/24", ifwatch.Tentative), addr2("192.0.2.2/24")}, dst: "203.0.113.9",
		want: "192.0.2.2 only", lost: "/ 192.0.2.1:tentative",
	},
}

func under(p ifwatch.Policy) func(*ifwatch.Selection) {
	return func(s *ifwatch.Selection) { s.Policy, s.Temporary = &p, p.Temporary }
}

var restricted = []selection{
	{
		name:  "the kernel would take a deprecated one of better scope",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Deprecated), addr3("fd00::1/64")}, dst: "2001:db8::9", change: under(ifwatch.Policy{}),
		want: "fd00::1 only", lost: "/ 2001:db8::1:not_usable", why: "deprecated: its preferred lifetime is over; only an open listener stays",
	},
	{
		name:  "the outgoing link is not selected",
		addrs: []ifwatch.Addr{addr2("192.0.2.1/24"), addr3("198.51.100.1/24")}, dst: "203.0.113.9",
		route:  ifwatch.Route{PrefSrc: netip.MustParseAddr("192.0.2.1")},
		change: under(ifwatch.Policy{Interfaces: patterns("eth1")}),
		want:   "198.51.100.1 only", lost: "/ 192.0.2.1:not_usable", why: "eth0 is not selected",
	},
	{
		name:  "no carrier on the outgoing link",
		addrs: []ifwatch.Addr{addr2("2001:db8::1/64"), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
		change: func(s *ifwatch.Selection) { under(ifwatch.Policy{})(s); lostCarrier(0)(&s.Snapshot.Links[1]) },
		want:   "2001:db8:3::1 only", lost: "/ 2001:db8::1:not_usable",
	},
	{
		name:  "the primary address is on a route's word only, and deprecated: the secondary one",
		addrs: []ifwatch.Addr{addr2("192.0.2.1/24", ifwatch.Deprecated), addr2("192.0.2.2/24", ifwatch.Secondary)}, dst: "192.0.2.9",
		route:  ifwatch.Route{PrefSrc: netip.MustParseAddr("192.0.2.1"), Scope: ifwatch.ScopeLink},
		change: under(ifwatch.Policy{}),
		want:   "192.0.2.2 only", lost: "/ 192.0.2.1:not_usable",
	},
	{
		name:  "link-local towards the world: not where it is not advertised",
		addrs: []ifwatch.Addr{addr2("fe80::1/64")}, dst: "2001:db8::9", change: under(ifwatch.Policy{}),
		lost: "/ fe80::1:reach",
	},
	{
		name:  "link-local towards the world, if the user says so",
		addrs: []ifwatch.Addr{addr2("fe80::1/64")}, dst: "2001:db8::9", change: under(ifwatch.Policy{LinkLocal: ifwatch.LinkLocalUse}),
		want: "fe80::1 only",
	},
	{
		name:  "link-local towards link-local",
		addrs: []ifwatch.Addr{addr2("fe80::1/64"), addr2("2001:db8::1/64")}, dst: "fe80::9", change: under(ifwatch.Policy{}),
		want: "fe80::1 only", lost: "/ 2001:db8::1:reach",
	},
	{
		name:  "IPv4 link-local towards its own kind",
		addrs: []ifwatch.Addr{addr2("169.254.1.1/16")}, dst: "169.254.9.9", route: ifwatch.Route{Scope: ifwatch.ScopeLink}, change: under(ifwatch.Policy{}),
		want: "169.254.1.1 only",
	},
	{
		name:  "loopback to loopback",
		addrs: []ifwatch.Addr{home4, addr2("192.0.2.1/24")}, dst: "127.0.0.1",
		route:  ifwatch.Route{Link: 1, Type: ifwatch.RouteLocal, PrefSrc: netip.MustParseAddr("127.0.0.1"), Scope: ifwatch.ScopeHost},
		change: under(ifwatch.Policy{}),
		want:   "127.0.0.1 route_source", lost: "/ 192.0.2.1:route_source",
	},
	{
		name:  "loopback refused",
		addrs: []ifwatch.Addr{home4, addr2("192.0.2.1/24")}, dst: "127.0.0.1",
		route:  ifwatch.Route{Link: 1, Type: ifwatch.RouteLocal, PrefSrc: netip.MustParseAddr("127.0.0.1"), Scope: ifwatch.ScopeHost},
		change: under(ifwatch.Policy{Loopback: ifwatch.LoopbackRefuse}),
		lost:   "/ 127.0.0.1:not_usable 192.0.2.1:reach",
	},
	{
		name:  "an address of this host that no link has cannot be judged",
		addrs: []ifwatch.Addr{addr2("192.0.2.1/24")}, dst: "198.51.100.1",
		route: ifwatch.Route{Type: ifwatch.RouteLocal}, change: under(ifwatch.Policy{}),
		want: "192.0.2.1 only",
	},
	{
		name:  "temporary addresses avoided",
		addrs: []ifwatch.Addr{addr2("2001:db8::a/64", ifwatch.Temporary), addr2("2001:db8::1/64")}, dst: "2001:db8::9",
		change: under(ifwatch.Policy{Temporary: ifwatch.TemporaryAvoid}),
		want:   "2001:db8::1 only", lost: "/ 2001:db8::a:not_usable",
	},
}

// TestPending is about new flows that begin while DAD runs on the link that they would leave by.
func TestPending(t *testing.T) {
	for _, c := range []selection{
		{
			name:  "the kernel would take another link's address",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
			want: "2001:db8::1",
		},
		{
			name:  "there is nothing else at all",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative)}, dst: "2001:db8::9",
			want: "2001:db8::1",
		},
		{
			name:  "only a link-local one, which does not reach",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative), addr2("fe80::1/64")}, dst: "2001:db8::9",
			want: "2001:db8::1",
		},
		{
			name:  "optimistic, and the policy waits for DAD",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative, ifwatch.Optimistic), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
			want: "2001:db8::1",
		},
		{
			name:  "optimistic, and the policy uses it",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative, ifwatch.Optimistic)}, dst: "2001:db8::9",
			change: under(ifwatch.Policy{Optimistic: ifwatch.OptimisticUse}),
		},
		{
			name:  "the route names the tentative one as its source",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
			route: ifwatch.Route{PrefSrc: netip.MustParseAddr("2001:db8::1")},
			want:  "2001:db8::1",
		},
		{
			name:  "another address of the link serves as well",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative), addr2("2001:db8:2::1/64")}, dst: "2001:db8::9",
		},
		{
			name:  "tentative on a link that the route does not leave by",
			addrs: []ifwatch.Addr{addr3("2001:db8::1/64", ifwatch.Tentative), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
		},
		{
			name:  "the tentative one would not be chosen afterwards",
			addrs: []ifwatch.Addr{addr2("fd00::1/64", ifwatch.Tentative, ifwatch.Deprecated), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
		},
		{
			name:  "DAD waits for carrier",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
			change: func(s *ifwatch.Selection) { neverCarrier(&s.Snapshot.Links[1]) },
		},
		{
			name:  "DAD has failed",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative, ifwatch.DADFailed), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
		},
		{
			name:  "the link is not selected",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative), addr3("2001:db8:3::1/64")}, dst: "2001:db8::9",
			change: under(ifwatch.Policy{Interfaces: patterns("eth1")}),
		},
		{
			name:  "the other family does not matter",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative), addr2("192.0.2.1/24")}, dst: "203.0.113.9",
		},
		{
			name:  "the route is not known",
			addrs: []ifwatch.Addr{addr2("2001:db8::1/64", ifwatch.Tentative)}, dst: "2001:db8::9",
			change: func(s *ifwatch.Selection) { s.Route.Link = 0 },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.selection()
			if s.Policy == nil {
				s.Policy = &ifwatch.Policy{}
			}
			before := slices.Clone(s.Snapshot.Addrs)
			a, ok := s.Pending()
			got := ""
			if ok {
				got = a.Addr.String()
			}
			if got != c.want || ok && !a.Flags.Has(ifwatch.Tentative) {
				t.Errorf("waits for %q (%q), want %q", got, a.Flags.Names(), c.want)
			}
			if !slices.Equal(before, s.Snapshot.Addrs) {
				t.Error("the snapshot was changed")
			}
		})
	}
}
