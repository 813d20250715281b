package wire

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

// vias writes each value of a Via header on a line of its own.
func (p *parser) vias(value []byte) {
	for first := true; first || len(value) > 0; first = false {
		start := len(p.out)
		top := p.msg.via.to == 0 && !p.badVia
		p.out = append(p.out, "Via: "...)
		v := viaParser{in: value, out: p.out}
		at := len(p.out)
		if v.parse() {
			p.out = v.out
			if top {
				p.topVia(&v, span{at, len(p.out)})
			}
			if value = value[v.i:]; v.comma && len(value) == 0 {
				p.fail(400, "Malformed Via")
			}
		} else {
			// One below the topmost is not for us to judge: it goes on as it came.
			if top {
				p.badVia = true
				p.fail(400, "Malformed Via")
			}
			n := valueEnd(value)
			p.out = append(append(p.out[:start], "Via: "...), trim(value[:n])...)
			value = trim(value[min(n+1, len(value)):])
		}
		p.out = append(p.out, "\r\n"...)
	}
}

// topVia keeps what Head says about the topmost Via.
func (p *parser) topVia(v *viaParser, at span) {
	p.msg.via = at
	p.at.host, p.at.branch, p.at.received, p.at.maddr = v.host, v.branch, v.received, v.maddr
	p.msg.Head.Via = Via{Proto: v.proto, Port: v.port, HasRPort: v.hasRPort, RPort: v.rport}
}

// valueEnd finds the comma that ends the first value of a list.
func valueEnd(b []byte) int {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch {
		case quoted && b[i] == '\\':
			i++
		case b[i] == '"':
			quoted = !quoted
		case b[i] == ',' && !quoted:
			return i
		}
	}
	return len(b)
}

// A viaParser reads one Via value (RFC 3261 section 25.1, via-parm) and writes
// it without the white space that the grammar allows nearly everywhere.
type viaParser struct {
	in  []byte
	i   int // how far it has been read; in the end behind the comma
	out []byte

	proto                         string
	host, branch, received, maddr span // in out, without brackets
	port, rport                   uint16
	hasRPort                      bool
	comma                         bool // another value must follow
}

func (v *viaParser) parse() bool {
	if !v.protocol() || !v.sentBy() {
		return false
	}
	for {
		v.space()
		switch {
		case v.i == len(v.in):
			return true
		case v.in[v.i] == ',':
			v.i++
			v.space()
			v.comma = true
			return true
		case v.in[v.i] != ';':
			return false
		}
		v.i++
		v.space()
		if !v.param() {
			return false
		}
	}
}

// protocol reads "SIP / 2.0 / UDP" and the white space behind it.
func (v *viaParser) protocol() bool {
	name, version := v.token(), v.afterSlash()
	proto := v.afterSlash()
	if !equalFold(name, "SIP") || !equalFold(version, "2.0") || len(proto) == 0 {
		return false
	}
	v.proto = protoName(proto)
	v.put("SIP/2.0/")
	v.put(string(proto))
	v.put(" ")
	at := v.i
	v.space()
	return v.i > at
}

// protoName returns b in upper case, without an allocation for those in use.
func protoName(b []byte) string {
	for _, s := range [...]string{"UDP", "TCP", "TLS", "WS", "WSS", "SCTP"} {
		if equalFold(b, s) {
			return s
		}
	}
	return strings.ToUpper(string(b))
}

func (v *viaParser) afterSlash() []byte {
	v.space()
	if v.i == len(v.in) || v.in[v.i] != '/' {
		return nil
	}
	v.i++
	v.space()
	return v.token()
}

