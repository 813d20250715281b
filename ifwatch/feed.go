package ifwatch

import (
	"context"
	"time"
)

// expirySlack is how long after the end of a lifetime the kernel's word on it is missed.
const expirySlack = 500 * time.Millisecond

// feed turns a table into snapshots. It belongs to Run's goroutine, and outlives a change of the source.
type feed struct {
	w      *Watcher
	table  table
	effect effect // of all that happened since the last snapshot

	source   string
	complete bool
	resumed  time.Time
	expiryAt time.Time // when a lifetime of the published snapshot should have ended; zero: none does
}

// note remembers that something has to be published.
func (f *feed) note(e effect) { f.effect = max(f.effect, e) }

// publish makes a snapshot if there is anything new. Nothing is ever held back but lifetimes that were extended.
func (f *feed) publish(ctx context.Context) {
	now := time.Now()
	f.note(f.table.expireGone(now))
	if by := f.table.refreshBy; !by.IsZero() && !now.Before(by) {
		f.effect = changed
	}
	old := f.w.Current()
	if f.effect != changed && f.complete == old.Complete && f.source == old.Source {
		return
	}
	s := f.table.snapshot(now)
	s.Complete, s.Source, s.Resumed = f.complete, f.source, f.resumed
	f.effect, f.table.refreshBy, f.expiryAt = same, time.Time{}, time.Time{}
	if end := s.nextExpiry(now); !end.IsZero() {
		f.expiryAt = end.Add(expirySlack)
	}
	f.w.publish(ctx, s)
}

// due returns when publish has something to do by itself; zero: never.
func (f *feed) due() time.Time {
	due := f.table.refreshBy
	for _, g := range f.table.gone {
		due = earliest(due, g.until)
	}
	return due
}

// reading is one look at the whole system.
type reading struct {
	links  []Link
	addrs  []Addr
	sure   bool // false: some may be missing
	source string
}

// replace makes the table what was read.
func (f *feed) replace(r reading, now time.Time) {
	keep := make(map[int]bool, len(r.links))
	for _, l := range r.links {
		keep[l.Index] = true
		e, _ := f.table.setLink(l, now)
		f.note(e)
	}
	if r.sure {
		f.note(f.table.keepLinks(keep))
	}
	for _, l := range r.links {
		for _, family := range [...]Family{Inet, Inet6} {
			var addrs []Addr
			for _, a := range r.addrs {
				if a.Link == l.Index && a.Family() == family {
					addrs = append(addrs, a)
				}
			}
			if r.sure {
				f.note(f.table.replaceAddrs(l.Index, family, addrs, now))
			} else {
				f.note(f.table.mergeAddrs(l.Index, family, addrs, now))
			}
		}
	}
	f.complete, f.source = r.sure, r.source
}
