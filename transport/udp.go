package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gosipua/gosipua/transport/wire"
)

const (
	maxDatagram = 65535

	// flowLife is how long a UDP peer that is heard of no more is remembered,
	// and askedLife the same for one that was asked for with Manager.Flow: a
	// registration may be refreshed once an hour.
	flowLife  = 5 * time.Minute
	askedLife = 2 * time.Hour

	// sampled is how many flows are looked at to find one to forget.
	sampled = 8
)

// packetConn is what is used of a UDP socket.
type packetConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// plainPacketConn serves where a Network has nothing better than a net.PacketConn.
type plainPacketConn struct{ net.PacketConn }

func (c plainPacketConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.ReadFrom(b)
	if u, ok := from.(*net.UDPAddr); ok {
		return n, u.AddrPort(), err
	}
	return n, netip.AddrPort{}, err
}

func (c plainPacketConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return c.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

// A udpSocket is the socket of a UDP listener and the peers it has heard of. A
// peer is remembered so that everything between the same two addresses has the
// same *Flow, nothing else: forgetting one does no harm.
type udpSocket struct {
	m     *Manager
	conn  packetConn
	local netip.AddrPort
	iface string
	done  chan struct{} // closed when the socket is

	mu    sync.Mutex // guards what follows
	flows map[netip.AddrPort]*Flow
	err   error // why the socket was closed; nil while it is open
}

func (m *Manager) openUDP(l *listener, want netip.AddrPort) error {
	pc, err := m.network.ListenPacket(m.ctx, want, l.device.name)
	if err != nil {
		return err
	}
	conn, ok := pc.(packetConn)
	if !ok {
		conn = plainPacketConn{pc}
	}
	l.local = netip.AddrPortFrom(want.Addr(), localPort(conn.LocalAddr()))
	l.udp = &udpSocket{
		m: m, conn: conn, local: l.local, iface: l.iface,
		done: make(chan struct{}), flows: make(map[netip.AddrPort]*Flow),
	}
	m.wg.Go(l.udp.serve)
	return nil
}

// closeUDP closes a socket for good. Its flows are down from here on.
func (m *Manager) closeUDP(now time.Time, s *udpSocket, why error) {
	s.mu.Lock()
	s.err = why
	flows := s.flows
	s.flows = nil
	s.mu.Unlock()
	s.conn.Close()
	close(s.done)
	m.count.udpFlows.Add(-int64(len(flows)))
	for _, f := range flows {
		if f.asked.Load() {
			m.events.tell(f.event(FlowDown, now, why))
		}
	}
}

// serve reads datagrams until the socket is closed. No error of reading ends
// it: what the kernel reports there is about one datagram, or one peer.
func (s *udpSocket) serve() {
	buf := make([]byte, maxDatagram)
	for fails := 0; ; {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err == nil {
			fails = 0
			s.datagram(buf[:n], s.remote(from))
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			s.lost(err)
			return
		}
		s.m.count.readErrors.Add(1)
		s.m.log.DebugContext(s.m.ctx, "reading a datagram", slog.Any("local", s.local), slog.Any("err", err))
		fails++
		if !pause(s.done, fails) {
			return
		}
	}
}

// pause waits a little after the nth failure in a row, the first ones not at
// all; false says that done came first.
func pause(done <-chan struct{}, n int) bool {
	if n <= 3 {
		return true
	}
	t := time.NewTimer(min(time.Millisecond<<min(n-4, 16), time.Second))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}

// lost tells the Manager that the socket is closed, in case it was not the
// Manager that closed it: then it is opened again.
func (s *udpSocket) lost(err error) {
	s.m.post(func(now time.Time) {
		for key, l := range s.m.listeners {
			if l.udp == s {
				s.m.shut(now, l, err)
				delete(s.m.listeners, key)
				s.m.refresh(now)
				return
			}
		}
	})
}

// remote brings a source address into the form that flows are known by.
func (s *udpSocket) remote(from netip.AddrPort) netip.AddrPort {
	return sameLink(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), s.local.Addr())
}

// sameLink gives a link-local remote the zone of a link-local local address.
func sameLink(remote netip.AddrPort, local netip.Addr) netip.AddrPort {
	if needsZone(remote.Addr()) && local.Zone() != "" {
		return netip.AddrPortFrom(remote.Addr().WithZone(local.Zone()), remote.Port())
	}
	return remote
}

