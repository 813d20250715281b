package transport

import (
	"testing"
)

func TestProto(t *testing.T) {
	for _, tt := range []struct {
		p                Proto
		via              string
		port             uint16
		reliable, secure bool
	}{
		{UDP, "UDP", 5060, false, false},
		{TCP, "TCP", 5060, true, false},
		{TLS, "TLS", 5061, true, true},
		{WS, "WS", 80, true, false},
		{WSS, "WSS", 443, true, true},
	} {
		if tt.p.Via() != tt.via || tt.p.Port() != tt.port || tt.p.Reliable() != tt.reliable || tt.p.Secure() != tt.secure {
			t.Errorf("%s: %s %d %v %v", tt.p, tt.p.Via(), tt.p.Port(), tt.p.Reliable(), tt.p.Secure())
		}
	}
}

func TestParseListen(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Listen
		err  string
	}{
		{in: "udp:5060", want: Listen{Proto: UDP, Port: 5060}},
		{in: "tcp:0", want: Listen{Proto: TCP}},
		{in: "udp:192.0.2.1:5060", want: Listen{Proto: UDP, Addr: addr("192.0.2.1"), Port: 5060}},
		{in: "tls:[2001:db8::1]:5061", want: Listen{Proto: TLS, Addr: addr("2001:db8::1"), Port: 5061}},
		{in: "udp:[fe80::1%eth0]:5060", want: Listen{Proto: UDP, Addr: addr("fe80::1%eth0"), Port: 5060}},
		{in: "ws:8080/sip", want: Listen{Proto: WS, Port: 8080, Path: "/sip"}},
		{in: "wss:[2001:db8::1]:443/", want: Listen{Proto: WSS, Addr: addr("2001:db8::1"), Port: 443, Path: "/"}},
		{in: "5060", err: `listen "5060": want TRANSPORT:PORT or TRANSPORT:ADDRESS:PORT with a transport of udp, tcp, tls, ws, wss`},
		{in: "sctp:5060", err: `listen "sctp:5060": want TRANSPORT:PORT or TRANSPORT:ADDRESS:PORT with a transport of udp, tcp, tls, ws, wss`},
		{in: "udp:", err: `listen "udp:": "" is not a port (0 to 65535)`},
		{in: "udp:65536", err: `listen "udp:65536": "65536" is not a port (0 to 65535)`},
		{in: "udp:5060/path", err: `listen "udp:5060/path": "5060/path" is not a port (0 to 65535)`},
		{in: "udp:2001:db8::1:5060", err: `listen "udp:2001:db8::1:5060": an IPv6 address stands in brackets`},
		{in: "udp:[192.0.2.1]:5060", err: `listen "udp:[192.0.2.1]:5060": only an IPv6 address stands in brackets`},
		{in: "udp:host:5060", err: `listen "udp:host:5060": "host" is not an IP address`},
		{in: "udp:0.0.0.0:5060", err: `listen "udp:0.0.0.0:5060": 0.0.0.0 means every address; leave the address out for that`},
		{in: "udp:[ff02::1%eth0]:5060", err: `listen "udp:[ff02::1%eth0]:5060": ff02::1%eth0 is a multicast address`},
		{in: "udp:[fe80::1]:5060", err: `listen "udp:[fe80::1]:5060": fe80::1 is link-local and needs its interface: fe80::1%eth0`},
		{in: "udp:[2001:db8::1%eth0]:5060", err: `listen "udp:[2001:db8::1%eth0]:5060": 2001:db8::1%eth0 is not link-local and has no interface`},
	} {
		got, err := ParseListen(tt.in)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: got %v, %v\nwant %s", tt.in, got, err, tt.err)
			}
			continue
		}
		if err != nil || got != tt.want || got.String() != tt.in {
			t.Errorf("%s: got %+v (%s), %v", tt.in, got, got, err)
		}
	}
}

// FuzzParseListen holds that what is accepted is written and read back the same.
func FuzzParseListen(f *testing.F) {
	f.Fuzz(func(t *testing.T, in string) {
		l, err := ParseListen(in)
		if err != nil {
			return
		}
		again, err := ParseListen(l.String())
		if err != nil || again != l {
			t.Errorf("%q is %s, which is %s, %v", in, l, again, err)
		}
	})
}
