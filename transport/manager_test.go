package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
	"github.com/gosipua/gosipua/internal/memnet"
)

func TestListensAnswersAndEnds(t *testing.T) { synctest.Test(t, testListensAnswersAndEnds) }

func testListensAnswersAndEnds(t *testing.T) {
	w := newWorld(t, nil)
	w.expect(
		"address_up  192.0.2.1:0", "address_up  [2001:db8::1]:0",
		"listener_up udp 192.0.2.1:5060", "listener_up tcp 192.0.2.1:5060",
		"listener_up udp [2001:db8::1]:5060", "listener_up tcp [2001:db8::1]:5060",
	)
	peer := w.peer("192.0.2.9:5070")
	w.write(peer, "192.0.2.1:5060", options("UDP", "192.0.2.9:5070;rport"))
	m := w.one()
	if err := m.Flow.Respond(t.Context(), answer(m)); err != nil {
		t.Fatal(err)
	}
	got, from := w.readFrom(peer)
	if from != addrPort("192.0.2.1:5060") || !strings.Contains(got, ";received=192.0.2.9;rport=5070\r\n") {
		t.Errorf("from %s:\n%s", from, got)
	}
	w.end()
	w.expect(
		"listener_down udp 192.0.2.1:5060", "listener_down tcp 192.0.2.1:5060",
		"listener_down udp [2001:db8::1]:5060", "listener_down tcp [2001:db8::1]:5060",
	)
	if s := w.m.Snapshot(); len(s.Addrs) != 0 {
		t.Errorf("after the end: %+v", s.Addrs)
	}
	if !isDown(m.Flow.Done()) || !errors.Is(m.Flow.Err(), net.ErrClosed) {
		t.Errorf("flow: %v", m.Flow.Err())
	}
	for name, err := range map[string]error{
		"Send":    m.Flow.Send(t.Context(), answer(m)),
		"Flow":    second(w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.9:5060")})),
		"Wait":    second(w.m.Wait(t.Context(), w.m.Snapshot().Gen)),
		"Resolve": second(w.m.Resolve(t.Context(), Query{Host: "192.0.2.9"})),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after the end: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Each change touches what it is about and nothing else: not one socket more is
// opened, and those that stay are the same ones.
func TestChangesTouchOnlyTheirOwn(t *testing.T) { synctest.Test(t, testChangesTouchOnlyTheirOwn) }

func testChangesTouchOnlyTheirOwn(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	w.told()
	opened := 0
	w.net.SetHooks(memnet.Hooks{Bind: func(string, netip.AddrPort) error { opened++; return nil }})
	third := ifwatchtest.Addr(2, "2001:db8::3/64")
	steps := []struct {
		name   string
		addrs  []ifwatch.Addr
		opened int
		events []string
	}{
		{"nothing new", usual(), 0, nil},
		{"a tentative address", append(usual(), ifwatchtest.Addr(2, "2001:db8::3/64", ifwatch.Tentative)), 0, nil},
		{
			"DAD has finished", append(usual(), third), 2,
			[]string{"address_up  [2001:db8::3]:0", "listener_up udp [2001:db8::3]:5060", "listener_up tcp [2001:db8::3]:5060"},
		},
		{
			"another address goes",
			[]ifwatch.Addr{usual()[1], third},
			0,
			[]string{"address_down  192.0.2.1:0", "listener_down udp 192.0.2.1:5060", "listener_down tcp 192.0.2.1:5060"},
		},
		{
			"and comes again while DAD fails for the third", append(usual(), ifwatchtest.Addr(2, "2001:db8::3/64", ifwatch.Tentative, ifwatch.DADFailed)), 2,
			[]string{
				"address_up  192.0.2.1:0", "address_down  [2001:db8::3]:0",
				"listener_down udp [2001:db8::3]:5060", "listener_down tcp [2001:db8::3]:5060",
				"listener_up udp 192.0.2.1:5060", "listener_up tcp 192.0.2.1:5060",
			},
		},
	}
	w.host.Add(addr("2001:db8::3"))
	for _, step := range steps {
		opened = 0
		w.set(step.addrs...)
		if opened != step.opened {
			t.Errorf("%s: %d sockets opened, want %d", step.name, opened, step.opened)
		}
		if got := w.told(); !slices.Equal(got, step.events) {
			t.Errorf("%s: events\n  %s\nwant\n  %s", step.name, strings.Join(got, "\n  "), strings.Join(step.events, "\n  "))
		}
	}
	if got := w.state("2001:db8::3"); !slices.Equal(got, []string{"udp:5060 waiting", "tcp:5060 waiting"}) {
		t.Errorf("failed address: %v", got)
	}
}

// An address that is not to be begun anything from keeps its open sockets as
// long as the policy says, and no new ones are opened.
func TestDrains(t *testing.T) { synctest.Test(t, testDrains) }

func testDrains(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	w.told()
	w.set(ifwatchtest.Addr(2, "192.0.2.1/24"), ifwatchtest.Addr(2, "2001:db8::1/64", ifwatch.Deprecated))
	w.expect("address_down  [2001:db8::1]:0")
	if got := w.state("2001:db8::1"); !slices.Equal(got, []string{"udp:5060 draining", "tcp:5060 draining"}) {
		t.Errorf("deprecated: %v", got)
	}
	_, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("[2001:db8::9]:5060")})
	if !errors.Is(err, ErrNoAddress) {
		t.Errorf("new flow from a deprecated address: %v", err)
	}
	f, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("[2001:db8::9]:5060"), Local: addr("2001:db8::1")})
	if err != nil || f.Local() != addrPort("[2001:db8::1]:5060") {
		t.Errorf("pinned flow from a deprecated address: %v, %v", f, err)
	}
	w.set(usual()...)
	if got := w.state("2001:db8::1"); !slices.Equal(got, []string{"udp:5060 listening", "tcp:5060 listening"}) {
		t.Errorf("preferred again: %v", got)
	}
	w.expect("flow_up udp [2001:db8::1]:5060 > [2001:db8::9]:5060", "address_up  [2001:db8::1]:0")

	noCarrier := ifwatchtest.Link(2, "eth0")
	noCarrier.LowerUp, noCarrier.Running, noCarrier.Oper = false, false, ifwatch.OperDown
	w.links.Set([]ifwatch.Link{noCarrier}, usual())
	w.expect("address_down  192.0.2.1:0", "address_down  [2001:db8::1]:0")
	if got := w.state("192.0.2.1"); !slices.Equal(got, []string{"udp:5060 draining", "tcp:5060 draining"}) {
		t.Errorf("no carrier: %v", got)
	}
	time.Sleep(29 * time.Second)
	w.expect()
	time.Sleep(2 * time.Second) // nothing but the time changes
	w.expect(
		"listener_down udp 192.0.2.1:5060", "listener_down tcp 192.0.2.1:5060",
		"flow_down udp [2001:db8::1]:5060 > [2001:db8::9]:5060",
		"listener_down udp [2001:db8::1]:5060", "listener_down tcp [2001:db8::1]:5060",
	)
	if !errors.Is(f.Err(), ErrAddressGone) {
		t.Errorf("flow: %v", f.Err())
	}
}

