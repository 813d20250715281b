package ifwatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// errMessage wraps everything that is wrong with a message's form.
var errMessage = errors.New("bad netlink message")

// message is one netlink message.
type message struct {
	typ, flags uint16
	seq        uint32
	body       []byte
}

// nextMessage cuts the first message off b; ok is false if there is no whole one.
func nextMessage(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.NLMSG_HDRLEN {
		return message{}, nil, false
	}
	size := binary.NativeEndian.Uint32(b)
	if size < unix.NLMSG_HDRLEN || uint64(size) > uint64(len(b)) {
		return message{}, nil, false
	}
	m = message{
		typ: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]), seq: binary.NativeEndian.Uint32(b[8:]),
		body: b[unix.NLMSG_HDRLEN:size:size],
	}
	return m, b[min(align(int(size)), len(b)):], true
}

// attr is one attribute of a message.
type attr struct {
	typ   uint16 // without the flags for nesting and byte order
	value []byte
}

// nextAttr cuts the first attribute off b; ok is false if there is no whole one.
func nextAttr(b []byte) (a attr, rest []byte, ok bool) {
	if len(b) < unix.NLA_HDRLEN {
		return attr{}, nil, false
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < unix.NLA_HDRLEN || size > len(b) {
		return attr{}, nil, false
	}
	a = attr{typ: binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER), value: b[unix.NLA_HDRLEN:size:size]}
	return a, b[min(align(size), len(b)):], true
}

// align rounds up to a multiple of 4, as netlink does everywhere.
func align(n int) int { return (n + 3) &^ 3 }

func (a attr) uint32() uint32 {
	if len(a.value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(a.value)
}

func (a attr) uint8() uint8 {
	if len(a.value) < 1 {
		return 0
	}
	return a.value[0]
}

func (a attr) text() string {
	s, _, _ := bytes.Cut(a.value, []byte{0})
	return string(s)
}

// linkMessage is what RTM_NEWLINK and RTM_DELLINK say.
type linkMessage struct {
	family uint8 // only AF_UNSPEC is about the link; AF_INET6 about its IPv6 state; AF_BRIDGE about its membership
	link   Link

	// wireless is set if the message carries an event of the old wireless extensions, which says nothing of the rest.
	wireless bool
}

// parseLink reads the body of an RTM_NEWLINK or RTM_DELLINK.
func parseLink(b []byte) (linkMessage, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return linkMessage{}, fmt.Errorf("link of %d bytes: %w", len(b), errMessage)
	}
	flags := binary.NativeEndian.Uint32(b[8:])
	m := linkMessage{family: b[0], link: Link{
		Index: int(int32(binary.NativeEndian.Uint32(b[4:]))),
		Up:    flags&unix.IFF_UP != 0, LowerUp: flags&unix.IFF_LOWER_UP != 0, Running: flags&unix.IFF_RUNNING != 0,
		Loopback: flags&unix.IFF_LOOPBACK != 0, NoARP: flags&unix.IFF_NOARP != 0,
	}}
	if m.link.Index <= 0 {
		return linkMessage{}, fmt.Errorf("link with index %d: %w", m.link.Index, errMessage)
	}
	for a, rest, ok := nextAttr(b[unix.SizeofIfInfomsg:]); ok; a, rest, ok = nextAttr(rest) {
		m.link.set(a)
		m.wireless = m.wireless || a.typ == unix.IFLA_WIRELESS
	}
	// The kernel reports that a link goes down, or its MTU below what IPv6 needs (RFC 8200 section 5), before it ends IPv6
	// on it, and does not report that.
	m.link.In6Ready = m.link.In6Ready && m.link.Up && m.link.MTU >= 1280
	return m, nil
}

// set takes over one attribute of a link.
func (l *Link) set(a attr) {
	switch a.typ {
	case unix.IFLA_IFNAME:
		l.Name = a.text()
	case unix.IFLA_MTU:
		l.MTU = int(a.uint32())
	case unix.IFLA_MASTER:
		l.Master = int(a.uint32())
	case unix.IFLA_OPERSTATE:
		l.Oper = OperState(a.uint8())
	case unix.IFLA_LINKINFO:
		inside(a.value, unix.IFLA_INFO_KIND, func(kind attr) { l.Kind = kind.text() })
	case unix.IFLA_PROP_LIST:
		inside(a.value, unix.IFLA_ALT_IFNAME, func(name attr) { l.AltNames = append(l.AltNames, name.text()) })
	case unix.IFLA_AF_SPEC:
		inside(a.value, unix.AF_INET6, func(in6 attr) { l.setIn6(in6.value) })
	case unix.IFLA_PROTINFO: // in the messages of family AF_INET6
		l.setIn6(a.value)
	}
}

// inside calls each for every attribute of that type.
func inside(b []byte, typ uint16, each func(attr)) {
	for a, rest, ok := nextAttr(b); ok; a, rest, ok = nextAttr(rest) {
		if a.typ == typ {
			each(a)
		}
	}
}

