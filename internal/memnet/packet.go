package memnet

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// queued is how many datagrams wait for a reader; more are lost.
const queued = 4096

type packet struct {
	from netip.AddrPort
	data []byte
	at   time.Time // when it arrives
}

// packetConn is a UDP socket; it has those methods of *net.UDPConn that spare
// an allocation, too.
type packetConn struct {
	host  *Host
	local netip.AddrPort

	// Protected by host.net.mu.
	in      []packet // by arrival
	errs    []error  // to be returned first
	closed  bool
	until   time.Time // read deadline
	changed chan struct{}
}

// ListenPacket binds a UDP socket; device is ignored.
func (h *Host) ListenPacket(_ context.Context, local netip.AddrPort, _ string) (net.PacketConn, error) {
	if f := h.net.hook().Bind; f != nil {
		if err := f("udp", local); err != nil {
			return nil, err
		}
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	local, err := h.bindable("udp", local, func(a netip.AddrPort) bool { return h.packets[a] != nil })
	if err != nil {
		return nil, err
	}
	c := &packetConn{host: h, local: local}
	h.packets[local] = c
	return c, nil
}

// ReadFromUDPAddrPort returns the next datagram.
func (c *packetConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, wait, err := c.take(b)
		if wait.changed == nil {
			return n, from, err
		}
		wait.await()
	}
}

// take returns a datagram or an error, or else what to wait for.
func (c *packetConn) take(b []byte) (n int, from netip.AddrPort, l later, err error) {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	switch {
	case c.closed:
		return 0, from, l, c.opError("read", net.ErrClosed)
	case len(c.errs) > 0:
		err, c.errs = c.errs[0], c.errs[1:]
		return 0, from, l, err
	case passed(c.until):
		return 0, from, l, c.opError("read", os.ErrDeadlineExceeded)
	case len(c.in) == 0:
		return 0, from, later{wait(&c.changed), c.until}, nil
	case time.Now().Before(c.in[0].at):
		return 0, from, later{wait(&c.changed), earlier(c.until, c.in[0].at)}, nil
	}
	p := c.in[0]
	c.in = c.in[1:]
	return copy(b, p.data), p.from, l, nil
}

func (c *packetConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Err: err}
}

// WriteToUDPAddrPort sends a datagram. Nobody being there is not an error.
func (c *packetConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	hooks := c.host.net.hook()
	if hooks.Send != nil {
		if err := hooks.Send(c.local, to); err != nil {
			return 0, c.opError("write", err)
		}
	}
	if hooks.Drop != nil && hooks.Drop(c.local, to) {
		return len(b), nil
	}
	p := packet{from: c.local, data: bytes.Clone(b), at: time.Now()}
	if hooks.Delay != nil {
		p.at = p.at.Add(hooks.Delay(c.local, to))
	}
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return 0, c.opError("write", net.ErrClosed)
	}
	if h := c.host.at(to.Addr()); h != nil {
		if dst := h.packets[to]; dst != nil {
			dst.put(p)
		}
	}
	return len(b), nil
}

// put queues a datagram behind those that arrive no later; the lock is held.
func (c *packetConn) put(p packet) {
	if len(c.in) >= queued {
		return
	}
	i := len(c.in)
	for i > 0 && c.in[i-1].at.After(p.at) {
		i--
	}
	c.in = slices.Insert(c.in, i, p)
	wake(&c.changed)
}

// ReadFrom is ReadFromUDPAddrPort.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo is WriteToUDPAddrPort; to must be a *net.UDPAddr.
func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", net.InvalidAddrError("not a UDP address"))
	}
	a := u.AddrPort()
	return c.WriteToUDPAddrPort(b, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
}

// Close closes the socket; what waits to be read is lost.
func (c *packetConn) Close() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	delete(c.host.packets, c.local)
	wake(&c.changed)
	return nil
}

func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

func (c *packetConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	c.until = t
	wake(&c.changed)
	return nil
}

func (c *packetConn) SetWriteDeadline(time.Time) error { return nil } // writing never waits
