package ifwatch_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/netlab"
)

// configurations is how many hosts are made up for each family. A full run is `make differential`.
var configurations = flag.Int("configurations", 80, "random configurations for source selection, for each family")

// TestDifferential6 makes up hosts, and compares what the kernel chooses as source for connect(2) with what the algorithm
// does. Each mutant of the algorithm, which is wrong in one way, has to be told from the kernel by the same questions.
func TestDifferential6(t *testing.T) { differential(t, configure6, askable6, ifwatch.Mutants6()) }

// TestDifferential4 is the same for IPv4.
func TestDifferential4(t *testing.T) { differential(t, configure4, askable4, ifwatch.Mutants4()) }

// tally is what a run has found so far.
type tally struct {
	mu                          sync.Mutex
	choices, noWay, differences int
	rules                       map[ifwatch.Rule]int // by which candidates lost
	caught                      map[string]int       // choices by which a mutant was told from the kernel
	hosts                       map[string]int       // on which it was
}

func differential(t *testing.T, configure func(*trial), ask func(*trial) question, mutants []ifwatch.Mutant) {
	t.Logf("seed %d", *seed)
	sum := newTally()
	mobile := prefersHome(t)
	t.Run("configuration", func(t *testing.T) {
		for i := range *configurations {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				tr := newTrial(t, rand.New(rand.NewPCG(seedOf(i), uint64(i))))
				tr.number, tr.mobile = i, mobile
				configure(tr)
				one := newTally()
				tr.compare(one, ask, mutants)
				sum.add(one)
			})
		}
	})
	t.Logf("%d configurations: %d choices and %d times no way, %d differences; lost by %v", *configurations, sum.choices,
		sum.noWay, sum.differences, sum.rules)
	if sum.choices < *configurations*questions/2 {
		t.Errorf("%d choices in %d configurations: too few to show anything", sum.choices, *configurations)
	}
	for _, m := range mutants {
		if sum.caught[m.Name] == 0 {
			t.Errorf("the mutant %q was never told from the kernel", m.Name)
		}
	}
	rarest := slices.SortedFunc(maps.Keys(sum.hosts), func(a, b string) int { return sum.hosts[a] - sum.hosts[b] })
	for _, name := range rarest[:min(3, len(rarest))] {
		t.Logf("of %d mutants among the rarest caught: %q, by %d choices on %d hosts", len(mutants), name, sum.caught[name], sum.hosts[name])
	}
}

// seedOf returns the seed of a host. The first ones are the same in every run, so that no mutant escapes by chance: this
// seed was chosen, of 60, for that each is caught on at least two of them. All others are new every time.
func seedOf(host int) uint64 {
	if host < 40 {
		return 17
	}
	return *seed
}

// questions is how many sources are asked for in one configuration.
const questions = 60

// trial is one host that was made up.
type trial struct {
	t         *testing.T
	number    int
	r         *rand.Rand
	host, far *netlab.Host
	farNS     int
	script    []string // what was done, in the words of ip(8), for a reader who has to do it again
	links     []*netlab.Link
	cables    map[*netlab.Link]*netlab.Link // the far ends
	theme     theme6
	pool      []netip.Addr // of which addresses and destinations are
	addrs     []netip.Prefix
	at        map[int][]netip.Prefix // addresses by link
	multipath bool                   // some route has two next hops
	mobile    bool                   // the kernel prefers home addresses
}