// A port in use fails one listener; the others listen; it is shown with its
// number, logged once and then every ten minutes, and taken once it is free.
func TestPortInUse(t *testing.T) { synctest.Test(t, testPortInUse) }

func testPortInUse(t *testing.T) {
	host := memnet.New().Host(addr("192.0.2.1"), addr("2001:db8::1"))
	taken, err := host.ListenPacket(t.Context(), addrPort("192.0.2.1:5060"), "")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { c.Network = host })
	defer w.end()
	for local, want := range map[string][]string{
		"192.0.2.1":   {"udp:5060 failed", "tcp:5060 listening"},
		"2001:db8::1": {"udp:5060 listening", "tcp:5060 listening"},
	} {
		if got := w.state(local); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", local, got, want)
		}
	}
	failed := w.m.Snapshot().Addrs[0]
	l := failed.Listeners[0]
	if !errors.Is(l.Err, syscall.EADDRINUSE) || !strings.HasPrefix(l.Err.Error(), "listen udp 192.0.2.1:5060: address already in use (98)") {
		t.Errorf("error %v", l.Err)
	}
	if !failed.Verdict.Bind || l.Retry.IsZero() {
		t.Errorf("the address is not at fault: %+v, retry %s", failed.Verdict, l.Retry)
	}
	time.Sleep(25*time.Minute + 5*time.Second)
	if n := strings.Count(w.logged(), `msg="not listening"`); n != 3 {
		t.Errorf("logged %d times in 25 minutes, want 3:\n%s", n, w.logged())
	}
	w.told()
	taken.Close()
	start := time.Now()
	for w.state("192.0.2.1")[0] != "udp:5060 listening" && time.Since(start) < time.Minute {
		time.Sleep(10 * time.Millisecond)
	}
	if d := time.Since(start); d > maxRetryInUse+20*time.Millisecond {
		t.Errorf("listening after %s", d)
	}
	w.expect("listener_up udp 192.0.2.1:5060")
}

