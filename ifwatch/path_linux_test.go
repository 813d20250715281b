package ifwatch_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/netlab"
)

// router is a host with eth0 and eth1, and routes by which something can go wrong.
type router struct {
	t          *testing.T
	host       *netlab.Host
	eth0, eth1 *netlab.Link
}

func newRouter(t *testing.T) *router {
	t.Helper()
	lab := netlab.New(t)
	host, far := lab.Host("host"), lab.Host("far")
	host.NoDAD()
	eth0, _ := lab.Cable(host, "eth0", far, "eth0")
	eth1, _ := lab.Cable(host, "eth1", far, "eth1")
	eth0.Add("192.0.2.1/24", "2001:db8::1/64")
	eth1.Add("198.51.100.1/24", "2001:db8:1::1/64")
	for _, l := range []*netlab.Link{eth0, eth1} {
		l.LinkLocal()
	}
	eth0.AwaitUsable("2001:db8::1")
	eth1.AwaitUsable("2001:db8:1::1")
	return &router{t, host, eth0, eth1}
}

func (r *router) must(err error, what string) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
}

// route adds a route; "default" is written as 0.0.0.0/0 or ::/0.
func (r *router) route(dst string, change func(*netlink.Route)) {
	r.t.Helper()
	route := netlink.Route{Dst: ipNet(netip.MustParsePrefix(dst))}
	change(&route)
	r.must(r.host.Netlink().RouteAdd(&route), "route to "+dst)
}

// by is a route by a link, to a gateway unless that is "".
func by(l *netlab.Link, gateway string) func(*netlink.Route) {
	return func(route *netlink.Route) {
		route.LinkIndex = l.Index()
		if gateway != "" {
			route.Gw = netip.MustParseAddr(gateway).AsSlice()
		}
	}
}

func (r *router) rule(family int, change func(*netlink.Rule)) {
	r.t.Helper()
	rule := netlink.NewRule()
	rule.Family = family
	change(rule)
	r.must(r.host.Netlink().RuleAdd(rule), "rule")
}

