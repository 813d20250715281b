package ifwatch_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/netlab"
)

// prefixes6 are of every class that source selection tells apart. Most are outside of what is reserved for documentation;
// nothing of it ever leaves the namespaces that the trials are in.
func prefixes6() []netip.Addr {
	var all []netip.Addr
	for _, s := range []string{
		"2001:db8:1::", "2001:db8:1:8000::", "2001:db8:2::", "2001:db8:ffff::", "2a00:1450::", "fd00:1::", "fd00:2::", "fc00:1::",
		"fec0:1::", "fe80::", "2002:c000:201::", "2001:0:c000:201::", "2001:10:1::", "2001:1f:1::", "2001:20:1::", "3ffe:1::", "::c000:201",
		"::ffff:c633:6407", "64:ff9b::",
	} {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// theme6 makes hosts on which a certain rule has something to say. If all were equally random, some rules would hardly ever
// be reached: too much differs before them.
type theme6 struct {
	about      string
	pool       []netip.Addr          // of which addresses and destinations are; nil: all
	beyond     []netip.Addr          // of which other destinations are
	links      int                   // 0: any number
	keep       int                   // how many bits of the pool's addresses stay as they are
	bits       int                   // the length of all prefixes; 0: any
	plain      bool                  // no temporary, tentative or optimistic addresses
	bare       bool                  // the first link has the default route, and no address
	stale      bool                  // the first link has the default route, and only deprecated addresses
	deprecated func(netip.Addr) bool // may be nil
	oifOnly    string                // use_oif_addrs_only
	unlabelled []string              // labels that are deleted
}

func themes6() []theme6 {
	addrs := func(list ...string) (all []netip.Addr) {
		for _, s := range list {
			all = append(all, netip.MustParseAddr(s))
		}
		return all
	}
	wide := func(a netip.Addr) bool { return a.As16()[0] == 0x20 }
	all := func(netip.Addr) bool { return true }
	return []theme6{
		{about: "anything"},
		{about: "prefixes", pool: addrs("2001:db8:1::", "2001:db8:1:8000::", "2001:db8:2::")},
		{about: "states", pool: addrs("2001:db8:1::", "fd00:1::")},
		{
			about: "ORCHIDs", pool: addrs("2001:10:1::", "2001:1f:1::", "2001:db8:1::"), beyond: addrs("2001:20:1::", "2001:1f:2::"),
			links: 1, keep: 32, bits: 64, plain: true, unlabelled: []string{"2001::/32", "2001:10::/28"},
		},
		{
			about: "addresses that stand for IPv4", pool: addrs("::ffff:c633:6407", "::c000:201", "2001:db8:1::"),
			beyond: addrs("2001:db8:9::"), links: 2, keep: 100, plain: true, deprecated: all,
		},
		{about: "equals", pool: addrs("2001:db8:1::", "2001:db8:ffff::"), links: 4, bits: 16, plain: true, bare: true},
		{about: "scopes", pool: addrs("fec0:1::", "fe80::", "2001:db8:1::"), deprecated: wide},
		{about: "the outgoing link", pool: addrs("2001:db8:1::", "fd00:1::", "2002:c000:201::"), links: 3, oifOnly: "1", stale: true},
	}
}

// kind6 is a state that an address is brought into.
type kind6 struct {
	name       string
	flags      int
	deprecated bool
}

// kinds6 lists the states of addresses, the usual ones more than once.
func (tr *trial) kinds6() []kind6 {
	plain := kind6{"nodad", unix.IFA_F_NODAD, false}
	if tr.theme.plain {
		return []kind6{plain}
	}
	optimistic := kind6{"optimistic", unix.IFA_F_OPTIMISTIC, false}
	return []kind6{
		plain, plain, plain,
		{"nodad", unix.IFA_F_NODAD, true},
		{"nodad home", unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS, false},
		{"", 0, false}, // tentative
		optimistic, optimistic,
		{"optimistic", unix.IFA_F_OPTIMISTIC, true},
	}
}

func configure6(tr *trial) {
	tr.sysctl(tr.host, "ipv6/conf/default/addr_gen_mode", "1") // no address that was not asked for
	tr.sysctl(tr.host, "ipv6/conf/default/accept_dad", "0")
	tr.sysctl(tr.host, "ipv6/conf/default/router_solicitation_delay", "0")
	if !tr.chance(8) {
		tr.sysctl(tr.far, "ipv6/conf/default/disable_ipv6", "1") // else it can make DAD fail
	}
	tr.theme = themes6()[tr.number%len(themes6())]
	tr.did(nil, "# about %s", tr.theme.about)
	if tr.pool = tr.theme.pool; tr.pool == nil {
		tr.pool = prefixes6()
	}
	tr.addLinks(cmp.Or(tr.theme.links, 1+tr.r.IntN(4)))
	for _, l := range tr.links {
		tr.sysctl(tr.host, "ipv6/neigh/"+l.Name()+"/retrans_time_ms", "100000") // tentative for the rest of the trial
		tr.conf6(l, "keep_addr_on_down", "1", "1", "0")
		tr.conf6(l, "optimistic_dad", "0", "1", "1", "1")
		tr.conf6(l, "use_tempaddr", "1", "2")
	}
	tr.upLinks()
	if !tr.theme.plain {
		for range 1 + tr.r.IntN(5) {
			tr.addAddr6(kind6{name: "mngtmpaddr", flags: unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_NODAD})
		}
		tr.settleTemporary()
	}
	for _, l := range tr.links {
		tr.conf6(l, "accept_dad", "1")
	}
	for range 3 + tr.r.IntN(12) {
		tr.addAddr6(any1(tr.r, tr.kinds6()...))
	}
	tr.settle("DAD is over on lo, where there is none", func(a ifwatch.Addr) bool { return a.Link == 1 })
	tr.labels6()
	tr.routes6()
	for _, l := range tr.links {
		tr.conf6(l, "use_tempaddr", "0", "1", "2", "3", "-1")
		tr.conf6(l, "use_oif_addrs_only", "0", cmp.Or(tr.theme.oifOnly, any1(tr.r, "0", "1")))
		tr.conf6(l, "use_optimistic", "0", "1", "1")
		tr.conf6(l, "optimistic_dad", "0", "1", "1", "1")
	}
	if tr.chance(6) {
		tr.sysctl(tr.host, "ipv6/conf/all/use_optimistic", "1")
	}
	if tr.chance(6) {
		tr.sysctl(tr.host, "ipv6/conf/all/optimistic_dad", "1")
	}
	tr.breakLinks()
}

// conf6 gives a setting of a link one of these values.
func (tr *trial) conf6(l *netlab.Link, key string, values ...string) {
	tr.sysctl(tr.host, "ipv6/conf/"+l.Name()+"/"+key, any1(tr.r, values...))
}

// bits6 are prefix lengths around which something happens.
func bits6() []int {
	return []int{10, 16, 28, 32, 48, 56, 60, 64, 64, 65, 80, 96, 112, 120, 126, 127, 128}
}

// addr6 makes up an address: of a prefix, or one that is nearly another.
func (tr *trial) addr6() netip.Prefix {
	a, bits := near(tr.r, any1(tr.r, tr.pool...), any1(tr.r, max(tr.theme.keep, 64), 112, 126)), any1(tr.r, bits6()...)
	if len(tr.addrs) > 0 && !tr.chance(3) {
		twin := any1(tr.r, tr.addrs...)
		a = near(tr.r, twin.Addr(), max(tr.theme.keep, any1(tr.r, append(bits6(), twin.Bits(), 120, 126)...)%128))
		if tr.chance(2) {
			bits = twin.Bits()
		}
	}
	bits = cmp.Or(tr.theme.bits, bits)
	return netip.PrefixFrom(a, bits)
}

func (tr *trial) addAddr6(k kind6) {
	p, l := tr.addr6(), tr.link()
	if tr.theme.bare && len(tr.links) > 1 {
		l = any1(tr.r, tr.links[1:]...)
	}
	if k.flags&unix.IFA_F_MANAGETEMPADDR != 0 {
		p = netip.PrefixFrom(p.Addr(), 64)
	}
	if tr.theme.deprecated != nil {
		k.deprecated = tr.theme.deprecated(p.Addr())
	}
	if tr.theme.stale && len(tr.links) > 0 && l.Index() == tr.links[0].Index() {
		k.deprecated = true
	}
	na := &netlink.Addr{IPNet: ipNet(p), Flags: k.flags}
	life := ""
	if k.deprecated {
		na.ValidLft, na.PreferedLft, life = int(time.Hour/time.Second), 0, "valid_lft 3600 preferred_lft 0"
	}
	if far := tr.cables[l]; far != nil && k.flags == 0 && tr.chance(2) && p.Bits() < 128 {
		// Refused where the far host has no IPv6; then DAD goes on.
		err := tr.far.Netlink().AddrAdd(generic(far), &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD})
		tr.did(err, "ip addr add %s dev %s nodad # on far", p, far.Name())
	}
	if tr.did(tr.host.Netlink().AddrAdd(generic(l), na), "ip addr add %s dev %s %s %s", p, l.Name(), k.name, life) {
		tr.addrs = append(tr.addrs, p)
	}
}

func generic(l *netlab.Link) netlink.Link {
	return &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: l.Index(), Name: l.Name()}}
}