// datagram handles one datagram.
func (s *udpSocket) datagram(b []byte, from netip.AddrPort) {
	switch {
	case isKeepAlive(b):
		s.m.count.keepAlives.Add(1)
		return
	case isSTUN(b):
		s.m.count.stun.Add(1)
		return
	}
	msg, err := wire.Parse(b, s.m.cfg.Limits)
	f := s.flow(from)
	if err != nil {
		s.m.refuse(f, err)
		return
	}
	if msg.Head.Request {
		msg.SetReceived(from)
	}
	s.m.count.received.Add(1)
	s.m.cfg.Receive(Message{Message: msg, Flow: f})
}

// isKeepAlive reports whether a datagram only keeps a NAT binding open: it is
// empty, or line ends (RFC 5626 section 3.5.1 allows a server to expect them),
// or the single NUL that some phones send.
func isKeepAlive(b []byte) bool {
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 {
			return false
		}
	}
	return len(b) <= 4
}

// isSTUN reports whether b is a STUN packet (RFC 8489 section 5).
func isSTUN(b []byte) bool {
	return len(b) >= 20 && b[0]&0xc0 == 0 && binary.BigEndian.Uint32(b[4:]) == 0x2112a442
}

// flow returns the flow with a peer that has sent something.
func (s *udpSocket) flow(remote netip.AddrPort) *Flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flows[remote]
	if f == nil {
		f = s.remember(remote)
	}
	f.touch()
	return f
}

// ask returns the flow with a peer that something is to be sent to.
func (s *udpSocket) ask(remote netip.AddrPort) (*Flow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	f := s.flows[remote]
	if f == nil {
		f = s.remember(remote)
	}
	f.touch()
	if !f.asked.Swap(true) {
		s.m.events.tell(f.event(FlowUp, time.Now(), nil))
	}
	return f, nil
}

// remember makes a flow, and forgets another one if there are too many; the
// lock is held.
func (s *udpSocket) remember(remote netip.AddrPort) *Flow {
	f := &Flow{m: s.m, proto: UDP, local: s.local, remote: remote, udp: s}
	if s.flows == nil { // closed in this moment
		return f
	}
	if len(s.flows) >= s.m.cfg.MaxUDPFlows {
		s.forgetOne()
	}
	s.flows[remote] = f
	s.m.count.udpFlows.Add(1)
	return f
}

// forgetOne forgets the longest unused of a few flows, which a map gives in
// random order: under a flood of new sources that costs the same for each.
func (s *udpSocket) forgetOne() {
	var oldest *Flow
	n := 0
	for _, f := range s.flows {
		if oldest == nil || f.forgettable() < oldest.forgettable() {
			oldest = f
		}
		if n++; n == sampled {
			break
		}
	}
	s.forget(oldest)
	s.m.count.forgotten.Add(1)
}

func (s *udpSocket) forget(f *Flow) {
	delete(s.flows, f.remote)
	s.m.count.udpFlows.Add(-1)
}

// age forgets the flows that nobody has used for long.
func (s *udpSocket) age(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.flows {
		life := flowLife
		if f.asked.Load() {
			life = askedLife
		}
		if now.Unix()-f.used.Load() > int64(life/time.Second) {
			s.forget(f)
		}
	}
}

// send writes one datagram.
func (s *udpSocket) send(b []byte, to netip.AddrPort) error {
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	if err == nil {
		s.m.count.sent.Add(1)
		return nil
	}
	s.m.count.sendErrors.Add(1)
	if why := s.reason(); why != nil {
		err = why // better than "use of closed network connection"
	}
	return &FlowError{Op: "send", Proto: UDP, Local: s.local, Remote: to, Err: err}
}

// reason returns why the socket was closed; nil while it is open.
func (s *udpSocket) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// sweepEvery is how often unused UDP peers are looked for.
const sweepEvery = time.Minute

// sweep forgets what is not used any more.
func (m *Manager) sweep(now time.Time) {
	if next := m.swept.Add(sweepEvery); now.Before(next) {
		m.wakeAt(next)
		return
	}
	m.swept = now
	for _, l := range m.listeners {
		if l.udp != nil {
			l.udp.age(now)
		}
	}
	m.wakeAt(now.Add(sweepEvery))
}

// refuse counts what cannot be understood, and answers it if that is possible:
// a sender that is told does not retransmit.
func (m *Manager) refuse(f *Flow, err error) {
	m.count.malformed.Add(1)
	var e *wire.Error
	if !errors.As(err, &e) {
		return
	}
	m.log.DebugContext(m.ctx, "message refused", slog.Any("flow", f), slog.String("why", e.Reason))
	response := e.Response(f.remote, m.tag(e.Head))
	if response == nil {
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.WriteTimeout)
	defer cancel()
	if f.Respond(ctx, response) == nil {
		m.count.refused.Add(1)
	}
}
