package media

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gosipua/gosipua/ua/sdp"
)

// fakeNet is a network in memory. Packets arrive after the delays that travel gives; without one they arrive at once.
type fakeNet struct {
	mu     sync.Mutex
	conns  map[netip.AddrPort]*fakeConn
	taken  map[netip.AddrPort]error
	sent   []fakePacket // if trace is set
	trace  bool
	way    sync.Mutex // held while travel is called
	travel func(from, to netip.AddrPort, b []byte) []time.Duration
}

type fakePacket struct {
	from, to netip.AddrPort
	at       time.Time
	b        []byte
}

type fakeConn struct {
	net  *fakeNet
	addr netip.AddrPort
	in   chan fakePacket
	done chan struct{}
	once sync.Once

	mu      sync.Mutex
	readErr error // returned once by the next read, after a packet
	sendErr error // returned by every write
}

func newFakeNet() *fakeNet {
	return &fakeNet{conns: make(map[netip.AddrPort]*fakeConn), taken: make(map[netip.AddrPort]error)}
}

func (n *fakeNet) Listen(local Local, port uint16) (PacketConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := netip.AddrPortFrom(local.Addr.WithZone(""), port)
	if err := n.taken[at]; err != nil {
		return nil, err
	}
	if n.conns[at] != nil {
		return nil, syscall.EADDRINUSE
	}
	c := &fakeConn{net: n, addr: at, in: make(chan fakePacket, 4096), done: make(chan struct{})}
	n.conns[at] = c
	return c, nil
}

func (n *fakeNet) conn(at netip.AddrPort) *fakeConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.conns[at]
}

// deliver puts a packet onto the way.
func (n *fakeNet) deliver(from, to netip.AddrPort, b []byte) {
	p := fakePacket{from, to, time.Now(), append([]byte(nil), b...)}
	n.mu.Lock()
	if n.trace {
		n.sent = append(n.sent, p)
	}
	n.mu.Unlock()
	delays := []time.Duration{0}
	n.way.Lock()
	if n.travel != nil {
		delays = n.travel(from, to, b)
	}
	n.way.Unlock()
	for _, d := range delays {
		if d == 0 {
			n.arrive(p)
		} else {
			time.AfterFunc(d, func() { n.arrive(p) })
		}
	}
}

func (n *fakeNet) arrive(p fakePacket) {
	if c := n.conn(p.to); c != nil {
		select {
		case c.in <- p:
		default:
		}
	}
}

func (n *fakeNet) setTravel(f func(from, to netip.AddrPort, b []byte) []time.Duration) {
	n.way.Lock()
	defer n.way.Unlock()
	n.travel = f
}

// traced is what has been sent since the last call.
func (n *fakeNet) traced() []fakePacket {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.sent
	n.sent, n.trace = nil, true
	return list
}

func (c *fakeConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	c.mu.Lock()
	err := c.readErr
	c.readErr = nil
	c.mu.Unlock()
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	select {
	case p := <-c.in:
		return copy(b, p.b), p.from, nil
	case <-c.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (c *fakeConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	c.mu.Lock()
	err := c.sendErr
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	select {
	case <-c.done:
		return 0, net.ErrClosed
	default:
	}
	c.net.deliver(c.addr, to, b)
	return len(b), nil
}

func (c *fakeConn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendErr = err
}

func (c *fakeConn) Close() error {
	c.once.Do(func() {
		c.net.mu.Lock()
		delete(c.net.conns, c.addr)
		c.net.mu.Unlock()
		close(c.done)
	})
	return nil
}

var (
	addrA = netip.MustParseAddr("192.0.2.1")
	addrB = netip.MustParseAddr("192.0.2.2")
)

// call is two streams of one Engine that talk to each other in memory.
type call struct {
	t    *testing.T
	net  *fakeNet
	e    *Engine
	a, b *Stream

	mu     sync.Mutex
	events map[*Stream][]Event
}

// inCall runs f in a bubble with a call that has been set up but not started.
func inCall(t *testing.T, f func(c *call)) { inCallWith(t, Config{}, f) }

func inCallWith(t *testing.T, cfg Config, f func(c *call)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &call{t: t, net: newFakeNet(), events: make(map[*Stream][]Event)}
		cfg.Network = c.net
		c.e = New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.e.Run(ctx) }()
		defer func() { // also when f has given up
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Run ended with %v", err)
			}
			if len(c.net.conns) != 0 {
				t.Errorf("%d sockets left open", len(c.net.conns))
			}
		}()
		c.a, c.b = c.open(addrA), c.open(addrB)
		f(c)
	})
}

// wait lets time pass, and then all that is due at that moment happen.
func (c *call) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (c *call) open(addr netip.Addr) *Stream {
	c.t.Helper()
	s, err := c.e.Open(Local{Addr: addr})
	if err != nil {
		c.t.Fatal(err)
	}
	s.OnEvent(func(e Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.events[s] = append(c.events[s], e)
	})
	return s
}

// heard is what a stream has told of, by kind.
func (c *call) heard(s *Stream, kind EventKind) []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Event
	for _, e := range c.events[s] {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// agree runs an offer of a and the answer of b.
func (c *call) agree() {
	c.t.Helper()
	agree(c.t, c.a, c.b, nil)
}

// agree lets two streams agree, with the descriptions changed by change, and starts them.
func agree(t testing.TB, a, b *Stream, change func(l *sdp.Local)) {
	t.Helper()
	la, lb := a.Describe(), b.Describe()
	if change != nil {
		change(&la)
		change(&lb)
	}
	offer, err := sdp.Parse(sdp.Offer(la).Marshal())
	if err != nil {
		t.Fatal(err)
	}
	answer, atB, err := sdp.Answer(offer, lb)
	if err != nil {
		t.Fatal(err)
	}
	atA, err := sdp.Accept(offer, answer)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Start(atA), b.Start(atB)); err != nil {
		t.Fatal(err)
	}
}

// source opens a source for a test.
func source(t testing.TB, spec string) Source {
	t.Helper()
	s, err := ParseSource(spec, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tape is a Sink that keeps what it gets.
type tape struct {
	mu   sync.Mutex
	rate int
	pcm  []int16
}

func (r *tape) Open(rate int) error { r.rate = rate; return nil }
func (r *tape) Close() error        { return nil }

func (r *tape) Write(pcm []int16) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pcm = append(r.pcm, pcm...)
	return nil
}

// forget begins the tape anew.
func (r *tape) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pcm = nil
}

// last is the newest n samples.
func (r *tape) last(n int) []int16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int16(nil), r.pcm[max(len(r.pcm)-n, 0):]...)
}

// play sets source and sink of a stream, and returns the sink.
func play(t testing.TB, s *Stream, spec string) *tape {
	t.Helper()
	r := &tape{}
	if err := errors.Join(s.SetSource(source(t, spec)), s.SetSink(r)); err != nil {
		t.Fatal(err)
	}
	return r
}
