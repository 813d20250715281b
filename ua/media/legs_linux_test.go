package media

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// legs starts n calls over loopback, and waits until all have packets.
func legs(b *testing.B, e *Engine, n int) []*Stream {
	b.Helper()
	list := make([]*Stream, 0, 2*n)
	for range n {
		var pair [2]*Stream
		for i := range pair {
			s, err := e.Open(Local{Addr: netip.MustParseAddr("127.0.0.1")})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.SetSource(source(b, "ausine,440,-10")); err != nil {
				b.Fatal(err)
			}
			pair[i] = s
			list = append(list, s)
		}
		agree(b, pair[0], pair[1], nil)
	}
	await(b, func() bool {
		for _, s := range list {
			if s.Stats().RxPackets == 0 {
				return false
			}
		}
		return true
	})
	return list
}

// BenchmarkLegs shows what a number of legs costs: each sends and receives 50 packets a second, made from a sine, coded,
// sent through the kernel, received, put through the jitter buffer, decoded. Both ends are in this process. One
// operation is five seconds. The package comment has results, and how to run it.
func BenchmarkLegs(b *testing.B) {
	for _, n := range []int{50, 200, 500, 1000, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := run(b, Config{PortMin: 10000, PortMax: 60000})
			list := legs(b, e, n/2)
			e.forget()
			packets, missing, errs := total(list)
			begin, cpu := time.Now(), usedCPU(b)
			for b.Loop() {
				<-time.After(5 * time.Second)
			}
			elapsed := time.Since(begin)
			cpu = usedCPU(b) - cpu
			packets2, missing2, errs2 := total(list)
			st := e.Stats()
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(cpu)/float64(elapsed)*100, "%core")
			b.ReportMetric(float64(cpu)/float64(elapsed)*100/float64(n), "%core/leg")
			b.ReportMetric(float64(cpu)/1e3/float64(packets2-packets), "us/packet")
			b.ReportMetric(float64(st.LatenessP50)/1e3, "late-p50-us")
			b.ReportMetric(float64(st.LatenessP99)/1e3, "late-p99-us")
			b.ReportMetric(float64(missing2-missing), "lost")
			b.ReportMetric(float64(errs2-errs), "errors")
		})
	}
}

// forget begins the statistics of turns anew.
func (e *Engine) forget() {
	for _, p := range e.pacers {
		for i := range p.late.buckets {
			p.late.buckets[i].Store(0)
		}
	}
}

// total is what streams have received, and what of it is missing.
func total(list []*Stream) (packets, missing, errs uint64) {
	for _, s := range list {
		st := s.Stats()
		packets, missing, errs = packets+st.RxPackets, missing+uint64(max(st.Lost, 0))+st.Late, errs+st.TxErrors
	}
	return packets, missing, errs
}

// usedCPU is the time this process has used so far.
func usedCPU(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
