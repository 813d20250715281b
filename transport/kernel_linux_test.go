package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/netlab"
)

// A rig is a Manager on the real kernel, in the namespace that the test itself
// is in, and one cable to a peer.
type rig struct {
	t     testing.TB
	lab   *netlab.Lab
	self  *netlab.Host
	peer  *netlab.Host
	eth0  *netlab.Link // of self
	far   *netlab.Link // the peer's end
	m     *Manager
	watch *ifwatch.Watcher
	stop  func()

	mu     sync.Mutex
	got    []Message
	change chan struct{}
}

// cabled returns a rig whose Manager does not run yet: eth0 has 192.0.2.1 and
// 2001:db8::1, the peer has .9 and ::9.
func cabled(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, lab: netlab.New(t), change: make(chan struct{})}
	r.self, r.peer = r.lab.Self(), r.lab.Host("peer")
	r.eth0, r.far = r.lab.LooseCable(r.self, "eth0", r.peer, "eth0")
	r.plug(r.eth0, r.far)
	r.eth0.Add("192.0.2.1/24", "2001:db8::1/64")
	r.far.Add("192.0.2.9/24", "2001:db8::9/64")
	r.eth0.AwaitUsable("2001:db8::1")
	r.far.AwaitUsable("2001:db8::9")
	return r
}

// plug brings both ends of a cable up, with a DAD of 20 ms on ours.
func (r *rig) plug(ours, theirs *netlab.Link) {
	ours.QuickDAD()
	theirs.NoDAD()
	ours.Up()
	theirs.Up()
}

// run starts the Manager and waits until it listens on the usual addresses.
func (r *rig) run(change func(*Config)) *rig {
	r.t.Helper()
	r.watch = ifwatch.New(ifwatch.Config{})
	cfg := Config{Links: r.watch, Receive: r.receive}
	if change != nil {
		change(&cfg)
	}
	r.m = New(cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.watch.Run(ctx) })
	wg.Go(func() { _ = r.m.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	r.t.Cleanup(r.stop)
	return r
}

func (r *rig) receive(m Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, m)
	close(r.change)
	r.change = make(chan struct{})
}

// next returns the next message that the Manager received.
func (r *rig) next() Message {
	r.t.Helper()
	timeout := time.After(netlab.Patience)
	for {
		r.mu.Lock()
		if len(r.got) > 0 {
			m := r.got[0]
			r.got = r.got[1:]
			r.mu.Unlock()
			return m
		}
		change := r.change
		r.mu.Unlock()
		select {
		case <-change:
		case <-timeout:
			r.t.Fatal("no message came")
		}
	}
}

// await waits until an address has these listeners, in the words of listenerText.
func (r *rig) await(local string, want ...string) {
	r.t.Helper()
	r.awaitSnapshot(fmt.Sprintf("%s %v", local, want), func(s *Snapshot) bool {
		for _, a := range s.Addrs {
			if a.Local.String() == local {
				return slices.Equal(listenerText(a.Listeners), want)
			}
		}
		return want == nil
	})
}

func (r *rig) awaitSnapshot(what string, good func(*Snapshot) bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), netlab.Patience)
	defer cancel()
	for s := r.m.Snapshot(); !good(s); {
		var err error
		if s, err = r.m.Wait(ctx, s.Gen); err != nil {
			var states []string
			for _, a := range r.m.Snapshot().Addrs {
				states = append(states, fmt.Sprint(a.Local, " ", a.Verdict.Reason, " ", listenerText(a.Listeners)))
			}
			r.t.Fatalf("waiting for %s: %v; there are\n  %s", what, err, strings.Join(states, "\n  "))
		}
	}
}

// up is what listeners look like when all is well.
func up() []string { return []string{"udp:5060 listening", "tcp:5060 listening"} }

// inodes returns the listening sockets of this process by name.
func (r *rig) inodes() map[string]uint32 {
	r.t.Helper()
	all := make(map[string]uint32)
	for name, s := range r.self.Listeners() {
		all[name] = s.Inode
	}
	return all
}

// unchanged fails if one of the sockets before is not the same one now.
func (r *rig) unchanged(before map[string]uint32, but ...string) {
	r.t.Helper()
	now := r.inodes()
	for name, inode := range before {
		if !slices.ContainsFunc(but, func(s string) bool { return strings.Contains(name, s) }) && now[name] != inode {
			r.t.Errorf("%s was socket %d and is %d", name, inode, now[name])
		}
	}
}