func (r *router) lookup(q ifwatch.RouteQuery) (route ifwatch.Route, err error) {
	r.t.Helper()
	if err := r.host.Do(func() error {
		route, err = ifwatch.LookupRoute(r.t.Context(), q)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return route, err
}

// check looks a route up and compares what is said about it.
func (r *router) check(what string, q ifwatch.RouteQuery, want ifwatch.Route, rule string) {
	r.t.Helper()
	got, err := r.lookup(q)
	if got.Rule.String() != rule {
		r.t.Errorf("%s: by rule %q, want %q", what, got.Rule, rule)
	}
	want.Dst, want.Rule = q.Dst, got.Rule
	if err != nil || got != want {
		r.t.Errorf("%s:\n%+v, %v, want\n%+v", what, got, err, want)
	}
}

func to(dst string) ifwatch.RouteQuery { return ifwatch.RouteQuery{Dst: netip.MustParseAddr(dst)} }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

const mainRule = "32766: from all lookup main"

func TestKernelRoutes(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.route("0.0.0.0/0", by(r.eth0, "192.0.2.254"))
	r.route("203.0.113.0/24", func(route *netlink.Route) {
		by(r.eth1, "")(route)
		route.Src, route.Scope = addr("192.0.2.1").AsSlice(), netlink.SCOPE_LINK
	})
	r.route("203.0.113.128/25", func(route *netlink.Route) {
		route.LinkIndex = r.eth0.Index()
		route.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: addr("fe80::9").AsSlice()}
	})
	r.route("::/0", by(r.eth1, "2001:db8:1::fe"))
	r.route("2001:db8:f::/48", func(route *netlink.Route) {
		by(r.eth0, "")(route)
		route.Src = addr("2001:db8:1::1").AsSlice()
	})
	r.check("by a gateway", to("100.64.0.9"), ifwatch.Route{
		Type: ifwatch.RouteUnicast, Link: r.eth0.Index(), Gateway: addr("192.0.2.254"), Source: addr("192.0.2.1"),
		Prefix: netip.MustParsePrefix("0.0.0.0/0"), Table: 254,
	}, mainRule)
	r.check("to a neighbour", to("198.51.100.9"), ifwatch.Route{
		Type: ifwatch.RouteUnicast, Link: r.eth1.Index(), Source: addr("198.51.100.1"),
		Prefix: netip.MustParsePrefix("198.51.100.0/24"), PrefSrc: addr("198.51.100.1"), Table: 254, Scope: ifwatch.ScopeLink,
	}, mainRule)
	r.check("from the address of another link", to("203.0.113.9"), ifwatch.Route{
		Type: ifwatch.RouteUnicast, Link: r.eth1.Index(), Source: addr("192.0.2.1"),
		Prefix: netip.MustParsePrefix("203.0.113.0/24"), PrefSrc: addr("192.0.2.1"), Table: 254, Scope: ifwatch.ScopeLink,
	}, mainRule)
	r.check("by an IPv6 gateway", to("203.0.113.129"), ifwatch.Route{
		Type: ifwatch.RouteUnicast, Link: r.eth0.Index(), Gateway: addr("fe80::9"), Source: addr("192.0.2.1"),
		Prefix: netip.MustParsePrefix("203.0.113.128/25"), Table: 254,
	}, mainRule)
	r.check("to itself", to("192.0.2.1"), ifwatch.Route{
		Type: ifwatch.RouteLocal, Link: r.eth0.Index(), Source: addr("192.0.2.1"),
		Prefix: netip.MustParsePrefix("192.0.2.1/32"), PrefSrc: addr("192.0.2.1"), Table: 255, Scope: ifwatch.ScopeHost,
	}, "0: from all lookup local")
	r.check("IPv6 by a gateway", to("2001:db8:9::9"), ifwatch.Route{
		Type: ifwatch.RouteUnicast, Link: r.eth1.Index(), Gateway: addr("2001:db8:1::fe"), Source: addr("2001:db8:1::1"),
		Prefix: netip.MustParsePrefix("::/0"), Table: 254,
	}, mainRule)
	r.check("IPv6 from the address of another link", to("2001:db8:f::9"), ifwatch.Route{
		Type: ifwatch.RouteUnicast, Link: r.eth0.Index(), Source: addr("2001:db8:1::1"),
		Prefix: netip.MustParsePrefix("2001:db8:f::/48"), PrefSrc: addr("2001:db8:1::1"), Table: 254,
	}, mainRule)
	r.check("IPv6 to itself: not lo, which the plain answer has", to("2001:db8:1::1"), ifwatch.Route{
		Type: ifwatch.RouteLocal, Link: r.eth1.Index(), Source: addr("2001:db8:1::1"),
		Prefix: netip.MustParsePrefix("2001:db8:1::1/128"), Table: 255,
	}, "0: from all lookup local")
	bound := to("100.64.0.9")
	bound.Link = r.eth1.Index()
	r.check("no route, but a link", bound, ifwatch.Route{
		Type: ifwatch.RouteUnicast, Link: r.eth1.Index(), Source: addr("198.51.100.1"), Bound: true, Assumed: true,
	}, "")
	bound = to("fe80::9")
	bound.Link = r.eth1.Index()
	r.check("link-local", bound, ifwatch.Route{
		Type: ifwatch.RouteUnicast, Link: r.eth1.Index(), Source: r.eth1.LinkLocal().WithZone(""),
		Prefix: netip.MustParsePrefix("fe80::/64"), Table: 254, Bound: true,
	}, mainRule)
}

func TestKernelNoRoute(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	for dst, typ := range map[string]int{
		"203.0.113.1/32": unix.RTN_UNREACHABLE, "203.0.113.2/32": unix.RTN_PROHIBIT, "203.0.113.3/32": unix.RTN_BLACKHOLE,
		"2001:db8:f::1/128": unix.RTN_UNREACHABLE, "2001:db8:f::2/128": unix.RTN_PROHIBIT,
	} {
		r.route(dst, func(route *netlink.Route) { route.Type = typ })
	}
	for _, c := range []struct {
		dst  string
		want error
	}{
		{"100.64.0.9", unix.ENETUNREACH},
		{"203.0.113.1", unix.EHOSTUNREACH},
		{"203.0.113.2", unix.EACCES},
		{"203.0.113.3", unix.EINVAL},
		{"2001:db8:9::9", unix.ENETUNREACH},
		{"2001:db8:f::1", unix.EHOSTUNREACH},
		{"2001:db8:f::2", unix.EACCES},
	} {
		if route, err := r.lookup(to(c.dst)); !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "route to "+c.dst+": ") {
			t.Errorf("to %s: %+v, %v", c.dst, route, err)
		}
	}
	mixed := to("192.0.2.9")
	mixed.From = addr("2001:db8::1")
	for _, q := range []ifwatch.RouteQuery{{}, mixed} {
		if route, err := r.lookup(q); err == nil {
			t.Errorf("%+v: %+v", q, route)
		}
	}
}

