//go:build darwin || freebsd

package ifwatch

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// describe adds the flags of IPv6 addresses to what was read. An address of which the system does not tell stays without.
func describe(r *reading, _ time.Time) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	if err != nil {
		return // no IPv6, then there is nothing to ask about
	}
	defer unix.Close(fd)
	names := make(map[int]string, len(r.links))
	for i := range r.links {
		names[r.links[i].Index] = r.links[i].Name
	}
	for i := range r.addrs {
		a := &r.addrs[i]
		if a.Addr.Is4() {
			continue
		}
		req, ok := newIn6Ifreq(names[a.Link], a.Link, a.Addr, unix.AF_INET6)
		if !ok {
			continue
		}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocgifaflagIn6, uintptr(unsafe.Pointer(&req)))
		if errno == 0 {
			a.Flags |= req.flags()
		}
	}
}
