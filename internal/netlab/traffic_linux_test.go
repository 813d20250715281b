package netlab

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns two hosts that have a cable, the addresses of which are usable.
func pair(t *testing.T) (a, b *Host, ea, eb *Link) {
	t.Helper()
	lab := New(t)
	a, b = lab.Host("a"), lab.Host("b")
	a.NoDAD()
	b.NoDAD()
	ea, eb = lab.Cable(a, "eth0", b, "eth0")
	ea.Add("192.0.2.1/24", "2001:db8::1/64")
	eb.Add("192.0.2.2/24", "2001:db8::2/64")
	ea.AwaitUsable("2001:db8::1")
	eb.AwaitUsable("2001:db8::2")
	return a, b, ea, eb
}

func listenUDP(t *testing.T, h *Host, addr string) *net.UDPConn {
	t.Helper()
	c := In(h, func() (*net.UDPConn, error) {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSocketsOfAHost(t *testing.T) {
	t.Parallel()
	a, b, ea, _ := pair(t)
	local := ea.LinkLocal()
	want := []string{"udp 192.0.2.1:5060", "udp [2001:db8::1]:5060", fmt.Sprintf("udp [%s]:5060", local), "tcp 192.0.2.1:5060"}
	for _, w := range want[:3] {
		listenUDP(t, a, w[len("udp "):])
	}
	ln := In(a, func() (net.Listener, error) { return net.Listen("tcp", "192.0.2.1:5060") })
	defer ln.Close()
	got := a.Listeners()
	for _, w := range want {
		if s, ok := got[w]; !ok || s.Inode == 0 {
			t.Errorf("no %s, or without inode, in %v", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d sockets: %v", len(got), got)
	}
	conn := In(b, func() (net.Conn, error) { return net.Dial("tcp", "192.0.2.1:5060") })
	defer conn.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	after := a.Sockets()
	for _, s := range after {
		if s.Remote.String() == conn.LocalAddr().String() {
			return
		}
	}
	t.Errorf("connection from %v not in %v", conn.LocalAddr(), after)
}

func TestInodeTellsAReboundSocket(t *testing.T) {
	t.Parallel()
	a, _, _, _ := pair(t)
	const name = "udp 192.0.2.1:5060"
	first := listenUDP(t, a, "192.0.2.1:5060")
	before := a.Listeners()[name].Inode
	if again := a.Listeners()[name].Inode; again != before {
		t.Errorf("inode %d, then %d", before, again)
	}
	first.Close()
	listenUDP(t, a, "192.0.2.1:5060")
	if after := a.Listeners()[name].Inode; after == before {
		t.Error("a new socket has the inode of the old one")
	}
}

func TestCaptureSeesBothDirections(t *testing.T) {
	t.Parallel()
	for family, addrs := range map[string][2]string{
		"inet":  {"192.0.2.1:5060", "192.0.2.2:5061"},
		"inet6": {"[2001:db8::1]:5060", "[2001:db8::2]:5061"},
	} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			a, b, ea, _ := pair(t)
			c := ea.Capture()
			ca, cb := listenUDP(t, a, addrs[0]), listenUDP(t, b, addrs[1])
			start := time.Now()
			mustWrite(t, ca, "there", addrs[1])
			mustWrite(t, cb, "and back", addrs[0])
			for _, w := range []struct {
				text     string
				outgoing bool
				src, dst string
			}{{"there", true, addrs[0], addrs[1]}, {"and back", false, addrs[1], addrs[0]}} {
				p := c.WaitFor(w.text, func(p Packet) bool { return string(p.Payload) == w.text })
				if p.Outgoing != w.outgoing || p.Src.String() != w.src || p.Dst.String() != w.dst || p.Proto != unix.IPPROTO_UDP {
					t.Errorf("%+v", p)
				}
				if d := p.At.Sub(start); d < -time.Second || d > Patience {
					t.Errorf("time stamp %v away", d)
				}
			}
			if n := c.Lost(); n != 0 {
				t.Errorf("%d packets lost", n)
			}
		})
	}
}

func mustWrite(t *testing.T, c *net.UDPConn, text, to string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), netip.MustParseAddrPort(to)); err != nil {
		t.Fatal(err)
	}
}

