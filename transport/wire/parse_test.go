package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// crlf turns a readable literal into wire form: lines end with CRLF.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const tail = "From: <sip:a@example.com>;tag=1\nTo: <sip:b@example.com>\nCall-ID: c1@h\nCSeq: 1 OPTIONS\n"

// options is an OPTIONS with the header lines given, at the end of which the
// head ends.
func options(headers string) string {
	return crlf("OPTIONS sip:b@example.com SIP/2.0\n" + headers + "\n")
}

func TestParseNormalises(t *testing.T) {
	const via = "Via: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx;rport\n"
	for _, tt := range []struct{ name, in, want string }{
		{
			"nothing to do",
			options(via + tail + "Content-Length: 0\n"),
			options(via + tail + "Content-Length: 0\n"),
		},
		{
			"no Content-Length in a datagram",
			options(via+tail) + "body",
			options(via+tail+"Content-Length: 4\n") + "body",
		},
		{
			"more than Content-Length says",
			options(via+tail+"Content-Length: 2\n") + "body",
			options(via+tail+"Content-Length: 2\n") + "bo",
		},
		{
			"all compact names",
			options("v: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx;rport\nf: <sip:a@example.com>;tag=1\nt: <sip:b@example.com>\ni: c1@h\n" +
				"CSeq: 1 OPTIONS\na: 1\nb: 2\nc: 3\nd: 4\ne: 5\nj: 6\nk: 7\nm: 8\nn: 9\no: 10\nr: 11\ns: 12\nu: 13\nx: 14\ny: 15\nl: 0\n"),
			options(via + tail + "Accept-Contact: 1\nReferred-By: 2\nContent-Type: 3\nRequest-Disposition: 4\nContent-Encoding: 5\n" +
				"Reject-Contact: 6\nSupported: 7\nContact: 8\nIdentity-Info: 9\nEvent: 10\nRefer-To: 11\nSubject: 12\n" +
				"Allow-Events: 13\nSession-Expires: 14\nIdentity: 15\nContent-Length: 0\n"),
		},
		{
			"folded, with space and tab, even within a name's colon",
			options("Via: SIP/2.0/UDP 192.0.2.9:5070\n  ;branch=z9hG4bKx\n\t;rport\nFrom:\n <sip:a@example.com>\n ;tag=1\nTo : <sip:b@example.com>\n" +
				"CALL-ID\t:c1@h\ncseq: 1\n\tOPTIONS\nX-Mine: a  b \n \n c\nL : 0\n"),
			options(via + "From: <sip:a@example.com> ;tag=1\nTo: <sip:b@example.com>\nCall-ID: c1@h\nCSeq: 1 OPTIONS\nX-Mine: a  b  c\nContent-Length: 0\n"),
		},
		{
			"white space everywhere in Via",
			options("Via: SIP / 2.0\t/ udp   192.0.2.9 : 5070 ; branch = z9hG4bKx ; rport\n" + tail),
			options("Via: SIP/2.0/udp 192.0.2.9:5070;branch=z9hG4bKx;rport\n" + tail + "Content-Length: 0\n"),
		},
		{
			"several Vias in one line, one with a comma in quotes, one beyond help",
			options("Via: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx;rport, SIP / 2.0 / TCP p.example.com;x=\"a,\\\"b\" , nonsense, SIP/2.0/WS w.example.com\n" + tail),
			options(via + "Via: SIP/2.0/TCP p.example.com;x=\"a,\\\"b\"\nVia: nonsense\nVia: SIP/2.0/WS w.example.com\n" + tail + "Content-Length: 0\n"),
		},
		{
			"line ends are bare LF, and stand before it too",
			"\r\n\n" + strings.ReplaceAll(options(via+tail), "\r\n", "\n"),
			options(via + tail + "Content-Length: 0\n"),
		},
		{
			"lower-case version, space at the end of the start line",
			strings.Replace(options(via+tail), "SIP/2.0", "sip/2.0 ", 1),
			options(via + tail + "Content-Length: 0\n"),
		},
		{
			"response without a reason phrase",
			strings.Replace(options(via+tail), "OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 200", 1),
			strings.Replace(options(via+tail+"Content-Length: 0\n"), "OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 200 ", 1),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Parse([]byte(tt.in), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(m.Raw); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if !strings.HasSuffix(tt.want, string(m.Body())) || strings.HasPrefix(string(m.Body()), "\r") {
				t.Errorf("body %q", m.Body())
			}
		})
	}
}

