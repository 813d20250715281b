package media

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// trace drives a jitter buffer with packets of 20 ms, played in turns of 20 ms, at 8 kHz. Times are in ms.
type trace struct {
	packets int
	// delay says how long packet i travels; a negative delay loses it.
	delay func(i int) float64
	skew  float64 // how much faster the sender's clock is, as a fraction
	begin uint32  // timestamp of the first packet
	min   time.Duration
	max   time.Duration
}

// result is what a trace came to.
type result struct {
	j                             *jitterBuffer
	played, late, lost, cuts      int
	gaps                          int // turns for which audio had to be made up, after the first packet was played
	meanDelay, firstDelay, ending float64
	order                         bool
}

func (tr trace) run() result {
	j := newJitterBuffer(8000, orDefault(tr.min, 20*time.Millisecond), orDefault(tr.max, 200*time.Millisecond))
	type arrival struct {
		at float64
		i  int
	}
	var arrivals []arrival
	for i := range tr.packets {
		if d := tr.delay(i); d >= 0 {
			arrivals = append(arrivals, arrival{float64(i)*20/(1+tr.skew) + d, i})
		}
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	res := result{j: j, order: true}
	last, sum := -1, 0.0
	for turn := range tr.packets + 20 {
		now := float64(20*turn) + 7
		for ; len(arrivals) > 0 && arrivals[0].at <= now; arrivals = arrivals[1:] {
			a := arrivals[0]
			j.put(jitterSlot{audio: true, seq: uint16(65000 + a.i), duration: 160, payload: []byte{byte(a.i), byte(a.i >> 8)}}, tr.begin+uint32(160*a.i), int64(a.at*8))
		}
		kind, p, _ := j.get(int64(now*8), 160, false)
		for kind == playCut {
			kind, p, _ = j.get(int64(now*8), 160, false)
		}
		switch {
		case kind == playPacket:
			i := int(p.payload[0]) | int(p.payload[1])<<8
			res.order = res.order && i > last
			last = i
			res.ending = now - float64(20*i)/(1+tr.skew)
			sum += res.ending
			if res.played++; res.played == 1 {
				res.firstDelay = res.ending
			}
		case res.played > 0 && turn < tr.packets-20:
			res.gaps++
		}
	}
	res.late, res.lost, res.cuts = int(j.late), int(j.lost), int(j.cuts)
	res.meanDelay = sum / float64(res.played)
	return res
}

func (r result) String() string {
	return fmt.Sprintf("played %d, late %d, lost %d, cut %d, gaps %d, delay %.0f first, %.0f mean, %.0f at the end, target %v, resets %d",
		r.played, r.late, r.lost, r.cuts, r.gaps, r.firstDelay, r.meanDelay, r.ending, r.j.time(r.j.target), r.j.resets)
}

func TestJitterBufferOnASteadyNetwork(t *testing.T) {
	r := trace{packets: 3000, delay: func(int) float64 { return 30 }, begin: 1<<32 - 5000}.run()
	t.Log(r)
	if r.late != 0 || r.lost != 0 || !r.order || r.played+r.cuts < 2995 {
		t.Errorf("a steady network: %v", r)
	}
	// 30 ms of travel, the smallest target of 20 ms, and up to one turn.
	if r.ending > 30+20+20+1 {
		t.Errorf("delay at the end is %.0f ms", r.ending)
	}
}

func TestJitterBufferAdapts(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	stall := 0.0
	tests := []struct {
		name              string
		tr                trace
		maxLate           float64 // share of the packets
		maxGaps, maxDelay float64
	}{
		{"a LAN", trace{packets: 15000, delay: func(int) float64 { return 1 + 2*random.Float64() }}, 0, 0.002, 50},
		{"jitter of 30 ms", trace{packets: 15000, delay: func(int) float64 { return 20 + 30*random.Float64() }}, 0.005, 0.05, 110},
		{"jitter as on LTE", trace{packets: 15000, delay: func(int) float64 { return 40 + math.Abs(15*random.NormFloat64()) }}, 0.02, 0.06, 130},
		{"a radio that stalls for 80 to 200 ms", trace{packets: 15000, delay: func(int) float64 {
			if stall -= 20; stall <= 0 && random.Float64() < 0.005 {
				stall = 80 + 120*random.Float64()
			}
			return 5 + max(stall, 0)
		}}, 0.01, 0.08, 220},
		{"50 ms more from now on", trace{packets: 6000, delay: func(i int) float64 {
			if i > 3000 {
				return 80
			}
			return 30
		}}, 0.002, 0.005, 150},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.tr.run()
			t.Log(r)
			n := float64(tt.tr.packets)
			if float64(r.late) > tt.maxLate*n || float64(r.gaps) > tt.maxGaps*n || r.meanDelay > tt.maxDelay || !r.order || r.j.resets != 0 {
				t.Errorf("got %v", r)
			}
		})
	}
}

