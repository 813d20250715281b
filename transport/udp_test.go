package transport

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
	"github.com/gosipua/gosipua/internal/memnet"
)

// Where the answer to a request over UDP goes (RFC 3261 section 18.2.2, RFC 3581
// section 4): always from the socket that was asked, and to whom the Via says.
func TestAnswersOverUDP(t *testing.T) {
	for _, tt := range []struct {
		name, sentBy string
		local        string // that is asked
		from         string // where the request comes from
		to           string // where the answer goes
	}{
		{"to the port of the sent-by", "192.0.2.9:5070", "192.0.2.1:5060", "192.0.2.9:40000", "192.0.2.9:5070"},
		{"to 5060 if the sent-by has none", "192.0.2.9", "192.0.2.1:5060", "192.0.2.9:40000", "192.0.2.9:5060"},
		{"to where it came from with rport", "192.0.2.9:5070;rport", "192.0.2.1:5060", "192.0.2.9:40000", "192.0.2.9:40000"},
		{"to the source address, not the sent-by", "10.0.0.9:5070", "192.0.2.1:5060", "192.0.2.9:40000", "192.0.2.9:5070"},
		{"to the source address of a name", "pc.example.com", "192.0.2.1:5060", "192.0.2.9:40000", "192.0.2.9:5060"},
		{"to maddr", "192.0.2.9;maddr=192.0.2.10", "192.0.2.1:5060", "192.0.2.9:40000", "192.0.2.10:5060"},
		{"not to a maddr that is a name", "192.0.2.9:5070;maddr=example.com", "192.0.2.1:5060", "192.0.2.9:40000", "192.0.2.9:5070"},
		{"not to a maddr of the other family", "192.0.2.9:5070;maddr=[2001:db8::9]", "192.0.2.1:5060", "192.0.2.9:40000", "192.0.2.9:5070"},
		{"not to a received that the sender made up", "192.0.2.9:5070;received=192.0.2.66", "192.0.2.1:5060", "192.0.2.9:40000", "192.0.2.9:5070"},
		{"over IPv6", "[2001:db8::9]:5070;rport", "[2001:db8::1]:5060", "[2001:db8::9]:40000", "[2001:db8::9]:40000"},
		{"over IPv6 without rport", "[2001:db8::9]", "[2001:db8::1]:5060", "[2001:db8::9]:40000", "[2001:db8::9]:5060"},
		{"link-local", "[fe80::9]:5070", "[fe80::1%2]:5060", "[fe80::9%2]:40000", "[fe80::9%2]:5070"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				defer w.end()
				w.host.Add(addr("fe80::1%2"))
				w.set(append(usual(), ifwatchtest.Addr(2, "fe80::1/64"))...)
				peer := w.peer(tt.from)
				target := peer
				if tt.to != tt.from {
					target = w.peer(tt.to)
				}
				w.write(peer, tt.local, options("UDP", tt.sentBy))
				m := w.one()
				if m.Flow.Local() != addrPort(tt.local) || m.Flow.Remote() != addrPort(tt.from) || strings.Contains(m.Head.Via.Received, "%") {
					t.Errorf("flow %s, received %s", m.Flow, m.Head.Via.Received)
				}
				if err := m.Flow.Respond(t.Context(), answer(m)); err != nil {
					t.Fatal(err)
				}
				if _, from := w.readFrom(target); from != addrPort(tt.local) {
					t.Errorf("answered from %s", from)
				}
			})
		})
	}
}

// Two sockets and one peer: every answer leaves from the address that was asked.
func TestAnswersFromTheAddressAsked(t *testing.T) { synctest.Test(t, testAnswersFromTheAddressAsked) }

func testAnswersFromTheAddressAsked(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Receive = func(m Message) {
			if err := m.Flow.Respond(t.Context(), answer(m)); err != nil {
				t.Error(err)
			}
		}
	})
	defer w.end()
	w.host.Add(addr("192.0.2.2"))
	w.set(append(usual(), ifwatchtest.Addr(2, "192.0.2.2/24"))...)
	peer := w.peer("192.0.2.9:5070")
	for i := range 1000 {
		to := []string{"192.0.2.1:5060", "192.0.2.2:5060"}[i*7%13%2]
		w.write(peer, to, request("OPTIONS", "UDP", "192.0.2.9:5070", i))
		if got, from := w.readFrom(peer); from.String() != to || !strings.Contains(got, fmt.Sprintf("CSeq: %d ", i)) {
			t.Fatalf("asked %s, answered from %s:\n%s", to, from, got)
		}
	}
}

func TestRefusesOverUDP(t *testing.T) { synctest.Test(t, testRefusesOverUDP) }

func testRefusesOverUDP(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	peer := w.peer("192.0.2.9:5070")
	bad := strings.Replace(options("UDP", "192.0.2.9;rport"), "Max-Forwards: 70", "Max-Forwards: x", 1)
	var answers []string
	for range 2 {
		w.write(peer, "192.0.2.1:5060", bad)
		got, from := w.readFrom(peer)
		if from != addrPort("192.0.2.1:5060") || !strings.HasPrefix(got, "SIP/2.0 400 Malformed Max-Forwards\r\n") {
			t.Fatalf("from %s:\n%s", from, got)
		}
		answers = append(answers, got)
	}
	if answers[0] != answers[1] {
		t.Errorf("a retransmission is answered differently:\n%s%s", answers[0], answers[1])
	}
	for _, in := range []string{
		strings.ReplaceAll(bad, "OPTIONS", "ACK"), // never answered
		"SIP/2.0 200 OK\r\n\r\n",
		"garbage",
	} {
		w.write(peer, "192.0.2.1:5060", in)
	}
	if got := w.received(); len(got) != 0 {
		t.Errorf("let %d messages pass", len(got))
	}
	peer.SetReadDeadline(time.Now().Add(time.Minute))
	if n, _, err := peer.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("answered with %d bytes", n)
	}
	if s := w.m.Stats(); s.Malformed != 5 || s.Refused != 2 {
		t.Errorf("%+v", s)
	}
}