// sentBy reads host and port (RFC 3261 section 20.42; RFC 5118 for IPv6).
func (v *viaParser) sentBy() bool {
	if !v.hostPart() {
		return false
	}
	at := v.i
	v.space()
	if v.i == len(v.in) || v.in[v.i] != ':' {
		v.i = at
		return true
	}
	v.i++
	v.space()
	digits := v.run(func(c byte) bool { return '0' <= c && c <= '9' })
	n, ok := number(digits, 65535)
	v.port = uint16(n)
	v.put(":")
	v.put(string(digits))
	return ok && n > 0
}

func (v *viaParser) hostPart() bool {
	if v.i < len(v.in) && v.in[v.i] == '[' {
		n := bytes.IndexByte(v.in[v.i:], ']')
		if n < 0 {
			return false
		}
		inner := v.in[v.i+1 : v.i+n]
		v.put("[")
		v.host = v.putSpan(inner)
		v.put("]")
		v.i += n + 1
		a, err := netip.ParseAddr(string(inner))
		return err == nil && a.Is6() && plainZone(a.Zone())
	}
	host := v.run(isHost)
	v.host = v.putSpan(host)
	return len(host) > 0
}

// isHost reports whether c may stand in a host name; the underscore is not in
// the grammar, but in real names.
func isHost(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= lower(c) && lower(c) <= 'z' || c == '-' || c == '.' || c == '_'
}

// plainZone refuses a zone, which does not belong there but does occur, when it
// has more in it than interface names have.
func plainZone(zone string) bool {
	for i := range len(zone) {
		if !isHost(zone[i]) {
			return false
		}
	}
	return true
}

// param reads one parameter; none at all, as in ";;", is let pass.
func (v *viaParser) param() bool {
	name := v.token()
	if len(name) == 0 {
		return v.i == len(v.in) || v.in[v.i] == ';' || v.in[v.i] == ','
	}
	v.put(";")
	v.put(string(name))
	var value span
	at := v.i
	v.space()
	if v.i == len(v.in) || v.in[v.i] != '=' {
		v.i = at
	} else {
		v.i++
		v.space()
		b, ok := v.value()
		if !ok {
			return false
		}
		v.put("=")
		value = v.putSpan(b)
	}
	v.keep(name, value)
	return true
}

// keep notes the parameters that matter. Of one that comes twice the first
// counts.
func (v *viaParser) keep(name []byte, value span) {
	set := func(s *span) {
		if s.to == 0 {
			*s = v.unbracket(value)
		}
	}
	switch {
	case equalFold(name, "branch"):
		set(&v.branch)
	case equalFold(name, "received"):
		set(&v.received)
	case equalFold(name, "maddr"):
		set(&v.maddr)
	case equalFold(name, "rport") && !v.hasRPort:
		v.hasRPort = true
		n, _ := number(v.out[value.from:value.to], 65535)
		v.rport = uint16(n)
	}
}

// unbracket leaves the brackets of an IPv6 address out of s.
func (v *viaParser) unbracket(s span) span {
	b := v.out[s.from:s.to]
	if len(b) >= 2 && b[0] == '[' && b[len(b)-1] == ']' {
		return span{s.from + 1, s.to - 1}
	}
	return s
}

// value reads a parameter's value: a quoted string, or anything visible up to
// what ends a parameter. That is more than the grammar has, because branches
// are made by all kinds of people and only ever compared.
func (v *viaParser) value() ([]byte, bool) {
	if v.i < len(v.in) && v.in[v.i] == '"' {
		return v.quoted()
	}
	b := v.run(func(c byte) bool { return c > ' ' && c != 0x7f && c != ';' && c != ',' && c != '"' })
	return b, len(b) > 0
}

func (v *viaParser) quoted() ([]byte, bool) {
	for i := v.i + 1; i < len(v.in); i++ {
		switch v.in[i] {
		case '\\':
			i++
		case '"':
			b := v.in[v.i : i+1]
			v.i = i + 1
			return b, true
		}
	}
	return nil, false
}

func (v *viaParser) token() []byte { return v.run(isToken) }

