package ifwatch

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// batch is after how many events a snapshot is made even if more are queued.
	batch = 4096

	// wake is how often the follower looks whether the host was suspended; nothing reports that.
	wake = 15 * time.Second

	// suspended is from which difference of the clocks on it was.
	suspended = 5 * time.Second

	// lookAgain is how long after a link changed its addresses are read a second time. The kernel reports that a link
	// goes down before it makes the addresses it keeps tentative (keep_addr_on_down), which it does not report.
	lookAgain = 200 * time.Millisecond
)

// follower keeps the feed's table equal to what the kernel says, by netlink. It belongs to Run's goroutine.
//
// Events are hints and facts at once: each carries the whole state of its link or address, so applying them in order to a
// dump that is not older than the first of them always ends at the truth, however often an event is applied.
type follower struct {
	*feed
	events netlinkConn
	dump   *dumper
	asleep func() time.Duration
	buf    []byte
	pace   pace

	slept    time.Duration // what asleep said last
	lookedAt time.Time     // when that was

	lost   bool         // events were lost: only a resync helps
	stale  map[int]bool // links whose addresses must be read again now
	again  map[int]bool // links whose addresses must be read again at againAt
	unsure map[int]bool // links whose last reading was interrupted

	againAt, reconcileAt time.Time

	resyncing bool
	rereading int      // index of the link whose addresses are being read because it changed; 0 none
	recording bool     // a dump is being read: remember the events that are applied meanwhile
	recorded  [][]byte // to apply them again to what was read
}

func newFollower(f *feed, events, dumps netlinkConn, asleep func() time.Duration) *follower {
	fw := &follower{
		feed: f, events: events, dump: newDumper(dumps), asleep: asleep, buf: make([]byte, datagramSize),
		stale: map[int]bool{}, again: map[int]bool{}, unsure: map[int]bool{},
	}
	fw.dump.late = fw.whileWaiting
	return fw
}

// run follows until ctx ends or a socket fails.
func (f *follower) run(ctx context.Context) error {
	f.slept = f.asleep()
	if err := f.resync(ctx, "start"); err != nil {
		return err
	}
	for {
		if err := f.breathe(ctx); err != nil {
			return err
		}
		if _, err := f.receive(ctx, f.due()); err != nil {
			return err
		}
		published := f.w.counts.published.Load()
		if err := f.act(ctx); err != nil {
			return err
		}
		if f.w.counts.published.Load() != published {
			f.pace.published(time.Now())
		}
	}
}

// breathe lets events gather in the socket when they come in a flood.
func (f *follower) breathe(ctx context.Context) error {
	if d := f.pace.pause(time.Now()); d > 0 && !f.lost {
		return pause(ctx, d)
	}
	return nil
}

// due returns when there is something to do without an event; zero: now.
func (f *follower) due() time.Time {
	if f.lost || len(f.stale) > 0 {
		return time.Time{}
	}
	return earliest(time.Now().Add(wake), f.feed.due(), f.expiryAt, f.againAt, f.reconcileAt)
}

