package sdp

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Agreed is what one round of offer and answer came to, as seen from this side.
type Agreed struct {
	Index      int            // which media line
	Remote     netip.AddrPort // where RTP goes; invalid: the peer takes nothing (hold by c=0.0.0.0, port 0)
	RemoteRTCP netip.AddrPort // where RTCP goes; invalid with Remote
	Mux        bool           // RTP and RTCP share a port (RFC 5761)
	Send       Codec          // what to send, with the peer's payload type number; Name "": nothing, the line is off
	Recv       []Codec        // what may come, with our payload type numbers, telephone-event among them
	EventPT    int            // payload type for sending telephone-event at Send's clock rate; -1: none
	PTime      time.Duration  // how much to send per packet; never 0
	Direction  Direction      // ours

	Quirks []Quirk // what the peer's description broke in RFC 3264 and was forgiven
}

// The packet times we send, whatever the peer asks for, and the one it gets without asking (RFC 3551 section 4.2).
const (
	minPTime     = 5 * time.Millisecond
	maxPTime     = 120 * time.Millisecond
	defaultPTime = 20 * time.Millisecond
)

// off is the result for a line that carries nothing.
func off(index int) Agreed {
	return Agreed{Index: index, EventPT: -1, PTime: defaultPTime, Direction: Inactive}
}

// Answer makes the answer to an offer (RFC 3264 section 6), and says what has been agreed. The first audio line that
// can be served is; in later rounds the one already in use comes first. All others are refused with port 0. Formats
// come in the offer's order and with its numbers.
//
// An offer that has switched its only audio line off (port 0) is answered likewise, with Agreed.Send empty. If nothing
// can be served the error wraps ErrNoCommonCodec and says why, line by line.
func Answer(offer *Session, l Local) (*Session, Agreed, error) {
	var why []string
	disabled := -1
	for _, i := range l.preference(offer) {
		m := &offer.Media[i]
		if m.Port == 0 && strings.EqualFold(m.Type, "audio") && usableProto(m.Proto) {
			disabled = i
			continue
		}
		line, agreed, err := l.answerMedia(offer, m)
		if err != nil {
			why = append(why, fmt.Sprintf("line %d: %v", i+1, err))
			continue
		}
		agreed.Index = i
		return l.follow(l.answerWith(offer, i, line)), agreed, nil
	}
	if disabled >= 0 && (len(why) == 0 || l.Previous != nil) {
		return l.follow(l.answerWith(offer, -1, Media{})), off(disabled), nil
	}
	if len(why) == 0 {
		why = []string{"no media line"}
	}
	return nil, Agreed{EventPT: -1}, fmt.Errorf("%w: %s", ErrNoCommonCodec, strings.Join(why, "; "))
}

// preference is the order in which the lines of an offer are tried.
func (l *Local) preference(offer *Session) []int {
	order := make([]int, 0, len(offer.Media))
	if at := l.audioLine(); l.Previous != nil && at < len(offer.Media) {
		order = append(order, at)
	}
	for i := range offer.Media {
		if !slices.Contains(order, i) {
			order = append(order, i)
		}
	}
	return order
}

// answerWith is the answer in which only line at is served; at -1: none.
func (l *Local) answerWith(offer *Session, at int, line Media) *Session {
	s := l.session(offer)
	for i := range offer.Media {
		if i == at {
			s.Media = append(s.Media, line)
		} else {
			s.Media = append(s.Media, refused(&offer.Media[i]))
		}
	}
	return s
}

// answerMedia answers one line of an offer; the error says why it is refused.
func (l *Local) answerMedia(offer *Session, m *Media) (Media, Agreed, error) {
	switch {
	case !strings.EqualFold(m.Type, "audio"):
		return Media{}, Agreed{}, fmt.Errorf("%s is not supported", m.Type)
	case !usableProto(m.Proto):
		return Media{}, Agreed{}, fmt.Errorf("profile %s is not supported", m.Proto)
	case m.Port == 0:
		return Media{}, Agreed{}, fmt.Errorf("switched off")
	}
	offered, _ := m.codecs()
	var theirs []Codec // what both have, with the peer's parameters, which rule what we send; a.Recv has ours
	var a Agreed
	for _, c := range offered {
		if ours, ok := find(l.Codecs, c); ok {
			theirs = append(theirs, c)
			c.Fmtp = ours.Fmtp
			a.Recv = append(a.Recv, c)
		}
	}
	var ok bool
	if a.Send, a.EventPT, ok = pick(theirs); !ok {
		return Media{}, Agreed{}, fmt.Errorf("no codec of %s", strings.Join(m.Formats, " "))
	}
	if err := a.peer(offer, m, l.Addr); err != nil {
		return Media{}, Agreed{}, err
	}
	// A peer that takes nothing is one that only sends, whatever its attribute says (RFC 3264 section 8.4).
	wants := direction(offer, m)
	if !a.Remote.IsValid() {
		wants = wants.both(SendOnly)
	}
	a.Direction = wants.reverse().both(l.Direction)
	line := l.media(m.Proto, a.Recv, a.Direction)
	if _, a.Mux = attr(m.Attributes, "rtcp-mux"); a.Mux {
		line.Attributes = append(line.Attributes, Attribute{Key: "rtcp-mux"})
		a.RemoteRTCP = a.Remote
	}
	return line, a, nil
}

