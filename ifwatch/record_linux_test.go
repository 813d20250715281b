package ifwatch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/internal/netlab"
)

var record = flag.Bool("record", false, "record the sessions in testdata anew; then run TestReplay with -golden")

// lookEvery is how often the recorder reads everything without an event, to see what changes silently.
const lookEvery = 20 * time.Millisecond

// recorder writes down what the kernel says to a host. It is independent of the Watcher: what it reads, and when, does not
// depend on the code that is tested with it.
type recorder struct {
	t      *testing.T
	host   *netlab.Host
	events *socket
	dump   *dumper
	began  time.Time
	frames []frame
	state  recording
	known  map[int]Link
	say    chan string
	said   chan struct{}

	mu     sync.Mutex
	last   *Snapshot // what was read last
	lastAt time.Time // when the last event came
}

// startRecorder records a host until stop is called, which returns the session.
func startRecorder(t *testing.T, host *netlab.Host) (r *recorder, stop func() []frame) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r = &recorder{
		t: t, host: host, state: newRecording(), known: map[int]Link{}, say: make(chan string), said: make(chan struct{}),
		last: &Snapshot{},
	}
	r.events = netlab.In(host, func() (*socket, error) { return openSocket(ctx, defaultReceiveBuffer, groups()...) })
	dumps := netlab.In(host, func() (*socket, error) { return openSocket(ctx, 0) })
	r.dump = newDumper(dumps)
	r.began = time.Now()
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	return r, func() []frame {
		r.settle()
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Errorf("recorder: %v", err)
		}
		r.events.close()
		dumps.close()
		return r.frames
	}
}

func (r *recorder) run(ctx context.Context) error {
	if err := r.look(ctx, &frame{recording: newRecording()}); err != nil {
		return err
	}
	buf := make([]byte, datagramSize)
	for {
		f := &frame{recording: newRecording()}
		n, err := r.events.receive(ctx, buf, time.Now().Add(lookEvery))
		f.at = time.Since(r.began)
		for ; err == nil; n, err = r.events.receive(ctx, buf, time.Time{}) {
			f.events = append(f.events, slices.Clone(buf[:n]))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, unix.EAGAIN) {
			return err // an overflow too: a session has no holes
		}
		if err := r.look(ctx, f); err != nil {
			return err
		}
		select {
		case text := <-r.say:
			r.frames = append(r.frames, frame{at: time.Since(r.began), notes: []string{text}})
			r.said <- struct{}{}
		default:
		}
	}
}

// look reads everything, and keeps the frame if there is anything new.
func (r *recorder) look(ctx context.Context, f *frame) error {
	s, now := &Snapshot{}, time.Now()
	all := newRecording()
	err := r.read(ctx, unix.RTM_GETLINK, linkRequest(), func(m message, raw []byte) {
		if l, err := parseLink(m.body); err == nil && l.family == unix.AF_UNSPEC {
			s.Links = append(s.Links, l.link)
			all.links[l.link.Index] = raw
		}
	})
	if err != nil {
		return err
	}
	for _, l := range s.Links {
		for _, family := range [...]Family{Inet, Inet6} {
			of := addrsOf{l.Index, family}
			err := r.read(ctx, unix.RTM_GETADDR, addrRequest(l.Index, family), func(m message, raw []byte) {
				if a, err := parseAddr(m.body, now); err == nil && a.Link == l.Index && a.Family() == family {
					s.Addrs = append(s.Addrs, a)
					all.addrs[of] = append(all.addrs[of], raw...)
				}
			})
			if err != nil {
				return err
			}
		}
	}
	r.keep(f, s, &all)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = s
	if len(f.events) > 0 || r.lastAt.IsZero() {
		r.lastAt = now
	}
	return nil
}

