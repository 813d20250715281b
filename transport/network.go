package transport

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/gosipua/gosipua/ifwatch"
)

// receiveBuffer is asked for each UDP socket: at 100,000 datagrams of 400 bytes
// a second it bridges some 100 ms in which nobody reads.
const receiveBuffer = 4 << 20

// system is the operating system's Network.
type system struct {
	dscp   int
	prefer ifwatch.TemporaryPolicy
	log    *slog.Logger
	said   sync.Once // that binding to an interface is not permitted
}

func newSystem(cfg Config) *system {
	return &system{dscp: cfg.DSCP, prefer: cfg.Policy.Temporary, log: cfg.Log}
}

// suffix names the family for package net. With "udp6" and "tcp6" it sets
// IPV6_V6ONLY, so that an IPv6 socket never takes the port of an IPv4 address.
func suffix(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

func (n *system) ListenPacket(ctx context.Context, local netip.AddrPort, device string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: n.control(local.Addr(), device, socketUse{})}
	pc, err := lc.ListenPacket(ctx, "udp"+suffix(local.Addr()), local.String())
	if err != nil {
		return nil, err
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return pc, nil
	}
	// The kernel gives what net.core.rmem_max allows; less is no reason to fail.
	_ = conn.SetReadBuffer(receiveBuffer)
	if needsZone(local.Addr()) {
		return linkConn{conn}, nil
	}
	return conn, nil
}

// linkConn is a socket bound to a link-local address. The kernel takes its link
// for whatever has no scope, while package net would look the zone up among all
// interfaces each time, or use an index that it remembers and that is wrong.
type linkConn struct{ *net.UDPConn }

func (c linkConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return c.UDPConn.WriteToUDPAddrPort(b, netip.AddrPortFrom(to.Addr().WithZone(""), to.Port()))
}

func (n *system) Listen(ctx context.Context, local netip.AddrPort, device string) (net.Listener, error) {
	lc := net.ListenConfig{Control: n.control(local.Addr(), device, socketUse{})}
	lc.SetMultipathTCP(false) // an MPTCP socket cannot be reset or looked up like a TCP one
	return lc.Listen(ctx, "tcp"+suffix(local.Addr()), local.String())
}

func (n *system) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort, device string) (net.Conn, error) {
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0)),
		Control:   n.control(local, device, socketUse{dial: true}),
	}
	return d.DialContext(ctx, "tcp"+suffix(local), remote.String())
}

// Source connects a UDP socket, which sends nothing, and looks what address it got.
func (n *system) Source(ctx context.Context, remote netip.AddrPort, device string) (netip.Addr, error) {
	d := net.Dialer{Control: n.control(remote.Addr(), device, socketUse{probe: true})}
	conn, err := d.DialContext(ctx, "udp"+suffix(remote.Addr()), remote.String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, net.InvalidAddrError("not a UDP address")
	}
	return local.AddrPort().Addr().Unmap(), nil
}

// socketUse is what a socket is made for.
type socketUse struct {
	dial  bool // it will be connected from a given address
	probe bool // it is there to learn the kernel's choice of source
}

// control returns what to do with a socket before it is bound.
func (n *system) control(a netip.Addr, device string, use socketUse) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = n.prepare(int(fd), a, device, use) })
		if err != nil {
			return err
		}
		return failed
	}
}

// notPermitted says once that sockets cannot be bound to their interface.
func (n *system) notPermitted(device string, err error) {
	n.said.Do(func() {
		n.log.Warn("sockets are not bound to their interfaces; what is sent may leave by another one if routes say so",
			slog.String("link", device), slog.Any("err", err))
	})
}
