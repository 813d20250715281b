package ifwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is what [Watcher.Wait] returns after [Watcher.Run] has ended.
var ErrClosed = fmt.Errorf("ifwatch: watcher is closed: %w", net.ErrClosed)

// defaultPoll is a compromise: polling finds nothing most of the time, and a program that roams cannot wait for long.
const defaultPoll = 2 * time.Second

// Config holds what a Watcher may be told. The zero value works.
type Config struct {
	// Log gets one record per change (debug), resynchronisation (info) and fault (warning). nil: silent.
	Log *slog.Logger

	// Poll is how often the system is asked where it does not report changes by itself. 0 means 2 s.
	Poll time.Duration
}

// Watcher follows the links and addresses of the host. Its methods may be called from any goroutine.
type Watcher struct {
	cfg     Config
	log     *slog.Logger
	rcvbuf  int // bytes to ask for; the tests' way to force an overflow
	started atomic.Bool
	counts  counters

	mu      sync.Mutex
	snap    *Snapshot     // never nil
	changed chan struct{} // closed when snap is replaced; nil while nobody waits
	closed  bool          // Run has returned
}

// New returns a Watcher that does nothing until Run is called.
func New(cfg Config) *Watcher {
	w := &Watcher{cfg: cfg, log: cfg.Log, rcvbuf: defaultReceiveBuffer, snap: &Snapshot{}}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.cfg.Poll <= 0 {
		w.cfg.Poll = defaultPoll
	}
	return w
}

// Run watches until ctx ends, and returns its cause. It may be called once.
//
// On Linux it opens its sockets on the calling goroutine, so that a goroutine whose thread is locked into another network
// namespace watches that one.
func (w *Watcher) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return errors.New("ifwatch: Run was called before")
	}
	defer w.close()
	return w.watch(ctx)
}

// Current returns the newest snapshot: never nil, and with Gen 0 before the first reading.
func (w *Watcher) Current() *Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snap
}

// Wait returns the newest snapshot as soon as its Gen is greater than gen. A caller that comes late misses what is
// outdated, never what is true. The error is the cause of ctx's end, or [ErrClosed].
func (w *Watcher) Wait(ctx context.Context, gen uint64) (*Snapshot, error) {
	for {
		snap, changed, err := w.newer(gen)
		if err != nil || changed == nil {
			return snap, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// newer returns the snapshot if it is newer than gen, and else what to wait for.
func (w *Watcher) newer(gen uint64) (*Snapshot, <-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.snap.Gen > gen {
		return w.snap, nil, nil
	}
	if w.closed {
		return nil, nil, ErrClosed
	}
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return nil, w.changed, nil
}

// publish makes s the newest snapshot.
func (w *Watcher) publish(ctx context.Context, s *Snapshot) {
	before := w.Current()
	s.Gen = before.Gen + 1
	w.counts.published.Store(s.Gen)
	w.set(s, false)
	if w.log.Enabled(ctx, slog.LevelDebug) {
		for _, c := range Diff(before, s) {
			w.log.LogAttrs(ctx, slog.LevelDebug, "network changed", slog.String("what", c.String()), slog.Uint64("gen", s.Gen))
		}
	}
}

func (w *Watcher) close() { w.set(w.Current(), true) }

func (w *Watcher) set(s *Snapshot, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.snap, w.closed = s, closed
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// Stats counts what a Watcher has done since it began.
type Stats struct {
	Published   uint64 // snapshots
	Events      uint64 // messages from the kernel
	Resyncs     uint64 // readings of everything because something was, or may have been, lost
	Overflows   uint64 // times the kernel dropped events because they were not read in time
	Rereads     uint64 // readings of one link's addresses because the link changed
	Reconciles  uint64 // readings of everything to see whether it is as events said
	Corrections uint64 // differences that such a reading found
}

// counters is Stats in the making.
type counters struct {
	published, events, resyncs, overflows, rereads, reconciles, corrections atomic.Uint64
}

// Stats returns the counters. Corrections other than 0 means that the kernel did something that this package does not
// know of; please report it.
func (w *Watcher) Stats() Stats {
	c := &w.counts
	return Stats{
		Published: c.published.Load(), Events: c.events.Load(), Resyncs: c.resyncs.Load(), Overflows: c.overflows.Load(),
		Rereads: c.rereads.Load(), Reconciles: c.reconciles.Load(), Corrections: c.corrections.Load(),
	}
}
