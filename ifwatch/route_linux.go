package ifwatch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// lookupRoute asks twice: for the way that a packet takes, and for the entry that matched. Neither answer has it all. The
// first names lo as the interface to every address of this host, and the source that the kernel computes in the place of
// the one that the route names; the second has all next hops where there are several.
func lookupRoute(ctx context.Context, q RouteQuery) (Route, error) {
	conn, err := openSocket(ctx, 0)
	if err != nil {
		return Route{}, errors.Join(errors.ErrUnsupported, err)
	}
	defer conn.close()
	way, err := getRoute(ctx, conn, routeRequest(q, 0))
	if err != nil {
		return Route{}, err
	}
	r := Route{
		Dst: q.Dst, Type: way.typ, Link: way.link, Gateway: way.gateway, Source: way.prefSrc, Bound: q.Link != 0,
	}
	entry, err := getRoute(ctx, conn, routeRequest(q, matchFlags(q.Dst)))
	if err != nil {
		// IPv4 takes what it is told to send by a link for neighbours there, if no route says otherwise.
		r.Assumed = q.Link != 0 && q.Dst.Is4()
		return r, nil //nolint:nilerr // there is a way, but no entry
	}
	r.Type, r.Prefix, r.PrefSrc, r.Table, r.Scope = entry.typ, entry.prefix, entry.prefSrc, entry.table, entry.scope
	if r.Table == tableMain && entry.proto == unix.RTPROT_KERNEL && (r.Type == RouteLocal || r.Type == RouteBroadcast) {
		r.Table = tableLocal // while there are no rules but the usual ones, IPv4 keeps both tables in one
	}
	if entry.link != 0 && (r.Type == RouteLocal || r.Type == RouteAnycast) {
		r.Link = entry.link
	}
	if r.Type == RouteMulticast && !r.Gateway.IsValid() {
		r.Gateway = entry.gateway // not on the way, but the source is chosen by it
	}
	if q.Link != 0 && q.Link != r.Link && q.Dst.Is6() {
		return Route{}, unix.ENETUNREACH // with a source the kernel does not insist on the link when it is asked
	}
	r.Rule = lookupRule(ctx, conn, q, &r)
	return r, nil
}

// matchFlags ask for the entry that matched. Only IPv4 has to be told to name its table, and IPv6 refuses to be.
func matchFlags(dst netip.Addr) uint32 {
	if dst.Is4() {
		return unix.RTM_F_FIB_MATCH | unix.RTM_F_LOOKUP_TABLE
	}
	return unix.RTM_F_FIB_MATCH
}

// routeRequest is the body of an RTM_GETROUTE.
func routeRequest(q RouteQuery, flags uint32) []byte {
	b := make([]byte, unix.SizeofRtMsg, 128)
	b[0] = familyNumber(q.Dst)
	b[1] = byte(q.Dst.BitLen())
	binary.NativeEndian.PutUint32(b[8:], flags)
	b = withAttr(b, unix.RTA_DST, q.Dst.AsSlice())
	if q.From.IsValid() {
		b[2] = byte(q.From.BitLen())
		b = withAttr(b, unix.RTA_SRC, q.From.AsSlice())
	}
	if q.Link != 0 {
		b = withAttr32(b, unix.RTA_OIF, uint32(q.Link))
	}
	if q.Mark != 0 {
		b = withAttr32(b, unix.RTA_MARK, q.Mark)
	}
	if q.Protocol != 0 {
		b = withAttr(b, unix.RTA_IP_PROTO, []byte{q.Protocol})
	}
	if q.SrcPort != 0 {
		b = withAttr(b, unix.RTA_SPORT, binary.BigEndian.AppendUint16(nil, q.SrcPort))
	}
	if q.DstPort != 0 {
		b = withAttr(b, unix.RTA_DPORT, binary.BigEndian.AppendUint16(nil, q.DstPort))
	}
	return withAttr32(b, unix.RTA_UID, uint32(os.Geteuid()))
}

func familyNumber(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// getRoute asks one question.
func getRoute(ctx context.Context, conn netlinkConn, request []byte) (routeMessage, error) {
	var route routeMessage
	parsed := errNoAnswer
	err := ask(ctx, conn, unix.RTM_GETROUTE, 0, request, func(m message) {
		if m.typ == unix.RTM_NEWROUTE {
			route, parsed = parseRoute(m.body)
		}
	})
	if err != nil {
		return routeMessage{}, err
	}
	return route, parsed
}

// routeMessage is what an RTM_NEWROUTE says.
type routeMessage struct {
	typ     RouteType
	proto   uint8
	prefix  netip.Prefix
	link    int
	gateway netip.Addr
	prefSrc netip.Addr // the first one
	table   uint32
	scope   Scope
}

// parseRoute reads the body of an RTM_NEWROUTE.
func parseRoute(b []byte) (routeMessage, error) {
	if len(b) < unix.SizeofRtMsg {
		return routeMessage{}, fmt.Errorf("route of %d bytes: %w", len(b), errMessage)
	}
	family := b[0]
	r := routeMessage{typ: RouteType(b[7]), proto: b[5], table: uint32(b[4]), scope: Scope(b[6])}
	dst := zeroAddr(family) // a default route has none
	for a, rest, ok := nextAttr(b[unix.SizeofRtMsg:]); ok; a, rest, ok = nextAttr(rest) {
		switch a.typ {
		case unix.RTA_DST:
			dst = ipOf(family, a.value)
		case unix.RTA_TABLE:
			r.table = a.uint32()
		case unix.RTA_PREFSRC:
			if !r.prefSrc.IsValid() {
				r.prefSrc = ipOf(family, a.value)
			}
		default:
			r.setHop(family, a)
		}
	}
	r.prefix = netip.PrefixFrom(dst, int(b[1]))
	if !r.prefix.IsValid() {
		return routeMessage{}, fmt.Errorf("route to %s/%d of family %d: %w", dst, b[1], family, errMessage)
	}
	return r, nil
}

// setHop takes over an attribute of a next hop.
func (r *routeMessage) setHop(family uint8, a attr) {
	switch a.typ {
	case unix.RTA_OIF:
		r.link = int(int32(a.uint32()))
	case unix.RTA_GATEWAY:
		r.gateway = ipOf(family, a.value)
	case unix.RTA_VIA: // a next hop of another family: its number, then the address
		if len(a.value) > 2 {
			r.gateway = ipOf(uint8(binary.NativeEndian.Uint16(a.value)), a.value[2:])
		}
	}
}

func zeroAddr(family uint8) netip.Addr {
	switch family {
	case unix.AF_INET:
		return netip.IPv4Unspecified()
	case unix.AF_INET6:
		return netip.IPv6Unspecified()
	default:
		return netip.Addr{}
	}
}
