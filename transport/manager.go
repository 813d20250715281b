package transport

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/transport/wire"
)

// A Message is one message and the flow it came on. In a request the topmost
// Via has received and rport written in (RFC 3261 section 18.2.1, RFC 3581).
type Message struct {
	wire.Message
	Flow *Flow
}

// A Manager owns every socket. New makes one, Run runs it. All its methods may
// be called from any goroutine.
//
// Run owns the last block of fields; other goroutines go through do.
type Manager struct {
	cfg      Config
	log      *slog.Logger
	network  Network
	resolver resolver
	seed     maphash.Seed // of the To tags of responses made here

	calls chan func(now time.Time) // unbuffered: accepted means running
	snaps chan *ifwatch.Snapshot
	done  chan struct{} // closed when the loop has ended

	public public
	view   atomic.Pointer[view] // what Flow needs of the newest state; never nil
	events teller
	count  counters

	ctx       context.Context // ends with Run
	wg        sync.WaitGroup  // every goroutine but Run's; added to by Run only
	links     *ifwatch.Snapshot
	known     map[netip.Addr]*site // what has been told of
	listeners map[listenKey]*listener
	streams   map[*stream]struct{}
	perPeer   map[netip.Addr]int // accepted streams
	dialed    map[dialKey]*dial
	swept     time.Time // when unused UDP peers were last looked for
	due       time.Time // when reconcile has something to do by itself; zero means never
}

// New returns a Manager that listens once Run runs.
func New(cfg Config) *Manager {
	cfg = cfg.withDefaults()
	m := &Manager{
		cfg:       cfg,
		log:       cfg.Log,
		network:   cfg.Network,
		resolver:  cfg.Resolver,
		seed:      maphash.MakeSeed(),
		calls:     make(chan func(time.Time)),
		snaps:     make(chan *ifwatch.Snapshot),
		done:      make(chan struct{}),
		known:     make(map[netip.Addr]*site),
		listeners: make(map[listenKey]*listener),
		streams:   make(map[*stream]struct{}),
		perPeer:   make(map[netip.Addr]int),
		dialed:    make(map[dialKey]*dial),
	}
	if m.network == nil {
		m.network = newSystem(cfg)
	}
	m.public.snap = &Snapshot{Links: cfg.Links.Current()}
	m.links = m.public.snap.Links
	m.view.Store(&view{})
	m.events.wake = make(chan struct{}, 1)
	return m
}

// Run listens and serves until ctx ends, and returns its cause. On return every
// socket is closed, every flow is down, every event has been handed over and no
// goroutine is left. It may be called once.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.ctx = ctx
	told := make(chan struct{})
	go func() {
		defer close(told)
		m.events.run(m.cfg.Event, m.done)
	}()
	m.wg.Go(m.watchLinks)
	err := m.loop(ctx)
	cancel()
	m.closeAll(time.Now())
	close(m.done)
	m.wg.Wait()
	<-told
	return err
}

func (m *Manager) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var expired <-chan time.Time // nil while nothing is due
		if !m.due.IsZero() {
			timer.Reset(time.Until(m.due))
			expired = timer.C
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case snap := <-m.snaps:
			m.links = snap
			m.reconcile(time.Now(), true)
		case <-expired:
			m.reconcile(time.Now(), false)
		case call := <-m.calls:
			call(time.Now())
		}
	}
}

// watchLinks hands every newer snapshot to the loop. If the source ends before
// ctx does, what is known stays in use: the addresses are likely still there,
// and an orderly end needs them.
func (m *Manager) watchLinks() {
	var gen uint64
	for {
		snap, err := m.cfg.Links.Wait(m.ctx, gen)
		if err != nil {
			if m.ctx.Err() == nil {
				m.log.ErrorContext(m.ctx, "links are not watched any more", slog.Any("err", err))
			}
			return
		}
		gen = snap.Gen
		select {
		case m.snaps <- snap:
		case <-m.ctx.Done():
			return
		}
	}
}

// do runs f on Run's goroutine and waits for it. f must not block.
func (m *Manager) do(ctx context.Context, f func(now time.Time)) error {
	ran := make(chan struct{})
	call := func(now time.Time) {
		f(now)
		close(ran)
	}
	select {
	case m.calls <- call:
		<-ran
		return nil
	case <-m.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// post is do for goroutines that Run waits for; it fails only when Run ends,
// and then there is nothing left to tell it.
func (m *Manager) post(f func(now time.Time)) bool {
	return m.do(m.ctx, f) == nil
}

// closeAll ends everything when Run does.
func (m *Manager) closeAll(now time.Time) {
	m.log.InfoContext(m.ctx, "closing all sockets", slog.Int("listeners", len(m.listeners)), slog.Int("connections", len(m.streams)))
	for _, key := range m.keysInOrder() {
		m.shut(now, m.listeners[key], ErrClosed)
	}
	for s := range m.streams {
		m.endStream(now, s, ErrClosed, false)
	}
	m.publish(nil, &view{ready: true}, true)
}

// Stats returns the counters as they are now.
func (m *Manager) Stats() Stats {
	s := m.count.stats()
	s.Dropped = m.events.lost()
	return s
}

// waitReady waits for the first Snapshot, so that a flow asked for right after
// the start is not refused for want of addresses.
func (m *Manager) waitReady(ctx context.Context) error {
	if isDown(m.done) {
		return ErrClosed
	}
	if m.view.Load().ready {
		return nil
	}
	_, err := m.Wait(ctx, 0)
	return err
}

// Snapshot returns the newest snapshot, never nil.
func (m *Manager) Snapshot() *Snapshot {
	snap, _ := m.public.get()
	return snap
}

// Wait returns the newest snapshot as soon as its Gen is above gen, or an error
// when ctx or Run has ended. A slow caller sees fewer snapshots and misses no state.
func (m *Manager) Wait(ctx context.Context, gen uint64) (*Snapshot, error) {
	for {
		snap, changed := m.public.get()
		if snap.Gen > gen {
			return snap, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-m.done:
			return nil, ErrClosed
		}
	}
}

// public is the snapshot that everybody may see.
type public struct {
	mu      sync.Mutex
	snap    *Snapshot
	changed chan struct{} // closed and replaced with snap; made when waited for
}

func (p *public) get() (*Snapshot, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.snap, p.changed
}

// set replaces the snapshot; unless news says that the links have changed, only
// if anything else has.
func (p *public) set(links *ifwatch.Snapshot, addrs []AddrState, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !news && reflect.DeepEqual(p.snap.Addrs, addrs) {
		return
	}
	p.snap = &Snapshot{Gen: p.snap.Gen + 1, Links: links, Addrs: addrs}
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}