// read dumps until it is not interrupted.
func (r *recorder) read(ctx context.Context, typ uint16, body []byte, each func(m message, raw []byte)) error {
	for range 100 {
		var found []message
		sure, err := r.dump.dump(ctx, typ, body, func(m message) {
			m.body = slices.Clone(m.body)
			found = append(found, m)
		})
		if err != nil {
			return err
		}
		if sure {
			for _, m := range found {
				each(m, appendRequest(nil, m.typ, 0, 0, m.body))
			}
			return nil
		}
	}
	return errors.New("every dump is interrupted")
}

// keep puts what is new into the frame, and the frame into the session if it has any. Of a link only what a Watcher reads
// counts: a bridge's timers, for example, are in its messages too.
func (r *recorder) keep(f *frame, s *Snapshot, all *recording) {
	known := map[int]Link{}
	for _, l := range s.Links {
		known[l.Index] = l
		if was, ok := r.known[l.Index]; !ok || !sameLink(&was, &l) {
			f.links[l.Index] = all.links[l.Index]
		}
	}
	for index := range r.known {
		if _, ok := known[index]; !ok {
			f.links[index] = nil
		}
	}
	for of, raw := range all.addrs {
		if !bytes.Equal(raw, r.state.addrs[of]) {
			f.addrs[of] = raw
		}
	}
	for of := range r.state.addrs {
		if all.addrs[of] == nil {
			f.addrs[of] = nil
		}
	}
	r.known = known
	r.state.update(&f.recording)
	if len(f.events)+len(f.links)+len(f.addrs) > 0 {
		r.frames = append(r.frames, *f)
	}
}

// quietFor is after how long without an event what was done has had its effect. The kernel reports the loss of carrier up to a
// second late, and DAD waits up to another one before it begins.
const quietFor = 1500 * time.Millisecond

// settle waits until nothing happens any more.
func (r *recorder) settle() {
	r.t.Helper()
	netlab.Await(r.t, "nothing happens", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if d := time.Since(r.lastAt); d < quietFor {
			return fmt.Errorf("%v after the last event", d)
		}
		return nil
	})
}

// note waits until all is quiet, and writes down what is about to be done.
func (r *recorder) note(text string) {
	r.t.Helper()
	r.settle()
	r.say <- text
	<-r.said
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastAt = time.Now()
}

// await waits until an address, without its prefix length, is judged so.
func (r *recorder) await(addr string, want Reason) {
	r.t.Helper()
	r.until(addr+" is "+string(want), func(s *Snapshot) bool {
		return slices.ContainsFunc(s.Addrs, func(a Addr) bool {
			return a.Addr.String() == addr && new(Policy).Judge(s, a, time.Now()).Reason == want
		})
	})
}

// gone waits until there is no address that begins so.
func (r *recorder) gone(prefix string) {
	r.t.Helper()
	r.until(prefix+" is gone", func(s *Snapshot) bool {
		return !slices.ContainsFunc(s.Addrs, func(a Addr) bool { return strings.HasPrefix(a.Addr.String(), prefix) })
	})
}

func (r *recorder) until(what string, check func(*Snapshot) bool) {
	r.t.Helper()
	netlab.Await(r.t, what, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !check(r.last) {
			return fmt.Errorf("addresses %v", r.last.Addrs)
		}
		return nil
	})
}

