package sdp

import (
	"errors"
	"net/netip"
	"time"
)

var (
	// ErrBad says that a description cannot be understood, exceeds a limit, or breaks a rule of RFC 3264 that cannot be
	// worked around. In answer to a request: 400 (or 488 when only the offer/answer rules are broken).
	ErrBad = errors.New("bad session description")
	// ErrNoCommonCodec says that no media line of the offer can be served: no audio, no codec or profile in common.
	// In answer to a request: 488.
	ErrNoCommonCodec = errors.New("no common codec")
)

// Session is a parsed or newly made description. Lines this package has no use for are kept verbatim.
type Session struct {
	Origin     Origin
	Name       string // s=
	Conn       Conn   // session-level c=; zero if each media line has its own
	Attributes []Attribute
	Media      []Media
	Other      []string // other session-level lines, in order, such as "b=AS:64" or "t=0 0"

	Quirks []Quirk // what Parse had to forgive; Marshal ignores it
}

// Origin is the o= line (RFC 8866 section 5.2).
type Origin struct {
	User    string // "-" if empty
	ID      uint64
	Version uint64
	Conn    Conn
}

// Conn is the address part of c= and o= lines. The zero value stands for no address.
type Conn struct {
	Host string // as written: an address literal or a host name, without TTL or count
	IP6  bool   // "IN IP6"
}

// Attribute is one a= line: "a=Key:Value", or "a=Key" if Value is empty.
type Attribute struct{ Key, Value string }

// Media is one m= line with the lines that belong to it.
type Media struct {
	Type       string // "audio", "video", "image", ...
	Port       uint16 // 0: refused or switched off
	Ports      int    // number of port pairs, 1 unless written as "port/n"
	Proto      string // "RTP/AVP", ...
	Formats    []string
	Conn       Conn // media-level c=; zero: the session's
	Attributes []Attribute
	Other      []string // b=, i=, k= and unknown lines
}

// Quirk is a deviation from RFC 8866 or RFC 3264 that Parse forgave.
type Quirk struct {
	Line int    // from 1; 0: the whole body
	What string // for people
	RFC  string // the clause that is broken, such as "RFC 8866 5.2"
}

// Codec is one RTP payload format. Names are compared without regard to case.
type Codec struct {
	PT       uint8
	Name     string // as in rtpmap: "PCMU", "telephone-event"
	Clock    int    // RTP clock rate, Hz
	Channels int    // 0 means 1
	Fmtp     string
}

// Direction says which way media flows, seen from the side that states it. The zero value is SendRecv.
type Direction uint8

// The directions of RFC 8866 section 6.7.
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

// Local is what this side brings to an offer or an answer.
type Local struct {
	SessionID, Version uint64        // o=; used only if Previous is nil
	Addr               netip.Addr    // for c= and o=; a zone is dropped
	Port               uint16        // RTP
	RTCPPort           uint16        // 0 or Port+1: not written (RFC 3605)
	Mux                bool          // offer rtcp-mux (RFC 5761); an offered one is accepted either way
	Codecs             []Codec       // in order of preference; telephone-event among them
	PTime              time.Duration // what we want to receive per packet; 0: not written
	Direction          Direction     // what we want

	// Previous is the description this side sent last in the same dialog, offer or answer; nil in the first round.
	Previous *Session
}

// Agreed is what one round of offer and answer came to, as seen from this side.
type Agreed struct {
	Index      int            // which media line
	Remote     netip.AddrPort // where RTP goes; invalid: the peer takes nothing (hold by c=0.0.0.0, port 0)
	RemoteRTCP netip.AddrPort // where RTCP goes; invalid with Remote
	Mux        bool           // RTP and RTCP share a port (RFC 5761)
	Send       Codec          // what to send, with the peer's payload type number
	Recv       []Codec        // what may come, with our payload type numbers, telephone-event among them
	EventPT    int            // payload type for sending telephone-event at Send's clock rate; -1: none
	PTime      time.Duration  // how much to send per packet; never 0
	Direction  Direction      // ours
}

// Parse reads a description. It fails, with an error that wraps ErrBad, only if limits are exceeded or nothing
// useful can be made of the text.
func Parse(body []byte) (*Session, error) { return nil, ErrBad }

// Marshal writes the description in the order of RFC 8866 section 5, with CRLF.
func (s *Session) Marshal() []byte { return nil }

// Offer makes an offer.
func Offer(l Local) *Session { return &Session{} }

// Answer makes the answer to an offer, and says what has been agreed.
func Answer(offer *Session, l Local) (*Session, Agreed, error) { return nil, Agreed{}, ErrBad }

// Accept reads the answer to our own offer.
func Accept(offer, answer *Session) (Agreed, error) { return Agreed{}, ErrBad }
