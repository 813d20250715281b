package ifwatch_test

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/internal/netlab"
)

// prefixes4 are the networks of the trials. They never leave their namespaces.
func prefixes4() []netip.Addr {
	var all []netip.Addr
	for _, s := range []string{
		"192.0.2.0", "192.0.2.64", "192.0.2.128", "198.51.100.0", "198.51.100.128", "203.0.113.0", "10.0.0.0", "10.0.128.0", "172.16.0.0",
		"192.168.1.0", "169.254.1.0", "127.0.0.0", "100.64.0.0",
	} {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func bits4() []int { return []int{8, 16, 24, 24, 24, 25, 26, 30, 31, 32} }

func configure4(tr *trial) {
	tr.sysctl(tr.host, "ipv6/conf/default/accept_dad", "0")
	tr.sysctl(tr.far, "ipv6/conf/default/disable_ipv6", "1")
	tr.addLinks(1 + tr.r.IntN(4))
	// Before there are routes: the kernel remembers what it has chosen for a next hop until an address changes.
	for _, l := range tr.links {
		tr.sysctl(tr.host, "ipv4/conf/"+l.Name()+"/route_localnet", any1(tr.r, "0", "0", "1"))
	}
	if tr.chance(12) {
		tr.sysctl(tr.host, "ipv4/conf/all/route_localnet", "1")
	}
	tr.upLinks()
	for range 2 + tr.r.IntN(12) {
		tr.addAddr4()
	}
	tr.routes4()
	tr.breakLinks()
}

// addr4 makes up an address: of a network, or near another.
func (tr *trial) addr4() netip.Prefix {
	a, bits := near(tr.r, any1(tr.r, prefixes4()...), any1(tr.r, 24, 28, 30)), any1(tr.r, bits4()...)
	if len(tr.addrs) > 0 && !tr.chance(3) {
		twin := any1(tr.r, tr.addrs...)
		a = near(tr.r, twin.Addr(), any1(tr.r, 23, 24, 25, 26, 28, 30, 31))
		if !tr.chance(3) {
			bits = twin.Bits()
		}
	}
	return netip.PrefixFrom(a, bits)
}

func (tr *trial) addAddr4() {
	p, l := tr.addr4(), tr.link()
	na := &netlink.Addr{IPNet: ipNet(p), Broadcast: net.IPv4zero}
	text := fmt.Sprintf("ip addr add %s dev %s", p, l.Name())
	switch tr.r.IntN(8) {
	case 0:
		na.Scope = int(netlink.SCOPE_LINK)
	case 1:
		na.Scope = int(netlink.SCOPE_HOST)
	case 2:
		na.Scope = any1(tr.r, int(netlink.SCOPE_SITE), 100)
	case 3:
		peer := netip.PrefixFrom(tr.addr4().Addr(), p.Bits())
		tr.at[l.Index()] = append(tr.at[l.Index()], peer, peer)
		na.Peer = ipNet(peer)
		text += " peer " + peer.String()
	case 4:
		na.ValidLft, na.PreferedLft = int(time.Hour/time.Second), 0
		text += " valid_lft 3600 preferred_lft 0"
	}
	if tr.did(tr.host.Netlink().AddrAdd(generic(l), na), "%s scope %d", text, na.Scope) {
		tr.addrs = append(tr.addrs, p)
		tr.at[l.Index()] = append(tr.at[l.Index()], p)
	}
}

// routes4 adds a default route most of the time, and others.
func (tr *trial) routes4() {
	if !tr.chance(5) {
		tr.route4(netip.MustParsePrefix("0.0.0.0/0"))
	}
	for range tr.r.IntN(5) {
		a := any1(tr.r, prefixes4()...)
		if len(tr.addrs) > 0 && tr.chance(2) {
			a = near(tr.r, any1(tr.r, tr.addrs...).Addr(), any1(tr.r, 16, 24, 28))
		}
		tr.route4(netip.PrefixFrom(a, any1(tr.r, 1, 8, 16, 24, 25, 28, 32)).Masked())
	}
	if tr.chance(6) {
		p := netip.PrefixFrom(any1(tr.r, prefixes4()...), 16).Masked()
		rule := netlink.NewRule()
		rule.Family, rule.Table, rule.Priority, rule.Dst = netlink.FAMILY_V4, 100, 1000, ipNet(p)
		tr.did(tr.host.Netlink().RuleAdd(rule), "ip rule add to %s lookup 100 priority 1000", p)
		l := tr.link()
		err := tr.host.Netlink().RouteAdd(&netlink.Route{
			LinkIndex: l.Index(), Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")), Table: 100, Scope: netlink.SCOPE_LINK,
		})
		tr.did(err, "ip route add default dev %s table 100", l.Name())
	}
}

// route4 adds a route of some form.
func (tr *trial) route4(p netip.Prefix) {
	l := tr.link()
	route := netlink.Route{LinkIndex: l.Index(), Dst: ipNet(p), Priority: tr.r.IntN(3), Family: netlink.FAMILY_V4}
	text := fmt.Sprintf("ip route add %s dev %s metric %d", p, l.Name(), route.Priority)
	form := tr.r.IntN(9)
	if p.Bits() == 0 && !tr.chance(3) {
		form = 8 // by a next hop, as most hosts have it
	} else if tr.chance(4) && len(tr.addrs) > 0 {
		src := any1(tr.r, tr.addrs...).Addr()
		route.Src = src.AsSlice()
		text += " src " + src.String()
	}
	switch form {
	case 3:
		route.Scope = any1(tr.r, netlink.SCOPE_LINK, netlink.SCOPE_LINK, netlink.SCOPE_HOST, netlink.SCOPE_SITE)
		text += fmt.Sprintf(" scope %d", route.Scope)
	case 4:
		route.Type = any1(tr.r, unix.RTN_UNREACHABLE, unix.RTN_BLACKHOLE, unix.RTN_LOCAL, unix.RTN_LOCAL)
		if p.Contains(netip.MustParseAddr("224.0.0.9")) {
			route.Type = unix.RTN_UNREACHABLE // a group that is this host itself has no source
		}
		if route.Type == unix.RTN_LOCAL {
			route.Scope = netlink.SCOPE_HOST
		}
		text += fmt.Sprintf(" type %d", route.Type)
	case 5:
		tr.multipath = true
		second := tr.link()
		gw := tr.hop4(second)
		route.LinkIndex = 0
		route.MultiPath = []*netlink.NexthopInfo{
			{LinkIndex: l.Index()}, {LinkIndex: second.Index(), Gw: gw.AsSlice(), Flags: int(netlink.FLAG_ONLINK)},
		}
		text += fmt.Sprintf(" and via %s dev %s onlink", gw, second.Name())
	case 6:
		via := netip.MustParseAddr("fe80::1234")
		route.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: via.AsSlice()}
		text += " via inet6 " + via.String()
	case 7:
		route.Scope = netlink.SCOPE_LINK
	default:
		gw := tr.hop4(l)
		route.Gw, route.Flags = gw.AsSlice(), int(netlink.FLAG_ONLINK)
		text += " via " + gw.String() + " onlink"
	}
	tr.did(tr.host.Netlink().RouteAdd(&route), "%s", text)
}

// hop4 makes up a next hop on a link: in the network of one of its addresses, more often than not.
func (tr *trial) hop4(l *netlab.Link) netip.Addr {
	own := tr.at[l.Index()]
	if len(own) == 0 || tr.chance(4) {
		return near(tr.r, any1(tr.r, prefixes4()...), 24)
	}
	a := any1(tr.r, own...)
	return near(tr.r, a.Addr(), min(a.Bits()+1, 31))
}

// askable4 makes up a question: about something near an address of the host, mostly.
func askable4(tr *trial) question {
	var q question
	switch {
	case tr.chance(15):
		q.dst = netip.MustParseAddr(any1(tr.r, "127.0.0.1", "127.1.2.3", "224.0.0.9", "233.252.0.1", "169.254.7.7"))
	case len(tr.addrs) > 0 && !tr.chance(3):
		p := any1(tr.r, tr.addrs...)
		q.dst = near(tr.r, p.Addr(), any1(tr.r, append(bits4(), p.Bits(), p.Bits()-1, 30)...)%32)
		if tr.chance(8) {
			q.dst = p.Addr()
		}
	default:
		q.dst = near(tr.r, any1(tr.r, prefixes4()...), any1(tr.r, 16, 24, 28))
	}
	if q.dst.IsMulticast() && tr.multipath { // which way a group is sent to cannot be asked for
		q.dst = netip.MustParseAddr("203.0.113.98")
	}
	if q.dst.IsUnspecified() || q.dst.As4()[0] == 0 || q.dst.As4()[0] >= 240 {
		q.dst = netip.MustParseAddr("203.0.113.99")
	}
	if tr.chance(4) {
		q.link = tr.link().Index()
	}
	return q
}
