package ifwatch_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/netlab"
)

// observer watches a host and judges what it sees.
type observer struct {
	t      *testing.T
	host   *netlab.Host
	w      *ifwatch.Watcher
	policy ifwatch.Policy

	mu       sync.Mutex
	recorded uint64              // generation of the newest snapshot in history
	history  map[string][]string // verdicts by address, each when it changed; some may be missing
}

func watch(t *testing.T, h *netlab.Host) *observer {
	return watchWith(t, h, ifwatch.New(ifwatch.Config{}), ifwatch.Policy{})
}

func watchWith(t *testing.T, h *netlab.Host, w *ifwatch.Watcher, p ifwatch.Policy) *observer {
	t.Helper()
	o := &observer{t: t, host: h, w: w, policy: p, history: map[string][]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.Do(func() error { return w.Run(ctx) }); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	running.Go(func() { o.record(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	if _, err := w.Wait(ctx, 0); err != nil {
		t.Fatalf("no first snapshot: %v", err)
	}
	return o
}

func (o *observer) record(ctx context.Context) {
	for gen := uint64(0); ; {
		s, err := o.w.Wait(ctx, gen)
		if err != nil {
			return
		}
		gen = s.Gen
		o.mu.Lock()
		for _, a := range slices.Concat(s.Addrs, s.Gone) {
			name := s.Zoned(a).String()
			verdict := answers(o.policy.Judge(s, a, time.Now()))
			if h := o.history[name]; len(h) == 0 || h[len(h)-1] != verdict {
				o.history[name] = append(h, verdict)
			}
		}
		o.recorded = gen
		o.mu.Unlock()
	}
}

// seen returns the verdicts on an address up to the present snapshot, which may not have been recorded yet.
func (o *observer) seen(addr string) []string {
	o.t.Helper()
	present := o.w.Current().Gen
	netlab.Await(o.t, "recorded snapshots", func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.recorded < present {
			return fmt.Errorf("recorded %d of %d", o.recorded, present)
		}
		return nil
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.history[addr])
}

// await waits until check holds for a snapshot, and returns it.
func (o *observer) await(what string, check func(*ifwatch.Snapshot) error) *ifwatch.Snapshot {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), netlab.Patience)
	defer cancel()
	var last error
	for gen := uint64(0); ; {
		s, err := o.w.Wait(ctx, gen)
		if err != nil {
			o.t.Fatalf("%s: %v; last: %v", what, err, last)
		}
		if last = check(s); last == nil {
			return s
		}
		gen = s.Gen
	}
}

// judged waits until the verdict on addr, zoned if it is link-local, is as wanted; "" is that there is no such address.
func (o *observer) judged(addr, want string) (*ifwatch.Snapshot, ifwatch.Addr) {
	o.t.Helper()
	var found ifwatch.Addr
	s := o.await(addr+" is judged "+want, func(s *ifwatch.Snapshot) error {
		got := ""
		for _, a := range s.Addrs {
			if s.Zoned(a).String() == addr {
				found, got = a, answers(o.policy.Judge(s, a, time.Now()))
			}
		}
		if got != want {
			return fmt.Errorf("verdict %q", got)
		}
		return nil
	})
	return s, found
}

// checkBinds binds every address and compares with the verdict.
func (o *observer) checkBinds(s *ifwatch.Snapshot) {
	o.t.Helper()
	for _, a := range s.Addrs {
		v := o.policy.Judge(s, a, time.Now())
		err := o.host.Do(func() error {
			conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.Zoned(a), 0)))
			if err != nil {
				return err
			}
			return conn.Close()
		})
		switch {
		case v.Bind && err != nil:
			o.t.Errorf("%s is said to be usable: %v", s.Zoned(a), err)
		case v.Reason == ifwatch.ReasonDADWaitsForCarrier && !errors.Is(err, unix.EADDRNOTAVAIL):
			o.t.Errorf("DAD is said not to have begun on %s, but bind returns %v", s.Zoned(a), err)
		}
	}
}

