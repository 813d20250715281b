package ifwatch

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func testLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

const global = "2001:db8::1/64"

// inBubble runs f as a subtest in a bubble of its own, with a fake kernel and a Watcher that has seen it.
func inBubble(t *testing.T, name string, f func(t *testing.T, k *fakeKernel, w *Watcher)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := newFakeKernel()
			f(t, k, k.start(t))
		})
	})
}

// settled returns the snapshot after everything that happens at this moment.
func settled(w *Watcher) *Snapshot {
	synctest.Wait()
	return w.Current()
}

func flagsNow(t *testing.T, w *Watcher, key Key) Flags {
	t.Helper()
	for _, a := range settled(w).Addrs {
		if a.Key == key {
			return a.Flags
		}
	}
	t.Fatalf("no address %s on link %d", key.Prefix(), key.Link)
	return 0
}

func TestFollow(t *testing.T) {
	inBubble(t, "the first snapshot is what was dumped", testFirst)
	inBubble(t, "DAD ends", testDADEnds)
	inBubble(t, "link down, up, renamed, deleted and its index reused", testLinkLife)
	inBubble(t, "a bridge port leaves", testBridgePort)
	inBubble(t, "a wireless event", testWireless)
	inBubble(t, "IPv6 becomes ready by an event of its own", testIn6Ready)
	inBubble(t, "garbage", testGarbage)
	inBubble(t, "DELADDR of a tentative address", testDeleteTentative)
	inBubble(t, "two entries of one address", testTwoEntries)
	inBubble(t, "IPv4 promotes a secondary", testPromotion)
	inBubble(t, "addresses whose DAD ends in another order than it began", testOutOfTurn)
}

func testFirst(t *testing.T, k *fakeKernel, w *Watcher) {
	k.check(t, w)
	if s := w.Current(); s.Gen != 1 || s.Source != "netlink" {
		t.Errorf("generation %d from %q", s.Gen, s.Source)
	}
}

func testDADEnds(t *testing.T, k *fakeKernel, w *Watcher) {
	began := time.Now()
	a := address(2, global, Tentative, Permanent)
	k.setAddr(a)
	if f := flagsNow(t, w, a.Key); f != Tentative|Permanent {
		t.Errorf("flags %q", f.Names())
	}
	a.Flags = Permanent
	k.setAddr(a)
	k.check(t, after0(t, w, began))
	if gen := w.Current().Gen; gen != 3 {
		t.Errorf("%d snapshots, want one per change and the first", gen)
	}
	k.setAddr(a)
	if gen := settled(w).Gen; gen != 3 {
		t.Errorf("generation %d after an event that changed nothing, want 3", gen)
	}
}

// after0 checks that no time has passed: publishing is never delayed.
func after0(t *testing.T, w *Watcher, began time.Time) *Watcher {
	t.Helper()
	synctest.Wait()
	if d := time.Since(began); d != 0 {
		t.Errorf("it took %v", d)
	}
	return w
}

func testLinkLife(t *testing.T, k *fakeKernel, w *Watcher) {
	began := time.Now()
	k.setAddr(address(2, "192.0.2.1/24"))
	l := ethernet(2, "eth0")
	l.LowerUp, l.Running, l.Oper = false, false, OperDown
	time.Sleep(time.Second)
	lost := time.Now()
	k.setLink(l)
	k.check(t, after0(t, w, lost))
	if got, _ := w.Current().Link(2); !got.Changed.Equal(lost) || got.Carrier() {
		t.Errorf("changed at %v with carrier %t, want %v without", got.Changed, got.Carrier(), lost)
	}
	time.Sleep(time.Second)
	l.Up, l.In6Ready = false, false
	k.setLink(l)
	if got, _ := settled(w).Link(2); !got.Changed.Equal(lost) {
		t.Errorf("switched off %v after carrier was lost: changed %v after", time.Since(lost), got.Changed.Sub(began))
	}
	l.Name, l.AltNames = "lan0", []string{"enp1s0"}
	k.setLink(l)
	k.check(t, after0(t, w, time.Now()))
	k.deleteLink(2)
	if s := settled(w); len(s.Links) != 1 || len(s.Addrs) != 2 {
		t.Errorf("after deletion: %d links, %v", len(s.Links), s.Addrs)
	}
	k.setLink(ethernet(2, "wlan0"))
	k.check(t, after0(t, w, time.Now()))
	if got, ok := w.Current().LinkNamed("wlan0"); !ok || !got.Changed.IsZero() {
		t.Errorf("a new link with an old index inherits: %+v", got)
	}
}

