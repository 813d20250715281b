package sdp

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Limits on what Parse takes. They are far above what any real description needs, and low enough that a hostile one
// costs nothing worth mentioning.
const (
	maxBody       = 64 << 10 // bytes
	maxLine       = 8 << 10  // bytes
	maxMedia      = 64       // m= lines
	maxAttributes = 1000     // a= lines in all
)

// The orders of lines in RFC 8866 section 5, session level and media level.
const (
	sessionOrder = "vosiuepcbtrzka"
	mediaOrder   = "micbka"
)

// Parse reads a description. What deviates from the RFC but can be understood is listed in Session.Quirks. It fails,
// with an error that wraps ErrBad, if a limit is exceeded (64 KiB, 8 KiB a line, 64 media lines, 1000 attributes), if a
// media line has no usable port, or if nothing in the text looks like a description.
func Parse(body []byte) (*Session, error) {
	if len(body) > maxBody {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrBad, len(body), maxBody)
	}
	p := parser{s: &Session{}}
	for i, line := range p.split(body) {
		p.line = i + 1
		if err := p.read(line); err != nil {
			return nil, err
		}
	}
	p.line = 0
	if p.seen == "" {
		return nil, fmt.Errorf("%w: no line of the form x=value", ErrBad)
	}
	p.missing()
	return p.s, nil
}

// parser holds what Parse knows while it goes through the lines.
type parser struct {
	s     *Session
	m     *Media // the media description being read; nil: session level
	line  int
	seen  string // types of the session-level lines so far
	last  byte   // type of the line before, for the order
	attrs int
}

func (p *parser) quirk(rfc, format string, args ...any) {
	p.s.Quirks = append(p.s.Quirks, Quirk{Line: p.line, What: fmt.Sprintf(format, args...), RFC: rfc})
}

// split cuts the body into lines and notes what is unusual about their ends.
func (p *parser) split(body []byte) []string {
	text := bytes.TrimRight(body, "\x00")
	if len(text) != len(body) {
		p.quirk("RFC 8866 9", "NUL bytes at the end")
	}
	if !bytes.ContainsRune(text, '\n') && bytes.ContainsRune(text, '\r') {
		p.quirk("RFC 8866 5", "lines end with CR alone")
		text = bytes.ReplaceAll(text, []byte("\r"), []byte("\r\n"))
	}
	lines := strings.Split(string(text), "\n")
	if n := len(lines) - 1; lines[n] == "" {
		lines = lines[:n]
	} else {
		p.quirk("RFC 8866 5", "the last line has no end")
	}
	bare := 0
	for i, l := range lines {
		if cut, ok := strings.CutSuffix(l, "\r"); ok {
			lines[i] = cut
		} else {
			bare++
		}
	}
	if bare > 1 || bare == 1 && bytes.HasSuffix(text, []byte("\n")) {
		p.quirk("RFC 8866 5", "lines end with LF alone")
	}
	return lines
}

