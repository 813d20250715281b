package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Proto is a SIP transport, in the spelling of the transport URI parameter.
type Proto string

// The transports of RFC 3261 and RFC 7118.
const (
	UDP Proto = "udp"
	TCP Proto = "tcp"
	TLS Proto = "tls"
	WS  Proto = "ws"
	WSS Proto = "wss"
)

// Reliable reports whether p delivers or says that it could not, so that
// nothing is retransmitted over it (RFC 3261 section 17).
func (p Proto) Reliable() bool { return p != UDP }

// Secure reports whether p encrypts.
func (p Proto) Secure() bool { return p == TLS || p == WSS }

// Via returns p as it is written in a Via: "UDP".
func (p Proto) Via() string { return strings.ToUpper(string(p)) }

// Port returns the default port of p (RFC 3261 section 19.1.2).
func (p Proto) Port() uint16 {
	switch p {
	case TLS:
		return 5061
	case WS:
		return 80
	case WSS:
		return 443
	default:
		return 5060
	}
}

func (p Proto) known() bool {
	switch p {
	case UDP, TCP, TLS, WS, WSS:
		return true
	default:
		return false
	}
}

// A Listen says what to listen on.
type Listen struct {
	Proto Proto
	Addr  netip.Addr // zero: every usable address; a link-local one has its link's name or index as zone
	Port  uint16     // zero: one free port for each address
	Path  string     // of WS and WSS
}

// ParseListen reads TRANSPORT:PORT or TRANSPORT:ADDRESS:PORT, such as udp:5060,
// udp:192.0.2.1:5060, tcp:[fe80::1%eth0]:5060 and ws:8080/path.
func ParseListen(s string) (Listen, error) {
	l, err := parseListen(s)
	if err != nil {
		return Listen{}, fmt.Errorf("listen %q: %w", s, err)
	}
	return l, nil
}

func parseListen(s string) (Listen, error) {
	proto, rest, ok := strings.Cut(s, ":")
	l := Listen{Proto: Proto(proto)}
	if !ok || !l.Proto.known() {
		return l, errors.New("want TRANSPORT:PORT or TRANSPORT:ADDRESS:PORT with a transport of udp, tcp, tls, ws, wss")
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 && (l.Proto == WS || l.Proto == WSS) {
		rest, l.Path = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		a, err := parseListenAddr(rest[:i])
		if err != nil {
			return l, err
		}
		l.Addr, rest = a, rest[i+1:]
	}
	port, err := strconv.ParseUint(rest, 10, 16)
	if err != nil {
		return l, fmt.Errorf("%q is not a port (0 to 65535)", rest)
	}
	l.Port = uint16(port)
	return l, nil
}

func parseListenAddr(host string) (netip.Addr, error) {
	inner, bracket := strings.CutPrefix(host, "[")
	if bracket {
		inner, bracket = strings.CutSuffix(inner, "]")
	}
	a, err := netip.ParseAddr(inner)
	switch {
	case strings.Contains(host, ":") && !bracket:
		return a, errors.New("an IPv6 address stands in brackets")
	case err != nil:
		return a, fmt.Errorf("%q is not an IP address", host)
	case bracket && !a.Is6():
		return a, errors.New("only an IPv6 address stands in brackets")
	}
	a = a.Unmap()
	return a, checkListenAddr(a)
}

// checkListenAddr says why a cannot be listened on by any host.
func checkListenAddr(a netip.Addr) error {
	switch {
	case a.IsUnspecified():
		return fmt.Errorf("%s means every address; leave the address out for that", a)
	case a.IsMulticast():
		return fmt.Errorf("%s is a multicast address", a)
	case a.IsLinkLocalUnicast() && a.Is6() && a.Zone() == "":
		return fmt.Errorf("%s is link-local and needs its interface: %s%%eth0", a, a)
	case a.Zone() != "" && !a.IsLinkLocalUnicast():
		return fmt.Errorf("%s is not link-local and has no interface", a)
	}
	return nil
}

// String returns l in the form that ParseListen reads.
func (l Listen) String() string {
	if !l.Addr.IsValid() {
		return fmt.Sprintf("%s:%d%s", l.Proto, l.Port, l.Path)
	}
	return fmt.Sprintf("%s:%s%s", l.Proto, netip.AddrPortFrom(l.Addr, l.Port), l.Path)
}