// udp opens a socket on the peer.
func (r *rig) udp(h *netlab.Host, local string) *net.UDPConn {
	r.t.Helper()
	c := netlab.In(h, func() (*net.UDPConn, error) {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(addrPort(local)))
	})
	r.t.Cleanup(func() { c.Close() })
	return c
}

func (r *rig) ask(c *net.UDPConn, to, message string) {
	r.t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(message), addrPort(to)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) readUDP(c *net.UDPConn) (string, netip.AddrPort) {
	r.t.Helper()
	b := make([]byte, maxDatagram)
	if err := c.SetReadDeadline(time.Now().Add(netlab.Patience)); err != nil {
		r.t.Fatal(err)
	}
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// tcp connects from a host to the Manager.
func (r *rig) tcp(h *netlab.Host, to string) net.Conn {
	r.t.Helper()
	c := netlab.In(h, func() (net.Conn, error) { return net.Dial("tcp", to) })
	r.t.Cleanup(func() { c.Close() })
	return c
}

// echo makes the Manager answer every request at once.
func echo(t testing.TB) func(*Config) {
	return func(c *Config) {
		c.Receive = func(m Message) {
			if err := m.Flow.Respond(t.Context(), answer(m)); err != nil {
				t.Error(err)
			}
		}
	}
}

// Four addresses on one link and one peer that asks them all in turn: each
// answer comes from the address that was asked. A stack that looks up the socket
// by the peer's address gets this wrong.
func TestKernelAnswersFromTheAddressAsked(t *testing.T) {
	r := cabled(t)
	r.eth0.Add("192.0.2.2/24", "2001:db8::2/64")
	r.run(echo(t))
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"} {
		r.await(a, up()...)
	}
	for _, peer := range []struct{ at, one, two string }{
		{"192.0.2.9:5060", "192.0.2.1:5060", "192.0.2.2:5060"},
		{"[2001:db8::9]:5060", "[2001:db8::1]:5060", "[2001:db8::2]:5060"},
	} {
		c := r.udp(r.peer, peer.at)
		asked := make(map[string]string) // CSeq: address
		for i := range 5000 {
			to := peer.one
			if i*i%7 > 2 {
				to = peer.two
			}
			r.ask(c, to, request("OPTIONS", "UDP", peer.at, i))
			asked[fmt.Sprintf("CSeq: %d OPTIONS", i)] = to
			if i%10 < 9 {
				continue // several at a time, so that they overlap
			}
			for range 10 {
				got, from := r.readUDP(c)
				at := strings.Index(got, "CSeq: ")
				cseq, _, _ := strings.Cut(got[at:], "\r")
				if asked[cseq] != from.String() {
					t.Fatalf("%s asked %s and was answered from %s", cseq, asked[cseq], from)
				}
				delete(asked, cseq)
			}
		}
		if len(asked) != 0 {
			t.Errorf("%d not answered", len(asked))
		}
	}
}

// The case that the project comes from: an address that is tentative is waited
// for, and listened on when DAD has finished, and nothing else is touched.
func TestKernelWaitsForDAD(t *testing.T) {
	r := cabled(t).run(nil)
	r.await("192.0.2.1", up()...)
	r.await("2001:db8::1", up()...)
	conn := r.tcp(r.peer, "192.0.2.1:5060")
	before := r.inodes()
	r.eth0.SlowDAD(300 * time.Millisecond)
	r.eth0.Add("2001:db8::3/64")
	r.await("2001:db8::3", "udp:5060 waiting", "tcp:5060 waiting")
	r.await("2001:db8::3", up()...)
	r.unchanged(before)
	if _, err := conn.Write([]byte(options("TCP", "192.0.2.9"))); err != nil {
		t.Fatal(err)
	}
	r.next()

	// Somebody else has this one.
	r.eth0.QuickDAD()
	r.far.Add("2001:db8::4/64")
	r.eth0.Add("2001:db8::4/64")
	r.awaitSnapshot("dad_failed", func(s *Snapshot) bool {
		return slices.ContainsFunc(s.Addrs, func(a AddrState) bool {
			return a.Local == addr("2001:db8::4") && a.Verdict.Reason == ifwatch.ReasonDADFailed && listenerText(a.Listeners)[0] == "udp:5060 waiting"
		})
	})
	r.unchanged(before)
}

