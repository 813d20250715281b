package memnet

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// window is how many bytes wait in one direction of a connection before the
// writer has to.
const window = 64 << 10

// listener is a listening TCP socket.
type listener struct {
	host  *Host
	local netip.AddrPort

	// Protected by host.net.mu.
	queue   []*conn
	errs    []error
	closed  bool
	changed chan struct{}
}

// Listen listens for connections; device is ignored.
func (h *Host) Listen(_ context.Context, local netip.AddrPort, _ string) (net.Listener, error) {
	if f := h.net.hook().Bind; f != nil {
		if err := f("tcp", local); err != nil {
			return nil, err
		}
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	local, err := h.bindable("tcp", local, func(a netip.AddrPort) bool { return h.streams[a] != nil })
	if err != nil {
		return nil, err
	}
	l := &listener{host: h, local: local}
	h.streams[local] = l
	return l, nil
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, wait, err := l.take()
		switch {
		case err != nil:
			return nil, err
		case c != nil:
			return c, nil
		}
		wait.await()
	}
}

func (l *listener) take() (c *conn, w later, err error) {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	switch {
	case l.closed:
		return nil, w, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	case len(l.errs) > 0:
		err, l.errs = l.errs[0], l.errs[1:]
		return nil, w, err
	case len(l.queue) > 0:
		c, l.queue = l.queue[0], l.queue[1:]
		return c, w, nil
	}
	return nil, later{changed: wait(&l.changed)}, nil
}

// Close ends the listening and resets what nobody has accepted yet.
func (l *listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	l.closed = true
	delete(l.host.streams, l.local)
	for _, c := range l.queue {
		c.peer.shut(true)
	}
	wake(&l.changed)
	return nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// Dial connects from local, or from where Source says if that is the zero Addr.
// An address that nobody has answers as a dead host does: not at all, until ctx ends.
func (h *Host) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort, device string) (net.Conn, error) {
	if !local.IsValid() {
		var err error
		if local, err = h.Source(ctx, remote, device); err != nil {
			return nil, err
		}
	}
	if f := h.net.hook().Dial; f != nil {
		if err := f(local, remote); err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: netAddr("tcp", remote), Err: err}
		}
	}
	c, dead, err := h.connect(local, remote)
	if dead {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: netAddr("tcp", remote), Err: context.Cause(ctx)}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (h *Host) connect(local netip.Addr, remote netip.AddrPort) (c *conn, dead bool, err error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	from, err := h.bindable("tcp", netip.AddrPortFrom(local, 0), func(netip.AddrPort) bool { return false })
	if err != nil {
		return nil, false, err
	}
	peer := h.at(remote.Addr())
	if peer == nil {
		return nil, true, nil
	}
	l := peer.streams[remote]
	if l == nil {
		return nil, false, opError("dial", "tcp", remote, "connect", syscall.ECONNREFUSED)
	}
	near := &conn{net: h.net, local: from, remote: remote}
	far := &conn{net: h.net, local: remote, remote: from, peer: near}
	near.peer = far
	l.queue = append(l.queue, far)
	wake(&l.changed)
	return near, false, nil
}

// conn is one end of a connection.
type conn struct {
	net           *Net
	local, remote netip.AddrPort
	peer          *conn

	// Protected by net.mu.
	in         []byte // has arrived and waits to be read
	eof        bool   // nothing more will come
	err        error  // the connection was reset
	closed     bool
	reset      bool // Close resets: SetLinger(0)
	read       time.Time
	write      time.Time
	changed    chan struct{} // anything above, and room in peer.in
	writerTurn chan struct{} // held by a writer, made by the first one
}

// Read reads what has arrived.
func (c *conn) Read(b []byte) (int, error) {
	for {
		n, wait, err := c.takeIn(b)
		if wait.changed == nil {
			return n, err
		}
		wait.await()
	}
}

func (c *conn) takeIn(b []byte) (n int, w later, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	switch {
	case c.closed:
		err = c.opError("read", net.ErrClosed)
	case c.err != nil:
		err = c.opError("read", c.err)
	case passed(c.read):
		err = c.opError("read", os.ErrDeadlineExceeded)
	case len(c.in) > 0:
		n = copy(b, c.in)
		c.in = c.in[n:]
		wake(&c.peer.changed)
	case c.eof:
		err = io.EOF
	case len(b) == 0:
	default:
		w = later{wait(&c.changed), c.read}
	}
	return n, w, err
}

func (c *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Write hands over all of b, unless the connection or its deadline ends before
// the peer has made room.
func (c *conn) Write(b []byte) (int, error) {
	turn := c.turn()
	turn <- struct{}{}
	defer func() { <-turn }()
	done := 0
	for {
		n, wait, err := c.putOut(b[done:])
		done += n
		if err != nil || done == len(b) {
			return done, err
		}
		if wait.changed != nil {
			wait.await()
		}
	}
}

// turn returns the semaphore that keeps two Writes from mixing.
func (c *conn) turn() chan struct{} {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.writerTurn == nil {
		c.writerTurn = make(chan struct{}, 1)
	}
	return c.writerTurn
}

func (c *conn) putOut(b []byte) (n int, w later, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	switch room := window - len(c.peer.in); {
	case c.closed:
		err = c.opError("write", net.ErrClosed)
	case c.err != nil:
		err = c.opError("write", c.err)
	case c.peer.closed:
		err = c.opError("write", os.NewSyscallError("write", syscall.EPIPE))
	case passed(c.write):
		err = c.opError("write", os.ErrDeadlineExceeded)
	case room > 0:
		n = min(room, len(b))
		c.peer.in = append(c.peer.in, b[:n]...)
		wake(&c.peer.changed)
	default:
		w = later{wait(&c.changed), c.write}
	}
	return n, w, err
}

// Close ends the connection: the peer reads what was sent, then io.EOF, or
// ECONNRESET at once after SetLinger(0).
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	c.peer.shut(c.reset)
	wake(&c.changed)
	return nil
}

// shut tells this end that the other one has gone; the lock is held.
func (c *conn) shut(reset bool) {
	c.eof = true
	if reset {
		c.err = os.NewSyscallError("read", syscall.ECONNRESET)
		c.in = nil
	}
	wake(&c.changed)
}

// SetLinger with 0 makes Close a reset; any other value undoes that.
func (c *conn) SetLinger(sec int) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.reset = sec == 0
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *conn) SetDeadline(t time.Time) error { return c.deadlines(t, true, true) }

func (c *conn) SetReadDeadline(t time.Time) error { return c.deadlines(t, true, false) }

func (c *conn) SetWriteDeadline(t time.Time) error { return c.deadlines(t, false, true) }

func (c *conn) deadlines(t time.Time, read, write bool) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if read {
		c.read = t
	}
	if write {
		c.write = t
	}
	wake(&c.changed)
	return nil
}
