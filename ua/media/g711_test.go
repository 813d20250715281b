package media

import (
	"math"
	"testing"
)

// TestG711Milliwatt checks against tables 5 and 6 of ITU-T G.711: these eight codes, sent over and over, are a sine of
// 1 kHz at 0 dBm0, which is 3.14 (A-law) and 3.17 dB (mu-law) below the loudest sine there can be.
func TestG711Milliwatt(t *testing.T) {
	tests := []struct {
		name   string
		codes  [8]byte
		decode func(byte) int16
		encode func(int16) byte
		dbfs   float64
	}{
		{"A-law", [8]byte{0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4}, alawDecode, alawEncode, -3.14},
		{"mu-law", [8]byte{0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e}, ulawDecode, ulawEncode, -3.17},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pcm := make([]int16, 8000)
			for i := range pcm {
				pcm[i] = tt.decode(tt.codes[i%8])
				if got := tt.encode(pcm[i]); got != tt.codes[i%8] {
					t.Fatalf("code %#x becomes %#x", tt.codes[i%8], got)
				}
			}
			hz, dbfs, ok := Tone(pcm, 8000)
			if !ok || math.Abs(hz-1000) > 0.1 || math.Abs(dbfs-tt.dbfs) > 0.1 {
				t.Errorf("tone of %.2f Hz at %.2f dBFS, %v; want 1000 Hz at %v", hz, dbfs, ok, tt.dbfs)
			}
		})
	}
}

// alawTable and ulawTable are written from tables 1 and 2 of G.711: what a magnitude is decoded to. Units are those of
// the tables, in which the largest value is 4096 and 8159.
func alawTable(x float64) float64 {
	step := 2.0 // up to 64, then 16 steps up to each power of two
	for low := 64.0; low <= x; low *= 2 {
		step = low / 16
	}
	return math.Floor(x/step)*step + step/2
}

func ulawTable(x float64) float64 {
	switch {
	case x < 1:
		return 0
	case x < 31:
		return math.Floor((x-1)/2)*2 + 2
	}
	low, step := 31.0, 4.0
	for step < 256 && x >= low+16*step {
		low, step = low+16*step, 2*step
	}
	return low + min(math.Floor((x-low)/step), 15)*step + step/2
}

func TestG711AgainstTheTables(t *testing.T) {
	for x := -32768; x <= 32767; x++ {
		s := int16(x)
		mag := math.Abs(float64(x))
		if x < 0 {
			mag-- // both laws have a negative zero: -1 is the smallest negative magnitude
		}
		if got, want := math.Abs(float64(alawDecode(alawEncode(s)))), 8*alawTable(math.Floor(mag/16)*2); got != want {
			t.Fatalf("A-law: %d becomes %v, want %v", x, got, want)
		}
		if got, want := math.Abs(float64(ulawDecode(ulawEncode(s)))), 4*ulawTable(math.Floor(mag/4)); got != want {
			t.Fatalf("mu-law: %d becomes %v, want %v", x, got, want)
		}
		if (alawDecode(alawEncode(s)) < 0) != (x < 0) || (ulawDecode(ulawEncode(s)) < 0) != (x < -4) {
			t.Fatalf("%d changes its sign: %d, %d", x, alawDecode(alawEncode(s)), ulawDecode(ulawEncode(s)))
		}
	}
}

func TestG711CodesSurvive(t *testing.T) {
	for c := range 256 {
		if got := alawEncode(alawDecode(byte(c))); got != byte(c) {
			t.Errorf("A-law code %#x becomes %#x", c, got)
		}
		want := byte(c)
		if c == 0x7f {
			want = 0xff // the negative zero of mu-law
		}
		if got := ulawEncode(ulawDecode(byte(c))); got != want {
			t.Errorf("mu-law code %#x becomes %#x", c, got)
		}
	}
}
