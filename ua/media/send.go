package media

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

// keepAlive is how often something is sent while no audio is, to keep the way open through NATs (RFC 6263).
const keepAlive = 15 * time.Second

// headerSize is that of an RTP header without CSRCs and extensions.
const headerSize = 12

// txCounters counts what is sent; turns write them, anybody reads.
type txCounters struct {
	packets, bytes, errors atomic.Uint64
	level                  atomic.Uint64 // mean square, as bits of a float64
}

// sender is the sending side of a stream. It belongs to the turns.
type sender struct {
	seq       uint16
	timestamp uint32 // of the audio of the next turn; it goes on whether or not anything is sent
	talking   bool   // the last turn sent audio or an event: the next packet needs no marker
	packets   uint32 // sender's counts for SR (RFC 3550 section 6.4.1)
	octets    uint32
	lastSent  time.Time // zero: send a keep-alive at once if there is no audio
	failing   bool      // the last packet could not be sent
	exhausted bool      // the source has no more
	buf       []byte
	pcm       []int16
	level     meter

	nextReport time.Time // zero: to be set by the first turn
	reported   uint32    // packets at the last report but one
	reportedAt uint32    // packets at the last report
}

func (t *sender) start(a *agreement) {
	t.buf = grown(t.buf, headerSize+4*a.samples) // room for 16-bit stereo, the largest payload there can be
	t.pcm = grown(t.pcm, a.samples)
}

// moved makes the next turn open the way on a new path even if it has no audio to send.
func (t *sender) moved() { t.lastSent = time.Time{} }

func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, 0, n)
	}
	return s
}

// tick is a stream's turn: it plays what is due, sends what is due, and looks after the rest.
func (s *Stream) tick(now time.Time, gap time.Duration) time.Duration {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.ended {
		return 0
	}
	a := s.agreed.Load()
	if gap > 0 {
		// What was passed over is a pause for the far end, not a delay of all that follows.
		s.tx.timestamp += uint32(clockUnits(gap, a.format.clock))
		s.tx.talking = false
	}
	s.playTurn(a, now)
	s.reportTurn(a, now)
	s.sendTurn(a, now)
	s.tx.timestamp += uint32(a.units)
	s.watch(a, now)
	return a.step
}

// sendTurn sends one packet: of an event, of audio, or to keep the way open.
func (s *Stream) sendTurn(a *agreement, now time.Time) {
	t, to := &s.tx, s.remote.Load()
	if !to.rtp.IsValid() {
		t.talking = false
		return
	}
	if !a.Direction.Sends() {
		t.talking = false
		if now.Sub(t.lastSent) >= keepAlive {
			s.sendPacket(rtp.Header{PayloadType: a.alive, Timestamp: t.timestamp}, t.buf[:headerSize], to, now)
		}
		return
	}
	pcm := t.pcm[:a.samples]
	s.readSource(pcm, now)
	t.level.add(pcm, meterWeight(a.step))
	s.sent.level.Store(powerBits(t.level.power))
	packet := t.buf[:headerSize]
	header := rtp.Header{PayloadType: a.Send.PT, Timestamp: t.timestamp, Marker: !t.talking}
	if e, start, first, ok := s.nextEvent(a); ok {
		header = rtp.Header{PayloadType: uint8(a.EventPT), Timestamp: start, Marker: first}
		packet = e.append(packet)
	} else {
		packet = a.codec.encode(packet, pcm)
	}
	t.talking = true
	s.sendPacket(header, packet, to, now)
}

func (s *Stream) nextEvent(a *agreement) (e telephoneEvent, start uint32, marker, ok bool) {
	if a.EventPT < 0 {
		return e, 0, false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.digits.next(s.tx.timestamp, a.units)
}

// readSource fills pcm, with silence if there is nothing else.
func (s *Stream) readSource(pcm []int16, now time.Time) {
	n := 0
	if s.source != nil && !s.tx.exhausted {
		var err error
		if n, err = s.source.Read(pcm); err != nil {
			s.tx.exhausted = true
			e := Event{Kind: SourceEnded, At: now}
			if !errors.Is(err, io.EOF) {
				e.Err = err
			}
			s.emit(e)
		}
	}
	clear(pcm[n:])
}

// sendPacket completes the header in front of a payload, and sends. An error is counted, and told of once; the cause is
// for others to find out.
func (s *Stream) sendPacket(h rtp.Header, packet []byte, to *remote, now time.Time) {
	t := &s.tx
	h.Version, h.SequenceNumber, h.SSRC = 2, t.seq, s.ssrc
	t.seq++
	t.lastSent = now
	if _, err := h.MarshalTo(packet); err != nil {
		s.failed(err, now)
		return
	}
	if _, err := s.path.Load().rtp.WriteToUDPAddrPort(packet, to.rtp); err != nil {
		s.failed(err, now)
		return
	}
	t.failing = false
	if payload := len(packet) - headerSize; payload > 0 { // a keep-alive makes nobody a sender
		t.packets++
		t.octets += uint32(payload)
	}
	s.sent.packets.Add(1)
	s.sent.bytes.Add(uint64(len(packet)))
}

func (s *Stream) failed(err error, now time.Time) {
	s.sent.errors.Add(1)
	if !s.tx.failing {
		s.tx.failing = true
		s.emit(Event{Kind: SendFailing, At: now, Err: err})
	}
}

// meterWeight makes a meter follow with a time constant of half a second.
func meterWeight(step time.Duration) float64 { return float64(step) / float64(500*time.Millisecond) }
