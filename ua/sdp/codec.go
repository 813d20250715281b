package sdp

import (
	"fmt"
	"strconv"
	"strings"
)

// eventName is the encoding name of RFC 4733.
const eventName = "telephone-event"

// Codec is one RTP payload format. Names are compared without regard to case.
type Codec struct {
	PT       uint8
	Name     string // as in rtpmap: "PCMU", "telephone-event"
	Clock    int    // RTP clock rate, Hz
	Channels int    // 0 means 1
	Fmtp     string // the parameters of a=fmtp, verbatim
}

// Event reports whether c is telephone-event (RFC 4733), which accompanies an audio codec and is none itself.
func (c Codec) Event() bool { return strings.EqualFold(c.Name, eventName) }

// same reports whether c and d are one payload format, whatever its number. Formats whose fmtp must be compared too
// (none so far) are to be told apart here.
func (c Codec) same(d Codec) bool {
	return strings.EqualFold(c.Name, d.Name) && c.Clock == d.Clock && max(c.Channels, 1) == max(d.Channels, 1)
}

// attributes are the rtpmap and fmtp lines.
func (c Codec) attributes() []Attribute {
	name := fmt.Sprintf("%d %s/%d", c.PT, c.Name, c.Clock)
	if c.Channels > 1 {
		name += "/" + strconv.Itoa(c.Channels)
	}
	list := []Attribute{{"rtpmap", name}}
	if c.Fmtp != "" {
		list = append(list, Attribute{"fmtp", fmt.Sprintf("%d %s", c.PT, c.Fmtp)})
	}
	return list
}

// staticCodec is the payload format that RFC 3551 section 6 gives a number that needs no rtpmap.
func staticCodec(pt uint8) (Codec, bool) {
	c := Codec{PT: pt, Clock: 8000}
	switch pt {
	case 0:
		c.Name = "PCMU"
	case 3:
		c.Name = "GSM"
	case 4:
		c.Name = "G723"
	case 8:
		c.Name = "PCMA"
	case 9:
		c.Name = "G722" // clock 8000 although sampled at 16 kHz: RFC 3551 section 4.5.2
	case 10:
		c.Name, c.Clock, c.Channels = "L16", 44100, 2
	case 11:
		c.Name, c.Clock = "L16", 44100
	case 13:
		c.Name = "CN"
	case 15:
		c.Name = "G728"
	case 18:
		c.Name = "G729"
	default:
		return Codec{}, false
	}
	return c, true
}

// codecs lists the formats of an RTP media line in its order. Numbers that mean nothing are returned apart.
func (m *Media) codecs() (list []Codec, unknown []uint8) {
	var done [128]bool
	for _, f := range m.Formats {
		n, err := strconv.ParseUint(f, 10, 7)
		if err != nil || done[n] {
			continue
		}
		done[n] = true
		c, ok := m.rtpmap(uint8(n))
		if !ok {
			c, ok = staticCodec(uint8(n))
		}
		if !ok {
			unknown = append(unknown, uint8(n))
			continue
		}
		c.Fmtp = m.parameters(f)
		list = append(list, c)
	}
	return list, unknown
}

// rtpmap looks up "rtpmap:pt name/clock[/channels]". A missing clock rate is read as 8000, what it nearly always is.
func (m *Media) rtpmap(pt uint8) (Codec, bool) {
	for _, a := range m.Attributes {
		if !strings.EqualFold(a.Key, "rtpmap") {
			continue
		}
		number, rest, _ := strings.Cut(strings.TrimSpace(a.Value), " ")
		if n, err := strconv.ParseUint(number, 10, 7); err != nil || uint8(n) != pt {
			continue
		}
		part := strings.Split(strings.TrimSpace(rest), "/")
		c := Codec{PT: pt, Name: part[0], Clock: 8000}
		if len(part) > 1 {
			c.Clock, _ = strconv.Atoi(part[1])
		}
		if len(part) > 2 {
			c.Channels, _ = strconv.Atoi(part[2])
		}
		return c, c.Name != "" && c.Clock > 0 && c.Channels >= 0
	}
	return Codec{}, false
}

// parameters is the fmtp of a format.
func (m *Media) parameters(format string) string {
	for _, a := range m.Attributes {
		if !strings.EqualFold(a.Key, "fmtp") {
			continue
		}
		if f, rest, ok := strings.Cut(strings.TrimSpace(a.Value), " "); ok && f == format {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// find is the first codec of the list that is the same format as c.
func find(list []Codec, c Codec) (Codec, bool) {
	for _, d := range list {
		if d.same(c) {
			return d, true
		}
	}
	return Codec{}, false
}

// pick is what a list of common codecs, in order of preference, gives for sending: the first audio codec, and the
// telephone-event that shares its clock rate (RFC 4733 section 2.1), -1 if there is none.
func pick(list []Codec) (send Codec, event int, ok bool) {
	event = -1
	for _, c := range list {
		switch {
		case c.Event():
		case !ok:
			send, ok = c, true
		}
	}
	for _, c := range list {
		if c.Event() && ok && c.Clock == send.Clock {
			return send, int(c.PT), true
		}
	}
	return send, event, ok
}