func TestJitterBufferStartsWithinItsBounds(t *testing.T) {
	for _, tt := range [][3]time.Duration{{20, 200, 40}, {60, 200, 60}, {10, 30, 30}, {50, 50, 50}} {
		j := newJitterBuffer(8000, tt[0]*time.Millisecond, tt[1]*time.Millisecond)
		if got := j.time(j.target); got != tt[2]*time.Millisecond {
			t.Errorf("between %d and %d ms the target begins at %v, want %d ms", tt[0], tt[1], got, tt[2])
		}
	}
}

// TestJitterBufferStaysWithinItsBounds: with one and the same bound it is a fixed buffer.
func TestJitterBufferStaysWithinItsBounds(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	r := trace{packets: 3000, delay: func(int) float64 { return 100 * random.Float64() }, min: 60 * time.Millisecond, max: 60 * time.Millisecond}.run()
	if share := float64(r.late) / 3000; r.j.time(r.j.target) != 60*time.Millisecond || share < 0.15 || share > 0.5 {
		t.Errorf("got %v; want a target of 60 ms, and what takes longer late", r)
	}
}

// TestJitterBufferHoldsWhatItHasRoomFor: of a burst that is longer than the buffer the newest packets stay.
func TestJitterBufferHoldsWhatItHasRoomFor(t *testing.T) {
	j := newJitterBuffer(8000, 20*time.Millisecond, 200*time.Millisecond)
	for i := range 100 {
		if i != 10 {
			j.put(jitterSlot{audio: true, seq: uint16(i), duration: 160}, uint32(160*i), 1000)
		}
	}
	if first := j.first(); first == nil || first.seq != 100-jitterSlots || j.late != 100-jitterSlots-1 || j.lost != 1 {
		t.Errorf("the first packet is %+v, %d are late, %d lost", first, j.late, j.lost)
	}
}

// TestJitterBufferSurvivesAHandOver: 300 ms nothing, then everything takes 50 ms longer.
func TestJitterBufferSurvivesAHandOver(t *testing.T) {
	r := trace{packets: 3000, delay: func(i int) float64 {
		switch {
		case i < 1500:
			return 30
		case i < 1515:
			return -1
		default:
			return 80
		}
	}}.run()
	t.Log(r)
	if r.late > 3 || r.lost != 15 || r.j.bursts != 1 || !r.order {
		t.Errorf("got %v, %d bursts", r, r.j.bursts)
	}
	if r.ending > 80+200 {
		t.Errorf("delay at the end is %.0f ms", r.ending)
	}
}

func TestJitterBufferFollowsClockDrift(t *testing.T) {
	for _, skew := range []float64{200e-6, -200e-6} {
		t.Run(fmt.Sprint(skew), func(t *testing.T) {
			r := trace{packets: 30000, delay: func(int) float64 { return 30 }, skew: skew}.run()
			t.Log(r)
			// In 600 s the clocks part by 120 ms: that many frames are left out or made up, and the delay stays.
			if r.late+r.lost > 0 || r.cuts+r.gaps > 20 || r.meanDelay > 110 || r.ending > 110 || r.ending < 30 {
				t.Errorf("got %v", r)
			}
		})
	}
}

func TestJitterBufferCountsLossAndOrder(t *testing.T) {
	r := trace{packets: 1000, delay: func(i int) float64 {
		switch {
		case i > 0 && i%50 == 0:
			return -1 // 19 lost alone
		case i > 0 && i%100 == 25:
			return 25 // 10 overtaken by the next
		default:
			return 0
		}
	}}.run()
	t.Log(r)
	if r.lost != 19 || r.j.bursts != 19 || r.late != 0 || !r.order || r.gaps < 18 || r.gaps > 20 {
		t.Errorf("got %v, %d bursts", r, r.j.bursts)
	}
}

