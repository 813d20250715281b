package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/transport"
)

// watch prints the addresses, and then what changes, until a signal comes.
func (a *addrs) watch() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w := ifwatch.New(ifwatch.Config{})
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	err := a.follow(ctx, w)
	interrupted := ctx.Err() != nil
	stop()
	if watched := <-ended; err == nil && !interrupted {
		err = watched
	}
	return err
}

// follow prints one change after the other until ctx ends.
func (a *addrs) follow(ctx context.Context, w *ifwatch.Watcher) error {
	snap, err := w.Wait(ctx, 0)
	if err != nil {
		return ended(ctx, err)
	}
	var before []transport.AddrState
	for first := true; ; first = false {
		now := a.plan(snap)
		if first && !a.json {
			err = a.print(now)
		} else {
			err = a.changes(before, now)
		}
		if err != nil {
			return err
		}
		before = now
		if snap, err = next(ctx, w, snap, now); err != nil {
			return ended(ctx, err)
		}
	}
}

// next waits for another snapshot, or until a verdict on this one changes by itself.
func next(ctx context.Context, w *ifwatch.Watcher, snap *ifwatch.Snapshot, states []transport.AddrState) (*ifwatch.Snapshot, error) {
	due := time.Time{}
	for _, s := range states {
		if t := s.Verdict.Next; !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	if due.IsZero() {
		return w.Wait(ctx, snap.Gen)
	}
	limited, cancel := context.WithDeadline(ctx, due)
	defer cancel()
	newer, err := w.Wait(limited, snap.Gen)
	if err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
		return snap, nil
	}
	return newer, err
}

// ended tells the end that was asked for from others.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("watching the addresses of this host: %w", err)
}

// changeJSON is one line of --json --watch.
type changeJSON struct {
	Time   time.Time `json:"time"`
	Change string    `json:"change"` // added, changed, removed
	Was    string    `json:"was,omitempty"`
	addrJSON
}

// changes prints what is different between two lists.
func (a *addrs) changes(before, now []transport.AddrState) error {
	old, present := byID(before), byID(now)
	for _, s := range before {
		if _, ok := present[id(s)]; !ok {
			if err := a.change("removed", "", s); err != nil {
				return err
			}
		}
	}
	for _, s := range now {
		was, ok := old[id(s)]
		var err error
		switch {
		case !ok:
			err = a.change("added", "", s)
		case !same(was, s):
			err = a.change("changed", string(was.Verdict.Reason), s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// change prints one difference.
func (a *addrs) change(kind, was string, s transport.AddrState) error {
	at := time.Now()
	if a.json {
		return json.NewEncoder(a.program.stdout).Encode(changeJSON{at, kind, was, toJSON(s)})
	}
	line := fmt.Sprintf("%s %-7s %s %s: %s", at.Format("15:04:05.000"), kind, s.Interface, addressText(s), useText(s.Verdict))
	if kind != "removed" {
		line += fmt.Sprintf(", %s (%s)", s.Verdict.Reason, s.Why)
	}
	if was != "" && was != string(s.Verdict.Reason) {
		line += ", was " + was
	}
	_, err := fmt.Fprintln(a.program.stdout, line)
	return err
}

// stateID is what makes an entry the same one in two lists.
type stateID struct {
	key       ifwatch.Key
	local     string
	waitedFor string
}

func id(s transport.AddrState) stateID {
	if s.Addr.Link == 0 {
		return stateID{local: s.Local.String(), waitedFor: s.Interface}
	}
	return stateID{key: s.Addr.Key}
}

func byID(states []transport.AddrState) map[stateID]transport.AddrState {
	return maps.Collect(func(yield func(stateID, transport.AddrState) bool) {
		for _, s := range states {
			if !yield(id(s), s) {
				return
			}
		}
	})
}

// same tells whether a user would see no difference. Lifetimes are renewed all the time and do not count.
func same(x, y transport.AddrState) bool {
	return x.Interface == y.Interface && x.Addr.Flags == y.Addr.Flags && x.Why == y.Why &&
		x.Verdict.Bind == y.Verdict.Bind && x.Verdict.Keep == y.Verdict.Keep && x.Verdict.Advertise == y.Verdict.Advertise &&
		x.Verdict.NewFlows == y.Verdict.NewFlows && slices.Equal(x.Verdict.Reasons, y.Verdict.Reasons)
}
