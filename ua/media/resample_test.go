package media

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestResampleKeepsATone(t *testing.T) {
	for _, rates := range [][2]int{{8000, 8000}, {16000, 8000}, {44100, 8000}, {48000, 8000}, {11025, 8000}, {8000, 16000}, {8000, 48000}, {22050, 8000}} {
		for _, hz := range []float64{300, 1000, 3400} {
			t.Run(fmt.Sprintf("%d to %d, %v Hz", rates[0], rates[1], hz), func(t *testing.T) {
				r := newResampler(rates[0], rates[1])
				var out []int16
				for chunk := range slices.Chunk(tone(2*rates[0], rates[0], hz, -6), 777) {
					out = r.push(out, chunk)
				}
				if want := 2 * rates[1]; len(out) > want || len(out) < want-want/50 {
					t.Errorf("%d samples, want %d less the filter's length", len(out), want)
				}
				got, dbfs, ok := Tone(out, rates[1])
				if !ok || math.Abs(got-hz) > 0.5 || math.Abs(dbfs+6) > 0.5 {
					t.Errorf("%.2f Hz at %.2f dBFS, %v", got, dbfs, ok)
				}
			})
		}
	}
}

// TestResampleStopsWhatWouldFold has a tone that the lower rate cannot carry, and would hear as another one.
func TestResampleStopsWhatWouldFold(t *testing.T) {
	for _, hz := range []float64{4700, 5000, 7000} {
		out := newResampler(16000, 8000).push(nil, tone(32000, 16000, hz, -6))
		var m meter
		m.add(out[200:], 1)
		if got := powerLevel(m.power); got > -56 {
			t.Errorf("%v Hz comes through at %.1f dBFS", hz, got)
		}
	}
}

func TestResampleStartsInStep(t *testing.T) {
	click := make([]int16, 400)
	click[100] = 20000
	out := newResampler(16000, 8000).push(nil, click)
	if at := slices.Index(out, slices.Max(out)); at != 50 {
		t.Errorf("sample 100 at 16 kHz comes out as %d at 8 kHz, want 50", at)
	}
}
