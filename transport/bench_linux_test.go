package transport

import (
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nullConn is a socket that takes what is written.
type nullConn struct{ packetConn }

func (nullConn) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }

// cpu reports the processor time of this process for each operation: on a busy
// machine the time of the clock says little.
func cpu(b *testing.B) (report func()) {
	used := func() int64 {
		var r unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return r.Utime.Nano() + r.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

// percentiles reports how long something took.
func percentiles(b *testing.B, all []time.Duration) {
	slices.Sort(all)
	for name, i := range map[string]int{"p50-us": len(all) / 2, "p99-us": len(all) * 99 / 100, "max-us": len(all) - 1} {
		b.ReportMetric(float64(all[i].Nanoseconds())/1000, name)
	}
}

// BenchmarkDatagram is what the Manager itself costs for one OPTIONS and its
// answer over UDP: framing, flow, response; no system call.
func BenchmarkDatagram(b *testing.B) {
	response := []byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1;received=192.0.2.9;rport=5070\r\n" +
		"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=2\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
	r := cabled(b).run(func(c *Config) {
		c.Receive = func(m Message) {
			if err := m.Flow.Respond(b.Context(), response); err != nil {
				b.Error(err)
			}
		}
	})
	r.await("192.0.2.1", up()...)
	s := &udpSocket{m: r.m, conn: nullConn{}, local: addrPort("192.0.2.1:5060"), done: make(chan struct{}), flows: make(map[netip.AddrPort]*Flow)}
	in, from := []byte(options("UDP", "192.0.2.9:5070;rport")), addrPort("192.0.2.9:5070")
	b.ReportAllocs()
	report := cpu(b)
	for b.Loop() {
		s.datagram(in, from)
	}
	report()
}

// BenchmarkOPTIONS is OPTIONS and 200 through real sockets, 32 at a time. The
// peer is in the same process and costs about as much as two system calls.
func BenchmarkOPTIONS(b *testing.B) {
	r := cabled(b).run(func(c *Config) {
		c.Receive = func(m Message) {
			if err := m.Flow.Respond(b.Context(), answer(m)); err != nil {
				b.Error(err)
			}
		}
	})
	r.await("192.0.2.1", up()...)
	peer := r.udp(r.peer, "192.0.2.9:5070")
	in, to := []byte(options("UDP", "192.0.2.9:5070;rport")), addrPort("192.0.2.1:5060")
	buf := make([]byte, 2048)
	const window = 32
	pending := 0
	b.ReportAllocs()
	report := cpu(b)
	for b.Loop() {
		if pending == window {
			if _, _, err := peer.ReadFromUDPAddrPort(buf); err != nil {
				b.Fatal(err)
			}
			pending--
		}
		if _, err := peer.WriteToUDPAddrPort(in, to); err != nil {
			b.Fatal(err)
		}
		pending++
	}
	report()
	for ; pending > 0; pending-- { // the Manager must not be closed while it answers
		if _, _, err := peer.ReadFromUDPAddrPort(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBindAfterDAD is the time from the first moment at which the kernel
// lets the address be bound until UDP and TCP are listened on: a goroutine tries
// to bind another port all the time.
func BenchmarkBindAfterDAD(b *testing.B) {
	up := make(chan time.Time, 8)
	r := cabled(b).run(func(c *Config) {
		c.Event = func(e Event) {
			if e.Kind == ListenerUp && e.Local.Addr() == addr("2001:db8::3") {
				up <- time.Now()
			}
		}
	})
	r.await("192.0.2.1", "udp:5060 listening", "tcp:5060 listening")
	var all []time.Duration
	for b.Loop() {
		var usable time.Time
		var wg sync.WaitGroup
		r.eth0.Add("2001:db8::3/64")
		wg.Go(func() { usable = bindable("[2001:db8::3]:9999") })
		<-up
		done := <-up
		wg.Wait()
		all = append(all, max(done.Sub(usable), 0))
		r.eth0.Remove("2001:db8::3/64")
		r.await("2001:db8::3")
	}
	percentiles(b, all)
}

// bindable returns when a socket could be bound.
func bindable(local string) time.Time {
	for {
		c, err := net.ListenPacket("udp", local)
		if err == nil {
			now := time.Now()
			c.Close()
			return now
		}
		runtime.Gosched()
	}
}

// BenchmarkCloseAfterDelete is the time from the end of the system call that
// deletes an address until its sockets are closed.
func BenchmarkCloseAfterDelete(b *testing.B) {
	r := cabled(b).run(nil)
	r.await("192.0.2.1", up()...)
	peer := r.udp(r.peer, "[2001:db8::9]:5060")
	var all []time.Duration
	for b.Loop() {
		r.eth0.Add("2001:db8::3/64")
		r.await("2001:db8::3", up()...)
		r.ask(peer, "[2001:db8::3]:5060", options("UDP", "h"))
		f := r.next().Flow
		r.eth0.Remove("2001:db8::3/64")
		deleted := time.Now()
		<-f.Done()
		all = append(all, time.Since(deleted))
		r.await("2001:db8::3")
	}
	percentiles(b, all)
}
