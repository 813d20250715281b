package integration

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/internal/netlab"
)

// pcm is mono sound of 8,000 samples a second. What judges it here is written
// for these tests alone, so that it cannot share a mistake with the program.
type pcm []int16

const sampleRate = 8000

// component returns how loud the sine of hz is in p, in dB below a sine of full
// scale: Goertzel's algorithm with a Hann window over all of p.
func (p pcm) component(hz float64) float64 {
	omega := 2 * math.Pi * hz / sampleRate
	turn := 2 * math.Cos(omega)
	hann := 2 * math.Pi / float64(len(p))
	windowTurn, w1, w2 := 2*math.Cos(hann), math.Cos(-hann), math.Cos(-2*hann)
	var s1, s2, gain float64
	for _, sample := range p {
		w := windowTurn*w1 - w2 // the next cosine of the window
		w1, w2 = w, w1
		s1, s2 = turn*s1-s2+(0.5-0.5*w)*float64(sample), s1
		gain += 0.5 - 0.5*w
	}
	amplitude := 2 * math.Sqrt(max(s1*s1+s2*s2-turn*s1*s2, 0)) / gain
	return 20 * math.Log10(max(amplitude, 1e-3)/math.MaxInt16)
}

// level returns the power of p, in dB below a sine of full scale.
func (p pcm) level() float64 {
	var sum float64
	for _, s := range p {
		sum += float64(s) * float64(s)
	}
	return 10 * math.Log10(max(2*sum/float64(len(p)), 1e-6)/(math.MaxInt16*math.MaxInt16))
}

// tone is what a piece of sound is, if it is a tone.
type tone struct {
	hz    float64
	level float64 // dB below a sine of full scale
	share float64 // dB of everything else below it
}

// loudestTone finds the loudest tone of p, to 5 Hz: roughly in a short piece,
// where 40 Hz are one peak, then around that in all of p.
func (p pcm) loudestTone() tone {
	rough := p[:min(len(p), frame)].loudest(100, sampleRate/2-100, 20)
	best := p.loudest(rough.hz-30, rough.hz+30, 5)
	best.share = p.level() - best.level
	return best
}

func (p pcm) loudest(from, to, step float64) tone {
	best := tone{level: math.Inf(-1)}
	for hz := from; hz <= to; hz += step {
		if l := p.component(hz); l > best.level {
			best.hz, best.level = hz, l
		}
	}
	return best
}

// wantTone fails the test unless p is a tone of hz at level dB (to 1.5 dB, for
// the companding) for most of at least so many seconds.
func wantTone(t *testing.T, who string, p pcm, hz, level, seconds float64) {
	t.Helper()
	if err := p.checkTone(hz, level, seconds); err != nil {
		t.Errorf("%s: %v", who, err)
	}
}

// A frame is 100 ms, the piece of sound that is judged by itself. On a machine
// that is too busy a program misses its turn for longer than that, and what it
// sends has a hole: some frames may be bad, as long as there is an undisturbed
// stretch to judge the tone by and the greater part of all is good.
const (
	frame       = sampleRate / 10
	undisturbed = 5   // frames
	goodShare   = 0.5 // of all frames
)

func (p pcm) checkTone(hz, level, seconds float64) error {
	if got := float64(len(p)) / sampleRate; got < seconds {
		return fmt.Errorf("%.1f s of sound, want %.1f", got, seconds)
	}
	good, run := 0, 0
	best := tone{level: math.Inf(-1)}
	var clear pcm // the stretch in which the tone is clearest
	for at := 0; at+frame <= len(p); at += frame {
		if math.Abs(p[at:at+frame].component(hz)-level) > 1.5 {
			run = 0
			continue
		}
		good++
		if run++; run < undisturbed {
			continue
		}
		stretch := p[at+frame-undisturbed*frame : at+frame]
		if l := stretch.component(hz); l > best.level {
			best.level, clear = l, stretch
		}
	}
	all := len(p) / frame
	if clear == nil || float64(good) < goodShare*float64(all) {
		tone := p[len(p)/2-frame/2 : len(p)/2+frame/2].loudestTone()
		return fmt.Errorf("%.0f Hz at %.1f dB is in %d of %d frames, undisturbed somewhere %v; in the middle there is %.0f Hz at %.1f dB",
			hz, level, good, all, clear != nil, tone.hz, tone.level)
	}
	found := clear.loudestTone()
	switch {
	case math.Abs(found.hz-hz) > 5:
		return fmt.Errorf("heard %.0f Hz at %.1f dB, want %.0f Hz", found.hz, found.level, hz)
	case math.Abs(found.level-level) > 1.5:
		return fmt.Errorf("heard %.0f Hz at %.1f dB, want %.1f dB", hz, found.level, level)
	case found.share > 1:
		return fmt.Errorf("%.0f Hz is only part of it: everything together is %.1f dB louder", hz, found.share)
	}
	return nil
}

