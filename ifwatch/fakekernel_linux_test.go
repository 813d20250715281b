package ifwatch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeKernel has links and addresses, reports their changes like the real one, and loses reports like it: it is
// congested from the first one that does not fit until all are read, and says so only once.
type fakeKernel struct {
	mu    sync.Mutex
	links map[int]Link
	addrs map[int][]Addr // the newest last; a dump sorts them as the kernel does

	queue     [][]byte
	capacity  int // of queue
	congested bool
	overflown bool // to be reported
	dropped   uint32
	wake      chan struct{}

	answer    [][]byte
	interrupt int                  // so many dumps of addresses are interrupted, and lack the last address
	dumping   func()               // called when a dump has been made and not yet been read, without the lock
	delay     func() time.Duration // how long a dump takes
	slept     time.Duration

	recorded *recording // answers in place of links and addrs; nil: none

	logged bytes.Buffer // what the Watcher logs; to be read when it is idle
}

func newFakeKernel() *fakeKernel {
	k := &fakeKernel{links: map[int]Link{}, addrs: map[int][]Addr{}, capacity: math.MaxInt, wake: make(chan struct{}, 1)}
	k.links[1] = Link{Index: 1, Name: "lo", Up: true, LowerUp: true, Running: true, Loopback: true, MTU: 65536, In6Ready: true}
	k.links[2] = ethernet(2, "eth0")
	k.addrs[1] = []Addr{address(1, "127.0.0.1/8"), address(1, "::1/128")}
	return k
}

func ethernet(index int, name string) Link {
	return Link{Index: index, Name: name, Up: true, LowerUp: true, Running: true, Oper: OperUp, MTU: 1500, In6Ready: true}
}

func address(link int, prefix string, flags ...Flags) Addr {
	p := netip.MustParsePrefix(prefix)
	a := Addr{Key: Key{Link: link, Addr: p.Addr(), Bits: p.Bits()}, Scope: scopeOf(p.Addr())}
	for _, f := range flags {
		a.Flags |= f
	}
	return a
}

