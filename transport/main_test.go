package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
	"github.com/gosipua/gosipua/internal/memnet"
)

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// A world is a Manager on a host in memory, with what it told and received.
// It lives in the synctest bubble of its test.
type world struct {
	t     *testing.T
	net   *memnet.Net
	host  *memnet.Host
	links *ifwatchtest.Source
	m     *Manager
	ended chan error
	stop  context.CancelFunc

	mu     sync.Mutex
	events []Event
	got    []Message
	log    strings.Builder
}

// newWorld runs a Manager on a host that has eth0 with 192.0.2.1 and
// 2001:db8::1, and whatever change does to its configuration.
func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, net: memnet.New(), links: ifwatchtest.NewSource(), ended: make(chan error, 1)}
	w.host = w.net.Host(addr("192.0.2.1"), addr("2001:db8::1"))
	cfg := Config{
		Links: w.links, Network: w.host, Event: w.event, Receive: w.receive,
		Log: slog.New(slog.NewTextHandler(lockedWriter{w}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	w.m = New(cfg)
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { w.ended <- w.m.Run(ctx) }()
	w.set(usual()...)
	return w
}

// end stops the Manager and waits until nothing of it is left.
func (w *world) end() {
	w.stop()
	<-w.ended
}

// usual are the addresses that a world begins with.
func usual() []ifwatch.Addr {
	return []ifwatch.Addr{ifwatchtest.Addr(2, "192.0.2.1/24"), ifwatchtest.Addr(2, "2001:db8::1/64")}
}

// set makes these the addresses that the links are said to have, and waits
// until the Manager has done what it does about it.
func (w *world) set(addrs ...ifwatch.Addr) {
	w.links.Set([]ifwatch.Link{ifwatchtest.Loopback(), ifwatchtest.Link(2, "eth0"), ifwatchtest.Link(3, "eth1")}, addrs)
	synctest.Wait()
}

func (w *world) event(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *world) receive(m Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, m)
}

// received waits until everything has been read and returns what came.
func (w *world) received() []Message {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

// one returns the single message that came.
func (w *world) one() Message {
	w.t.Helper()
	got := w.received()
	if len(got) != 1 {
		w.t.Fatalf("got %d messages, want 1; log:\n%s", len(got), w.logged())
	}
	return got[0]
}

// told returns the events since it was last called, as text.
func (w *world) told() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, e := range w.events {
		s := fmt.Sprintf("%s %s %s", e.Kind, e.Proto, e.Local)
		if e.Flow != nil {
			s += " > " + e.Flow.Remote().String()
		}
		all = append(all, s)
	}
	w.events = nil
	return all
}

// expect fails unless exactly these events came.
func (w *world) expect(want ...string) {
	w.t.Helper()
	if got := w.told(); !slices.Equal(got, want) {
		w.t.Errorf("events\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

type lockedWriter struct{ w *world }

func (l lockedWriter) Write(b []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.log.Write(b)
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// state returns the listeners of an address as text: "udp:5060 listening".
func (w *world) state(local string) []string {
	for _, s := range w.m.Snapshot().Addrs {
		if s.Local.IsValid() && s.Local.String() == local {
			return listenerText(s.Listeners)
		}
	}
	return nil
}

func listenerText(list []ListenerState) []string {
	var all []string
	for _, l := range list {
		all = append(all, fmt.Sprintf("%s:%d %s", l.Proto, l.Port, l.State))
	}
	return all
}

// peer opens a UDP socket on a host of its own.
func (w *world) peer(local string) net.PacketConn {
	w.t.Helper()
	a := addrPort(local)
	c, err := w.net.Host(a.Addr()).ListenPacket(w.t.Context(), a, "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// readFrom reads one datagram, or fails within a virtual minute.
func (w *world) readFrom(c net.PacketConn) (string, netip.AddrPort) {
	w.t.Helper()
	b := make([]byte, maxDatagram)
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	n, from, err := c.ReadFrom(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b[:n]), from.(*net.UDPAddr).AddrPort()
}

// write sends a datagram.
func (w *world) write(c net.PacketConn, to, data string) {
	w.t.Helper()
	if _, err := c.WriteTo([]byte(data), net.UDPAddrFromAddrPort(addrPort(to))); err != nil {
		w.t.Fatal(err)
	}
}

// options is an OPTIONS with a Via of that proto and sent-by.
func options(proto, sentBy string) string {
	return request("OPTIONS", proto, sentBy, 1)
}

func request(method, proto, sentBy string, seq int) string {
	return fmt.Sprintf("%s sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%d\r\n"+
		"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: c1\r\nCSeq: %d %s\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
		method, proto, sentBy, seq, seq, method)
}

// answer makes the 200 to a request.
func answer(m Message) []byte {
	var b strings.Builder
	b.WriteString("SIP/2.0 200 OK\r\n")
	head, _, _ := strings.Cut(string(m.Raw), "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n")[1:] {
		name, _, _ := strings.Cut(line, ":")
		if slices.Contains([]string{"Via", "From", "To", "Call-ID", "CSeq"}, name) {
			b.WriteString(line + "\r\n")
		}
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return []byte(b.String())
}

// dial opens a connection to the Manager from a host of its own.
func (w *world) dial(from, to string) net.Conn {
	w.t.Helper()
	c, err := w.net.Host(addr(from)).Dial(w.t.Context(), addr(from), addrPort(to), "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// listen accepts connections on a host of its own.
func (w *world) listen(at string) net.Listener {
	w.t.Helper()
	l, err := w.net.Host(addrPort(at).Addr()).Listen(w.t.Context(), addrPort(at), "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	return l
}

func (w *world) accept(l net.Listener) net.Conn {
	w.t.Helper()
	c, err := l.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

func (w *world) send(c net.Conn, data string) {
	w.t.Helper()
	if _, err := c.Write([]byte(data)); err != nil {
		w.t.Fatal(err)
	}
}

// read reads what is there, or fails within a virtual minute.
func (w *world) read(c net.Conn) string {
	w.t.Helper()
	synctest.Wait()
	b := make([]byte, maxDatagram)
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	n, err := c.Read(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b[:n])
}
