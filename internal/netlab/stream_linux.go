package netlab

import (
	"bytes"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Streams puts the payload of TCP packets together: the bytes that passed in each
// direction of each connection, in the order in which the connections are seen
// first. What was sent again counts once; a stream ends where bytes are missing.
func Streams(packets []Packet) [][]byte {
	type direction struct{ src, dst netip.AddrPort }
	var order []direction
	segments := map[direction][]Packet{}
	var streams [][]byte
	for _, p := range packets {
		d := direction{p.Src, p.Dst}
		switch {
		case p.Proto != unix.IPPROTO_TCP:
			continue
		case segments[d] == nil:
			order = append(order, d)
		case p.SYN && p.Seq != segments[d][0].Seq: // the ports are used once more
			streams = append(streams, assemble(segments[d]))
			segments[d] = nil
		}
		segments[d] = append(segments[d], p)
	}
	for _, d := range order {
		streams = append(streams, assemble(segments[d]))
	}
	return slices.DeleteFunc(streams, func(b []byte) bool { return len(b) == 0 })
}

// assemble joins the segments of one direction of a connection.
func assemble(segments []Packet) []byte {
	first := segments[0].Seq
	if segments[0].SYN {
		first++
	}
	slices.SortStableFunc(segments, func(a, b Packet) int { return int(int32(a.Seq - b.Seq)) })
	var stream bytes.Buffer
	for _, s := range segments {
		known := int(int32(first+uint32(stream.Len())) - int32(s.Seq)) // bytes of s that are there already
		switch {
		case s.SYN || known >= len(s.Payload):
		case known < 0:
			return stream.Bytes()
		default:
			stream.Write(s.Payload[known:])
		}
	}
	return stream.Bytes()
}
