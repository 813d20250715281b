package ifwatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// netlinkConn is what the reader needs of a netlink socket. The tests have one without a kernel.
type netlinkConn interface {
	// send sends one request to the kernel.
	send(request []byte) error
	// receive reads one datagram into buf. With until zero it does not wait, and returns EAGAIN if there is none; else it
	// waits for one until then (os.ErrDeadlineExceeded), or until ctx ends (its cause). ENOBUFS: some were lost.
	receive(ctx context.Context, buf []byte, until time.Time) (int, error)
	// drops returns how many datagrams the kernel has dropped because the receive buffer was full.
	drops() (uint32, error)
}

// defaultReceiveBuffer holds some 10,000 address events; the kernel grants what net.core.rmem_max allows.
const defaultReceiveBuffer = 8 << 20

// groups are the multicast groups of the event socket. All on one socket: only so is their order kept.
func groups() []int {
	return []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_IFINFO}
}

// socket is a netlink socket that waits in the runtime's poller.
type socket struct {
	file *os.File
	raw  syscall.RawConn

	// The result of the read in progress; fields, and read once made into a func, so that waiting allocates nothing.
	buf  []byte
	n    int
	err  error
	read func(fd uintptr) bool

	deadline time.Time   // that was set last
	forget   func() bool // no longer interrupts a wait when the context ends
}

// openSocket opens a netlink socket and joins the multicast groups; a receive that waits ends with ctx. rcvbuf is the size
// of the receive buffer to ask for, in bytes; 0 leaves the system's default.
func openSocket(ctx context.Context, rcvbuf int, join ...int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := setUp(fd, rcvbuf, join); err != nil {
		_ = unix.Close(fd) // nothing was written
		return nil, err
	}
	s := &socket{file: os.NewFile(uintptr(fd), "netlink")}
	s.read = s.readNow
	if s.raw, err = s.file.SyscallConn(); err != nil {
		_ = s.file.Close()
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	s.forget = context.AfterFunc(ctx, func() {
		_ = s.file.SetReadDeadline(time.Unix(1, 0)) // fails only if it is closed already
	})
	return s, nil
}

func setUp(fd, rcvbuf int, join []int) error {
	if rcvbuf > 0 {
		// The first needs CAP_NET_ADMIN, the second is cut to rmem_max without saying so. Neither is worth failing for.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, rcvbuf) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, rcvbuf)
		}
	}
	// Without strict checking (Linux before 4.20) a dump of one link dumps them all; the reader drops the rest.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	for _, group := range join {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

func (s *socket) send(request []byte) error {
	var err error
	ctrl := s.raw.Control(func(fd uintptr) {
		err = unix.Sendto(int(fd), request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
	return errors.Join(ctrl, os.NewSyscallError("sendto", err))
}

func (s *socket) receive(ctx context.Context, buf []byte, until time.Time) (int, error) {
	s.buf = buf
	var waiting error
	if until.IsZero() {
		waiting = s.raw.Control(func(fd uintptr) { s.read(fd) })
	} else {
		if err := s.setDeadline(until); err != nil {
			return 0, err
		}
		// If ctx ended before this line it is seen here, and if after it, openSocket's function sets another
		// deadline.
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		waiting = s.raw.Read(s.read)
	}
	switch {
	case waiting != nil && ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case waiting != nil:
		return 0, waiting
	default:
		return s.n, s.err
	}
}

// setDeadline ends a wait at until. One that was set before and leaves at least half of the time will do: to wake early does
// no harm, and to set a timer for each event costs more than to read it.
func (s *socket) setDeadline(until time.Time) error {
	now := time.Now()
	if !s.deadline.After(until) && s.deadline.Sub(now) > until.Sub(now)/2 {
		return nil
	}
	if err := s.file.SetReadDeadline(until); err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	s.deadline = until
	return nil
}

// readNow reads one datagram of the kernel's, and reports false if there is none.
func (s *socket) readNow(fd uintptr) bool {
	for {
		n, from, err := unix.Recvfrom(int(fd), s.buf, unix.MSG_TRUNC)
		s.n, s.err = n, err
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil:
			return true
		case n > len(s.buf):
			s.n, s.err = 0, unix.ENOBUFS // the rest of it is lost, which is the same to us
			return true
		default:
			if nl, ok := from.(*unix.SockaddrNetlink); ok && nl.Pid == 0 {
				return true
			}
			// Not from the kernel: a privileged program may send to anybody, but we need not listen.
		}
	}
}

// drops asks for SO_MEMINFO, whose ninth word is SK_MEMINFO_DROPS (linux/sock_diag.h).
func (s *socket) drops() (uint32, error) {
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	var errno unix.Errno
	err := s.raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err == nil && errno != 0 {
		err = os.NewSyscallError("getsockopt", errno)
	}
	return info[8], err
}

// close closes the socket. Nothing was written that an error could concern.
func (s *socket) close() {
	s.forget()
	_ = s.file.Close()
}

// asleep returns how long the host has been suspended since it was started.
func asleep() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
