package ifwatch

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// pollFast is how often the system is asked while DAD runs, where it tells that.
const pollFast = 200 * time.Millisecond

// poll asks the system again and again, until ctx ends or the time has come to try something better (zero: never).
func (f *feed) poll(ctx context.Context, read func(context.Context) (reading, error), until time.Time) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failed := ""; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		now := time.Now()
		if !until.IsZero() && now.After(until) {
			return nil
		}
		r, err := read(ctx)
		if err == nil {
			failed = ""
			f.replace(r, now)
			f.source = "poll" // by whatever means
		} else {
			f.complete = false
			if err.Error() != failed { // once, not at every poll
				failed = err.Error()
				f.w.log.WarnContext(ctx, "reading the network interfaces", slog.Any("err", err))
			}
		}
		f.rejudge(now)
		f.publish(ctx)
		timer.Reset(f.pollIn())
	}
}

// rejudge publishes again when a lifetime has ended.
func (f *feed) rejudge(now time.Time) {
	if !f.expiryAt.IsZero() && !now.Before(f.expiryAt) {
		f.note(changed)
	}
}

func (f *feed) pollIn() time.Duration {
	for _, r := range f.table.rows {
		for _, list := range [...][]Addr{r.v4, r.v6} {
			for i := range list {
				if list[i].Flags.Has(Tentative) && !list[i].Flags.Has(DADFailed) && !waitsForCarrier(&r.Link, list[i]) {
					return min(pollFast, f.w.cfg.Poll)
				}
			}
		}
	}
	return f.w.cfg.Poll
}

// readNet reads what the standard library knows: no flags, no lifetimes, no states.
func readNet(context.Context) (reading, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return reading{}, fmt.Errorf("network interfaces: %w", err)
	}
	r := reading{sure: true, source: "poll"}
	for i := range interfaces {
		ifc := &interfaces[i]
		r.links = append(r.links, linkOf(ifc))
		prefixes, err := ifc.Addrs()
		if err != nil {
			r.sure = false // it has probably gone since it was listed
			continue
		}
		for _, p := range prefixes {
			if a, ok := addrOf(ifc.Index, p); ok {
				r.addrs = append(r.addrs, a)
			}
		}
	}
	return r, nil
}

func linkOf(ifc *net.Interface) Link {
	up, running := ifc.Flags&net.FlagUp != 0, ifc.Flags&net.FlagRunning != 0
	l := Link{
		Index: ifc.Index, Name: ifc.Name, MTU: ifc.MTU, Loopback: ifc.Flags&net.FlagLoopback != 0,
		Up: up, LowerUp: running, Running: running, In6Ready: up,
	}
	if !running {
		l.Oper = OperDown
	}
	return l
}

func addrOf(link int, n net.Addr) (Addr, bool) {
	prefix, ok := n.(*net.IPNet)
	if !ok {
		return Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(prefix.IP)
	if !ok {
		return Addr{}, false
	}
	ones, _ := prefix.Mask.Size()
	a := Addr{Key: Key{Link: link, Addr: ip.Unmap(), Bits: ones}}
	a.Scope = scopeOf(a.Addr)
	return a, true
}

// scopeOf is the scope of an address of which the system does not tell.
func scopeOf(a netip.Addr) Scope {
	switch {
	case a.IsLoopback():
		return ScopeHost
	case a.IsLinkLocalUnicast():
		return ScopeLink
	default:
		return ScopeGlobal
	}
}

// Read takes one reading and returns it as a snapshot with Gen 1. It may be incomplete: see [Snapshot.Complete].
func Read(ctx context.Context) (*Snapshot, error) {
	r, err := readSystem(ctx)
	if err != nil {
		return nil, err
	}
	f := feed{w: New(Config{})}
	f.replace(r, time.Now())
	f.publish(ctx)
	return f.w.Current(), nil
}
