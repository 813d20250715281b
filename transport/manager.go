package transport

import (
	"context"
	"net/netip"

	"github.com/gosipua/gosipua/transport/wire"
)

// A Message is one message and the flow it came on.
type Message struct {
	wire.Message
	Flow *Flow
}

// A Manager owns every socket. New makes one, Run runs it. All its methods may
// be called from any goroutine.
type Manager struct{ cfg Config }

// New returns a Manager that listens once Run runs.
func New(cfg Config) *Manager { return &Manager{cfg: cfg.withDefaults()} }

// Run listens and serves until ctx ends. On return every socket is closed and
// every flow down. It may be called once.
func (m *Manager) Run(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }

// Snapshot returns the newest snapshot, never nil.
func (m *Manager) Snapshot() *Snapshot { return &Snapshot{Links: m.cfg.Links.Current()} }

// Wait returns as soon as there is a Snapshot newer than gen.
func (m *Manager) Wait(ctx context.Context, _ uint64) (*Snapshot, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// A Target is where to send a request: one result of RFC 3263.
type Target struct {
	Proto Proto
	Addr  netip.AddrPort // a link-local one has its link's name or index as zone
	Name  string         // the domain asked for, which TLS verifies (RFC 5922); may be empty
	Local netip.Addr     // the source to use; zero means the Manager chooses
}

// A Query asks where to send requests for a host.
type Query struct {
	Host   string // a domain name or an IP address, with or without brackets
	Port   uint16 // zero if none is given
	Proto  Proto  // "" if none is given: RFC 3263 section 4.1 decides
	Secure bool   // sips: nothing but an encrypted transport will do
}

// Resolve returns the targets of q in the order to try them (RFC 3263 section 4).
func (m *Manager) Resolve(_ context.Context, _ Query) ([]Target, error) { return nil, ErrClosed }

// Flow returns the flow to t, or opens one.
func (m *Manager) Flow(_ context.Context, _ Target) (*Flow, error) { return nil, ErrClosed }
