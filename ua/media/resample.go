package media

import "math"

// resampleLobes is how many zero crossings of the sinc lie on each side; 16 keep what folds back 60 dB down.
const resampleLobes = 16

// resampler changes the sample rate of a stream by a ratio of whole numbers: a polyphase filter of windowed sincs.
type resampler struct {
	up, down int         // output rate : input rate, in lowest terms
	phases   [][]float32 // one filter per position of an output sample between two input samples
	input    []float32   // what the filters still need
	phase    int         // of the next output sample, in 1/up of an input sample
}

// newResampler returns nil if there is nothing to do.
func newResampler(from, to int) *resampler {
	if from == to {
		return nil
	}
	g := gcd(from, to)
	r := &resampler{up: to / g, down: from / g}
	cutoff := 0.94 * min(1, float64(to)/float64(from)) // of half the input rate
	half := int(math.Ceil(resampleLobes / cutoff))
	r.phases = make([][]float32, r.up)
	for p := range r.phases {
		r.phases[p] = sincFilter(half, cutoff, float64(p)/float64(r.up))
	}
	r.input = make([]float32, half-1, 4096) // the first sample comes out where it went in
	return r
}

// sincFilter interpolates at frac behind the middle of 2*half samples.
func sincFilter(half int, cutoff, frac float64) []float32 {
	taps := make([]float32, 2*half)
	sum := 0.0
	for i := range taps {
		x := float64(i-half+1) - frac
		w := 0.0
		if edge := x / float64(half); math.Abs(edge) < 1 { // Blackman
			w = 0.42 + 0.5*math.Cos(math.Pi*edge) + 0.08*math.Cos(2*math.Pi*edge)
		}
		s := 1.0
		if a := math.Pi * cutoff * x; a != 0 {
			s = math.Sin(a) / a
		}
		taps[i] = float32(s * w)
		sum += s * w
	}
	for i := range taps {
		taps[i] /= float32(sum)
	}
	return taps
}

// push takes input and appends the output it gives to dst. A nil resampler copies.
func (r *resampler) push(dst, pcm []int16) []int16 {
	if r == nil {
		return append(dst, pcm...)
	}
	for _, s := range pcm {
		r.input = append(r.input, float32(s))
	}
	at, taps := 0, len(r.phases[0])
	for ; at+taps <= len(r.input); at += r.phase / r.up {
		r.phase %= r.up
		var sum float32
		for i, tap := range r.phases[r.phase] {
			sum += tap * r.input[at+i]
		}
		dst = append(dst, int16(max(min(math.Round(float64(sum)), math.MaxInt16), math.MinInt16)))
		r.phase += r.down
	}
	r.phase %= r.up
	r.input = append(r.input[:0], r.input[at:]...)
	return dst
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
