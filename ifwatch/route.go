package ifwatch

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
)

// RouteQuery asks by which way a packet would leave this host.
type RouteQuery struct {
	Dst  netip.Addr // a link-local IPv6 address needs Link; a zone is ignored
	From netip.Addr // the source, if there is one already; zero: none
	Link int        // leave by this link only, as a socket that is bound to it does; 0: any

	// What policy rules may ask for besides the above and the process's user.
	Protocol         uint8  // 6 TCP, 17 UDP; 0: not said
	SrcPort, DstPort uint16 // 0: not said
	Mark             uint32 // of the packet (SO_MARK)
}

// Route is the kernel's answer to a [RouteQuery].
type Route struct {
	Dst     netip.Addr
	Type    RouteType
	Link    int        // outgoing interface; for a destination on this host the one that has it
	Gateway netip.Addr // next hop; zero: the destination is on the link. May be IPv6 for an IPv4 destination (RFC 8950)
	Source  netip.Addr // what the kernel would choose for a socket without preferences; zero: it does not say

	// These describe the entry that matched. They are zero if there was none (Assumed), or the kernel does not say.
	Prefix  netip.Prefix // its destination
	PrefSrc netip.Addr   // the source that it names ("src"); zero: none
	Table   uint32       // its table, see [TableName]
	Scope   Scope        // IPv4 only
	Rule    PolicyRule   // which led to the table

	Bound   bool // the query had a Link
	Assumed bool // there is no route, but a Link: the kernel assumes that an IPv4 destination is on it
}

// RouteType says what becomes of packets, with the numbers that Linux gives the types.
type RouteType uint8

// The types of routes that lead somewhere.
const (
	RouteUnicast   RouteType = 1 // to another host
	RouteLocal     RouteType = 2 // to this host
	RouteBroadcast RouteType = 3
	RouteAnycast   RouteType = 4 // to this host, as one of many
	RouteMulticast RouteType = 5
)

// String returns the word that ip(8) prints.
func (t RouteType) String() string {
	return word(t, "unspecified", "unicast", "local", "broadcast", "anycast", "multicast")
}

// PolicyRule is a rule that selects a routing table: what "ip rule" lists.
type PolicyRule struct {
	Priority uint32 // the lower, the earlier it is looked at
	Table    uint32
	Text     string // as ip(8) writes it: "from all lookup main"; "" if there is no rule
}

// String returns priority and text as ip(8) writes them, or "".
func (r PolicyRule) String() string {
	if r.Text == "" {
		return ""
	}
	return fmt.Sprintf("%d: %s", r.Priority, r.Text)
}

// The tables that have names everywhere.
const (
	tableDefault = 253
	tableMain    = 254
	tableLocal   = 255
)

// TableName returns the name of a routing table, which is a number but for "default", "main" and "local"; "" for 0.
// Names that an administrator gave (/etc/iproute2/rt_tables) are not known.
func TableName(table uint32) string {
	switch table {
	case 0:
		return ""
	case tableDefault:
		return "default"
	case tableMain:
		return "main"
	case tableLocal:
		return "local"
	default:
		return strconv.FormatUint(uint64(table), 10)
	}
}

// LookupRoute asks the kernel for the way to a destination. It takes everything into account that the kernel does for a
// socket of this process: policy routing by user, source, mark and ports, VPNs, several routes to one destination. If there
// is no way, the error wraps the errno that connect(2) returns, such as ENETUNREACH. Where the system cannot be asked it
// matches [errors.ErrUnsupported].
func LookupRoute(ctx context.Context, q RouteQuery) (Route, error) {
	q.Dst, q.From = q.Dst.Unmap().WithZone(""), q.From.Unmap().WithZone("")
	if !q.Dst.IsValid() || q.From.IsValid() && q.From.Is4() != q.Dst.Is4() {
		return Route{}, fmt.Errorf("route from %s to %s: not two addresses of one family", q.From, q.Dst)
	}
	r, err := lookupRoute(ctx, q)
	if err != nil {
		return Route{}, fmt.Errorf("route to %s: %w", q.Dst, err)
	}
	return r, nil
}
