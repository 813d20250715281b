package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Packet is one IP packet as it passed a link.
type Packet struct {
	At       time.Time // the kernel's time stamp
	Outgoing bool      // sent by the host, not received
	Proto    int       // unix.IPPROTO_UDP, unix.IPPROTO_TCP, unix.IPPROTO_ICMPV6, ...
	Src, Dst netip.AddrPort
	Payload  []byte // of UDP and TCP, else what follows the IP header
	Seq      uint32 // of TCP: number of the first byte of the payload, of the SYN if it is one
	SYN, RST bool   // of TCP
}

// String says who sent what to whom.
func (p Packet) String() string {
	return fmt.Sprintf("proto %d %v -> %v, %d bytes", p.Proto, p.Src, p.Dst, len(p.Payload))
}

// Capture is a running capture of a link's packets.
type Capture struct {
	tb   testing.TB
	name string
	file *os.File
	done chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	packets []Packet
	changed chan struct{} // closed at the next packet
}

// captureBuffer is asked of the kernel for packets that wait to be read.
const captureBuffer = 4 << 20

// Capture begins to record the packets that leave and reach the host by this
// link, and goes on until the test ends. Fragments are not put together.
func (l *Link) Capture() *Capture {
	tb := l.host.lab.tb
	tb.Helper()
	fd := In(l.host, func() (int, error) { return openCapture(l.index) })
	c := &Capture{
		tb:      tb,
		name:    "capture on " + l.name + " of " + l.host.name,
		file:    os.NewFile(uintptr(fd), "capture"), // not blocking: Close ends a read
		done:    make(chan struct{}),
		changed: make(chan struct{}),
	}
	raw, err := c.file.SyscallConn()
	l.must(err, "capture")
	go c.read(raw)
	tb.Cleanup(func() {
		c.file.Close()
		<-c.done
	})
	return c
}

// openCapture opens a packet socket on a link, in the thread's namespace.
func openCapture(index int) (fd int, err error) {
	// SOCK_DGRAM: the packets begin with the IP header on every kind of link.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, captureBuffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}),
	)
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// read collects packets until the socket is closed.
func (c *Capture) read(raw syscall.RawConn) {
	defer close(c.done)
	buf, control := make([]byte, 1<<16), make([]byte, 256)
	for {
		var n, controlN int
		var from unix.Sockaddr
		var err error
		closed := raw.Read(func(fd uintptr) bool {
			n, controlN, _, from, err = unix.Recvmsg(int(fd), buf, control, 0)
			return !errors.Is(err, unix.EAGAIN)
		})
		if closed != nil {
			return
		}
		if err != nil {
			continue // ENETDOWN when the link goes down; it may come up again
		}
		p, ok := parsePacket(buf[:n])
		if !ok {
			continue
		}
		p.At = timestamp(control[:controlN])
		if ll, is := from.(*unix.SockaddrLinklayer); is {
			p.Outgoing = ll.Pkttype == unix.PACKET_OUTGOING
		}
		c.add(p)
	}
}

func (c *Capture) add(p Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packets = append(c.packets, p)
	close(c.changed)
	c.changed = make(chan struct{})
}

// timestamp returns the kernel's time stamp of a packet, or now without one.
func timestamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			sec, nsec := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
			return time.Unix(int64(sec), int64(nsec))
		}
	}
	return time.Now()
}

// Packets returns what was recorded so far. Safe for use from any goroutine.
func (c *Capture) Packets() []Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.packets)
}

// Select returns the recorded packets that match. Safe for use from any goroutine.
func (c *Capture) Select(match func(Packet) bool) []Packet {
	return slices.DeleteFunc(c.Packets(), func(p Packet) bool { return !match(p) })
}

// WaitFor waits for a packet that matches, among those recorded already too,
// and returns the first one. It fails the test after [Patience].
func (c *Capture) WaitFor(what string, match func(Packet) bool) Packet {
	c.tb.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	for seen := 0; ; {
		c.mu.Lock()
		fresh, changed := c.packets[seen:], c.changed
		c.mu.Unlock()
		if i := slices.IndexFunc(fresh, match); i >= 0 {
			return fresh[i]
		}
		seen += len(fresh)
		select {
		case <-changed:
		case <-timeout.C:
			c.tb.Fatalf("netlab: %s: no %s among %d packets within %v", c.name, what, seen, Patience)
		}
	}
}

// Lost returns how many packets the kernel could not keep for this capture. A
// test that counts packets checks that it is 0. Calling it resets the count.
func (c *Capture) Lost() int {
	c.tb.Helper()
	raw, err := c.file.SyscallConn()
	var stats *unix.TpacketStats
	if err == nil {
		ctlErr := raw.Control(func(fd uintptr) {
			stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
		})
		err = errors.Join(err, ctlErr)
	}
	if err != nil {
		c.tb.Fatalf("netlab: %s: %v", c.name, err)
	}
	return int(stats.Drops)
}
