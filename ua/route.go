package ua

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

// hops is where requests to uri go: through the outbound proxies, in order, or straight there.
func (acc *account) hops(uri sip.Uri) []sip.Uri {
	var hops []sip.Uri
	for _, proxy := range acc.Outbound {
		if u, err := parseTarget(proxy); err == nil { // checked in New
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
	u := *hop.Clone()
	if !u.UriParams.Has("lr") {
		u.UriParams.Add("lr", "")
	}
	req.AppendHeader(&sip.RouteHeader{Address: u})
}

// queryFor turns the URI of a next hop into a question to the transport manager.
func queryFor(u sip.Uri) transport.Query {
	host := u.Host
	if maddr := param(u, "maddr"); maddr != "" {
		host = maddr
	}
	return transport.Query{Host: host, Port: uint16(u.Port), Proto: protoOf(u), Secure: u.IsEncrypted()} // parseURI keeps ports in range
}

// protoOf is the transport that a URI names, "" if none.
func protoOf(u sip.Uri) transport.Proto {
	return transport.Proto(strings.ToLower(param(u, "transport")))
}

// param returns a parameter of a URI; names are compared without regard to case (RFC 3261 section 7.3.1).
func param(u sip.Uri, name string) string {
	for _, p := range u.UriParams {
		if strings.EqualFold(p.K, name) {
			return p.V
		}
	}
	return ""
}