// An address that is removed takes its sockets and connections with it, says
// nothing any more, and is listened on again when it comes back. The others keep
// their sockets.
func TestKernelAddressGoesAndComes(t *testing.T) {
	r := cabled(t)
	r.eth0.Add("192.0.2.2/24", "2001:db8::2/64")
	r.run(nil)
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"} {
		r.await(a, up()...)
	}
	capture := r.far.Capture()
	before := r.inodes()
	kept := r.tcp(r.peer, "[2001:db8::1]:5060")
	for _, gone := range []struct{ addr, prefix string }{{"192.0.2.2", "192.0.2.2/24"}, {"2001:db8::2", "2001:db8::2/64"}} {
		conn := r.tcp(r.peer, net.JoinHostPort(gone.addr, "5060"))
		if _, err := conn.Write([]byte(options("TCP", "peer"))); err != nil {
			t.Fatal(err)
		}
		tcp := r.next().Flow
		peer := r.udp(r.peer, map[bool]string{true: "[2001:db8::9]:0", false: "192.0.2.9:0"}[strings.Contains(gone.addr, ":")])
		r.ask(peer, net.JoinHostPort(gone.addr, "5060"), options("UDP", "peer;rport"))
		m := r.next()
		r.eth0.Remove(gone.prefix)
		for _, f := range []*Flow{tcp, m.Flow} {
			<-f.Done()
			if !errors.Is(f.Err(), ErrAddressGone) {
				t.Errorf("%s: %v", f, f.Err())
			}
		}
		removed := time.Now()
		if err := m.Flow.Respond(t.Context(), answer(m)); !errors.Is(err, ErrAddressGone) {
			t.Errorf("answered from %s: %v", gone.addr, err)
		}
		r.await(gone.addr)
		added := time.Now()
		r.eth0.Add(gone.prefix)
		r.await(gone.addr, up()...)
		r.ask(peer, net.JoinHostPort(gone.addr, "5060"), options("UDP", "peer;rport"))
		m = r.next()
		if err := m.Flow.Respond(t.Context(), answer(m)); err != nil {
			t.Fatal(err)
		}
		r.readUDP(peer)
		ours := func(p netlab.Packet) bool {
			return p.Src.Addr() == addr(gone.addr) && len(p.Payload) > 0 && p.Proto != unix.IPPROTO_ICMPV6
		}
		capture.WaitFor("the answer", func(p netlab.Packet) bool { return ours(p) && p.At.After(added) })
		for _, p := range capture.Select(ours) {
			if p.At.After(removed) && p.At.Before(added) {
				t.Errorf("left while the address was gone: %s", p)
			}
		}
	}
	r.unchanged(before, "192.0.2.2", "2001:db8::2")
	if _, err := kept.Write([]byte(options("TCP", "peer"))); err != nil {
		t.Fatal(err)
	}
	r.next()
}

// A port that another socket has fails one listener, says who has it, and is
// taken once it is free.
func TestKernelPortInUse(t *testing.T) {
	r := cabled(t)
	for _, network := range []string{"udp", "tcp"} {
		var taken interface{ Close() error }
		if network == "udp" {
			taken = r.udp(r.self, "192.0.2.1:5060")
		} else {
			l, err := net.Listen("tcp", "192.0.2.1:5060")
			if err != nil {
				t.Fatal(err)
			}
			taken = l
		}
		r.run(nil)
		want := strings.Replace(strings.Join(up(), ","), network+":5060 listening", network+":5060 failed", 1)
		r.await("192.0.2.1", strings.Split(want, ",")...)
		r.await("2001:db8::1", up()...)
		text := fmt.Sprintf("listen %s 192.0.2.1:5060: address already in use (98): held by this process", network)
		r.awaitSnapshot(text, func(s *Snapshot) bool {
			return slices.ContainsFunc(s.Addrs, func(a AddrState) bool {
				return slices.ContainsFunc(a.Listeners, func(l ListenerState) bool { return l.Err != nil && l.Err.Error() == text })
			})
		})
		before := r.inodes()
		taken.Close()
		r.await("192.0.2.1", up()...)
		r.unchanged(before, network+" 192.0.2.1:")
		r.stop()
	}
}