// TestKernelPolicyRouting has the tables of a VPN and of a host with two uplinks.
func TestKernelPolicyRouting(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.route("0.0.0.0/0", by(r.eth0, "192.0.2.254"))
	r.route("0.0.0.0/0", func(route *netlink.Route) { by(r.eth1, "198.51.100.254")(route); route.Table = 51820 })
	r.route("::/0", func(route *netlink.Route) { by(r.eth1, "2001:db8:1::fe")(route); route.Table = 100 })
	uid := uint32(os.Geteuid())
	r.rule(netlink.FAMILY_V6, func(rule *netlink.Rule) {
		rule.Priority, rule.Table, rule.UIDRange = 50, 100, netlink.NewRuleUIDRange(uid, uid)
	})
	if route, err := r.lookup(to("2001:db8:9::9")); err != nil || route.Table != 100 || route.Rule.String() != fmt.Sprintf("50: from all uidrange %d-%d lookup 100", uid, uid) {
		t.Errorf("by user: %+v, %v", route, err)
	}

	// As wg-quick has it: everything by the tunnel but its own packets, and what is nearer than the default route.
	all := uint32(0xffffffff)
	r.rule(netlink.FAMILY_V4, func(rule *netlink.Rule) {
		rule.Priority, rule.Table, rule.Mark, rule.Mask, rule.Invert = 90, 51820, 51820, &all, true
	})
	r.rule(netlink.FAMILY_V4, func(rule *netlink.Rule) { rule.Priority, rule.Table, rule.SuppressPrefixlen = 80, 254, 0 })
	q := to("100.64.0.9")
	if route, err := r.lookup(q); err != nil || route.Link != r.eth1.Index() || route.Rule.String() != "90: not from all fwmark 0xca6c lookup 51820" {
		t.Errorf("by the tunnel: %+v, %v", route, err)
	}
	q.Mark = 51820
	if route, err := r.lookup(q); err != nil || route.Link != r.eth0.Index() || route.Rule.String() != mainRule {
		t.Errorf("of the tunnel: %+v, %v", route, err)
	}
	if route, err := r.lookup(to("192.0.2.9")); err != nil || route.Rule.String() != "80: from all lookup main suppress_prefixlength 0" {
		t.Errorf("to a neighbour: %+v, %v", route, err)
	}

	r.rule(netlink.FAMILY_V4, func(rule *netlink.Rule) {
		rule.Priority, rule.Table, rule.Src = 10, 51820, ipNet(netip.MustParsePrefix("198.51.100.0/24"))
	})
	q = to("100.64.0.9")
	q.From, q.Mark = addr("198.51.100.1"), 51820
	if route, err := r.lookup(q); err != nil || route.Link != r.eth1.Index() || route.Rule.String() != "10: from 198.51.100.0/24 lookup 51820" {
		t.Errorf("by source: %+v, %v", route, err)
	}
	r.rule(netlink.FAMILY_V4, func(rule *netlink.Rule) {
		rule.Priority, rule.Table, rule.IPProto, rule.Dport = 5, 51820, unix.IPPROTO_UDP, netlink.NewRulePortRange(5060, 5061)
	})
	q = to("100.64.0.9")
	q.Mark, q.Protocol, q.DstPort = 51820, unix.IPPROTO_UDP, 5060
	if route, err := r.lookup(q); err != nil || route.Link != r.eth1.Index() || route.Rule.String() != "5: from all ipproto udp dport 5060-5061 lookup 51820" {
		t.Errorf("by port: %+v, %v", route, err)
	}
	r.rule(netlink.FAMILY_V4, func(rule *netlink.Rule) { rule.Priority, rule.Table, rule.OifName = 3, 51820, "eth1" })
	q = to("100.64.0.9")
	q.Link = r.eth1.Index()
	if route, err := r.lookup(q); err != nil || route.Assumed || route.Rule.String() != "3: from all oif eth1 lookup 51820" {
		t.Errorf("by link: %+v, %v", route, err)
	}
}