func TestKernelLibvirtBridge(t *testing.T) {
	t.Parallel()
	const (
		bridge6 = "2001:db8:ddde:ffff::1"
		uplink  = "2001:db8:1::10"
	)
	v := netlab.New(t).LibvirtHost("host")
	o := watch(t, v.Host)
	s, a := o.judged(bridge6, "---- dad_waits_for_carrier tentative no_carrier")
	if why := s.Explain(a, o.policy.Judge(s, a, time.Now())); why != "DAD waits for carrier: virbr2 has none" {
		t.Errorf("explained as %q", why)
	}
	for _, addr := range []string{"192.168.122.1", "192.168.100.1", "192.168.125.1"} {
		o.judged(addr, "---- no_carrier")
	}
	for _, addr := range []string{uplink, "192.0.2.10"} {
		o.judged(addr, "BKAF ok")
	}
	o.checkBinds(s)
	if l, ok := s.LinkNamed("virbr2"); !ok || l.Kind != "bridge" || l.In6Ready || l.LowerUp || !l.Up {
		t.Errorf("virbr2 is %+v", l)
	}

	v.PlugIn(2)
	s, _ = o.judged(bridge6, "BKAF ok")
	o.checkBinds(s)
	o.judged("192.168.125.1", "BKAF ok")
	if seen := o.seen(bridge6); !slices.ContainsFunc(seen, func(v string) bool { return strings.HasPrefix(v, "---- tentative") }) {
		t.Logf("DAD was not seen running: %q", seen)
	}

	v.PlugOut(2)
	s, a = o.judged(bridge6, "-K-- no_carrier")
	if verdict := o.policy.Judge(s, a, time.Now()); verdict.Next.IsZero() {
		t.Error("nothing says when the grace ends")
	}
	v.PlugIn(2)
	o.judged(bridge6, "BKAF ok") // at once, DAD is not repeated

	if seen := o.seen(uplink); !slices.Equal(seen, []string{"BKAF ok"}) {
		t.Errorf("the uplink's address had verdicts %q, want one", seen)
	}
	if stats := o.w.Stats(); stats.Corrections != 0 || stats.Overflows != 0 {
		t.Errorf("stats %+v", stats)
	}
}

// cable returns a cable between a host to watch and a neighbour. The link is up, ready and has its link-local address.
func cable(t *testing.T) (host *netlab.Host, eth0, neighbour *netlab.Link) {
	lab := netlab.New(t)
	a, b := lab.Host("a"), lab.Host("b")
	eth0, neighbour = lab.LooseCable(a, "eth0", b, "eth0")
	for _, l := range []*netlab.Link{eth0, neighbour} {
		l.QuickDAD()
		l.Up()
	}
	eth0.LinkLocal()
	return a, eth0, neighbour
}

func TestKernelDADSucceeds(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	o := watch(t, host)
	eth0.SlowDAD(time.Second)
	eth0.Add("2001:db8::1/64")
	o.judged("2001:db8::1", "---- tentative")
	s, _ := o.judged("2001:db8::1", "BKAF ok")
	o.checkBinds(s)
	if seen := o.seen("2001:db8::1"); !slices.Equal(seen, []string{"---- tentative", "BKAF ok"}) {
		t.Errorf("verdicts %q", seen)
	}
}

