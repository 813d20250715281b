package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gosipua/gosipua/config"
	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua"
)

// settling is how long the first report waits for listeners that are still being opened.
const settling = time.Second

// report prints what became of every address once that is known, and goes on to warn of what a user should know.
// Changes themselves are logged by the packages that make them.
func (p *program) report(ctx context.Context, cfg *config.Config, m *transport.Manager, log *slog.Logger) {
	snap := firstSettled(ctx, m)
	if snap == nil {
		return
	}
	p.start(cfg, snap)
	warned := exposure{accounts: cfg.Accounts, told: map[netip.Addr]bool{}}
	deaf := false
	for {
		warned.check(ctx, snap, log)
		if none := listening(snap) == 0; none != deaf {
			deaf = none
			if deaf {
				log.ErrorContext(ctx, "no address is listened on: nobody can call, see gosipua addrs")
			}
		}
		next, err := m.Wait(ctx, snap.Gen)
		if err != nil {
			return
		}
		snap = next
	}
}

// firstSettled waits for the first snapshot in which every usable address has been tried; nil if ctx ends before.
func firstSettled(ctx context.Context, m *transport.Manager) *transport.Snapshot {
	limited, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	snap := m.Snapshot()
	for snap.Gen == 0 || !settled(snap) {
		next, err := m.Wait(limited, snap.Gen)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return m.Snapshot()
		}
		snap = next
	}
	return snap
}

// settled tells whether all that may be listened on has been tried.
func settled(s *transport.Snapshot) bool {
	for _, a := range s.Addrs {
		for _, l := range a.Listeners {
			if a.Verdict.Bind && l.State != transport.Listening && l.State != transport.Failed {
				return false
			}
		}
	}
	return s.Links != nil && s.Links.Complete
}

// listening counts the addresses that are listened on.
func listening(s *transport.Snapshot) int {
	n := 0
	for _, a := range s.Addrs {
		if len(open(a)) > 0 {
			n++
		}
	}
	return n
}

// open gives the listeners of an address that can be reached.
func open(a transport.AddrState) []transport.ListenerState {
	var out []transport.ListenerState
	for _, l := range a.Listeners {
		if l.State == transport.Listening {
			out = append(out, l)
		}
	}
	return out
}

// start prints one line per address.
func (p *program) start(cfg *config.Config, s *transport.Snapshot) {
	existing := 0
	for _, a := range s.Addrs {
		if a.Addr.Link != 0 { // others are waited for
			existing++
		}
	}
	fmt.Fprintf(p.stdout, "gosipua is ready: %s, listening on %d of %d addresses\n", count(len(cfg.Accounts), "account"), listening(s), existing)
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, a := range s.Addrs {
		address := "-"
		if a.Local.IsValid() {
			address = a.Local.String()
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", a.Interface, address, fate(a, cfg.Accounts))
	}
	_ = t.Flush()
}

// fate says in a line what becomes of an address.
func fate(a transport.AddrState, accounts []ua.Account) string {
	var parts []string
	if up := open(a); len(up) > 0 {
		parts = append(parts, "listening on "+listenersText(up))
		if where := callable(a, up, accounts); where != "" {
			parts = append(parts, "call "+where)
		}
		if note := scopeNote(a); note != "" {
			parts = append(parts, note)
		}
	}
	for _, l := range a.Listeners {
		if l.State == transport.Failed {
			parts = append(parts, fmt.Sprintf("%s:%d failed and will be tried again: %v", l.Proto, l.Port, l.Err))
		}
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case a.Addr.Link == 0:
		return "waiting: " + a.Why
	default:
		return "not used: " + a.Why
	}
}

// scopeNote says from where an address can be reached, unless from anywhere.
func scopeNote(a transport.AddrState) string {
	switch {
	case a.Local.IsLoopback():
		return "from this host only"
	case a.Local.IsLinkLocalUnicast():
		return "from this link only"
	case !a.Verdict.Advertise:
		return "not told to others: " + a.Why
	}
	return ""
}

// maxURIs is how many accounts a line names; more would hide the rest of it.
const maxURIs = 3

// callable lists the URIs that reach the accounts at an address. There is none for an address that needs a zone, which no URI has.
func callable(a transport.AddrState, up []transport.ListenerState, accounts []ua.Account) string {
	if a.Local.Zone() != "" {
		return ""
	}
	host := a.Local.String()
	if a.Local.Is6() {
		host = "[" + host + "]"
	}
	best := up[0]
	for _, l := range up {
		if l.Proto == transport.UDP {
			best = l
			break
		}
	}
	suffix := ""
	if best.Port != best.Proto.Port() {
		suffix = fmt.Sprintf(":%d", best.Port)
	}
	if best.Proto != transport.UDP {
		suffix += ";transport=" + string(best.Proto)
	}
	var uris []string
	for _, acc := range accounts {
		user, _, _ := strings.Cut(strings.TrimPrefix(acc.AOR, "sip:"), "@")
		if len(uris) == maxURIs {
			return strings.Join(append(uris, "..."), " ")
		}
		uris = append(uris, "sip:"+user+"@"+host+suffix)
	}
	return strings.Join(uris, " ")
}

// exposure warns, once per address, of accounts that answer whoever calls them from the internet.
type exposure struct {
	accounts []ua.Account
	told     map[netip.Addr]bool
}

func (e *exposure) check(ctx context.Context, s *transport.Snapshot, log *slog.Logger) {
	for _, a := range s.Addrs {
		if len(open(a)) == 0 || !public(a.Local) || e.told[a.Local] {
			continue
		}
		for _, acc := range e.accounts {
			if !acc.Register && (acc.Answer == ua.AnswerEcho || acc.Answer == ua.AnswerAuto) {
				e.told[a.Local] = true
				log.WarnContext(ctx, "anybody who reaches this public address can call this account, which answers by itself",
					slog.String("account", acc.AOR), slog.Any("local", a.Local), slog.String("answer", acc.Answer.String()),
					slog.Int("max_calls", acc.MaxCalls))
			}
		}
	}
}

// shared is the address space between carriers and their customers (RFC 6598), which the internet does not reach.
func shared() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) }

// public tells whether the whole internet may reach an address.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared().Contains(a)
}