// start runs a Watcher on the fake kernel until the test ends, and waits for its first snapshot.
func (k *fakeKernel) start(t *testing.T) *Watcher {
	t.Helper()
	w := New(Config{Log: testLog(io.MultiWriter(t.Output(), &k.logged))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer w.close()
		err := newFollower(&feed{w: w}, (*fakeEvents)(k), (*fakeDumps)(k), k.asleep).run(ctx)
		if ctx.Err() == nil {
			t.Errorf("the follower ended: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	if _, err := w.Wait(ctx, 0); err != nil {
		t.Fatalf("no first snapshot: %v", err)
	}
	return w
}

// rig changes how the kernel behaves.
func (k *fakeKernel) rig(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

// onDump does something when the nth dump from now on has been made and not yet been read.
func (k *fakeKernel) onDump(n int, do func()) {
	k.rig(func() {
		k.dumping = func() {
			if n--; n == 0 {
				do()
			}
		}
	})
}

func (k *fakeKernel) asleep() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.slept
}

func (k *fakeKernel) suspend(d time.Duration) { k.rig(func() { k.slept += d }) }

// setLink adds or changes a link and reports it.
func (k *fakeKernel) setLink(l Link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.links[l.Index] = l
	k.report(linkEvent(unix.RTM_NEWLINK, unix.AF_UNSPEC, l))
}

// deleteLink deletes a link as the kernel does: down first, then its addresses, then itself.
func (k *fakeKernel) deleteLink(index int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.links[index]
	l.Up, l.LowerUp, l.Running, l.Oper, l.In6Ready = false, false, false, OperDown, false
	k.report(linkEvent(unix.RTM_NEWLINK, unix.AF_UNSPEC, l))
	for _, a := range k.addrs[index] {
		k.report(addrEvent(unix.RTM_DELADDR, a))
	}
	delete(k.addrs, index)
	delete(k.links, index)
	k.report(linkEvent(unix.RTM_DELLINK, unix.AF_UNSPEC, l))
}

// setAddr adds or changes an address and reports it.
func (k *fakeKernel) setAddr(a Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.storeAddr(a)
	k.report(addrEvent(unix.RTM_NEWADDR, a))
}

// setSilently adds or changes an address and does not report it.
func (k *fakeKernel) setSilently(a Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.storeAddr(a)
}

// burst adds n addresses of eth0 faster than anybody can read, after the events in first.
func (k *fakeKernel) burst(format string, n int, first ...[]byte) {
	k.rig(func() {
		for _, event := range first {
			k.report(event)
		}
		for i := range n {
			a := address(2, fmt.Sprintf(format, i+1))
			k.storeAddr(a)
			k.report(addrEvent(unix.RTM_NEWADDR, a))
		}
	})
}

func (k *fakeKernel) storeAddr(a Addr) {
	list := k.addrs[a.Link]
	if i := slices.IndexFunc(list, func(b Addr) bool { return b.Key == a.Key }); i >= 0 {
		list[i] = a
		return
	}
	k.addrs[a.Link] = append(list, a)
}

// deleteAddr deletes an address, if it is there, and reports it in either case.
func (k *fakeKernel) deleteAddr(a Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropAddr(a.Key)
	k.report(addrEvent(unix.RTM_DELADDR, a))
}

func (k *fakeKernel) deleteSilently(key Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropAddr(key)
}

func (k *fakeKernel) dropAddr(key Key) {
	k.addrs[key.Link] = slices.DeleteFunc(k.addrs[key.Link], func(b Addr) bool { return b.Key == key })
}

// send reports any message.
func (k *fakeKernel) send(event []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.report(event)
}

func (k *fakeKernel) report(event []byte) {
	if k.congested || len(k.queue) >= k.capacity {
		k.dropped++
		k.overflown = k.overflown || !k.congested
		k.congested = true
		return
	}
	k.queue = append(k.queue, event)
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// fakeEvents is the event socket of a fakeKernel.
type fakeEvents fakeKernel

func (e *fakeEvents) send([]byte) error { return unix.EOPNOTSUPP }

func (e *fakeEvents) receive(ctx context.Context, buf []byte, until time.Time) (int, error) {
	for {
		n, err := e.receiveNow(buf)
		if err != unix.EAGAIN || until.IsZero() { //nolint:errorlint // it is exactly what receiveNow returns
			return n, err
		}
		select {
		case <-e.wake:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(time.Until(until)):
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (e *fakeEvents) receiveNow(buf []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.overflown:
		e.overflown = false
		return 0, unix.ENOBUFS
	case len(e.queue) == 0:
		return 0, unix.EAGAIN
	}
	n := copy(buf, e.queue[0])
	e.queue = e.queue[1:]
	if len(e.queue) == 0 {
		e.congested = false
	}
	return n, nil
}

func (e *fakeEvents) drops() (uint32, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dropped, nil
}

// fakeDumps is the socket for dumps of a fakeKernel.
type fakeDumps fakeKernel

func (d *fakeDumps) drops() (uint32, error) { return 0, nil }

func (d *fakeDumps) send(request []byte) error {
	k := (*fakeKernel)(d)
	m, _, ok := nextMessage(request)
	if !ok {
		return unix.EINVAL
	}
	k.mu.Lock()
	switch {
	case k.recorded != nil:
		k.answer = append(k.answer, k.recorded.answer(m)...)
	case m.typ == unix.RTM_GETLINK:
		k.answerLinks(m.seq)
	case m.typ == unix.RTM_GETADDR:
		k.answerAddrs(m)
	}
	dumping := k.dumping
	k.mu.Unlock()
	if dumping != nil {
		dumping()
	}
	return nil
}

func (k *fakeKernel) answerLinks(seq uint32) {
	for _, l := range k.sortedLinks() {
		k.answer = append(k.answer, withHeader(linkEvent(unix.RTM_NEWLINK, unix.AF_UNSPEC, l), seq, unix.NLM_F_MULTI))
	}
	k.answer = append(k.answer, done(seq, 0))
}

func (k *fakeKernel) sortedLinks() []Link {
	links := make([]Link, 0, len(k.links))
	for _, l := range k.links {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b Link) int { return cmp.Compare(a.Index, b.Index) })
	return links
}

func (k *fakeKernel) answerAddrs(m message) {
	link := int(binary.NativeEndian.Uint32(m.body[4:]))
	family := Inet
	if m.body[0] == unix.AF_INET6 {
		family = Inet6
	}
	flags := uint16(unix.NLM_F_MULTI)
	list := k.listed(link, family)
	if k.interrupt > 0 && len(list) > 0 {
		k.interrupt--
		flags |= unix.NLM_F_DUMP_INTR
		list = list[:len(list)-1]
	}
	for _, a := range list {
		k.answer = append(k.answer, withHeader(addrEvent(unix.RTM_NEWADDR, a), m.seq, flags))
	}
	k.answer = append(k.answer, done(m.seq, flags))
}

// listed returns the addresses in the order of the kernel, which the fake keeps by inserting in the order of arrival.
func (k *fakeKernel) listed(link int, f Family) []Addr {
	var list []Addr
	for _, a := range k.addrs[link] {
		if a.Family() == f {
			list = slices.Insert(list, place(list, &a), a)
		}
	}
	return list
}

func (d *fakeDumps) receive(ctx context.Context, buf []byte, until time.Time) (int, error) {
	k := (*fakeKernel)(d)
	k.mu.Lock()
	delay := k.delay
	k.mu.Unlock()
	if delay != nil {
		wait := delay()
		timeout := time.Until(until)
		select {
		case <-time.After(min(wait, timeout)):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		if wait >= timeout {
			return 0, os.ErrDeadlineExceeded
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.answer) == 0 {
		return 0, fmt.Errorf("the fake kernel was asked for more than it said: %w", os.ErrDeadlineExceeded)
	}
	n := copy(buf, k.answer[0])
	k.answer = k.answer[1:]
	return n, nil
}

// check compares the watcher's newest snapshot with the kernel's state.
func (k *fakeKernel) check(t *testing.T, w *Watcher) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	s := w.Current()
	if !s.Complete {
		t.Error("the snapshot is not complete")
	}
	want := &Snapshot{Links: k.sortedLinks()}
	for i, l := range want.Links {
		if seen, ok := s.Link(l.Index); ok {
			want.Links[i].Changed = seen.Changed // the watcher's own
		}
		want.Addrs = append(append(want.Addrs, k.listed(l.Index, Inet)...), k.listed(l.Index, Inet6)...)
	}
	diff := Diff(s, want)
	for _, c := range diff[:min(10, len(diff))] {
		t.Errorf("snapshot -> kernel: %s", c)
	}
	keys := func(s *Snapshot) (keys []Key) {
		for _, a := range s.Addrs {
			keys = append(keys, a.Key)
		}
		return keys
	}
	if got, want := keys(s), keys(want); !slices.Equal(got, want) {
		t.Errorf("order of %d addresses differs from the kernel's", len(want))
	}
}

// The encoders of messages. They are the parser's opposite.

func withHeader(event []byte, seq uint32, flags uint16) []byte {
	binary.NativeEndian.PutUint16(event[6:], flags)
	binary.NativeEndian.PutUint32(event[8:], seq)
	return event
}

func done(seq uint32, flags uint16) []byte {
	return appendRequest(nil, unix.NLMSG_DONE, flags|unix.NLM_F_MULTI, seq, make([]byte, 4))
}

func appendAttr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLA_HDRLEN+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, make([]byte, align(len(value))-len(value))...)
}

func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func linkEvent(typ uint16, family uint8, l Link) []byte {
	flags := uint32(0)
	for _, f := range []struct {
		set  bool
		flag uint32
	}{
		{l.Up, unix.IFF_UP},
		{l.LowerUp, unix.IFF_LOWER_UP},
		{l.Running, unix.IFF_RUNNING},
		{l.Loopback, unix.IFF_LOOPBACK},
		{l.NoARP, unix.IFF_NOARP},
	} {
		if f.set {
			flags |= f.flag
		}
	}
	b := make([]byte, 4, 256)
	b[0] = family
	b = binary.NativeEndian.AppendUint32(b, uint32(l.Index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	b = append(b, 0, 0, 0, 0)
	b = appendAttr(b, unix.IFLA_IFNAME, append([]byte(l.Name), 0))
	b = appendAttr(b, unix.IFLA_MTU, u32(uint32(l.MTU)))
	b = appendAttr(b, unix.IFLA_OPERSTATE, []byte{byte(l.Oper)})
	if l.Master != 0 {
		b = appendAttr(b, unix.IFLA_MASTER, u32(uint32(l.Master)))
	}
	if l.Kind != "" {
		b = appendAttr(b, unix.IFLA_LINKINFO, appendAttr(nil, unix.IFLA_INFO_KIND, append([]byte(l.Kind), 0)))
	}
	if len(l.AltNames) > 0 {
		var names []byte
		for _, n := range l.AltNames {
			names = appendAttr(names, unix.IFLA_ALT_IFNAME, append([]byte(n), 0))
		}
		b = appendAttr(b, unix.IFLA_PROP_LIST|unix.NLA_F_NESTED, names)
	}
	ready := uint32(0)
	if l.In6Ready {
		ready = in6Ready
	}
	conf := make([]byte, 4*(in6ConfUseTempAddr+1))
	binary.NativeEndian.PutUint32(conf[4*in6ConfUseTempAddr:], uint32(l.UseTempAddr))
	in6 := appendAttr(appendAttr(nil, unix.IFLA_INET6_FLAGS, u32(ready)), unix.IFLA_INET6_CONF, conf)
	if family == unix.AF_INET6 {
		b = appendAttr(b, unix.IFLA_PROTINFO|unix.NLA_F_NESTED, in6)
	} else {
		b = appendAttr(b, unix.IFLA_AF_SPEC, appendAttr(nil, unix.AF_INET6, in6))
	}
	return appendRequest(nil, typ, 0, 0, b)
}

func addrEvent(typ uint16, a Addr) []byte {
	family := uint8(unix.AF_INET)
	if a.Family() == Inet6 {
		family = unix.AF_INET6
	}
	flags := kernelFlags(a.Flags)
	b := []byte{family, byte(a.Bits), byte(flags), byte(a.Scope)}
	b = binary.NativeEndian.AppendUint32(b, uint32(a.Link))
	switch {
	case a.Peer.IsValid():
		b = appendAttr(b, unix.IFA_LOCAL, a.Addr.AsSlice())
		b = appendAttr(b, unix.IFA_ADDRESS, a.Peer.AsSlice())
	case family == unix.AF_INET:
		b = appendAttr(b, unix.IFA_ADDRESS, a.Addr.AsSlice())
		b = appendAttr(b, unix.IFA_LOCAL, a.Addr.AsSlice())
	default:
		b = appendAttr(b, unix.IFA_ADDRESS, a.Addr.AsSlice())
	}
	if a.Label != "" {
		b = appendAttr(b, unix.IFA_LABEL, append([]byte(a.Label), 0))
	}
	if a.Proto != 0 {
		b = appendAttr(b, ifaProto, []byte{a.Proto})
	}
	b = appendAttr(b, unix.IFA_FLAGS, u32(flags))
	preferred := seconds(a.PreferredUntil)
	if a.Flags.Has(Deprecated) {
		preferred = 0
	}
	info := binary.NativeEndian.AppendUint32(u32(preferred), seconds(a.ValidUntil))
	b = appendAttr(b, unix.IFA_CACHEINFO, append(info, make([]byte, 8)...))
	return appendRequest(nil, typ, 0, 0, b)
}

// seconds is the rest of a lifetime, rounded up as the kernel does.
func seconds(until time.Time) uint32 {
	if until.IsZero() {
		return forever
	}
	return uint32(max(0, math.Ceil(time.Until(until).Seconds())))
}

func kernelFlags(f Flags) uint32 {
	k := uint32(0)
	for _, m := range []struct {
		flag   Flags
		kernel uint32
	}{
		{Tentative, unix.IFA_F_TENTATIVE},
		{Optimistic, unix.IFA_F_OPTIMISTIC},
		{DADFailed, unix.IFA_F_DADFAILED},
		{Deprecated, unix.IFA_F_DEPRECATED},
		{Temporary, unix.IFA_F_TEMPORARY},
		{Secondary, unix.IFA_F_SECONDARY},
		{Permanent, unix.IFA_F_PERMANENT},
		{NoDAD, unix.IFA_F_NODAD},
		{ManageTemp, unix.IFA_F_MANAGETEMPADDR},
		{StablePrivacy, unix.IFA_F_STABLE_PRIVACY},
		{Home, unix.IFA_F_HOMEADDRESS},
		{NoPrefixRoute, unix.IFA_F_NOPREFIXROUTE},
		{MulticastAutoJoin, unix.IFA_F_MCAUTOJOIN},
	} {
		if f.Has(m.flag) {
			k |= m.kernel
		}
	}
	return k
}
