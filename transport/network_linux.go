package transport

import (
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/ifwatch"
)

// prepare sets the options of a socket. IP_FREEBIND is never among them: with it
// a bind would succeed on an address for which DAD has not finished, or which is
// not there, and the packets would leave (RFC 4862 section 5.4).
func (n *system) prepare(fd int, a netip.Addr, device string, use socketUse) error {
	if device != "" {
		if err := n.bindToDevice(fd, device); err != nil {
			return err
		}
	}
	if use.dial {
		// The port is chosen when the connection is made, so that connections to
		// different peers can share one. Old kernels do not know the option.
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}
	if use.probe && a.Is6() {
		n.preferSource(fd)
	}
	n.mark(fd, a)
	return nil
}

func (n *system) bindToDevice(fd int, device string) error {
	err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device)
	if errors.Is(err, unix.EPERM) {
		n.notPermitted(device, err) // kernels before 5.7 want CAP_NET_RAW
		return nil
	}
	return os.NewSyscallError("setsockopt", err)
}

// Values of IPV6_ADDR_PREFERENCES (RFC 5014), which package unix does not have.
const (
	preferTemporary = 1 // IPV6_PREFER_SRC_TMP
	preferPublic    = 2 // IPV6_PREFER_SRC_PUBLIC
)

// preferSource makes the kernel choose by our policy rather than by its sysctl.
// If it does not know how, its choice is checked by the policy anyway.
func (n *system) preferSource(fd int) {
	switch n.prefer {
	case ifwatch.TemporaryPrefer:
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferTemporary)
	case ifwatch.TemporaryAvoid:
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferPublic)
	case ifwatch.TemporaryKernel:
	}
}

// mark sets the DSCP, the upper six bits of what the kernel calls TOS or traffic
// class. A socket without it works as well.
func (n *system) mark(fd int, a netip.Addr) {
	if n.dscp <= 0 || n.dscp > 63 {
		return
	}
	if a.Is4() {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, n.dscp<<2)
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, n.dscp<<2)
}