func TestParseHead(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Head
	}{
		{
			"request over IPv6",
			options("Via: SIP/2.0/TLS [2001:db8::9]:5071;Branch=z9hG4bK-1;MADDR=[ff02::1];rport\n" + tail),
			Head{
				Request: true, Method: "OPTIONS", URI: "sip:b@example.com", CallID: "c1@h", CSeq: 1, CSeqMethod: "OPTIONS",
				Via: Via{Proto: "TLS", Host: "2001:db8::9", Port: 5071, Branch: "z9hG4bK-1", HasRPort: true, MAddr: "ff02::1"},
			},
		},
		{
			"response with received and rport",
			crlf("SIP/2.0 486 Busy Here\nv: SIP/2.0/UDP host.example.com;received=[2001:db8::1];rport=1024;branch=1\n" + tail + "\n"),
			Head{
				Status: 486, Reason: "Busy Here", Method: "OPTIONS", CallID: "c1@h", CSeq: 1, CSeqMethod: "OPTIONS",
				Via: Via{Proto: "UDP", Host: "host.example.com", Branch: "1", HasRPort: true, RPort: 1024, Received: "2001:db8::1"},
			},
		},
		{
			"a method and a transport nobody has heard of, the highest CSeq",
			crlf("FROB tel:+1 SIP/2.0\nVia: SIP/2.0/dccp h\nFrom: a\nTo: b\nCall-ID: c\nCSeq: 2147483647 FROB\n\n"),
			Head{
				Request: true, Method: "FROB", URI: "tel:+1", CallID: "c", CSeq: 1<<31 - 1, CSeqMethod: "FROB",
				Via: Via{Proto: "DCCP", Host: "h"},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Parse([]byte(tt.in), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if m.Head != tt.want {
				t.Errorf("got  %+v\nwant %+v", m.Head, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const via = "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\n"
	for _, tt := range []struct {
		name, in string
		status   int // 0: cannot be answered
		reason   string
	}{
		{"nothing", "", 0, "Not a SIP message"},
		{"a line end only", "\r\n\r\n", 0, "Not a SIP message"},
		{"noise", "\x00\x01\x00\x00!\x12\xa4B", 0, "Not a SIP message"},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, "Not a SIP message"},
		{"status code of two digits", crlf("SIP/2.0 99 Hm\n" + via + tail + "\n"), 0, "Not a SIP message"},
		{"status code beyond 699", crlf("SIP/2.0 700 Hm\n" + via + tail + "\n"), 0, "Not a SIP message"},
		{"response of another version", crlf("SIP/3.0 200 OK\n" + via + tail + "\n"), 0, "Unknown SIP version"},
		{"request of another version", strings.Replace(options(via+tail), "SIP/2.0", "SIP/7.0", 1), 505, "Version Not Supported"},
		{"Request-URI in angle brackets", strings.Replace(options(via+tail), "sip:b@example.com", "<sip:b@example.com>", 1), 400, "Malformed Request-URI"},
		{"spaces around the Request-URI", strings.Replace(options(via+tail), "sip:b@example.com", " sip:b@example.com ", 1), 400, "Malformed Request-URI"},
		{"no Via", options(tail), 0, "No Via"},
		{"a Via that cannot be read", options("Via: SIP/2.0/UDP \n" + tail), 0, "Malformed Via"},
		{"a Via with a port too high", options("Via: SIP/2.0/UDP h:65536\n" + tail), 0, "Malformed Via"},
		{"a Via with IPv6 outside brackets", options("Via: SIP/2.0/UDP 2001:db8::1\n" + tail), 0, "Malformed Via"},
		{"a Via with IPv4 inside brackets", options("Via: SIP/2.0/UDP [192.0.2.1]\n" + tail), 0, "Malformed Via"},
		{"a Via with half a quoted string", options("Via: SIP/2.0/UDP h;x=\"a\n" + tail), 0, "Malformed Via"},
		{"a Via that ends in a comma", options("Via: SIP/2.0/UDP 192.0.2.9;x=a, \n" + tail), 400, "Malformed Via"},
		{"a Via of SIP 3", options("Via: SIP/3.0/UDP h\n" + tail), 0, "Malformed Via"},
		{"no From", options(via + strings.Replace(tail, "From", "Form", 1)), 0, "No From"},
		{"no To", options(via + strings.Replace(tail, "To", "Ot", 1)), 0, "No To"},
		{"no CSeq", options(via + strings.Replace(tail, "CSeq", "Xseq", 1)), 0, "No CSeq"},
		{"no Call-ID", options(via + strings.Replace(tail, "Call-ID", "Cell", 1)), 0, "No Call-ID"},
		{"empty From", options(via + strings.Replace(tail, "From: <sip:a@example.com>;tag=1", "From:", 1)), 400, "Empty From"},
		{"Call-ID of two words", options(via + strings.Replace(tail, "c1@h", "c1 h", 1)), 400, "Malformed Call-ID"},
		{"CSeq of 2**31", options(via + strings.Replace(tail, "1 OPT", "2147483648 OPT", 1)), 400, "Malformed CSeq"},
		{"CSeq without a method", options(via + strings.Replace(tail, "1 OPTIONS", "1", 1)), 400, "Malformed CSeq"},
		{"CSeq of another method", options(via + strings.Replace(tail, "1 OPTIONS", "1 INVITE", 1)), 400, "CSeq method is not the request's"},
		{"Max-Forwards of 256", options(via + tail + "Max-Forwards: 256\n"), 400, "Malformed Max-Forwards"},
		{"Max-Forwards negative", options(via + tail + "Max-Forwards: -1\n"), 400, "Malformed Max-Forwards"},
		{"Content-Length negative", options(via + tail + "Content-Length: -5\n"), 400, "Malformed Content-Length"},
		{"Content-Length immense", options(via + tail + "Content-Length: 99999999999999999999\n"), 400, "Malformed Content-Length"},
		{"Content-Length beyond the body", options(via+tail+"Content-Length: 5\n") + "four", 400, "Body is shorter than Content-Length"},
		{"two equal Content-Lengths", options(via + tail + "Content-Length: 0\nl: 0\n"), 400, "More than one Content-Length"},
		{"two Froms, one compact", options(via + tail + "f: <sip:c@example.com>\n"), 400, "More than one From"},
		{"two Call-IDs", options(via + tail + "Call-ID: other\n"), 400, "More than one Call-ID"},
		{"two Refer-Tos, both compact", options(via + tail + "r: <sip:a>\nr: <sip:b>\n"), 400, "More than one Refer-To"},
		{"a header line without colon", options(via + tail + "Subject\n"), 400, "Malformed header line"},
		{"a header name with a space in it", options(via + tail + "My Subject: x\n"), 400, "Malformed header line"},
		{"a bare CR in a value", options(via + tail + "Subject: a\rb\n"), 400, "CR or NUL in a header line"},
		{"a NUL in a value", options(via + tail + "Subject: a\x00b\n"), 400, "CR or NUL in a header line"},
		{"no empty line", strings.TrimSuffix(options(via+tail), "\r\n"), 400, "No empty line after the headers"},
		{"cut off in the first line", "OPTIONS sip:b@example.com SIP/2.0", 0, "No empty line after the headers"},
		{"too many headers", options(via + tail + strings.Repeat("X-Mine: y\n", 300)), 513, "Too many header lines"},
		{"too big a head", options(via + tail + "X: " + strings.Repeat("y", 40000) + "\n"), 513, "Head too large"},
		{"too big a body", options(via+tail) + strings.Repeat("y", 70000), 513, "Message Too Large"},
		{"an ACK is never answered", strings.ReplaceAll(options(via+tail+"l: 1\n"), "OPTIONS", "ACK"), 0, "Body is shorter than Content-Length"},
		{"a response is never answered", crlf("SIP/2.0 200 OK\n" + via + tail + "l: 1\n\n"), 0, "Body is shorter than Content-Length"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.in), Limits{})
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got error %v, want an *Error", err)
			}
			if e.Status != tt.status || e.Reason != tt.reason {
				t.Errorf("got %d %q, want %d %q", e.Status, e.Reason, tt.status, tt.reason)
			}
			r := e.Response(netip.MustParseAddrPort("192.0.2.9:5060"), "t")
			if (r != nil) != (tt.status != 0) {
				t.Errorf("response %q", r)
			}
			if r == nil {
				return
			}
			want := fmt.Sprintf("SIP/2.0 %d %s\r\n", tt.status, tt.reason)
			if via, ok := TopVia(r); !ok || via.Host != "192.0.2.9" || !strings.HasPrefix(string(r), want) {
				t.Errorf("response\n%.500s", r)
			}
		})
	}
}