func TestJitterBufferBeginsAnewWithANewClock(t *testing.T) {
	for name, jump := range map[string]int{"forward": 500000, "back": -500000, "back by half a second": -4000, "forward by half a second": 4000} {
		t.Run(name, func(t *testing.T) {
			j := newJitterBuffer(8000, 20*time.Millisecond, 200*time.Millisecond)
			played := 0
			for i := range 400 {
				at := 0
				if i >= 200 {
					at = jump
				}
				j.put(jitterSlot{audio: true, seq: uint16(i), duration: 160, payload: []byte{1}}, uint32(1000000+at+160*i), int64(160*i))
				if kind, _, _ := j.get(int64(160*i+80), 160, false); kind == playPacket {
					played++
				}
			}
			if played < 360 {
				t.Errorf("%d of 400 packets are played", played)
			}
		})
	}
}

// TestJitterBufferPauses: a peer that sends nothing while it is silent is heard without added delay.
func TestJitterBufferPauses(t *testing.T) {
	j := newJitterBuffer(8000, 20*time.Millisecond, 200*time.Millisecond)
	seq, delay := uint16(0), int64(0)
	for i := range 500 {
		if i%100 < 50 {
			j.put(jitterSlot{audio: true, seq: seq, duration: 160, payload: []byte{1}}, uint32(160*i), int64(160*i))
			seq++
		}
		if kind, p, _ := j.get(int64(160*i+80), 160, false); kind == playPacket {
			delay = int64(160*i+80) - p.timestamp
		}
	}
	// The delay sinks from the target at the start to the smallest one in the pauses, where nobody hears it.
	if j.lost != 0 || j.late != 0 || delay > 40*8 || j.cuts != 0 {
		t.Errorf("lost %d, late %d, cut %d, delay %d ms at the end", j.lost, j.late, j.cuts, delay/8)
	}
}

// TestJitterBufferPassesEventsOver: packets without audio are no loss.
func TestJitterBufferPassesEventsOver(t *testing.T) {
	j := newJitterBuffer(8000, 20*time.Millisecond, 200*time.Millisecond)
	played := 0
	for i := range 200 {
		p := jitterSlot{audio: i < 100 || i >= 107, seq: uint16(i), duration: 160, payload: []byte{1}}
		ts := uint32(160 * i)
		if !p.audio {
			ts = 160 * 100
		}
		j.put(p, ts, int64(160*i))
		if kind, _, _ := j.get(int64(160*i+80), 160, false); kind == playPacket {
			played++
		}
	}
	if j.lost != 0 || j.late != 0 || played < 185 {
		t.Errorf("lost %d, late %d, played %d", j.lost, j.late, played)
	}
}

// TestJitterBufferTakesOtherPacketTimes: 30 ms packets, played in turns of 20 ms through a small store as the player has.
func TestJitterBufferTakesOtherPacketTimes(t *testing.T) {
	j := newJitterBuffer(8000, 20*time.Millisecond, 200*time.Millisecond)
	stored, played, gaps, sent := int64(0), 0, 0, 0
	for turn := range 600 {
		for ; sent*30 <= turn*20; sent++ {
			j.put(jitterSlot{audio: true, seq: uint16(sent), duration: 240, payload: []byte{1}}, uint32(240*sent), int64(240*sent))
		}
		for need := int64(160); need > 0; {
			if stored > 0 {
				n := min(stored, need)
				stored, need = stored-n, need-n
				continue
			}
			kind, _, units := j.get(int64(160*turn+40)+160-need, need, false)
			switch kind {
			case playPacket:
				played++
				stored = units
			case playCut:
			default:
				gaps++
				need -= units
			}
		}
	}
	if played < 390 || j.lost+j.late != 0 || gaps > 10 {
		t.Errorf("played %d of %d, lost %d, late %d, gaps %d", played, sent, j.lost, j.late, gaps)
	}
}

func BenchmarkJitterBuffer(b *testing.B) {
	j := newJitterBuffer(8000, 20*time.Millisecond, 200*time.Millisecond)
	payload := make([]byte, 160)
	b.ReportAllocs()
	for i := range int64(b.N) {
		j.put(jitterSlot{audio: true, seq: uint16(i), duration: 160, payload: payload}, uint32(160*i), 160*i+i*7919%80)
		j.get(160*i+100, 160, false)
	}
}
