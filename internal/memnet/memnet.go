// Package memnet is a network in memory for tests: hosts with addresses,
// datagrams, streams, and the errors a kernel would give.
//
// Everything waits on channels and timers, so it works inside testing/synctest,
// where real sockets would stop the clock. A [Host] has the methods of
// transport.Network and can be given to a Manager; its peers are other hosts of
// the same [Net], used through the same methods.
//
// What it does not model: routes (every host reaches every address), fragments,
// congestion, half-closed streams. The zone of a link-local address names a link
// that all hosts know by that zone.
package memnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Hooks interfere with a Net. Each may be nil. They are called with no lock
// held, from the goroutine that sends, binds or dials.
type Hooks struct {
	Drop   func(from, to netip.AddrPort) bool                         // lose this datagram
	Delay  func(from, to netip.AddrPort) time.Duration                // deliver it that much later
	Send   func(from, to netip.AddrPort) error                        // refuse to send it
	Dial   func(from netip.Addr, to netip.AddrPort) error             // refuse this connection
	Bind   func(network string, local netip.AddrPort) error           // refuse this socket, "udp" or "tcp"
	Source func(to netip.AddrPort, device string) (netip.Addr, error) // what Host.Source answers
}

// A Net is a network. New makes one. All methods of this package may be called
// from any goroutine.
type Net struct {
	mu    sync.Mutex // protects everything below, in hosts and sockets too
	hooks Hooks
	hosts map[netip.Addr]*Host
}

// New returns a network without hosts.
func New() *Net { return &Net{hosts: make(map[netip.Addr]*Host)} }

// SetHooks replaces all hooks.
func (n *Net) SetHooks(h Hooks) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hooks = h
}

func (n *Net) hook() Hooks {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hooks
}

// A Host is one host. It has 127.0.0.1 and ::1 besides its own addresses.
type Host struct {
	net     *Net
	addrs   []netip.Addr
	packets map[netip.AddrPort]*packetConn
	streams map[netip.AddrPort]*listener
	port    uint16 // the last free one given
}

// Host adds a host that has these addresses.
func (n *Net) Host(addrs ...netip.Addr) *Host {
	h := &Host{
		net:     n,
		packets: make(map[netip.AddrPort]*packetConn),
		streams: make(map[netip.AddrPort]*listener),
		port:    32767,
	}
	for _, a := range addrs {
		h.Add(a)
	}
	return h
}

// Add gives the host one more address, which another host may have had.
func (h *Host) Add(a netip.Addr) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.net.hosts[a] = h
	h.addrs = append(h.addrs, a)
}

// Remove takes an address from the host. As with a real kernel its sockets
// stay open: they hear nothing any more, and nothing stops them from sending.
func (h *Host) Remove(a netip.Addr) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.net.hosts[a] == h {
		delete(h.net.hosts, a)
	}
	for i, b := range h.addrs {
		if a == b {
			h.addrs = append(h.addrs[:i:i], h.addrs[i+1:]...)
			break
		}
	}
}

// Inject makes the next read from the UDP socket, or the next accept of the
// listener, at local return err. It reports whether there is one.
func (h *Host) Inject(network string, local netip.AddrPort, err error) bool {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	switch network {
	case "udp":
		if c := h.packets[local]; c != nil {
			c.errs = append(c.errs, err)
			wake(&c.changed)
			return true
		}
	case "tcp":
		if l := h.streams[local]; l != nil {
			l.errs = append(l.errs, err)
			wake(&l.changed)
			return true
		}
	}
	return false
}

// Source returns the host's first address of remote's family and scope.
func (h *Host) Source(_ context.Context, remote netip.AddrPort, device string) (netip.Addr, error) {
	if f := h.net.hook().Source; f != nil {
		return f(remote, device)
	}
	to := remote.Addr()
	if to.IsLoopback() {
		return loopback(to), nil
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for _, a := range h.addrs {
		if a.Is4() == to.Is4() && a.IsLinkLocalUnicast() == to.IsLinkLocalUnicast() && a.Zone() == to.Zone() {
			return a, nil
		}
	}
	return netip.Addr{}, opError("dial", "udp", remote, "connect", syscall.ENETUNREACH)
}

func loopback(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// bindable checks an address and finds a free port; the lock is held.
func (h *Host) bindable(network string, local netip.AddrPort, taken func(netip.AddrPort) bool) (netip.AddrPort, error) {
	a := local.Addr()
	if !a.IsLoopback() && h.net.hosts[a] != h {
		return local, opError("listen", network, local, "bind", syscall.EADDRNOTAVAIL)
	}
	if local.Port() != 0 {
		if taken(local) {
			return local, opError("listen", network, local, "bind", syscall.EADDRINUSE)
		}
		return local, nil
	}
	for range 1 << 15 {
		h.port = max(h.port+1, 32768)
		if local = netip.AddrPortFrom(a, h.port); !taken(local) {
			return local, nil
		}
	}
	return local, opError("listen", network, local, "bind", syscall.EADDRINUSE)
}

// at returns the host that has address a, seen from h; the lock is held.
func (h *Host) at(a netip.Addr) *Host {
	if a.IsLoopback() {
		return h
	}
	return h.net.hosts[a]
}

func opError(op, network string, addr netip.AddrPort, call string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: network, Addr: netAddr(network, addr), Err: os.NewSyscallError(call, errno)}
}

func netAddr(network string, a netip.AddrPort) net.Addr {
	if network == "udp" {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}

// wake closes a channel that somebody may wait on; the lock is held.
func wake(changed *chan struct{}) {
	if *changed != nil {
		close(*changed)
		*changed = nil
	}
}

// wait returns the channel that the next wake closes; the lock is held.
func wait(changed *chan struct{}) <-chan struct{} {
	if *changed == nil {
		*changed = make(chan struct{})
	}
	return *changed
}

// later is what an operation that cannot go on has to wait for.
type later struct {
	changed <-chan struct{}
	until   time.Time // zero means for ever
}

// await sleeps until l.changed is closed or l.until has come.
func (l later) await() {
	if l.until.IsZero() {
		<-l.changed
		return
	}
	timer := time.NewTimer(time.Until(l.until))
	defer timer.Stop()
	select {
	case <-l.changed:
	case <-timer.C:
	}
}

// passed reports whether the deadline t is over.
func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

// earlier returns the first of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
