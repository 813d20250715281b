package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/transport"
)

// sip reads the sip section.
func (c *checker) sip() {
	c.cfg.SIPDSCP = c.keys.SIP.DSCP
	list := c.keys.SIP.Listen
	if len(list.Value) == 0 {
		// Most likely forgotten, and a phone that listens nowhere cannot be called.
		c.bad(list.Pos, "sip.listen", `the list is empty; leave the key out for ["udp:5060", "tcp:5060"]`)
	}
	first := map[transport.Listen]string{}
	for _, item := range list.Value {
		l, err := transport.ParseListen(item.Value)
		switch {
		case item.Value == "" && !item.Set: // reported by its type
		case err != nil:
			c.bad(item.Pos, "sip.listen", "%s", strings.TrimPrefix(err.Error(), "listen "))
		case l.Proto != transport.UDP && l.Proto != transport.TCP:
			c.bad(item.Pos, "sip.listen", "%s is not yet supported: expected udp or tcp", l.Proto)
		case first[l] != "":
			c.bad(item.Pos, "sip.listen", "%s is here twice, first at %s", item.Value, first[l])
		default:
			first[l] = fmt.Sprintf("line %d", item.Pos.Line)
			c.cfg.Listen = append(c.cfg.Listen, l)
			if why := c.excluded(l.Addr); why != "" {
				c.bad(item.Pos, "sip.listen", "%s can never be listened on: %s", l.Addr, why)
			}
		}
	}
}

// excluded says which other key forbids an address that sip.listen names.
func (c *checker) excluded(a netip.Addr) string {
	p := c.cfg.Policy
	switch {
	case !a.IsValid():
		return ""
	case p.Family == ifwatch.Inet && !a.Is4(), p.Family == ifwatch.Inet6 && a.Is4():
		return "net_af is " + p.Family.String()
	case p.Loopback == ifwatch.LoopbackRefuse && a.IsLoopback():
		return "net.loopback is refuse"
	case p.LinkLocal == ifwatch.LinkLocalRefuse && a.IsLinkLocalUnicast():
		return "net.link_local is refuse"
	}
	return ""
}

// rtp reads the rtp section.
func (c *checker) rtp() {
	const key = "rtp.ports"
	c.cfg.RTPDSCP = c.keys.RTP.DSCP
	text := c.keys.RTP.Ports
	low, high, err := parsePorts(text.Value)
	if err != nil {
		c.bad(text.Pos, key, "%v", err)
		return
	}
	c.cfg.RTPMin, c.cfg.RTPMax = low, high
	for _, l := range c.cfg.Listen {
		if l.Proto == transport.UDP && l.Port >= low && l.Port <= high {
			c.bad(text.Pos, key, "%s contains port %d of sip.listen's %s", text.Value, l.Port, l)
		}
	}
}

// parsePorts reads LOW-HIGH.
func parsePorts(s string) (low, high uint16, err error) {
	from, to, ok := strings.Cut(strings.ReplaceAll(s, " ", ""), "-")
	a, errLow := strconv.ParseUint(from, 10, 16)
	b, errHigh := strconv.ParseUint(to, 10, 16)
	switch {
	case !ok || errLow != nil || errHigh != nil || a == 0:
		return 0, 0, fmt.Errorf("expected LOW-HIGH with ports from 1 to 65535, such as 10000-20000, found %q", s)
	case a > b:
		return 0, 0, fmt.Errorf("%d-%d goes downwards; expected %d-%d", a, b, b, a)
	case a+a%2+1 > b:
		// RTP takes an even port and RTCP the odd one after it (RFC 3550 section 11).
		return 0, 0, fmt.Errorf("%d-%d has no even port followed by an odd one: a call needs both", a, b)
	}
	return uint16(a), uint16(b), nil
}
