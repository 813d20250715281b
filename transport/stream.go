package transport

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/gosipua/gosipua/transport/wire"
)

// A tcpListener accepts connections.
type tcpListener struct {
	m      *Manager
	ln     net.Listener
	local  netip.AddrPort
	iface  string
	device device
	done   chan struct{} // closed when the listener is
}

func (m *Manager) openTCP(l *listener, want netip.AddrPort) error {
	ln, err := m.network.Listen(m.ctx, want, l.device.name)
	if err != nil {
		return err
	}
	l.local = netip.AddrPortFrom(want.Addr(), localPort(ln.Addr()))
	l.tcp = &tcpListener{m: m, ln: ln, local: l.local, iface: l.iface, device: l.device, done: make(chan struct{})}
	m.wg.Go(l.tcp.serve)
	return nil
}

func (t *tcpListener) close() {
	t.ln.Close()
	close(t.done)
}

// serve accepts connections until the listener is closed. Errors end nothing:
// those that happen are of one connection (ECONNABORTED) or pass by themselves
// when others close something (EMFILE, ENOBUFS).
func (t *tcpListener) serve() {
	for fails := 0; ; {
		conn, err := t.ln.Accept()
		if err == nil {
			fails = 0
			t.admit(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			t.lost(err)
			return
		}
		t.m.count.acceptErrors.Add(1)
		if fails++; fails == 1 {
			t.m.log.WarnContext(t.m.ctx, "accepting a connection", slog.Any("local", t.local), slog.Any("err", err))
		}
		if !pause(t.done, fails+3) {
			return
		}
	}
}

// lost tells the Manager that the listener is closed, in case it was not the
// Manager that closed it: then it is opened again.
func (t *tcpListener) lost(err error) {
	t.m.post(func(now time.Time) {
		for key, l := range t.m.listeners {
			if l.tcp == t {
				t.m.shut(now, l, err)
				delete(t.m.listeners, key)
				t.m.refresh(now)
				return
			}
		}
	})
}

// admit makes a flow of an accepted connection, unless there are too many.
func (t *tcpListener) admit(conn net.Conn) {
	remote := sameLink(remoteAddr(conn), t.local.Addr())
	s := t.m.newStream(conn, TCP, t.local, remote)
	s.accepted, s.iface, s.device, s.begun = true, t.iface, t.device, time.Now()
	ok := t.m.post(func(now time.Time) {
		m := t.m
		if over(len(m.streams), m.cfg.MaxConns) || over(m.perPeer[remote.Addr()], m.cfg.MaxConnsPerPeer) {
			m.count.rejected.Add(1)
			m.log.DebugContext(m.ctx, "connection rejected", slog.Any("flow", &s.flow), slog.Any("err", errTooMany))
			s.abort()
			return
		}
		m.perPeer[remote.Addr()]++
		m.count.accepted.Add(1)
		m.startStream(now, s)
	})
	if !ok {
		s.abort()
	}
}

// over reports whether one more than n is over a limit; a negative one is none.
func over(n, limit int) bool { return limit >= 0 && n >= limit }

func remoteAddr(conn net.Conn) netip.AddrPort {
	if ap, ok := conn.RemoteAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		a := ap.AddrPort()
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	a, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	return a
}

// A stream is a connection. Messages are read by one goroutine and written by
// whoever has the turn.
type stream struct {
	flow     Flow
	m        *Manager
	conn     net.Conn
	local    netip.AddrPort
	iface    string
	device   device
	accepted bool
	key      dialKey       // of a dialed one
	turn     chan struct{} // holds one token while somebody writes
	done     chan struct{} // closed when the connection is over

	// Of the reading goroutine.
	reader *wire.Reader
	begun  time.Time // when the message that is being read began, or an accepted connection on which none has; else zero

	mu  sync.Mutex
	err error // why the connection is over; nil while it is up
}

func (m *Manager) newStream(conn net.Conn, p Proto, local, remote netip.AddrPort) *stream {
	s := &stream{m: m, conn: conn, local: local, turn: make(chan struct{}, 1), done: make(chan struct{})}
	s.flow.m, s.flow.proto, s.flow.local, s.flow.remote, s.flow.stream = m, p, local, remote, s
	s.flow.touch()
	s.reader = wire.NewReader(timedReader{s}, m.cfg.Limits)
	s.reader.Ping = s.pong
	s.reader.Pong = func() { m.count.keepAlives.Add(1) }
	return s
}

// startStream makes a connection known and begins to read from it. It runs on
// Run's goroutine.
func (m *Manager) startStream(now time.Time, s *stream) {
	m.streams[s] = struct{}{}
	m.count.conns.Add(1)
	m.log.DebugContext(m.ctx, "connection up", slog.Any("flow", &s.flow), slog.Bool("accepted", s.accepted))
	m.events.tell(s.flow.event(FlowUp, now, nil))
	m.wg.Go(func() {
		s.end(s.serve())
		m.post(func(now time.Time) { m.endStream(now, s, nil, false) })
	})
}

// endStream forgets a connection and closes it, if that has not been done: with
// a reset if the address is gone, since a FIN could not be answered. It runs on
// Run's goroutine.
func (m *Manager) endStream(now time.Time, s *stream, why error, reset bool) {
	if _, ok := m.streams[s]; !ok {
		return
	}
	if reset {
		s.linger()
	}
	if why != nil {
		s.end(why)
	}
	delete(m.streams, s)
	m.count.conns.Add(-1)
	if s.accepted {
		peer := s.flow.remote.Addr()
		if m.perPeer[peer]--; m.perPeer[peer] == 0 {
			delete(m.perPeer, peer)
		}
	} else if d := m.dialed[s.key]; d != nil && d.stream == s {
		delete(m.dialed, s.key)
	}
	why = s.reason()
	m.log.DebugContext(m.ctx, "connection down", slog.Any("flow", &s.flow), slog.Any("why", why))
	m.events.tell(s.flow.event(FlowDown, now, why))
}

// end closes the connection; why counts if it is the first to say so.
func (s *stream) end(why error) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = why
	}
	s.mu.Unlock()
	if first {
		s.conn.Close()
		close(s.done)
	}
}

