package ifwatch_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/netlab"
)

// How much the long tests do. make long does 1,000 bursts and 10,000 operations: of the bursts of such a run on Linux 6.18, 0 left
// a wrong snapshot, and of the operations 0 made a difference that is not known.
var (
	bursts     = flag.Int("bursts", 40, "bursts of changes that overflow the receive buffer")
	burstSize  = flag.Int("burst", 400, "changes in a burst, at most")
	operations = flag.Int("operations", 600, "random changes, each followed by a comparison with the kernel")
	seed       = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of random changes")
)

// TestKernelOverflow makes bursts of changes that do not fit into a small receive buffer. After each the snapshot has to
// equal the kernel's lists.
func TestKernelOverflow(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 1))
	t.Logf("seed %d", *seed)
	lab := netlab.New(t)
	host := lab.Host("host")
	host.NoDAD()
	links := make([]*netlab.Link, 4)
	for i := range links {
		links[i] = host.Bridge(fmt.Sprintf("br%d", i))
		links[i].Up()
	}
	w := ifwatch.New(ifwatch.Config{})
	w.SetReceiveBuffer(1) // the kernel's least: two events
	o := watchWith(t, host, w, ifwatch.Policy{})
	descriptors, goroutines := openDescriptors(t), runtime.NumGoroutine()
	var took []time.Duration
	for range *bursts {
		burst(t, r, host, links, 1+r.IntN(*burstSize))
		took = append(took, o.converges("a burst"))
	}
	stats := w.Stats()
	slices.Sort(took)
	t.Logf("%d bursts, %d events read, %d overflows, %d resyncs; equal after %v (median), %v (longest)",
		*bursts, stats.Events, stats.Overflows, stats.Resyncs, took[len(took)/2], took[len(took)-1])
	if stats.Overflows < uint64(*bursts)/4 {
		t.Errorf("%d overflows in %d bursts: too few to show anything", stats.Overflows, *bursts)
	}
	if now := openDescriptors(t); now > descriptors {
		t.Errorf("%d open descriptors, %d before the bursts", now, descriptors)
	}
	if now := runtime.NumGoroutine(); now > goroutines+2 { // some that make namespace calls may not have ended yet
		t.Errorf("%d goroutines, %d before the bursts", now, goroutines)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// burst adds and deletes addresses as fast as the kernel takes it.
func burst(t *testing.T, r *rand.Rand, host *netlab.Host, links []*netlab.Link, n int) {
	t.Helper()
	for range n {
		link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: links[r.IntN(len(links))].Index()}}
		addr := &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(fmt.Sprintf("2001:db8::%x/64", 1+r.IntN(60)))), Flags: unix.IFA_F_NODAD}
		var err error
		if r.IntN(2) == 0 {
			err = host.Netlink().AddrAdd(link, addr)
		} else {
			err = host.Netlink().AddrDel(link, addr)
		}
		if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Fatalf("burst: %v", err)
		}
	}
}

