package wire

import (
	"bytes"
	"strings"
)

// Parse reads the one message that datagram holds. Line ends before it are
// skipped (RFC 3261 section 7.5), bytes behind the Content-Length are cut off
// (section 18.3); without a Content-Length the body goes to the end.
//
// Every error is an [*Error].
func Parse(datagram []byte, lim Limits) (Message, error) {
	data := skipLineEnds(datagram)
	p := parser{lim: lim, length: -1}
	end, _ := headEnd(data, 0)
	if end < 0 {
		end = len(data)
		p.open = true
	}
	if len(data) > lim.message() {
		p.fail(513, "Message Too Large")
	}
	p.head(data[:end], len(data))
	p.body(data[end:])
	return p.result()
}

// skipLineEnds cuts CR and LF off the front.
func skipLineEnds(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

// headEnd returns the offset behind the empty line that ends the head in b.
// If it is not there yet, end is -1 and resume is where to go on looking when
// more has come.
func headEnd(b []byte, from int) (end, resume int) {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return -1, len(b)
		}
		lf := from + i
		from = lf + 1
		switch rest := b[from:]; {
		case len(rest) == 0 || len(rest) == 1 && rest[0] == '\r':
			return -1, lf
		case rest[0] == '\n':
			return from + 1, 0
		case rest[0] == '\r' && rest[1] == '\n':
			return from + 2, 0
		}
	}
}

// slack is how much longer than what came a normalised message gets as a rule:
// a Content-Length, a few compact names, and received and rport later. More
// costs one more allocation, nothing else.
const slack = 192

// A parser normalises one message into out. The first problem is kept, and
// parsing goes on, to find out whether the sender can be told.
type parser struct {
	lim    Limits
	open   bool   // the head has no end
	out    []byte // what Raw becomes
	fold   []byte // the unfolded form of a folded line
	seen   uint64 // bit per header
	length int    // the Content-Length, or -1
	msg    Message
	at     heads // where the strings of msg.Head are in out

	status int // of the first problem
	reason string
	fatal  bool // the length of the message is not to be known
	alien  bool // not SIP at all
	badVia bool // the topmost Via cannot be read
}

// heads are the places in out of what becomes a string in Head.
type heads struct {
	uri, phrase, callID, host, branch, received, maddr span
}

func (p *parser) fail(status int, reason string) {
	if p.status == 0 {
		p.status, p.reason = status, reason
	}
}

// head normalises the start line and the headers in b; size is how much room
// the whole message takes.
func (p *parser) head(b []byte, size int) {
	p.out = make([]byte, 0, size+slack)
	if len(b) > p.lim.head() {
		p.fail(513, "Head too large")
	}
	line, b := p.line(b)
	p.startLine(line)
	if p.alien {
		return
	}
	for n := p.lim.headers(); len(b) > 0; n-- {
		if line, b = p.line(b); len(line) == 0 {
			break
		}
		if n == 0 {
			p.fail(513, "Too many header lines")
			p.fatal = true // a Content-Length may be among the rest
			break
		}
		p.header(line)
	}
	p.required()
}

// line takes one line off b, unfolded (RFC 3261 section 7.3.1).
func (p *parser) line(b []byte) (line, rest []byte) {
	line, rest = cutLine(b)
	if len(rest) == 0 || !isSpace(rest[0]) {
		return line, rest
	}
	p.fold = append(p.fold[:0], trim(line)...)
	for len(rest) > 0 && isSpace(rest[0]) {
		line, rest = cutLine(rest)
		p.fold = append(append(p.fold, ' '), trim(line)...)
	}
	return p.fold, rest
}

func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	line, rest = b[:i], b[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

func (p *parser) startLine(line []byte) {
	if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		p.notSIP()
		return
	}
	line = trimRight(line)
	if len(line) > 4 && equalFold(line[:4], "SIP/") {
		p.statusLine(line)
		return
	}
	p.requestLine(line)
}

// notSIP gives up on what is not even meant to be SIP.
func (p *parser) notSIP() {
	p.alien, p.fatal = true, true
	p.fail(400, "Not a SIP message")
}

