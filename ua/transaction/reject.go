package transaction

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"log/slog"

	"github.com/emiago/sipgo/sip"
)

// badRequest answers a request that cannot be parsed with 400, without a
// transaction: its retransmission gets the same.
func (l *Layer) badRequest(m *message, reason string) {
	l.bad(m, reason)
	if m.Head.Method == string(sip.ACK) {
		return
	}
	tag := l.statelessTag(l.branchKey(&m.Head))
	_ = l.respond(m.flow, m.Refuse(sip.StatusBadRequest, reason, m.flow.Remote(), tag))
}

// bad notes a message that cannot be parsed.
func (l *Layer) bad(m *message, reason string) {
	l.count.bad.Add(1)
	l.log.DebugContext(l.ctx, "malformed message", slog.String("call_id", m.Head.CallID),
		slog.Any("flow", m.flow), slog.String("method", m.Head.CSeqMethod), slog.String("why", reason))
}

// overloaded answers a request for which there is no room.
func (l *Layer) overloaded(s *Server) {
	l.count.refused.Add(1)
	l.complain("requests are unanswered and new ones get 503")
	l.refuse(s, sip.StatusServiceUnavailable, "Overloaded", sip.NewHeader("Retry-After", retryAfter))
}

// refuse answers a request without making a transaction of it, as a stateless
// server does (RFC 3261 section 8.2.7): its retransmission gets the same, and the
// ACK to it is dropped.
func (l *Layer) refuse(s *Server, code int, reason string, more ...sip.Header) {
	s.tag = l.statelessTag(s.key)
	res := s.Response(code, reason)
	for _, h := range more {
		res.AppendHeader(h)
	}
	res.SetBody(nil)
	if raw, err := l.encode(res); err == nil {
		_ = l.respond(s.flow, raw)
	}
}

// retryAfter is when a refused request may be tried again, in seconds. A proxy
// sends nothing at all until then (RFC 3261 section 21.5.4), so it is short.
const retryAfter = "5"

// statelessTag is a To tag that is the same for a retransmission (RFC 3261
// section 8.2.7), and tells nothing of k.
func (l *Layer) statelessTag(k key) string {
	return fmt.Sprintf("%016x", maphash.Comparable(l.tagSeed, k))
}

// parse parses m. If that cannot be done, reason says why in words that are fit
// for a reason phrase and hold nothing of the message but a header's name.
func (l *Layer) parse(m *message) (msg sip.Message, reason string) {
	msg, err := l.parser.ParseSIP(m.Raw)
	switch {
	case err != nil:
		return nil, "Malformed " + culprit(m.Raw)
	case msg.From() == nil:
		return nil, "Missing From"
	case msg.To() == nil:
		return nil, "Missing To"
	}
	for _, h := range headers(msg) {
		if !hasURI(h) {
			return nil, "Malformed " + h.Name()
		}
	}
	return msg, ""
}

// headers returns the headers of m. Going over them is cheaper than asking for
// one by its name, for which sipgo converts all names to lower case.
func headers(m sip.Message) []sip.Header {
	h, _ := m.(interface{ Headers() []sip.Header })
	return h.Headers()
}

// hasURI reports whether there is a URI in a Route or Record-Route; the parser
// passes one without a closing bracket and leaves it empty.
func hasURI(h sip.Header) bool {
	var uri *sip.Uri
	switch h := h.(type) {
	case *sip.RouteHeader:
		uri = &h.Address
	case *sip.RecordRouteHeader:
		uri = &h.Address
	default:
		return true
	}
	return uri.Host != "" || uri.Raw() != ""
}

// parseRequest is parse for a request, nil if that cannot be done.
func (l *Layer) parseRequest(m *message) (req *sip.Request, reason string) {
	msg, reason := l.parse(m)
	req, _ = msg.(*sip.Request)
	return req, reason
}

// culprit names what in raw cannot be parsed. The parser's own error quotes the
// message, which may hold credentials.
func culprit(raw []byte) string {
	parsers := sip.HeadersParser(sip.DefaultHeadersParser())
	_, head, _ := bytes.Cut(raw, []byte("\r\n"))
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) == 0 {
			break
		}
		if _, err := parsers.ParseHeader(nil, line); err != nil {
			name, _, _ := bytes.Cut(line, []byte{':'})
			return string(name)
		}
	}
	return "Request"
}
