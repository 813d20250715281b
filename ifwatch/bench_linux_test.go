package ifwatch

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/internal/netlab"
)

// host13 is a table like that of a laptop: 3 links, 13 addresses.
func host13() *follower {
	f := &follower{feed: &feed{w: New(Config{}), complete: true, source: "netlink"}, stale: map[int]bool{}, again: map[int]bool{}}
	for i := range 3 {
		f.table.setLink(ethernet(2+i, fmt.Sprintf("eth%d", i)), time.Now())
		for j := range 4 {
			f.table.setAddr(address(2+i, fmt.Sprintf("2001:db8:%x::%x/64", i, 1+j)), time.Now())
		}
	}
	f.table.setAddr(address(2, "192.0.2.1/24"), time.Now())
	return f
}

func BenchmarkParseAddr(b *testing.B) {
	m, _, _ := nextMessage(addrEvent(unix.RTM_NEWADDR, address(2, global, Tentative)))
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseAddr(m.body, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseLink(b *testing.B) {
	m, _, _ := nextMessage(readHex(b, "link_bridge.hex"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseLink(m.body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEvent is one address event of the kernel's, from bytes to a published snapshot, without the system calls.
func BenchmarkEvent(b *testing.B) {
	f := host13()
	tentative, valid := addrEvent(unix.RTM_NEWADDR, address(2, global, Tentative)), addrEvent(unix.RTM_NEWADDR, address(2, global))
	b.ReportAllocs()
	for b.Loop() {
		f.handle(tentative)
		f.publish(b.Context())
		f.handle(valid)
		f.publish(b.Context())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/event")
}

func BenchmarkJudge(b *testing.B) {
	f := host13()
	now := time.Now()
	f.note(changed)
	f.publish(b.Context())
	s := f.w.Current()
	var p Policy
	b.ReportAllocs()
	for b.Loop() {
		for _, a := range s.Addrs {
			p.Judge(s, a, now)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(len(s.Addrs)*b.N), "ns/address")
}

// BenchmarkResync10000 reads 10,000 addresses of 40 links from the kernel and publishes them.
func BenchmarkResync10000(b *testing.B) {
	host := netlab.New(b).Host("host")
	host.NoDAD()
	for i := range 40 {
		link := host.Bridge(fmt.Sprintf("br%d", i))
		link.Up()
		for j := range 250 {
			link.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::%x/64", i, 1+j)), Flags: unix.IFA_F_NODAD})
		}
	}
	err := host.Do(func() error {
		f, stop := openFollower(b)
		defer stop()
		b.ReportAllocs()
		for b.Loop() {
			f.table = table{}
			if err := f.resync(b.Context(), "benchmark"); err != nil {
				return err
			}
		}
		if n := len(f.w.Current().Addrs); n < 10000 {
			return fmt.Errorf("%d addresses", n)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func openFollower(b *testing.B) (f *follower, stop func()) {
	b.Helper()
	events, err := openSocket(b.Context(), defaultReceiveBuffer, groups()...)
	if err != nil {
		b.Fatal(err)
	}
	dumps, err := openSocket(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	return newFollower(&feed{w: New(Config{})}, events, dumps, asleep), func() { events.close(); dumps.close() }
}

// BenchmarkLatency adds and deletes an address, and measures from the moment at which a bare socket has the kernel's
// notification to the return of Wait. Its time per operation is mostly the pause between two changes.
func BenchmarkLatency(b *testing.B) {
	host := netlab.New(b).Self()
	link := host.Bridge("br0")
	link.NoDAD()
	link.Up()
	w := New(Config{})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go func() { _ = w.Run(ctx) }()
	bare, err := openSocket(b.Context(), 0, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		b.Fatal(err)
	}
	defer bare.close()
	s, err := w.Wait(ctx, 0)
	if err != nil {
		b.Fatal(err)
	}
	notified := make(chan time.Time)
	go func() {
		buf := make([]byte, datagramSize)
		for {
			if _, err := bare.receive(ctx, buf, time.Now().Add(time.Hour)); err != nil {
				return
			}
			notified <- time.Now()
		}
	}()
	s = quiet(b, w, notified, s)
	a := netlab.Addr{Prefix: netip.MustParsePrefix(global), Flags: unix.IFA_F_NODAD}
	var fromNotice, fromRequest []time.Duration
	for there := false; b.Loop(); there = !there {
		<-time.After(2 * breather) // else it were a flood
		requested := time.Now()
		if there {
			link.Remove(global)
		} else {
			link.AddAddr(a)
		}
		if s, err = w.Wait(ctx, s.Gen); err != nil {
			b.Fatal(err)
		}
		published := time.Now()
		fromRequest = append(fromRequest, published.Sub(requested))
		fromNotice = append(fromNotice, max(0, published.Sub(<-notified)))
	}
	reportPercentiles(b, fromNotice, "notice")
	reportPercentiles(b, fromRequest, "request")
}

// quiet waits until what the preparations caused has been seen.
func quiet(b *testing.B, w *Watcher, notified <-chan time.Time, s *Snapshot) *Snapshot {
	b.Helper()
	for {
		ctx, cancel := context.WithTimeout(b.Context(), 2*time.Second)
		next, err := w.Wait(ctx, s.Gen)
		cancel()
		if err == nil {
			s = next
			continue
		}
		select {
		case <-notified:
		default:
			return s
		}
	}
}

func reportPercentiles(b *testing.B, d []time.Duration, from string) {
	b.Helper()
	slices.Sort(d)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(d[len(d)*p/100].Nanoseconds())/1e3, fmt.Sprintf("us/%s-p%d", from, p))
	}
}
