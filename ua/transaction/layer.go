package transaction

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/transport/wire"
)

// Config is what a Layer is made of. OnRequest is required.
type Config struct {
	// OnRequest is called for every new request that is not dealt with here, on
	// the queue of its Call-ID. A CANCEL, a retransmission, an ACK to a failure
	// never get here; an ACK that belongs to no INVITE transaction does, as the
	// ACK to a 2xx: it cannot be responded to. A request that OnRequest leaves
	// unanswered may be answered later, see Layer.Do.
	OnRequest func(*Server)

	// T1 is the estimate of the round-trip time, T2 the longest interval between
	// retransmissions, T4 how long a message stays in the network (RFC 3261
	// section 17.1.1.1); 0 means 500 ms, 4 s and 5 s.
	T1, T2, T4 time.Duration

	// UserAgent goes into the User-Agent of requests that have none, and into the
	// Server of responses; empty, or with a line end in it, it means no such header.
	UserAgent string

	// MaxQueue is how many events may wait in the queue of one Call-ID; messages
	// that come when it is full are dropped, timers and Do never. 0 means 128.
	MaxQueue int

	// MaxTransactions is how many requests may be without their final response at
	// a time, over all Call-IDs; new ones are refused with 503. 0 means 20,000.
	MaxTransactions int

	// MaxAnswered is how many responses to non-INVITE requests are kept for
	// their retransmissions (timer J: 64*T1, some 0.4 kB each); the oldest goes
	// first. 0 means 200,000.
	MaxAnswered int

	// Log gets what a person should know; nil discards it. No message content is
	// ever logged.
	Log *slog.Logger
}

// maxPerCall bounds the live server transactions of one Call-ID, which are
// searched one after the other. A dialog needs less than ten.
const maxPerCall = 64

// maxWaiting bounds the messages that wait in all queues together, and thereby
// the goroutines that work on them.
const maxWaiting = 16384

// flow is what a transaction needs of a *transport.Flow.
type flow interface {
	Proto() transport.Proto
	Advertised() netip.AddrPort
	Remote() netip.AddrPort
	Send(context.Context, []byte) error
	Respond(context.Context, []byte) error
	Done() <-chan struct{}
	Err() error
	String() string
}

// A Layer holds the transactions of one user agent. See the package comment for
// what may be called from where.
type Layer struct {
	cfg     Config // with its defaults filled in
	log     *slog.Logger
	parser  *sip.Parser
	seed    maphash.Seed // of keys
	tagSeed maphash.Seed // of what is shown of them
	start   time.Time
	bufs    sync.Pool // of *bytes.Buffer, to write messages into

	ctx    context.Context // of everything that is sent; ends with Run
	cancel context.CancelFunc

	answered   answered
	count      counters
	complained atomic.Int64 // instant of the last complaint about too much to do

	mu      sync.Mutex // guards what follows, and the first block of every call and watch
	idle    sync.Cond  // on mu: running became zero
	calls   map[string]*call
	watches map[<-chan struct{}]*watch // by the Done of flows
	waiting int                        // messages in all queues
	running int                        // goroutines
	closed  bool
}

// New returns a Layer. It works at once; Run is needed to end it.
func New(cfg Config) *Layer {
	cfg.T1 = orDefault(cfg.T1, 500*time.Millisecond)
	cfg.T2 = orDefault(cfg.T2, 4*time.Second)
	cfg.T4 = orDefault(cfg.T4, 5*time.Second)
	cfg.MaxQueue = orDefault(cfg.MaxQueue, 128)
	cfg.MaxTransactions = orDefault(cfg.MaxTransactions, 20_000)
	cfg.MaxAnswered = orDefault(cfg.MaxAnswered, 200_000)
	if wire.ValidValue(cfg.UserAgent) != nil {
		cfg.UserAgent = "" // nothing could be sent with it
	}
	l := &Layer{
		cfg:     cfg,
		log:     cfg.Log,
		parser:  newParser(),
		seed:    maphash.MakeSeed(),
		tagSeed: maphash.MakeSeed(),
		start:   time.Now(),
		calls:   make(map[string]*call),
		watches: make(map[<-chan struct{}]*watch),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.idle.L = &l.mu
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.answered.init(l.now, cfg.MaxAnswered)
	return l
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Run blocks until ctx ends, then ends every transaction with ErrClosed, waits
// until the queues are empty, and returns the cause of ctx. Afterwards messages
// are dropped and nothing can be sent; only Do works on.
func (l *Layer) Run(ctx context.Context) error {
	<-ctx.Done()
	l.close()
	return context.Cause(ctx)
}

func (l *Layer) close() {
	l.cancel() // a write that blocks a queue gives up
	l.mu.Lock()
	l.closed = true
	for _, c := range l.calls {
		l.pushLocked(c, task{do: func(c *call) { c.endAll(nil, ErrClosed) }})
	}
	for l.running > 0 {
		l.idle.Wait()
	}
	l.mu.Unlock()
	l.answered.close()
}

// Receive takes a message that a flow has read. It never blocks, and is meant to
// be called on the reading goroutine of the flow (transport.Config.Receive), so
// that the messages of a flow keep their order. The topmost Via of a request says
// where it came from already: transport has written it there.
func (l *Layer) Receive(m transport.Message) {
	l.receive(m.Message, m.Flow)
}

func (l *Layer) receive(m wire.Message, f flow) {
	if !l.enqueue(&message{Message: m, flow: f}) {
		l.count.overflows.Add(1)
		l.complain("messages wait in full queues and are dropped")
	}
}

// Do runs f on the queue of callID: after everything that is there already, and
// never at the same time as a callback or another f of that Call-ID. It does not
// wait for f. f runs even if Run has ended.
func (l *Layer) Do(callID string, f func()) {
	l.push(callID, func(*call) { f() })
}

// complaintEvery is how often at most an overload is logged.
const complaintEvery = time.Minute

// complain logs that there is too much to do; the counts are since the start.
func (l *Layer) complain(why string) {
	now, last := l.now(), instant(l.complained.Load())
	if last != 0 && now-last < complaintEvery || !l.complained.CompareAndSwap(int64(last), int64(max(now, 1))) {
		return
	}
	l.log.WarnContext(l.ctx, "too much to do", slog.String("why", why),
		slog.Uint64("dropped", l.count.overflows.Load()), slog.Uint64("refused", l.count.refused.Load()))
}

// now is the time on the Layer's clock.
func (l *Layer) now() instant { return time.Since(l.start) }