func testBridgePort(t *testing.T, k *fakeKernel, w *Watcher) {
	k.setAddr(address(2, global))
	k.send(linkEvent(unix.RTM_DELLINK, unix.AF_BRIDGE, ethernet(2, "eth0")))
	k.check(t, after0(t, w, time.Now()))
}

func testWireless(t *testing.T, k *fakeKernel, w *Watcher) {
	// It has the flags and the name, nothing else, and must not make the rest 0.
	b := linkEvent(unix.RTM_NEWLINK, unix.AF_UNSPEC, ethernet(2, "eth0"))
	m, _, _ := nextMessage(b)
	body := appendAttr(slices.Clone(m.body[:unix.SizeofIfInfomsg]), unix.IFLA_WIRELESS, []byte{1, 2, 3, 4})
	k.send(appendRequest(nil, unix.RTM_NEWLINK, 0, 0, body))
	k.check(t, after0(t, w, time.Now()))
}

func testIn6Ready(t *testing.T, k *fakeKernel, w *Watcher) {
	l := ethernet(2, "eth0")
	for _, ready := range []bool{false, true} {
		l.In6Ready = ready
		k.mu.Lock()
		k.links[2] = l
		typ := uint16(unix.RTM_NEWLINK)
		if !ready {
			typ = unix.RTM_DELLINK
		}
		k.report(linkEvent(typ, unix.AF_INET6, ethernet(2, "eth0")))
		k.mu.Unlock()
		k.check(t, after0(t, w, time.Now()))
	}
}

func testGarbage(t *testing.T, k *fakeKernel, w *Watcher) {
	whole := addrEvent(unix.RTM_NEWADDR, address(2, global))
	for _, b := range [][]byte{
		{},
		{1},
		whole[:len(whole)-1],
		whole[:unix.NLMSG_HDRLEN],
		appendRequest(nil, unix.RTM_NEWADDR, 0, 0, nil),
		appendRequest(nil, unix.RTM_NEWLINK, 0, 0, []byte{1, 2, 3}),
		appendRequest(nil, unix.RTM_NEWADDR, 0, 0, []byte{unix.AF_INET6, 200, 0, 0, 2, 0, 0, 0}),
		appendRequest(nil, 9999, 0, 0, nil),
	} {
		k.send(b)
	}
	k.check(t, after0(t, w, time.Now()))
}

func testDeleteTentative(t *testing.T, k *fakeKernel, w *Watcher) {
	// Programs that drop all messages with TENTATIVE keep such an address for ever.
	a := address(2, global, Permanent)
	k.setAddr(a)
	synctest.Wait()
	a.Flags |= Tentative
	k.deleteAddr(a)
	k.check(t, after0(t, w, time.Now()))
}

func testTwoEntries(t *testing.T, k *fakeKernel, w *Watcher) {
	k.setLink(ethernet(3, "eth1"))
	for _, a := range []Addr{address(2, "fe80::1/64"), address(3, "fe80::1/64"), address(2, global), address(2, "2001:db8::1/128")} {
		k.setAddr(a)
	}
	k.deleteAddr(address(2, global))
	k.deleteAddr(address(3, "fe80::1/64"))
	k.check(t, after0(t, w, time.Now()))
	if n := len(w.Current().Addrs); n != 4 {
		t.Errorf("%d addresses, want those of loopback and two", n)
	}
}

func testPromotion(t *testing.T, k *fakeKernel, w *Watcher) {
	k.setAddr(address(2, "198.51.100.1/24"))
	k.setAddr(address(2, "192.0.2.1/24"))
	k.setAddr(address(2, "198.51.100.2/24", Secondary))
	k.setAddr(address(2, "192.0.2.2/24", Secondary))
	k.deleteAddr(address(2, "192.0.2.1/24"))
	k.deleteSilently(address(2, "192.0.2.2/24").Key)
	k.setAddr(address(2, "192.0.2.2/24")) // the kernel puts it behind the last primary
	k.check(t, after0(t, w, time.Now()))
}

func testOutOfTurn(t *testing.T, k *fakeKernel, w *Watcher) {
	// As of router advertisements, which the kernel does not announce before DAD is over.
	first, second, third := address(2, "2001:db8::1/64"), address(2, "2001:db8::2/64", Temporary), address(2, "2001:db8:a::3/64")
	for _, a := range []Addr{first, second, third} {
		k.setSilently(a)
	}
	for _, a := range []Addr{second, third, first} {
		k.send(addrEvent(unix.RTM_NEWADDR, a))
		synctest.Wait()
	}
	k.check(t, after0(t, w, time.Now()))
}

