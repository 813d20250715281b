package media

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

// stallTime is how long nothing may come before that is an event.
const stallTime = 500 * time.Millisecond

// receiver is the receiving side of a stream: from the sockets to the jitter buffer.
type receiver struct {
	origin     time.Time     // of arrival times
	level      atomic.Uint64 // mean square of what is played, as bits of a float64
	concealed  atomic.Int64  // samples made up
	readErrors atomic.Uint64

	mu      sync.Mutex // held for short computations only
	packet  rtp.Packet
	latch   latch
	current reception // of the SSRC we listen to
	rival   rival     // another SSRC that may take its place
	past    pastReception
	jitter  *jitterBuffer
	events  eventReceiver
	report  remoteReport
	heard   *path // on which the last packet came

	first, last   time.Time
	since         time.Time     // the last packet, or zero if it does not matter how long ago that was
	longest       time.Duration // between two packets
	stalled       bool
	packets       uint64
	bytes         uint64
	foreign       uint64 // from addresses that are not (yet) the peer's
	invalid       uint64 // not RTP, or of no known payload type
	unanticipated uint64 // before Start
}

// pastReception sums up what the SSRCs before the current one have left.
type pastReception struct {
	expected, duplicate, reordered uint64
	lost                           int64
}

// rival is an SSRC that is not listened to, unless a second packet in sequence proves that it means to stay.
type rival struct {
	ssrc uint32
	seq  uint16
	set  bool
}

func powerBits(power float64) uint64 { return math.Float64bits(power) }

// start takes a new agreement.
func (r *receiver) start(a, before *agreement, cfg Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.jitter == nil || r.jitter.clock != int64(a.format.clock) {
		shortest := orDefault(cfg.JitterMin, 20*time.Millisecond)
		r.jitter = newJitterBuffer(a.format.clock, shortest, max(orDefault(cfg.JitterMax, 200*time.Millisecond), shortest))
	}
	if !a.Direction.Receives() {
		r.jitter.reset()
	}
	r.jitter.turn = int64(a.units)
	r.current.clock = a.format.clock
	if before == nil || !before.Direction.Receives() || !a.Direction.Receives() {
		r.stalled, r.since = false, time.Time{} // the pause was wanted
	}
}

// aim says where the peer is according to its description.
func (r *receiver) aim(to netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latch = latch{to: to}
}

// movedTo takes note of a new path: the peer's address may have another zone there.
func (r *receiver) movedTo(p *path) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latch.to = p.reachable(r.latch.to)
}

// next gives what to play, with the payload in p.
func (r *receiver) next(p *player, now, want int64) (kind playKind, pt uint8, units int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind, packet, units := r.jitter.get(now, want, p.quiet)
	if packet != nil && (kind == playPacket || kind == playCut) {
		p.payload = append(p.payload[:0], packet.payload...)
		pt = packet.pt
	}
	return kind, pt, units
}

// handleRTP takes a packet from an RTP socket.
func (s *Stream) handleRTP(p *path, b []byte, from netip.AddrPort, now time.Time) {
	if len(b) >= 2 && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223 { // RTCP on the same port (RFC 5761 section 4)
		s.handleRTCP(p, b, from, now)
		return
	}
	a := s.agreed.Load()
	s.rx.mu.Lock()
	first, resumed, moved, digit := s.rx.take(a, p, b, from, now)
	s.rx.mu.Unlock()
	if moved {
		to := *s.remote.Load()
		to.rtcp = s.followRTCP(to, from)
		to.rtp = from
		s.remote.Store(&to)
		s.emit(Event{Kind: RemoteMoved, At: now, Remote: from})
	}
	if first {
		s.emit(Event{Kind: FirstPacket, At: now, Remote: from})
	}
	if resumed {
		s.emit(Event{Kind: Resumed, At: now, Remote: from})
	}
	if digit != 0 {
		s.emit(Event{Kind: DTMF, At: now, Digit: digit, Remote: from})
	}
}

// followRTCP is where RTCP goes when RTP follows the peer to another address: the same one if they share a port, else
// the next port there, until RTCP from the peer shows better.
func (s *Stream) followRTCP(before remote, rtp netip.AddrPort) netip.AddrPort {
	switch {
	case before.rtcp == before.rtp:
		return rtp
	case rtp.Port() == 65535:
		return netip.AddrPort{}
	default:
		return netip.AddrPortFrom(rtp.Addr(), rtp.Port()+1)
	}
}