// sine returns a tone.
func sine(hz, level, seconds float64) pcm {
	p := make(pcm, int(seconds*sampleRate))
	amplitude := math.MaxInt16 * math.Pow(10, level/20)
	for i := range p {
		p[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(i)/sampleRate)))
	}
	return p
}

// readWAV reads a file of 16-bit mono sound at 8 kHz.
func readWAV(t *testing.T, path string) pcm {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parseWAV(b)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return p
}

func parseWAV(b []byte) (pcm, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, fmt.Errorf("no WAVE file: %.12q", b)
	}
	for b = b[12:]; len(b) >= 8; {
		name, n := string(b[:4]), int(binary.LittleEndian.Uint32(b[4:]))
		b = b[8:]
		n = min(n, len(b))
		switch name {
		case "fmt ":
			format, channels := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
			rate, bits := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint16(b[14:])
			if format != 1 || channels != 1 || rate != sampleRate || bits != 16 {
				return nil, fmt.Errorf("format %d, %d channels, %d Hz, %d bits", format, channels, rate, bits)
			}
		case "data":
			p := make(pcm, n/2)
			for i := range p {
				p[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
			}
			return p, nil
		}
		b = b[n+n%2:]
	}
	return nil, fmt.Errorf("no data in it")
}

// writeWAV writes p as a file.
func writeWAV(t *testing.T, path string, p pcm) {
	t.Helper()
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00")
	binary.LittleEndian.PutUint32(b[4:], uint32(36+2*len(p)))
	binary.LittleEndian.PutUint32(b[40:], uint32(2*len(p)))
	for _, s := range p {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// rtpPacket is one packet of sound on the wire.
type rtpPacket struct {
	netlab.Packet
	seq  uint16
	time uint32
	ssrc uint32
	pt   byte
	data []byte
}

// rtp returns the packets of G.711 that match, in the order they passed.
func rtp(c *netlab.Capture, match func(netlab.Packet) bool) []rtpPacket {
	var found []rtpPacket
	for _, p := range c.Select(match) {
		b := p.Payload
		if p.Proto != unix.IPPROTO_UDP || len(b) < 12 || b[0]>>6 != 2 || b[1]&0x7f != 0 && b[1]&0x7f != 8 {
			continue
		}
		header := 12 + 4*int(b[0]&0x0f)
		if len(b) < header {
			continue
		}
		found = append(found, rtpPacket{
			Packet: p, pt: b[1] & 0x7f, data: b[header:],
			seq:  binary.BigEndian.Uint16(b[2:]),
			time: binary.BigEndian.Uint32(b[4:]),
			ssrc: binary.BigEndian.Uint32(b[8:]),
		})
	}
	return found
}

// sound puts packets of one source in order and decodes them; what is missing is silence.
func sound(packets []rtpPacket) pcm {
	if len(packets) == 0 {
		return nil
	}
	start := packets[0].time
	packets = slices.Clone(packets)
	slices.SortStableFunc(packets, func(a, b rtpPacket) int { return int(int32(a.time - b.time)) })
	start = min(start, packets[0].time)
	var p pcm
	for _, packet := range packets {
		at := int(packet.time - start)
		for len(p) < at {
			p = append(p, 0)
		}
		p = p[:at]
		for _, b := range packet.data {
			p = append(p, decodeG711(packet.pt, b))
		}
	}
	return p
}

// decodeG711 expands one byte of mu-law (payload type 0) or A-law (8), ITU-T G.711.
func decodeG711(pt, b byte) int16 {
	if pt == 0 {
		b = ^b
		v := (int16(b&0x0f)<<3+0x84)<<(b>>4&7) - 0x84
		if b&0x80 != 0 {
			return -v
		}
		return v
	}
	b ^= 0x55
	v := int16(b&0x0f)<<4 + 8
	if exponent := b >> 4 & 7; exponent > 0 {
		v = (v + 0x100) << (exponent - 1)
	}
	if b&0x80 != 0 {
		return v
	}
	return -v
}

// encodeMuLaw returns the bytes of mu-law that are nearest to p.
func encodeMuLaw(p pcm) []byte {
	type step struct {
		value int16
		code  byte
	}
	var steps []step // by value
	for b := range 256 {
		steps = append(steps, step{decodeG711(0, byte(b)), byte(b)})
	}
	slices.SortFunc(steps, func(a, b step) int { return int(a.value) - int(b.value) })
	out := make([]byte, len(p))
	for i, s := range p {
		at, _ := slices.BinarySearchFunc(steps, s, func(a step, s int16) int { return int(a.value) - int(s) })
		at = min(at, len(steps)-1)
		if at > 0 && int(s)-int(steps[at-1].value) < int(steps[at].value)-int(s) {
			at--
		}
		out[i] = steps[at].code
	}
	return out
}

func TestToneIsJudgedRight(t *testing.T) {
	t.Parallel()
	good := sine(440, -12, 4)
	tests := []struct {
		situation string
		p         pcm
		wrong     bool
	}{
		{"the tone itself", good, false},
		{"companded", companded(good), false},
		{"10 Hz beside it", sine(450, -12, 4), true},
		{"another tone", sine(1000, -12, 4), true},
		{"3 dB too quiet", sine(440, -15, 4), true},
		{"silence", make(pcm, len(good)), true},
		{"too short", good[:2*sampleRate], true},
		{"a hole of 200 ms", slices.Concat(good[:2*sampleRate], make(pcm, 1600), good[2*sampleRate:]), false},
		{"more holes than tone", slices.Concat(good[:sampleRate], make(pcm, 2*sampleRate), good[:sampleRate/2]), true},
		{"chopped", chopped(good), true},
		{"another tone behind it", mixed(good, sine(1000, -12, 4)), true},
	}
	for _, test := range tests {
		if err := test.p.checkTone(440, -12, 3); (err != nil) != test.wrong {
			t.Errorf("%s: %v", test.situation, err)
		}
	}
}

// chopped has a hole of 100 ms in every 400 ms.
func chopped(p pcm) pcm {
	p = slices.Clone(p)
	for at := 0; at+frame <= len(p); at += 4 * frame {
		clear(p[at : at+frame])
	}
	return p
}

func companded(p pcm) pcm {
	out := make(pcm, len(p))
	for i, b := range encodeMuLaw(p) {
		out[i] = decodeG711(0, b)
	}
	return out
}

func mixed(a, b pcm) pcm {
	out := make(pcm, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}

// irregular lists where packets of one source are not each the next one 20 ms
// after the last, for the message of a test that has failed.
func irregular(packets []rtpPacket) string {
	var found []string
	for i := 1; i < len(packets); i++ {
		p, last := packets[i], packets[i-1]
		seq, stamp, at := int16(p.seq-last.seq), int32(p.time-last.time), p.At.Sub(last.At)
		if seq != 1 || stamp != sampleRate/50 || p.ssrc != last.ssrc || at > 60*time.Millisecond {
			found = append(found, fmt.Sprintf("packet %d: seq %+d, time stamp %+d, %v later, ssrc %x after %x", i, seq, stamp, at.Round(time.Millisecond), p.ssrc, last.ssrc))
		}
	}
	return strings.Join(found, "\n")
}