func TestKernelDADFails(t *testing.T) {
	t.Parallel()
	host, eth0, neighbour := cable(t)
	neighbour.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::1/64"), Flags: unix.IFA_F_NODAD})
	neighbour.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::2/64"), Flags: unix.IFA_F_NODAD})
	neighbour.LinkLocal()
	o := watchWith(t, host, ifwatch.New(ifwatch.Config{}), named("2001:db8::2"))

	eth0.Add("2001:db8::1/64")
	s, _ := o.judged("2001:db8::1", "---- dad_failed")
	o.checkBinds(s)
	eth0.Remove("2001:db8::1/64")
	if s, _ = o.judged("2001:db8::1", ""); len(s.Gone) != 0 {
		t.Errorf("somebody deleted it, yet it is gone: %v", s.Gone)
	}

	// One with a lifetime is deleted by the kernel, and must not vanish without a word.
	eth0.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::2/64"), Valid: time.Hour, Preferred: time.Hour})
	s = o.await("the failed address is gone", func(s *ifwatch.Snapshot) error {
		if len(s.Gone) != 1 {
			return fmt.Errorf("gone %v, there %v", s.Gone, s.Addrs)
		}
		return nil
	})
	verdict := o.policy.Judge(s, s.Gone[0], time.Now())
	const why = "DAD failed: another host on eth0 has this address; the kernel removed it"
	if got := s.Explain(s.Gone[0], verdict); got != why || verdict.Reason != ifwatch.ReasonDADFailed {
		t.Errorf("%s, explained as %q", verdict.Reason, got)
	}
	if waited := o.policy.Waiting(s); len(waited) != 0 {
		t.Errorf("waits for %v", waited)
	}
	for _, addr := range []string{"2001:db8::1", "2001:db8::2"} {
		if slices.Contains(o.seen(addr), "BKAF ok") {
			t.Errorf("%s was said to be usable: %q", addr, o.seen(addr))
		}
	}
}

func TestKernelOptimistic(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	o := watch(t, host)
	eth0.Conf("optimistic_dad", "1")
	eth0.Conf("use_optimistic", "1")
	eth0.SlowDAD(time.Second)
	eth0.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::1/64"), Flags: unix.IFA_F_OPTIMISTIC})
	s, a := o.judged("2001:db8::1", "-K-- optimistic")
	use := ifwatch.Policy{Optimistic: ifwatch.OptimisticUse}
	if v := use.Judge(s, a, time.Now()); v.Reason != ifwatch.ReasonOK {
		t.Errorf("to be used, but %s", v.Reason)
	}
	o.judged("2001:db8::1", "BKAF ok")
}

func TestKernelLifetimes(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	o := watch(t, host)
	eth0.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::1/64"), Valid: 3 * time.Second, Preferred: time.Second})
	eth0.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("192.0.2.1/24"), Valid: 3 * time.Second, Preferred: time.Second})
	eth0.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::2/64"), Preferred: -1, Valid: time.Hour})
	o.judged("2001:db8::2", "-K-- deprecated")
	for _, addr := range []string{"2001:db8::1", "192.0.2.1"} {
		_, a := o.judged(addr, "BKAF ok")
		if a.PreferredUntil.IsZero() || !a.ValidUntil.After(a.PreferredUntil) {
			t.Errorf("%s is preferred until %v and valid until %v", addr, a.PreferredUntil, a.ValidUntil)
		}
	}
	for _, addr := range []string{"2001:db8::1", "192.0.2.1"} {
		o.judged(addr, "-K-- deprecated")
	}
	for _, addr := range []string{"2001:db8::1", "192.0.2.1"} {
		o.judged(addr, "")
	}
	eth0.ReplaceAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::2/64")})
	o.judged("2001:db8::2", "BKAF ok")
}

func TestKernelCarrierLostAndBack(t *testing.T) {
	t.Parallel()
	host, eth0, neighbour := cable(t)
	eth0.Add("192.0.2.1/24", "2001:db8::1/64")
	o := watch(t, host)
	o.judged("2001:db8::1", "BKAF ok")
	before := time.Now()
	neighbour.Down()
	for _, addr := range []string{"192.0.2.1", "2001:db8::1"} {
		s, _ := o.judged(addr, "-K-- no_carrier")
		if l, _ := s.LinkNamed("eth0"); l.Changed.Before(before) {
			t.Errorf("carrier changed at %v, which is before it was taken away", l.Changed)
		}
		o.checkBinds(s)
	}
	neighbour.Up()
	o.judged("192.0.2.1", "BKAF ok")
	o.judged("2001:db8::1", "BKAF ok")
}

