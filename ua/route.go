package ua

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua/dialog"
)

// hops is where requests to uri go: through the outbound proxies, in order, or straight there. A sips: URI allows no hop in
// clear (RFC 3261 section 26.2.2).
func (acc *account) hops(uri sip.Uri) []sip.Uri {
	var hops []sip.Uri
	for _, proxy := range acc.Outbound {
		if u, err := parseTarget(proxy); err == nil { // checked in New
			if uri.IsEncrypted() {
				u.Scheme = uri.Scheme
			}
			hops = append(hops, u)
		}
	}
	if len(hops) == 0 {
		hops = append(hops, uri)
	}
	return hops
}

// route adds the proxy that a request goes through (RFC 3261 section 8.1.2).
func (acc *account) route(req *sip.Request, hop sip.Uri) {
	if len(acc.Outbound) == 0 {
		return
	}
	u := bare(hop)
	if !hasParam(u, "lr") {
		u.UriParams.Add("lr", "")
	}
	req.AppendHeader(&sip.RouteHeader{Address: u})
}

// nextHop is where requests of a dialog go. A link-local address that the peer has named means one on the link that the call
// goes over.
func (c *Call) nextHop(d *dialog.Dialog) sip.Uri {
	u := d.NextHop()
	addr, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
	if err != nil || !addr.Is6() || !addr.IsLinkLocalUnicast() || addr.Zone() != "" {
		return u
	}
	zone := c.flow.Local().Addr().Zone()
	if zone == "" {
		zone = c.flow.Interface()
	}
	u.Host = "[" + addr.WithZone(zone).String() + "]"
	return u
}

// bare returns a URI as it may stand in a message: a zone means nothing to anybody else (RFC 4007 section 6).
func bare(u sip.Uri) sip.Uri {
	u = *u.Clone()
	if addr, err := netip.ParseAddr(strings.Trim(u.Host, "[]")); err == nil && addr.Zone() != "" {
		u.Host = hostOf(addr)
	}
	return u
}

// identity returns a URI as it may stand in From and To, that is without what says how to get there (RFC 3261 table 1).
func identity(u sip.Uri) sip.Uri {
	u = bare(u)
	u.UriParams = slices.DeleteFunc(u.UriParams, func(p sip.HeaderKV) bool {
		return slices.Contains([]string{"transport", "maddr", "ttl", "lr"}, strings.ToLower(p.K))
	})
	return u
}

// queryFor turns the URI of a next hop, which may be of the peer's making, into a question to the transport manager.
func queryFor(u sip.Uri) (transport.Query, error) {
	switch {
	case u.Scheme != "sip" && u.Scheme != "sips":
		return transport.Query{}, fmt.Errorf("no request can be sent to a %s: URI", u.Scheme)
	case u.Port < 0 || u.Port > 65535:
		return transport.Query{}, fmt.Errorf("port %d is out of range", u.Port)
	}
	host := u.Host
	if maddr := param(u, "maddr"); maddr != "" {
		host = maddr
	}
	return transport.Query{Host: host, Port: uint16(u.Port), Proto: protoOf(u), Secure: u.IsEncrypted()}, nil
}

// protoOf is the transport that a URI names, "" if none.
func protoOf(u sip.Uri) transport.Proto {
	return transport.Proto(strings.ToLower(param(u, "transport")))
}

// param returns a parameter of a URI, "" if there is none. Names are compared without regard to case (RFC 3261 section
// 7.3.1).
func param(u sip.Uri, name string) string {
	if i := slices.IndexFunc(u.UriParams, named(name)); i >= 0 {
		return u.UriParams[i].V
	}
	return ""
}

func hasParam(u sip.Uri, name string) bool { return slices.ContainsFunc(u.UriParams, named(name)) }

func named(name string) func(sip.HeaderKV) bool {
	return func(p sip.HeaderKV) bool { return strings.EqualFold(p.K, name) }
}