// Accept reads the answer to our own offer. A violation of RFC 3264 that leaves no doubt about what is meant is listed
// in Agreed.Quirks. An answer that refuses our audio gives an error that wraps ErrNoCommonCodec, together with an
// Agreed in which nothing flows; other errors wrap ErrBad.
func Accept(offer, answer *Session) (Agreed, error) {
	at := slices.IndexFunc(offer.Media, func(m Media) bool { return m.Port != 0 })
	if at < 0 {
		return off(0), nil // we offered to switch everything off
	}
	a := off(at)
	ours := &offer.Media[at]
	m, err := a.answered(offer, answer, at)
	if err != nil {
		return off(at), err
	}
	if m.Port == 0 {
		return off(at), fmt.Errorf("%w: the peer refused the audio", ErrNoCommonCodec)
	}
	a.Recv, _ = ours.codecs()
	common := a.common(m)
	var ok bool
	if a.Send, a.EventPT, ok = pick(common); !ok {
		return off(at), fmt.Errorf("%w: the answer has %s", ErrNoCommonCodec, strings.Join(m.Formats, " "))
	}
	local, _ := connOfMedia(offer, ours).addr()
	if err := a.peer(answer, m, local); err != nil {
		return off(at), fmt.Errorf("%w: %w", ErrBad, err)
	}
	a.Direction = direction(offer, ours).both(direction(answer, m).reverse())
	if !a.Remote.IsValid() {
		a.Direction = a.Direction.both(RecvOnly)
	}
	a.mux(ours, m)
	return a, nil
}

func (a *Agreed) quirk(rfc, format string, args ...any) {
	a.Quirks = append(a.Quirks, Quirk{What: fmt.Sprintf(format, args...), RFC: rfc})
}

// answered finds the line that answers line at of the offer.
func (a *Agreed) answered(offer, answer *Session, at int) (*Media, error) {
	if len(answer.Media) != len(offer.Media) {
		a.quirk("RFC 3264 6", "%d media lines answer %d", len(answer.Media), len(offer.Media))
	}
	isAudio := func(m Media) bool { return strings.EqualFold(m.Type, "audio") }
	if at >= len(answer.Media) || !isAudio(answer.Media[at]) {
		if at = slices.IndexFunc(answer.Media, isAudio); at < 0 {
			return nil, fmt.Errorf("%w: no audio in the answer", ErrNoCommonCodec)
		}
		a.quirk("RFC 3264 6", "the answer for audio is in line %d", at+1)
	}
	m := &answer.Media[at]
	switch want := offer.Media[a.Index].Proto; {
	case m.Port == 0 || strings.EqualFold(m.Proto, want):
	case usableProto(m.Proto):
		a.quirk("RFC 3264 6", "%s answers %s", m.Proto, want)
	default:
		return nil, fmt.Errorf("%w: %s answers %s", ErrBad, m.Proto, want)
	}
	return m, nil
}

// common is what the answer m and our offer, a.Recv, have in common, with the peer's numbers.
func (a *Agreed) common(m *Media) []Codec {
	answered, unknown := m.codecs()
	for _, pt := range unknown {
		// A dynamic number without rtpmap can only be meant as in the offer.
		if i := slices.IndexFunc(a.Recv, func(c Codec) bool { return c.PT == pt }); i >= 0 {
			answered = append(answered, a.Recv[i])
			a.quirk("RFC 8866 6.6", "no rtpmap for payload type %d", pt)
		}
	}
	var list []Codec
	for _, c := range answered {
		if _, ok := find(a.Recv, c); ok {
			list = append(list, c)
		} else {
			a.quirk("RFC 3264 6.1", "%s/%d was not offered", c.Name, c.Clock)
		}
	}
	return list
}

