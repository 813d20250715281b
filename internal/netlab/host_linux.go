package netlab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one host of a [Lab]: a network namespace.
type Host struct {
	lab     *Lab
	name    string
	ns      netns.NsHandle
	nl      *netlink.Handle
	restore map[string]string // sysctls to write back, for the host that outlives the test
}

// Name returns the name the host was given.
func (h *Host) Name() string { return h.name }

// Netlink returns a handle on the host's links, addresses, routes and rules,
// for whatever this package has no method for. Safe for use from any goroutine.
func (h *Host) Netlink() *netlink.Handle { return h.nl }

// Do runs f on a thread inside the host and returns its error. Only f itself is
// inside: goroutines that it starts are not. What it may do is in the package
// comment. Safe for use from any goroutine.
func (h *Host) Do(f func() error) error {
	return inThread(func() error {
		if err := unix.Setns(int(h.ns), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter host %s: %w", h.name, err)
		}
		return f()
	})
}

// In runs f inside the host like [Host.Do] and returns its value; it fails the
// test on an error.
func In[T any](h *Host, f func() (T, error)) T {
	h.lab.tb.Helper()
	var v T
	err := h.Do(func() (err error) {
		v, err = f()
		return err
	})
	h.lab.must(err, "inside host %s", h.name)
	return v
}

// Sysctl writes a value under /proc/sys/net of the host. The path has slashes,
// because interface names may have dots: "ipv6/conf/eth0/accept_dad".
func (h *Host) Sysctl(path, value string) {
	h.lab.tb.Helper()
	if _, known := h.restore[path]; h.restore != nil && !known {
		h.restore[path] = h.ReadSysctl(path)
	}
	h.lab.must(h.writeSysctl(path, value), "sysctl %s=%s on %s", path, value, h.name)
}

func (h *Host) writeSysctl(path, value string) error {
	return h.Do(func() error {
		return os.WriteFile(sysctlFile(path), []byte(value), 0o600)
	})
}

// ReadSysctl returns a value under /proc/sys/net of the host.
func (h *Host) ReadSysctl(path string) string {
	h.lab.tb.Helper()
	b := In(h, func() ([]byte, error) { return os.ReadFile(sysctlFile(path)) })
	return strings.TrimSpace(string(b))
}

func sysctlFile(path string) string { return filepath.Join("/proc/sys/net", path) }

// Route adds a route by which the host reaches dst ("default", or a prefix)
// through the neighbour via.
func (h *Host) Route(dst, via string) {
	h.lab.tb.Helper()
	route := netlink.Route{Gw: parseAddr(h.lab.tb, via).AsSlice()}
	if dst != "default" {
		route.Dst = ipNet(parsePrefix(h.lab.tb, dst))
	}
	h.lab.must(h.nl.RouteReplace(&route), "route to %s via %s on %s", dst, via, h.name)
}

// Forward makes the host a router for both families.
func (h *Host) Forward() {
	h.lab.tb.Helper()
	h.Sysctl("ipv4/ip_forward", "1")
	h.Sysctl("ipv6/conf/all/forwarding", "1")
}

// NoDAD makes every address on links that are made afterwards usable at once.
func (h *Host) NoDAD() {
	h.lab.tb.Helper()
	h.Sysctl("ipv6/conf/default/accept_dad", "0")
}

// clear leaves the host as Self found it: loopback only.
func (h *Host) clear() {
	links, err := h.nl.LinkList()
	h.lab.must(err, "list links of %s", h.name)
	for _, link := range links {
		if link.Attrs().Name == "lo" {
			h.clearLoopback(link)
			continue
		}
		// The other end of a veth pair, or a port of a bridge, may be gone already.
		_ = h.nl.LinkDel(link)
	}
	for path, value := range h.restore {
		// The ones of an interface went with it.
		if err := h.writeSysctl(path, value); err != nil && !os.IsNotExist(err) {
			h.lab.tb.Errorf("netlab: write back %s=%s: %v", path, value, err)
		}
	}
}

// clearLoopback removes what a test added to lo and puts back what it removed.
func (h *Host) clearLoopback(lo netlink.Link) {
	addrs, err := h.nl.AddrList(lo, netlink.FAMILY_ALL)
	h.lab.must(err, "list addresses of lo on %s", h.name)
	for _, addr := range addrs {
		if !addr.IP.IsLoopback() || addr.IP.String() != "127.0.0.1" && addr.IP.String() != "::1" {
			_ = h.nl.AddrDel(lo, &addr)
		}
	}
	h.lab.must(h.nl.LinkSetUp(lo), "lo up on %s", h.name)
}

func (h *Host) close() {
	h.nl.Close()
	h.ns.Close()
}