func TestKernelTables(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	host := lab.Host("host")
	for _, c := range []struct {
		name  string
		index int
	}{{"br7", 7}, {"br5", 5}, {"br9", 9}, {"br6", 6}} {
		err := host.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: c.name, Index: c.index}})
		if err != nil {
			t.Fatal(err)
		}
	}
	host.Link("br6").Conf("disable_ipv6", "1")
	br5 := host.Link("br5")
	br5.Conf("use_tempaddr", "2")
	br5.Conf("use_oif_addrs_only", "1")
	br5.Conf("optimistic_dad", "1")
	host.Sysctl("ipv6/conf/all/use_optimistic", "1")
	host.Sysctl("ipv4/conf/br7/route_localnet", "1")
	tables := netlab.In(host, func() (*ifwatch.Tables, error) { return ifwatch.ReadTables(t.Context()) })
	if want := []int{1, 7, 5, 9, 6}; !slices.Equal(tables.Order, want) {
		t.Errorf("order %v, want %v", tables.Order, want)
	}
	if k, want := tables.Knobs[5], (ifwatch.Knobs{UseTempAddr: 2, OIFAddrsOnly: true, UseOptimistic: true}); k != want {
		t.Errorf("br5: %+v, want %+v", k, want)
	}
	if k, want := tables.Knobs[7], (ifwatch.Knobs{RouteLocalnet: true}); k != want {
		t.Errorf("br7: %+v, want %+v", k, want)
	}
	if n := len(tables.Labels); n != 10 {
		t.Errorf("%d labels: %v", n, tables.Labels)
	}
	// The kernel's table is the one that is taken where it cannot be read.
	sel := ifwatch.Selection{Snapshot: &ifwatch.Snapshot{}, Route: ifwatch.Route{Dst: addr("2001:db8::1")}}
	if labels := sel.Labels(); !slices.Equal(labels, tables.Labels) {
		t.Errorf("labels %v, and the kernel has %v", labels, tables.Labels)
	}
}

// find finds the path from a host.
func (r *router) find(p ifwatch.Policy, dst string) (path *ifwatch.Path, err error) {
	r.t.Helper()
	if doErr := r.host.Do(func() error {
		s, readErr := ifwatch.Read(r.t.Context())
		if readErr == nil {
			path, err = ifwatch.FindPath(r.t.Context(), s, &p, addr(dst))
		}
		return readErr
	}); doErr != nil {
		r.t.Fatal(doErr)
	}
	return path, err
}

// checkPath compares interface, source and rule of the choice, and the kernel's source if that is another.
func (r *router) checkPath(p ifwatch.Policy, dst, want string) *ifwatch.Path {
	r.t.Helper()
	path, err := r.find(p, dst)
	if err != nil {
		r.t.Errorf("to %s: %v", dst, err)
		return path
	}
	c := path.Choice
	got := "none"
	if c.Source.IsValid() {
		got = fmt.Sprintf("%s %s %s", c.Interface, c.Source, c.Rule)
	}
	if path.Kernel != c.Source {
		got += " instead of " + path.Kernel.String()
	}
	if got != want || path.Differs() {
		r.t.Errorf("to %s: %q, want %q; the kernel %s, expected %s", dst, got, want, path.Kernel, path.Expected.Source)
	}
	return path
}

