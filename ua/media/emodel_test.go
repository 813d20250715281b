package media

import (
	"math"
	"testing"
	"time"
)

func TestEModel(t *testing.T) {
	const plc, noPLC = 25.1, 4.3
	tests := []struct {
		name             string
		e                emodel
		id, ieEff, r, mo float64
	}{
		{"defaults", emodel{}, 0.149046, 0, 93.206208, 4.409406},
		{"100 ms and its echo", emodel{delay: 100 * time.Millisecond, echo: 100 * time.Millisecond, round: 200 * time.Millisecond}, 2.691524, 0, 90.663730, 4.354920},
		{"150 ms and its echo", emodel{delay: 150 * time.Millisecond, echo: 150 * time.Millisecond, round: 300 * time.Millisecond}, 3.816122, 0, 89.539132, 4.327546},
		{"250 ms and its echo", emodel{delay: 250 * time.Millisecond, echo: 250 * time.Millisecond, round: 500 * time.Millisecond}, 14.178153, 0, 79.177101, 3.992519},
		{"G.711 concealed, 1 % lost", emodel{bpl: plc, loss: 0.01}, 0.149046, 3.639847, 89.566361, 4.328232},
		{"G.711 concealed, 5 % lost", emodel{bpl: plc, loss: 0.05}, 0.149046, 15.780731, 77.425477, 3.923091},
		{"G.711 concealed, 5 % lost in bursts", emodel{bpl: plc, loss: 0.05, burst: 2}, 0.149046, 17.210145, 75.996063, 3.864123},
		{"G.711 not concealed, 1 % lost", emodel{bpl: noPLC, loss: 0.01}, 0.149046, 17.924528, 75.281679, 3.833916},
		{"G.729A, 2 % lost", emodel{ie: 11, bpl: 19, loss: 0.02}, 0.149046, 19, 74.206208, 3.787558},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ro, no := signalToNoise()
			for _, v := range []struct {
				name      string
				got, want float64
			}{
				{"Id", tt.e.delayed(ro, no), tt.id},
				{"Ie,eff", tt.e.equipment(), tt.ieEff},
				{"R", tt.e.r(), tt.r},
				{"MOS", tt.e.mos(), tt.mo},
			} {
				if math.Abs(v.got-v.want) > 1e-6 {
					t.Errorf("%s = %.6f, want %.6f", v.name, v.got, v.want)
				}
			}
		})
	}
}

func TestEModelParts(t *testing.T) {
	ro, no := signalToNoise()
	if is := simultaneous(ro, no, sidetone(0)); math.Abs(ro-94.768822) > 1e-6 || math.Abs(is-1.413568) > 1e-6 {
		t.Errorf("Ro %.6f, Is %.6f, want 94.768822 and 1.413568", ro, is)
	}
	for ta, want := range map[float64]float64{0: 0, 100: 0, 150: 0.163531, 250: 8.916710} {
		if got := absoluteDelay(ta); math.Abs(got-want) > 1e-6 {
			t.Errorf("Idd(%v ms) = %.6f, want %.6f", ta, got, want)
		}
	}
}

// TestMOSOfR is table B.1 of G.107, to the precision of the formula.
func TestMOSOfR(t *testing.T) {
	for r, want := range map[float64]float64{-3: 1, 0: 1, 50: 2.575, 60: 3.1, 70: 3.597, 80: 4.024, 90: 4.339, 100: 4.5, 120: 4.5} {
		if got := mosOf(r); math.Abs(got-want) > 0.0005 {
			t.Errorf("MOS(%v) = %.4f, want %.4f", r, got, want)
		}
	}
}