// mux settles rtcp-mux after an answer (RFC 5761 section 5.1.1).
func (a *Agreed) mux(ours, theirs *Media) {
	_, offered := attr(ours.Attributes, "rtcp-mux")
	_, answered := attr(theirs.Attributes, "rtcp-mux")
	if answered && !offered {
		a.quirk("RFC 5761 5.1.1", "rtcp-mux answered, which was not offered")
	}
	if a.Mux = offered && answered; a.Mux {
		a.RemoteRTCP = a.Remote
	}
}

// peer fills in where to send and how much per packet; local is our own address. The error says why the peer's
// address cannot be used. A link-local address gets no zone: no description carries one, and whoever opens the socket
// knows it.
func (a *Agreed) peer(s *Session, m *Media, local netip.Addr) error {
	a.PTime = packetTime(m)
	conn := connOfMedia(s, m)
	host := strings.ToLower(conn.Host)
	if host == "invalid" || strings.HasSuffix(host, ".invalid") {
		return nil // "no address yet", as 0.0.0.0 (RFC 6157 section 4, RFC 2606)
	}
	to, ok := conn.addr()
	switch {
	case conn.Host == "":
		return fmt.Errorf("no c= line")
	case !ok:
		return fmt.Errorf("c= names the host %.60q instead of an address", conn.Host)
	case to.IsUnspecified():
		return nil // hold as in RFC 2543
	case local.IsValid() && to.Is4() != local.Unmap().Is4():
		return fmt.Errorf("%s is not of our address family", to)
	case to.IsMulticast() || to == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s is no unicast address", to)
	case to.IsLoopback() && local.IsValid() && !local.IsLoopback():
		// Nobody else can mean our own loopback; to send there would let a stranger reach services behind it.
		return fmt.Errorf("%s is a loopback address", to)
	}
	a.Remote = netip.AddrPortFrom(to, m.Port)
	a.RemoteRTCP = rtcpAddr(m, a.Remote)
	return nil
}

// rtcpAddr is where RTCP goes without rtcp-mux: the next port, or what a=rtcp says (RFC 3605).
func rtcpAddr(m *Media, rtp netip.AddrPort) netip.AddrPort {
	next := netip.AddrPort{}
	if rtp.Port() < 65535 {
		next = netip.AddrPortFrom(rtp.Addr(), rtp.Port()+1)
	}
	value, ok := attr(m.Attributes, "rtcp")
	f := strings.Fields(value)
	if !ok || len(f) == 0 {
		return next
	}
	port, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil || port == 0 {
		return next
	}
	to := rtp.Addr()
	// Only another port, or another address that is as good as the first one, is followed.
	if len(f) >= 4 {
		other, err := netip.ParseAddr(f[3])
		if err != nil || other.Is4() != to.Is4() || other.IsUnspecified() || other.IsMulticast() || other.IsLoopback() != to.IsLoopback() {
			return next
		}
		to = other.WithZone("")
	}
	return netip.AddrPortFrom(to, uint16(port))
}

// packetTime is how much the peer wants per packet.
func packetTime(m *Media) time.Duration {
	want := milliseconds(m, "ptime")
	if want < minPTime {
		want = defaultPTime
	}
	if limit := milliseconds(m, "maxptime"); limit >= minPTime {
		want = min(want, limit)
	}
	return min(want, maxPTime)
}

// milliseconds reads an attribute such as ptime, of which some peers write a fraction; it is dropped.
func milliseconds(m *Media, key string) time.Duration {
	value, _ := attr(m.Attributes, key)
	whole, _, _ := strings.Cut(strings.TrimSpace(value), ".")
	n, err := strconv.ParseUint(whole, 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Millisecond
}

// direction is what a description says of a media line: its own attribute, else the session's, else sendrecv.
func direction(s *Session, m *Media) Direction {
	for _, list := range [][]Attribute{m.Attributes, s.Attributes} {
		for _, a := range list {
			if d, ok := parseDirection(a.Key); ok {
				return d
			}
		}
	}
	return SendRecv
}

// connOfMedia is the c= that holds for a media line.
func connOfMedia(s *Session, m *Media) Conn {
	if m.Conn.Host != "" {
		return m.Conn
	}
	return s.Conn
}
