package netlab

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Socket is one UDP or TCP socket in a host.
type Socket struct {
	Proto  string // "udp" or "tcp"
	Local  netip.AddrPort
	Remote netip.AddrPort // not valid for one that has no peer
	State  int            // netlink.TCP_LISTEN, netlink.TCP_ESTABLISHED, ...; 0 for UDP
	Inode  uint32         // the same as long as it is the same socket
}

// Listening reports whether the socket takes messages or connections from
// anyone: a TCP listener, or a UDP socket that is bound and not connected.
func (s Socket) Listening() bool {
	if s.Proto == "udp" {
		return !s.Remote.IsValid() && s.Local.Port() != 0
	}
	return s.State == netlink.TCP_LISTEN
}

// Sockets returns all UDP and TCP sockets of the host, sorted by protocol and
// local address. A link-local address has the name of its link as zone.
func (h *Host) Sockets() []Socket {
	h.lab.tb.Helper()
	return In(h, func() ([]Socket, error) {
		zones, err := h.zones()
		if err != nil {
			return nil, err
		}
		var all []Socket
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			udp, err := netlink.SocketDiagUDP(family)
			if err != nil {
				return nil, err
			}
			tcp, err := netlink.SocketDiagTCP(family)
			if err != nil {
				return nil, err
			}
			all = append(all, sockets("udp", udp, zones)...)
			all = append(all, sockets("tcp", tcp, zones)...)
		}
		slices.SortFunc(all, compareSockets)
		return all, nil
	})
}

// Listeners returns the listening sockets by "udp 192.0.2.1:5060". Sockets that
// share such a name, by SO_REUSEPORT, fail the test.
func (h *Host) Listeners() map[string]Socket {
	h.lab.tb.Helper()
	found := map[string]Socket{}
	for _, s := range h.Sockets() {
		if !s.Listening() {
			continue
		}
		name := s.Proto + " " + s.Local.String()
		if _, twice := found[name]; twice {
			h.lab.tb.Fatalf("netlab: two sockets listen on %s of %s", name, h.name)
		}
		found[name] = s
	}
	return found
}

// zones returns the names of the host's links by index.
func (h *Host) zones() (map[uint32]string, error) {
	links, err := h.nl.LinkList()
	if err != nil {
		return nil, err
	}
	zones := make(map[uint32]string, len(links))
	for _, link := range links {
		zones[uint32(link.Attrs().Index)] = link.Attrs().Name
	}
	return zones, nil
}

func sockets(proto string, found []*netlink.Socket, zones map[uint32]string) []Socket {
	out := make([]Socket, 0, len(found))
	for _, s := range found {
		zone := zones[s.ID.Interface]
		local := addrPort(s.ID.Source, s.ID.SourcePort, zone)
		remote := addrPort(s.ID.Destination, s.ID.DestinationPort, zone)
		if remote.Port() == 0 {
			remote = netip.AddrPort{}
		}
		state := 0
		if proto == "tcp" {
			state = int(s.State)
		}
		out = append(out, Socket{Proto: proto, Local: local, Remote: remote, State: state, Inode: s.INode})
	}
	return out
}

func addrPort(ip []byte, port uint16, zone string) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	if addr.IsLinkLocalUnicast() && addr.Is6() {
		addr = addr.WithZone(zone)
	}
	return netip.AddrPortFrom(addr, port)
}

func compareSockets(a, b Socket) int {
	if c := strings.Compare(a.Proto, b.Proto); c != 0 {
		return c
	}
	if c := a.Local.Compare(b.Local); c != 0 {
		return c
	}
	return a.Remote.Compare(b.Remote)
}
