package media

import "time"

// Packet loss concealment, after the idea of ITU-T G.711 appendix I: what was heard last is repeated pitch period by
// pitch period, fades out, and is blended into what comes next. It works on decoded audio, so every codec without a
// concealment of its own can use it.
const (
	plcHistory  = 60 * time.Millisecond // heard audio that is kept
	plcMinPitch = 5 * time.Millisecond  // 200 Hz; higher voices show up as a multiple of their period
	plcMaxPitch = 15 * time.Millisecond // 66 Hz
	plcMatch    = 20 * time.Millisecond // compared with itself to find the period
	plcFull     = 10 * time.Millisecond // at full level, then
	plcFade     = 50 * time.Millisecond // down to nothing
	plcBlend    = 5 * time.Millisecond  // from made-up to real audio
)

// concealer makes up audio for what is missing.
type concealer struct {
	rate    int
	history []int16 // the last plcHistory of output, oldest first
	cycle   []int16 // one pitch period, whose end leads into its start; empty: nothing is being made up
	made    int     // samples made up since the last good one
	scratch []int16
}

func newConcealer(rate int) *concealer {
	c := &concealer{rate: rate}
	c.history = make([]int16, c.samples(plcHistory))
	c.cycle = make([]int16, 0, c.samples(plcMaxPitch))
	c.scratch = make([]int16, c.samples(plcBlend))
	return c
}

func (c *concealer) samples(d time.Duration) int { return int(d * time.Duration(c.rate) / time.Second) }

// good takes the next real audio. After a gap its start is changed in place, so that it follows smoothly.
func (c *concealer) good(pcm []int16) {
	if len(c.cycle) > 0 {
		n := min(len(c.scratch), len(pcm))
		c.fill(c.scratch[:n])
		for i, s := range c.scratch[:n] {
			pcm[i] = int16((int(s)*(n-i) + int(pcm[i])*i) / n)
		}
		c.cycle, c.made = c.cycle[:0], 0
	}
	c.remember(pcm)
}

// conceal fills pcm with made-up audio.
func (c *concealer) conceal(pcm []int16) {
	c.begin()
	c.fill(pcm)
	c.remember(pcm)
}

// cut says that audio has been left out: what comes next is blended in as if after a gap.
func (c *concealer) cut() { c.begin() }

// begin finds the period to repeat, unless that has been done for this gap.
func (c *concealer) begin() {
	if len(c.cycle) > 0 {
		return
	}
	h := c.history
	pitch := c.pitch()
	c.cycle = append(c.cycle, h[len(h)-pitch:]...)
	// The last quarter turns into what stood before the period, and so leads into its start again.
	quarter := pitch / 4
	for i := range quarter {
		before := int(h[len(h)-pitch-quarter+i])
		at := &c.cycle[pitch-quarter+i]
		*at = int16((int(*at)*(quarter-i) + before*i) / quarter)
	}
}

// pitch is the lag at which the end of what was heard is most like what stood before it.
func (c *concealer) pitch() int {
	match := c.history[len(c.history)-c.samples(plcMatch):]
	best, bestScore := c.samples(plcMinPitch), -1.0
	for lag := c.samples(plcMinPitch); lag <= c.samples(plcMaxPitch); lag++ {
		from := len(c.history) - len(match) - lag
		var cross, energy int64
		for i, s := range match {
			o := int64(c.history[from+i])
			cross += int64(s) * o
			energy += o * o
		}
		if cross <= 0 {
			continue
		}
		if score := float64(cross) * float64(cross) / float64(energy+1); score > bestScore {
			best, bestScore = lag, score
		}
	}
	return best
}

// fill continues the repetition, fading.
func (c *concealer) fill(pcm []int16) {
	full, fade := c.samples(plcFull), c.samples(plcFade)
	for i := range pcm {
		left := min(full+fade-c.made, fade)
		if left <= 0 {
			clear(pcm[i:])
			return
		}
		pcm[i] = int16(int(c.cycle[c.made%len(c.cycle)]) * left / fade)
		c.made++
	}
}

func (c *concealer) remember(pcm []int16) {
	if n := len(c.history) - len(pcm); n > 0 {
		copy(c.history, c.history[len(pcm):])
		copy(c.history[n:], pcm)
	} else {
		copy(c.history, pcm[-n:])
	}
}