func TestKernelLinkDownAndUp(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	eth0.Add("192.0.2.1/24", "2001:db8::1/64")
	o := watch(t, host)
	o.judged("2001:db8::1", "BKAF ok")
	eth0.Down()
	o.judged("2001:db8::1", "")
	o.judged("192.0.2.1", "-K-- link_down")
	eth0.Up()
	o.judged("192.0.2.1", "BKAF ok")
	eth0.Add("2001:db8::1/64")
	s, _ := o.judged("2001:db8::1", "BKAF ok")
	o.checkBinds(s)
}

func TestKernelKeepAddrOnDown(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	eth0.Conf("keep_addr_on_down", "1")
	eth0.Add("2001:db8::1/64")
	o := watch(t, host)
	o.judged("2001:db8::1", "BKAF ok")
	eth0.Down()
	// The kernel reports the link alone. That the address is tentative now has to be found out.
	o.judged("2001:db8::1", "---- link_down dad_waits_for_carrier tentative")
	eth0.SlowDAD(time.Second)
	eth0.Up()
	o.judged("2001:db8::1", "---- tentative")
	s, _ := o.judged("2001:db8::1", "BKAF ok")
	o.checkBinds(s)
}

func TestKernelRenamedAndReplaced(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	eth0.Add("2001:db8::1/64")
	eth0.AwaitUsable("2001:db8::1")
	o := watchWith(t, host, ifwatch.New(ifwatch.Config{}), ifwatch.Policy{Interfaces: patterns("lan0")})
	o.judged("2001:db8::1", "---- interface_not_selected")
	missing := func(s *ifwatch.Snapshot) error {
		if w := o.policy.Waiting(s); len(w) != 1 || w[0].Interface != "lan0" || w[0].Reason != ifwatch.ReasonInterfaceMissing {
			return fmt.Errorf("waiting for %v", w)
		}
		return nil
	}
	o.await("lan0 is waited for", missing)
	eth0.Rename("lan0")
	s, a := o.judged("2001:db8::1", "BKAF ok")
	if a.Link != eth0.Index() || o.policy.Waiting(s) != nil {
		t.Errorf("link %d, waiting for %v", a.Link, o.policy.Waiting(s))
	}
	link, err := host.Netlink().LinkByIndex(eth0.Index())
	if err != nil {
		t.Fatal(err)
	}
	eth0.Rename("eth0")
	o.judged("2001:db8::1", "---- interface_not_selected")
	if err := host.Netlink().LinkAddAltName(link, "lan0"); err != nil {
		t.Fatal(err)
	}
	o.judged("2001:db8::1", "BKAF ok")

	eth0.Delete()
	o.judged("2001:db8::1", "")
	o.await("lan0 is waited for again", missing)
	again := host.Bridge("lan0")
	again.NoDAD()
	again.Up()
	again.Add("2001:db8::1/64")
	if _, a = o.judged("2001:db8::1", "BKAF ok"); a.Link != again.Index() || a.Link == eth0.Index() {
		t.Errorf("link %d, want %d", a.Link, again.Index())
	}
}

func TestKernelAddressDeletedAndAddedAgain(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	o := watch(t, host)
	for range 3 {
		eth0.Add("2001:db8::1/64", "192.0.2.1/24")
		o.judged("2001:db8::1", "BKAF ok")
		o.judged("192.0.2.1", "BKAF ok")
		eth0.Remove("2001:db8::1/64", "192.0.2.1/24")
		o.judged("2001:db8::1", "")
		o.judged("192.0.2.1", "")
	}
}

