package media

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gosipua/gosipua/ua/sdp"
)

// oldPathTime is how long the sockets left by Move are read, unless something comes on the new ones first.
const oldPathTime = 5 * time.Second

// Stream is the media of one call: an RTP session with one peer. Its methods may be called from any goroutine, the
// listeners of OnEvent and OnDTMF included.
type Stream struct {
	e     *Engine
	log   *slog.Logger
	pacer *pacer
	ssrc  uint32
	cname string
	id    uint64 // session id for o=

	path   atomic.Pointer[path]      // where we send from
	agreed atomic.Pointer[agreement] // nil before Start
	remote atomic.Pointer[remote]    // where we send to; never nil
	rx     receiver
	sent   txCounters
	done   chan struct{} // closed by Close

	readers sync.WaitGroup

	mu        sync.Mutex // guards what follows; not held while calling sockets, sources, sinks or listeners
	version   uint64
	direction sdp.Direction
	onEvent   func(Event)
	onDTMF    func(rune)
	closed    bool
	old       []oldPath
	digits    eventSender

	change sync.Mutex // held by one of Start, SetSource, SetSink, Move and Close at a time; turns do not know it

	turn   sync.Mutex // held during a turn, which never waits, and by whoever changes what a turn uses:
	ended  bool
	tx     sender
	play   player
	source Source
	sink   Sink
	rate   int // at which source and sink have been opened, Hz; 0: not yet
}

// remote is where packets go. An invalid address takes none.
type remote struct{ rtp, rtcp netip.AddrPort }

// oldPath is a pair of sockets that Move has left.
type oldPath struct {
	path  *path
	until time.Time
}

// Open makes a stream with a pair of sockets on the local address. They are read from now on, so that nothing piles
// up, but until Start nothing is known of payload types, and all that comes is discarded.
func (e *Engine) Open(local Local) (*Stream, error) {
	lowest, highest := e.cfg.ports()
	p, err := openPath(e.net, local, lowest, highest, 0)
	if err != nil {
		return nil, err
	}
	cname := make([]byte, 12) // 96 random bits, kept for the call (RFC 7022 section 4.2)
	_, _ = rand.Read(cname)   // never fails
	s := &Stream{
		e: e, log: e.log, cname: base64.StdEncoding.EncodeToString(cname), done: make(chan struct{}),
		ssrc: mrand.Uint32(), id: mrand.Uint64() >> 2, version: 1, // peers exist that read it as a signed number
	}
	s.tx.seq, s.tx.timestamp = uint16(mrand.Uint32()), mrand.Uint32()
	s.rx.origin = time.Now()
	s.path.Store(p)
	s.remote.Store(&remote{})
	if s.pacer, err = e.add(s); err != nil {
		return nil, errors.Join(err, p.close())
	}
	s.read(p)
	return s, nil
}

// read starts the goroutines that read a path; they end when it is closed.
func (s *Stream) read(p *path) {
	s.readers.Go(func() { s.readLoop(p, p.rtp, s.handleRTP) })
	s.readers.Go(func() { s.readLoop(p, p.rtcp, s.handleRTCP) })
}

// Describe says what to put into an offer or an answer. Its Version grows with each Move and each change of direction;
// a dialog that keeps its last description in Local.Previous does not need it.
func (s *Stream) Describe() sdp.Local {
	p := s.path.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	return sdp.Local{
		SessionID: s.id, Version: s.version, Addr: p.advertised(), Port: p.port, RTCPPort: p.port + 1, Mux: s.e.cfg.RTCPMux,
		Codecs: offered(), PTime: orDefault(s.e.cfg.PTime, 20*time.Millisecond), Direction: s.direction,
	}
}

// SetDirection says which way this side wants media to flow, from the next Describe on: SendOnly or Inactive put the
// peer on hold. What is sent changes with the next Start.
func (s *Stream) SetDirection(d sdp.Direction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.direction != d {
		s.direction = d
		s.version++
	}
}

