package sdp

import (
	"fmt"
	"strings"
)

// Marshal writes the description in the order of RFC 8866 section 5, with CRLF. Required lines that are not there are
// written with the values of RFC 3264 section 5: "s=-" and "t=0 0".
func (s *Session) Marshal() []byte {
	var b strings.Builder
	user := s.Origin.User
	if user == "" {
		user = "-"
	}
	name := s.Name
	if name == "" {
		name = "-"
	}
	fmt.Fprintf(&b, "v=0\r\no=%s %d %d %s\r\ns=%s\r\n", user, s.Origin.ID, s.Origin.Version, s.Origin.Conn.orZero(), name)
	writeOther(&b, s.Other, "iuep")
	if s.Conn.Host != "" {
		fmt.Fprintf(&b, "c=%s\r\n", s.Conn)
	}
	writeOther(&b, s.Other, "b")
	if !writeOther(&b, s.Other, "tr") {
		b.WriteString("t=0 0\r\n")
	}
	writeOther(&b, s.Other, "zk")
	writeUnknown(&b, s.Other, sessionOrder)
	writeAttributes(&b, s.Attributes)
	for i := range s.Media {
		s.Media[i].marshal(&b)
	}
	return []byte(b.String())
}

func (m *Media) marshal(b *strings.Builder) {
	fmt.Fprintf(b, "m=%s %d", m.Type, m.Port)
	if m.Ports > 1 {
		fmt.Fprintf(b, "/%d", m.Ports)
	}
	fmt.Fprintf(b, " %s", m.Proto)
	for _, f := range m.Formats {
		b.WriteString(" " + f)
	}
	b.WriteString("\r\n")
	writeOther(b, m.Other, "i")
	if m.Conn.Host != "" {
		fmt.Fprintf(b, "c=%s\r\n", m.Conn)
	}
	writeOther(b, m.Other, "b")
	writeOther(b, m.Other, "k")
	writeUnknown(b, m.Other, mediaOrder)
	writeAttributes(b, m.Attributes)
}

// orZero is c, or the unspecified address where the grammar wants one.
func (c Conn) orZero() Conn {
	if c.Host == "" {
		c.Host = "0.0.0.0"
		if c.IP6 {
			c.Host = "::"
		}
	}
	return c
}

// writeOther writes those lines whose type is one of kinds, in the order in which they came, and reports whether a
// line of the first kind was among them.
func writeOther(b *strings.Builder, lines []string, kinds string) (first bool) {
	for _, l := range lines {
		if strings.IndexByte(kinds, l[0]) >= 0 {
			b.WriteString(l + "\r\n")
			first = first || l[0] == kinds[0]
		}
	}
	return first
}

// writeUnknown writes the lines whose type is none of known.
func writeUnknown(b *strings.Builder, lines []string, known string) {
	for _, l := range lines {
		if strings.IndexByte(known, l[0]) < 0 {
			b.WriteString(l + "\r\n")
		}
	}
}

func writeAttributes(b *strings.Builder, list []Attribute) {
	for _, a := range list {
		fmt.Fprintf(b, "a=%s\r\n", a)
	}
}