// A kernel that refuses an address although nothing speaks against it: shown as
// bind_refused, tried again soon, less often later, and at once after news.
func TestAddressRefused(t *testing.T) { synctest.Test(t, testAddressRefused) }

func testAddressRefused(t *testing.T) {
	net := memnet.New()
	host := net.Host(addr("192.0.2.1"))
	var tries []time.Time
	net.SetHooks(memnet.Hooks{Bind: func(network string, local netip.AddrPort) error {
		if network == "udp" && local.Addr().Is6() {
			tries = append(tries, time.Now())
		}
		return nil
	}})
	w := newWorld(t, func(c *Config) { c.Network = host })
	defer w.end()
	a := w.m.Snapshot().Addrs[1]
	if v := a.Verdict; v.Bind || v.Advertise || v.NewFlows || v.Reason != ifwatch.ReasonBindRefused {
		t.Errorf("verdict %+v", v)
	}
	if !strings.Contains(a.Why, "cannot assign requested address (99)") {
		t.Errorf("why: %s", a.Why)
	}
	time.Sleep(30 * time.Second)
	synctest.Wait()
	var waits []time.Duration
	for i := range tries[1:] {
		waits = append(waits, tries[i+1].Sub(tries[i]))
	}
	const ms = time.Millisecond
	if want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms}; !slices.Equal(waits[:7], want) {
		t.Errorf("tried after %v, want %v", waits, want)
	}
	host.Add(addr("2001:db8::1"))
	n := len(tries)
	w.set(usual()...)
	if len(tries) != n+1 || !slices.Equal(w.state("2001:db8::1"), []string{"udp:5060 listening", "tcp:5060 listening"}) {
		t.Errorf("after news: %d tries, %v", len(tries)-n, w.state("2001:db8::1"))
	}
	if v := w.m.Snapshot().Addrs[1].Verdict; v.Reason != ifwatch.ReasonOK {
		t.Errorf("verdict %+v", v)
	}
}

func TestForbiddenPort(t *testing.T) { synctest.Test(t, testForbiddenPort) }