// abort closes a connection that never became a flow, and lets the peer know.
func (s *stream) abort() {
	s.linger()
	s.end(errTooMany)
}

// linger makes closing a reset.
func (s *stream) linger() {
	if c, ok := s.conn.(interface{ SetLinger(sec int) error }); ok {
		_ = c.SetLinger(0) // the connection may be over already
	}
}

func (s *stream) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// serve reads messages until the connection is over, and says why it is.
func (s *stream) serve() error {
	for {
		msg, err := s.reader.Next()
		s.begun = time.Time{}
		if err != nil {
			if e := (*wire.Error)(nil); errors.As(err, &e) {
				s.m.refuse(&s.flow, err)
				if !e.Fatal {
					continue
				}
			}
			return s.readError(err)
		}
		if msg.Head.Request {
			msg.SetReceived(s.flow.remote)
		}
		s.flow.touch()
		s.m.count.received.Add(1)
		s.m.cfg.Receive(Message{Message: msg, Flow: &s.flow})
	}
}

func (s *stream) readError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		err = errPeerClosed
	case errors.Is(err, errSlow):
		s.m.count.slow.Add(1)
	case errors.Is(err, errIdle):
		s.m.count.idle.Add(1)
	}
	return &FlowError{Op: "read", Proto: s.flow.proto, Local: s.local, Remote: s.flow.remote, Err: err}
}

// pong answers a ping (RFC 5626 section 4.4.1).
func (s *stream) pong() {
	s.m.count.keepAlives.Add(1)
	s.begun = time.Time{}
	s.flow.touch()
	_ = s.write(s.m.ctx, []byte("\r\n")) // an error ends the connection
}

// timedReader reads from a connection as long as its peer keeps the time limits.
type timedReader struct{ s *stream }

func (t timedReader) Read(b []byte) (int, error) {
	s := t.s
	for {
		deadline, why := s.deadline()
		if err := s.conn.SetReadDeadline(deadline); err != nil {
			return 0, err
		}
		n, err := s.conn.Read(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		// Something may have been sent meanwhile, which counts as life too.
		if later, _ := s.deadline(); later.IsZero() || later.After(time.Now()) {
			continue
		}
		return n, why
	}
}

// deadline returns until when something must have come, and what it means if
// nothing has; zero is no limit.
func (s *stream) deadline() (time.Time, error) {
	cfg := &s.m.cfg
	if s.reader.Partial() && s.begun.IsZero() {
		s.begun = time.Now()
	}
	if !s.begun.IsZero() && cfg.SlowTimeout > 0 {
		return s.begun.Add(cfg.SlowTimeout), errSlow
	}
	if s.accepted && cfg.IdleTimeout > 0 {
		return time.Unix(s.flow.used.Load(), 0).Add(cfg.IdleTimeout), errIdle
	}
	return time.Time{}, nil
}

// send writes one message.
func (s *stream) send(ctx context.Context, b []byte) error {
	if err := s.write(ctx, b); err != nil {
		s.m.count.sendErrors.Add(1)
		if why := s.reason(); why != nil {
			err = why
		}
		if fe := (*FlowError)(nil); errors.As(err, &fe) {
			return err
		}
		return &FlowError{Op: "send", Proto: s.flow.proto, Local: s.local, Remote: s.flow.remote, Err: err}
	}
	s.m.count.sent.Add(1)
	return nil
}

// write writes all of b in one go. What has been begun cannot be taken back: a
// write that fails, or does not end in time, ends the connection.
func (s *stream) write(ctx context.Context, b []byte) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-s.done:
		return s.reason()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.m.cfg.WriteTimeout)); err != nil {
		s.end(err)
		return err
	}
	_, err := s.conn.Write(b)
	if err != nil {
		s.end(&FlowError{Op: "send", Proto: s.flow.proto, Local: s.local, Remote: s.flow.remote, Err: err})
	}
	return err
}
