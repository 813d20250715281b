package media

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"syscall"
)

// Local is a local address for media.
type Local struct {
	Addr       netip.Addr // never unspecified; a zone is allowed
	Device     string     // bind to this interface as well (SO_BINDTODEVICE) where permitted; "": do not
	Advertised netip.Addr // what the peer is told; zero: Addr
}

// Network opens the sockets of streams.
type Network interface {
	// Listen opens a socket on exactly that address and port. An error for which errors.Is(err, syscall.EADDRINUSE) holds
	// makes the Engine try another port.
	Listen(local Local, port uint16) (PacketConn, error)
}

// PacketConn is the part of *net.UDPConn that a Stream uses. Writes must not block: all streams of a pacer wait for
// them. Reads and writes come from different goroutines; there is one reader, and writes do not overlap.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
}

// systemNetwork is the operating system's.
type systemNetwork struct {
	dscp int
	log  *slog.Logger
}

// path is a pair of sockets on one local address. It does not change once made.
type path struct {
	local     Local
	port      uint16 // of rtp; rtcp has the next one
	rtp, rtcp PacketConn
}

// openPath opens a pair of sockets: RTP on an even port, RTCP on the next (RFC 3550 section 11). prefer is tried first,
// if it is not 0; otherwise ports are taken from a random one on, so that a port is not soon used again and packets of
// a call that has ended do not reach the next one.
func openPath(network Network, local Local, lowest, highest, prefer uint16) (*path, error) {
	if !local.Addr.IsValid() || local.Addr.IsUnspecified() {
		return nil, fmt.Errorf("media: %v is no address to bind to: want one of this host's", local.Addr)
	}
	first := (int(lowest) + 1) &^ 1
	pairs := (int(highest) + 1 - first) / 2
	if pairs < 1 {
		return nil, fmt.Errorf("media: no pair of ports in %d-%d", lowest, highest)
	}
	start := rand.N(pairs) //nolint:gosec // not a secret
	var last error
	for i := -1; i < pairs; i++ {
		port := uint16(first + 2*((start+max(i, 0))%pairs))
		if i < 0 {
			if prefer == 0 {
				continue
			}
			port = prefer
		}
		p, err := openPair(network, local, port)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("media: open %v: %w", local.Addr, err)
		}
		last = err
	}
	return nil, fmt.Errorf("media: every port in %d-%d is taken on %v: %w", lowest, highest, local.Addr, last)
}

func openPair(network Network, local Local, port uint16) (*path, error) {
	rtp, err := network.Listen(local, port)
	if err != nil {
		return nil, err
	}
	rtcp, err := network.Listen(local, port+1)
	if err != nil {
		return nil, errors.Join(err, rtp.Close())
	}
	return &path{local: local, port: port, rtp: rtp, rtcp: rtcp}, nil
}

func (p *path) close() error { return errors.Join(p.rtp.Close(), p.rtcp.Close()) }

// advertised is the address to tell the peer.
func (p *path) advertised() netip.Addr {
	if p.local.Advertised.IsValid() {
		return p.local.Advertised
	}
	return p.local.Addr
}

// reachable is to as seen from this path: a link-local address of IPv6 gets the zone of our own, since only a peer on
// the same link can have it.
func (p *path) reachable(to netip.AddrPort) netip.AddrPort {
	if a := to.Addr(); a.Is6() && a.IsLinkLocalUnicast() && p.local.Addr.IsLinkLocalUnicast() {
		return netip.AddrPortFrom(a.WithZone(p.local.Addr.Zone()), to.Port())
	}
	return to
}