func testForbiddenPort(t *testing.T) {
	net := memnet.New()
	host := net.Host(addr("192.0.2.1"))
	net.SetHooks(memnet.Hooks{Bind: func(string, netip.AddrPort) error { return syscall.EACCES }})
	w := newWorld(t, func(c *Config) {
		c.Network = host
		c.Listen = []Listen{{Proto: UDP, Port: 53}, {Proto: UDP, Port: 5060}}
	})
	defer w.end()
	for i, want := range []string{
		"listen udp 192.0.2.1:53: permission denied (13): a port below 1024 needs CAP_NET_BIND_SERVICE",
		"listen udp 192.0.2.1:5060: permission denied (13)",
	} {
		if got := w.m.Snapshot().Addrs[0].Listeners[i].Err; got == nil || got.Error() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// The same address on two links is one listener, which stays while one of them
// has it. A link-local one is two.
func TestAddressOnTwoLinks(t *testing.T) { synctest.Test(t, testAddressOnTwoLinks) }

func testAddressOnTwoLinks(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Listen = []Listen{{Proto: UDP, Port: 5060}} })
	defer w.end()
	w.host.Add(addr("fe80::1%2"))
	w.host.Add(addr("fe80::1%3"))
	w.told()
	global, ll2, ll3 := ifwatchtest.Addr(2, "192.0.2.1/24"), ifwatchtest.Addr(2, "fe80::1/64"), ifwatchtest.Addr(3, "fe80::1/64")
	w.set(global, ifwatchtest.Addr(3, "192.0.2.1/32"), ll2, ll3)
	w.expect(
		"address_down  [2001:db8::1]:0", "address_up  [fe80::1%2]:0", "address_up  [fe80::1%3]:0",
		"listener_down udp [2001:db8::1]:5060",
		"listener_up udp [fe80::1%2]:5060", "listener_up udp [fe80::1%3]:5060",
	)
	var shown []string
	for _, s := range w.m.Snapshot().Addrs {
		shown = append(shown, s.Local.String())
	}
	if want := []string{"192.0.2.1", "fe80::1%eth0", "192.0.2.1", "fe80::1%eth1"}; !slices.Equal(shown, want) {
		t.Errorf("shown %v, want %v", shown, want)
	}
	f, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5060")})
	if err != nil || f.Interface() != "eth0" {
		t.Fatalf("%v on %q, %v", f, f.Interface(), err)
	}
	w.set(ifwatchtest.Addr(3, "192.0.2.1/32"), ll3) // the address has moved to eth1
	w.expect("flow_up udp 192.0.2.1:5060 > 192.0.2.9:5060", "address_down  [fe80::1%2]:0", "listener_down udp [fe80::1%2]:5060")
	if f.Interface() != "eth1" || f.Err() != nil {
		t.Errorf("on %q, %v", f.Interface(), f.Err())
	}
}

// Of two entries of the same address the better one counts.
func TestBetterEntryCounts(t *testing.T) { synctest.Test(t, testBetterEntryCounts) }

func testBetterEntryCounts(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Listen = []Listen{{Proto: UDP, Port: 5060}} })
	defer w.end()
	w.told()
	const a = "2001:db8::1/64"
	tentative, deprecated, good := ifwatchtest.Addr(2, a, ifwatch.Tentative), ifwatchtest.Addr(3, a, ifwatch.Deprecated), ifwatchtest.Addr(3, a)
	for _, step := range []struct {
		addrs []ifwatch.Addr
		state State
		link  string
	}{
		{[]ifwatch.Addr{tentative, good}, Listening, "eth1"},
		{[]ifwatch.Addr{tentative, deprecated}, Draining, "eth1"},
		{[]ifwatch.Addr{ifwatchtest.Addr(2, a), deprecated}, Listening, "eth0"},
		{[]ifwatch.Addr{tentative}, Waiting, "eth0"},
	} {
		w.set(step.addrs...)
		for _, s := range w.m.Snapshot().Addrs {
			if s.Listeners[0].State != step.state {
				t.Errorf("%v: %s", step.addrs, s.Listeners[0].State)
			}
		}
		if s := w.m.view.Load().at[addr("2001:db8::1")]; s.iface != step.link {
			t.Errorf("%v: on %s, want %s", step.addrs, s.iface, step.link)
		}
	}
	w.expect(
		"address_down  192.0.2.1:0", "listener_down udp 192.0.2.1:5060",
		"address_down  [2001:db8::1]:0", "address_up  [2001:db8::1]:0",
		"address_down  [2001:db8::1]:0", "listener_down udp [2001:db8::1]:5060",
	)
}

// A socket that is bound to its interface does not follow the address to
// another one; it is opened anew.
func TestPinnedAddressMoves(t *testing.T) { synctest.Test(t, testPinnedAddressMoves) }