// receive waits for an event until then, and applies it and all others that are queued. With until zero it does not wait.
// It reports whether the queue is empty.
func (f *follower) receive(ctx context.Context, until time.Time) (empty bool, err error) {
	for range batch {
		n, err := f.events.receive(ctx, f.buf, until)
		until = time.Time{}
		switch {
		case err == nil:
			f.handle(f.buf[:n])
		case errors.Is(err, unix.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
			return true, nil
		case errors.Is(err, unix.ENOBUFS):
			f.lost = true
			f.w.counts.overflows.Add(1)
			return false, nil
		default:
			return false, err
		}
	}
	return false, nil
}

// act does what is due.
func (f *follower) act(ctx context.Context) error {
	now := time.Now()
	if f.wokeUp(now) {
		f.resumed = now
		f.note(changed)
		return f.resync(ctx, "resumed")
	}
	if f.lost {
		return f.resync(ctx, "overflow")
	}
	if !f.expiryAt.IsZero() && !now.Before(f.expiryAt) {
		f.staleExpired(now)
		f.note(changed) // for those who judge when they are woken
	}
	if !f.againAt.IsZero() && !now.Before(f.againAt) {
		for index := range f.again {
			f.stale[index] = true
		}
		clear(f.again)
		f.againAt = time.Time{}
	}
	if err := f.rereadStale(ctx); err != nil {
		return err
	}
	f.complete = len(f.unsure) == 0
	f.publish(ctx)
	if !now.Before(f.reconcileAt) {
		return f.reconcile(ctx)
	}
	return nil
}

// wokeUp reports whether the host was suspended since the last look, which is taken once a second at most.
func (f *follower) wokeUp(now time.Time) bool {
	if now.Sub(f.lookedAt) < time.Second {
		return false
	}
	before := f.slept
	f.lookedAt, f.slept = now, f.asleep()
	return f.slept-before > suspended
}

// staleExpired marks the links on which a lifetime ended without the kernel's saying so.
func (f *follower) staleExpired(now time.Time) {
	for _, r := range f.table.rows {
		for _, list := range [...][]Addr{r.v4, r.v6} {
			for i := range list {
				if expired(list[i], now) || !list[i].Flags.Has(Deprecated) && deprecated(list[i], now) {
					f.stale[r.Index] = true
				}
			}
		}
	}
}

// rereadStale reads the addresses of links that changed, at once and once more a little later.
func (f *follower) rereadStale(ctx context.Context) error {
	for len(f.stale) > 0 {
		for index := range f.stale {
			delete(f.stale, index)
			if f.table.row(index) == nil {
				delete(f.unsure, index)
				continue
			}
			f.w.counts.rereads.Add(1)
			if err := f.reread(ctx, index); err != nil {
				return err
			}
		}
	}
	return nil
}

// reread reads the addresses of one link. If all readings are interrupted, those that were not found are marked.
func (f *follower) reread(ctx context.Context, index int) error {
	delete(f.unsure, index)
	f.rereading = index
	defer func() { f.rereading = 0 }()
	for _, family := range [...]Family{Inet, Inet6} {
		f.record(true)
		addrs, sure, err := f.dump.addrs(ctx, index, family)
		if err != nil {
			return err
		}
		now := time.Now()
		if sure {
			f.note(f.table.replaceAddrs(index, family, addrs, now))
		} else {
			f.note(f.table.mergeAddrs(index, family, addrs, now))
			f.unsure[index] = true
			f.readAgain(index, now)
		}
		f.record(false)
	}
	return nil
}

func (f *follower) readAgain(index int, now time.Time) {
	f.again[index] = true
	if f.againAt.IsZero() {
		f.againAt = now.Add(lookAgain)
	}
}

// record begins and ends the time in which events are remembered. At its end they are applied again.
func (f *follower) record(on bool) {
	f.recording = on
	if on {
		return
	}
	now := time.Now()
	for _, b := range f.recorded {
		f.apply(b, now)
	}
	f.recorded = nil
}

// whileWaiting is called while the kernel takes its time for a dump: events go on being published.
func (f *follower) whileWaiting(ctx context.Context) error {
	if f.resyncing {
		return nil // nothing is known for sure
	}
	if _, err := f.receive(ctx, time.Time{}); err != nil {
		return err
	}
	if f.rereading != 0 {
		f.note(f.table.doubtAddrs(f.rereading))
	}
	f.publish(ctx)
	return nil
}

// handle applies a datagram of events.
func (f *follower) handle(b []byte) {
	if f.recording {
		f.recorded = append(f.recorded, slices.Clone(b))
	}
	f.w.counts.events.Add(f.apply(b, time.Now()))
}

// apply applies a datagram of events, and returns how many there were.
func (f *follower) apply(b []byte, now time.Time) uint64 {
	events := uint64(0)
	for m, rest, ok := nextMessage(b); ok; m, rest, ok = nextMessage(rest) {
		events++
		switch m.typ {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			f.applyLink(m, now)
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			f.applyAddr(m, now)
		}
	}
	return events
}

func (f *follower) applyLink(m message, now time.Time) {
	l, err := parseLink(m.body)
	if err != nil || l.wireless {
		return
	}
	var e effect
	var reread bool
	switch {
	case l.family == unix.AF_INET6:
		ready := l.link.In6Ready && m.typ == unix.RTM_NEWLINK
		e, reread = f.table.setIn6(l.link.Index, ready, l.link.UseTempAddr, now)
	case l.family != unix.AF_UNSPEC:
		// RTM_DELLINK of family AF_BRIDGE says that a port left its bridge. The link is well.
	case m.typ == unix.RTM_DELLINK:
		e = f.table.deleteLink(l.link.Index)
	default:
		e, reread = f.table.setLink(l.link, now)
	}
	f.note(e)
	if reread {
		f.stale[l.link.Index] = true
		f.readAgain(l.link.Index, now)
	}
}

func (f *follower) applyAddr(m message, now time.Time) {
	a, err := parseAddr(m.body, now)
	if err != nil {
		return
	}
	if m.typ == unix.RTM_DELADDR { // whatever its flags: the kernel deletes tentative ones, too
		f.note(f.table.deleteAddr(a, now))
		return
	}
	e, reread := f.table.setAddr(a, now)
	f.note(e)
	if reread {
		f.stale[a.Link] = true
		f.readAgain(a.Link, now)
	}
}
