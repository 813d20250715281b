package media

import (
	"slices"
	"time"
)

// The jitter buffer works by time, not by counting packets: a packet with timestamp ts is played when the clock shows
//
//	ts + base + target
//
// where base is the shortest transit time of the last ten seconds (arrival minus timestamp; the offset between the two
// clocks is in it and cancels out) and target is the delay that 97 % of these packets needed beyond base, plus a
// margin. So target follows the network's jitter, and base the drift between the two clocks. A larger target takes
// effect at once, a smaller one by one frame a second. When the buffer runs dry, playing waits, up to the largest
// delay allowed, in the hope that the packets are late and not lost.
const (
	jitterSlots   = 64  // packets held, 1.28 s of 20 ms
	jitterWindow  = 512 // transit times remembered, 10 s of 20 ms
	jitterPart    = 33  // one packet in 33, 3 %, may come later than target
	jitterMargin  = 10 * time.Millisecond
	jitterStart   = 40 * time.Millisecond // target before anything is known, within the bounds
	jitterReview  = time.Second           // how often a smaller target is considered
	jitterStale   = 10                    // packets that come after their time in a row mean a new clock, too
	jitterRestart = 2 * time.Second       // a larger step in transit time is a new clock, not delay
)

// playKind says what is to be played.
type playKind uint8

const (
	playPacket playKind = iota // the audio of a packet
	playGap                    // audio is missing: make some up
	playQuiet                  // the peer sends none: silence
	playCut                    // a packet was left out to get nearer to the target; ask again
)

// jitterBuffer orders packets and says when to play which. All times and durations in it are in units of the RTP
// clock; now and arrival count from an origin of the caller's. The caller serialises its methods.
type jitterBuffer struct {
	clock    int64
	min, max int64
	turn     int64 // how much is played at a time
	slots    [jitterSlots]jitterSlot

	started bool   // a packet has come: the fields below hold
	next    uint16 // sequence number to be played next
	highest uint16 // newest sequence number
	newest  int64  // extended timestamp of the newest packet

	playing  bool
	position int64 // extended timestamp of what is played next
	waited   int64 // how long what was played last has waited
	dry      bool  // the buffer ran dry, and no packet has been played since
	stale    int   // packets in a row whose time had passed
	shrunk   int64 // when playing last got nearer to the target

	transits [jitterWindow]int64
	count    int // transits measured so far
	base     int64
	target   int64
	reviewed int64

	late, lost, resets, cuts uint64
	bursts                   uint64 // runs of lost packets
}

// jitterSlot holds a packet until it is played.
type jitterSlot struct {
	used      bool
	audio     bool // false: a packet without audio, such as an event, that only fills its place in the sequence
	seq       uint16
	pt        uint8
	timestamp int64 // extended
	duration  int64
	payload   []byte
}

func newJitterBuffer(clock int, shortest, longest time.Duration) *jitterBuffer {
	j := &jitterBuffer{clock: int64(clock)}
	j.min, j.max, j.turn = j.units(shortest), j.units(longest), j.units(20*time.Millisecond)
	for i := range j.slots {
		j.slots[i].payload = make([]byte, 0, 320)
	}
	j.reset()
	return j
}

func (j *jitterBuffer) units(d time.Duration) int64 { return int64(d) * j.clock / int64(time.Second) }

func (j *jitterBuffer) time(units int64) time.Duration {
	return time.Duration(units * int64(time.Second) / j.clock)
}

// reset forgets all packets and times, but not the counters.
func (j *jitterBuffer) reset() {
	for i := range j.slots {
		j.slots[i].used = false
	}
	j.started, j.playing, j.dry, j.count, j.stale = false, false, false, 0, 0
	j.target = min(max(j.units(jitterStart), j.min), j.max)
}

// put stores a packet, whose payload is copied. It must not have been stored before.
func (j *jitterBuffer) put(p jitterSlot, timestamp uint32, arrival int64) {
	if !j.started {
		j.started, j.next, j.highest = true, p.seq, p.seq
		j.newest = int64(timestamp)
		j.reviewed, j.shrunk = arrival, arrival
	}
	p.timestamp = j.newest + int64(int32(timestamp-uint32(j.newest)))
	if p.audio && !j.measure(arrival-p.timestamp, arrival) {
		j.resets++
		j.reset()
		j.put(p, timestamp, arrival)
		return
	}
	if ahead := int16(p.seq - j.highest); ahead > 0 {
		j.highest, j.newest = p.seq, p.timestamp
	}
	switch ahead := int16(p.seq - j.next); {
	case ahead < 0 && j.playing:
		if p.audio {
			j.late++
		}
		return
	case ahead < 0:
		j.next = p.seq // overtaken before playing began
	}
	for int16(p.seq-j.next) >= jitterSlots {
		j.drop()
	}
	slot := &j.slots[p.seq%jitterSlots]
	own := slot.payload[:0]
	own = append(own, p.payload...)
	p.used, p.payload = true, own
	*slot = p
}

// drop gives up the packet to be played next, for want of room.
func (j *jitterBuffer) drop() {
	slot := &j.slots[j.next%jitterSlots]
	switch {
	case !slot.used:
		j.lost++
	case slot.audio:
		j.late++
	}
	slot.used = false
	j.next++
}

// measure takes the transit time of a packet into account; false: it makes no sense beside those before.
func (j *jitterBuffer) measure(transit, now int64) bool {
	if j.count == 0 {
		j.base = transit
	}
	limit := j.units(jitterRestart)
	if transit-j.base > limit || j.base-transit > limit {
		return false
	}
	j.transits[j.count%jitterWindow] = transit
	j.count++
	j.base = min(j.base, transit)
	review := now-j.reviewed >= j.units(jitterReview)
	if review || transit-j.base+j.units(jitterMargin) > j.target {
		j.retarget(review)
	}
	if review {
		j.reviewed = now
	}
	return true
}

