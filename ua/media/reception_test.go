package media

import (
	"math"
	"testing"
)

func TestReceptionCounts(t *testing.T) {
	seqs := func(from, n int, skip ...int) []uint16 {
		var list []uint16
	next:
		for i := range n {
			for _, s := range skip {
				if i == s {
					continue next
				}
			}
			list = append(list, uint16(from+i))
		}
		return list
	}
	tests := []struct {
		name                     string
		seqs                     []uint16
		expected, dup, reordered uint64
		lost                     int64
	}{
		{"nothing", nil, 0, 0, 0, 0},
		{"all in order", seqs(100, 50), 50, 0, 0, 0},
		{"three lost", seqs(100, 50, 10, 11, 30), 50, 0, 0, 3},
		{"across the wrap", seqs(65530, 20, 3), 20, 0, 0, 1},
		{"swapped", []uint16{1, 3, 2, 4}, 4, 0, 1, 0},
		{"the first one was overtaken", []uint16{2, 1, 3}, 3, 0, 1, 0},
		{"the first one was overtaken at the wrap", []uint16{0, 65535, 1}, 3, 0, 1, 0},
		{"doubled", []uint16{1, 2, 2, 3, 1}, 3, 2, 0, 0},
		{"a double hides no loss", []uint16{1, 2, 2, 4}, 4, 1, 0, 1},
		{"two wraps", append(seqs(0, 65536), seqs(0, 65536)...), 131072, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r reception
			for _, s := range tt.seqs {
				r.take(s)
			}
			if r.expected() != tt.expected || r.lost() != tt.lost || r.duplicate != tt.dup || r.reordered != tt.reordered {
				t.Errorf("expected %d, lost %d, duplicate %d, reordered %d", r.expected(), r.lost(), r.duplicate, r.reordered)
			}
		})
	}
}

func TestReceptionFollows(t *testing.T) {
	var r reception
	if r.follows(5) {
		t.Error("something follows nothing")
	}
	r.take(65000)
	for seq, want := range map[uint16]bool{65001: true, 65000: true, 64901: true, 64900: false, 2463: true, 2464: false, 30000: false} {
		if r.follows(seq) != want {
			t.Errorf("follows(%d) = %v after 65000", seq, !want)
		}
	}
}

// TestReceptionReports has the fields of report blocks (RFC 3550 appendix A.3).
func TestReceptionReports(t *testing.T) {
	var r reception
	for seq := range uint16(100) {
		if seq%4 != 3 {
			r.take(60000 + seq)
		}
	}
	// The last one lost, 60099, is not known to be.
	if fraction, lost, highest := r.report(); fraction != 24*256/99 || lost != 24 || highest != 60098 {
		t.Errorf("first report: %d/256, %d lost, up to %d", fraction, lost, highest)
	}
	for seq := range uint16(10) {
		r.take(60100 + seq)
	}
	if fraction, lost, highest := r.report(); fraction != 256/11 || lost != 25 || highest != 60109 {
		t.Errorf("second report: %d/256, %d lost, up to %d", fraction, lost, highest)
	}
	for range 30 {
		r.take(60109)
	}
	if fraction, lost, _ := r.report(); fraction != 0 || lost != 0xffffff&-5 {
		t.Errorf("after duplicates: %d/256, lost %#x; want a negative number", fraction, lost)
	}
}

func TestReceptionCountsCycles(t *testing.T) {
	var r reception
	for i := range 70000 {
		r.take(uint16(65000 + i))
	}
	if _, _, highest := r.report(); highest != 65000+69999 {
		t.Errorf("extended highest sequence number = %d, want %d", highest, 65000+69999)
	}
}

// TestReceptionJitter: every second packet is 10 ms late, so all differences are 80 units, and J converges to them.
func TestReceptionJitter(t *testing.T) {
	r := reception{clock: 8000}
	for i := range int64(400) {
		r.arrive(1<<40+160*i+80*(i%2), uint32(1<<32-8000+160*i))
	}
	if math.Abs(r.jitter-80) > 0.01 || math.Abs(ms(r.jitterTime())-10) > 0.01 {
		t.Errorf("jitter = %v units, %v; want 80, 10 ms", r.jitter, r.jitterTime())
	}
	still := reception{clock: 8000}
	for i := range int64(10) {
		still.arrive(160*i, uint32(160*i))
	}
	if still.jitter != 0 {
		t.Errorf("jitter of a perfect clock = %v", still.jitter)
	}
}