func TestSilentTransitions(t *testing.T) {
	inBubble(t, "kept addresses become tentative when the link goes down", testKeptAddress)
	inBubble(t, "kept addresses become tentative after the report", testKeptAddressLate)
	inBubble(t, "a tentative address appears in the minute's check", testSilentTentative)
	inBubble(t, "what nobody reported is corrected and counted", testCorrection)
	inBubble(t, "what is on its way is no correction", testNoCorrection)
	inBubble(t, "a lifetime ends and nobody says so", testSilentExpiry)
	inBubble(t, "a lifetime was extended and nobody said so", testSilentExtension)
	inBubble(t, "a lifetime ends a little later than announced", testLateExpiry)
}

func linkDown(l Link) Link {
	l.Up, l.LowerUp, l.Running, l.Oper, l.In6Ready = false, false, false, OperDown, false
	return l
}

func testKeptAddress(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global, Permanent)
	k.setAddr(a)
	synctest.Wait()
	a.Flags |= Tentative
	k.setSilently(a)
	k.setLink(linkDown(ethernet(2, "eth0")))
	k.check(t, after0(t, w, time.Now()))
}

func testKeptAddressLate(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global, Permanent)
	k.setAddr(a)
	k.setLink(linkDown(ethernet(2, "eth0")))
	if f := flagsNow(t, w, a.Key); f.Has(Tentative) {
		t.Fatal("tentative too early")
	}
	a.Flags |= Tentative
	k.setSilently(a)
	time.Sleep(lookAgain)
	k.check(t, after0(t, w, time.Now()))
}

func testSilentTentative(t *testing.T, k *fakeKernel, w *Watcher) {
	k.setSilently(address(2, "fe80::1/64", Tentative, Permanent))
	time.Sleep(reconcile)
	k.check(t, after0(t, w, time.Now()))
	if s := w.Stats(); s.Corrections != 0 || s.Reconciles != 1 {
		t.Errorf("%d corrections in %d checks, want 0 in 1: this kind of silence is known", s.Corrections, s.Reconciles)
	}
}

func testCorrection(t *testing.T, k *fakeKernel, w *Watcher) {
	k.setAddr(address(2, global, Permanent))
	k.setSilently(address(2, "2001:db8::2/64", Permanent))
	k.setSilently(address(2, global, Permanent, NoPrefixRoute))
	k.deleteSilently(address(1, "127.0.0.1/8").Key)
	time.Sleep(reconcile)
	k.check(t, after0(t, w, time.Now()))
	if s := w.Stats(); s.Corrections != 3 {
		t.Errorf("%d corrections, want 3", s.Corrections)
	}
}

func testNoCorrection(t *testing.T, k *fakeKernel, w *Watcher) {
	k.onDump(1, func() { // the event is queued while the dump that shows it is read
		k.setAddr(address(2, global, Permanent))
	})
	time.Sleep(reconcile)
	k.check(t, after0(t, w, time.Now()))
	if s := w.Stats(); s.Corrections != 0 {
		t.Errorf("%d corrections, want 0", s.Corrections)
	}
}

func testSilentExpiry(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global)
	a.PreferredUntil, a.ValidUntil = time.Now().Add(5*time.Second), time.Now().Add(10*time.Second)
	k.setAddr(a)
	gen := settled(w).Gen
	time.Sleep(5*time.Second + expirySlack)
	if now := settled(w).Gen; now <= gen {
		t.Errorf("generation %d: nobody is woken to judge the address deprecated", now)
	}
	a.Flags |= Deprecated
	a.PreferredUntil = time.Time{}
	k.setSilently(a)
	time.Sleep(5 * time.Second)
	k.deleteSilently(a.Key)
	time.Sleep(expirySlack)
	k.check(t, after0(t, w, time.Now()))
}

func testSilentExtension(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global)
	a.PreferredUntil = time.Now().Add(5 * time.Second)
	k.setAddr(a)
	synctest.Wait()
	a.PreferredUntil = time.Now().Add(time.Hour)
	k.setSilently(a)
	time.Sleep(5*time.Second + expirySlack)
	if got := find(t, settled(w), a.Key); got.PreferredUntil.Sub(a.PreferredUntil).Abs() > time.Second {
		t.Errorf("preferred until %v, want %v", got.PreferredUntil, a.PreferredUntil)
	}
}

func testLateExpiry(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global)
	a.PreferredUntil = time.Now().Add(5 * time.Second)
	k.setAddr(a)
	gen := settled(w).Gen
	a.PreferredUntil = time.Now().Add(6 * time.Second)
	k.setSilently(a)
	time.Sleep(5*time.Second + expirySlack)
	if now := settled(w).Gen; now != gen+1 {
		t.Errorf("generation %d, want %d: one reason to judge again", now, gen+1)
	}
}

