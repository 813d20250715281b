package media

import (
	"slices"
	"time"
)

// player turns what the jitter buffer gives into audio without gaps. It belongs to the turns.
type player struct {
	ahead   []int16 // decoded, and not played yet: packets need not last as long as turns
	decoded []int16
	payload []byte
	pcm     []int16
	conceal *concealer
	level   meter
	quiet   bool // the last turn was hardly audible: a good time to leave something out
	broken  bool // the sink has failed
}

// quietPower is what counts as hardly audible: -50 dBFS.
const quietPower = 0.5e-5

// hearer is a Source that makes use of what has just been played: the echo.
type hearer interface{ hear(pcm []int16) }

func (p *player) start(a *agreement) {
	if p.conceal == nil || p.conceal.rate != a.format.rate {
		p.conceal = newConcealer(a.format.rate)
		p.ahead = make([]int16, 0, a.format.rate/4)
		p.decoded = make([]int16, 0, a.format.rate/4)
		p.payload = make([]byte, 0, 2048)
	}
	p.pcm = grown(p.pcm, a.samples)
}

// playTurn plays as much as a turn lasts.
func (s *Stream) playTurn(a *agreement, now time.Time) {
	p := &s.play
	pcm := p.pcm[:a.samples]
	if a.Direction.Receives() {
		s.fill(a, pcm, now)
	} else {
		clear(pcm)
		p.ahead = p.ahead[:0]
	}
	var frame meter
	frame.add(pcm, 1)
	p.quiet = frame.power < quietPower
	p.level.add(pcm, meterWeight(a.step))
	s.rx.level.Store(powerBits(p.level.power))
	if h, ok := s.source.(hearer); ok {
		h.hear(pcm)
	}
	if s.sink == nil || p.broken {
		return
	}
	if err := s.sink.Write(pcm); err != nil {
		p.broken = true
		s.emit(Event{Kind: SinkFailed, At: now, Err: err})
	}
}

// fill takes packet after packet until pcm is full.
func (s *Stream) fill(a *agreement, pcm []int16, now time.Time) {
	p := &s.play
	n := copy(pcm, p.ahead)
	p.ahead = slices.Delete(p.ahead, 0, n)
	at := clockUnits(now.Sub(s.rx.origin), a.format.clock)
	toUnits := func(samples int) int64 { return int64(samples) * int64(a.format.clock) / int64(a.format.rate) }
	for n < len(pcm) {
		kind, pt, units := s.rx.next(p, at+toUnits(n), toUnits(len(pcm)-n))
		if kind == playPacket || kind == playCut {
			n += s.decode(a, pt, pcm[n:], kind == playCut)
			continue
		}
		m := min(max(int(units*int64(a.format.rate)/int64(a.format.clock)), 1), len(pcm)-n)
		part := pcm[n : n+m]
		if kind == playQuiet {
			clear(part)
			p.conceal.good(part)
		} else {
			p.conceal.conceal(part)
			s.rx.concealed.Add(int64(m))
		}
		n += m
	}
}

// decode plays p.payload: as much as there is room for, the rest is kept. With cut it is only decoded.
func (s *Stream) decode(a *agreement, pt uint8, pcm []int16, cut bool) int {
	p := &s.play
	c := a.recv[pt&127].codec
	if c == nil {
		return 0 // a payload type of the agreement before
	}
	p.decoded = c.decode(p.decoded[:0], p.payload)
	if cut {
		p.conceal.cut()
		return 0
	}
	p.conceal.good(p.decoded)
	n := copy(pcm, p.decoded)
	p.ahead = append(p.ahead, p.decoded[n:]...)
	return n
}
