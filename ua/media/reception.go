package media

import "time"

// The limits of RFC 3550 appendix A.1.
const (
	maxDropout  = 3000 // a larger step forward in sequence numbers begins anew
	maxMisorder = 100  // and so does a larger step back
)

// reception keeps the statistics of one SSRC (RFC 3550 appendices A.1, A.3 and A.8).
type reception struct {
	ssrc     uint32
	clock    int // Hz
	started  bool
	base     uint32 // first extended sequence number
	highest  uint32 // highest extended sequence number; the upper half counts cycles
	seen     uint64 // which of the 64 numbers up to highest have come, bit 0 being highest itself
	received uint64

	duplicate, reordered uint64

	jitter   float64 // timestamp units
	transit  uint32
	measured bool // transit holds the one of a packet

	expectedPrior, receivedPrior uint64 // at the last report
}

// verdict says what is to be done with a packet.
type verdict uint8

const (
	accepted verdict = iota
	began            // it is the first one
	duplicated
)

// follows reports whether a sequence number can belong to the packets seen so far.
func (r *reception) follows(seq uint16) bool {
	ahead := int16(seq - uint16(r.highest))
	return r.started && ahead < maxDropout && ahead > -maxMisorder
}

// take counts a packet, which is the first one or follows.
func (r *reception) take(seq uint16) verdict {
	r.received++
	if !r.started {
		// One cycle is added, so that packets that the first one overtook have numbers too.
		r.started, r.seen = true, 1
		r.base, r.highest = uint32(seq)+1<<16, uint32(seq)+1<<16
		return began
	}
	ahead := int(int16(seq - uint16(r.highest)))
	if ahead > 0 {
		r.highest += uint32(ahead)
		r.seen = r.seen<<ahead | 1
		return accepted
	}
	r.base = min(r.base, uint32(int64(r.highest)+int64(ahead)))
	bit := uint64(1) << -ahead // 0 beyond 64: then nobody knows, and it counts as late rather than twice
	if r.seen&bit != 0 {
		r.duplicate++
		return duplicated
	}
	r.seen |= bit
	r.reordered++
	return accepted
}

// arrive measures the jitter of an audio packet that came at a time in timestamp units.
func (r *reception) arrive(arrival int64, timestamp uint32) {
	transit := uint32(arrival) - timestamp
	if r.measured {
		d := float64(int32(transit - r.transit))
		r.jitter += (max(d, -d) - r.jitter) / 16
	}
	r.transit, r.measured = transit, true
}

// expected is how many packets have been sent to us.
func (r *reception) expected() uint64 {
	if !r.started {
		return 0
	}
	return uint64(r.highest-r.base) + 1
}

// lost is how many never came. It differs from the cumulative number of RFC 3550 in that duplicates do not make up
// for losses.
func (r *reception) lost() int64 {
	return int64(r.expected()) - int64(r.received-r.duplicate)
}

// report gives the fields of a report block (appendix A.3), and begins a new interval.
func (r *reception) report() (fraction uint8, lost uint32, highest uint32) {
	expected := r.expected()
	lostNow := int64(expected-r.expectedPrior) - int64(r.received-r.receivedPrior)
	if interval := expected - r.expectedPrior; lostNow > 0 && interval > 0 {
		fraction = uint8(min(lostNow<<8/int64(interval), 255))
	}
	r.expectedPrior, r.receivedPrior = expected, r.received
	total := max(min(int64(expected)-int64(r.received), 0x7fffff), -0x800000) // 24 bits with a sign
	return fraction, uint32(total) & 0xffffff, r.highest - 1<<16
}

// jitterTime is the interarrival jitter as a time.
func (r *reception) jitterTime() time.Duration {
	if r.clock == 0 {
		return 0
	}
	return time.Duration(r.jitter * float64(time.Second) / float64(r.clock))
}
