//go:build !linux

package media

import (
	"context"
	"net"
	"net/netip"
)

// Listen binds to the address. This system has no way to bind to an interface as well that needs no rights, and marks
// packets by its own policy.
func (n systemNetwork) Listen(local Local, port uint16) (PacketConn, error) {
	network := "udp6"
	if local.Addr.Is4() {
		network = "udp4"
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(context.Background(), network, netip.AddrPortFrom(local.Addr, port).String())
	if err != nil {
		return nil, err
	}
	return pc.(*net.UDPConn), nil
}
