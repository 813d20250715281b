package sdp

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Local is what this side brings to an offer or an answer.
type Local struct {
	SessionID, Version uint64        // o=; used only if Previous is nil
	Addr               netip.Addr    // for c= and o=; a zone is dropped
	Port               uint16        // RTP
	RTCPPort           uint16        // 0 or Port+1: not written (RFC 3605)
	Mux                bool          // offer rtcp-mux (RFC 5761); an offered one is accepted either way
	Codecs             []Codec       // in order of preference, telephone-event among them
	PTime              time.Duration // what we want to receive per packet; 0: not written
	Direction          Direction     // what we want

	// Previous is the description this side sent last in the same dialog, offer or answer; nil in the first round.
	// Its media lines keep their number and order (RFC 3264 section 8), its payload type numbers keep their meaning
	// (section 8.3.2), and o= stays the same but for the version, which grows by one if and only if anything else
	// changed.
	Previous *Session
}

// Offer makes an offer (RFC 3264 section 5): one audio line, and whatever lines Previous has, with port 0.
func Offer(l Local) *Session {
	s := l.session(nil)
	at := l.audioLine()
	codecs := l.numbered(at)
	audio := l.media("RTP/AVP", codecs, l.Direction)
	if l.Mux {
		audio.Attributes = append(audio.Attributes, Attribute{Key: "rtcp-mux"})
	}
	if l.Previous != nil {
		for i := range l.Previous.Media {
			s.Media = append(s.Media, refused(&l.Previous.Media[i]))
		}
	}
	if at < len(s.Media) {
		audio.Proto = s.Media[at].Proto
		s.Media[at] = audio
	} else {
		s.Media = append(s.Media, audio)
	}
	return l.follow(s)
}

// session is a description without media lines. The t= lines of an answer are the offer's (RFC 3264 section 6); Marshal
// writes those of an offer.
func (l *Local) session(offer *Session) *Session {
	conn := connOf(l.Addr)
	s := &Session{Name: "-", Conn: conn, Origin: Origin{User: "-", ID: l.SessionID, Version: l.Version, Conn: conn}}
	if offer != nil {
		for _, line := range offer.Other {
			if line[0] == 't' {
				s.Other = append(s.Other, line)
			}
		}
	}
	return s
}

// media is our audio line.
func (l *Local) media(proto string, codecs []Codec, d Direction) Media {
	m := Media{Type: "audio", Port: l.Port, Ports: 1, Proto: proto}
	for _, c := range codecs {
		m.Formats = append(m.Formats, strconv.Itoa(int(c.PT)))
		m.Attributes = append(m.Attributes, c.attributes()...)
	}
	if l.PTime > 0 {
		m.Attributes = append(m.Attributes, Attribute{"ptime", strconv.FormatInt(l.PTime.Milliseconds(), 10)})
	}
	m.Attributes = append(m.Attributes, Attribute{Key: d.String()})
	if l.RTCPPort != 0 && l.RTCPPort != l.Port+1 {
		m.Attributes = append(m.Attributes, Attribute{"rtcp", fmt.Sprintf("%d %s", l.RTCPPort, connOf(l.Addr))})
	}
	return m
}

// refused is a media line with port 0. Its formats are meaningless, but the grammar wants one (RFC 3264 section 6).
func refused(m *Media) Media {
	r := Media{Type: m.Type, Ports: 1, Proto: m.Proto, Formats: slices.Clone(m.Formats)}
	if len(r.Formats) == 0 {
		r.Formats = []string{"0"}
	}
	return r
}

// follow applies the rules for o= in the rounds after the first (RFC 3264 section 8): the line is the same, the
// address in it included, but for the version.
func (l *Local) follow(s *Session) *Session {
	if l.Previous == nil {
		return s
	}
	s.Origin = l.Previous.Origin
	if !bytes.Equal(s.Marshal(), l.Previous.Marshal()) {
		s.Origin.Version++
	}
	return s
}

// audioLine is the index of the line for our audio: the one in use, else one that may be used again (RFC 3264
// section 8.1), else a new one.
func (l *Local) audioLine() int {
	if l.Previous == nil {
		return 0
	}
	free := len(l.Previous.Media)
	for i, m := range l.Previous.Media {
		switch {
		case !usableProto(m.Proto) || !strings.EqualFold(m.Type, "audio"):
		case m.Port != 0:
			return i
		case free == len(l.Previous.Media):
			free = i
		}
	}
	return free
}

// numbered is l.Codecs with the payload type numbers that they had in line at of Previous. A number that meant
// something else there is not used again (RFC 3264 section 8.3.2).
func (l *Local) numbered(at int) []Codec {
	if l.Previous == nil || at >= len(l.Previous.Media) {
		return l.Codecs
	}
	before, _ := l.Previous.Media[at].codecs()
	var taken [128]bool
	for _, c := range append(slices.Clone(before), l.Codecs...) {
		taken[c.PT&127] = true
	}
	list := slices.Clone(l.Codecs)
	for i, c := range list {
		if old, ok := find(before, c); ok {
			list[i].PT = old.PT
			continue
		}
		if slices.ContainsFunc(before, func(b Codec) bool { return b.PT == c.PT }) {
			if free := slices.Index(taken[96:], false); free >= 0 {
				list[i].PT = uint8(96 + free)
				taken[96+free] = true
			}
		}
	}
	return list
}

// usableProto reports whether we can serve a transport profile. RTP/AVPF (RFC 4585) without a=rtcp-fb differs from
// RTP/AVP only in when RTCP may be sent, so it is served as it is; the secure profiles are not.
func usableProto(proto string) bool {
	return strings.EqualFold(proto, "RTP/AVP") || strings.EqualFold(proto, "RTP/AVPF")
}
