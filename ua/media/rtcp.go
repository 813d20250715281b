package media

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/pion/rtcp"
)

// rtcpInterval is the mean time between reports (RFC 3550 section 6.2: the minimum, which always holds with two
// parties), and rtcpCompensation the factor for its randomisation (section 6.3.1, e - 1.5).
const (
	rtcpInterval     = 5 * time.Second
	rtcpCompensation = 1.21828
)

// nextReportIn is a time drawn for the next report; the first one comes earlier.
func nextReportIn(first bool) time.Duration {
	mean := float64(rtcpInterval)
	if first {
		mean /= 2
	}
	return time.Duration(mean * (0.5 + rand.Float64()) / rtcpCompensation) //nolint:gosec // not a secret
}

// remoteReport is what the peer's RTCP tells.
type remoteReport struct {
	srMiddle uint32    // middle 32 bits of the NTP time of its last SR
	srAt     time.Time // when that came

	rtt      time.Duration
	lost     int64 // of our packets
	fraction float64
	jitter   time.Duration
	known    bool
}

// reportTurn sends a report when one is due.
func (s *Stream) reportTurn(a *agreement, now time.Time) {
	t, to := &s.tx, s.remote.Load()
	if t.nextReport.IsZero() {
		t.nextReport = now.Add(nextReportIn(true))
	}
	if now.Before(t.nextReport) {
		return
	}
	t.nextReport = now.Add(nextReportIn(false))
	if !to.rtcp.IsValid() {
		return
	}
	report := s.compound(now)
	t.reported, t.reportedAt = t.reportedAt, t.packets
	s.sendRTCP(a, report, to, now)
}

// compound is a report and our name, as every compound packet has them (RFC 3550 section 6.1). It is a sender's report
// if anything has been sent since the last report but one (section 6.3.8).
func (s *Stream) compound(now time.Time) []rtcp.Packet {
	t := &s.tx
	var blocks []rtcp.ReceptionReport
	if b, ok := s.rx.reportBlock(now); ok {
		blocks = []rtcp.ReceptionReport{b}
	}
	name := &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: s.ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: s.cname}},
	}}}
	if t.packets == t.reported {
		return []rtcp.Packet{&rtcp.ReceiverReport{SSRC: s.ssrc, Reports: blocks}, name}
	}
	return []rtcp.Packet{&rtcp.SenderReport{
		SSRC: s.ssrc, NTPTime: ntpTime(now), RTPTime: t.timestamp, PacketCount: t.packets, OctetCount: t.octets, Reports: blocks,
	}, name}
}

// sendBye says that we leave. It is sent only if anything was before (RFC 3550 section 6.3.7).
func (s *Stream) sendBye(now time.Time) {
	a, to := s.agreed.Load(), s.remote.Load()
	if a == nil || !to.rtcp.IsValid() || s.tx.packets == 0 && s.tx.reportedAt == 0 {
		return
	}
	s.sendRTCP(a, append(s.compound(now), &rtcp.Goodbye{Sources: []uint32{s.ssrc}}), to, now)
}

func (s *Stream) sendRTCP(a *agreement, packets []rtcp.Packet, to *remote, now time.Time) {
	b, err := rtcp.Marshal(packets)
	if err == nil {
		p := s.path.Load()
		conn := p.rtcp
		if a.Mux {
			conn = p.rtp
		}
		_, err = conn.WriteToUDPAddrPort(b, to.rtcp)
	}
	if err != nil {
		s.failed(err, now)
	}
}

// reportBlock is what we tell the peer of its packets (RFC 3550 section 6.4.1).
func (r *receiver) reportBlock(now time.Time) (rtcp.ReceptionReport, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.current.started || r.current.expected() == r.current.expectedPrior {
		return rtcp.ReceptionReport{}, false // nothing new
	}
	fraction, lost, highest := r.current.report()
	b := rtcp.ReceptionReport{
		SSRC: r.current.ssrc, FractionLost: fraction, TotalLost: lost, LastSequenceNumber: highest, Jitter: uint32(r.current.jitter),
	}
	if !r.report.srAt.IsZero() {
		b.LastSenderReport = r.report.srMiddle
		b.Delay = uint32(now.Sub(r.report.srAt) * 65536 / time.Second)
	}
	return b, true
}

// handleRTCP takes a compound packet. It counts only if it comes from the host we exchange RTP with.
func (s *Stream) handleRTCP(_ *path, b []byte, from netip.AddrPort, now time.Time) {
	a, to := s.agreed.Load(), s.remote.Load()
	if a == nil || !to.rtp.IsValid() || from.Addr().WithZone("") != to.rtp.Addr().WithZone("") && from != to.rtcp {
		return
	}
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return
	}
	if from != to.rtcp && !a.Mux && s.rx.speaks(packets) {
		next := remote{rtp: to.rtp, rtcp: from}
		s.remote.CompareAndSwap(to, &next)
	}
	s.rx.takeReports(packets, s.ssrc, now)
}

// speaks reports whether a compound packet is of the SSRC that we hear: then its source is where RTCP is read.
func (r *receiver) speaks(packets []rtcp.Packet) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ssrc, ok := reporter(packets[0])
	return ok && r.current.started && ssrc == r.current.ssrc
}

func reporter(p rtcp.Packet) (uint32, bool) {
	switch p := p.(type) {
	case *rtcp.SenderReport:
		return p.SSRC, true
	case *rtcp.ReceiverReport:
		return p.SSRC, true
	default:
		return 0, false
	}
}

// takeReports reads what the peer sends and what it says of our packets. A BYE is only information: whether the call
// ends is for signalling to say.
func (r *receiver) takeReports(packets []rtcp.Packet, ours uint32, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range packets {
		var blocks []rtcp.ReceptionReport
		switch p := p.(type) {
		case *rtcp.SenderReport:
			if r.current.started && p.SSRC == r.current.ssrc {
				r.report.srMiddle, r.report.srAt = uint32(p.NTPTime>>16), now
			}
			blocks = p.Reports
		case *rtcp.ReceiverReport:
			blocks = p.Reports
		}
		for _, b := range blocks {
			if b.SSRC == ours {
				r.takeBlock(b, now)
			}
		}
	}
}

func (r *receiver) takeBlock(b rtcp.ReceptionReport, now time.Time) {
	r.report.known = true
	r.report.lost = int64(int32(b.TotalLost<<8) >> 8) // 24 bits with a sign
	r.report.fraction = float64(b.FractionLost) / 256
	if r.current.clock > 0 {
		r.report.jitter = time.Duration(b.Jitter) * time.Second / time.Duration(r.current.clock)
	}
	if rtt, ok := roundTrip(ntpTime(now), b.LastSenderReport, b.Delay); ok {
		r.report.rtt = rtt
	}
}

// roundTrip is the time from our SR to the report about it, less the time the peer kept it (RFC 3550 section 6.4.1).
func roundTrip(now uint64, lsr, dlsr uint32) (time.Duration, bool) {
	if lsr == 0 {
		return 0, false // the peer has seen none yet
	}
	rtt := int32(uint32(now>>16) - lsr - dlsr)
	if rtt < 0 {
		// The peer's clock may run a little fast.
		return 0, rtt > -65536/10
	}
	return time.Duration(rtt) * time.Second / 65536, true
}

// ntpTime is t as NTP writes it: seconds since 1900 and their fraction in 32 bits each.
func ntpTime(t time.Time) uint64 {
	const seconds1900to1970 = 2208988800
	fraction := uint64(t.Nanosecond()) << 32 / uint64(time.Second)
	return uint64(t.Unix()+seconds1900to1970)<<32 | fraction
}
