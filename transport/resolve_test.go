package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
)

// names is a DNS: "_sip._udp.example.com" has SRV records, written
// "priority weight port target", other names have addresses, separated by spaces.
type names map[string]string

func notFoundError(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (n names) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	full := fmt.Sprintf("_%s._%s.%s", service, proto, name)
	text, ok := n[full]
	if !ok {
		return "", nil, notFoundError(full)
	}
	if text == "broken" {
		return "", nil, &net.DNSError{Err: "server misbehaving", Name: full, IsTemporary: true}
	}
	var all []*net.SRV
	for line := range strings.SplitSeq(text, ",") {
		r := &net.SRV{}
		if _, err := fmt.Sscan(line, &r.Priority, &r.Weight, &r.Port, &r.Target); err != nil {
			return "", nil, err
		}
		all = append(all, r)
	}
	return full, all, nil
}

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	text, ok := n[host]
	if !ok {
		return nil, notFoundError(host)
	}
	var all []netip.Addr
	for s := range strings.FieldsSeq(text) {
		all = append(all, netip.MustParseAddr(s))
	}
	return all, nil
}

func TestResolve(t *testing.T) {
	dns := names{
		"both.example.com":           "2001:db8::9 192.0.2.9",
		"four.example.com":           "192.0.2.9",
		"six.example.com":            "2001:db8::9",
		"empty.example.com":          "",
		"_sip._udp.srv.example.com":  "10 0 5070 a.example.com.,20 0 5080 four.example.com.",
		"_sip._tcp.srv.example.com":  "10 0 5071 four.example.com.",
		"_sips._tcp.s.example.com":   "10 0 5061 four.example.com.",
		"a.example.com":              "192.0.2.10 192.0.2.11",
		"srv.example.com":            "192.0.2.99",
		"_sip._tcp.t.example.com":    "10 0 5072 four.example.com.",
		"_sip._udp.no.example.com":   "0 0 0 .",
		"no.example.com":             "192.0.2.98",
		"_sip._udp.bad.example.com":  "broken",
		"bad.example.com":            "192.0.2.97",
		"_sip._udp.gone.example.com": "10 0 5070 nowhere.example.com.",
		"_sip._udp.half.example.com": "10 0 5070 nowhere.example.com.,20 0 5080 four.example.com.",
	}
	inet6, inet := ifwatch.Policy{Family: ifwatch.Inet6}, ifwatch.Policy{Family: ifwatch.Inet}
	var any ifwatch.Policy
	for _, tt := range []struct {
		name   string
		policy ifwatch.Policy
		q      Query
		want   string // targets, or "error: " and its beginning
	}{
		{"an address", any, Query{Host: "192.0.2.9"}, "udp 192.0.2.9:5060"},
		{"an address with a port and a transport", any, Query{Host: "192.0.2.9", Port: 5070, Proto: TCP}, "tcp 192.0.2.9:5070"},
		{"an address in brackets", any, Query{Host: "[2001:db8::9]"}, "udp [2001:db8::9]:5060"},
		{"an address without brackets", any, Query{Host: "2001:db8::9", Proto: TLS}, "tls [2001:db8::9]:5061"},
		{"an address with a zone", any, Query{Host: "[fe80::9%eth0]"}, "udp [fe80::9%eth0]:5060"},
		{"an address, sips", any, Query{Host: "192.0.2.9", Secure: true}, "tls 192.0.2.9:5061"},
		{"sips over TCP is TLS", any, Query{Host: "192.0.2.9", Proto: TCP, Secure: true}, "tls 192.0.2.9:5061"},
		{"sips over UDP cannot be", any, Query{Host: "192.0.2.9", Proto: UDP, Secure: true}, "error: sips:192.0.2.9 cannot be sent over UDP"},
		{"an address of the family that is not used", inet6, Query{Host: "192.0.2.9"}, "error: no usable inet address for 192.0.2.9"},
		{"a link-local address on an unknown link", any, Query{Host: "fe80::9%wlan0"}, "error: no usable inet6 address for fe80::9%wlan0"},
		{"a name with both families, as the resolver orders them", any, Query{Host: "both.example.com"}, "udp [2001:db8::9]:5060, udp 192.0.2.9:5060"},
		{"a name, IPv4 only", inet, Query{Host: "both.example.com."}, "udp 192.0.2.9:5060"},
		{"a name of the wrong family", inet6, Query{Host: "four.example.com"}, "error: no usable inet address for four.example.com (no usable inet address for 192.0.2.9)"},
		{"a name with a port: no SRV", any, Query{Host: "srv.example.com", Port: 5060}, "udp 192.0.2.99:5060"},
		{"SRV", any, Query{Host: "srv.example.com"}, "udp 192.0.2.10:5070, udp 192.0.2.11:5070, udp 192.0.2.9:5080"},
		{"SRV, TCP", any, Query{Host: "srv.example.com", Proto: TCP}, "tcp 192.0.2.9:5071"},
		{"SRV, sips", any, Query{Host: "s.example.com", Secure: true}, "tls 192.0.2.9:5061"},
		{"SRV for TCP only", any, Query{Host: "t.example.com"}, "tcp 192.0.2.9:5072"},
		{"no SRV for WebSocket", any, Query{Host: "four.example.com", Proto: WSS}, "wss 192.0.2.9:443"},
		{"SRV says that there is none", any, Query{Host: "no.example.com"}, "error: no.example.com offers no SIP over udp"},
		{"SRV cannot be asked", any, Query{Host: "bad.example.com"}, "error: looking up _sip._udp.bad.example.com: "},
		{"SRV to a name without an address", any, Query{Host: "gone.example.com"}, "error: looking up nowhere.example.com.: "},
		{"SRV to one name without an address", any, Query{Host: "half.example.com"}, "udp 192.0.2.9:5080"},
		{"no such name", any, Query{Host: "nothing.example.com"}, "error: looking up nothing.example.com: "},
		{"a name without addresses", any, Query{Host: "empty.example.com"}, "error: empty.example.com has no address"},
		{"localhost", any, Query{Host: "LocalHost"}, "udp 127.0.0.1:5060, udp [::1]:5060"},
		{"a name under localhost", inet, Query{Host: "phone.localhost", Port: 5070}, "udp 127.0.0.1:5070"},
		{"nothing", any, Query{}, `error: "" is not a host name`},
		{"half a bracket", any, Query{Host: "[2001:db8::1"}, `error: "[2001:db8::1" is not an IPv6 address in brackets`},
		{"IPv4 in brackets", any, Query{Host: "[192.0.2.1]"}, `error: "[192.0.2.1]" is not an IPv6 address in brackets`},
		{"a URI", any, Query{Host: "sip:bob@example.com"}, `error: "sip:bob@example.com" is not a host name`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(c *Config) { c.Policy = tt.policy })
				defer w.end()
				w.m.resolver = dns
				w.set(append(usual(), ifwatchtest.Addr(1, "127.0.0.1/8"), ifwatchtest.Addr(1, "::1/128"), ifwatchtest.Addr(2, "fe80::1/64"))...)
				targets, err := w.m.Resolve(t.Context(), tt.q)
				if want, ok := strings.CutPrefix(tt.want, "error: "); ok {
					if err == nil || !strings.HasPrefix(err.Error(), want) {
						t.Errorf("got %v, error %v\nwant %s", targets, err, want)
					}
					if strings.HasPrefix(want, "no usable") != errors.Is(err, ErrNoAddress) {
						t.Errorf("kind of error: %v", err)
					}
					return
				}
				var got []string
				for _, target := range targets {
					got = append(got, fmt.Sprintf("%s %s", target.Proto, target.Addr))
					if target.Name == "" || target.Name != strings.Trim(tt.q.Host, "[].") {
						t.Errorf("name %q", target.Name)
					}
				}
				if s := strings.Join(got, ", "); s != tt.want || err != nil {
					t.Errorf("got %s, %v\nwant %s", s, err, tt.want)
				}
			})
		})
	}
}