// retarget computes base and target from the window; target only shrinks if shrink is set.
func (j *jitterBuffer) retarget(shrink bool) {
	window := j.transits[:min(j.count, jitterWindow)]
	j.base = slices.Min(window)
	// The longest transit times, the shortest of them first: what remains at the end is the wanted percentile.
	var longest [jitterWindow/jitterPart + 1]int64
	n := 0
	keep := len(window)/jitterPart + 1
	for _, t := range window {
		switch {
		case n < keep:
			n++
		case t <= longest[0]:
			continue
		default:
			copy(longest[:], longest[1:n])
		}
		i := n - 1
		for ; i > 0 && longest[i-1] > t; i-- {
			longest[i] = longest[i-1]
		}
		longest[i] = t
	}
	want := min(max(longest[0]-j.base+j.units(jitterMargin), j.min), j.max)
	if want > j.target || shrink {
		j.target = max(want, j.target-j.units(20*time.Millisecond))
	}
}

// wanted is the extended timestamp that should be played now.
func (j *jitterBuffer) wanted(now int64) int64 { return now - j.base - j.target }

// delay is how long audio that comes by the fastest way waits.
func (j *jitterBuffer) delay() time.Duration {
	if !j.playing {
		return 0
	}
	return max(j.time(j.waited), 0)
}

// get says what to play at now, when at least want units are needed, and how many units that lasts. With playPacket
// and playCut the packet is valid until the next put.
func (j *jitterBuffer) get(now, want int64, quiet bool) (kind playKind, packet *jitterSlot, units int64) {
	packet = j.fresh()
	if !j.begin(packet, now) {
		return playQuiet, nil, want
	}
	early := j.position - j.wanted(now)
	j.waited = j.target - early
	if packet == nil {
		return j.runDry(early, want)
	}
	if packet.timestamp > j.position && (j.dry || -early >= want) {
		// Where the peer was silent or packets are lost, what waiting has added to the delay can be taken off unheard.
		j.position = max(j.position, min(packet.timestamp, j.wanted(now)))
		early = j.position - j.wanted(now)
	}
	j.dry = false
	if early > want/4 {
		return playGap, nil, want // too early for the target, which has grown: stretch
	}
	if gap := packet.timestamp - j.position; gap > 0 {
		return j.bridge(packet, min(gap, want))
	}
	j.consume(packet)
	if j.excess(early, max(j.turn, packet.duration), now, quiet) {
		j.shrunk = now
		j.cuts++
		return playCut, packet, 0
	}
	return playPacket, packet, packet.duration
}

// fresh is the packet that comes next, without those whose time passed while the buffer was dry. A row of them means
// that the peer's clock has gone back: all begins anew.
func (j *jitterBuffer) fresh() *jitterSlot {
	for {
		packet := j.first()
		if packet == nil || !j.playing || packet.timestamp+packet.duration > j.position || packet.duration == 0 {
			return packet
		}
		packet.used = false
		j.next = packet.seq + 1
		j.late++
		if j.stale++; j.stale == jitterStale {
			j.resets++
			j.reset()
			return nil
		}
	}
}

// begin starts playing when the time of the first packet has come.
func (j *jitterBuffer) begin(packet *jitterSlot, now int64) bool {
	if !j.playing && packet != nil && packet.timestamp <= j.wanted(now) {
		j.playing, j.position = true, packet.timestamp
	}
	return j.playing
}

// first is the packet with audio that comes next; those without are passed over.
func (j *jitterBuffer) first() *jitterSlot {
	if !j.started {
		return nil
	}
	for seq := j.next; int16(j.highest-seq) >= 0; seq++ {
		slot := &j.slots[seq%jitterSlots]
		switch {
		case !slot.used || slot.seq != seq:
		case slot.audio:
			return slot
		case seq == j.next:
			slot.used = false
			j.next++
		}
	}
	return nil
}

// runDry plays nothing new. It waits in its place while the delay stays within bounds.
func (j *jitterBuffer) runDry(early, want int64) (playKind, *jitterSlot, int64) {
	j.dry = true
	if j.target-early >= j.max {
		j.position += want
	}
	return playGap, nil, want
}

// bridge passes over audio that will not be played any more, or never was.
func (j *jitterBuffer) bridge(packet *jitterSlot, units int64) (playKind, *jitterSlot, int64) {
	j.position += units
	missing := packet.seq - j.next
	if missing == 0 {
		return playQuiet, nil, units // the numbers follow on: the peer paused
	}
	if packet.timestamp <= j.position {
		j.lost += uint64(missing)
		j.bursts++
		j.next = packet.seq
	}
	return playGap, nil, units
}

func (j *jitterBuffer) consume(packet *jitterSlot) {
	packet.used, j.stale = false, 0
	if missing := packet.seq - j.next; missing > 0 {
		j.lost += uint64(missing)
		j.bursts++
	}
	j.next = packet.seq + 1
	j.position = packet.timestamp + packet.duration
}

// excess reports whether a packet that lasts unit should be left out, because everything is played later than need
// be. That is done at most once a second, where it is quiet if possible, and never with the last packet.
func (j *jitterBuffer) excess(early, unit, now int64, quiet bool) bool {
	behind := -early
	switch {
	case j.first() == nil:
		return false
	case behind > j.max+unit:
		return true // far beyond what a pause can explain: catch up at once
	case now-j.shrunk < j.units(time.Second):
		return false
	default:
		return behind >= unit+3*unit/4 || behind >= unit+unit/4 && quiet
	}
}
