package media

import (
	"math"
	"slices"
	"testing"
)

// voice is something like speech: harmonics of a pitch that glides, with a slow envelope.
func voice(n int) []int16 {
	pcm := make([]int16, n)
	phase := 0.0
	for i := range pcm {
		at := float64(i) / 8000
		phase += 2 * math.Pi * (120 + 15*math.Sin(2*math.Pi*0.7*at)) / 8000
		v := 0.0
		for h := 1; h <= 12; h++ {
			v += math.Sin(float64(h)*phase) / float64(h)
		}
		pcm[i] = int16(6000 * v * (0.6 + 0.4*math.Sin(2*math.Pi*3*at)))
	}
	return pcm
}

// snr is how far the error of got is below want, in dB.
func snr(want, got []int16) float64 {
	var signal, noise float64
	for i := range want {
		d := float64(want[i]) - float64(got[i])
		signal += float64(want[i]) * float64(want[i])
		noise += d * d
	}
	return 10 * math.Log10(signal/(noise+1e-9))
}

// lose plays pcm in frames of 20 ms, of which those that lost picks are missing.
func lose(pcm []int16, lost func(i int) bool, conceal func(c *concealer, frame []int16)) []int16 {
	c := newConcealer(8000)
	out := slices.Clone(pcm)
	i := 0
	for frame := range slices.Chunk(out, 160) {
		if lost(i) {
			clear(frame)
			conceal(c, frame)
		} else {
			c.good(frame)
		}
		i++
	}
	return out
}

func TestConcealmentBeatsSilence(t *testing.T) {
	made := func(c *concealer, frame []int16) { c.conceal(frame) }
	none := func(c *concealer, _ []int16) {}
	for name, tt := range map[string]struct {
		pcm  []int16
		gain float64 // dB
	}{"a tone": {tone(80000, 8000, 400, -10), 10}, "a voice": {voice(80000), 3}} {
		t.Run(name, func(t *testing.T) {
			lost := func(i int) bool { return i%10 == 9 }
			with, without := snr(tt.pcm, lose(tt.pcm, lost, made)), snr(tt.pcm, lose(tt.pcm, lost, none))
			t.Logf("%.1f dB with, %.1f dB without", with, without)
			if with < without+tt.gain {
				t.Errorf("%.1f dB with concealment, %.1f dB without", with, without)
			}
		})
	}
}

func TestConcealmentFadesOut(t *testing.T) {
	out := lose(tone(16000, 8000, 400, -10), func(i int) bool { return i >= 50 }, func(c *concealer, frame []int16) { c.conceal(frame) })
	level := func(from int) float64 {
		var m meter
		m.add(out[from:from+80], 1)
		return powerLevel(m.power)
	}
	if first := level(8000); math.Abs(first+10) > 0.5 {
		t.Errorf("the first 10 ms are at %.1f dBFS, want -10", first)
	}
	if later := level(8000 + 320); later > -14 || later < -40 {
		t.Errorf("after 40 ms it is at %.1f dBFS", later)
	}
	if end := level(8000 + 480); end != silence {
		t.Errorf("after 60 ms it is at %.1f dBFS, want silence", end)
	}
}

// TestConcealmentDoesNotClick: no step between two samples is much larger than in the tone itself.
func TestConcealmentDoesNotClick(t *testing.T) {
	pcm := tone(16000, 8000, 333, -6)
	largest := func(pcm []int16) (d int) {
		for i := 1; i < len(pcm); i++ {
			d = max(d, int(pcm[i])-int(pcm[i-1]), int(pcm[i-1])-int(pcm[i]))
		}
		return d
	}
	out := lose(pcm, func(i int) bool { return i > 10 && i%7 < 2 }, func(c *concealer, frame []int16) { c.conceal(frame) })
	if got, limit := largest(out), largest(pcm)*3/2; got > limit {
		t.Errorf("a step of %d, want at most %d", got, limit)
	}
	cut := newConcealer(8000)
	var joined []int16
	i := 0
	for frame := range slices.Chunk(slices.Clone(pcm), 160) {
		if i++; i%20 == 0 {
			cut.cut()
			continue
		}
		cut.good(frame)
		joined = append(joined, frame...)
	}
	if got, limit := largest(joined), largest(pcm)*3/2; got > limit {
		t.Errorf("a step of %d where a frame was left out, want at most %d", got, limit)
	}
}

func TestConcealmentOfSilence(t *testing.T) {
	c := newConcealer(8000)
	frame := make([]int16, 160)
	for range 5 {
		c.conceal(frame)
	}
	if slices.ContainsFunc(frame, func(s int16) bool { return s != 0 }) {
		t.Error("sound is made of nothing")
	}
	long := make([]int16, 4000) // longer than the history
	c.good(long)
	c.conceal(long)
}
