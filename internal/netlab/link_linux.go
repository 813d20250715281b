package netlab

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is one interface of a [Host]. It keeps naming the same interface when
// that is renamed.
type Link struct {
	host  *Host
	name  string
	index int
}

// Addr is an address as [Link.AddAddr] takes it.
type Addr struct {
	Prefix netip.Prefix // the address itself, with its prefix length
	Peer   netip.Addr   // the other end of a point-to-point link; zero: none
	Flags  int          // unix.IFA_F_NODAD and so on

	// Valid is how long the address lives, Preferred how long it may be used
	// for something new, in whole seconds. Zero means for ever; a negative
	// Preferred means that the address is deprecated from the start.
	Valid, Preferred time.Duration
}

// Link returns the interface of that name.
func (h *Host) Link(name string) *Link {
	h.lab.tb.Helper()
	link, err := h.nl.LinkByName(name)
	h.lab.must(err, "link %s of %s", name, h.name)
	return &Link{host: h, name: name, index: link.Attrs().Index}
}

// Bridge adds a bridge, which is down and has no ports. A bridge that comes up
// without ports has carrier; one whose only port has none, has none.
func (h *Host) Bridge(name string) *Link {
	h.lab.tb.Helper()
	err := h.nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
	h.lab.must(err, "bridge %s on %s", name, h.name)
	return h.Link(name)
}

// Host returns the host the link is on.
func (l *Link) Host() *Host { return l.host }

// Name returns the name of the link.
func (l *Link) Name() string { return l.name }

// Index returns the interface index of the link.
func (l *Link) Index() int { return l.index }

// Attrs returns what the kernel says about the link now.
func (l *Link) Attrs() *netlink.LinkAttrs {
	l.host.lab.tb.Helper()
	link, err := l.host.nl.LinkByIndex(l.index)
	l.must(err, "look up")
	return link.Attrs()
}

// Up brings the link up.
func (l *Link) Up() {
	l.host.lab.tb.Helper()
	l.must(l.host.nl.LinkSetUp(l.link()), "up")
}

// Down takes the link down. IPv6 addresses go with it, IPv4 ones stay.
func (l *Link) Down() {
	l.host.lab.tb.Helper()
	l.must(l.host.nl.LinkSetDown(l.link()), "down")
}

// Rename gives the link another name.
func (l *Link) Rename(name string) {
	l.host.lab.tb.Helper()
	l.must(l.host.nl.LinkSetName(l.link(), name), "rename to %s", name)
	l.name = name
}

// Delete removes the link, and with it the other end of a cable.
func (l *Link) Delete() {
	l.host.lab.tb.Helper()
	l.must(l.host.nl.LinkDel(l.link()), "delete")
}

// PlugInto makes the link a port of bridge, which is on the same host.
func (l *Link) PlugInto(bridge *Link) {
	l.host.lab.tb.Helper()
	l.must(l.host.nl.LinkSetMaster(l.link(), bridge.link()), "plug into %s", bridge.name)
}

// Unplug takes the link out of its bridge.
func (l *Link) Unplug() {
	l.host.lab.tb.Helper()
	l.must(l.host.nl.LinkSetNoMaster(l.link()), "unplug")
}

// MTU sets the largest packet of the link, in bytes.
func (l *Link) MTU(bytes int) {
	l.host.lab.tb.Helper()
	l.must(l.host.nl.LinkSetMTU(l.link(), bytes), "mtu %d", bytes)
}

// Conf writes the sysctl of this link for IPv6, as "accept_dad".
func (l *Link) Conf(key, value string) {
	l.host.lab.tb.Helper()
	l.host.Sysctl("ipv6/conf/"+l.name+"/"+key, value)
}

// QuickDAD makes Duplicate Address Detection on this link take about 20 ms
// instead of one to two seconds.
func (l *Link) QuickDAD() {
	l.host.lab.tb.Helper()
	l.Conf("router_solicitation_delay", "0")
	l.host.Sysctl("ipv6/neigh/"+l.name+"/retrans_time_ms", "20")
}

// SlowDAD makes Duplicate Address Detection on this link take at least d.
func (l *Link) SlowDAD(d time.Duration) {
	l.host.lab.tb.Helper()
	l.host.Sysctl("ipv6/neigh/"+l.name+"/retrans_time_ms", strconv.FormatInt(d.Milliseconds(), 10))
}

// NoDAD makes addresses that are added to this link usable at once.
func (l *Link) NoDAD() {
	l.host.lab.tb.Helper()
	l.Conf("accept_dad", "0")
}

// Add adds addresses with their prefix length, "192.0.2.1/24". An IPv6 address
// is tentative at first, unless the link is without DAD.
func (l *Link) Add(prefixes ...string) {
	l.host.lab.tb.Helper()
	for _, p := range prefixes {
		l.AddAddr(Addr{Prefix: parsePrefix(l.host.lab.tb, p)})
	}
}