// settle waits until no such address is tentative.
func (tr *trial) settle(what string, which func(ifwatch.Addr) bool) *ifwatch.Snapshot {
	var s *ifwatch.Snapshot
	netlab.Await(tr.t, what, func() error {
		s = tr.read()
		if i := slices.IndexFunc(s.Addrs, func(a ifwatch.Addr) bool { return a.Flags.Has(ifwatch.Tentative) && which(a) }); i >= 0 {
			return fmt.Errorf("%v", s.Addrs[i])
		}
		return nil
	})
	return s
}

// settleTemporary waits until the temporary addresses are valid, and deprecates some.
func (tr *trial) settleTemporary() {
	s := tr.settle("temporary addresses", func(ifwatch.Addr) bool { return true })
	for _, a := range s.Addrs {
		if !a.Flags.Has(ifwatch.Temporary) {
			continue
		}
		tr.addrs = append(tr.addrs, a.Prefix())
		if l, ok := s.Link(a.Link); ok && tr.chance(4) {
			na := &netlink.Addr{IPNet: ipNet(a.Prefix()), ValidLft: 3600, PreferedLft: 0}
			err := tr.host.Netlink().AddrReplace(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: a.Link}}, na)
			tr.did(err, "ip addr change %s dev %s valid_lft 3600 preferred_lft 0 # temporary", a.Prefix(), l.Name)
		}
	}
}