func TestKernelPeerAddress(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	o := watch(t, host)
	for _, c := range []struct{ addr, peer string }{
		{"192.0.2.1", "198.51.100.9"}, {"2001:db8::1", "2001:db8:9::9"},
	} {
		addr, peer := netip.MustParseAddr(c.addr), netip.MustParseAddr(c.peer)
		eth0.AddAddr(netlab.Addr{Prefix: netip.PrefixFrom(addr, addr.BitLen()), Peer: peer})
		s, a := o.judged(c.addr, "BKAF ok")
		if a.Peer != peer || a.Bits != addr.BitLen() {
			t.Errorf("%s has peer %s and %d bits, want %s", c.addr, a.Peer, a.Bits, peer)
		}
		o.checkBinds(s)
	}
}

func TestKernelSameLinkLocalTwice(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	host, other := lab.Host("host"), lab.Host("other")
	for i := range 2 {
		at, _ := lab.LooseCable(host, fmt.Sprintf("eth%d", i), other, fmt.Sprintf("eth%d", i))
		at.QuickDAD()
		at.Up()
		other.Link(fmt.Sprintf("eth%d", i)).Up()
		at.Add("fe80::1/64")
	}
	o := watch(t, host)
	o.judged("fe80::1%eth0", "BK-F link_local")
	s, _ := o.judged("fe80::1%eth1", "BK-F link_local")
	o.checkBinds(s)
	host.Link("eth0").Remove("fe80::1/64")
	o.judged("fe80::1%eth0", "")
	o.judged("fe80::1%eth1", "BK-F link_local")
}

func TestKernelIPv4(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	o := watch(t, host)
	host.Sysctl("ipv4/conf/eth0/promote_secondaries", "1")
	eth0.Add("192.0.2.1/24", "192.0.2.2/24", "198.51.100.1/24", "169.254.7.7/16")
	o.judged("192.0.2.1", "BKAF ok")
	if _, a := o.judged("192.0.2.2", "BKAF ok"); !a.Flags.Has(ifwatch.Secondary) || a.Flags.Has(ifwatch.Temporary) {
		t.Errorf("192.0.2.2 has flags %q", a.Flags.Names())
	}
	s, _ := o.judged("169.254.7.7", "BK-F link_local")
	o.checkBinds(s)
	eth0.Remove("192.0.2.1/24")
	o.await("192.0.2.2 is promoted", func(s *ifwatch.Snapshot) error {
		for _, a := range s.Addrs {
			if a.Addr.String() == "192.0.2.2" && !a.Flags.Has(ifwatch.Secondary) {
				return nil
			}
		}
		return fmt.Errorf("addresses %v", s.Addrs)
	})
	o.converges("promotion")
}

func TestKernelIPv6SwitchedOff(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	eth0.Add("192.0.2.1/24", "2001:db8::1/64")
	o := watch(t, host)
	o.judged("2001:db8::1", "BKAF ok")
	eth0.Conf("disable_ipv6", "1")
	o.judged("2001:db8::1", "")
	eth0.Conf("disable_ipv6", "0")
	eth0.Add("2001:db8::1/64")
	o.judged("2001:db8::1", "BKAF ok")
	eth0.MTU(1279) // too little for IPv6: RFC 8200 section 5
	o.judged("2001:db8::1", "")
	o.judged("192.0.2.1", "BKAF ok")
}

func TestKernelNoIPv6AtAll(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).Host("host")
	host.Sysctl("ipv6/conf/all/disable_ipv6", "1")
	host.Link("lo").Down()
	o := watch(t, host)
	s := o.w.Current()
	if !s.Complete || len(s.Links) == 0 {
		t.Errorf("complete %t, links %v", s.Complete, s.Links)
	}
	host.Link("lo").Up()
	o.judged("127.0.0.1", "BK-F loopback")
}