// take sorts a packet: who sent it, whether it is new, and what is in it.
func (r *receiver) take(a *agreement, p *path, b []byte, from netip.AddrPort, now time.Time) (first, resumed, moved bool, digit rune) {
	if a == nil {
		r.unanticipated++
		return
	}
	pkt := &r.packet
	if err := pkt.Unmarshal(b); err != nil || pkt.Version != 2 {
		r.invalid++
		return
	}
	kind := &a.recv[pkt.PayloadType&127]
	known := kind.event || kind.codec != nil
	ours := r.ours(pkt)
	trusted, moved := r.latch.take(from, pkt.SSRC, pkt.SequenceNumber, known, now)
	// A packet that goes on with the stream we hear is played wherever it comes from: a peer that moves is heard without
	// a gap. Only the address we send to has to be proven first.
	if !trusted && !ours {
		r.foreign++
		return
	}
	if !ours && !r.change(pkt, now) {
		return
	}
	first, resumed = r.arrived(len(b), p, now, a.Direction.Receives())
	switch r.current.take(pkt.SequenceNumber) {
	case duplicated:
		return
	case began:
		r.jitter.reset()
	case accepted:
	}
	if !known {
		r.invalid++ // a keep-alive, perhaps: it is in sequence, but carries nothing
	}
	slot := jitterSlot{seq: pkt.SequenceNumber, pt: pkt.PayloadType}
	arrival := clockUnits(now.Sub(r.origin), a.format.clock)
	switch {
	case kind.event:
		digit, _ = r.events.take(pkt.Timestamp, pkt.Payload)
	case known:
		r.current.arrive(arrival, pkt.Timestamp)
		slot.audio, slot.payload, slot.duration = true, pkt.Payload, int64(kind.codec.duration(pkt.Payload))
	}
	if a.Direction.Receives() {
		r.jitter.put(slot, pkt.Timestamp, arrival)
	} else {
		digit = 0
	}
	return first, resumed, moved, digit
}

// ours reports whether a packet goes on with the stream we hear.
func (r *receiver) ours(pkt *rtp.Packet) bool {
	return pkt.SSRC == r.current.ssrc && r.current.follows(pkt.SequenceNumber)
}

// change considers listening to another SSRC, or to the same one begun anew: at once if nothing is heard, otherwise
// after two packets in sequence (RFC 3550 section 6.2.1 and appendix A.1).
func (r *receiver) change(pkt *rtp.Packet, now time.Time) bool {
	silent := !r.current.started || now.Sub(r.last) > 3*20*time.Millisecond
	follows := r.rival.set && r.rival.ssrc == pkt.SSRC && r.rival.seq+1 == pkt.SequenceNumber
	r.rival = rival{ssrc: pkt.SSRC, seq: pkt.SequenceNumber, set: true}
	if !silent && !follows {
		return false
	}
	r.past.expected += r.current.expected()
	r.past.lost += r.current.lost()
	r.past.duplicate += r.current.duplicate
	r.past.reordered += r.current.reordered
	r.current = reception{ssrc: pkt.SSRC, clock: r.current.clock}
	r.rival, r.events, r.report = rival{}, eventReceiver{}, remoteReport{}
	return true
}

// arrived notes when a packet of the peer came; how long ago the one before was counts only if packets are awaited.
func (r *receiver) arrived(size int, p *path, now time.Time, awaited bool) (first, resumed bool) {
	first = r.first.IsZero()
	if first {
		r.first = now
	}
	if !r.since.IsZero() {
		r.longest = max(r.longest, now.Sub(r.since))
	}
	resumed, r.stalled = r.stalled, false
	r.last, r.heard = now, p
	if r.since = now; !awaited {
		r.since = time.Time{}
	}
	r.packets++
	r.bytes += uint64(size)
	return first, resumed
}

// watch notices that nothing comes any more, and closes the sockets that Move has left once the new ones are in use.
func (s *Stream) watch(a *agreement, now time.Time) {
	r := &s.rx
	r.mu.Lock()
	stalled := a.Direction.Receives() && !r.stalled && !r.since.IsZero() && now.Sub(r.since) >= stallTime
	r.stalled = r.stalled || stalled
	onNew := r.heard == s.path.Load()
	r.mu.Unlock()
	if stalled {
		s.emit(Event{Kind: Stalled, At: now})
	}
	s.mu.Lock()
	left := len(s.old)
	s.mu.Unlock()
	if left > 0 {
		_ = s.dropOld(now, onNew) // sockets that are not used any more
	}
}

// latchPackets is how many packets in a row from another address prove that the peer is there (RFC 7362 section 4 has
// the reasons for caution), and latchSilence how long the address before must have been silent.
const (
	latchPackets = 4
	latchSilence = 100 * time.Millisecond
)

// latch decides where we send: to the address that the peer described, until its packets come from another one.
type latch struct {
	to    netip.AddrPort
	heard time.Time // when a packet last came from there

	candidate netip.AddrPort
	ssrc      uint32
	seq       uint16
	count     int
}

// take looks at where a packet comes from. trusted: it is from the address we send to, which may just have moved.
func (l *latch) take(from netip.AddrPort, ssrc uint32, seq uint16, known bool, now time.Time) (trusted, moved bool) {
	switch {
	case from == l.to:
		l.heard, l.count = now, 0
		return true, false
	case !l.to.IsValid() || !known:
		return false, false // a peer that takes nothing has no address
	}
	ahead := int16(seq - l.seq)
	if l.count == 0 || from != l.candidate || ssrc != l.ssrc || ahead <= 0 || ahead > 16 {
		l.candidate, l.ssrc, l.count = from, ssrc, 0
	}
	l.seq = seq
	l.count++
	if l.count < latchPackets || now.Sub(l.heard) < latchSilence {
		return false, false
	}
	l.to, l.heard, l.count = from, now, 0
	return true, true
}
