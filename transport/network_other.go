//go:build !linux

package transport

import (
	"errors"
	"net/netip"
)

// errDevice is why device is not honoured here.
var errDevice = errors.New("not supported on this system")

// prepare sets the options of a socket: none here.
func (n *system) prepare(_ int, _ netip.Addr, device string, _ socketUse) error {
	if device != "" {
		n.notPermitted(device, errDevice)
	}
	return nil
}

// portHolder does not know who has a port here.
func portHolder(Proto, netip.AddrPort) string { return "" }