const (
	in6Ready           = 0x80000000 // IF_READY of net/if_inet6.h, in IFLA_INET6_FLAGS
	in6ConfUseTempAddr = 10         // DEVCONF_USE_TEMPADDR of linux/ipv6.h, in IFLA_INET6_CONF
)

// setIn6 takes over the state of IPv6 on the link.
func (l *Link) setIn6(b []byte) {
	for a, rest, ok := nextAttr(b); ok; a, rest, ok = nextAttr(rest) {
		switch a.typ {
		case unix.IFLA_INET6_FLAGS:
			l.In6Ready = a.uint32()&in6Ready != 0
		case unix.IFLA_INET6_CONF:
			if i := 4 * in6ConfUseTempAddr; len(a.value) >= i+4 {
				l.UseTempAddr = int(int32(binary.NativeEndian.Uint32(a.value[i:])))
			}
		}
	}
}

// parseAddr reads the body of an RTM_NEWADDR or RTM_DELADDR. now is what its lifetimes are counted from.
func parseAddr(b []byte, now time.Time) (Addr, error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return Addr{}, fmt.Errorf("address of %d bytes: %w", len(b), errMessage)
	}
	family := b[0]
	a := Addr{Key: Key{Bits: int(b[1]), Link: int(int32(binary.NativeEndian.Uint32(b[4:])))}, Scope: Scope(b[3])}
	flags := uint32(b[2])
	var local, address netip.Addr
	for at, rest, ok := nextAttr(b[unix.SizeofIfAddrmsg:]); ok; at, rest, ok = nextAttr(rest) {
		switch at.typ {
		case unix.IFA_LOCAL:
			local = ipOf(family, at.value)
		case unix.IFA_ADDRESS:
			address = ipOf(family, at.value)
		case unix.IFA_LABEL:
			a.Label = at.text()
		case unix.IFA_FLAGS: // all 32 of them; the header has room for 8
			flags = at.uint32()
		case ifaProto:
			a.Proto = at.uint8()
		case unix.IFA_CACHEINFO:
			a.setLifetimes(at.value, now)
		}
	}
	// IFA_LOCAL is ours, and IFA_ADDRESS the peer's where they differ; IPv6 without a peer has IFA_ADDRESS only.
	switch {
	case !local.IsValid():
		a.Addr = address
	case address.IsValid() && address != local:
		a.Addr, a.Peer = local, address
	default:
		a.Addr = local
	}
	a.Flags |= flagsOf(family, flags)
	if !a.Addr.IsValid() || a.Bits > a.Addr.BitLen() || a.Link <= 0 {
		return Addr{}, fmt.Errorf("address %s/%d of family %d on link %d: %w", a.Addr, a.Bits, family, a.Link, errMessage)
	}
	return a, nil
}

// ipOf returns the address if it has the length of its family, else the zero Addr.
func ipOf(family uint8, b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	if family == unix.AF_INET && a.Is4() || family == unix.AF_INET6 && a.Is6() {
		return a
	}
	return netip.Addr{}
}

// ifaProto is IFA_PROTO of linux/if_addr.h: who added the address.
const ifaProto = 11

// forever is the lifetime that does not end.
const forever = 0xffffffff

// setLifetimes reads ifa_cacheinfo. A preferred lifetime of 0 is the deprecation itself: the flag follows in another
// event 0.2 ms later when a router advertisement ends a prefix.
func (a *Addr) setLifetimes(b []byte, now time.Time) {
	if len(b) < unix.SizeofIfaCacheinfo {
		return
	}
	preferred, valid := binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:])
	switch preferred {
	case 0:
		a.Flags |= Deprecated
	case forever:
	default:
		a.PreferredUntil = now.Add(time.Duration(preferred) * time.Second)
	}
	if valid != forever {
		a.ValidUntil = now.Add(time.Duration(valid) * time.Second)
	}
}

// flagsOf translates the kernel's flags. 0x01 means two things.
func flagsOf(family uint8, kernel uint32) Flags {
	var f Flags
	for _, m := range [...]struct {
		kernel uint32
		flag   Flags
	}{
		{unix.IFA_F_TENTATIVE, Tentative},
		{unix.IFA_F_OPTIMISTIC, Optimistic},
		{unix.IFA_F_DADFAILED, DADFailed},
		{unix.IFA_F_DEPRECATED, Deprecated},
		{unix.IFA_F_PERMANENT, Permanent},
		{unix.IFA_F_NODAD, NoDAD},
		{unix.IFA_F_MANAGETEMPADDR, ManageTemp},
		{unix.IFA_F_STABLE_PRIVACY, StablePrivacy},
		{unix.IFA_F_HOMEADDRESS, Home},
		{unix.IFA_F_NOPREFIXROUTE, NoPrefixRoute},
		{unix.IFA_F_MCAUTOJOIN, MulticastAutoJoin},
	} {
		if kernel&m.kernel != 0 {
			f |= m.flag
		}
	}
	if kernel&unix.IFA_F_SECONDARY != 0 {
		if family == unix.AF_INET6 {
			f |= Temporary
		} else {
			f |= Secondary
		}
	}
	return f
}
