package media

import (
	"math"
	"net/netip"
	"time"

	"github.com/gosipua/gosipua/ua/sdp"
)

// Stats is a snapshot of a stream, counted from Open. Levels are in dBFS, where 0 is a full-scale sine and -96 silence.
type Stats struct {
	Local, Remote    netip.AddrPort // of RTP, as bound and as sent to now; Remote is invalid if nothing is sent
	SSRC, RemoteSSRC uint32         // RemoteSSRC 0: nothing came
	Codec            string         // what is sent; "": not started
	PTime            time.Duration  // of what is sent
	Direction        sdp.Direction

	TxPackets, TxBytes uint64  // RTP, headers included
	TxErrors           uint64  // packets that could not be sent, RTCP included
	TxLevel            float64 // over the last half second

	RxPackets, RxBytes      uint64 // RTP of the peer, headers included
	RxForeign               uint64 // packets from other addresses, discarded
	RxInvalid               uint64 // packets that are no RTP or have an unknown payload type
	RxLevel                 float64
	FirstPacket, LastPacket time.Time     // zero: none came
	LongestGap              time.Duration // between two packets

	Expected             uint64        // packets the peer has sent, by their numbers
	Lost                 int64         // of these, never came (duplicates are not counted against losses)
	Late                 uint64        // came too late to be played, and not counted as lost
	Duplicate, Reordered uint64        //
	Concealed            time.Duration // audio made up for what was missing
	Jitter               time.Duration // interarrival jitter, RFC 3550 section 6.4.1
	BufferDelay          time.Duration // how long audio waits in the jitter buffer now
	BufferTarget         time.Duration // and how long it should
	BufferResets         uint64        // the peer's clock jumped

	RTT          time.Duration // by RTCP; 0: unknown
	RemoteLost   int64         // of our packets, as the peer reports
	RemoteJitter time.Duration

	R, MOS float64 // ITU-T G.107 for what we hear, the network's delay included; 0: nothing came
}

// Stats is a snapshot of the counters.
func (s *Stream) Stats() Stats {
	p, a := s.path.Load(), s.agreed.Load()
	st := Stats{
		Local: netip.AddrPortFrom(p.local.Addr, p.port), Remote: s.remote.Load().rtp, SSRC: s.ssrc, Direction: sdp.Inactive,
		TxPackets: s.sent.packets.Load(), TxBytes: s.sent.bytes.Load(), TxErrors: s.sent.errors.Load(),
		TxLevel: silence, RxLevel: silence,
	}
	if a == nil {
		return st
	}
	st.Codec, st.PTime, st.Direction = a.format.name, a.step, a.Direction
	st.TxLevel = powerLevel(math.Float64frombits(s.sent.level.Load()))
	st.RxLevel = powerLevel(math.Float64frombits(s.rx.level.Load()))
	st.Concealed = time.Duration(s.rx.concealed.Load()) * time.Second / time.Duration(a.format.rate)
	bursts := s.rx.stats(&st)
	if st.RxPackets > 0 {
		st.R, st.MOS = st.quality(a.format, bursts)
	}
	return st
}

// stats fills in what the receiver knows, and returns the mean length of a run of lost packets.
func (r *receiver) stats(st *Stats) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current.started {
		st.RemoteSSRC = r.current.ssrc
	}
	st.RxPackets, st.RxBytes, st.RxForeign, st.RxInvalid = r.packets, r.bytes, r.foreign, r.invalid
	st.FirstPacket, st.LastPacket, st.LongestGap = r.first, r.last, r.longest
	st.Expected = r.past.expected + r.current.expected()
	st.Duplicate = r.past.duplicate + r.current.duplicate
	st.Reordered = r.past.reordered + r.current.reordered
	st.Lost = r.past.lost + r.current.lost()
	st.Jitter = r.current.jitterTime()
	st.RTT, st.RemoteLost, st.RemoteJitter = r.report.rtt, r.report.lost, r.report.jitter
	j := r.jitter
	st.Late, st.BufferResets, st.BufferTarget = j.late, j.resets, j.time(j.target)
	st.BufferDelay = j.delay()
	if j.bursts == 0 {
		return 1
	}
	return float64(j.lost) / float64(j.bursts)
}

// quality scores what is heard by the E-model. The delay is half the round trip, a packet, and the jitter buffer.
func (st *Stats) quality(f format, burst float64) (r, mos float64) {
	loss := 0.0
	if st.Expected > 0 {
		loss = float64(max(st.Lost, 0)+int64(st.Late)) / float64(st.Expected)
	}
	e := emodel{
		delay: st.RTT/2 + st.PTime + st.BufferDelay, ie: f.ie, bpl: f.bpl, loss: min(loss, 1),
		burst: burst * (1 - min(loss, 1)), // runs of that length by chance make a ratio of 1
	}
	return e.r(), e.mos()
}
