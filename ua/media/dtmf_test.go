package media

import (
	"strings"
	"testing"
	"time"
)

// dtmfPacket is what a sender of events puts on the wire.
type dtmfPacket struct {
	timestamp uint32
	e         telephoneEvent
}

// sendDigits runs a sender until all digits are out, in steps of 20 ms at 8 kHz.
func sendDigits(t *testing.T, digits string) (packets []dtmfPacket, steps int) {
	t.Helper()
	s := eventSender{clock: 8000}
	if err := s.push(digits); err != nil {
		t.Fatal(err)
	}
	for now := uint32(1<<32 - 1000); s.active || len(s.queue) > 0; now += 160 { // the timestamp wraps on the way
		if e, start, _, ok := s.next(now, 160); ok {
			packets = append(packets, dtmfPacket{start, e})
		}
		steps++
	}
	return packets, steps
}

func TestDTMFSenderFollowsTheRFC(t *testing.T) {
	s := eventSender{clock: 8000}
	if err := s.push("5"); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		duration uint16
		end      bool
	}{{160, false}, {320, false}, {480, false}, {640, false}, {800, true}, {800, true}, {800, true}} {
		e, start, marker, ok := s.next(1000+uint32(160*i), 160)
		if !ok || start != 1000 || marker != (i == 0) || e != (telephoneEvent{code: 5, end: want.end, volume: 10, duration: want.duration}) {
			t.Errorf("packet %d: %+v from %d, marker %v, %v; want %+v", i, e, start, marker, ok, want)
		}
	}
	if _, _, _, ok := s.next(9000, 160); ok {
		t.Error("an eighth packet")
	}
}

func TestDTMFPausesBetweenDigits(t *testing.T) {
	packets, steps := sendDigits(t, "11")
	if len(packets) != 14 || steps != 7+4+7 {
		t.Errorf("%d packets in %d steps, want 14 in 18", len(packets), steps)
	}
	if tone, pause := packets[7].timestamp-packets[0].timestamp, uint32(800+640); tone < pause {
		t.Errorf("the second digit begins %d after the first, want at least %d", tone, pause)
	}
}

func TestDTMFQueueIsChecked(t *testing.T) {
	s := eventSender{clock: 8000}
	for _, digits := range []string{"1E", "1 2", ",", "é"} {
		if err := s.push(digits); err == nil || len(s.queue) != 0 {
			t.Errorf("push(%q) = %v, queue %v", digits, err, s.queue)
		}
	}
	if err := s.push("0123456789*#abcdABCD"); err != nil || len(s.queue) != 20 || s.queue[12] != 12 || s.queue[16] != 12 {
		t.Errorf("%v, queue %v", err, s.queue)
	}
	if err := s.push(strings.Repeat("1", dtmfPending)); err == nil {
		t.Error("more digits than may wait")
	}
}

func TestDTMFReceiverTellsEachDigitOnce(t *testing.T) {
	const digits = "112*#D00"
	all, _ := sendDigits(t, digits)
	each := func(keep func(i int) bool) []dtmfPacket {
		var list []dtmfPacket
		for i, p := range all {
			if keep(i % 7) {
				list = append(list, p)
			}
		}
		return list
	}
	swapped := append([]dtmfPacket(nil), all...)
	for i := 6; i+1 < len(swapped); i += 7 { // the last end packet comes after the next digit has begun
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
	}
	var doubled []dtmfPacket
	for _, p := range all {
		doubled = append(doubled, p, p)
	}
	for name, packets := range map[string][]dtmfPacket{
		"as sent":                     all,
		"the first packet lost":       each(func(i int) bool { return i != 0 }),
		"only an end packet arrives":  each(func(i int) bool { return i == 6 }),
		"all end packets lost":        each(func(i int) bool { return i < 4 }),
		"stragglers overtaken":        swapped,
		"every packet comes twice":    doubled,
		"only the first packet comes": each(func(i int) bool { return i == 0 }),
	} {
		t.Run(name, func(t *testing.T) {
			var r eventReceiver
			var got string
			for _, p := range packets {
				if digit, ok := r.take(p.timestamp, p.e.append(nil)); ok {
					got += string(digit)
				}
			}
			if got != digits {
				t.Errorf("heard %q, want %q", got, digits)
			}
		})
	}
}

func TestDTMFLongEventIsOneDigit(t *testing.T) {
	var r eventReceiver
	got := ""
	for _, p := range []dtmfPacket{
		{100, telephoneEvent{code: 1, duration: 160}},
		{100, telephoneEvent{code: 1, duration: 0xffff}},
		{100 + 0xffff, telephoneEvent{code: 1, duration: 160}}, // a new segment (RFC 4733 section 2.5.1.3)
		{100 + 0xffff, telephoneEvent{code: 1, duration: 320, end: true}},
		{100 + 0xffff + 0xffff, telephoneEvent{code: 1, duration: 160}}, // the segment before was not full: a new press
		{300000, telephoneEvent{code: 16, duration: 160}},               // flash: no digit
	} {
		if digit, ok := r.take(p.timestamp, p.e.append(nil)); ok {
			got += string(digit)
		}
	}
	if got != "11" {
		t.Errorf("heard %q, want 11", got)
	}
}

func TestDTMFToneIsLongEnough(t *testing.T) {
	if dtmfTone < 40*time.Millisecond || dtmfPause < 40*time.Millisecond {
		t.Error("ITU-T Q.24 lets a receiver ignore it")
	}
}

func FuzzEvent(f *testing.F) {
	f.Add(uint32(0), []byte{5, 0x8a, 1, 0x40}, uint32(160), []byte{5, 0x8a, 1, 0x40})
	f.Add(uint32(1<<32-1), []byte{1, 10, 0xff, 0xff}, uint32(0xfffe), []byte{1, 10, 0, 0xa0, 9})
	f.Add(uint32(9), []byte{255, 0, 0}, uint32(9), []byte{})
	f.Fuzz(func(t *testing.T, t1 uint32, p1 []byte, t2 uint32, p2 []byte) {
		var r eventReceiver
		d1, ok1 := r.take(t1, p1)
		d2, ok2 := r.take(t2, p2)
		if ok1 != (d1 != 0) || ok1 && ok2 && t1 == t2 {
			t.Fatalf("%q %v, %q %v", d1, ok1, d2, ok2)
		}
		if e, ok := parseEvent(p1); ok {
			if again, _ := parseEvent(e.append(nil)); again != e {
				t.Fatalf("%+v is written and read as %+v", e, again)
			}
		}
	})
}