func TestKernelMovedToAnotherNamespace(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	host, other := lab.Host("host"), lab.Host("other")
	eth0, _ := lab.LooseCable(host, "eth0", other, "eth9")
	eth0.Up()
	eth0.Add("192.0.2.1/24")
	o := watch(t, host)
	o.judged("192.0.2.1", "---- no_carrier")
	link, err := host.Netlink().LinkByIndex(eth0.Index())
	if err != nil {
		t.Fatal(err)
	}
	ns := netlab.In(other, func() (int, error) { return unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	defer unix.Close(ns)
	if err := host.Netlink().LinkSetNsFd(link, ns); err != nil {
		t.Fatal(err)
	}
	o.judged("192.0.2.1", "")
	o.await("eth0 has gone", func(s *ifwatch.Snapshot) error {
		if l, ok := s.LinkNamed("eth0"); ok {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
}

func TestKernelBridgePortLeaves(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	bridge := host.Bridge("br0")
	bridge.Up()
	eth0.PlugInto(bridge)
	eth0.Add("192.0.2.1/24")
	o := watch(t, host)
	o.judged("192.0.2.1", "BKAF ok")
	eth0.Unplug() // RTM_DELLINK of family AF_BRIDGE, for eth0
	o.await("eth0 has no master", func(s *ifwatch.Snapshot) error {
		if l, ok := s.LinkNamed("eth0"); !ok || l.Master != 0 {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	o.judged("192.0.2.1", "BKAF ok")
	o.converges("unplug")
}

// read takes a reading of the host from the kernel itself.
func (o *observer) read() *ifwatch.Snapshot {
	o.t.Helper()
	return netlab.In(o.host, func() (*ifwatch.Snapshot, error) { return ifwatch.Read(o.t.Context()) })
}

// difference compares what events said with a reading of everything. It counts what the kernel changes silently:
//   - an address appears tentatively, or becomes tentative;
//   - the alternative names of a link that is down;
//   - that IPv6 ends on a link by disable_ipv6, but for its addresses.
//
// Everything else is an error.
func (o *observer) difference() (silent int, err error) {
	o.t.Helper()
	now, kernel := o.w.Current(), o.read()
	for i := range kernel.Links {
		if l, ok := now.Link(kernel.Links[i].Index); ok {
			silent += excuse(&kernel.Links[i], &l, kernel)
		}
	}
	var lines []string
	for _, c := range ifwatch.Diff(now, kernel) {
		if c.NewAddr != nil && c.NewAddr.Flags.Has(ifwatch.Tentative) {
			silent++
		} else {
			lines = append(lines, c.String())
		}
	}
	if silent == 0 && len(lines) == 0 && !slices.Equal(keys(now), keys(kernel)) {
		lines = append(lines, fmt.Sprintf("order %v -> %v", keys(now), keys(kernel)))
	}
	if len(lines) > 0 {
		return silent, fmt.Errorf("%d differences from snapshot to kernel: %s", len(lines), strings.Join(lines[:min(10, len(lines))], "; "))
	}
	return silent, nil
}

// excuse makes read what was seen where the kernel keeps silent.
func excuse(read, seen *ifwatch.Link, kernel *ifwatch.Snapshot) (silent int) {
	read.Changed = seen.Changed // a reading cannot know it
	if !seen.Up && !slices.Equal(read.AltNames, seen.AltNames) {
		read.AltNames = seen.AltNames
		silent++
	}
	has6 := slices.ContainsFunc(kernel.Addrs, func(a ifwatch.Addr) bool { return a.Link == read.Index && a.Addr.Is6() })
	if seen.In6Ready && !read.In6Ready && !has6 {
		read.In6Ready = true
		silent++
	}
	return silent
}

func keys(s *ifwatch.Snapshot) []ifwatch.Key {
	keys := make([]ifwatch.Key, len(s.Addrs))
	for i, a := range s.Addrs {
		keys[i] = a.Key
	}
	return keys
}

// converges waits until the snapshot equals the kernel's lists, and returns how long that took.
func (o *observer) converges(after string) time.Duration {
	o.t.Helper()
	began := time.Now()
	netlab.Await(o.t, "the snapshot equals the kernel's lists after "+after, func() error {
		_, err := o.difference()
		return err
	})
	return time.Since(began)
}
