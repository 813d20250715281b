package sdp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

var (
	// ErrBad says that a description cannot be understood, exceeds a limit, or breaks a rule of RFC 3264 that cannot be
	// worked around. In answer to a request: 400 (or 488 when only the offer/answer rules are broken).
	ErrBad = errors.New("bad session description")
	// ErrNoCommonCodec says that no media line can be served: no audio, or no codec, profile or address family in
	// common. In answer to a request: 488.
	ErrNoCommonCodec = errors.New("no common codec")
)

// Session is a parsed or newly made description. Lines this package has no use for are kept verbatim.
type Session struct {
	Origin     Origin
	Name       string // s=
	Conn       Conn   // session-level c=; zero if each media line has its own
	Attributes []Attribute
	Media      []Media
	Other      []string // other session-level lines, in order, such as "b=AS:64" or "t=0 0"

	Quirks []Quirk // what Parse had to forgive; Marshal ignores it
}

// Origin is the o= line (RFC 8866 section 5.2).
type Origin struct {
	User    string // "" is written as "-"
	ID      uint64
	Version uint64
	Conn    Conn
}

// Conn is the address part of c= and o= lines. The zero value stands for no address.
type Conn struct {
	Host string // as written: an address literal or a host name, without TTL or count
	IP6  bool   // "IN IP6"
}

// connOf is the Conn of an address. A zone is local to this host and never leaves it.
func connOf(a netip.Addr) Conn {
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
	}
	a = a.WithZone("").Unmap()
	return Conn{Host: a.String(), IP6: a.Is6()}
}

// addr is the address in c; false if there is none or a host name stands there.
func (c Conn) addr() (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.Trim(c.Host, "[]"))
	return a.WithZone("").Unmap(), err == nil
}

func (c Conn) String() string {
	if c.IP6 {
		return "IN IP6 " + c.Host
	}
	return "IN IP4 " + c.Host
}

// Attribute is one a= line: "a=Key:Value", or "a=Key" if Value is empty.
type Attribute struct{ Key, Value string }

func (a Attribute) String() string {
	if a.Value == "" {
		return a.Key
	}
	return a.Key + ":" + a.Value
}

// Media is one m= line with the lines that belong to it.
type Media struct {
	Type       string // "audio", "video", "image", ...
	Port       uint16 // 0: refused or switched off
	Ports      int    // number of port pairs, 1 unless written as "port/n"
	Proto      string // "RTP/AVP", ...
	Formats    []string
	Conn       Conn // media-level c=; zero: the session's
	Attributes []Attribute
	Other      []string // b=, i=, k= and unknown lines
}

// attr is the value of the first attribute with that key.
func attr(list []Attribute, key string) (value string, ok bool) {
	for _, a := range list {
		if strings.EqualFold(a.Key, key) {
			return a.Value, true
		}
	}
	return "", false
}

// Quirk is a deviation from RFC 8866 or RFC 3264 that was forgiven.
type Quirk struct {
	Line int    // of the body, from 1; 0: the whole
	What string // for people
	RFC  string // the clause that is broken, such as "RFC 8866 5.2"
}

func (q Quirk) String() string {
	if q.Line == 0 {
		return fmt.Sprintf("%s (%s)", q.What, q.RFC)
	}
	return fmt.Sprintf("line %d: %s (%s)", q.Line, q.What, q.RFC)
}

// Direction says which way media flows, seen from the side that states it. The zero value is SendRecv.
type Direction uint8

// The directions of RFC 8866 section 6.7.
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

// directionOf makes a Direction from its two halves.
func directionOf(send, recv bool) Direction {
	switch {
	case send && recv:
		return SendRecv
	case send:
		return SendOnly
	case recv:
		return RecvOnly
	default:
		return Inactive
	}
}

// Sends reports whether the side that states d sends.
func (d Direction) Sends() bool { return d == SendRecv || d == SendOnly }

// Receives reports whether the side that states d receives.
func (d Direction) Receives() bool { return d == SendRecv || d == RecvOnly }

// String is the attribute's name, such as "sendrecv".
func (d Direction) String() string {
	switch d {
	case SendOnly:
		return "sendonly"
	case RecvOnly:
		return "recvonly"
	case Inactive:
		return "inactive"
	default:
		return "sendrecv"
	}
}

// reverse is d as the other side sees it.
func (d Direction) reverse() Direction { return directionOf(d.Receives(), d.Sends()) }

// both is what d and e allow together.
func (d Direction) both(e Direction) Direction {
	return directionOf(d.Sends() && e.Sends(), d.Receives() && e.Receives())
}

// parseDirection reads an attribute's name.
func parseDirection(s string) (Direction, bool) {
	for d := SendRecv; d <= Inactive; d++ {
		if strings.EqualFold(s, d.String()) {
			return d, true
		}
	}
	return SendRecv, false
}
