package ifwatch

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Values of IPV6_ADDR_PREFERENCES (RFC 5014), which package unix does not have.
const (
	preferTemporary = 0x1
	preferPublic    = 0x2
)

// prepareProbe makes a socket ask for what the flow will ask for.
func prepareProbe(c syscall.RawConn, device string, temporary TemporaryPolicy) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if device != "" {
			failed = os.NewSyscallError("setsockopt", unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device))
		}
		// An IPv4 socket has no such option.
		switch temporary {
		case TemporaryPrefer:
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferTemporary)
		case TemporaryAvoid:
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferPublic)
		case TemporaryKernel:
		}
	})
	return errors.Join(err, failed)
}
