package ifwatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
)

// Say what each address of this host is good for.
func ExampleRead() {
	s, err := ifwatch.Read(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	var everything ifwatch.Policy
	for _, a := range s.Addrs {
		v := everything.Judge(s, a, time.Now())
		fmt.Println(s.Zoned(a), v.Reason, s.Explain(a, v))
	}
}

// Follow the host, and open and close listeners as their addresses come and go.
func ExampleWatcher() {
	follow := func(ctx context.Context, policy ifwatch.Policy, open, closed func(ifwatch.Key)) error {
		w := ifwatch.New(ifwatch.Config{Log: slog.Default()})
		go func() { _ = w.Run(ctx) }() // returns when ctx ends
		bound := map[ifwatch.Key]bool{}
		for s := w.Current(); ; {
			var next time.Time // when a verdict changes by itself
			keep := map[ifwatch.Key]bool{}
			for _, a := range s.Addrs {
				v := policy.Judge(s, a, time.Now())
				if v.Bind && !bound[a.Key] {
					open(a.Key)
				}
				keep[a.Key] = v.Bind || v.Keep && bound[a.Key]
				if next.IsZero() || !v.Next.IsZero() && v.Next.Before(next) {
					next = v.Next
				}
			}
			for key := range bound {
				if !keep[key] {
					closed(key)
				}
			}
			maps.DeleteFunc(keep, func(_ ifwatch.Key, kept bool) bool { return !kept })
			bound = keep

			waiting, cancel := ctx, func() {}
			if !next.IsZero() {
				waiting, cancel = context.WithDeadline(ctx, next)
			}
			newer, err := w.Wait(waiting, s.Gen)
			cancel()
			switch {
			case err == nil:
				s = newer
			case !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
				return err
			}
		}
	}
	_ = follow
}

// A bridge of libvirt without guests has no carrier, and so DAD never begins on it.
func ExamplePolicy_Judge() {
	virbr2 := ifwatchtest.Link(7, "virbr2")
	virbr2.LowerUp, virbr2.Oper, virbr2.In6Ready = false, ifwatch.OperDown, false
	s := &ifwatch.Snapshot{
		Links: []ifwatch.Link{ifwatchtest.Link(2, "eth0"), virbr2},
		Addrs: []ifwatch.Addr{
			ifwatchtest.Addr(2, "192.0.2.1/24"),
			ifwatchtest.Addr(2, "fe80::1/64"),
			ifwatchtest.Addr(7, "2001:db8:ddde:ffff::1/64", ifwatch.Tentative),
		},
	}
	var policy ifwatch.Policy
	for _, a := range s.Addrs {
		v := policy.Judge(s, a, time.Now())
		fmt.Printf("%s: bind %t, advertise %t: %s\n", s.Zoned(a), v.Bind, v.Advertise, s.Explain(a, v))
	}
	// Output:
	// 192.0.2.1: bind true, advertise true: usable
	// fe80::1%eth0: bind true, advertise false: link-local: reachable on eth0 only
	// 2001:db8:ddde:ffff::1: bind false, advertise false: DAD waits for carrier: virbr2 has none
}
