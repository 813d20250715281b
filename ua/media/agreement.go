package media

import (
	"fmt"
	"time"

	"github.com/gosipua/gosipua/ua/sdp"
)

// agreement is an sdp.Agreed made ready for packets. It does not change once made; only the codecs in it have state,
// and only turns use them.
type agreement struct {
	sdp.Agreed
	format  format // for sending, and of the audio that is played
	codec   codec  // for sending
	step    time.Duration
	units   int // RTP clock units per packet
	samples int // per packet
	recv    [128]receiving
	alive   uint8 // payload type of keep-alive packets, one that means nothing to either side
}

// receiving is what a payload type means. The zero value: nothing.
type receiving struct {
	event  bool
	format format
	codec  codec // nil for events
}

// newAgreement checks a; what it has in common with the last agreement goes on.
func newAgreement(a sdp.Agreed, last *agreement) (*agreement, error) {
	n := &agreement{Agreed: a}
	var ok bool
	if n.format, ok = formatOf(a.Send); !ok {
		if a.Send.Name != "" || last == nil {
			return nil, fmt.Errorf("media: codec %q with %d Hz is not supported", a.Send.Name, a.Send.Clock)
		}
		// The line has been switched off: all stays as it is, but nothing flows.
		n.format, n.Send, n.Recv, n.PTime = last.format, last.Send, last.Recv, last.PTime
		n.Direction, n.EventPT = sdp.Inactive, -1
	}
	n.step = min(max(n.PTime.Truncate(slotTime), 5*time.Millisecond), 120*time.Millisecond)
	n.units = int(n.step * time.Duration(n.format.clock) / time.Second)
	n.samples = int(n.step * time.Duration(n.format.rate) / time.Second)
	n.codec = n.format.fresh(n.Send.Fmtp)
	if last != nil && last.format.name == n.format.name && last.Send.Fmtp == n.Send.Fmtp {
		n.codec = last.codec
	}
	for _, c := range n.Recv {
		n.receive(c, last)
	}
	n.alive = n.unusedType()
	return n, nil
}

func (n *agreement) receive(c sdp.Codec, last *agreement) {
	r := &n.recv[c.PT&127]
	if c.Event() {
		r.event = c.Clock == n.format.clock // others cannot be told apart from it by their timestamps
		return
	}
	f, ok := formatOf(c)
	if !ok || f.clock != n.format.clock || f.rate != n.format.rate {
		return // of all formats that one jitter buffer and one player can serve
	}
	r.format, r.codec = f, f.fresh(c.Fmtp)
	if last != nil && last.recv[c.PT&127].format.name == f.name {
		r.codec = last.recv[c.PT&127].codec
	}
}

// unusedType is a dynamic payload type that has no meaning (RFC 6263 section 4.6).
func (n *agreement) unusedType() uint8 {
	for pt := uint8(127); pt > 96; pt-- {
		if n.recv[pt].codec == nil && !n.recv[pt].event && pt != n.Send.PT && int(pt) != n.EventPT {
			return pt
		}
	}
	return 96
}

// clockUnits is d in units of a clock, without overflow however long a call lasts.
func clockUnits(d time.Duration, clock int) int64 {
	whole, rest := d/time.Second, d%time.Second
	return int64(whole)*int64(clock) + int64(rest)*int64(clock)/int64(time.Second)
}
