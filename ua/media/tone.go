package media

import (
	"math"
	"math/bits"
	"math/cmplx"
)

// Limits of Tone.
const (
	toneMin     = 256     // samples: less cannot tell neighbouring tones apart
	toneMax     = 1 << 16 // samples looked at
	toneFloor   = -70.0   // dBFS: anything fainter is taken as silence
	toneShare   = 0.5     // of the energy that the tone must have
	tonePattern = 3       // bins each side over which a Hann window spreads a tone
)

// Tone finds the dominant tone of pcm, which has rate samples a second: its frequency in Hz, good to a tenth of
// rate/len(pcm), and its level in dBFS, where 0 is a full-scale sine. ok is false if there is none: pcm is shorter than
// 256 samples, silent, or no single tone has half of the energy. Of more than 65536 samples the middle is used; a
// tone that fills only part of pcm is found too faint.
func Tone(pcm []int16, rate int) (hz, dbfs float64, ok bool) {
	if len(pcm) < toneMin || rate <= 0 {
		return 0, 0, false
	}
	n := min(1<<(bits.Len(uint(len(pcm)))-1), toneMax)
	pcm = pcm[(len(pcm)-n)/2:][:n]
	mean := 0.0
	for _, s := range pcm {
		mean += float64(s)
	}
	mean /= float64(n)
	x := make([]complex128, n)
	for i, s := range pcm {
		hann := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(n))
		x[i] = complex((float64(s)-mean)/32768*hann, 0)
	}
	windowed := append([]complex128(nil), x...)
	fft(x)
	peak, power := peakOf(x[:n/2])
	around := 0.0
	for k := max(peak-tonePattern, 0); k <= min(peak+tonePattern, n/2-1); k++ {
		around += square(x[k])
	}
	bin := float64(peak) + offset(x, peak)
	level := 20 * math.Log10(2*cmplx.Abs(dtft(windowed, bin))/(0.5*float64(n))+1e-12)
	return bin * float64(rate) / float64(n), level, level > toneFloor && around >= toneShare*power
}

func square(c complex128) float64 { return real(c)*real(c) + imag(c)*imag(c) }

// peakOf is the strongest bin but 0, and the power of all of them.
func peakOf(x []complex128) (peak int, power float64) {
	best := -1.0
	for k, c := range x[1:] {
		p := square(c)
		power += p
		if p > best {
			peak, best = k+1, p
		}
	}
	return peak, power
}

// offset is how far the tone lies from the peak bin, -0.5 to 0.5. For a Hann window the ratio of the two largest
// neighbours gives it exactly.
func offset(x []complex128, peak int) float64 {
	if peak+1 >= len(x)/2 {
		return 0
	}
	mid, left, right := cmplx.Abs(x[peak]), cmplx.Abs(x[peak-1]), cmplx.Abs(x[peak+1])
	if right >= left {
		r := right / (mid + 1e-30)
		return (2*r - 1) / (1 + r)
	}
	r := left / (mid + 1e-30)
	return -(2*r - 1) / (1 + r)
}

// dtft is the spectrum of x at a bin that need not be whole.
func dtft(x []complex128, bin float64) complex128 {
	step := cmplx.Rect(1, -2*math.Pi*bin/float64(len(x)))
	turn, sum := complex(1, 0), complex(0, 0)
	for _, v := range x {
		sum += v * turn
		turn *= step
	}
	return sum
}

// fft transforms x in place; its length is a power of two.
func fft(x []complex128) {
	n := len(x)
	shift := 64 - bits.Len(uint(n-1))
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); j > i {
			x[i], x[j] = x[j], x[i]
		}
	}
	for size := 2; size <= n; size *= 2 {
		half := size / 2
		step := cmplx.Rect(1, -2*math.Pi/float64(size))
		for start := 0; start < n; start += size {
			turn := complex(1, 0)
			for i := start; i < start+half; i++ {
				a, b := x[i], x[i+half]*turn
				x[i], x[i+half] = a+b, a-b
				turn *= step
			}
		}
	}
}

// meter follows the level of a signal.
type meter struct{ power float64 } // mean square of samples scaled to -1..1

// add takes a frame into account with a share of weight, 0-1.
func (m *meter) add(pcm []int16, weight float64) {
	var sum int64
	for _, s := range pcm {
		sum += int64(s) * int64(s)
	}
	if len(pcm) > 0 {
		m.power += weight * (float64(sum)/float64(len(pcm))/(32768*32768) - m.power)
	}
}

// silence is the level reported when there is no sound at all, dBFS.
const silence = -96.0

// powerLevel is a mean square as a level, 0 being that of a full-scale sine, not below silence.
func powerLevel(power float64) float64 {
	if power <= 0 {
		return silence
	}
	return max(10*math.Log10(2*power), silence)
}