func newTrial(t *testing.T, r *rand.Rand) *trial {
	t.Helper()
	lab := netlab.New(t)
	tr := &trial{t: t, r: r, host: lab.Host("host"), far: lab.Host("far"), cables: map[*netlab.Link]*netlab.Link{}, at: map[int][]netip.Prefix{}}
	tr.farNS = netlab.In(tr.far, func() (int, error) {
		return unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	t.Cleanup(func() { unix.Close(tr.farNS) })
	return tr
}

// chance is true in one of n cases.
func (tr *trial) chance(n int) bool { return tr.r.IntN(n) == 0 }

// did notes what was done. The kernel may refuse it: then the host is as it was.
func (tr *trial) did(err error, format string, args ...any) bool {
	line := fmt.Sprintf(format, args...)
	if err != nil {
		line = "# " + line + ": " + err.Error()
	}
	tr.script = append(tr.script, line)
	return err == nil
}

func (tr *trial) sysctl(h *netlab.Host, path, value string) {
	h.Sysctl(path, value)
	tr.did(nil, "echo %s > /proc/sys/net/%s # on %s", value, path, h.Name())
}

// addLinks makes up to n links, cables and bridges, whose indexes are in no order.
func (tr *trial) addLinks(n int) {
	for i := range n {
		attrs := netlink.LinkAttrs{Name: fmt.Sprintf("v%d", i), Index: 2 + tr.r.IntN(60)}
		var link netlink.Link = &netlink.Bridge{LinkAttrs: attrs}
		if cable := tr.r.IntN(3) > 0; cable {
			link = &netlink.Veth{LinkAttrs: attrs, PeerName: attrs.Name, PeerNamespace: netlink.NsFd(tr.farNS)}
		}
		if !tr.did(tr.host.Netlink().LinkAdd(link), "ip link add %s index %d type %s", attrs.Name, attrs.Index, link.Type()) {
			continue // the index is taken
		}
		l := tr.host.Link(attrs.Name)
		tr.links = append(tr.links, l)
		if link.Type() == "veth" {
			tr.cables[l] = tr.far.Link(attrs.Name)
			tr.cables[l].Up()
		}
	}
}

// upLinks brings all links up and waits until they have carrier and run IPv6.
func (tr *trial) upLinks() {
	for _, l := range tr.links {
		l.Up()
		tr.did(nil, "ip link set %s up", l.Name())
	}
	netlab.Await(tr.t, "links are ready", func() error {
		s := tr.read()
		for _, l := range s.Links {
			if !l.Carrier() || !l.In6Ready {
				return fmt.Errorf("%+v", l)
			}
		}
		return nil
	})
}

// breakLinks takes some links down, and the carrier from others.
func (tr *trial) breakLinks() {
	for _, l := range tr.links {
		switch far := tr.cables[l]; {
		case tr.chance(10):
			l.Down()
			tr.did(nil, "ip link set %s down", l.Name())
		case far != nil && tr.chance(8):
			far.Down()
			tr.did(nil, "ip link set %s down # on far", l.Name())
		}
	}
}

// any returns one of all.
func any1[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// link returns some link, at times loopback.
func (tr *trial) link() *netlab.Link {
	if len(tr.links) == 0 || tr.chance(12) {
		return tr.host.Link("lo")
	}
	return any1(tr.r, tr.links...)
}

func (tr *trial) read() *ifwatch.Snapshot {
	tr.t.Helper()
	return netlab.In(tr.host, func() (*ifwatch.Snapshot, error) { return ifwatch.Read(tr.t.Context()) })
}

// question is a source to ask for.
type question struct {
	dst       netip.Addr
	link      int // that the socket is bound to, or the zone of dst; 0 none
	temporary ifwatch.TemporaryPolicy
}

func (q question) String() string {
	return fmt.Sprintf("connect to %s by link %d, temporary %s", q.dst, q.link, q.temporary)
}

// compare asks the kernel and the algorithm the same questions.
func (tr *trial) compare(sum *tally, ask func(*trial) question, mutants []ifwatch.Mutant) {
	tr.t.Helper()
	s := tr.read()
	if !tr.mobile {
		for i := range s.Addrs {
			s.Addrs[i].Flags &^= ifwatch.Home // means nothing to this kernel
		}
	}
	tables := netlab.In(tr.host, func() (*ifwatch.Tables, error) { return ifwatch.ReadTables(tr.t.Context()) })
	for range questions {
		tr.compareOne(sum, s, tables, ask(tr), mutants)
	}
}

func (tr *trial) compareOne(sum *tally, s *ifwatch.Snapshot, tables *ifwatch.Tables, q question, mutants []ifwatch.Mutant) {
	tr.t.Helper()
	var kernel netip.Addr
	var kernelErr, lookupErr error
	sel := ifwatch.Selection{Snapshot: s, Tables: tables, Temporary: q.temporary}
	if err := tr.host.Do(func() error {
		kernel, kernelErr = connectTo(q)
		_, lookupErr = sel.Lookup(context.WithoutCancel(tr.t.Context()), q.dst, q.link)
		return nil
	}); err != nil {
		tr.t.Fatal(err)
	}
	choice := sel.Choose()
	switch {
	case errors.Is(lookupErr, ifwatch.ErrUndecided):
		return
	case errors.Is(kernelErr, unix.EACCES): // a broadcast address, or a route that prohibits
		return
	case kernelErr != nil && (lookupErr != nil || !choice.Source.IsValid()):
		sum.noWay++
	case kernelErr != nil || lookupErr != nil || choice.Source != kernel:
		sum.differences++
		tr.t.Errorf("%s\nkernel: %v %v\nalgorithm: %v %v\nlost: %s\nroute: %+v\ntables: %+v\naddresses: %v\nscript:\n%s", q, kernel, kernelErr,
			choice.Source, lookupErr, losers(choice), sel.Route, tables, s.Addrs, strings.Join(tr.script, "\n"))
	default:
		sum.choices++
		for _, c := range choice.Candidates {
			sum.rules[c.Rule]++
		}
		for _, m := range mutants {
			if m.Source(&sel) != kernel {
				sum.caught[m.Name]++
			}
		}
	}
}

func losers(c ifwatch.Choice) string {
	var all []string
	for _, l := range c.Candidates {
		all = append(all, fmt.Sprintf("%s on %s by %s (%s)", l.Addr.Addr, l.Interface, l.Rule, l.Why))
	}
	return strings.Join(all, ", ")
}

func newTally() *tally {
	return &tally{rules: map[ifwatch.Rule]int{}, caught: map[string]int{}, hosts: map[string]int{}}
}

// add adds what was found on one host.
func (t *tally) add(more *tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.choices += more.choices
	t.noWay += more.noWay
	t.differences += more.differences
	for rule, n := range more.rules {
		t.rules[rule] += n
	}
	for name, n := range more.caught {
		t.caught[name] += n
		t.hosts[name]++
	}
}

// prefersHome reports whether the kernel has Mobile IPv6 (CONFIG_IPV6_MIP6). Nothing but a choice tells.
func prefersHome(t *testing.T) bool {
	t.Helper()
	h := netlab.New(t).Host("host")
	br := h.Bridge("br0")
	br.Up()
	br.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::1/64"), Flags: unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS})
	br.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::2/64"), Flags: unix.IFA_F_NODAD})
	source := netlab.In(h, func() (netip.Addr, error) { return connectTo(question{dst: netip.MustParseAddr("2001:db8::9")}) })
	return source == netip.MustParseAddr("2001:db8::1")
}

// connectTo returns what the kernel chooses as source.
func connectTo(q question) (netip.Addr, error) {
	family := unix.AF_INET6
	if q.dst.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.Addr{}, err
	}
	defer unix.Close(fd)
	if q.link != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, q.link); err != nil {
			return netip.Addr{}, err
		}
	}
	if prefs := map[ifwatch.TemporaryPolicy]int{ifwatch.TemporaryPrefer: 1, ifwatch.TemporaryAvoid: 2}[q.temporary]; prefs != 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, prefs); err != nil {
			return netip.Addr{}, err
		}
	}
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: 5060, Addr: q.dst.As16(), ZoneId: uint32(q.link)}
	if q.dst.Is4() {
		to = &unix.SockaddrInet4{Port: 5060, Addr: q.dst.As4()}
	}
	if err := unix.Connect(fd, to); err != nil {
		return netip.Addr{}, err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}, err
	}
	switch local := local.(type) {
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(local.Addr), nil
	case *unix.SockaddrInet4:
		if local.Addr == [4]byte{} {
			return netip.Addr{}, errNoSource
		}
		return netip.AddrFrom4(local.Addr), nil
	default:
		return netip.Addr{}, fmt.Errorf("socket address %T", local)
	}
}

// errNoSource: the kernel connects IPv4 sockets even if it has no address for them.
var errNoSource = errors.New("connected without a source")

// near returns an address that has the first bits of a, and not the next one.
func near(r *rand.Rand, a netip.Addr, bits int) netip.Addr {
	b := a.AsSlice()
	for i := bits; i < 8*len(b); i++ {
		if i == bits || r.IntN(2) == 0 {
			b[i/8] ^= 0x80 >> (i % 8)
		}
	}
	n, _ := netip.AddrFromSlice(b)
	return n
}
