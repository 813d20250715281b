package ifwatch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dumpTries is how often an interrupted dump is repeated. More than one chunk (some 370 IPv6 addresses) under constant
	// change is hardly ever read without interruption, fewer are nearly always.
	dumpTries = 5

	// dumpLate is after which time the answer is late. It takes 10 us to 1 ms, unless somebody holds the kernel's
	// configuration lock: deleting hundreds of namespaces, say.
	dumpLate = 10 * time.Millisecond

	// dumpTimeout is when the kernel is given up on.
	dumpTimeout = 30 * time.Second

	// datagramSize is more than the kernel puts into one datagram of a dump (32 KiB).
	datagramSize = 64 << 10
)

var errNoAnswer = errors.New("netlink: the kernel does not answer")

// dumper reads the kernel's lists of links and addresses.
type dumper struct {
	conn netlinkConn
	buf  []byte
	req  []byte
	seq  uint32
	late func(context.Context) error // called again and again while the answer is late; may be nil

	found []Addr // the result of addrs; reused
}

func newDumper(conn netlinkConn) *dumper {
	return &dumper{conn: conn, buf: make([]byte, datagramSize)}
}

// links reads all links. If sure is false the reading was interrupted: some may be missing.
func (d *dumper) links(ctx context.Context) (links []Link, sure bool, err error) {
	for range dumpTries {
		links = links[:0]
		sure, err = d.dump(ctx, unix.RTM_GETLINK, linkRequest(), func(m message) {
			if l, err := parseLink(m.body); m.typ == unix.RTM_NEWLINK && err == nil && l.family == unix.AF_UNSPEC {
				links = append(links, l.link)
			}
		})
		if sure || err != nil {
			break
		}
	}
	return links, sure, err
}

// addrs reads the addresses of one family of a link, in the kernel's order. They are good until the next call. If sure is
// false all readings were interrupted, and addrs has what any of them found.
func (d *dumper) addrs(ctx context.Context, link int, f Family) (addrs []Addr, sure bool, err error) {
	d.found = d.found[:0]
	for range dumpTries {
		before := len(d.found)
		now := time.Now()
		sure, err = d.dump(ctx, unix.RTM_GETADDR, addrRequest(link, f), func(m message) {
			// Without strict checking the kernel sends other links too, and without IPv6 it answers with IPv4.
			a, err := parseAddr(m.body, now)
			if m.typ == unix.RTM_NEWADDR && err == nil && a.Link == link && a.Family() == f {
				d.found = append(d.found, a)
			}
		})
		if sure || err != nil {
			return d.found[before:], sure, err
		}
	}
	slices.Reverse(d.found) // the newest reading first
	seen := make(map[Key]bool, len(d.found))
	return slices.DeleteFunc(d.found, func(a Addr) bool {
		known := seen[a.Key]
		seen[a.Key] = true
		return known
	}), false, nil
}

// dump sends one request and calls each for every message of the answer.
func (d *dumper) dump(ctx context.Context, typ uint16, body []byte, each func(message)) (sure bool, err error) {
	d.seq++
	d.req = appendRequest(d.req[:0], typ, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, d.seq, body)
	if err := d.conn.send(d.req); err != nil {
		return false, fmt.Errorf("netlink: %w", err)
	}
	giveUp := time.Now().Add(dumpTimeout)
	for sure = true; ; {
		n, err := d.receive(ctx, giveUp)
		if err != nil {
			return false, err
		}
		for m, rest, ok := nextMessage(d.buf[:n]); ok; m, rest, ok = nextMessage(rest) {
			if m.seq != d.seq {
				continue // of a dump that failed half-way
			}
			sure = sure && m.flags&unix.NLM_F_DUMP_INTR == 0
			switch m.typ {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				err := answerError(m)
				return sure && err == nil, err
			default:
				each(m)
			}
		}
	}
}

// receive waits for the next datagram of an answer.
func (d *dumper) receive(ctx context.Context, giveUp time.Time) (int, error) {
	for {
		n, err := d.conn.receive(ctx, d.buf, time.Now().Add(dumpLate))
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		case time.Now().After(giveUp):
			return 0, errNoAnswer
		case d.late == nil:
		default:
			if err := d.late(ctx); err != nil {
				return 0, err
			}
		}
	}
}

// answerError reads the error number that ends an answer: 0 for success.
func answerError(m message) error {
	if len(m.body) < 4 {
		return nil // NLMSG_DONE of old kernels has none
	}
	errno := unix.Errno(-int32(binary.NativeEndian.Uint32(m.body)))
	switch errno {
	case 0:
		return nil
	case unix.ENODEV, unix.EAFNOSUPPORT, unix.EOPNOTSUPP:
		return nil // the link has gone meanwhile, or has no such family: it has no addresses
	default:
		return fmt.Errorf("netlink: %w", errno)
	}
}

func appendRequest(b []byte, typ, flags uint16, seq uint32, body []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return append(b, body...)
}

// linkRequest asks for all links without their statistics.
func linkRequest() []byte {
	b := make([]byte, unix.SizeofIfInfomsg, unix.SizeofIfInfomsg+8)
	b = binary.NativeEndian.AppendUint16(b, 8)
	b = binary.NativeEndian.AppendUint16(b, unix.IFLA_EXT_MASK)
	return binary.NativeEndian.AppendUint32(b, rtextFilterSkipStats)
}

// rtextFilterSkipStats is RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h.
const rtextFilterSkipStats = 8

// addrRequest asks for the addresses of one link.
func addrRequest(link int, f Family) []byte {
	b := make([]byte, 4, unix.SizeofIfAddrmsg)
	b[0] = unix.AF_INET
	if f == Inet6 {
		b[0] = unix.AF_INET6
	}
	return binary.NativeEndian.AppendUint32(b, uint32(link))
}