// requestLine reads METHOD SP Request-URI SP SIP-Version (RFC 3261 section 7.1).
func (p *parser) requestLine(line []byte) {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	i := bytes.LastIndexByte(rest, ' ')
	if i < 0 || !allToken(method) || len(rest) < i+5 || !equalFold(rest[i+1:i+5], "SIP/") {
		p.notSIP()
		return
	}
	uri, version := rest[:i], rest[i+1:]
	p.msg.Head.Request = true
	p.msg.Head.Method = methodName(method)
	p.out = append(append(p.out, method...), ' ')
	p.at.uri = p.put(uri)
	p.out = append(p.out, " SIP/2.0\r\n"...)
	switch {
	case !equalFold(version, "SIP/2.0"):
		p.fail(505, "Version Not Supported")
	case !validURI(uri):
		p.fail(400, "Malformed Request-URI")
	}
}

// validURI refuses what would end a Request-URI early, RFC 4475 sections
// 3.1.2.7 and 3.1.2.8; the rest is for whoever understands URIs.
func validURI(uri []byte) bool {
	for _, c := range uri {
		if c <= ' ' || c == 0x7f || c == '<' || c == '>' || c == '"' {
			return false
		}
	}
	return len(uri) > 0
}

// statusLine reads SIP-Version SP Status-Code SP Reason-Phrase (section 7.2).
func (p *parser) statusLine(line []byte) {
	version, rest, _ := bytes.Cut(line, []byte(" "))
	code, phrase, _ := bytes.Cut(rest, []byte(" "))
	n, ok := number(code, 699)
	if !ok || len(code) != 3 || n < 100 {
		p.notSIP()
		return
	}
	if !equalFold(version, "SIP/2.0") {
		p.fail(400, "Unknown SIP version")
	}
	p.msg.Head.Status = int(n)
	p.out = append(append(append(p.out, "SIP/2.0 "...), code...), ' ')
	p.at.phrase = p.put(trim(phrase))
	p.out = append(p.out, "\r\n"...)
}

// header normalises one header line.
func (p *parser) header(line []byte) {
	if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		p.fail(400, "CR or NUL in a header line")
		return
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	name, value = trim(name), trim(value)
	if !ok || !allToken(name) {
		p.fail(400, "Malformed header line")
		return
	}
	h, long := lookup(name)
	if h.single() && p.has(h) {
		p.fail(400, "More than one "+h.name())
		p.fatal = p.fatal || h == hContentLength
		return
	}
	p.seen |= 1 << h
	if long != "" {
		p.known(h, long, value)
		return
	}
	p.out = append(p.out, name...)
	p.finish(value)
}

func (p *parser) has(h header) bool { return p.seen&(1<<h) != 0 }

// known writes a header under its long name, after a look at those whose value
// matters here.
func (p *parser) known(h header, long string, value []byte) {
	switch h {
	case hVia:
		p.vias(value)
		return
	case hContentLength:
		p.contentLength(value)
		return // written by body
	case hCSeq:
		p.cseq(value)
		return
	case hCallID:
		if len(value) == 0 || bytes.ContainsAny(value, " \t") {
			p.fail(400, "Malformed Call-ID")
		}
		at := len(p.out) + len("Call-ID: ")
		p.at.callID = span{at, at + len(value)}
	case hFrom, hTo:
		if len(value) == 0 {
			p.fail(400, "Empty "+long)
		}
	case hMaxForwards:
		// RFC 3261 section 20.22: 0 to 255.
		if _, ok := number(value, 255); !ok && p.msg.Head.Request {
			p.fail(400, "Malformed Max-Forwards")
		}
	default:
	}
	p.out = append(p.out, long...)
	p.finish(value)
}

// finish ends the header whose name has been written.
func (p *parser) finish(value []byte) {
	p.out = append(append(append(p.out, ": "...), value...), "\r\n"...)
}

// put appends b and returns where it went.
func (p *parser) put(b []byte) span {
	from := len(p.out)
	p.out = append(p.out, b...)
	return span{from, len(p.out)}
}