// labels6 changes the label table.
func (tr *trial) labels6() {
	for range tr.r.IntN(4) {
		p := netip.PrefixFrom(any1(tr.r, tr.pool...), any1(tr.r, 16, 28, 32, 48, 64, 96)).Masked()
		if len(tr.addrs) > 0 && tr.chance(2) {
			p = netip.PrefixFrom(any1(tr.r, tr.addrs...).Addr(), any1(tr.r, 32, 64, 65, 128)).Masked()
		}
		index, dev := 0, ""
		if len(tr.links) > 0 && tr.chance(2) {
			l := any1(tr.r, tr.links...)
			index, dev = l.Index(), "dev "+l.Name()
		}
		label := any1[uint32](tr.r, 1, 5, 99)
		tr.did(tr.label6(unix.RTM_NEWADDRLABEL, p, index, label), "ip addrlabel add prefix %s label %d %s", p, label, dev)
	}
	for _, s := range []string{"::/0", "fc00::/7", "2002::/16", "::ffff:0:0/96", "2001:10::/28", "2001::/32"} {
		if p := netip.MustParsePrefix(s); tr.chance(12) || slices.Contains(tr.theme.unlabelled, s) {
			tr.did(tr.label6(unix.RTM_DELADDRLABEL, p, 0, 0), "ip addrlabel del prefix %s", p)
		}
	}
}