// TestRecordSessions records the sessions anew with -record.
func TestRecordSessions(t *testing.T) {
	if !*record {
		t.Skip("only with -record")
	}
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		name, about string
		play        func(t *testing.T) []frame
	}{
		{"libvirt_host", "A host with a physical interface and three bridges of libvirt, each with one port without carrier.\n" +
			"A guest starts on virbr2, stops, and starts again.", recordLibvirt},
		{"wifi_roam", "A laptop's Wi-Fi roams to another access point, and then to another network.\n" +
			"wlan0 is a veth in dormant mode, as wpa_supplicant uses it.", recordRoam},
		{"vpn", "A VPN is set up, loses its program, is set up again and taken down, beside Ethernet.", recordVPN},
		{
			"renumbering", "Router advertisements renumber an IPv6 network. Each prefix gives a stable and a temporary address.\n" +
				"While they are tentative the kernel does not tell of them.",
			recordRenumbering,
		},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			frames := s.play(t)
			about := s.about + "\nRecorded on Linux " + unix.ByteSliceToString(uname.Release[:]) + "."
			if t.Failed() {
				return
			}
			path := filepath.Join("testdata", "sessions", s.name+".session")
			if err := os.WriteFile(path, formatSession(about, frames), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// sessionVerdicts is what the sessions have to show, whenever they are recorded: the answers and reasons for some of the
// addresses, in their order. Those with a question mark are there at times.
func sessionVerdicts() map[string]map[string][]string {
	return map[string]map[string][]string{
		"libvirt_host": {
			"2001:db8:ddde:ffff::1/64 on virbr2": {
				"---- dad_waits_for_carrier tentative no_carrier", "?---- tentative no_carrier", "---- tentative", "BKAF ok", "-K-- no_carrier", "BKAF ok",
			},
			"192.168.125.1/24 on virbr2":           {"---- no_carrier", "BKAF ok", "-K-- no_carrier", "BKAF ok"},
			"192.168.122.1/24 on virbr0":           {"---- no_carrier"},
			"192.0.2.10/24 on enp0s13f0u1u4u4":     {"BKAF ok"},
			"2001:db8:1::10/64 on enp0s13f0u1u4u4": {"BKAF ok"},
		},
		"wifi_roam": {
			"192.0.2.10/24 on wlan0":            {"BKAF ok", "-K-- no_carrier", "-K-- dormant", "BKAF ok", "-K-- no_carrier", "deleted"},
			"2001:db8:a::ff:fe00:1/64 on wlan0": {"BKAF ok", "-K-- no_carrier", "-K-- dormant", "BKAF ok", "-K-- no_carrier", "deleted"},
			"198.51.100.10/24 on wlan0":         {"BKAF ok"},
			"2001:db8:b::ff:fe00:1/64 on wlan0": {"?---- tentative", "BKAF ok"},
			"2001:db8:b:0:":                     {"?---- tentative", "BKAF ok"},
		},
		"vpn": {
			"192.0.2.10/24 on eth0":   {"BKAF ok"},
			"198.51.100.2/32 on tun0": {"?---- link_down", "BKAF ok", "deleted", "?---- link_down", "BKAF ok", "-K-- link_down", "deleted"},
			"2001:db8:7::2/64 on tun0": {
				"?---- link_down dad_waits_for_carrier tentative", "?---- dad_waits_for_carrier tentative", "?---- tentative", "BKAF ok", "deleted",
				"?---- link_down dad_waits_for_carrier tentative", "?---- dad_waits_for_carrier tentative", "?---- tentative", "BKAF ok", "deleted",
			},
		},
		"renumbering": {
			"2001:db8:a::ff:fe00:1/64 on eth0": {"?---- tentative", "BKAF ok", "-K-- deprecated", "deleted"},
			"2001:db8:a:0:":                    {"?---- tentative", "BKAF ok", "-K-- deprecated", "deleted"},
			"2001:db8:b::ff:fe00:1/64 on eth0": {"?---- tentative", "BKAF ok"},
			"2001:db8:b:0:":                    {"?---- tentative", "BKAF ok"},
		},
	}
}

func recordLibvirt(t *testing.T) []frame {
	v := netlab.New(t).LibvirtHost("host")
	r, stop := startRecorder(t, v.Host)
	r.await("2001:db8:ddde:ffff::1", ReasonDADWaitsForCarrier)
	r.note("a guest starts on virbr2")
	v.PlugIn(2)
	r.await("2001:db8:ddde:ffff::1", ReasonOK)
	r.note("the guest stops")
	v.PlugOut(2)
	r.await("2001:db8:ddde:ffff::1", ReasonNoCarrier)
	r.note("the guest starts again")
	v.PlugIn(2)
	r.await("2001:db8:ddde:ffff::1", ReasonOK)
	return stop()
}

// wire returns a cable between a host and a neighbour, both ends down. The host's end has the hardware address
// 02:00:00:00:00:01, so that each recording has the same addresses.
func wire(t *testing.T, name string) (host *netlab.Host, at, neighbour *netlab.Link) {
	t.Helper()
	lab := netlab.New(t)
	host = lab.Host("host")
	at, neighbour = lab.LooseCable(host, name, lab.Host("neighbour"), "eth0")
	for i, l := range []*netlab.Link{at, neighbour} {
		link, err := l.Host().Netlink().LinkByIndex(l.Index())
		if err == nil {
			err = l.Host().Netlink().LinkSetHardwareAddr(link, net.HardwareAddr{2, 0, 0, 0, 0, byte(1 + i)})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return host, at, neighbour
}

// setLinkMode makes the kernel wait for a program that says when a link is ready (IF_LINK_MODE_DORMANT), or is that program.
func setLinkMode(t *testing.T, l *netlab.Link, typ uint16, value byte) {
	t.Helper()
	err := l.Host().Do(func() error {
		conn, err := openSocket(t.Context(), 0)
		if err != nil {
			return err
		}
		defer conn.close()
		body := make([]byte, unix.SizeofIfInfomsg)
		binary.NativeEndian.PutUint32(body[4:], uint32(l.Index()))
		return ask(t.Context(), conn, unix.RTM_SETLINK, 0, withAttr(body, typ, []byte{value}), func(message) {})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func recordRoam(t *testing.T) []frame {
	const linkModeDormant = 1
	host, wlan0, ap := wire(t, "wlan0")
	setLinkMode(t, wlan0, unix.IFLA_LINKMODE, linkModeDormant)
	associated := func() { setLinkMode(t, wlan0, unix.IFLA_OPERSTATE, byte(OperUp)) }
	wlan0.Conf("use_tempaddr", "2")
	wlan0.Up()
	ap.Up()
	ap.LinkLocal()
	associated()
	wlan0.LinkLocal()
	lease := func(prefix string) netlab.Addr {
		return netlab.Addr{Prefix: netip.MustParsePrefix(prefix), Valid: time.Hour, Preferred: time.Hour}
	}
	wlan0.AddAddr(lease("192.0.2.10/24"))
	advertise(t, ap, "2001:db8:a::", time.Hour, time.Hour)
	wlan0.AwaitUsable("2001:db8:a::ff:fe00:1")

	r, stop := startRecorder(t, host)
	r.await("192.0.2.10", ReasonOK)
	r.await("2001:db8:a::ff:fe00:1", ReasonOK)
	r.note("loses its access point")
	ap.Down()
	r.note("finds another one of the same network")
	ap.Up()
	r.await("192.0.2.10", ReasonDormant)
	associated()
	r.await("192.0.2.10", ReasonOK)
	r.note("goes out of reach")
	ap.Down()
	r.note("finds another network: is switched off and on")
	wlan0.Remove("192.0.2.10/24")
	wlan0.Down()
	r.gone("2001:db8:a:")
	wlan0.Up()
	ap.Up()
	associated()
	wlan0.LinkLocal()
	ap.LinkLocal()
	r.note("the other network gives addresses")
	wlan0.AddAddr(lease("198.51.100.10/24"))
	advertise(t, ap, "2001:db8:b::", time.Hour, time.Hour)
	r.await("198.51.100.10", ReasonOK)
	r.await("2001:db8:b::ff:fe00:1", ReasonOK)
	return stop()
}

// advertise sends a router advertisement (RFC 4861 section 4.2) with one prefix of 64 bits.
func advertise(t *testing.T, from *netlab.Link, prefix string, preferred, valid time.Duration) {
	t.Helper()
	b := []byte{134, 0, 0, 0, 64, 0}
	b = binary.BigEndian.AppendUint16(b, 1800) // router lifetime
	b = append(b, make([]byte, 8)...)          // reachable time, retransmission timer
	b = append(b, 3, 4, 64, 0xc0)              // prefix information: on link, autonomous
	b = binary.BigEndian.AppendUint32(b, uint32(valid.Seconds()))
	b = binary.BigEndian.AppendUint32(b, uint32(preferred.Seconds()))
	b = append(b, 0, 0, 0, 0)
	b = append(b, netip.MustParseAddr(prefix).AsSlice()...)
	err := from.Host().Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
			return err
		}
		allNodes := netip.MustParseAddr("ff02::1").As16()
		return unix.Sendto(fd, b, 0, &unix.SockaddrInet6{Addr: allNodes, ZoneId: uint32(from.Index())})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// recordVPN needs /dev/net/tun, which on most hosts is root's.
func recordVPN(t *testing.T) []frame {
	host, eth0, neighbour := wire(t, "eth0")
	neighbour.Up()
	eth0.Up()
	eth0.LinkLocal()
	eth0.Add("192.0.2.10/24")
	r, stop := startRecorder(t, host)
	r.await("192.0.2.10", ReasonOK)
	r.note("the VPN is set up")
	tun := openTun(t, host)
	setUpTun(host.Link("tun0"))
	r.await("198.51.100.2", ReasonOK)
	r.await("2001:db8:7::2", ReasonOK)
	r.note("the VPN's program ends without a word")
	tun()
	r.gone("198.51.100.2")
	r.note("it is started again")
	tun = openTun(t, host)
	setUpTun(host.Link("tun0"))
	r.await("2001:db8:7::2", ReasonOK)
	r.note("the VPN is taken down in good order")
	host.Link("tun0").Down()
	r.gone("2001:db8:7:")
	tun()
	r.until("tun0 is gone", func(s *Snapshot) bool { _, there := s.LinkNamed("tun0"); return !there })
	return stop()
}

func setUpTun(tun0 *netlab.Link) {
	tun0.MTU(1420)
	tun0.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("198.51.100.2/32"), Peer: netip.MustParseAddr("198.51.100.1")})
	tun0.Add("2001:db8:7::2/64")
	tun0.Up()
}

// openTun makes tun0, which exists until it is closed.
func openTun(t *testing.T, host *netlab.Host) (closeTun func()) {
	t.Helper()
	fd := -1
	err := host.Do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq("tun0")
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	})
	if err != nil {
		t.Fatalf("tun0: %v; /dev/net/tun is root's on most hosts", err)
	}
	return func() { _ = unix.Close(fd) } // nothing was written
}

func recordRenumbering(t *testing.T) []frame {
	host, eth0, router := wire(t, "eth0")
	eth0.Conf("use_tempaddr", "2")
	router.Up()
	eth0.Up()
	router.LinkLocal()
	eth0.LinkLocal()
	r, stop := startRecorder(t, host)
	r.until("the link-local address is known", func(s *Snapshot) bool { return len(s.Addrs) > 0 })
	r.note("the router advertises 2001:db8:a::/64")
	advertise(t, router, "2001:db8:a::", 12*time.Second, 15*time.Second)
	r.await("2001:db8:a::ff:fe00:1", ReasonOK)
	r.note("it advertises 2001:db8:b::/64 too")
	advertise(t, router, "2001:db8:b::", time.Hour, 2*time.Hour)
	r.await("2001:db8:b::ff:fe00:1", ReasonOK)
	r.note("it deprecates 2001:db8:a::/64")
	advertise(t, router, "2001:db8:a::", 0, 15*time.Second)
	r.await("2001:db8:a::ff:fe00:1", ReasonDeprecated)
	r.gone("2001:db8:a:")
	return stop()
}
