package ua

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/internal/memnet"
)

// peerSDP6 is peerSDP on an IPv6 address.
func peerSDP6(addr string) string {
	return strings.ReplaceAll(peerSDP(), "IN IP4 "+peerAddr, "IN IP6 "+addr)
}

// TestIPv6 holds calls both ways over addresses that stand in brackets, and with a zone that no message may show.
func TestIPv6(t *testing.T) {
	for _, tc := range []struct{ name, phone, peer, dialed, inURI string }{
		{"global addresses", "2001:db8::10", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]"},
		{"link-local addresses", "fe80::10%2", "fe80::1%2", "[fe80::1%eth0]", "[fe80::1]"},
	} {
		t.Run("to "+tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { testDialIPv6(t, tc.phone, tc.peer, tc.dialed, tc.inURI) })
		})
		t.Run("from "+tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { testAnswerIPv6(t, tc.phone, tc.peer, tc.inURI) })
		})
	}
}

// noZone checks that a message has no zone anywhere.
func noZone(t *testing.T, m sip.Message) {
	t.Helper()
	if strings.Contains(m.String(), "%") {
		t.Errorf("there is a zone in\n%s", m)
	}
}

func startIPv6(t *testing.T, ours, theirs, outbound string) (*peer, *phone) {
	t.Helper()
	n := memnet.New()
	r := startPeer(t, n, theirs)
	p := startPhone(t, n, ours, func(c *Config) {
		c.Accounts = []Account{{AOR: "sip:alice@example.com", Answer: AnswerAuto}}
		if outbound != "" {
			c.Accounts[0].Outbound = []string{outbound}
		}
	})
	return r, p
}