func testPinnedAddressMoves(t *testing.T) {
	patterns, err := ifwatch.ParsePatterns([]string{"eth*"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) {
		c.Listen = []Listen{{Proto: UDP, Port: 5060}}
		c.Policy.Interfaces = patterns
	})
	defer w.end()
	w.told()
	w.set(ifwatchtest.Addr(3, "192.0.2.1/24"), usual()[1])
	w.expect("listener_down udp 192.0.2.1:5060", "listener_up udp 192.0.2.1:5060")
}

func TestRetriesClosedSockets(t *testing.T) { synctest.Test(t, testRetriesClosedSockets) }

// A socket that somebody else closed is opened again.
func testRetriesClosedSockets(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	w.told()
	for _, network := range []string{"udp", "tcp"} {
		w.host.Inject(network, addrPort("192.0.2.1:5060"), &net.OpError{Op: "read", Err: net.ErrClosed})
		w.expect("listener_down "+network+" 192.0.2.1:5060", "listener_up "+network+" 192.0.2.1:5060")
	}
}

// What a UDP read or an accept reports is about one datagram or connection.
func TestReadErrorsEndNothing(t *testing.T) { synctest.Test(t, testReadErrorsEndNothing) }

func testReadErrorsEndNothing(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	w.told()
	for range 20 {
		w.host.Inject("udp", addrPort("192.0.2.1:5060"), syscall.ECONNREFUSED)
		w.host.Inject("tcp", addrPort("192.0.2.1:5060"), syscall.EMFILE)
	}
	time.Sleep(time.Minute)
	w.expect()
	w.write(w.peer("192.0.2.9:5060"), "192.0.2.1:5060", options("UDP", "192.0.2.9"))
	w.one()
	conn := w.dial("192.0.2.8", "192.0.2.1:5060")
	w.send(conn, strings.Replace(options("TCP", "192.0.2.8"), "c1", "c2", 1))
	w.one()
	if s := w.m.Stats(); s.ReadErrors != 20 || s.AcceptErrors != 20 || s.Received != 2 {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(w.logged(), "accepting a connection"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestWaitsForWhatIsMissing(t *testing.T) { synctest.Test(t, testWaitsForWhatIsMissing) }

func testWaitsForWhatIsMissing(t *testing.T) {
	patterns, err := ifwatch.ParsePatterns([]string{"eth0", "wwan0"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) {
		c.Listen = []Listen{{Proto: UDP, Port: 5060}, {Proto: TCP, Addr: addr("198.51.100.1"), Port: 5062}}
		c.Policy.Interfaces = patterns
	})
	defer w.end()
	var got []string
	for _, s := range w.m.Snapshot().Addrs {
		got = append(got, fmt.Sprint(s.Local, " ", s.Interface, " ", s.Verdict.Reason, " ", listenerText(s.Listeners)))
	}
	want := []string{
		"192.0.2.1 eth0 ok [udp:5060 listening]",
		"2001:db8::1 eth0 ok [udp:5060 listening]",
		"invalid IP wwan0 interface_missing [udp:5060 waiting]",
		"198.51.100.1  address_missing [tcp:5062 waiting]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	w.told()
	w.host.Add(addr("198.51.100.1"))
	w.set(append(usual(), ifwatchtest.Addr(2, "198.51.100.1/24"))...)
	w.expect("address_up  198.51.100.1:0", "listener_up udp 198.51.100.1:5060", "listener_up tcp 198.51.100.1:5062")
}

func TestEphemeralPorts(t *testing.T) { synctest.Test(t, testEphemeralPorts) }

func testEphemeralPorts(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Listen = []Listen{{Proto: UDP}, {Proto: TCP}, {Proto: UDP}} })
	defer w.end()
	for _, s := range w.m.Snapshot().Addrs {
		if len(s.Listeners) != 2 || s.Listeners[0].Port == 0 || s.Listeners[1].Port == 0 {
			t.Errorf("%s: %+v", s.Local, s.Listeners)
		}
	}
}

// Snapshots count up, and a waiter sees the newest.
func TestWait(t *testing.T) { synctest.Test(t, testWait) }

func testWait(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	first := w.m.Snapshot()
	if first.Gen != 1 {
		t.Errorf("first generation %d", first.Gen)
	}
	next := make(chan *Snapshot)
	go func() {
		s, _ := w.m.Wait(t.Context(), first.Gen)
		next <- s
	}()
	synctest.Wait()
	w.set(usual()[:1]...)
	if s := <-next; s.Gen <= first.Gen || len(s.Addrs) != 1 || s.Links.Gen <= first.Links.Gen {
		t.Errorf("generation %d with %d addresses", s.Gen, len(s.Addrs))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := w.m.Wait(ctx, w.m.Snapshot().Gen); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// Whoever is told of events may take its time and may call the Manager.
func TestSlowEvents(t *testing.T) { synctest.Test(t, testSlowEvents) }

func testSlowEvents(t *testing.T) {
	made := make(chan *world, 1)
	w := newWorld(t, func(c *Config) {
		c.Event = func(e Event) {
			time.Sleep(time.Second)
			w := <-made
			made <- w
			_, _ = w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5060")})
			w.event(e)
		}
	})
	made <- w
	time.Sleep(time.Minute)
	if got := w.told(); len(got) != 7 || got[6] != "flow_up udp 192.0.2.1:5060 > 192.0.2.9:5060" {
		t.Errorf("got %v", got)
	}
	w.set(usual()[:1]...)
	w.end()
	if got := w.told(); len(got) != 6 || got[0] != "address_down  [2001:db8::1]:0" {
		t.Errorf("got %v", got)
	}
}

func TestEventsAreBounded(t *testing.T) {
	tell := teller{wake: make(chan struct{}, 1)}
	for range maxEvents + 10 {
		tell.tell(Event{Kind: FlowUp, Flow: &Flow{}})
	}
	tell.tell(Event{Kind: AddressDown})
	var got []Event
	done := make(chan struct{})
	close(done)
	tell.run(func(e Event) { got = append(got, e) }, done)
	if len(got) != maxEvents+1 || got[maxEvents].Kind != AddressDown || tell.lost() != 10 {
		t.Errorf("%d events, %d lost", len(got), tell.lost())
	}
}

// What an event tells of can be used at once, and nothing is published when
// nothing has changed.
func TestEventsComeAfterTheView(t *testing.T) { synctest.Test(t, testEventsComeAfterTheView) }

func testEventsComeAfterTheView(t *testing.T) {
	made := make(chan *world, 1)
	failed := 0
	w := newWorld(t, func(c *Config) {
		c.Event = func(e Event) {
			w := <-made
			made <- w
			if e.Kind != AddressUp {
				return
			}
			if _, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5060"), Local: e.Local.Addr()}); err != nil && e.Local.Addr().Is4() {
				failed++
			}
		}
	})
	made <- w
	defer w.end()
	synctest.Wait()
	for range 20 {
		w.set(usual()[1:]...)
		w.set(usual()...)
	}
	if failed != 0 {
		t.Errorf("%d times no flow right after address_up", failed)
	}
	gen := w.m.Snapshot().Gen
	time.Sleep(time.Hour)
	if now := w.m.Snapshot().Gen; now != gen {
		t.Errorf("%d snapshots in a quiet hour", now-gen)
	}
}

// Without links nothing is known, and everything that asks waits for that.
func TestBeforeTheFirstSnapshot(t *testing.T) { synctest.Test(t, testBeforeTheFirstSnapshot) }

func testBeforeTheFirstSnapshot(t *testing.T) {
	links := ifwatchtest.NewSource()
	m := New(Config{Links: links, Network: memnet.New().Host()})
	if s := m.Snapshot(); s.Gen != 0 || s.Links == nil {
		t.Errorf("%+v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := m.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
	if _, err := m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5060")}); !errors.Is(err, ErrClosed) {
		t.Errorf("Flow: %v", err)
	}
}
