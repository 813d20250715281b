package ifwatch

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func prefixed(link int, prefix string, flags Flags, scope Scope) Addr {
	p := netip.MustParsePrefix(prefix)
	return Addr{Key: Key{Link: link, Addr: p.Addr(), Bits: p.Bits()}, Flags: flags, Scope: scope}
}

// TestKernelOrder has the orders that `ip addr` showed on Linux 6.18 after adding the addresses in the order given.
func TestKernelOrder(t *testing.T) {
	type entry struct {
		prefix string
		flags  Flags
		scope  Scope
	}
	for _, c := range []struct {
		name  string
		added []entry
		want  []string
	}{
		{
			"IPv6: by scope, the newest first",
			[]entry{{"fe80::1/64", 0, ScopeLink}, {"2001:db8::1/64", 0, 0}, {"fec0::1/64", 0, ScopeSite}, {"2001:db8::2/64", 0, 0}, {"fe80::2/64", 0, ScopeLink}, {"fd00::1/64", 0, 0}},
			[]string{"fd00::1", "2001:db8::2", "2001:db8::1", "fec0::1", "fe80::2", "fe80::1"},
		},
		{
			"IPv4: primaries first, each behind those of no lesser scope",
			[]entry{{"192.0.2.1/24", 0, 0}, {"192.0.2.2/24", Secondary, 0}, {"198.51.100.1/24", 0, 0}, {"169.254.1.1/16", 0, ScopeLink}, {"198.51.100.2/24", Secondary, 0}, {"203.0.113.1/24", 0, 0}},
			[]string{"169.254.1.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.0.2.2", "198.51.100.2"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tab table
			tab.setLink(Link{Index: 1}, time.Now())
			for _, e := range c.added {
				tab.setAddr(prefixed(1, e.prefix, e.flags, e.scope), time.Now())
			}
			var got []string
			for _, a := range tab.snapshot(time.Now()).Addrs {
				got = append(got, a.Addr.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("order %v, want %v", got, c.want)
			}
		})
	}
}

// TestSnapshotIsACopy: nobody sees the table change.
func TestSnapshotIsACopy(t *testing.T) {
	var tab table
	now := time.Now()
	a := prefixed(1, "2001:db8::1/64", Tentative, 0)
	tab.setLink(Link{Index: 1, Name: "eth0"}, now)
	tab.setAddr(a, now)
	tab.noteGone(prefixed(1, "2001:db8::2/64", DADFailed, 0), now)
	before := tab.snapshot(now)
	a.Flags = 0
	tab.setAddr(a, now)
	tab.doubtAddrs(1)
	tab.setLink(Link{Index: 1, Name: "lan0"}, now)
	tab.setAddr(prefixed(1, "2001:db8::2/64", 0, 0), now)
	if before.Links[0].Name != "eth0" || len(before.Addrs) != 1 || before.Addrs[0].Flags != Tentative || before.Addrs[0].Unsure || len(before.Gone) != 1 {
		t.Errorf("the old snapshot changed: %+v", before)
	}
}

func TestUnknownLinkIsLeftOut(t *testing.T) {
	var tab table
	now := time.Now()
	a := prefixed(9, "2001:db8::1/64", DADFailed, 0)
	set, _ := tab.setAddr(a, now)
	in6, _ := tab.setIn6(9, true, 0, now)
	for name, e := range map[string]effect{
		"setAddr": set, "setIn6": in6, "deleteAddr": tab.deleteAddr(a, now), "deleteLink": tab.deleteLink(9),
		"replaceAddrs": tab.replaceAddrs(9, Inet6, []Addr{a}, now), "mergeAddrs": tab.mergeAddrs(9, Inet6, []Addr{a}, now),
		"doubtAddrs": tab.doubtAddrs(9),
	} {
		if e != same {
			t.Errorf("%s of an unknown link had effect %d", name, e)
		}
	}
	if n := tab.unexplained(9, Inet6, []Addr{a}); n != 0 || len(tab.gone) != 0 {
		t.Errorf("%d differences, %d gone", n, len(tab.gone))
	}
}

func TestDiff(t *testing.T) {
	eth0 := Link{Index: 2, Name: "eth0", Up: true, LowerUp: true, Oper: OperUp}
	lan0 := eth0
	lan0.Name, lan0.LowerUp, lan0.Oper = "lan0", false, OperDown
	a := prefixed(2, "2001:db8::1/64", Tentative, 0)
	b := prefixed(2, "192.0.2.1/24", 0, 0)
	now := a
	now.Flags = 0
	extended := b
	extended.ValidUntil = time.Now()
	unsure := b
	unsure.Unsure = true
	for _, c := range []struct {
		name     string
		from, to Snapshot
		want     []string
	}{
		{"nothing", Snapshot{Links: []Link{eth0}}, Snapshot{Links: []Link{eth0}}, nil},
		{
			"everything is new",
			Snapshot{},
			Snapshot{Links: []Link{eth0}, Addrs: []Addr{a}},
			[]string{"link eth0: new, up, carrier, up", "address 2001:db8::1/64 on eth0: new, tentative"},
		},
		{
			"everything goes",
			Snapshot{Links: []Link{eth0}, Addrs: []Addr{a}},
			Snapshot{},
			[]string{"link eth0: deleted", "address 2001:db8::1/64 on eth0: deleted"},
		},
		{
			"DAD ends, another comes, a third goes",
			Snapshot{Links: []Link{eth0}, Addrs: []Addr{b, a}},
			Snapshot{Links: []Link{eth0}, Addrs: []Addr{now}},
			[]string{"address 2001:db8::1/64 on eth0: tentative -> plain", "address 192.0.2.1/24 on eth0: deleted"},
		},
		{
			"renamed without carrier",
			Snapshot{Links: []Link{eth0}},
			Snapshot{Links: []Link{lan0}},
			[]string{"link eth0 (now lan0): up, carrier, up -> up, no carrier, down"},
		},
		{"a lifetime", Snapshot{Addrs: []Addr{b}}, Snapshot{Addrs: []Addr{extended}}, nil},
		{
			"unsure",
			Snapshot{Links: []Link{eth0}, Addrs: []Addr{b}},
			Snapshot{Links: []Link{eth0}, Addrs: []Addr{unsure}},
			[]string{"address 192.0.2.1/24 on eth0: plain -> unsure"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, d := range Diff(&c.from, &c.to) {
				got = append(got, d.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// script is a system that is polled.
type script struct {
	readings []reading
	errs     []error
	reads    int
}

func (s *script) read(context.Context) (reading, error) {
	i := min(s.reads, len(s.readings)-1)
	s.reads++
	return s.readings[i], s.errs[i]
}

func TestPoll(t *testing.T) { synctest.Test(t, testPoll) }

func testPoll(t *testing.T) {
	up := Link{Index: 2, Name: "eth0", Up: true, LowerUp: true, In6Ready: true}
	down := up
	down.LowerUp, down.Oper = false, OperDown
	a, b := prefixed(2, "2001:db8::1/64", Tentative, 0), prefixed(2, "192.0.2.1/24", 0, 0)
	valid := a
	valid.Flags = 0
	s := &script{
		readings: []reading{
			{links: []Link{up}, addrs: []Addr{b, a}, sure: true, source: "netlink"}, // whose groups are refused
			{links: []Link{up}, addrs: []Addr{b, valid}, sure: true, source: "poll"},
			{},
			{links: []Link{down}, addrs: []Addr{b}, source: "poll"}, // not sure: what is missing may exist
			{links: []Link{down}, addrs: []Addr{b}, sure: true, source: "poll"},
		},
		errs: []error{nil, nil, fmt.Errorf("no descriptors"), nil, nil},
	}
	w := New(Config{Poll: time.Second})
	go func() { _ = (&feed{w: w}).poll(t.Context(), s.read, time.Time{}) }()
	for i, want := range []struct {
		after    time.Duration
		complete bool
		addrs    int
		state    string
	}{
		{0, true, 2, "tentative"},
		{pollFast, true, 2, "plain"}, // asked again soon, because DAD ran
		{time.Second, false, 2, "plain"},
		{time.Second, false, 2, "unsure"},
		{time.Second, true, 1, "plain"},
	} {
		time.Sleep(want.after)
		synctest.Wait()
		got := w.Current()
		if got.Complete != want.complete || len(got.Addrs) != want.addrs || addrState(&got.Addrs[len(got.Addrs)-1]) != want.state || got.Source != "poll" {
			t.Errorf("reading %d: complete %t, %d addresses, the last %s; want %+v", i, got.Complete, len(got.Addrs), addrState(&got.Addrs[len(got.Addrs)-1]), want)
		}
	}
	if l, _ := w.Current().Link(2); time.Since(l.Changed) != time.Second {
		t.Errorf("carrier changed %v ago, want 1s", time.Since(l.Changed))
	}
	gen := w.Current().Gen
	time.Sleep(time.Minute)
	if now := w.Current().Gen; now != gen {
		t.Errorf("generation %d after a quiet minute, want %d", now, gen)
	}
}

func TestPollGivesWay(t *testing.T) { synctest.Test(t, testPollGivesWay) }

func testPollGivesWay(t *testing.T) {
	s := &script{readings: []reading{{sure: true}}, errs: []error{nil}}
	began := time.Now()
	f := &feed{w: New(Config{})}
	if err := f.poll(t.Context(), s.read, began.Add(time.Minute)); err != nil {
		t.Errorf("poll: %v", err)
	}
	if took := time.Since(began); took < time.Minute || took > time.Minute+defaultPoll {
		t.Errorf("it tried something better after %v, want a minute", took)
	}
}