// read takes one line, without its end.
func (p *parser) read(line string) error {
	if len(line) > maxLine {
		return fmt.Errorf("%w: line %d has %d bytes, at most %d are read", ErrBad, p.line, len(line), maxLine)
	}
	if strings.ContainsAny(line, "\r\x00") {
		p.quirk("RFC 8866 9", "CR or NUL inside the line")
		line = strings.NewReplacer("\r", "", "\x00", "").Replace(line) // by bytes: this need not be UTF-8
	}
	trimmed := strings.TrimLeft(line, " \t")
	if trimmed == "" {
		p.quirk("RFC 8866 5", "empty line")
		return nil
	}
	if trimmed != line {
		p.quirk("RFC 8866 5", "white space before the type")
	}
	key, value, ok := strings.Cut(trimmed, "=")
	if name := strings.TrimRight(key, " \t"); ok && len(name) == 1 && isLetter(name[0]) {
		if name != key {
			p.quirk("RFC 8866 5", "white space before =")
			value = strings.TrimLeft(value, " \t")
		}
		return p.take(name[0], value)
	}
	p.quirk("RFC 8866 5", "not of the form x=value, ignored")
	return nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// take sorts one line into the Session.
func (p *parser) take(kind byte, value string) error {
	if kind == 'm' {
		return p.takeMedia(value)
	}
	p.order(kind)
	if p.m == nil {
		p.seen += string(kind)
	}
	switch {
	case kind == 'a':
		return p.takeAttribute(value)
	case kind == 'c':
		p.takeConn(value)
	case p.m == nil && kind == 'v':
		if strings.TrimSpace(value) != "0" {
			p.quirk("RFC 8866 5.1", "version %q, read as 0", value)
		}
	case p.m == nil && kind == 'o':
		p.takeOrigin(value)
	case p.m == nil && kind == 's':
		p.s.Name = value
		if value == "" {
			p.quirk("RFC 8866 5.3", "empty s=")
		}
	default:
		p.keep(kind, value)
	}
	return nil
}

// order notes a line that stands before or after where RFC 8866 section 5 wants it.
func (p *parser) order(kind byte) {
	at := strings.IndexByte(sessionOrder, kind) // of the types that both levels have, the order is the same
	if at < 0 {
		return // keep says that it is unknown
	}
	// Between r= lines another t= may come: they form time descriptions, like the media descriptions.
	if at < strings.IndexByte(sessionOrder, p.last) && (kind != 't' || p.last != 'r') {
		p.quirk("RFC 8866 5", "%c= after %c=", kind, p.last)
	}
	p.last = kind
}

// keep stores a line that this package does not use.
func (p *parser) keep(kind byte, value string) {
	line, known := string(kind)+"="+value, sessionOrder
	list := &p.s.Other
	if p.m != nil {
		known, list = mediaOrder, &p.m.Other
	}
	if strings.IndexByte(known, kind) < 0 {
		p.quirk("RFC 8866 5", "unknown or misplaced line type %q", kind)
	}
	*list = append(*list, line)
}

func (p *parser) takeAttribute(value string) error {
	if p.attrs++; p.attrs > maxAttributes {
		return fmt.Errorf("%w: more than %d attributes", ErrBad, maxAttributes)
	}
	key, val, _ := strings.Cut(value, ":")
	a := Attribute{Key: strings.TrimSpace(key), Value: val}
	if a.Key == "" {
		p.quirk("RFC 8866 5.13", "attribute without a name, ignored")
		return nil
	}
	if p.m == nil {
		p.s.Attributes = append(p.s.Attributes, a)
		return nil
	}
	p.m.Attributes = append(p.m.Attributes, a)
	return nil
}

func (p *parser) takeConn(value string) {
	c, ok := p.conn("RFC 8866 5.7", p.fields("RFC 8866 5.7", value))
	to := &p.s.Conn
	if p.m != nil {
		to = &p.m.Conn
	}
	switch {
	case !ok:
		p.quirk("RFC 8866 5.7", "unusable c=, ignored")
	case to.Host != "":
		p.quirk("RFC 8866 5.7", "more than one c=; the first is used")
	default:
		*to = c
	}
}

// takeOrigin reads "user id version IN IP4 addr", or as much of it as is there.
func (p *parser) takeOrigin(value string) {
	f := p.fields("RFC 8866 5.2", value)
	if len(f) != 6 {
		p.quirk("RFC 8866 5.2", "o= has %d fields instead of 6", len(f))
	}
	o := &p.s.Origin
	if len(f) > 0 {
		o.User = f[0]
	}
	if len(f) > 2 {
		o.ID, o.Version = p.number("session id", f[1]), p.number("version", f[2])
	}
	if len(f) > 3 {
		o.Conn, _ = p.conn("RFC 8866 5.2", f[3:])
	}
}

func (p *parser) number(what, s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		p.quirk("RFC 8866 5.2", "%s %.40q is not a number of 64 bits", what, s)
	}
	return n
}

// conn reads "IN IP4 host[/ttl[/count]]".
func (p *parser) conn(rfc string, f []string) (Conn, bool) {
	if len(f) < 3 {
		return Conn{}, false
	}
	if len(f) > 3 || !strings.EqualFold(f[0], "IN") {
		p.quirk(rfc, "%q instead of IN, a family and an address", strings.Join(f, " "))
	}
	host, _, _ := strings.Cut(f[2], "/")
	c := Conn{Host: host, IP6: strings.EqualFold(f[1], "IP6")}
	a, literal := c.addr()
	if literal && (a.Is6() != c.IP6 || strings.ContainsAny(host, "[]%")) {
		p.quirk(rfc, "%s written as %s %s", a, f[1], host)
		c = connOf(a)
	}
	return c, host != ""
}

// fields splits at white space, of which RFC 8866 section 9 allows exactly one space.
func (p *parser) fields(rfc, value string) []string {
	f := strings.Fields(value)
	if strings.Join(f, " ") != value {
		p.quirk(rfc, "white space other than single spaces")
	}
	return f
}

// takeMedia reads "type port[/n] proto fmt...".
func (p *parser) takeMedia(value string) error {
	if len(p.s.Media) == maxMedia {
		return fmt.Errorf("%w: more than %d media lines", ErrBad, maxMedia)
	}
	f := p.fields("RFC 8866 5.14", value)
	if len(f) < 3 {
		// Its place in the answer would have to be kept (RFC 3264 section 6), and nobody knows what it means.
		return fmt.Errorf("%w: line %d: m= has %d fields", ErrBad, p.line, len(f))
	}
	port, count, slash := strings.Cut(f[1], "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("%w: line %d: port %.20q", ErrBad, p.line, port)
	}
	m := Media{Type: f[0], Port: uint16(n), Ports: 1, Proto: f[2], Formats: f[3:]}
	if slash {
		if m.Ports, err = strconv.Atoi(count); err != nil || m.Ports < 1 {
			p.quirk("RFC 8866 5.14", "%q is not a number of ports", count)
			m.Ports = 1
		}
	}
	if len(m.Formats) == 0 {
		p.quirk("RFC 8866 5.14", "m= without a format")
	}
	p.s.Media = append(p.s.Media, m)
	p.m, p.last = &p.s.Media[len(p.s.Media)-1], 'm'
	return nil
}

// missing notes the lines that RFC 8866 section 5 requires.
func (p *parser) missing() {
	for _, kind := range []byte("vost") {
		if strings.IndexByte(p.seen, kind) < 0 {
			p.quirk("RFC 8866 5", "no %c= line", kind)
		}
	}
	if p.s.Conn.Host != "" {
		return
	}
	for i, m := range p.s.Media {
		if m.Conn.Host == "" && m.Port != 0 {
			p.quirk("RFC 8866 5.7", "no c= for media line %d", i+1)
		}
	}
}
