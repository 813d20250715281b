package netlab

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// parsePacket reads an IP packet; ok is false for what is none, or is cut off.
// The payload is a copy.
func parsePacket(b []byte) (p Packet, ok bool) {
	if len(b) == 0 {
		return p, false
	}
	var src, dst netip.Addr
	fragment := false // not the first one: there are no ports in it
	var header int
	switch b[0] >> 4 {
	case 4:
		header = int(b[0]&0x0f) * 4
		if header < 20 || len(b) < header {
			return p, false
		}
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		p.Proto = int(b[9])
		fragment = binary.BigEndian.Uint16(b[6:])&0x1fff != 0
		b = cut(b, int(binary.BigEndian.Uint16(b[2:])))
	case 6:
		header = 40
		if len(b) < header {
			return p, false
		}
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		p.Proto = int(b[6]) // extension headers are left in the payload
		b = cut(b, header+int(binary.BigEndian.Uint16(b[4:])))
	default:
		return p, false
	}
	if len(b) < header {
		return p, false
	}
	b = b[header:]
	var srcPort, dstPort uint16
	if !fragment && (p.Proto == unix.IPPROTO_UDP || p.Proto == unix.IPPROTO_TCP) {
		if header, ok = transportHeader(&p, b); !ok {
			return p, false
		}
		srcPort, dstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		b = b[header:]
	}
	p.Src, p.Dst = netip.AddrPortFrom(src, srcPort), netip.AddrPortFrom(dst, dstPort)
	p.Payload = bytes.Clone(b)
	return p, true
}

// transportHeader returns the length of the UDP or TCP header at the start of b
// and takes its flags into p.
func transportHeader(p *Packet, b []byte) (length int, ok bool) {
	const udp, tcp = 8, 20
	if p.Proto == unix.IPPROTO_UDP {
		return udp, len(b) >= udp
	}
	if len(b) < tcp {
		return 0, false
	}
	p.Seq = binary.BigEndian.Uint32(b[4:])
	p.SYN, p.RST = b[13]&0x02 != 0, b[13]&0x04 != 0
	length = int(b[12]>>4) * 4
	return length, length >= tcp && len(b) >= length
}

// cut removes the padding of a link layer: b has n bytes at most. A packet that
// says 0 has been put together by the network card and is as long as it is.
func cut(b []byte, n int) []byte {
	if n == 0 || n > len(b) {
		return b
	}
	return b[:n]
}
