package wire

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestSetReceived(t *testing.T) {
	for _, tt := range []struct{ name, via, src, want string }{
		{"same address, rport not asked for", "SIP/2.0/UDP 192.0.2.9:5070;branch=b", "192.0.2.9:5070", "SIP/2.0/UDP 192.0.2.9:5070;branch=b"},
		{"same address, other port, rport not asked for", "SIP/2.0/UDP 192.0.2.9;branch=b", "192.0.2.9:4444", "SIP/2.0/UDP 192.0.2.9;branch=b"},
		{"other address", "SIP/2.0/UDP 192.0.2.9;branch=b", "198.51.100.1:5060", "SIP/2.0/UDP 192.0.2.9;branch=b;received=198.51.100.1"},
		{"a name", "SIP/2.0/UDP h.example.com;branch=b", "192.0.2.9:5060", "SIP/2.0/UDP h.example.com;branch=b;received=192.0.2.9"},
		{"rport asked for", "SIP/2.0/UDP 192.0.2.9;rport;branch=b", "192.0.2.9:4444", "SIP/2.0/UDP 192.0.2.9;branch=b;received=192.0.2.9;rport=4444"},
		{"rport with a value is still a question", "SIP/2.0/UDP 192.0.2.9;rport=1;branch=b", "192.0.2.9:4444", "SIP/2.0/UDP 192.0.2.9;branch=b;received=192.0.2.9;rport=4444"},
		{"a received that the sender made up", "SIP/2.0/UDP 192.0.2.9;received=203.0.113.1;branch=b", "192.0.2.9:5060", "SIP/2.0/UDP 192.0.2.9;branch=b"},
		{"received twice", "SIP/2.0/UDP h;received=203.0.113.1;branch=b;Received=203.0.113.2", "192.0.2.9:5060", "SIP/2.0/UDP h;branch=b;received=192.0.2.9"},
		{"IPv6, written otherwise", "SIP/2.0/TCP [2001:DB8:0::9];branch=b", "[2001:db8::9]:5060", "SIP/2.0/TCP [2001:DB8:0::9];branch=b"},
		{"link-local, whose zone is nobody's business", "SIP/2.0/UDP [fe80::1];rport", "[fe80::1%eth0]:5060", "SIP/2.0/UDP [fe80::1];received=fe80::1;rport=5060"},
		{"IPv4 on an IPv6 socket", "SIP/2.0/UDP 192.0.2.9", "[::ffff:192.0.2.9]:5060", "SIP/2.0/UDP 192.0.2.9"},
		{"a semicolon in quotes", "SIP/2.0/UDP h;x=\"a;received=b\"", "192.0.2.9:5060", "SIP/2.0/UDP h;x=\"a;received=b\";received=192.0.2.9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Parse([]byte(options("Via: "+tt.via+"\nVia: SIP/2.0/UDP below;received=192.0.2.3\n"+tail)+"body"), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			m.SetReceived(netip.MustParseAddrPort(tt.src))
			want := options("Via: "+tt.want+"\nVia: SIP/2.0/UDP below;received=192.0.2.3\n"+tail+"Content-Length: 4\n") + "body"
			if string(m.Raw) != want {
				t.Errorf("got\n%s\nwant\n%s", m.Raw, want)
			}
			if string(m.Body()) != "body" {
				t.Errorf("body %q", m.Body())
			}
			again, err := Parse(m.Raw, Limits{})
			if err != nil || again.Head != m.Head {
				t.Errorf("read again: %+v, %v\nwant %+v", again.Head, err, m.Head)
			}
		})
	}
}

// A Via longer than what was left free makes Raw grow instead of overwriting.
func TestSetReceivedWithoutRoom(t *testing.T) {
	m, err := Parse([]byte(options("Via: SIP/2.0/UDP h;rport\n"+tail)+"body"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	m.Raw = slices.Clip(m.Raw)
	m.SetReceived(netip.MustParseAddrPort("[2001:db8:1111:2222:3333:4444:5555:6666]:65535"))
	if !strings.Contains(string(m.Raw), ";received=2001:db8:1111:2222:3333:4444:5555:6666;rport=65535\r\n") || string(m.Body()) != "body" {
		t.Errorf("got\n%s", m.Raw)
	}
}

func TestTopVia(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Via
		ok       bool
	}{
		{"first of two", "SIP/2.0 200 OK\r\nX: y\r\nVia: SIP/2.0/UDP h:5070;rport=1;received=192.0.2.1\r\nVia: SIP/2.0/TCP b\r\n\r\n", Via{Proto: "UDP", Host: "h", Port: 5070, HasRPort: true, RPort: 1, Received: "192.0.2.1"}, true},
		{"compact, folded", "SIP/2.0 200 OK\r\nv: SIP/2.0/TCP\r\n [2001:db8::1]\r\n\r\n", Via{Proto: "TCP", Host: "2001:db8::1"}, true},
		{"none", "SIP/2.0 200 OK\r\n\r\nVia: SIP/2.0/TCP h\r\n", Via{}, false},
		{"bad", "SIP/2.0 200 OK\r\nVia: h\r\n\r\n", Via{}, false},
		{"nothing", "", Via{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := TopVia([]byte(tt.in)); got != tt.want || ok != tt.ok {
				t.Errorf("got %+v, %v", got, ok)
			}
		})
	}
}
