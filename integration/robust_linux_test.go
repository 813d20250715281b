package integration

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gosipua/gosipua/internal/netlab"
)

// A registrar that dies, in the middle of everything, ends nothing: the phone
// goes on to answer others, asks again now and then, and is registered again
// when the registrar is back.
func TestRegistrarIsKilled(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			server, host, peer := s.host("kamailio"), s.host("host"), s.host("peer")
			k := startRegistrar(t, server, registrarConfig{Users: passwords()})
			p := startProgram(t, host.Host, accountOf("alice", netip.AddrPortFrom(server.v4, 5060), proto, 4*time.Second, ""))
			k.saved("alice")
			before := host.Listeners()
			wire := host.link.Capture()

			k.Kill()
			killed := time.Now()
			// Each try is a connection that is refused over TCP, a REGISTER over UDP.
			tries := func() int {
				return len(sent(wire, host, "REGISTER")) + len(wire.Select(func(p netlab.Packet) bool { return p.SYN && p.Dst.Addr() == server.v4 }))
			}
			wire.WaitFor("more tries", func(netlab.Packet) bool { return tries() >= map[string]int{"udp": 3, "tcp": 2}[proto] })
			answersOptions(t, peer.Host, peer.link, "alice", host.v4.String())
			// Repeated after 0.5 s at first (RFC 3261 timer E), tried again after 2 s.
			took := time.Since(killed)
			if n, limit := tries(), 3+int(took/time.Second); n > limit {
				t.Errorf("%d tries in %v, want at most %d", n, took, limit)
			}

			k.start(t)
			k.saved("alice")
			p.wantUntouched(before, connections(before)...)
			p.stop()
			k.Next(`saved alice contact .*expires=0`)
		})
	}
}

// sent returns the requests of a method that a station sent, as often as it did.
func sent(c *netlab.Capture, by *station, method string) []message {
	return slices.DeleteFunc(messages(c, from(by)), func(m message) bool { return m.status() != 0 || m.method() != method })
}

// connections returns the names of sockets that are not listeners of port 5060.
func connections(sockets map[string]netlab.Socket) []string {
	var names []string
	for name, s := range sockets {
		if s.Local.Port() != 5060 {
			names = append(names, name)
		}
	}
	return names
}

func TestRefusedTCPConnectionEndsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	nobody, host, peer := s.host("nobody"), s.host("host"), s.host("peer")
	p := startProgram(t, host.Host, accountOf("alice", netip.AddrPortFrom(nobody.v4, 5060), "tcp", time.Minute, ""))
	p.WaitFor(`msg="not registered".*refused`)
	answersOptions(t, peer.Host, peer.link, "alice", host.v4.String())
	answersOptions(t, peer.Host, peer.link, "alice", host.v6.String())
	p.stop()
}

// Garbage on every port: random bytes, messages cut off or of absurd lengths,
// connections that say nothing and connections that break off.
func TestGarbageOnEveryPort(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	host, peer := s.host("host"), s.host("peer")
	p := startProgram(t, host.Host, echoConfig)
	before := host.Listeners()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	peer.link.LinkLocal()
	for _, to := range []netip.AddrPort{netip.AddrPortFrom(host.v4, 5060), netip.AddrPortFrom(host.v6, 5060)} {
		good := dialogID{"TCP", to, "sip:echo@" + to.String(), rng.Int()}.request("INVITE", offer(to.Addr()))
		for _, b := range garbage(rng, good) {
			for _, network := range []string{"udp", "tcp"} {
				if err := peer.Do(func() error { return throw(network, to, b) }); err != nil {
					t.Fatalf("%d bytes over %s: %v", len(b), network, err)
				}
			}
		}
		// Some of the garbage was good enough for calls, so the account may be busy: that is not asked.
		answersOptions(t, peer.Host, peer.link, "", to.Addr().String())
	}
	p.wantUntouched(before)
	p.stop()
}

// garbage returns what a phone must survive; good is a message to spoil.
func garbage(rng *rand.Rand, good []byte) [][]byte {
	all := [][]byte{
		{},
		{0},
		[]byte("\r\n\r\n"), []byte("\n"), []byte("SIP/2.0"), []byte("INVITE"), []byte("GET / HTTP/1.1\r\n\r\n"),
		[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), // the beginning of TLS
		[]byte("SIP/2.0 200 OK\r\n\r\n"),
		bytes.Repeat([]byte("A"), 60000),
		[]byte("INVITE " + strings.Repeat("sip:x@", 9000) + " SIP/2.0\r\n\r\n"),
		bytes.Replace(good, []byte("Content-Length: "), []byte("Content-Length: 9"), 1),
		bytes.Replace(good, []byte("Content-Length: "), []byte("Content-Length: -"), 1),
		bytes.Replace(good, []byte("Content-Length: "), []byte("Content-Length: 99999999999999999999"), 1),
		bytes.Replace(good, []byte("Via: "), []byte("Via: SIP/2.0/UDP [::ffff:bad"), 1),
		bytes.Replace(good, []byte("CSeq: 1"), []byte("CSeq: 99999999999"), 1),
		bytes.ReplaceAll(good, []byte("\r\n"), []byte("\n \r")),
	}
	for range 60 {
		b := make([]byte, rng.IntN(1400))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		all = append(all, b, good[:rng.IntN(len(good))])
		spoiled := bytes.Clone(good)
		for range 1 + rng.IntN(8) {
			spoiled[rng.IntN(len(spoiled))] = byte(rng.Uint32())
		}
		all = append(all, spoiled)
	}
	return all
}

// throw sends b and leaves: a connection is closed at once, or reset.
func throw(network string, to netip.AddrPort, b []byte) error {
	c, err := net.DialTimeout(network, to.String(), netlab.Patience)
	if err != nil {
		return err
	}
	_, err = c.Write(b)
	if tcp, ok := c.(*net.TCPConn); ok {
		if len(b)%2 == 0 {
			_ = tcp.SetLinger(0)
		}
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrShortWrite) {
			err = nil // it has hung up on us
		}
	}
	return errors.Join(err, c.Close())
}