// AddAddr adds an address with flags and lifetimes.
func (l *Link) AddAddr(a Addr) {
	l.host.lab.tb.Helper()
	l.must(l.host.nl.AddrAdd(l.link(), a.netlink()), "add %v", a.Prefix)
}

// ReplaceAddr adds an address, or changes the lifetimes and flags of the one
// that is there.
func (l *Link) ReplaceAddr(a Addr) {
	l.host.lab.tb.Helper()
	l.must(l.host.nl.AddrReplace(l.link(), a.netlink()), "replace %v", a.Prefix)
}

// Remove removes addresses, given as to Add.
func (l *Link) Remove(prefixes ...string) {
	l.host.lab.tb.Helper()
	for _, p := range prefixes {
		a := Addr{Prefix: parsePrefix(l.host.lab.tb, p)}
		l.must(l.host.nl.AddrDel(l.link(), a.netlink()), "remove %s", p)
	}
}

// Flags returns the IFA_F flags of an address of this link, and whether the
// link has it.
func (l *Link) Flags(addr string) (flags int, ok bool) {
	l.host.lab.tb.Helper()
	want := parseAddr(l.host.lab.tb, addr)
	addrs, err := l.host.nl.AddrList(l.link(), netlink.FAMILY_ALL)
	l.must(err, "list addresses")
	for _, a := range addrs {
		if got, _ := netip.AddrFromSlice(a.IP); got.Unmap() == want {
			return a.Flags, true
		}
	}
	return 0, false
}

// AwaitUsable waits until addr has passed Duplicate Address Detection.
func (l *Link) AwaitUsable(addr string) {
	l.host.lab.tb.Helper()
	l.awaitFlags(addr, func(flags int) bool { return flags&unix.IFA_F_TENTATIVE == 0 })
}

// AwaitDuplicate waits until addr has failed Duplicate Address Detection, which
// it does when another host on the link has it: add it there first, with
// IFA_F_NODAD.
func (l *Link) AwaitDuplicate(addr string) {
	l.host.lab.tb.Helper()
	l.awaitFlags(addr, func(flags int) bool { return flags&unix.IFA_F_DADFAILED != 0 })
}

func (l *Link) awaitFlags(addr string, good func(flags int) bool) {
	l.host.lab.tb.Helper()
	Await(l.host.lab.tb, l.name+" on "+l.host.name+": state of "+addr, func() error {
		flags, ok := l.Flags(addr)
		if !ok || !good(flags) {
			return fmt.Errorf("present %v, flags %#x", ok, flags)
		}
		return nil
	})
}

// LinkLocal waits for the usable link-local IPv6 address of this link and
// returns it, with the name of the link as zone.
func (l *Link) LinkLocal() netip.Addr {
	l.host.lab.tb.Helper()
	var found netip.Addr
	Await(l.host.lab.tb, l.name+" on "+l.host.name+": link-local address", func() error {
		addrs, err := l.host.nl.AddrList(l.link(), netlink.FAMILY_V6)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
				found, _ = netip.AddrFromSlice(a.IP)
				found = found.WithZone(l.name)
				return nil
			}
		}
		return fmt.Errorf("none among %v", addrs)
	})
	return found
}

func (l *Link) link() netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: l.name, Index: l.index}}
}

func (l *Link) must(err error, format string, args ...any) {
	l.host.lab.tb.Helper()
	l.host.lab.must(err, "%s on %s: %s", l.name, l.host.name, fmt.Sprintf(format, args...))
}

// forever is the lifetime that never runs out (INFINITY_LIFE_TIME), or 68 years
// where an int cannot hold that.
const forever = math.MaxUint32 & math.MaxInt

func (a Addr) netlink() *netlink.Addr {
	na := &netlink.Addr{IPNet: ipNet(a.Prefix), Flags: a.Flags}
	if a.Peer.IsValid() {
		na.Peer = ipNet(netip.PrefixFrom(a.Peer, a.Prefix.Bits()))
	}
	if a.Valid == 0 && a.Preferred == 0 {
		return na
	}
	na.ValidLft, na.PreferedLft = forever, forever
	if a.Valid > 0 {
		na.ValidLft = int(a.Valid / time.Second)
		na.PreferedLft = na.ValidLft
	}
	switch {
	case a.Preferred > 0:
		na.PreferedLft = int(a.Preferred / time.Second)
	case a.Preferred < 0:
		na.PreferedLft = 0
	}
	return na
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func parsePrefix(tb testing.TB, s string) netip.Prefix {
	tb.Helper()
	p, err := netip.ParsePrefix(s)
	if err != nil {
		tb.Fatalf("netlab: %v", err)
	}
	return p
}

func parseAddr(tb testing.TB, s string) netip.Addr {
	tb.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		tb.Fatalf("netlab: %v", err)
	}
	return a
}
