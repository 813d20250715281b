package ifwatch

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/internal/netlab"
)

var idle = flag.Duration("idle", 2*time.Second, "how long BenchmarkIdle watches nothing happen; 60s for the figure in the documentation")

// BenchmarkFlood measures what share of a core it takes to follow 1,000 events a second, with somebody in Wait, for 5 seconds.
func BenchmarkFlood(b *testing.B) {
	const events = 5000
	host := netlab.New(b).Host("host")
	link := host.Bridge("br0")
	link.NoDAD()
	link.Up()
	a := netlab.Addr{Prefix: netip.MustParsePrefix(global), Flags: unix.IFA_F_NODAD}
	for b.Loop() {
		c := measure(b, host, func() {
			began := time.Now()
			for i := range events {
				// Not a ticker: it leaves out what comes late.
				<-time.After(time.Until(began.Add(time.Duration(i) * time.Millisecond)))
				if i%2 == 0 {
					link.AddAddr(a)
				} else {
					link.Remove(global)
				}
			}
		})
		b.ReportMetric(100*c.cpu/c.seconds, "%core")
		b.ReportMetric(c.events/c.seconds, "events/s")
		b.ReportMetric(c.published/c.seconds, "snapshots/s")
	}
}

// BenchmarkIdle measures what it costs to watch a network in which nothing happens.
func BenchmarkIdle(b *testing.B) {
	host := netlab.New(b).LibvirtHost("host")
	for b.Loop() {
		c := measure(b, host.Host, func() { <-time.After(*idle) })
		b.ReportMetric(1000*c.cpu*60/c.seconds, "cpu-ms/min")
		b.ReportMetric(c.switches*60/c.seconds, "switches/min")
		b.ReportMetric(c.published, "snapshots")
	}
}

// cost is what a process that does nothing but watch has needed.
type cost struct{ seconds, cpu, switches, events, published float64 }

const costEnv = "IFWATCH_TEST_COST"

// measure watches a host in a process of its own while do runs.
func measure(b *testing.B, host *netlab.Host, do func()) cost {
	b.Helper()
	p := host.Start(netlab.Cmd{Path: "/proc/self/exe", Args: []string{"-test.run=^TestCostChild$"}, Env: []string{costEnv + "=1"}})
	p.Stdout.WaitFor(`(?m)^watching$`)
	do()
	if err := p.Stdin.Close(); err != nil {
		b.Fatal(err)
	}
	fields := p.Stdout.WaitFor(`(?m)^cost (\S+) (\S+) (\S+) (\S+) (\S+)$`)
	if code := p.Wait(); code != 0 {
		b.Fatalf("exit code %d", code)
	}
	var c cost
	for i, to := range []*float64{&c.seconds, &c.cpu, &c.switches, &c.events, &c.published} {
		var err error
		if *to, err = strconv.ParseFloat(fields[i+1], 64); err != nil {
			b.Fatal(err)
		}
	}
	return c
}

// TestCostChild is the process that watches. It is quiet until its input ends, so that nothing but the watching costs.
func TestCostChild(t *testing.T) {
	if os.Getenv(costEnv) == "" {
		t.Skip("for BenchmarkFlood and BenchmarkIdle")
	}
	w := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	s, err := w.Wait(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for ; err == nil; s, err = w.Wait(ctx, s.Gen) {
		}
	}()
	<-time.After(2 * lookAgain) // the beginning is over
	before, began := usage(t), time.Now()
	events, published := w.Stats().Events, w.Stats().Published
	fmt.Println("watching")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		t.Error(err)
	}
	after := usage(t)
	fmt.Println("cost", time.Since(began).Seconds(), after.seconds()-before.seconds(), after.Nvcsw-before.Nvcsw,
		w.Stats().Events-events, w.Stats().Published-published)
	cancel()
	<-ended
}

type rusage struct{ unix.Rusage }

func (u rusage) seconds() float64 { return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9 }

// usage is what all threads of this process have used.
func usage(t *testing.T) (u rusage) {
	t.Helper()
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u.Rusage); err != nil {
		t.Fatal(err)
	}
	return u
}
