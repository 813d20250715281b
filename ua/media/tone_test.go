package media

import (
	"math"
	"math/rand/v2"
	"testing"
)

// tone makes n samples of a sine.
func tone(n, rate int, hz, dbfs float64) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(math.Round(math.MaxInt16 * math.Pow(10, dbfs/20) * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return pcm
}

// noise adds white noise, whose power is that of a sine of that level.
func noise(pcm []int16, dbfs float64) []int16 {
	random := rand.New(rand.NewPCG(1, 2))
	for i, s := range pcm {
		v := float64(s) + random.NormFloat64()*32768/math.Sqrt2*math.Pow(10, dbfs/20)
		pcm[i] = int16(max(min(v, math.MaxInt16), math.MinInt16))
	}
	return pcm
}

func TestToneIsFound(t *testing.T) {
	tests := []struct {
		name         string
		pcm          []int16
		rate         int
		hz, dbfs     float64
		hzErr, dbErr float64
	}{
		{"on a bin", tone(8000, 8000, 1000, -10), 8000, 1000, -10, 0.01, 0.01},
		{"between bins", tone(8192, 8000, 1000.3, -10), 8000, 1000.3, -10, 0.01, 0.01},
		{"full scale", tone(8000, 8000, 440, 0), 8000, 440, 0, 0.05, 0.01},
		{"faint", tone(8000, 8000, 440, -60), 8000, 440, -60, 0.2, 0.3},
		{"low", tone(8000, 8000, 50, -10), 8000, 50, -10, 0.05, 0.05},
		{"near the upper edge", tone(8000, 8000, 3900, -10), 8000, 3900, -10, 0.05, 0.05},
		{"few samples", tone(300, 8000, 1000, -10), 8000, 1000, -10, 2, 0.1},
		{"a minute", tone(480000, 8000, 1234.5, -10), 8000, 1234.5, -10, 0.01, 0.01},
		{"48 kHz", tone(48000, 48000, 12000, -10), 48000, 12000, -10, 0.1, 0.01},
		{"in noise 10 dB down", noise(tone(16000, 8000, 1000, -10), -20), 8000, 1000, -10, 0.1, 0.3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hz, dbfs, ok := Tone(tt.pcm, tt.rate)
			if !ok || math.Abs(hz-tt.hz) > tt.hzErr || math.Abs(dbfs-tt.dbfs) > tt.dbErr {
				t.Errorf("%.3f Hz at %.3f dBFS, %v; want %v Hz at %v", hz, dbfs, ok, tt.hz, tt.dbfs)
			}
		})
	}
}

func TestNoToneIsFound(t *testing.T) {
	two := tone(8000, 8000, 440, -10)
	for i, s := range tone(8000, 8000, 1000, -10) {
		two[i] += s
	}
	for i, s := range tone(8000, 8000, 2000, -10) {
		two[i] += s
	}
	constant := make([]int16, 8000)
	for i := range constant {
		constant[i] = 20000
	}
	for name, pcm := range map[string][]int16{
		"nothing": nil, "too short": tone(255, 8000, 1000, -10), "silence": make([]int16, 8000), "noise": noise(make([]int16, 8000), -10),
		"three tones": two, "constant": constant,
	} {
		t.Run(name, func(t *testing.T) {
			if hz, dbfs, ok := Tone(pcm, 8000); ok {
				t.Errorf("found %.2f Hz at %.2f dBFS", hz, dbfs)
			}
		})
	}
	if _, _, ok := Tone(tone(8000, 8000, 1000, -10), 0); ok {
		t.Error("found a tone at no rate")
	}
}

func TestMeter(t *testing.T) {
	var m meter
	if got := powerLevel(m.power); got != silence {
		t.Errorf("level of nothing is %v", got)
	}
	for range 200 {
		m.add(tone(160, 8000, 1000, -20), 0.04)
	}
	if got := powerLevel(m.power); math.Abs(got+20) > 0.1 {
		t.Errorf("level = %.2f, want -20", got)
	}
}