// label6 adds or deletes an entry of the label table.
func (tr *trial) label6(typ int, p netip.Prefix, link int, label uint32) error {
	header := make([]byte, 12) // struct ifaddrlblmsg
	header[0], header[2] = unix.AF_INET6, byte(p.Bits())
	binary.NativeEndian.PutUint32(header[4:], uint32(link))
	return tr.request6(typ, header, map[int][]byte{1: p.Addr().AsSlice(), 2: binary.NativeEndian.AppendUint32(nil, label)})
}

// fixed is the part of a request before its attributes.
type fixed []byte

func (f fixed) Len() int          { return len(f) }
func (f fixed) Serialize() []byte { return f }

// request6 sends what package netlink has no function for.
func (tr *trial) request6(typ int, header []byte, attrs map[int][]byte) error {
	return tr.host.Do(func() error {
		flags := unix.NLM_F_ACK
		if typ != unix.RTM_DELADDRLABEL {
			flags |= unix.NLM_F_CREATE | unix.NLM_F_EXCL
		}
		req := nl.NewNetlinkRequest(typ, flags)
		req.AddData(fixed(header))
		for _, typ := range []int{1, 2, 4, 5, 7, 15} {
			if b := attrs[typ]; b != nil {
				req.AddData(nl.NewRtAttr(typ, b))
			}
		}
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

// routes6 adds a default route most of the time, and others.
func (tr *trial) routes6() {
	if !tr.chance(10) {
		tr.route6(netip.MustParsePrefix("::/0"))
	}
	for range tr.r.IntN(4) {
		bits := any1(tr.r, 3, 16, 32, 48, 64, 128)
		p := netip.PrefixFrom(any1(tr.r, tr.pool...), bits)
		if len(tr.addrs) > 0 && tr.chance(2) {
			p = netip.PrefixFrom(near(tr.r, any1(tr.r, tr.addrs...).Addr(), any1(tr.r, 32, 48, 64, 100)), bits)
		}
		tr.route6(p.Masked())
	}
	if tr.chance(6) {
		p := netip.PrefixFrom(any1(tr.r, tr.pool...), 32).Masked()
		table := 100
		rule := netlink.NewRule()
		rule.Family, rule.Table, rule.Priority, rule.Dst = netlink.FAMILY_V6, table, 1000, ipNet(p)
		tr.did(tr.host.Netlink().RuleAdd(rule), "ip -6 rule add to %s lookup 100 priority 1000", p)
		l := tr.link()
		err := tr.host.Netlink().RouteAdd(&netlink.Route{LinkIndex: l.Index(), Dst: ipNet(netip.MustParsePrefix("::/0")), Table: table})
		tr.did(err, "ip -6 route add default dev %s table 100", l.Name())
	}
}

// route6 adds a route of some form.
func (tr *trial) route6(p netip.Prefix) {
	l := tr.link()
	if (tr.theme.bare || tr.theme.stale) && p.Bits() == 0 && len(tr.links) > 0 {
		l = tr.links[0]
	}
	route := netlink.Route{LinkIndex: l.Index(), Dst: ipNet(p), Priority: 1 + tr.r.IntN(3), Family: netlink.FAMILY_V6}
	text := fmt.Sprintf("ip -6 route add %s dev %s metric %d", p, l.Name(), route.Priority)
	form := tr.r.IntN(9)
	if p.Bits() == 0 && !tr.chance(3) {
		form = any1(tr.r, 0, 8) // by a next hop or the link alone, as most hosts have it
	}
	switch form {
	case 0, 1, 2:
		gw := netip.MustParseAddr("fe80::1234")
		route.Gw = gw.AsSlice()
		text += " via " + gw.String()
	case 3:
		if len(tr.addrs) > 0 {
			src := any1(tr.r, tr.addrs...).Addr()
			route.Src = src.AsSlice()
			text += " src " + src.String()
		}
	case 4:
		route.Type = any1(tr.r, unix.RTN_UNREACHABLE, unix.RTN_BLACKHOLE, unix.RTN_LOCAL)
		text += fmt.Sprintf(" type %d", route.Type)
	case 5:
		second := tr.link()
		route.LinkIndex = 0
		route.MultiPath = []*netlink.NexthopInfo{{LinkIndex: l.Index()}, {LinkIndex: second.Index()}}
		text += " and dev " + second.Name()
	case 6:
		tr.sourceRoute6(p, l)
		return
	}
	tr.did(tr.host.Netlink().RouteAdd(&route), "%s", text)
}

// sourceRoute6 adds a route that is good for certain sources only.
func (tr *trial) sourceRoute6(p netip.Prefix, l *netlab.Link) {
	if len(tr.addrs) == 0 {
		return
	}
	from := netip.PrefixFrom(any1(tr.r, tr.addrs...).Addr(), any1(tr.r, 16, 64, 128)).Masked()
	tr.did(tr.addSourceRoute6(p, from, l), "ip -6 route add %s from %s dev %s", p, from, l.Name())
}

func (tr *trial) addSourceRoute6(p, from netip.Prefix, l *netlab.Link) error {
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1], header[2] = unix.AF_INET6, byte(p.Bits()), byte(from.Bits())
	header[4], header[5], header[7] = unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RTN_UNICAST
	return tr.request6(unix.RTM_NEWROUTE, header, map[int][]byte{
		unix.RTA_DST: p.Addr().AsSlice(), unix.RTA_SRC: from.Addr().AsSlice(),
		unix.RTA_OIF: binary.NativeEndian.AppendUint32(nil, uint32(l.Index())),
	})
}

// askable6 makes up a question: about something near an address of the host, mostly.
func askable6(tr *trial) question {
	q := question{temporary: any1(tr.r, ifwatch.TemporaryKernel, ifwatch.TemporaryKernel, ifwatch.TemporaryPrefer, ifwatch.TemporaryAvoid)}
	switch {
	case tr.chance(12):
		q.dst = netip.MustParseAddr(any1(tr.r, "::1", "ff02::1234", "ff05::1234", "ff0e::1234", "ff01::1234", "fe80::1234", "fec0::1234"))
	case tr.theme.beyond != nil && tr.chance(2):
		q.dst = near(tr.r, any1(tr.r, tr.theme.beyond...), any1(tr.r, 64, 96, 126))
	case len(tr.addrs) > 0 && !tr.chance(3):
		p := any1(tr.r, tr.addrs...)
		q.dst = near(tr.r, p.Addr(), any1(tr.r, append(bits6(), p.Bits(), p.Bits()-1, 63, 126)...)%128)
		if tr.chance(8) {
			q.dst = p.Addr()
		}
	default:
		q.dst = near(tr.r, any1(tr.r, tr.pool...), any1(tr.r, bits6()...)%128)
	}
	if q.dst.Is4In6() || q.dst.IsUnspecified() { // not IPv6 to a socket
		q.dst = netip.MustParseAddr("2001:db8:1::1234")
	}
	if needsScope(q.dst) || tr.chance(8) {
		q.link = tr.link().Index()
	}
	return q
}

// needsScope reports whether the kernel refuses to connect without a link.
func needsScope(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsInterfaceLocalMulticast()
}
