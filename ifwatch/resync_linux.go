package ifwatch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// reconcile is how often everything is read to see whether it is as the events said. It mends what changed silently:
	// a sysctl, or an address that became tentative without a change of its link.
	reconcile = time.Minute

	// resyncPatience is after which time without success an incomplete snapshot is better than none.
	resyncPatience = 200 * time.Millisecond
)

// resync reads everything because events were lost, or before the first of them. After an overflow the kernel drops all
// events until the queue was read empty, and reports that only once: so the queue is emptied first, then everything is
// read, then what was queued meanwhile is applied, and if any was dropped all begins again.
func (f *follower) resync(ctx context.Context, why string) error {
	f.resyncing = true
	defer func() { f.resyncing = false }()
	began := time.Now()
	for try := 0; ; try++ {
		ok, err := f.tryResync(ctx)
		if err != nil {
			return err
		}
		if ok {
			f.w.counts.resyncs.Add(1)
			f.w.log.InfoContext(ctx, "read all links and addresses", slog.String("why", why), slog.Int("tries", try+1),
				slog.Duration("took", time.Since(began)), slog.Int("links", len(f.table.rows)))
			break
		}
		if time.Since(began) > resyncPatience {
			f.complete = false
			f.publish(ctx)
		}
		if err := pause(ctx, min(time.Duration(try)*2*time.Millisecond, 20*time.Millisecond)); err != nil {
			return err
		}
	}
	f.complete = len(f.unsure) == 0
	f.publish(ctx)
	return nil
}

func (f *follower) tryResync(ctx context.Context) (ok bool, err error) {
	if err := f.discard(ctx); err != nil {
		return false, err
	}
	f.lost, f.source = false, "netlink"
	clear(f.stale)
	clear(f.unsure)
	before, err := f.events.drops()
	if err != nil {
		return false, err
	}
	events := f.w.counts.events.Load()
	sure, err := f.readAll(ctx, f.reread)
	if err != nil {
		return false, err
	}
	for empty := false; !empty && !f.lost; {
		if empty, err = f.receive(ctx, time.Time{}); err != nil {
			return false, err
		}
	}
	after, err := f.events.drops()
	if err != nil {
		return false, err
	}
	if f.w.counts.events.Load() != events {
		f.readAllAgain()
	}
	return sure && !f.lost && after == before, nil
}

// readAllAgain has every link read once more. Events that are older than the dump they are applied to lead to the same
// addresses, but not always in the same order, and they may undo for a moment what the kernel changed silently.
func (f *follower) readAllAgain() {
	now := time.Now()
	for _, r := range f.table.rows {
		f.readAgain(r.Index, now)
	}
}

// discard empties the queue. What it says is about to be read, but for the addresses that the kernel deleted because DAD
// failed: those are in no dump.
func (f *follower) discard(ctx context.Context) error {
	for {
		n, err := f.events.receive(ctx, f.buf, time.Time{})
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			continue
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		now := time.Now()
		for m, rest, ok := nextMessage(f.buf[:n]); ok; m, rest, ok = nextMessage(rest) {
			f.w.counts.events.Add(1)
			if a, err := parseAddr(m.body, now); m.typ == unix.RTM_DELADDR && err == nil && a.Flags.Has(DADFailed) {
				f.applyAddr(m, now)
			}
		}
	}
}

// readAll reads all links, and gives each to read, which reads its addresses. If sure is false, links may be missing; none
// was deleted then.
func (f *follower) readAll(ctx context.Context, read func(context.Context, int) error) (sure bool, err error) {
	f.reconcileAt = time.Now().Add(reconcile)
	f.record(true)
	links, sure, err := f.dump.links(ctx)
	if err != nil {
		return false, err
	}
	f.replaceLinks(links, sure)
	f.record(false)
	for _, l := range links {
		if err := read(ctx, l.Index); err != nil {
			return false, err
		}
	}
	return sure, nil
}

func (f *follower) replaceLinks(links []Link, sure bool) {
	now := time.Now()
	keep := make(map[int]bool, len(links))
	for _, l := range links {
		keep[l.Index] = true
		e, _ := f.table.setLink(l, now)
		f.note(e)
	}
	if sure {
		f.note(f.table.keepLinks(keep))
	}
}

// reconcile reads everything to see whether it is as the events said.
func (f *follower) reconcile(ctx context.Context) error {
	f.w.counts.reconciles.Add(1)
	if _, err := f.receive(ctx, time.Time{}); err != nil {
		return err
	}
	if _, err := f.readAll(ctx, f.recheck); err != nil {
		return err
	}
	f.publish(ctx)
	return nil
}

// recheck reads the addresses of one link that has not changed. There is no doubt about them, so an interrupted reading
// changes nothing.
func (f *follower) recheck(ctx context.Context, index int) error {
	for _, family := range [...]Family{Inet, Inet6} {
		f.record(true)
		addrs, sure, err := f.dump.addrs(ctx, index, family)
		if err != nil {
			return err
		}
		// What has happened by now explains any difference.
		if _, err := f.receive(ctx, time.Time{}); err != nil {
			return err
		}
		if sure {
			if wrong := f.table.unexplained(index, family, addrs); wrong > 0 && len(f.recorded) == 0 {
				f.w.counts.corrections.Add(uint64(wrong))
				f.w.log.WarnContext(ctx, "addresses had changed without an event", slog.Int("link", index),
					slog.String("family", family.String()), slog.Int("differences", wrong))
			}
			f.note(f.table.replaceAddrs(index, family, addrs, time.Now()))
		}
		f.record(false)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