func TestErrorResponse(t *testing.T) {
	in := options("Via: SIP/2.0/UDP h.example.com;branch=z9hG4bKx;rport;received=198.51.100.66, SIP/2.0/UDP 192.0.2.77\n" +
		"From: <sip:a@example.com>;tag=1\nTo: \";tag=x\" <sip:b@example.com;tag=y>\nCall-ID: c1@h\nCSeq: 1 OPTIONS\nl: 9\nSubject: x\n")
	_, err := Parse([]byte(in), Limits{})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	got := string(e.Response(netip.MustParseAddrPort("[2001:db8::5]:4444"), "mine"))
	want := crlf("SIP/2.0 400 Body is shorter than Content-Length\n" +
		"Via: SIP/2.0/UDP h.example.com;branch=z9hG4bKx;received=2001:db8::5;rport=4444\nVia: SIP/2.0/UDP 192.0.2.77\n" +
		"From: <sip:a@example.com>;tag=1\nTo: \";tag=x\" <sip:b@example.com;tag=y>;tag=mine\nCall-ID: c1@h\nCSeq: 1 OPTIONS\n" +
		"Content-Length: 0\n\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	again := string(e.Response(netip.MustParseAddrPort("[2001:db8::5]:4444"), "mine"))
	if again != got {
		t.Errorf("the second response differs:\n%s", again)
	}
}

func TestHasTag(t *testing.T) {
	for in, want := range map[string]bool{
		"<sip:b@example.com>":             false,
		"<sip:b@example.com>;tag=1":       true,
		"<sip:b@example.com> ; TAG = 1":   true,
		"sip:b@example.com;tag=1":         true,
		"sip:b@example.com":               false,
		"\";tag=1\" <sip:b;tag=2>":        false,
		"<sip:b@example.com>;tagged=yes":  false,
		"<sip:b@example.com>;a;b=c;tag=1": true,
	} {
		if got := hasTag([]byte(in)); got != want {
			t.Errorf("%s: got %v", in, got)
		}
	}
}

func TestValidValue(t *testing.T) {
	for in, want := range map[string]bool{"": true, "a b\tc": true, "a\rb": false, "a\n": false, "\x00": false, "ü": true} {
		if err := ValidValue(in); (err == nil) != want {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestParseAllocations(t *testing.T) {
	in := []byte(options("v: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx;rport\nMax-Forwards: 70\nUser-Agent: x\n" + tail + "l: 0\n"))
	got := testing.AllocsPerRun(100, func() {
		if _, err := Parse(in, Limits{}); err != nil {
			t.Error(err)
		}
	})
	if got > 2 {
		t.Errorf("%v allocations per message, want 2 at most", got)
	}
}

func BenchmarkParse(b *testing.B) {
	in := []byte(options("Via: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx;rport\nMax-Forwards: 70\nUser-Agent: x\n" + tail + "Content-Length: 0\n"))
	b.ReportAllocs()
	src := netip.MustParseAddrPort("192.0.2.9:5070")
	for b.Loop() {
		m, err := Parse(in, Limits{})
		if err != nil {
			b.Fatal(err)
		}
		m.SetReceived(src)
	}
}

// Every name that is known is found in any case, and refused a second time
// unless it is a list.
func TestKnownHeaders(t *testing.T) {
	for h := hVia; h <= hReplyTo; h++ {
		for _, name := range []string{h.name(), strings.ToUpper(h.name()), strings.ToLower(h.name())} {
			if got, long := lookup([]byte(name)); got != h || long != h.name() {
				t.Errorf("%s: %d %q", name, got, long)
			}
		}
		if h.single() == (h == hVia) {
			t.Errorf("%s: single %v", h.name(), h.single())
		}
	}
	for _, name := range []string{"Xx", "Vias", "Subject", "Content-Lengths", "Froms", "z"} {
		if h, long := lookup([]byte(name)); h != hOther || long != "" {
			t.Errorf("%s: %d %q", name, h, long)
		}
	}
}
