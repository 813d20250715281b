package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gosipua/gosipua/config"
	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/transport"
)

func addrsCommand() command {
	return command{
		name: "addrs", args: "[-f FILE] [--json] [--watch]", short: "every local address: how it may be used, or why not",
		long: `Lists every local address with the verdict on it: whether a listener may
be opened on it (bind), an open one may stay (keep), it may be named to
others in Contact, Via and SDP (advertise), and be the source of new calls
and registrations (new_flows), and why. USE sums that up: all, local (all,
but only with peers of its own scope), listen, keep or no.

With -f the policy is that of the configuration, its listeners are shown as
planned, and what it names but this host lacks is listed as waited for.
Nothing is opened.

--json prints one array. --watch goes on and prints a line for each change;
with --json that is one object per line.`,
		setup: func(p *program, fs *flag.FlagSet) func([]string) error {
			a := addrs{program: p}
			file := fileFlag(fs)
			fs.BoolVar(&a.json, "json", false, "print JSON")
			watch := fs.Bool("watch", false, "go on, and print what changes until interrupted")
			return func(rest []string) error {
				if err := none("addrs", rest); err != nil {
					return err
				}
				cfg, err := p.loadOrDefault("addrs", *file)
				if err != nil {
					return err
				}
				a.cfg = cfg
				if *file == "" {
					a.cfg.Listen = []transport.Listen{}
				}
				if *watch {
					return a.watch()
				}
				return a.once()
			}
		},
	}
}

// addrs is one run of the command.
type addrs struct {
	program *program
	cfg     *config.Config
	json    bool
}

// plan judges the addresses of a snapshot by the configuration.
func (a *addrs) plan(s *ifwatch.Snapshot) []transport.AddrState {
	return transport.Plan(a.cfg.Policy, a.cfg.Listen, s, time.Now())
}

// once prints the addresses as they are now.
func (a *addrs) once() error {
	snap, err := ifwatch.Read(context.Background())
	if err != nil {
		return fmt.Errorf("reading the addresses of this host: %w", err)
	}
	return a.print(a.plan(snap))
}

// print writes the whole list.
func (a *addrs) print(states []transport.AddrState) error {
	if !a.json {
		return writeTable(a.program.stdout, states, len(a.cfg.Listen) > 0)
	}
	list := make([]addrJSON, len(states))
	for i, s := range states {
		list[i] = toJSON(s)
	}
	enc := json.NewEncoder(a.program.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(list)
}

// addrJSON is one element of the output of --json; other programs depend on its names.
type addrJSON struct {
	Address        string         `json:"address"` // "" for an interface that is waited for
	PrefixLen      int            `json:"prefix_len"`
	Interface      string         `json:"interface"`
	Index          int            `json:"ifindex"` // 0 for what is waited for
	Family         string         `json:"family"`
	Flags          []string       `json:"flags"`
	Bind           bool           `json:"bind"`
	Keep           bool           `json:"keep"`
	Advertise      bool           `json:"advertise"`
	NewFlows       bool           `json:"new_flows"`
	Reason         string         `json:"reason"`
	Reasons        []string       `json:"reasons"`
	Why            string         `json:"why"`
	PreferredUntil *time.Time     `json:"preferred_until,omitempty"`
	ValidUntil     *time.Time     `json:"valid_until,omitempty"`
	Listeners      []listenerJSON `json:"listeners"`
}

type listenerJSON struct {
	Transport string `json:"transport"`
	Port      uint16 `json:"port"`
	State     string `json:"state"`
}

func toJSON(s transport.AddrState) addrJSON {
	v := s.Verdict
	out := addrJSON{
		PrefixLen: s.Addr.Bits, Interface: s.Interface, Index: s.Addr.Link, Flags: append([]string{}, s.Addr.Flags.Names()...),
		Bind: v.Bind, Keep: v.Keep, Advertise: v.Advertise, NewFlows: v.NewFlows, Reason: string(v.Reason), Reasons: []string{}, Why: s.Why,
		PreferredUntil: known(s.Addr.PreferredUntil), ValidUntil: known(s.Addr.ValidUntil), Listeners: []listenerJSON{},
	}
	if s.Local.IsValid() {
		out.Address, out.Family = s.Local.String(), ifwatch.Inet6.String()
		if s.Local.Is4() {
			out.Family = ifwatch.Inet.String()
		}
	}
	for _, r := range v.Reasons {
		out.Reasons = append(out.Reasons, string(r))
	}
	for _, l := range s.Listeners {
		// Nothing is opened here, so a listener whose address has to be waited for is as planned as the others.
		out.Listeners = append(out.Listeners, listenerJSON{string(l.Proto), l.Port, string(transport.Planned)})
	}
	return out
}

// known leaves out times that are not set.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// writeTable prints one line per address.
func writeTable(w io.Writer, states []transport.AddrState, listeners bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "INTERFACE\tADDRESS\tUSE\tREASON\tWHY"
	if listeners {
		head = "INTERFACE\tADDRESS\tUSE\tLISTENERS\tREASON\tWHY"
	}
	fmt.Fprintln(t, head)
	for _, s := range states {
		cells := []string{s.Interface, addressText(s), useText(s.Verdict)}
		if listeners {
			cells = append(cells, listenersText(s.Listeners))
		}
		fmt.Fprintln(t, strings.Join(append(cells, string(s.Verdict.Reason), s.Why), "\t"))
	}
	return t.Flush()
}

// addressText is the address as the table shows it; "-" for an interface that is waited for.
func addressText(s transport.AddrState) string {
	switch {
	case !s.Local.IsValid():
		return "-"
	case s.Addr.Link == 0:
		return s.Local.String()
	default:
		return fmt.Sprintf("%s/%d", s.Local, s.Addr.Bits)
	}
}

// useText says what an address is good for.
func useText(v ifwatch.Verdict) string {
	switch {
	case v.Bind && v.Advertise && v.NewFlows:
		return "all"
	case v.Bind && v.NewFlows:
		return "local" // only with peers of its own scope
	case v.Bind:
		return "listen"
	case v.Keep:
		return "keep"
	default:
		return "no"
	}
}

// listenersText lists listeners; the state is left out where it is the plain one.
func listenersText(list []transport.ListenerState) string {
	if len(list) == 0 {
		return "-"
	}
	words := make([]string, len(list))
	for i, l := range list {
		words[i] = fmt.Sprintf("%s:%d", l.Proto, l.Port)
		if l.State != transport.Planned && l.State != transport.Listening {
			words[i] += "(" + string(l.State) + ")"
		}
	}
	return strings.Join(words, " ")
}