// contentLength reads the header that frames a stream. Without it nobody knows
// where the next message begins, so an error here is fatal to a stream.
func (p *parser) contentLength(value []byte) {
	n, ok := number(value, 1<<30) // beyond any limit, within any int
	if !ok {
		p.fail(400, "Malformed Content-Length")
		p.fatal = true
		return
	}
	p.length = int(n)
}

// cseq reads a sequence number below 2**31 and a method, which in a request is
// that of the request line (RFC 3261 section 8.1.1.5).
func (p *parser) cseq(value []byte) {
	i := bytes.IndexAny(value, " \t")
	if i < 0 {
		i = len(value)
	}
	digits, method := value[:i], trim(value[i:])
	n, ok := number(digits, 1<<31-1)
	head := &p.msg.Head
	switch {
	case !ok || !allToken(method):
		p.fail(400, "Malformed CSeq")
	case !head.Request:
		head.Method = methodName(method)
	case head.Method != string(method):
		p.fail(400, "CSeq method is not the request's")
	}
	if ok {
		head.CSeq, head.CSeqMethod = uint32(n), methodName(method)
	}
	p.out = append(append(append(p.out, "CSeq: "...), digits...), ' ')
	p.out = append(append(p.out, method...), "\r\n"...)
}

// required names the first header missing of those without which nothing can
// be matched or answered. Max-Forwards is not among them: RFC 2543 did not know it.
func (p *parser) required() {
	if p.open {
		p.fail(400, "No empty line after the headers")
	}
	for _, h := range [...]header{hVia, hFrom, hTo, hCallID, hCSeq} {
		if !p.has(h) {
			p.fail(400, "No "+h.name())
		}
	}
}

// body writes the Content-Length, the end of the head, and as much of rest as
// belongs to the message.
func (p *parser) body(rest []byte) {
	if p.length > len(rest) {
		p.fail(400, "Body is shorter than Content-Length")
	} else if p.length >= 0 {
		rest = rest[:p.length]
	}
	p.out = append(p.out, "Content-Length: "...)
	p.out = appendInt(p.out, len(rest))
	p.out = append(p.out, "\r\n\r\n"...)
	p.msg.body = len(p.out)
	p.out = append(p.out, rest...)
}

func appendInt(b []byte, n int) []byte {
	if n >= 10 {
		b = appendInt(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

func (p *parser) result() (Message, error) {
	p.msg.Raw = p.out
	p.strings()
	if p.status == 0 {
		return p.msg, nil
	}
	e := &Error{Reason: p.reason, Head: p.msg.Head, Fatal: p.fatal, msg: p.msg}
	if p.answerable() {
		e.Status = p.status
	}
	return Message{}, e
}

// answerable reports whether a response can be made: an ACK has none, and
// without these headers nobody could match it (RFC 3261 section 8.2.6.2).
func (p *parser) answerable() bool {
	const need = 1<<hVia | 1<<hFrom | 1<<hTo | 1<<hCallID | 1<<hCSeq
	return p.msg.Head.Request && p.msg.Head.Method != "ACK" && p.seen&need == need && p.msg.via.to > 0
}

// strings makes the strings of Head with one allocation for all of them.
func (p *parser) strings() {
	a, h := &p.at, &p.msg.Head
	fields := [...]struct {
		from span
		to   *string
	}{
		{a.uri, &h.URI},
		{a.phrase, &h.Reason},
		{a.callID, &h.CallID},
		{a.host, &h.Via.Host},
		{a.branch, &h.Via.Branch},
		{a.received, &h.Via.Received},
		{a.maddr, &h.Via.MAddr},
	}
	n := 0
	for _, f := range fields {
		n += f.from.to - f.from.from
	}
	var b strings.Builder
	b.Grow(n)
	for _, f := range fields {
		b.Write(p.out[f.from.from:f.from.to])
	}
	all := b.String()
	for _, f := range fields {
		n := f.from.to - f.from.from
		*f.to, all = all[:n], all[n:]
	}
}

// methodName returns b as a string, without an allocation for those in use.
func methodName(b []byte) string {
	for _, s := range [...]string{
		"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "INFO", "UPDATE",
		"PRACK", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "PUBLISH",
	} {
		if string(b) == s {
			return s
		}
	}
	return string(b)
}