// The same link-local address on two links is two listeners; each is heard on
// its own link only, and both directions work over UDP and TCP.
func TestKernelLinkLocal(t *testing.T) {
	r := cabled(t)
	other := r.lab.Host("other")
	eth1, far1 := r.lab.LooseCable(r.self, "eth1", other, "eth0")
	r.plug(eth1, far1)
	for _, l := range []*netlab.Link{r.eth0, eth1} {
		l.Conf("addr_gen_mode", "1") // the only one on its link, so that the kernel has no choice
		l.Down()
		l.Up()
		l.Add("fe80::1/64")
	}
	for _, l := range []*netlab.Link{r.far, far1} {
		l.Add("fe80::9/64")
		l.AwaitUsable("fe80::9")
	}
	r.run(nil)
	r.await("fe80::1%eth0", up()...)
	r.await("fe80::1%eth1", up()...)
	for _, side := range []struct {
		host         *netlab.Host
		ours, theirs *netlab.Link
	}{{r.peer, r.eth0, r.far}, {other, eth1, far1}} {
		// Package net would look the peer's interface names up in our namespace.
		index, there := strconv.Itoa(side.ours.Index()), strconv.Itoa(side.theirs.Index())
		us, them := "[fe80::1%"+there+"]:5060", "[fe80::9%"+there+"]:5060"
		peer := r.udp(side.host, them)
		r.ask(peer, us, options("UDP", "[fe80::9]"))
		m := r.next()
		if m.Flow.Local() != addrPort("[fe80::1%"+index+"]:5060") || m.Flow.Interface() != side.ours.Name() || m.Flow.Advertised() != addrPort("[fe80::1]:5060") {
			t.Errorf("came on %s, %s, %s", m.Flow, m.Flow.Interface(), m.Flow.Advertised())
		}
		if err := m.Flow.Respond(t.Context(), answer(m)); err != nil {
			t.Fatal(err)
		}
		if got, from := r.readUDP(peer); from.Addr().WithZone("") != addr("fe80::1") || strings.Contains(got, "%") {
			t.Errorf("from %s:\n%s", from, got)
		}
		f, err := r.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("[fe80::9%" + side.ours.Name() + "]:5060")})
		if err != nil || f != m.Flow {
			t.Errorf("%v, %v", f, err)
		}
		r.exchangeTCP(side.host, them, "[fe80::9%"+side.ours.Name()+"]:5060", us)
	}
}

// exchangeTCP sends a request over a connection that the peer opened and over
// one that the Manager opened.
func (r *rig) exchangeTCP(host *netlab.Host, listen, target, ours string) {
	r.t.Helper()
	in := r.tcp(host, ours)
	if _, err := in.Write([]byte(options("TCP", "peer"))); err != nil {
		r.t.Fatal(err)
	}
	m := r.next()
	if err := m.Flow.Respond(r.t.Context(), answer(m)); err != nil {
		r.t.Fatal(err)
	}
	r.expectTCP(in, "SIP/2.0 200 OK")
	l := netlab.In(host, func() (net.Listener, error) { return net.Listen("tcp", listen) })
	defer l.Close()
	f, err := r.m.Flow(r.t.Context(), Target{Proto: TCP, Addr: addrPort(target)})
	if err != nil {
		r.t.Fatal(err)
	}
	if f.Local().Addr() != m.Flow.Local().Addr() || f.Advertised().Port() != 5060 {
		r.t.Errorf("dialed %s, advertised %s; the listener is at %s", f, f.Advertised(), m.Flow.Local())
	}
	out, err := l.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	defer out.Close()
	if err := f.Send(r.t.Context(), []byte(options("TCP", "us"))); err != nil {
		r.t.Fatal(err)
	}
	r.expectTCP(out, "OPTIONS")
}

func (r *rig) expectTCP(c net.Conn, want string) {
	r.t.Helper()
	b := make([]byte, maxDatagram)
	if err := c.SetReadDeadline(time.Now().Add(netlab.Patience)); err != nil {
		r.t.Fatal(err)
	}
	n, err := c.Read(b)
	if err != nil || !bytes.HasPrefix(b[:n], []byte(want)) {
		r.t.Fatalf("got %q, %v", b[:n], err)
	}
}

func TestKernelTCP(t *testing.T) {
	r := cabled(t).run(nil)
	r.await("192.0.2.1", up()...)
	r.await("2001:db8::1", up()...)
	r.exchangeTCP(r.peer, "192.0.2.9:5060", "192.0.2.9:5060", "192.0.2.1:5060")
	r.exchangeTCP(r.peer, "[2001:db8::9]:5060", "[2001:db8::9]:5060", "[2001:db8::1]:5060")
	_, err := r.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.9:5062")})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}

// Every socket has the options that it needs, and none that it must not have.
func TestKernelSocketOptions(t *testing.T) {
	patterns, err := ifwatch.ParsePatterns([]string{"eth0"})
	if err != nil {
		t.Fatal(err)
	}
	r := cabled(t).run(func(c *Config) {
		c.DSCP = 24
		c.Policy.Interfaces = patterns
	})
	r.await("192.0.2.1", up()...)
	r.await("2001:db8::1", up()...)
	checked := 0
	for key, l := range r.listeners() {
		var conn syscall.Conn
		if l.udp != nil {
			conn = l.udp.conn.(syscall.Conn)
		} else {
			conn = l.tcp.ln.(syscall.Conn)
		}
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) { checkOptions(t, int(fd), key) }); err != nil {
			t.Fatal(err)
		}
		checked++
	}
	if checked < 6 { // the two addresses and a link-local one, two transports
		t.Errorf("%d sockets checked", checked)
	}
}

