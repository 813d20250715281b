package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"
)

// ErrClosed is returned by the methods of a closed Stream or Engine. It wraps net.ErrClosed.
var ErrClosed = fmt.Errorf("media: %w", net.ErrClosed)

// Config is how an Engine works. The zero value works.
type Config struct {
	PortMin, PortMax uint16 // range of RTP (even) and RTCP (odd) ports, inclusive; both 0: 10000-20000
	DSCP             int    // of RTP and RTCP packets, 1-63; 0: 46 (EF); negative: 0, best effort

	PTime                time.Duration // what we ask to receive per packet; 0: 20 ms
	RTCPMux              bool          // offer RTP and RTCP on one port (RFC 5761)
	JitterMin, JitterMax time.Duration // bounds of the adaptive jitter buffer; 0: 20 ms, 200 ms

	// Network opens the sockets; nil: the operating system's. With another one the Engine keeps time with Go's timers
	// alone, so that it can run inside a testing/synctest bubble.
	Network Network
	Log     *slog.Logger // nil: nothing is logged
}

func (c Config) ports() (lowest, highest uint16) {
	if c.PortMin == 0 && c.PortMax == 0 {
		return 10000, 20000
	}
	return c.PortMin, c.PortMax
}

func (c Config) dscp() int {
	if c.DSCP == 0 {
		return 46
	}
	return max(c.DSCP, 0) & 63
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}

// Engine owns what streams have in common: the pacers that time sending and playing, and the goroutine that tells of
// events. Its methods may be called from any goroutine.
type Engine struct {
	cfg    Config
	log    *slog.Logger
	net    Network
	pacers []*pacer
	events eventQueue

	mu      sync.Mutex
	streams map[*Stream]struct{}
	started bool // Run has been called
	closed  bool
	next    int // pacer for the next stream
}

// New makes an Engine. Streams can be opened at once; nothing is sent or played until Run.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg, log: cfg.Log, net: cfg.Network, streams: make(map[*Stream]struct{})}
	e.events.ready = make(chan struct{}, 1)
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	var sleep sleeper = timerSleeper{}
	if e.net == nil {
		e.net, sleep = systemNetwork{dscp: cfg.dscp(), log: e.log}, newSystemSleeper()
	}
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		e.pacers = append(e.pacers, newPacer(sleep))
	}
	return e
}

// Run paces all streams and tells of their events until ctx ends; then it closes the streams and returns the cause. It
// can be called once.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.started {
		e.mu.Unlock()
		return errors.New("media: Run was called before")
	}
	e.started = true
	e.mu.Unlock()

	var work sync.WaitGroup
	for _, p := range e.pacers {
		work.Go(func() { p.run(ctx) })
	}
	stop := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() { e.events.run(stop) })
	<-ctx.Done()
	work.Wait()
	e.closeAll()
	close(stop)
	telling.Wait()
	return context.Cause(ctx)
}

func (e *Engine) closeAll() {
	e.mu.Lock()
	e.closed = true
	list := make([]*Stream, 0, len(e.streams))
	for s := range e.streams {
		list = append(list, s)
	}
	e.mu.Unlock()
	for _, s := range list {
		if err := s.Close(); err != nil {
			e.log.Warn("stream closed with an error", slog.Any("local", s.path.Load().local.Addr), slog.Any("err", err))
		}
	}
}

// add registers a stream and gives it a pacer, in turn.
func (e *Engine) add(s *Stream) (*pacer, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	e.streams[s] = struct{}{}
	e.next++
	return e.pacers[e.next%len(e.pacers)], nil
}

func (e *Engine) remove(s *Stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.streams, s)
}

// EngineStats says how well an Engine keeps time. Lateness is how long after its slot a stream's turn came, which is
// when its packet leaves; percentiles are within 12 %.
type EngineStats struct {
	Streams                               int // open
	LatenessP50, LatenessP99, LatenessMax time.Duration
	Ticks                                 uint64        // turns of streams so far
	Skipped                               time.Duration // passed over because the process did not get to run
}

// Stats is a snapshot for all streams since New.
func (e *Engine) Stats() EngineStats {
	var all histogram
	var st EngineStats
	for _, p := range e.pacers {
		p.late.addTo(&all)
		st.Skipped += time.Duration(p.skipped.Load())
	}
	st.Ticks = all.total()
	st.LatenessP50, st.LatenessP99, st.LatenessMax = all.quantile(0.5), all.quantile(0.99), all.quantile(1)
	e.mu.Lock()
	st.Streams = len(e.streams)
	e.mu.Unlock()
	return st
}