func TestKernelPath(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.route("0.0.0.0/0", by(r.eth0, "192.0.2.254"))
	r.route("::/0", by(r.eth0, "2001:db8::fe"))
	local := r.eth1.LinkLocal().WithZone("")
	var any ifwatch.Policy
	r.checkPath(any, "100.64.0.9", "eth0 192.0.2.1 outgoing_interface")
	r.checkPath(any, "198.51.100.9", "eth1 198.51.100.1 route_source")
	r.checkPath(any, "127.0.0.1", "lo 127.0.0.1 route_source")
	r.checkPath(any, "::1", "lo ::1 only")
	r.checkPath(any, "192.0.2.1", "eth0 192.0.2.1 route_source")
	r.checkPath(any, "2001:db8:9::9", "eth0 2001:db8::1 outgoing_interface")
	r.checkPath(any, "2001:db8:1::9", "eth1 2001:db8:1::1 outgoing_interface")
	r.checkPath(any, "::ffff:100.64.0.9", "eth0 192.0.2.1 outgoing_interface")
	r.checkPath(any, "fe80::9%eth1", "eth1 "+local.String()+" only")
	r.checkPath(any, fmt.Sprintf("fe80::9%%%d", r.eth1.Index()), "eth1 "+local.String()+" only")

	only1 := ifwatch.Policy{Interfaces: patterns("eth1")}
	path := r.checkPath(only1, "100.64.0.9", "eth1 198.51.100.1 only")
	if !path.Route.Assumed || !path.Route.Bound || path.Route.Link != r.eth1.Index() {
		t.Errorf("route %+v", path.Route)
	}
	// There is no IPv6 route by eth1, and no such assumption: an address of eth1 is all that the policy leaves.
	r.checkPath(only1, "2001:db8:9::9", "eth1 2001:db8:1::1 only instead of 2001:db8::1")
	r.checkPath(ifwatch.Policy{Interfaces: patterns("none")}, "100.64.0.9", "none instead of 192.0.2.1")
	r.checkPath(ifwatch.Policy{Family: ifwatch.Inet}, "2001:db8:9::9", "none instead of 2001:db8::1")

	for dst, want := range map[string]string{
		"fe80::9":      "needs its interface, as in fe80::9%eth0",
		"fe80::9%eth9": "there is no interface eth9",
		"fe80::9%99":   "there is no interface 99",
	} {
		if _, err := r.find(any, dst); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("to %s: %v", dst, err)
		}
	}
	if _, err := r.find(ifwatch.Policy{LinkLocal: ifwatch.LinkLocalRefuse}, "fe80::9"); err == nil || !strings.Contains(err.Error(), "no interface has a usable link-local address") {
		t.Errorf("link-local refused: %v", err)
	}
	r.checkPath(only1, "fe80::9", "eth1 "+local.String()+" only")
}

func TestKernelPathWithoutWay(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	for _, dst := range []string{"100.64.0.9", "2001:db8:9::9"} {
		path, err := r.find(ifwatch.Policy{}, dst)
		if !errors.Is(err, unix.ENETUNREACH) || path.Kernel.IsValid() || path.Route.Link != 0 {
			t.Errorf("to %s: %+v, %v", dst, path, err)
		}
	}
}

// TestKernelPathBySource has a default route for one source only, as hosts with two providers do (RFC 8028): the kernel
// chooses among the addresses of all links before it finds it.
func TestKernelPathBySource(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	tr := &trial{t: t, host: r.host, addrs: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")}}
	if err := tr.addSourceRoute6(netip.MustParsePrefix("::/0"), netip.MustParsePrefix("2001:db8:1::/64"), r.eth1); err != nil {
		t.Skipf("no source-specific routes in this kernel: %v", err)
	}
	path := r.checkPath(ifwatch.Policy{}, "2001:db8:1:9::9", "eth1 2001:db8:1::1 prefix")
	if path.Route.Link != r.eth1.Index() || path.Route.Prefix.Bits() != 0 {
		t.Errorf("route %+v", path.Route)
	}
}

// TestKernelPathPending looks at a host whose DAD runs on the link to the destination.
func TestKernelPathPending(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	host, far := lab.Host("host"), lab.Host("far")
	eth0, _ := lab.Cable(host, "eth0", far, "eth0")
	eth1, _ := lab.Cable(host, "eth1", far, "eth1")
	r := &router{t, host, eth0, eth1}
	for _, l := range []*netlab.Link{eth0, eth1} {
		l.LinkLocal()
	}
	eth1.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8:1::1/64"), Flags: unix.IFA_F_NODAD})
	eth0.SlowDAD(time.Minute)
	eth0.Add("2001:db8::1/64")
	r.route("::/0", by(eth0, "fe80::9"))
	path := r.checkPath(ifwatch.Policy{}, "2001:db8::9", "eth1 2001:db8:1::1 only")
	if path.Pending.Addr != addr("2001:db8::1") || path.Route.Link != eth0.Index() {
		t.Errorf("pending %v, route %+v", path.Pending, path.Route)
	}
	path = r.checkPath(ifwatch.Policy{}, "2001:db8:1::9", "eth1 2001:db8:1::1 only")
	if path.Pending.Addr.IsValid() {
		t.Errorf("pending %v", path.Pending)
	}
}
