package ifwatch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ask sends one request and calls each for every message of the answer. The error wraps the kernel's errno.
func ask(ctx context.Context, conn netlinkConn, typ, flags uint16, body []byte, each func(message)) error {
	const seq = 1 // the socket has no other request under way
	// With NLM_F_ACK every answer ends with NLMSG_DONE or NLMSG_ERROR, that to a question about one thing too.
	request := appendRequest(nil, typ, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags, seq, body)
	if err := conn.send(request); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	buf := make([]byte, datagramSize)
	for giveUp := time.Now().Add(dumpTimeout); ; {
		n, err := conn.receive(ctx, buf, giveUp)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errNoAnswer
		case err != nil:
			return err
		}
		for m, rest, ok := nextMessage(buf[:n]); ok; m, rest, ok = nextMessage(rest) {
			switch m.typ {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				return errnoOf(m)
			default:
				each(m)
			}
		}
	}
}

// errnoOf reads the error number that ends an answer.
func errnoOf(m message) error {
	if len(m.body) < 4 {
		return nil
	}
	if errno := unix.Errno(-int32(binary.NativeEndian.Uint32(m.body))); errno != 0 {
		return errno
	}
	return nil
}

// dumpAll asks for a whole list.
func dumpAll(ctx context.Context, conn netlinkConn, typ uint16, body []byte, each func(message)) error {
	return ask(ctx, conn, typ, unix.NLM_F_DUMP, body, each)
}

// withAttr appends an attribute to a request.
func withAttr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLA_HDRLEN+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, make([]byte, align(len(value))-len(value))...)
}

func withAttr32(b []byte, typ uint16, value uint32) []byte {
	return withAttr(b, typ, binary.NativeEndian.AppendUint32(nil, value))
}