func testDialIPv6(t *testing.T, phone, peer, dialed, inURI string) {
	r, p := startIPv6(t, phone, peer, "")
	defer p.stop()
	bareAddr := netip.MustParseAddr(peer).WithZone("").String()
	c, err := p.Dial(t.Context(), "", "sip:bob@"+dialed, CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	inv, m := r.request(sip.INVITE)
	noZone(t, inv)
	ours := "[" + netip.MustParseAddr(phone).WithZone("").String() + "]"
	if got, want := inv.Recipient.String(), "sip:bob@"+inURI; got != want {
		t.Errorf("Request-URI %s, want %s", got, want)
	}
	if got, want := header(inv, "Contact"), "<sip:alice@"+ours+":5060>"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	if !strings.Contains(header(inv, "Via"), ours+":5060") {
		t.Errorf("Via %s", header(inv, "Via"))
	}
	r.reply(inv, m.from, 200, "b1", peerSDP6(bareAddr), "Contact: <sip:bob@"+inURI+":5060>")
	ack, _ := r.request(sip.ACK)
	noZone(t, ack)
	synctest.Wait()
	c.Hangup()
	bye, m := r.request(sip.BYE)
	noZone(t, bye)
	r.reply(bye, m.from, 200, "", "")
}

func testAnswerIPv6(t *testing.T, phone, peer, inURI string) {
	r, p := startIPv6(t, phone, peer, "")
	defer p.stop()
	at := netip.AddrPortFrom(netip.MustParseAddr(phone), 5060)
	ours := "[" + at.Addr().WithZone("").String() + "]"
	r.send(r.build("INVITE", "sip:alice@"+ours, "c1", 1, peerSDP6(netip.MustParseAddr(peer).WithZone("").String()), "Contact: <sip:bob@"+inURI+":5060>"), at)
	ok := r.response(200)
	noZone(t, ok)
	if got, want := header(ok, "Contact"), "<sip:alice@"+ours+":5060>"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	r.send(r.build("ACK", "sip:alice@"+ours, "c1", 1, "", "To: "+ok.To().Value()), at)
	synctest.Wait()
	p.event(t, CallAnswered).Call.Hangup() // the peer's Contact has no zone: it is the link of the call
	bye, m := r.request(sip.BYE)
	noZone(t, bye)
	if got, want := bye.Recipient.String(), "sip:bob@"+inURI+":5060"; got != want {
		t.Errorf("Request-URI %s, want %s", got, want)
	}
	r.reply(bye, m.from, 200, "", "")
}

func TestLinkLocalProxy(t *testing.T) { bubble(t, testLinkLocalProxy) }

func testLinkLocalProxy(t *testing.T) {
	r, p := startIPv6(t, "fe80::10%2", "fe80::1%2", "[fe80::1%eth0]")
	defer p.stop()
	if _, err := p.Dial(t.Context(), "", "bob", CallOptions{}); err != nil {
		t.Fatal(err)
	}
	inv, _ := r.request(sip.INVITE)
	noZone(t, inv)
	if inv.Recipient.String() != "sip:bob@example.com" || header(inv, "Route") != "<sip:[fe80::1];lr>" {
		t.Errorf("Request-URI %s, Route %s", inv.Recipient.String(), header(inv, "Route"))
	}
}

func TestDialedURI(t *testing.T) {
	for _, tc := range []struct{ name, aor, uri, request, to string }{
		{"a user in our domain", "sip:alice@192.0.2.1", "bob", "sip:bob@192.0.2.1", "<sip:bob@192.0.2.1>"},
		{"a number in our domain", "sip:alice@192.0.2.1", "+4930123", "sip:+4930123@192.0.2.1", "<sip:+4930123@192.0.2.1>"},
		{"a domain with a port", "sip:alice@192.0.2.1:5060", "bob", "sip:bob@192.0.2.1:5060", "<sip:bob@192.0.2.1:5060>"},
		{"without a scheme", "sip:alice@example.com", "bob@192.0.2.1:5060", "sip:bob@192.0.2.1:5060", "<sip:bob@192.0.2.1:5060>"},
		{"without a user", "sip:alice@example.com", "sip:192.0.2.1", "sip:192.0.2.1", "<sip:192.0.2.1>"},
		{"transport is no part of who", "sip:alice@example.com", "sip:bob@192.0.2.1;Transport=UDP;user=phone", "sip:bob@192.0.2.1;Transport=UDP;user=phone", "<sip:bob@192.0.2.1;user=phone>"},
		{"headers and method stay here", "sip:alice@example.com", "sip:bob@192.0.2.1;method=BYE?Route=x", "sip:bob@192.0.2.1", "<sip:bob@192.0.2.1>"},
		{"another host to send it to", "sip:alice@example.com", "sip:bob@example.org;maddr=192.0.2.1", "sip:bob@example.org;maddr=192.0.2.1", "<sip:bob@example.org>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := memnet.New()
				r := startPeer(t, n, peerAddr)
				p := startPhone(t, n, phoneAddr, func(c *Config) { c.Accounts = []Account{{AOR: tc.aor}} })
				defer p.stop()
				if _, err := p.Dial(t.Context(), "", tc.uri, CallOptions{}); err != nil {
					t.Fatal(err)
				}
				inv, m := r.request(sip.INVITE)
				if got := inv.Recipient.String(); got != tc.request {
					t.Errorf("Request-URI %s, want %s", got, tc.request)
				}
				if got := inv.To().Value(); got != tc.to {
					t.Errorf("To %s, want %s", got, tc.to)
				}
				r.reply(inv, m.from, 486, "b1", "")
				r.request(sip.ACK)
			})
		})
	}
}

func TestNothingGoesInClearForSIPS(t *testing.T) {
	for name, acc := range map[string]Account{
		"straight":               {},
		"through a proxy":        {Outbound: []string{peerAddr}},
		"through a proxy on UDP": {Outbound: []string{peerAddr + ";transport=udp"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := setUp(t, acc)
				defer p.stop()
				c, err := p.Dial(t.Context(), "", "sips:bob@"+peerAddr, CallOptions{})
				if err != nil {
					t.Fatal(err)
				}
				r.quiet(time.Minute)
				if c.State() != Ended || c.Err() == nil {
					t.Errorf("state %s, err %v", c.State(), c.Err())
				}
			})
		})
	}
}

func TestQueryFor(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:h":                        "h 0  false",
		"sip:h:5070;Transport=TCP":     "h 5070 tcp false",
		"sips:h":                       "h 0  true",
		"sip:h;maddr=192.0.2.9":        "192.0.2.9 0  false",
		"sip:h:65535":                  "h 65535  false",
		"sip:h:65536":                  "port 65536 is out of range",
		"mailto:a@h":                   "no request can be sent to a mailto: URI",
		"sip:[2001:db8::1]:5070;TTL=5": "[2001:db8::1] 5070  false",
	} {
		var u sip.Uri
		if err := sip.ParseUri(uri, &u); err != nil {
			t.Fatal(err)
		}
		q, err := queryFor(u)
		got := strings.Join([]string{q.Host, strconv.Itoa(int(q.Port)), string(q.Proto), strconv.FormatBool(q.Secure)}, " ")
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
}