// listeners returns what the Manager has open.
func (r *rig) listeners() map[listenKey]*listener {
	all := make(map[listenKey]*listener)
	err := r.m.do(r.t.Context(), func(time.Time) {
		maps.Copy(all, r.m.listeners)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

func checkOptions(t *testing.T, fd int, key listenKey) {
	t.Helper()
	want := func(name string, level, option, value int) {
		if got, err := unix.GetsockoptInt(fd, level, option); err != nil || got != value {
			t.Errorf("%v: %s is %d, want %d (%v)", key, name, got, value, err)
		}
	}
	if device, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); device != "eth0" {
		t.Errorf("%v: bound to device %q, %v", key, device, err)
	}
	want("SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 0)
	if key.proto == UDP {
		want("SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
	}
	if key.local.Is4() {
		want("IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, 24<<2)
		want("IP_FREEBIND", unix.IPPROTO_IP, unix.IP_FREEBIND, 0)
		return
	}
	want("IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 24<<2)
	want("IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	want("IPV6_FREEBIND", unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 0)
}

// The source is the kernel's choice, with an interface and without.
func TestKernelSource(t *testing.T) {
	r := cabled(t)
	other := r.lab.Host("other")
	eth1, far1 := r.lab.LooseCable(r.self, "eth1", other, "eth0")
	r.plug(eth1, far1)
	eth1.Add("198.51.100.1/24", "2001:db8:1::1/64")
	eth1.AwaitUsable("2001:db8:1::1")
	r.self.Route("203.0.113.0/24", "198.51.100.9")
	patterns, err := ifwatch.ParsePatterns([]string{"eth1", "lo"})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []struct {
		change func(*Config)
		want   map[string]string
	}{
		{nil, map[string]string{
			"192.0.2.9:5060": "192.0.2.1", "203.0.113.9:5060": "198.51.100.1", "[2001:db8:1::7]:5060": "2001:db8:1::1",
			"127.0.0.1:5060": "127.0.0.1", "[::1]:5060": "::1", "192.0.2.1:5060": "192.0.2.1",
		}},
		{func(c *Config) { c.Policy.Interfaces = patterns }, map[string]string{
			"203.0.113.9:5060": "198.51.100.1", "[2001:db8:1::7]:5060": "2001:db8:1::1", "127.0.0.1:5060": "127.0.0.1",
			"192.0.2.9:5060": "198.51.100.1", // assumed on link, as a socket bound to eth1 does
		}},
	} {
		r.run(run.change)
		r.await("2001:db8:1::1", up()...)
		for to, want := range run.want {
			f, err := r.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort(to)})
			if err != nil || f.Local().Addr().String() != want {
				t.Errorf("to %s: %v, %v, want %s", to, f, err, want)
			}
		}
		r.stop()
	}
	_, err = r.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5060")})
	if err == nil {
		t.Error("works after the end")
	}
}

// Addresses that come and go under traffic leave nothing behind.
func TestKernelChurn(t *testing.T) {
	r := cabled(t).run(echo(t))
	r.await("192.0.2.1", up()...)
	before := r.inodes()
	c := r.udp(r.peer, "192.0.2.9:5060")
	files := openFiles(t)
	for i := range 40 {
		r.eth0.Add("192.0.2.2/24", "2001:db8::2/64")
		r.await("192.0.2.2", up()...)
		r.await("2001:db8::2", up()...)
		conn := r.tcp(r.peer, "192.0.2.2:5060")
		r.ask(c, "192.0.2.2:5060", request("OPTIONS", "UDP", "192.0.2.9", i))
		r.readUDP(c)
		r.eth0.Remove("192.0.2.2/24", "2001:db8::2/64")
		r.await("192.0.2.2")
		r.await("2001:db8::2")
		conn.Close()
	}
	r.unchanged(before)
	r.ask(c, "192.0.2.1:5060", options("UDP", "192.0.2.9"))
	r.readUDP(c)
	netlab.Await(t, "files closed", func() error {
		if n := openFiles(t); n > files {
			return fmt.Errorf("%d are open, %d were", n, files)
		}
		return nil
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
