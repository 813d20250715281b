package media

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// dtmfDigits has the digits of RFC 4733 section 3.2 at the index of their event code.
const dtmfDigits = "0123456789*#ABCD"

// The shape of what is sent: within what ITU-T Q.24 has every receiver accept, and quick enough for a voice mail PIN.
const (
	dtmfTone    = 100 * time.Millisecond
	dtmfPause   = 100 * time.Millisecond
	dtmfVolume  = 10 // -10 dBm0
	dtmfEnds    = 3  // the last packet is sent three times (RFC 4733 section 2.5.1.4)
	dtmfPending = 64 // digits that may wait
)

// telephoneEvent is the payload of RFC 4733 section 2.3.
type telephoneEvent struct {
	code     byte
	end      bool
	volume   byte   // 0-63, in -dBm0
	duration uint16 // so far, in timestamp units
}

// parseEvent reads the first event of a payload.
func parseEvent(b []byte) (telephoneEvent, bool) {
	if len(b) < 4 {
		return telephoneEvent{}, false
	}
	return telephoneEvent{code: b[0], end: b[1]&0x80 != 0, volume: b[1] & 0x3f, duration: binary.BigEndian.Uint16(b[2:])}, true
}

// append writes the event behind dst.
func (e telephoneEvent) append(dst []byte) []byte {
	flags := e.volume & 0x3f
	if e.end {
		flags |= 0x80
	}
	return binary.BigEndian.AppendUint16(append(dst, e.code, flags), e.duration)
}

// eventReceiver finds each digit once among the packets that repeat it.
type eventReceiver struct {
	last    uint32 // timestamp of the newest event
	code    byte
	length  uint16 // how far the newest event has been seen to last
	started bool
}

// take reads one packet and returns the digit that begins with it. All packets of an event carry the timestamp of its
// start, so that is what makes it one (RFC 4733 section 2.2.1); the marker bit may be lost. An event that lasts longer
// than its duration field can say goes on in a new segment, whose timestamp follows on (section 2.5.1.3).
func (r *eventReceiver) take(timestamp uint32, payload []byte) (digit rune, ok bool) {
	e, valid := parseEvent(payload)
	if !valid || int(e.code) >= len(dtmfDigits) {
		return 0, false
	}
	ahead := int32(timestamp - r.last)
	switch {
	case r.started && ahead < 0:
		return 0, false // a straggler of an event before
	case r.started && ahead == 0:
		r.length = max(r.length, e.duration)
		return 0, false
	}
	follows := r.started && e.code == r.code && r.length == 0xffff && ahead == 0xffff
	r.started, r.last, r.code, r.length = true, timestamp, e.code, e.duration
	return rune(dtmfDigits[e.code]), !follows
}

// eventSender sends a queue of digits, one packet per tick. The caller serialises its methods.
type eventSender struct {
	queue []byte // event codes
	clock int    // Hz

	active bool
	code   byte
	start  uint32 // timestamp of the event
	length int    // sent so far, in timestamp units
	ends   int    // end packets sent
	pause  int    // timestamp units of silence still to keep before the next digit
}

// push queues digits: all of them, or none and an error.
func (s *eventSender) push(digits string) error {
	digits = strings.ToUpper(digits)
	for _, r := range digits {
		if !strings.ContainsRune(dtmfDigits, r) {
			return fmt.Errorf("media: %q is not a DTMF digit: want 0-9, *, #, A-D", r)
		}
	}
	if len(s.queue)+len(digits) > dtmfPending {
		return fmt.Errorf("media: %d digits are waiting, at most %d may", len(s.queue)+len(digits), dtmfPending)
	}
	for i := range len(digits) {
		s.queue = append(s.queue, byte(strings.IndexByte(dtmfDigits, digits[i])))
	}
	return nil
}

// next gives what is to be sent in the tick that begins at timestamp now and lasts step units. ok is false if it is
// audio's turn.
func (s *eventSender) next(now uint32, step int) (e telephoneEvent, start uint32, marker, ok bool) {
	if !s.active {
		if s.pause -= step; s.pause > 0 || len(s.queue) == 0 {
			s.pause = max(s.pause, 0)
			return e, 0, false, false
		}
		s.active, s.start, s.length, s.ends, s.pause = true, now, 0, 0, 0
		s.code = s.queue[0]
		s.queue = append(s.queue[:0], s.queue[1:]...)
		marker = true
	}
	if s.ends == 0 {
		s.length += step
	}
	e = telephoneEvent{code: s.code, volume: dtmfVolume, duration: uint16(min(s.length, 0xffff))}
	if s.length >= int(dtmfTone*time.Duration(s.clock)/time.Second) {
		e.end = true
		if s.ends++; s.ends == dtmfEnds {
			s.active = false
			s.pause = int(dtmfPause * time.Duration(s.clock) / time.Second)
		}
	}
	return e, s.start, marker, true
}