// Start begins with, or changes to, what has been agreed. Sending begins within a packet time, from the SSRC, sequence
// number and timestamp that the stream had before. If the address of the peer is the one of the last agreement, we go
// on sending to where its packets come from.
func (s *Stream) Start(a sdp.Agreed) error {
	s.change.Lock()
	defer s.change.Unlock()
	last := s.agreed.Load()
	next, err := newAgreement(a, last)
	if err != nil {
		return err
	}
	if err := s.openDevices(next.format.rate); err != nil {
		return err
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.ended {
		return ErrClosed
	}
	s.mu.Lock()
	s.digits.clock = next.format.clock
	s.mu.Unlock()
	s.rx.start(next, last, s.e.cfg)
	s.tx.start(next)
	s.play.start(next)
	p := s.path.Load()
	if last == nil || last.Remote != next.Remote || last.RemoteRTCP != next.RemoteRTCP {
		to := remote{rtp: p.reachable(next.Remote), rtcp: p.reachable(next.RemoteRTCP)}
		s.rx.aim(to.rtp)
		s.remote.Store(&to)
	}
	s.agreed.Store(next)
	if last == nil {
		s.pacer.add(s)
	}
	s.log.Debug("media agreed", slog.Any("local", p.local.Addr), slog.Any("remote", next.Remote), slog.String("codec", next.format.name),
		slog.String("direction", next.Direction.String()), slog.Duration("ptime", next.PTime))
	return nil
}

// openDevices opens source and sink at a rate, outside of any turn, for they may read files.
func (s *Stream) openDevices(rate int) error {
	s.turn.Lock()
	source, sink, done := s.source, s.sink, s.rate == rate
	s.turn.Unlock()
	if done {
		return nil
	}
	if source != nil {
		if err := source.Open(rate); err != nil {
			return fmt.Errorf("media: open source: %w", err)
		}
	}
	if sink != nil {
		if err := sink.Open(rate); err != nil {
			return fmt.Errorf("media: open sink: %w", err)
		}
	}
	s.turn.Lock()
	s.rate = rate
	s.turn.Unlock()
	return nil
}

// SetSource changes what is sent; nil sends silence. The stream takes src over, and closes the one it had. On an error
// the old one goes on and src is closed.
func (s *Stream) SetSource(src Source) error {
	return s.swap(src, src != nil, func() io.Closer {
		old := s.source
		s.source, s.tx.exhausted = src, false
		if old == nil {
			return nil
		}
		return old
	})
}

// SetSink changes where received audio goes; nil discards it. The stream takes sink over, and closes the one it had.
// On an error the old one goes on and sink is closed. From Start on a sink gets audio without gaps: silence stands for
// what did not come.
func (s *Stream) SetSink(sink Sink) error {
	return s.swap(sink, sink != nil, func() io.Closer {
		old := s.sink
		s.sink, s.play.broken = sink, false
		if old == nil {
			return nil
		}
		return old
	})
}

// device is what a Source and a Sink have in common.
type device interface {
	Open(rate int) error
	io.Closer
}

// swap opens a device if its rate is known, exchanges it between two turns, and closes the one before.
func (s *Stream) swap(d device, present bool, exchange func() io.Closer) error {
	s.change.Lock()
	defer s.change.Unlock()
	s.turn.Lock()
	rate, ended := s.rate, s.ended
	s.turn.Unlock()
	if !present {
		d = nopDevice{}
	}
	if ended {
		return errors.Join(ErrClosed, d.Close())
	}
	if rate != 0 {
		if err := d.Open(rate); err != nil {
			return errors.Join(fmt.Errorf("media: open %T: %w", d, err), d.Close())
		}
	}
	s.turn.Lock()
	old := exchange()
	s.turn.Unlock()
	if old == nil {
		return nil
	}
	return old.Close()
}

// nopDevice stands for none.
type nopDevice struct{}

func (nopDevice) Open(int) error { return nil }
func (nopDevice) Close() error   { return nil }

// Move opens a pair of sockets on another local address, with the same ports if they are free, and sends from there at
// once, with SSRC, sequence numbers and timestamps going on (RFC 3264 section 8.3.1: the peer may need to learn of it
// by a new offer, but one that follows the source address need not wait). The old sockets are still read until the
// first packet comes on the new ones, at most for 5 s. On an error nothing has changed.
func (s *Stream) Move(local Local) error {
	s.change.Lock()
	defer s.change.Unlock()
	lowest, highest := s.e.cfg.ports()
	before := s.path.Load()
	p, err := openPath(s.e.net, local, lowest, highest, before.port)
	if err != nil {
		return err
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.ended {
		return errors.Join(ErrClosed, p.close())
	}
	s.mu.Lock()
	s.version++
	s.old = append(s.old, oldPath{before, time.Now().Add(oldPathTime)})
	s.mu.Unlock()
	s.path.Store(p)
	to := *s.remote.Load()
	to = remote{p.reachable(to.rtp), p.reachable(to.rtcp)}
	s.remote.Store(&to)
	s.rx.movedTo(p)
	s.tx.moved()
	s.read(p)
	s.log.Debug("media moved", slog.Any("from", before.local.Addr), slog.Any("to", local.Addr), slog.Int("port", int(p.port)))
	return nil
}

// dropOld closes the sockets left by Move whose time is over.
func (s *Stream) dropOld(now time.Time, all bool) error {
	var errs []error
	s.mu.Lock()
	old := s.old
	s.old = nil
	for _, o := range old {
		if !all && now.Before(o.until) {
			s.old = append(s.old, o)
		}
	}
	s.mu.Unlock()
	for _, o := range old {
		if all || !now.Before(o.until) {
			errs = append(errs, o.path.close())
		}
	}
	return errors.Join(errs...)
}

// SendDTMF queues digits to be sent as telephone-events (RFC 4733), 100 ms each: 0-9, *, #, A-D in either case. It
// does not wait. The error says if a digit is none, or the peer takes no events, or too many are waiting; then none is
// queued.
func (s *Stream) SendDTMF(digits string) error {
	a := s.agreed.Load()
	switch {
	case a == nil:
		return errors.New("media: DTMF before the media has started")
	case a.EventPT < 0:
		return errors.New("media: the peer takes no telephone-events")
	case !a.Direction.Sends():
		return fmt.Errorf("media: DTMF while the media is %v", a.Direction)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.digits.push(digits)
}

// OnEvent sets who is told of events; nil: nobody. f is called in order, from one goroutine that serves all streams of
// the Engine, so it must not block; it is not called any more once Close has been.
func (s *Stream) OnEvent(f func(Event)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onEvent = f
}

// OnDTMF sets who is told of received digits, in addition to OnEvent and by the same rules.
func (s *Stream) OnDTMF(f func(digit rune)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onDTMF = f
}

// tell calls the listeners. It runs on the Engine's goroutine for that.
func (s *Stream) tell(e Event) {
	s.mu.Lock()
	onEvent, onDTMF, closed := s.onEvent, s.onDTMF, s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	if onEvent != nil {
		onEvent(e)
	}
	if e.Kind == DTMF && onDTMF != nil {
		onDTMF(e.Digit)
	}
}

func (s *Stream) emit(e Event) { s.e.events.push(s, e) }

// Close sends a BYE (RFC 3550 section 6.6), closes sockets, source and sink, and returns when nothing of the stream
// runs any more. The error is that of a source or sink, such as a recording that could not be completed.
func (s *Stream) Close() error {
	s.change.Lock()
	defer s.change.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()

	s.turn.Lock()
	s.ended = true
	s.sendBye(time.Now())
	source, sink := s.source, s.sink
	s.source, s.sink = nil, nil
	s.turn.Unlock()

	close(s.done)
	errs := []error{s.path.Load().close(), s.dropOld(time.Time{}, true)}
	s.readers.Wait()
	if source != nil {
		errs = append(errs, source.Close())
	}
	if sink != nil {
		errs = append(errs, sink.Close())
	}
	s.e.remove(s)
	return errors.Join(errs...)
}

// readLoop reads a socket until it is closed. An error of another kind is counted, and cannot make the loop spin.
func (s *Stream) readLoop(p *path, conn PacketConn, handle func(p *path, b []byte, from netip.AddrPort, now time.Time)) {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.rx.readErrors.Add(1)
			select {
			case <-s.done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		default:
			from = p.reachable(netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port()))
			handle(p, buf[:n], from, time.Now())
		}
	}
}
