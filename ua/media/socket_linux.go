package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen binds to the address and, if one is named and we may, to the interface: bound to the address alone, packets
// go on leaving by another interface with the old source when a link goes down, and nobody hears of it.
func (n systemNetwork) Listen(local Local, port uint16) (PacketConn, error) {
	network := "udp6"
	if local.Addr.Is4() {
		network = "udp4"
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if outer := raw.Control(func(fd uintptr) { err = n.prepare(int(fd), local) }); outer != nil {
			return outer
		}
		return err
	}}
	pc, err := lc.ListenPacket(context.Background(), network, netip.AddrPortFrom(local.Addr, port).String())
	if err != nil {
		return nil, err
	}
	c, err := newUDPConn(pc.(*net.UDPConn), local.Addr)
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	return c, nil
}

// prepare sets the options of a socket that is not bound yet. Only the interface can matter so much that a refusal is
// an error, and EPERM, from kernels before 5.7 without CAP_NET_RAW, is not: the address still holds.
func (n systemNetwork) prepare(fd int, local Local) error {
	tos := n.dscp << 2
	var err error
	if local.Addr.Is4() {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, tos)
	} else {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tos)
	}
	if err != nil {
		n.log.Debug("dscp refused", slog.Int("dscp", n.dscp), slog.Any("err", err))
	}
	if local.Device == "" {
		return nil
	}
	switch err := unix.BindToDevice(fd, local.Device); {
	case errors.Is(err, unix.EPERM):
		n.log.Debug("not bound to the interface", slog.String("link", local.Device), slog.Any("err", err))
	case err != nil:
		return fmt.Errorf("bind to interface %s: %w", local.Device, err)
	}
	return nil
}

// udpConn is a socket whose writes never wait: when the kernel's buffer is full, because a link has stalled, the packet
// is dropped, and streams on other links do not notice.
type udpConn struct {
	*net.UDPConn
	raw  syscall.RawConn
	send func(fd uintptr) bool
	zone uint32 // interface of a link-local local address

	// Arguments and results of send, which is made once so that writing allocates nothing.
	data []byte
	to4  unix.SockaddrInet4
	to6  unix.SockaddrInet6
	is4  bool
	err  error
}

func newUDPConn(conn *net.UDPConn, local netip.Addr) (*udpConn, error) {
	c := &udpConn{UDPConn: conn, is4: local.Is4()}
	var err error
	if c.raw, err = conn.SyscallConn(); err != nil {
		return nil, err
	}
	if local.Zone() != "" {
		if c.zone, err = zoneIndex(local.Zone()); err != nil {
			return nil, err
		}
	}
	c.send = func(fd uintptr) bool {
		if c.is4 {
			c.err = unix.Sendto(int(fd), c.data, unix.MSG_DONTWAIT, &c.to4)
		} else {
			c.err = unix.Sendto(int(fd), c.data, unix.MSG_DONTWAIT, &c.to6)
		}
		return true
	}
	return c, nil
}

func zoneIndex(zone string) (uint32, error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %s: %w", zone, err)
	}
	return uint32(ifi.Index), nil
}

// WriteToUDPAddrPort sends a packet, or fails with EAGAIN if it would have to wait. Calls must not overlap.
func (c *udpConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	addr := to.Addr().Unmap()
	if addr.Is4() != c.is4 {
		return 0, unix.EAFNOSUPPORT
	}
	if c.is4 {
		c.to4.Port, c.to4.Addr = int(to.Port()), addr.As4()
	} else {
		c.to6.Port, c.to6.Addr, c.to6.ZoneId = int(to.Port()), addr.As16(), 0
		if addr.IsLinkLocalUnicast() {
			c.to6.ZoneId = c.zone
		}
	}
	c.data = b
	err := c.raw.Write(c.send)
	c.data = nil
	if err == nil {
		err = c.err
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}
