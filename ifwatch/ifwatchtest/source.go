// Package ifwatchtest feeds scripted snapshots to programs that follow an [ifwatch.Watcher], so that they can be
// tested without a kernel: no namespaces, no waiting for DAD, and inside testing/synctest.
package ifwatchtest

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
)

// Source has the two methods that consumers need of an [ifwatch.Watcher], and says what it is told to say. Its methods
// may be called from any goroutine.
type Source struct {
	mu      sync.Mutex
	snap    *ifwatch.Snapshot
	changed chan struct{} // closed and replaced with snap; made where it is waited on, as a synctest bubble demands
}

// NewSource returns a Source at generation 0, as a Watcher before its first reading.
func NewSource() *Source { return &Source{snap: &ifwatch.Snapshot{}} }

// Set publishes a complete snapshot of these links and addresses. They are copied and sorted. A link whose Changed is zero
// gets the time at which its carrier changed from one Set to another, as a Watcher would see it.
func (s *Source) Set(links []ifwatch.Link, addrs []ifwatch.Addr) {
	s.Publish(ifwatch.Snapshot{Links: links, Addrs: addrs, Complete: true})
}

// Publish is Set for everything that a snapshot has: gone addresses, incomplete readings. Gen is filled in, At and
// Source if they are zero.
func (s *Source) Publish(snap ifwatch.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := &snap
	next.Gen = s.snap.Gen + 1
	if next.At.IsZero() {
		next.At = time.Now()
	}
	next.Source = cmp.Or(next.Source, "test")
	next.Links = slices.Clone(next.Links)
	next.Addrs = slices.Clone(next.Addrs)
	next.Gone = slices.Clone(next.Gone)
	slices.SortStableFunc(next.Links, func(a, b ifwatch.Link) int { return cmp.Compare(a.Index, b.Index) })
	slices.SortStableFunc(next.Addrs, func(a, b ifwatch.Addr) int {
		return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Family(), b.Family()))
	})
	for i := range next.Links {
		stampChange(&next.Links[i], s.snap, next.At)
	}
	s.snap = next
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func stampChange(l *ifwatch.Link, before *ifwatch.Snapshot, now time.Time) {
	if !l.Changed.IsZero() {
		return
	}
	switch old, ok := before.Link(l.Index); {
	case !ok:
	case old.Carrier() != l.Carrier():
		l.Changed = now
	default:
		l.Changed = old.Changed
	}
}

// Current returns the newest snapshot; never nil.
func (s *Source) Current() *ifwatch.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snap
}

// Wait returns the newest snapshot as soon as its Gen is greater than gen, or the cause of ctx's end.
func (s *Source) Wait(ctx context.Context, gen uint64) (*ifwatch.Snapshot, error) {
	for {
		snap, changed := s.next(gen)
		if changed == nil {
			return snap, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// next returns the newest snapshot, and what to wait for unless it is newer than gen.
func (s *Source) next(gen uint64) (*ifwatch.Snapshot, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snap.Gen > gen {
		return s.snap, nil
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.snap, s.changed
}

// Link returns a link as an Ethernet interface with carrier looks.
func Link(index int, name string) ifwatch.Link {
	return ifwatch.Link{
		Index: index, Name: name, Up: true, LowerUp: true, Running: true, Oper: ifwatch.OperUp, MTU: 1500, In6Ready: true,
	}
}

// Loopback returns lo as it looks when it is up: index 1.
func Loopback() ifwatch.Link {
	return ifwatch.Link{
		Index: 1, Name: "lo", Up: true, LowerUp: true, Running: true, Loopback: true, MTU: 65536, In6Ready: true,
	}
}

// Addr returns an address of the link, from a prefix such as "192.0.2.1/24", as it looks when DAD has finished, with these
// flags added. It panics if the prefix cannot be parsed.
func Addr(link int, prefix string, flags ...ifwatch.Flags) ifwatch.Addr {
	p := netip.MustParsePrefix(prefix)
	a := ifwatch.Addr{Key: ifwatch.Key{Link: link, Addr: p.Addr(), Bits: p.Bits()}, Flags: ifwatch.Permanent}
	switch {
	case p.Addr().IsLoopback():
		a.Scope = ifwatch.ScopeHost
	case p.Addr().IsLinkLocalUnicast():
		a.Scope = ifwatch.ScopeLink
	}
	for _, f := range flags {
		a.Flags |= f
	}
	return a
}
