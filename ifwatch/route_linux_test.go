package ifwatch

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// routeBody is the body of an RTM_NEWROUTE.
func routeBody(family, bits, table, scope, typ byte, attrs ...[]byte) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[4], b[6], b[7] = family, bits, table, scope, typ
	return append(b, slices.Concat(attrs...)...)
}

func ipAttr(typ uint16, a string) []byte {
	return withAttr(nil, typ, netip.MustParseAddr(a).AsSlice())
}

func TestParseRoute(t *testing.T) {
	for _, c := range []struct {
		name string
		body []byte
		want routeMessage
	}{
		{
			"default route by a gateway, with a source",
			routeBody(unix.AF_INET, 0, 254, 0, unix.RTN_UNICAST, withAttr32(nil, unix.RTA_TABLE, 254), withAttr32(nil, unix.RTA_OIF, 7),
				ipAttr(unix.RTA_GATEWAY, "192.0.2.254"), ipAttr(unix.RTA_PREFSRC, "192.0.2.1")),
			routeMessage{
				typ: RouteUnicast, prefix: netip.MustParsePrefix("0.0.0.0/0"), link: 7, gateway: netip.MustParseAddr("192.0.2.254"),
				prefSrc: netip.MustParseAddr("192.0.2.1"), table: 254,
			},
		},
		{
			"connected network",
			routeBody(unix.AF_INET6, 64, 254, 0, unix.RTN_UNICAST, ipAttr(unix.RTA_DST, "2001:db8::"), withAttr32(nil, unix.RTA_OIF, 7)),
			routeMessage{typ: RouteUnicast, prefix: netip.MustParsePrefix("2001:db8::/64"), link: 7, table: 254},
		},
		{
			"the first of two sources is meant",
			routeBody(unix.AF_INET6, 128, 254, 0, unix.RTN_UNICAST, ipAttr(unix.RTA_DST, "2001:db8::9"),
				ipAttr(unix.RTA_PREFSRC, "2001:db8::1"), ipAttr(unix.RTA_PREFSRC, "2001:db8::2")),
			routeMessage{typ: RouteUnicast, prefix: netip.MustParsePrefix("2001:db8::9/128"), prefSrc: netip.MustParseAddr("2001:db8::1"), table: 254},
		},
		{
			"an IPv6 next hop to an IPv4 destination, and a table that needs 32 bits",
			routeBody(unix.AF_INET, 24, unix.RT_TABLE_COMPAT, 0, unix.RTN_UNICAST, ipAttr(unix.RTA_DST, "198.51.100.0"),
				withAttr32(nil, unix.RTA_TABLE, 51820),
				withAttr(nil, unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, unix.AF_INET6), netip.MustParseAddr("fe80::9").AsSlice()...))),
			routeMessage{typ: RouteUnicast, prefix: netip.MustParsePrefix("198.51.100.0/24"), gateway: netip.MustParseAddr("fe80::9"), table: 51820},
		},
		{
			"an address of this host",
			routeBody(unix.AF_INET, 32, 255, byte(ScopeHost), unix.RTN_LOCAL, ipAttr(unix.RTA_DST, "192.0.2.1")),
			routeMessage{typ: RouteLocal, prefix: netip.MustParsePrefix("192.0.2.1/32"), table: 255, scope: ScopeHost},
		},
	} {
		if got, err := parseRoute(c.body); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
	for name, body := range map[string][]byte{
		"too short":         make([]byte, 11),
		"no family":         make([]byte, 12),
		"33 bits":           routeBody(unix.AF_INET, 33, 0, 0, 1),
		"wrong length":      routeBody(unix.AF_INET6, 64, 0, 0, 1, ipAttr(unix.RTA_DST, "192.0.2.1")),
		"family of bridges": routeBody(unix.AF_BRIDGE, 0, 0, 0, 1),
	} {
		if got, err := parseRoute(body); !errors.Is(err, errMessage) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// ruleBody is the body of an RTM_NEWRULE that leads to a table.
func ruleBody(family, toBits, fromBits byte, flags uint32, attrs ...[]byte) []byte {
	b := make([]byte, sizeofRuleHdr)
	b[0], b[1], b[2], b[7] = family, toBits, fromBits, fibActionTable
	binary.NativeEndian.PutUint32(b[8:], flags)
	return append(b, slices.Concat(attrs...)...)
}

func ports(typ uint16, from, to uint16) []byte {
	return withAttr(nil, typ, binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, from), to))
}

