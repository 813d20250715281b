package ifwatch

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// policyRule is one rule of "ip rule".
type policyRule struct {
	priority     uint32
	action       uint8
	table        uint32
	invert       bool
	from, to     netip.Prefix // invalid: any
	iif, oif     string
	mark, mask   uint32
	protocol     uint8
	uids         [2]uint32
	sport, dport [2]uint16
	suppress     int // routes with prefixes no longer than this do not count; -1: all do
	other        bool
	limited      struct{ uids, sport, dport bool }
}

// Numbers of linux/fib_rules.h that package unix does not have.
const (
	fibRuleInvert  = 0x2
	fibActionTable = 1 // FR_ACT_TO_TBL
	fraDSCP        = 25
	fraFlowlabel   = 26
	sizeofRuleHdr  = 12
)

// lookupRule finds the rule that led to the route: the first that applies to the query and names the route's table, as the
// kernel does not say which it was. Without rules, or if the kernel does not list them, it is zero.
func lookupRule(ctx context.Context, conn netlinkConn, q RouteQuery, r *Route) PolicyRule {
	header := make([]byte, sizeofRuleHdr)
	header[0] = familyNumber(q.Dst)
	var found *policyRule
	var oif string
	if dumpAll(ctx, conn, unix.RTM_GETRULE, header, func(m message) {
		p, err := parseRule(m.body)
		if err != nil || found != nil {
			return
		}
		if p.oif != "" && oif == "" && q.Link != 0 {
			oif = nameOf(q.Link)
		}
		if p.action == fibActionTable && p.table == r.Table && p.applies(q, oif) && r.Prefix.Bits() > p.suppress {
			found = &p
		}
	}) != nil || found == nil {
		return PolicyRule{}
	}
	return PolicyRule{Priority: found.priority, Table: found.table, Text: found.String()}
}

// nameOf returns the name of a link, or "".
func nameOf(index int) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return ""
	}
	ifr.SetUint32(uint32(index))
	if unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr) != nil {
		return ""
	}
	return ifr.Name()
}

// parseRule reads the body of an RTM_NEWRULE.
func parseRule(b []byte) (policyRule, error) {
	if len(b) < sizeofRuleHdr {
		return policyRule{}, fmt.Errorf("rule of %d bytes: %w", len(b), errMessage)
	}
	family, toBits, fromBits := b[0], int(b[1]), int(b[2])
	p := policyRule{
		table: uint32(b[4]), action: b[7], invert: binary.NativeEndian.Uint32(b[8:])&fibRuleInvert != 0, suppress: -1,
		other: b[3] != 0, // a TOS
	}
	for a, rest, ok := nextAttr(b[sizeofRuleHdr:]); ok; a, rest, ok = nextAttr(rest) {
		switch a.typ {
		case unix.FRA_SRC:
			p.from = netip.PrefixFrom(ipOf(family, a.value), fromBits)
		case unix.FRA_DST:
			p.to = netip.PrefixFrom(ipOf(family, a.value), toBits)
		default:
			p.set(a)
		}
	}
	return p, nil
}

// set takes over one attribute.
func (p *policyRule) set(a attr) {
	switch a.typ {
	case unix.FRA_PRIORITY:
		p.priority = a.uint32()
	case unix.FRA_TABLE:
		p.table = a.uint32()
	case unix.FRA_IIFNAME:
		p.iif = a.text()
	case unix.FRA_OIFNAME:
		p.oif = a.text()
	case unix.FRA_FWMARK:
		p.mark = a.uint32()
	case unix.FRA_FWMASK:
		p.mask = a.uint32()
	case unix.FRA_SUPPRESS_PREFIXLEN:
		p.suppress = int(int32(a.uint32()))
	case unix.FRA_IP_PROTO:
		p.protocol = a.uint8()
	case unix.FRA_UID_RANGE:
		if len(a.value) >= 8 {
			p.uids = [2]uint32{binary.NativeEndian.Uint32(a.value), binary.NativeEndian.Uint32(a.value[4:])}
			p.limited.uids = true
		}
	case unix.FRA_SPORT_RANGE:
		p.sport, p.limited.sport = portRange(a.value)
	case unix.FRA_DPORT_RANGE:
		p.dport, p.limited.dport = portRange(a.value)
	case unix.FRA_TUN_ID, unix.FRA_L3MDEV, fraDSCP, fraFlowlabel:
		p.other = true
	}
}

func portRange(b []byte) ([2]uint16, bool) {
	if len(b) < 4 {
		return [2]uint16{}, false
	}
	return [2]uint16{binary.NativeEndian.Uint16(b), binary.NativeEndian.Uint16(b[2:])}, true
}

// applies reports whether a packet of this process is subject to the rule. One about a TOS, a flow label, a tunnel or a
// VRF is not thought to be.
func (p *policyRule) applies(q RouteQuery, oif string) bool {
	if p.other {
		return false
	}
	uid := uint32(os.Geteuid())
	match := holds(p.from, q.From) && holds(p.to, q.Dst) &&
		(p.iif == "" || p.iif == "lo") && // what comes from this host comes from lo
		(p.oif == "" || p.oif == oif) &&
		(p.mark^q.Mark)&p.mask == 0 &&
		(p.protocol == 0 || p.protocol == q.Protocol) &&
		(!p.limited.uids || uid >= p.uids[0] && uid <= p.uids[1]) &&
		(!p.limited.sport || q.SrcPort >= p.sport[0] && q.SrcPort <= p.sport[1]) &&
		(!p.limited.dport || q.DstPort >= p.dport[0] && q.DstPort <= p.dport[1])
	return match != p.invert
}

// holds reports whether a is in p. Nothing but "any" holds an address that is not known yet.
func holds(p netip.Prefix, a netip.Addr) bool { return !p.IsValid() || p.Contains(a) }

// String writes the rule as ip(8) does.
func (p *policyRule) String() string {
	var w []string
	add := func(when bool, format string, args ...any) {
		if when {
			w = append(w, fmt.Sprintf(format, args...))
		}
	}
	add(p.invert, "not")
	add(p.from.IsValid(), "from %s", p.from)
	add(!p.from.IsValid(), "from all")
	add(p.to.IsValid(), "to %s", p.to)
	add(p.mask == 0xffffffff, "fwmark %#x", p.mark)
	add(p.mask != 0 && p.mask != 0xffffffff, "fwmark %#x/%#x", p.mark, p.mask)
	add(p.iif != "", "iif %s", p.iif)
	add(p.oif != "", "oif %s", p.oif)
	add(p.limited.uids, "uidrange %d-%d", p.uids[0], p.uids[1])
	add(p.protocol != 0, "ipproto %s", protocolName(p.protocol))
	add(p.limited.sport, "sport %s", rangeText(p.sport))
	add(p.limited.dport, "dport %s", rangeText(p.dport))
	add(true, "lookup %s", TableName(p.table))
	add(p.suppress >= 0, "suppress_prefixlength %d", p.suppress)
	return strings.Join(w, " ")
}

func protocolName(p uint8) string {
	switch p {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	default:
		return fmt.Sprint(p)
	}
}

func rangeText(r [2]uint16) string {
	if r[0] == r[1] {
		return fmt.Sprint(r[0])
	}
	return fmt.Sprintf("%d-%d", r[0], r[1])
}
