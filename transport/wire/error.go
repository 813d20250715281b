package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
)

// An Error says what is wrong with a message, and how to answer it.
type Error struct {
	Status int    // what to answer with: 400, 505 or 513; zero if no answer is possible or allowed
	Reason string // what is wrong, fit for a reason phrase
	Head   Head   // as far as it could be read
	Fatal  bool   // of a stream: nobody knows where the next message begins

	msg Message
}

// Error says what is wrong.
func (e *Error) Error() string { return "sip message: " + e.Reason }

// Response returns the response that refuses the message, for [TopVia] to
// direct, or nil if Status is zero. src is where the message came from; tag is
// the To tag of the response, which RFC 3261 section 8.2.7 wants to be the same
// for a retransmission.
func (e *Error) Response(src netip.AddrPort, tag string) []byte {
	if e.Status == 0 {
		return nil
	}
	return e.msg.Refuse(e.Status, e.Reason, src, tag)
}

// Refuse returns a response to the request m that has nothing but the headers
// every response has, as [Error.Response] does; it is for what a later parser
// cannot read. reason must be fit for a reason phrase, and m not be an ACK.
func (m *Message) Refuse(status int, reason string, src netip.AddrPort, tag string) []byte {
	from := *m
	from.Raw = bytes.Clone(m.Raw)
	from.SetReceived(src)
	b := append([]byte("SIP/2.0 "), strconv.Itoa(status)...)
	b = append(append(append(b, ' '), reason...), "\r\n"...)
	_, head := cutLine(from.Raw[:from.body])
	for len(head) > 0 {
		var line []byte
		line, head = cutLine(head)
		b = appendCopied(b, line, tag)
	}
	return append(b, "Content-Length: 0\r\n\r\n"...)
}

// appendCopied appends line if RFC 3261 section 8.2.6.2 wants it copied into a
// response, with the tag if it is a To that has none.
func appendCopied(b, line []byte, tag string) []byte {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch h, _ := lookup(name); h {
	case hVia, hFrom, hCallID, hCSeq:
		b = append(b, line...)
	case hTo:
		b = append(b, line...)
		if !hasTag(value) {
			b = append(append(b, ";tag="...), tag...)
		}
	default:
		return b
	}
	return append(b, "\r\n"...)
}

// hasTag reports whether a To value has a tag parameter. Parameters stand
// behind the angle bracket if there is one (RFC 3261 section 20).
func hasTag(value []byte) bool {
	params := value[bytes.LastIndexByte(value, '>')+1:]
	for len(params) > 0 {
		_, params, _ = bytes.Cut(params, []byte(";"))
		if p := trim(params); len(p) > 3 && equalFold(p[:3], "tag") && (isSpace(p[3]) || p[3] == '=') {
			return true
		}
	}
	return false
}

// errValue is what ValidValue returns.
var errValue = errors.New("CR, LF or NUL in a header value")

// ValidValue reports why s must not be written as a header value; nil if it
// may. A line end in it would begin a header, or a body, of somebody else's making.
func ValidValue(s string) error {
	for i := range len(s) {
		if s[i] == '\r' || s[i] == '\n' || s[i] == 0 {
			return errValue
		}
	}
	return nil
}