func TestLifetimes(t *testing.T) {
	inBubble(t, "router advertisements extend them and wake nobody", testExtended)
	inBubble(t, "a lifetime that is cut is published at once", testCut)
	inBubble(t, "jitter of a second is no change", testJitter)
	inBubble(t, "for ever and not any more", testForever)
}

func testExtended(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global)
	began := time.Now()
	advertise := func() {
		a.PreferredUntil, a.ValidUntil = time.Now().Add(10*time.Minute), time.Now().Add(20*time.Minute)
		k.setAddr(a)
		synctest.Wait()
	}
	advertise()
	gen := w.Current().Gen
	for range 100 {
		time.Sleep(10 * time.Second)
		advertise()
		s := w.Current()
		if v := new(Policy).Judge(s, find(t, s, a.Key), time.Now()); v.Reason != ReasonOK {
			t.Fatalf("%s after %v although advertisements go on", v.Reason, time.Since(began))
		}
	}
	if more := w.Current().Gen - gen; more == 0 || more > 3 {
		t.Errorf("%d snapshots in 1000 s of advertisements, want 1 to 3", more)
	}
}

func find(t *testing.T, s *Snapshot, key Key) Addr {
	t.Helper()
	for _, a := range s.Addrs {
		if a.Key == key {
			return a
		}
	}
	t.Fatalf("no address %s", key.Prefix())
	return Addr{}
}

func testCut(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global)
	a.PreferredUntil, a.ValidUntil = time.Now().Add(time.Hour), time.Now().Add(3*time.Hour)
	k.setAddr(a)
	synctest.Wait()
	a.ValidUntil = time.Now().Add(2 * time.Hour) // RFC 4862 section 5.5.3 e
	k.setAddr(a)
	if got := find(t, settled(w), a.Key); !got.ValidUntil.Equal(a.ValidUntil) {
		t.Errorf("valid until %v, want %v", got.ValidUntil, a.ValidUntil)
	}
	a.PreferredUntil = time.Now() // lifetime 0, and the flag not yet
	k.setAddr(a)
	if !flagsNow(t, w, a.Key).Has(Deprecated) {
		t.Error("a preferred lifetime of 0 is not deprecated")
	}
}

func testJitter(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global)
	a.ValidUntil = time.Now().Add(time.Hour)
	k.setAddr(a)
	gen := settled(w).Gen
	for range 10 {
		time.Sleep(1700 * time.Millisecond)
		k.setAddr(a)
	}
	if now := settled(w).Gen; now != gen {
		t.Errorf("%d snapshots because of rounding", now-gen)
	}
}

func testForever(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global)
	a.ValidUntil = time.Now().Add(time.Hour)
	k.setAddr(a)
	synctest.Wait()
	a.ValidUntil = time.Time{}
	k.setAddr(a)
	time.Sleep(time.Hour - time.Second)
	if got := find(t, settled(w), a.Key); !got.ValidUntil.IsZero() {
		t.Errorf("valid until %v, want for ever", got.ValidUntil)
	}
	a.ValidUntil = time.Now().Add(time.Hour)
	k.setAddr(a)
	if got := find(t, settled(w), a.Key); !got.ValidUntil.Equal(a.ValidUntil) {
		t.Errorf("valid until %v, want %v", got.ValidUntil, a.ValidUntil)
	}
}

func TestGone(t *testing.T) {
	inBubble(t, "SLAAC fails without ever having been announced", testGoneUnannounced)
	inBubble(t, "an announced address fails and is deleted", testGoneAnnounced)
	inBubble(t, "somebody deletes a failed address", testFailedDeleted)
	inBubble(t, "the link is deleted", testGoneWithLink)
}

func testGoneUnannounced(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global, Tentative, DADFailed)
	k.deleteAddr(a)
	if s := settled(w); len(s.Gone) != 1 || s.Gone[0].Key != a.Key || s.Gen != 2 {
		t.Fatalf("gone: %v in generation %d", s.Gone, s.Gen)
	}
	time.Sleep(5 * time.Minute)
	k.deleteAddr(a) // the next advertisement
	if s := settled(w); s.Gen != 2 {
		t.Errorf("generation %d, want 2: nothing is new", s.Gen)
	}
	time.Sleep(goneFor - time.Second)
	if s := settled(w); len(s.Gone) != 1 {
		t.Error("forgotten too early")
	}
	time.Sleep(time.Second)
	if s := settled(w); len(s.Gone) != 0 {
		t.Errorf("not forgotten: %v", s.Gone)
	}
}