func TestKeepAlivesOverUDP(t *testing.T) { synctest.Test(t, testKeepAlivesOverUDP) }

func testKeepAlivesOverUDP(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	peer := w.peer("192.0.2.9:5070")
	for _, in := range []string{"", "\r\n\r\n", "\x00"} {
		w.write(peer, "192.0.2.1:5060", in)
	}
	stun := make([]byte, 20)
	stun[1] = 1
	binary.BigEndian.PutUint32(stun[4:], 0x2112a442)
	w.write(peer, "192.0.2.1:5060", string(stun))
	w.received()
	if s := w.m.Stats(); s.KeepAlives != 3 || s.STUN != 1 || s.Malformed != 0 || s.UDPFlows != 0 {
		t.Errorf("%+v", s)
	}
}

// The same two addresses have the same Flow, whoever begins.
func TestFlowIdentity(t *testing.T) { synctest.Test(t, testFlowIdentity) }

func testFlowIdentity(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	w.told()
	asked, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5070")})
	if err != nil {
		t.Fatal(err)
	}
	peer := w.peer("192.0.2.9:5070")
	w.write(peer, "192.0.2.1:5060", options("UDP", "192.0.2.9"))
	if m := w.one(); m.Flow != asked {
		t.Errorf("got flow %p, want %p", m.Flow, asked)
	}
	again, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("[::ffff:192.0.2.9]:5070")})
	if err != nil || again != asked {
		t.Errorf("asked again: %p, %v", again, err)
	}
	w.expect("flow_up udp 192.0.2.1:5060 > 192.0.2.9:5070")
	asked.Close() // shares its socket; nothing to end
	if err := asked.Send(t.Context(), []byte("x")); err != nil || asked.Err() != nil {
		t.Errorf("after Close: %v, %v", err, asked.Err())
	}
}

// Any number of sources costs a bounded amount of memory, and takes no flow
// away from those who asked for one.
func TestManySources(t *testing.T) { synctest.Test(t, testManySources) }

func testManySources(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.MaxUDPFlows = 1000
		c.Receive = func(Message) {}
	})
	defer w.end()
	asked, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5070")})
	if err != nil {
		t.Fatal(err)
	}
	s := asked.udp
	for i := range 50_000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), uint16(i>>16)+1)
		s.datagram([]byte(options("UDP", "h")), from)
	}
	if st := w.m.Stats(); st.UDPFlows != 1000 || st.Forgotten != 50_000-999 || st.Received != 50_000 {
		t.Errorf("%+v", st)
	}
	if again, _ := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5070")}); again != asked {
		t.Error("the flow that was asked for is forgotten")
	}
	time.Sleep(flowLife + 2*sweepEvery)
	synctest.Wait()
	if st := w.m.Stats(); st.UDPFlows != 1 {
		t.Errorf("%d remembered after their time", st.UDPFlows)
	}
	time.Sleep(askedLife)
	synctest.Wait()
	if st := w.m.Stats(); st.UDPFlows != 0 {
		t.Errorf("%d remembered after all time", st.UDPFlows)
	}
	if err := asked.Send(t.Context(), []byte("x")); err != nil {
		t.Errorf("a forgotten flow does not work: %v", err)
	}
}

// An error of sending concerns the message, not the socket; one of a closed
// socket says why it is closed.
func TestSendErrorsOverUDP(t *testing.T) { synctest.Test(t, testSendErrorsOverUDP) }

func testSendErrorsOverUDP(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	f, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5070")})
	if err != nil {
		t.Fatal(err)
	}
	w.net.SetHooks(memnet.Hooks{Send: func(_, _ netip.AddrPort) error { return syscall.EPERM }})
	const want = "send udp 192.0.2.9:5070 from 192.0.2.1:5060: write udp 192.0.2.1:5060: operation not permitted"
	if err := f.Send(t.Context(), []byte("x")); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	w.net.SetHooks(memnet.Hooks{})
	if err := f.Send(t.Context(), []byte("x")); err != nil {
		t.Error(err)
	}
	w.set(usual()[1:]...)
	const gone = "send udp 192.0.2.9:5070 from 192.0.2.1:5060: local address is gone: 192.0.2.1 was removed"
	if err := f.Send(t.Context(), []byte("x")); err == nil || err.Error() != gone {
		t.Errorf("got %v", err)
	}
	if s := w.m.Stats(); s.SendErrors != 2 || s.Sent != 1 {
		t.Errorf("%+v", s)
	}
}

// A Network may give sockets that have the methods of net.PacketConn only.
func TestPlainPacketConn(t *testing.T) { synctest.Test(t, testPlainPacketConn) }

func testPlainPacketConn(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	peer := w.peer("192.0.2.9:5070")
	c := plainPacketConn{struct{ net.PacketConn }{peer}}
	f, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5070")})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Send(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	n, from, err := c.ReadFromUDPAddrPort(make([]byte, 9))
	if n != 1 || from != addrPort("192.0.2.1:5060") || err != nil {
		t.Errorf("%d bytes from %s, %v", n, from, err)
	}
	if _, err := c.WriteToUDPAddrPort([]byte(options("UDP", "h")), from); err != nil {
		t.Fatal(err)
	}
	w.one()
}