func (v *viaParser) run(in func(byte) bool) []byte {
	from := v.i
	for v.i < len(v.in) && in(v.in[v.i]) {
		v.i++
	}
	return v.in[from:v.i]
}

func (v *viaParser) space() {
	for v.i < len(v.in) && isSpace(v.in[v.i]) {
		v.i++
	}
}

func (v *viaParser) put(s string) { v.out = append(v.out, s...) }

func (v *viaParser) putSpan(b []byte) span {
	from := len(v.out)
	v.out = append(v.out, b...)
	return span{from, len(v.out)}
}

// TopVia reads the topmost Via of a message that is about to be sent; ok is
// false if there is none that can be read.
func TopVia(raw []byte) (via Via, ok bool) {
	p := parser{out: make([]byte, 0, 512)}
	p.out = append(p.out, '\n') // offset 0 means absent
	_, rest := p.line(raw)
	for len(rest) > 0 {
		var line []byte
		if line, rest = p.line(rest); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if h, _ := lookup(trim(name)); h == hVia {
			p.vias(trim(value))
			p.strings()
			return p.msg.Head.Via, p.msg.via.to > 0
		}
	}
	return Via{}, false
}

// SetReceived writes into the topmost Via of a request where it came from: the
// received parameter if that is not what the Via says or the sender asked with
// rport, and then the port too (RFC 3261 section 18.2.1, RFC 3581 section 4).
// What the sender itself claimed there is removed: it would misdirect the
// response. The address is written without zone and, as RFC 3261 section 25.1
// has it, without brackets.
func (m *Message) SetReceived(src netip.AddrPort) {
	via := &m.Head.Via
	ip := src.Addr().Unmap().WithZone("")
	said, err := netip.ParseAddr(via.Host)
	differs := err != nil || said.Unmap() != ip
	if !via.HasRPort && !differs && via.Received == "" {
		return
	}
	var buf [256]byte
	b := withoutReceived(buf[:0], m.Raw[m.via.from:m.via.to])
	via.Received, via.RPort = "", 0
	if differs || via.HasRPort {
		b = ip.AppendTo(append(b, ";received="...))
		via.Received = string(b[len(b)-addrLen(b):])
	}
	if via.HasRPort {
		via.RPort = src.Port()
		b = strconv.AppendUint(append(b, ";rport="...), uint64(src.Port()), 10)
	}
	m.replaceVia(b)
}

// addrLen is the length of the address that b ends with, behind its "=".
func addrLen(b []byte) int { return len(b) - 1 - bytes.LastIndexByte(b, '=') }

// withoutReceived appends the normalised Via value to b, but for its received
// and rport parameters.
func withoutReceived(b, via []byte) []byte {
	for first := true; len(via) > 0; first = false {
		n := paramEnd(via)
		part := via[:n]
		via = via[n:]
		name, _, _ := bytes.Cut(part[1:], []byte("="))
		if !first && (equalFold(name, "received") || equalFold(name, "rport")) {
			continue
		}
		b = append(b, part...)
	}
	return b
}

// paramEnd finds the semicolon that begins the next parameter.
func paramEnd(b []byte) int {
	quoted := false
	for i := 1; i < len(b); i++ {
		switch {
		case quoted && b[i] == '\\':
			i++
		case b[i] == '"':
			quoted = !quoted
		case b[i] == ';' && !quoted:
			return i
		}
	}
	return len(b)
}

// replaceVia puts b in the place of the topmost Via, in place if Raw has room.
func (m *Message) replaceVia(b []byte) {
	old, at := len(m.Raw), m.via.to
	grow := len(b) - (m.via.to - m.via.from)
	if grow > 0 {
		m.Raw = append(m.Raw, make([]byte, grow)...)
	}
	copy(m.Raw[at+grow:], m.Raw[at:old])
	m.Raw = m.Raw[:old+grow]
	copy(m.Raw[m.via.from:], b)
	m.via.to += grow
	m.body += grow
}