// TestKernelRandomOperations changes links, addresses and sysctls at random, and compares the snapshot that events made
// with the kernel's lists after each.
func TestKernelRandomOperations(t *testing.T) {
	t.Logf("seed %d", *seed)
	c := newChaos(t, rand.New(rand.NewPCG(*seed, 2)))
	var took []time.Duration
	silent := 0
	for i := range *operations {
		what := c.step()
		began := time.Now()
		quiet := 0
		netlab.Await(t, fmt.Sprintf("equality after operation %d, %s", i, what), func() (err error) {
			quiet, err = c.o.difference()
			return err
		})
		silent += quiet
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("%d operations, equal after %v (median), %v (99 %%), %v (longest); %d silent differences; %+v",
		*operations, took[len(took)/2], took[len(took)*99/100], took[len(took)-1], silent, c.o.w.Stats())
	if n := c.o.w.Stats().Corrections; n != 0 {
		t.Errorf("%d corrections: the kernel changed something silently that is not known to be silent", n)
	}
}

// chaos is a host with cables to another one, to which anything may happen.
type chaos struct {
	r           *rand.Rand
	host, other *netlab.Host
	lab         *netlab.Lab
	o           *observer
	made        int // cables, ever
}

func newChaos(t *testing.T, r *rand.Rand) *chaos {
	lab := netlab.New(t)
	c := &chaos{r: r, lab: lab, host: lab.Host("host"), other: lab.Host("other")}
	bridge := c.host.Bridge("br0")
	bridge.Up()
	c.cable()
	c.cable()
	c.o = watch(t, c.host)
	return c
}

func (c *chaos) cable() {
	c.made++
	name := fmt.Sprintf("eth%d", c.made)
	a, b := c.lab.LooseCable(c.host, name, c.other, name)
	a.QuickDAD()
	b.Up()
	a.Up()
}

// step does one thing and says what. That the kernel refuses it does not matter.
func (c *chaos) step() string {
	links, err := c.host.Netlink().LinkList()
	if err != nil || len(links) < 3 {
		c.cable()
		return "new cable"
	}
	link := links[1+c.r.IntN(len(links)-1)] // not lo
	name := link.Attrs().Name
	steps := []struct {
		weight int
		what   string
		do     func() error
	}{
		{1, "new cable", func() error {
			if len(links) < 7 {
				c.cable()
			}
			return nil
		}},
		{1, "delete " + name, func() error { return c.deleteCable(link) }},
		{3, "down " + name, func() error { return c.host.Netlink().LinkSetDown(link) }},
		{4, "up " + name, func() error { return c.host.Netlink().LinkSetUp(link) }},
		{2, "carrier off " + name, func() error { return c.farEnd(link, false) }},
		{3, "carrier on " + name, func() error { return c.farEnd(link, true) }},
		{1, "rename " + name, func() error { return c.host.Netlink().LinkSetName(link, fmt.Sprintf("net%d", c.r.IntN(100))) }},
		{1, "altname " + name, func() error { return c.host.Netlink().LinkAddAltName(link, fmt.Sprintf("alt%d", c.r.IntN(100))) }},
		{1, "mtu " + name, func() error { return c.host.Netlink().LinkSetMTU(link, []int{1279, 1500, 9000}[c.r.IntN(3)]) }},
		{1, "arp " + name, func() error { return c.arp(link) }},
		{1, "into bridge " + name, func() error { return c.bridge(link) }},
		{1, "out of bridge " + name, func() error { return c.host.Netlink().LinkSetNoMaster(link) }},
		{2, "sysctl " + name, func() error { return c.sysctl(name) }},
		{8, "add to " + name, func() error { return c.host.Netlink().AddrAdd(link, c.addr()) }},
		{4, "change on " + name, func() error { return c.host.Netlink().AddrReplace(link, c.addr()) }},
		{6, "remove from " + name, func() error { return c.remove(link) }},
		{2, "duplicate behind " + name, func() error { return c.duplicate(link) }},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	at := c.r.IntN(total)
	for _, s := range steps {
		if at -= s.weight; at < 0 {
			if err := s.do(); err != nil {
				return s.what + " (" + err.Error() + ")"
			}
			return s.what
		}
	}
	return "nothing"
}

func (c *chaos) deleteCable(link netlink.Link) error {
	if link.Type() == "bridge" {
		return errors.New("the only one")
	}
	return c.host.Netlink().LinkDel(link)
}

func (c *chaos) farEnd(link netlink.Link, up bool) error {
	far, err := c.other.Netlink().LinkByIndex(link.Attrs().ParentIndex)
	if err != nil {
		return err
	}
	if up {
		return c.other.Netlink().LinkSetUp(far)
	}
	return c.other.Netlink().LinkSetDown(far)
}

func (c *chaos) arp(link netlink.Link) error {
	if c.r.IntN(2) == 0 {
		return c.host.Netlink().LinkSetARPOff(link)
	}
	return c.host.Netlink().LinkSetARPOn(link)
}

func (c *chaos) bridge(link netlink.Link) error {
	bridge, err := c.host.Netlink().LinkByName("br0")
	if err != nil {
		return err
	}
	return c.host.Netlink().LinkSetMaster(link, bridge)
}

func (c *chaos) sysctl(name string) error {
	knob := []string{
		"ipv6/conf/%s/keep_addr_on_down", "ipv6/conf/%s/accept_dad", "ipv6/conf/%s/disable_ipv6", "ipv6/conf/%s/optimistic_dad",
		"ipv6/conf/%s/use_optimistic", "ipv4/conf/%s/promote_secondaries",
	}[c.r.IntN(6)]
	value := strconv.Itoa(c.r.IntN(2))
	return c.host.Do(func() error { return os.WriteFile("/proc/sys/net/"+fmt.Sprintf(knob, name), []byte(value), 0) })
}

// addr returns an address of few, so that they collide, with anything that an address may have.
func (c *chaos) addr() *netlink.Addr {
	a := &netlink.Addr{Flags: []int{
		0, 0, unix.IFA_F_NODAD, unix.IFA_F_OPTIMISTIC, unix.IFA_F_HOMEADDRESS, unix.IFA_F_NOPREFIXROUTE, unix.IFA_F_MANAGETEMPADDR,
	}[c.r.IntN(7)]}
	prefix := netip.MustParsePrefix(fmt.Sprintf([]string{
		"2001:db8::%x/64", "2001:db8:1::%x/64", "fd00::%x/64", "fe80::%x/64", "192.0.2.%d/24", "198.51.100.%d/24", "169.254.1.%d/16",
	}[c.r.IntN(7)], 1+c.r.IntN(4)))
	a.IPNet = ipNet(prefix)
	switch c.r.IntN(6) {
	case 0:
		a.ValidLft, a.PreferedLft = 3600, 1800
	case 1:
		a.ValidLft, a.PreferedLft = 3600, 0
	}
	return a
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func (c *chaos) remove(link netlink.Link) error {
	addrs, err := c.host.Netlink().AddrList(link, netlink.FAMILY_ALL)
	if err != nil || len(addrs) == 0 {
		return err
	}
	return c.host.Netlink().AddrDel(link, &addrs[c.r.IntN(len(addrs))])
}

// duplicate gives the other end an address that this one may have or get.
func (c *chaos) duplicate(link netlink.Link) error {
	far, err := c.other.Netlink().LinkByIndex(link.Attrs().ParentIndex)
	if err != nil {
		return err
	}
	a := c.addr()
	a.Flags = unix.IFA_F_NODAD
	return c.other.Netlink().AddrReplace(far, a)
}