func TestCaptureGoesOnAfterLinkDown(t *testing.T) {
	t.Parallel()
	a, _, ea, _ := pair(t)
	c := ea.Capture()
	ea.Down()
	ea.Up()
	ca := listenUDP(t, a, "192.0.2.1:5060")
	mustWrite(t, ca, "still here", "192.0.2.2:5060")
	c.WaitFor("packet", func(p Packet) bool { return string(p.Payload) == "still here" })
}

func TestCaptureOfTCP(t *testing.T) {
	t.Parallel()
	a, b, ea, _ := pair(t)
	c := ea.Capture()
	ln := In(b, func() (net.Listener, error) { return net.Listen("tcp", "[2001:db8::2]:5060") })
	conn := In(a, func() (net.Conn, error) { return net.Dial("tcp", "[2001:db8::2]:5060") })
	defer conn.Close()
	if _, err := conn.Write([]byte("over a stream")); err != nil {
		t.Fatal(err)
	}
	c.WaitFor("connection", func(p Packet) bool { return p.SYN && p.Outgoing })
	c.WaitFor("data", func(p Packet) bool { return bytes.Equal(p.Payload, []byte("over a stream")) })
	if got := Streams(c.Packets()); len(got) != 1 || string(got[0]) != "over a stream" {
		t.Errorf("streams %q", got)
	}
	ln.Close()
	refused := a.Do(func() error {
		_, err := net.Dial("tcp", "[2001:db8::2]:5060")
		return err
	})
	if refused == nil {
		t.Error("connected to nobody")
	}
	c.WaitFor("reset", func(p Packet) bool { return p.RST && !p.Outgoing })
}

func TestStreams(t *testing.T) {
	t.Parallel()
	const start = 0xfffffffe // the numbers wrap within the stream
	here, there := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")
	segment := func(at uint32, text string) Packet {
		return Packet{Proto: unix.IPPROTO_TCP, Src: here, Dst: there, Seq: start + at, Payload: []byte(text), SYN: text == ""}
	}
	other := Packet{Proto: unix.IPPROTO_TCP, Src: there, Dst: here, Seq: 7, Payload: []byte("back")}
	again := segment(1000, "")
	tests := []struct {
		situation string
		packets   []Packet
		want      []string
	}{
		{"in order", []Packet{segment(0, ""), segment(1, "abc"), segment(4, "def")}, []string{"abcdef"}},
		{"out of order", []Packet{segment(0, ""), segment(4, "def"), segment(1, "abc")}, []string{"abcdef"}},
		{"sent again in other pieces", []Packet{segment(0, ""), segment(1, "ab"), segment(1, "abcd"), segment(3, "cd"), segment(5, "ef")}, []string{"abcdef"}},
		{"seen from the middle on", []Packet{segment(4, "def"), segment(7, "g")}, []string{"defg"}},
		{"a hole", []Packet{segment(0, ""), segment(1, "abc"), segment(5, "ef")}, []string{"abc"}},
		{"both directions", []Packet{segment(0, ""), other, segment(1, "abc")}, []string{"abc", "back"}},
		{"ports used once more", []Packet{segment(0, ""), segment(1, "abc"), again, segment(1001, "xyz")}, []string{"abc", "xyz"}},
	}
	for _, test := range tests {
		var got []string
		for _, s := range Streams(test.packets) {
			got = append(got, string(s))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.situation, got, test.want)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	f.Add([]byte("\x45\x00\x00\x1d\x00\x00\x00\x00\x40\x11\x00\x00\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\xc4\x13\xc4\x00\x09\x00\x00xPAD"))
	f.Add([]byte("\x45\x00\x00\x05\x00\x00\x00\x00\x40\x11\x00\x00\xc0\x00\x02\x01\xc0\x00\x02\x02"))
	f.Add([]byte("\x60\x00\x00\x00\x00\x08\x3a\x40 2001:db8::1 and 2001:db8::2 and more"))
	f.Add([]byte("\x45\x00\x00\x1c\x00\x00\x20\x01\x40\x11\x00\x00\xc0\x00\x02\x01\xc0\x00\x02\x02fragment"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parsePacket(b)
		if ok && len(p.Payload) > len(b)-20 {
			t.Errorf("%d bytes of payload in a packet of %d", len(p.Payload), len(b))
		}
		if ok && (!p.Src.Addr().IsValid() || p.Src.Addr().BitLen() != p.Dst.Addr().BitLen()) {
			t.Errorf("addresses %v and %v", p.Src, p.Dst)
		}
	})
}