func TestPolicyRule(t *testing.T) {
	uid := uint32(os.Geteuid())
	uids := func(from, to uint32) []byte {
		return withAttr(nil, unix.FRA_UID_RANGE, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, from), to))
	}
	table := withAttr32(nil, unix.FRA_TABLE, 100)
	udp := RouteQuery{Dst: netip.MustParseAddr("198.51.100.9"), Link: 2, Protocol: unix.IPPROTO_UDP, SrcPort: 5060, DstPort: 5061, Mark: 0x21}
	from := udp
	from.From = netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		text    string
		body    []byte
		query   RouteQuery
		applies bool
	}{
		{"from all lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, table), udp, true},
		{"not from all lookup 100", ruleBody(unix.AF_INET, 0, 0, fibRuleInvert, table), udp, false},
		{"from 192.0.2.0/24 lookup 100", ruleBody(unix.AF_INET, 0, 24, 0, ipAttr(unix.FRA_SRC, "192.0.2.0"), table), from, true},
		{"from 192.0.2.0/24 lookup 100", ruleBody(unix.AF_INET, 0, 24, 0, ipAttr(unix.FRA_SRC, "192.0.2.0"), table), udp, false},
		{"from all to 198.51.100.0/24 lookup 100", ruleBody(unix.AF_INET, 24, 0, 0, ipAttr(unix.FRA_DST, "198.51.100.0"), table), udp, true},
		{"from all to 203.0.113.0/24 lookup 100", ruleBody(unix.AF_INET, 24, 0, 0, ipAttr(unix.FRA_DST, "203.0.113.0"), table), udp, false},
		{
			"from all fwmark 0x1/0xf lookup 100",
			ruleBody(unix.AF_INET, 0, 0, 0, withAttr32(nil, unix.FRA_FWMARK, 1), withAttr32(nil, unix.FRA_FWMASK, 15), table), udp, true,
		},
		{
			"not from all fwmark 0x21 lookup 100",
			ruleBody(unix.AF_INET, 0, 0, fibRuleInvert, withAttr32(nil, unix.FRA_FWMARK, 0x21), withAttr32(nil, unix.FRA_FWMASK, 0xffffffff), table), udp, false,
		},
		{"from all iif lo lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, withAttr(nil, unix.FRA_IIFNAME, []byte("lo\x00")), table), udp, true},
		{"from all iif eth0 lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, withAttr(nil, unix.FRA_IIFNAME, []byte("eth0\x00")), table), udp, false},
		{"from all oif eth0 lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, withAttr(nil, unix.FRA_OIFNAME, []byte("eth0\x00")), table), udp, true},
		{"from all oif eth1 lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, withAttr(nil, unix.FRA_OIFNAME, []byte("eth1\x00")), table), udp, false},
		{"from all ipproto udp lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, withAttr(nil, unix.FRA_IP_PROTO, []byte{unix.IPPROTO_UDP}), table), udp, true},
		{"from all ipproto tcp lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, withAttr(nil, unix.FRA_IP_PROTO, []byte{unix.IPPROTO_TCP}), table), udp, false},
		{"from all ipproto 132 lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, withAttr(nil, unix.FRA_IP_PROTO, []byte{132}), table), udp, false},
		{"from all sport 5060 lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, ports(unix.FRA_SPORT_RANGE, 5060, 5060), table), udp, true},
		{"from all dport 1-5060 lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, ports(unix.FRA_DPORT_RANGE, 1, 5060), table), udp, false},
		{"from all lookup main suppress_prefixlength 0", ruleBody(unix.AF_INET, 0, 0, 0, withAttr32(nil, unix.FRA_TABLE, 254), withAttr32(nil, unix.FRA_SUPPRESS_PREFIXLEN, 0)), udp, true},
		{"from all lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, withAttr32(nil, unix.FRA_TUN_ID, 1), table), udp, false},
		{"from all lookup 100", ruleBody(unix.AF_INET, 0, 0, 0, withAttr(nil, fraDSCP, []byte{46}), table), udp, false},
	} {
		p, err := parseRule(c.body)
		if err != nil || p.String() != c.text || p.applies(c.query, "eth0") != c.applies {
			t.Errorf("%s: %q, %v, applies: %t", c.text, &p, err, p.applies(c.query, "eth0"))
		}
	}
	for _, c := range []struct {
		from, to uint32
		applies  bool
	}{{uid, uid, true}, {0, uid, true}, {uid + 1, uid + 9, false}} {
		if p, err := parseRule(ruleBody(unix.AF_INET, 0, 0, 0, uids(c.from, c.to), table)); err != nil || p.applies(udp, "") != c.applies {
			t.Errorf("%s for user %d: %v, applies: %t", &p, uid, err, p.applies(udp, ""))
		}
	}
	if _, err := parseRule(make([]byte, 11)); !errors.Is(err, errMessage) {
		t.Errorf("11 bytes: %v", err)
	}
}

func TestParseLabel(t *testing.T) {
	body := make([]byte, sizeofLabelMsg)
	body[0], body[2] = unix.AF_INET6, 7
	binary.NativeEndian.PutUint32(body[4:], 3)
	body = append(append(body, ipAttr(ifalAddress, "fc00::")...), withAttr32(nil, ifalLabel, 5)...)
	want := Label{Prefix: netip.MustParsePrefix("fc00::/7"), Link: 3, Label: 5}
	if l, err := parseLabel(body); err != nil || l != want {
		t.Errorf("got %+v, %v", l, err)
	}
	for _, bad := range [][]byte{body[:11], body[:12], append([]byte{10, 0, 129, 0, 0, 0, 0, 0, 0, 0, 0, 0}, body[12:]...)} {
		if l, err := parseLabel(bad); !errors.Is(err, errMessage) {
			t.Errorf("%x: %+v, %v", bad, l, err)
		}
	}
}

func TestParseMemberships(t *testing.T) {
	in6 := "1    lo              ff020000000000000000000000000001     1 0000000C 0\n" +
		"9    eth1            ff010000000000000000000000000001     1 00000008 0\n" +
		"9    eth1            ff020000000000000000000000000001     1 0000000C 0\n" +
		"4    eth0            ff020000000000000000000000000001     1 0000000C 0\n"
	in4 := "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n" +
		"1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
		"7\ttun0      :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
		"4\teth0      :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
	a, errA := parseMemberships(strings.NewReader(in6))
	b, errB := parseMemberships(strings.NewReader(in4))
	if errA != nil || errB != nil || !slices.Equal(a, []int{1, 9, 4}) || !slices.Equal(b, []int{1, 7, 4}) {
		t.Errorf("%v, %v, %v, %v", a, errA, b, errB)
	}
	if merged := mergeOrders(a, b); !slices.Equal(merged, []int{1, 7, 9, 4}) {
		t.Errorf("merged: %v", merged)
	}
}

func TestLinkSettings(t *testing.T) {
	on := linkConf{optimisticDAD: true, useOptimistic: true, routeLocalnet: true}
	for _, c := range []struct {
		name      string
		link, all linkConf
		want      Knobs
	}{
		{"nothing", linkConf{}, linkConf{}, Knobs{}},
		{"all of the link's", linkConf{2, true, true, true, true}, linkConf{}, Knobs{2, true, true, true}},
		{"only one half of what optimistic addresses need", linkConf{useOptimistic: true}, linkConf{}, Knobs{}},
		{"the other half from all", linkConf{useOptimistic: true}, linkConf{optimisticDAD: true}, Knobs{UseOptimistic: true}},
		{"all", linkConf{}, on, Knobs{UseOptimistic: true, RouteLocalnet: true}},
		{"what all does not stand for", linkConf{}, linkConf{useTempAddr: 2, oifAddrsOnly: true}, Knobs{}},
	} {
		if got := c.link.effective(c.all); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if _, _, err := parseConf(make([]byte, 15)); !errors.Is(err, errMessage) {
		t.Errorf("15 bytes: %v", err)
	}
}

// FuzzRouting parses anything as routes, rules, labels and settings. The corpus has what Linux 6.18 said.
func FuzzRouting(f *testing.F) {
	f.Add(routeBody(unix.AF_INET, 24, 254, 0, 1, ipAttr(unix.RTA_DST, "192.0.2.0")))
	f.Add(ruleBody(unix.AF_INET6, 32, 0, 0, ipAttr(unix.FRA_DST, "2001:db8::"), ports(unix.FRA_SPORT_RANGE, 1, 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRoute(b); err == nil && (!r.prefix.IsValid() || r.prefSrc.IsValid() && r.prefSrc.Is4() != r.prefix.Addr().Is4()) {
			t.Errorf("impossible route %+v", r)
		}
		if l, err := parseLabel(b); err == nil && (!l.Prefix.IsValid() || !l.Prefix.Addr().Is6()) {
			t.Errorf("impossible label %+v", l)
		}
		if p, err := parseRule(b); err == nil {
			p.applies(RouteQuery{Dst: netip.IPv6Loopback()}, "eth0")
			if s := p.String(); !strings.Contains(s, "from ") || !strings.Contains(s, "lookup ") {
				t.Errorf("rule %q", s)
			}
		}
		if _, c, err := parseConf(b); err == nil && c.effective(c).OIFAddrsOnly != c.oifAddrsOnly {
			t.Errorf("settings %+v", c)
		}
	})
}