func testGoneAnnounced(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global, Tentative)
	k.setAddr(a)
	synctest.Wait()
	a.Flags |= DADFailed
	k.deleteAddr(a)
	if s := settled(w); len(s.Gone) != 1 {
		t.Errorf("gone: %v", s.Gone)
	}
	a.Flags = 0
	k.setAddr(a)
	if s := settled(w); len(s.Gone) != 0 {
		t.Errorf("it is back, but still gone: %v", s.Gone)
	}
}

func testFailedDeleted(t *testing.T, k *fakeKernel, w *Watcher) {
	a := address(2, global, Tentative, DADFailed, Permanent)
	k.setAddr(a)
	synctest.Wait()
	k.deleteAddr(a)
	if s := settled(w); len(s.Gone) != 0 {
		t.Errorf("gone: %v", s.Gone)
	}
	k.check(t, w)
}

func testGoneWithLink(t *testing.T, k *fakeKernel, w *Watcher) {
	k.deleteAddr(address(2, global, Tentative, DADFailed))
	synctest.Wait()
	k.deleteLink(2)
	if s := settled(w); len(s.Gone) != 0 {
		t.Errorf("gone: %v", s.Gone)
	}
}

func TestWatcherLife(t *testing.T) { synctest.Test(t, testWatcherLife) }

func testWatcherLife(t *testing.T) {
	w := New(Config{})
	if s := w.Current(); s.Gen != 0 || s.Complete {
		t.Errorf("before Run: generation %d, complete %t", s.Gen, s.Complete)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Wait(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait without Run: %v", err)
	}
	waited := make(chan error)
	go func() {
		_, err := w.Wait(t.Context(), 1)
		waited <- err
	}()
	synctest.Wait()
	w.publish(t.Context(), &Snapshot{})
	synctest.Wait() // Gen 1 is not newer than 1
	w.close()
	if err := <-waited; !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait after the end: %v", err)
	}
	if s, err := w.Wait(t.Context(), 0); err != nil || s.Gen != 1 {
		t.Errorf("Wait for what is there: %v, %v", s, err)
	}
}

func TestRunTwice(t *testing.T) {
	w := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if err := w.Run(t.Context()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("Run for the second time: %v", err)
	}
}

// TestStrangeDumps: answers that only other kernels give.
func TestStrangeDumps(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(k *fakeKernel, seq uint32)
		want   error
	}{
		{"an error", func(k *fakeKernel, seq uint32) {
			k.answer = [][]byte{refusal(seq, unix.EPERM)}
		}, unix.EPERM},
		{"no such family", func(k *fakeKernel, seq uint32) {
			k.answer = [][]byte{refusal(seq, unix.EAFNOSUPPORT)}
		}, nil},
		{"the rest of another dump, other links and families", func(k *fakeKernel, seq uint32) {
			k.answer = [][]byte{
				withHeader(addrEvent(unix.RTM_NEWADDR, address(2, global)), seq-1, 0), done(seq-1, 0),
				withHeader(addrEvent(unix.RTM_NEWADDR, address(3, global)), seq, 0),
				withHeader(addrEvent(unix.RTM_NEWADDR, address(2, "192.0.2.1/24")), seq, 0),
				appendRequest(nil, unix.NLMSG_DONE, 0, seq, nil),
			}
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newFakeKernel()
			d := newDumper((*fakeDumps)(k))
			k.dumping = func() { c.answer(k, d.seq) }
			addrs, sure, err := d.addrs(t.Context(), 2, Inet6)
			if !errors.Is(err, c.want) || len(addrs) != 0 || sure != (err == nil) {
				t.Errorf("addresses %v, sure %t, error %v; want none, %v", addrs, sure, err, c.want)
			}
		})
	}
}

func TestSilentKernelIsGivenUpOn(t *testing.T) { synctest.Test(t, testSilentKernelIsGivenUpOn) }

func testSilentKernelIsGivenUpOn(t *testing.T) {
	k := newFakeKernel()
	k.delay = func() time.Duration { return time.Hour }
	_, _, err := newDumper((*fakeDumps)(k)).links(t.Context())
	if !errors.Is(err, errNoAnswer) {
		t.Errorf("error %v, want %v", err, errNoAnswer)
	}
}

func refusal(seq uint32, errno unix.Errno) []byte {
	return appendRequest(nil, unix.NLMSG_ERROR, 0, seq, u32(-uint32(errno)))
}
