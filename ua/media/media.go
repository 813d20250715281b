package media

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/gosipua/gosipua/ua/sdp"
)

// ErrClosed is returned by the methods of a closed Stream or Engine. It wraps net.ErrClosed.
var ErrClosed = fmt.Errorf("media: %w", net.ErrClosed)

// Config is how an Engine works. The zero value works.
type Config struct {
	PortMin, PortMax uint16 // range for RTP (even) and RTCP (odd) ports, inclusive; both 0: 10000-20000
	DSCP             int    // of RTP and RTCP packets, 0-63; 0: 46 (EF); negative: leave it to the system

	PTime                time.Duration // of what we ask to receive; 0: 20 ms
	RTCPMux              bool          // offer RTP and RTCP on one port (RFC 5761)
	JitterMin, JitterMax time.Duration // bounds of the adaptive jitter buffer; 0: 20 ms, 200 ms

	Network Network // nil: the operating system's sockets
	Log     *slog.Logger
}

// Network opens the sockets of streams. A test may give its own, in memory; the Engine then keeps time with Go's
// timers alone, so that it runs inside a testing/synctest bubble.
type Network interface {
	// Listen opens a socket on exactly that address and port; errors.Is(err, syscall.EADDRINUSE) makes the Engine try another port.
	Listen(local Local, port uint16) (PacketConn, error)
}

// PacketConn is the part of *net.UDPConn that a Stream uses. Writes must not block.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
}

// Local is a local address for media.
type Local struct {
	Addr       netip.Addr // never unspecified; a zone is allowed
	Device     string     // bind to this interface as well (SO_BINDTODEVICE) where permitted; "": no
	Advertised netip.Addr // what the peer is told; zero: Addr
}

// Engine owns what streams have in common: the pacers that time sending and playing.
type Engine struct{ cfg Config }

// New makes an Engine; nothing runs until Run.
func New(cfg Config) *Engine { return &Engine{cfg: cfg} }

// Run paces all streams until ctx ends, then closes them.
func (e *Engine) Run(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }

// Open makes a stream with a socket pair on the local address.
func (e *Engine) Open(local Local) (*Stream, error) { return nil, ErrClosed }

// Stream is the media of one call.
type Stream struct{}

// Describe says what to put into an offer or answer.
func (s *Stream) Describe() sdp.Local { return sdp.Local{} }

// Start begins with, or changes to, what has been agreed.
func (s *Stream) Start(a sdp.Agreed) error { return ErrClosed }

// SetDirection says which way this side wants media to flow from the next offer on (hold and resume).
func (s *Stream) SetDirection(d sdp.Direction) {}

// SetSource changes what is sent; nil sends silence. The stream closes the source it had.
func (s *Stream) SetSource(src Source) error { return ErrClosed }

// SetSink changes where received audio goes; nil discards it. The stream closes the sink it had.
func (s *Stream) SetSink(sink Sink) error { return ErrClosed }

// Move opens a socket pair on another local address and sends from there at once.
func (s *Stream) Move(local Local) error { return ErrClosed }

// SendDTMF queues telephone-events (RFC 4733): 0-9, *, #, A-D.
func (s *Stream) SendDTMF(digits string) error { return ErrClosed }

// OnEvent sets who is told of events; to be called before Start. f is called from one goroutine of the Engine, in
// order; it must not block.
func (s *Stream) OnEvent(f func(Event)) {}

// OnDTMF sets who is told of received digits, in addition to OnEvent; the same rules hold.
func (s *Stream) OnDTMF(f func(digit rune)) {}

// Stats is a snapshot of the counters.
func (s *Stream) Stats() Stats { return Stats{} }

// Close ends the stream.
func (s *Stream) Close() error { return nil }

// EventKind says what an Event is about.
type EventKind uint8

// The kinds of events.
const (
	DTMF        EventKind = iota // a digit came: Event.Digit
	FirstPacket                  // the first RTP packet came
	Stalled                      // nothing has come for half a second although the peer may send
	Resumed                      // packets come again after Stalled
	RemoteMoved                  // the peer sends from another address and we follow it: Event.Remote
	SendFailing                  // sending began to fail: Event.Err
	SourceEnded                  // the source has no more audio; silence is sent
)

// Event is something that happened on a stream.
type Event struct {
	Kind   EventKind
	At     time.Time
	Digit  rune
	Remote netip.AddrPort
	Err    error
}

// Stats is a snapshot of a stream. Levels are in dBFS, 0 being a full-scale sine.
type Stats struct {
	Local, Remote           netip.AddrPort
	Codec                   string
	Direction               sdp.Direction
	FirstPacket, LastPacket time.Time // zero: nothing came

	TxPackets, TxBytes, TxErrors uint64
	RxPackets, RxBytes           uint64
	Lost                         int64 // RFC 3550 A.3
	Late, Duplicate, Reordered   uint64
	Jitter                       time.Duration
	RTT                          time.Duration // 0: unknown
	Level                        float64
	MOS                          float64
}

// Source gives the audio that a stream sends.
type Source interface {
	// Open says at which rate, in Hz, samples will be read. It may be called again if the rate changes.
	Open(rate int) error
	// Read fills pcm with the next samples and never blocks; what it leaves out is silence. io.EOF: there is no more.
	Read(pcm []int16) (int, error)
	Close() error
}

// Sink takes the audio that a stream received.
type Sink interface {
	// Open says at which rate, in Hz, samples will be written. It may be called again if the rate changes.
	Open(rate int) error
	// Write takes samples and never blocks.
	Write(pcm []int16) error
	Close() error
}

// Options are for ParseSource and ParseSink. The zero value works.
type Options struct {
	Dir  string // relative paths start here; "": the working directory
	Once bool   // a file is played once, then silence; default: again and again, as baresip does
}

// ParseSource opens the source that a "driver,argument" string names.
func ParseSource(spec string, o Options) (Source, error) { return nil, ErrClosed }

// ParseSink opens the sink that a "driver,argument" string names.
func ParseSink(spec string, o Options) (Sink, error) { return nil, ErrClosed }

// Tone finds the dominant tone of pcm: its frequency in Hz and level in dBFS (0: a full-scale sine).
func Tone(pcm []int16, rate int) (hz, dbfs float64, ok bool) { return 0, 0, false }
