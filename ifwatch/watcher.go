package ifwatch

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// ErrClosed is what [Watcher.Wait] returns after Run has ended.
var ErrClosed = fmt.Errorf("ifwatch: watcher is closed: %w", net.ErrClosed)

// Config holds what a Watcher may be told. The zero value works.
type Config struct {
	Log *slog.Logger // nil: silent

	// Poll is how often the system is asked where it does not report changes by itself. 0 means 10 s; while an address is
	// tentative it is asked every 200 ms at least.
	Poll time.Duration
}

// Watcher follows the links and addresses of the host. Its methods may be called from any goroutine.
type Watcher struct {
	cfg Config
}

// New returns a Watcher that does nothing until Run is called.
func New(cfg Config) *Watcher { return &Watcher{cfg: cfg} }

// Run watches until ctx ends, and returns its cause. It may be called once.
func (w *Watcher) Run(ctx context.Context) error { return nil }

// Current returns the newest snapshot: never nil, and with Gen 0 before the first reading.
func (w *Watcher) Current() *Snapshot { return nil }

// Wait returns the newest snapshot as soon as its Gen is greater than gen.
func (w *Watcher) Wait(ctx context.Context, gen uint64) (*Snapshot, error) { return nil, ErrClosed }

// Read takes one reading and returns it as a snapshot with Gen 1.
func Read(ctx context.Context) (*Snapshot, error) { return nil, ErrClosed }
