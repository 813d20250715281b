package transaction

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

func TestSendCompletesTheRequest(t *testing.T) {
	inLab(t, transport.UDP, Config{UserAgent: "test/1"}, func(b *lab) {
		if _, err := b.layer.sendOn(b.flow, request(sip.OPTIONS), b.on); err != nil {
			t.Fatal(err)
		}
		b.wait(0)
		got := b.flow.sent(t, "OPTIONS ")
		want := regexp.MustCompile(`^OPTIONS sip:bob@198\.51\.100\.7 SIP/2\.0
Via: SIP/2\.0/UDP 192\.0\.2\.1:5060;rport;branch=z9hG4bK[0-9a-f]{16}
From: <sip:alice@192\.0\.2\.1>;tag=a
To: <sip:bob@198\.51\.100\.7>
Call-ID: call-1@192\.0\.2\.1
CSeq: 1 OPTIONS
Max-Forwards: 70
User-Agent: test/1
Content-Length: 0

$`)
		if !want.MatchString(strings.ReplaceAll(got, "\r\n", "\n")) {
			t.Errorf("got\n%s\nwant a match of\n%s", got, want)
		}
	})
}

func TestSendKeepsWhatIsThere(t *testing.T) {
	inLab(t, transport.UDP, Config{UserAgent: "test/1"}, func(b *lab) {
		req := request(sip.MESSAGE)
		hops := sip.MaxForwardsHeader(5)
		req.AppendHeader(&hops)
		req.AppendHeader(sip.NewHeader("user-agent", "mine"))
		req.SetBody([]byte("hello"))
		for range 2 { // the second time with the Via of the first
			if _, err := b.layer.sendOn(b.flow, req, b.on); err != nil {
				t.Fatal(err)
			}
		}
		b.wait(0)
		got := b.flow.sent(t, "MESSAGE ")
		for name, n := range map[string]int{"Via:": 1, "Max-Forwards: ": 1, "Max-Forwards: 5\r\n": 1, "ser-agent: mine\r\n": 1, "User-Agent: test": 0, "Content-Length: 5\r\n": 1} {
			if strings.Count(got, name) != n {
				t.Errorf("%q %d times, want %d, in:\n%s", name, strings.Count(got, name), n, got)
			}
		}
		if !strings.HasSuffix(got, "\r\n\r\nhello") {
			t.Errorf("body is lost:\n%s", got)
		}
	})
}

func TestVia(t *testing.T) {
	tests := []struct {
		name       string
		proto      transport.Proto
		advertised string
		want       string
	}{
		{"IPv4 over UDP", transport.UDP, "192.0.2.1:5060", "SIP/2.0/UDP 192.0.2.1:5060;"},
		{"IPv6 over TCP stands in brackets", transport.TCP, "[2001:db8::1]:5080", "SIP/2.0/TCP [2001:db8::1]:5080;"},
		{"link-local loses its zone", transport.UDP, "[fe80::1%2]:5060", "SIP/2.0/UDP [fe80::1]:5060;"},
		{"IPv4 of an IPv6 socket", transport.TLS, "[::ffff:192.0.2.1]:5061", "SIP/2.0/TLS 192.0.2.1:5061;"},
		{"secure WebSocket", transport.WSS, "192.0.2.1:443", "SIP/2.0/WSS 192.0.2.1:443;"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, tt.proto, Config{}, func(b *lab) {
				b.flow.advertised = addrPort(tt.advertised)
				b.send(sip.OPTIONS)
				b.wait(0)
				raw := b.flow.sent(t, "OPTIONS ")
				if got := header(raw, "Via"); !strings.HasPrefix(got, tt.want+"rport;branch=z9hG4bK") {
					t.Errorf("got %s, want %s...", got, tt.want)
				}
				b.receive(response(raw, 200)) // and it is found again
				b.trace("0.00 OPTIONS", "0.00 got 200")
			})
		})
	}
}

func TestSendRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*sip.Request)
		want   string // in the error
	}{
		{"no From", func(r *sip.Request) { r.RemoveHeader("From") }, "without From"},
		{"no To", func(r *sip.Request) { r.RemoveHeader("To") }, "without To"},
		{"no Call-ID", func(r *sip.Request) { r.RemoveHeader("Call-ID") }, "without Call-ID"},
		{"no CSeq", func(r *sip.Request) { r.RemoveHeader("CSeq") }, "without CSeq"},
		{"CSeq of another method", func(r *sip.Request) { r.CSeq().MethodName = sip.BYE }, "CSeq of BYE"},
		{"ACK", func(r *sip.Request) { r.Method = sip.ACK }, "ACK has no transaction"},
		{"CANCEL", func(r *sip.Request) { r.Method = sip.CANCEL }, "CANCEL has no transaction"},
		{"line end in a header of our own", func(r *sip.Request) { r.AppendHeader(sip.NewHeader("Subject", "hi\r\nX-Evil: 1")) }, "header Subject"},
		{"bare LF", func(r *sip.Request) { r.AppendHeader(sip.NewHeader("Subject", "hi\nthere")) }, "header Subject"},
		{"bare CR", func(r *sip.Request) { r.AppendHeader(sip.NewHeader("Subject", "hi\rthere")) }, "header Subject"},
		{"NUL", func(r *sip.Request) { r.AppendHeader(sip.NewHeader("Subject", "hi\x00there")) }, "header Subject"},
		{"CR in one header, LF in another", func(r *sip.Request) {
			r.AppendHeader(sip.NewHeader("X-A", "\r"))
			r.AppendHeader(sip.NewHeader("X-B", "\n"))
		}, "header X-A"},
		{"end of the head", func(r *sip.Request) { r.AppendHeader(sip.NewHeader("Subject", "hi\r\n\r\nbody")) }, "header Subject"},
		{"display name", func(r *sip.Request) { r.From().DisplayName = "Bob\r\nX-Evil: 1" }, "header From"},
		{"URI parameter", func(r *sip.Request) { r.To().Address.UriParams = sip.HeaderParams{{K: "x", V: "\r\n"}} }, "header To"},
		{"header name", func(r *sip.Request) { r.AppendHeader(sip.NewHeader("X\r\nY", "1")) }, `header "X\r\nY"`},
		{"Request-URI", func(r *sip.Request) { r.Recipient.User = "bob\r\nX-Evil: 1" }, "start line"},
		{"method", func(r *sip.Request) { r.Method = "X\r\nY"; r.CSeq().MethodName = "X\r\nY" }, "header CSeq"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, transport.UDP, Config{}, func(b *lab) {
				req := request(sip.INVITE)
				tt.change(req)
				_, err := b.layer.sendOn(b.flow, req, b.on)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want one with %q", err, tt.want)
				}
				b.wait(time.Minute)
				b.trace()
			})
		})
	}
}

func TestUserAgentThatCannotBeWrittenIsLeftOut(t *testing.T) {
	var s *Server
	inLab(t, transport.UDP, Config{UserAgent: "x\r\nX-Evil: 1", OnRequest: keeping(&s)}, func(b *lab) {
		b.send(sip.OPTIONS)
		b.receive(incoming{method: "OPTIONS"}.String())
		b.later(func() { respond(t, s, 200) })
		for _, w := range b.flow.written {
			if strings.Contains(w.raw, "X-Evil") {
				t.Errorf("sent\n%s", w.raw)
			}
		}
		if len(b.flow.written) != 2 {
			t.Errorf("%d messages sent, want 2", len(b.flow.written))
		}
	})
}

func TestLineEndsInABodyAreFine(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		req := request(sip.MESSAGE)
		req.SetBody([]byte("a\r\n\r\nb\x00\n"))
		if _, err := b.layer.sendOn(b.flow, req, b.on); err != nil {
			t.Error(err)
		}
	})
}

func TestRespondRefusesLineEnds(t *testing.T) {
	var s *Server
	inLab(t, transport.UDP, Config{OnRequest: keeping(&s)}, func(b *lab) {
		b.receive(incoming{method: "INVITE"}.String())
		b.later(func() {
			res := s.Response(302, "Moved")
			res.AppendHeader(sip.NewHeader("Contact", "<sip:x>\r\nX-Evil: 1"))
			if err := s.Respond(res); err == nil || !strings.Contains(err.Error(), "header Contact") {
				t.Errorf("error %v, want one that names Contact", err)
			}
			if err := s.Respond(s.Response(486, "Busy\r\nX-Evil: 1")); err == nil || !strings.Contains(err.Error(), "start line") {
				t.Errorf("error %v, want one that names the start line", err)
			}
			respond(t, s, 486) // it was not the final response
		})
		b.trace("0.00 486 INVITE")
	})
}

// RFC 3261 section 18.1.1.
func TestOversize(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		padded := func(n int) *sip.Request {
			req := request(sip.INVITE)
			req.AppendHeader(sip.NewHeader("Subject", strings.Repeat("x", n)))
			return req
		}
		empty := padded(0)
		if _, err := b.layer.complete(b.flow, empty); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			size  int
			proto transport.Proto
			want  bool
		}{
			{1300, transport.UDP, false},
			{1301, transport.UDP, true},
			{1301, transport.TCP, false},
		} {
			b.flow.proto = tt.proto
			if got := b.layer.oversize(b.flow, padded(tt.size-len(empty.String()))); got != tt.want {
				t.Errorf("%d bytes over %s: %v, want %v", tt.size, tt.proto, got, tt.want)
			}
		}
		bad := request(sip.INVITE)
		bad.RemoveHeader("To")
		if b.flow.proto = transport.UDP; b.layer.oversize(b.flow, bad) {
			t.Error("a request that cannot be sent is called too large")
		}
	})
}

func TestWriteKeepsTheBranch(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		ack := request(sip.ACK)
		for range 2 {
			if err := b.layer.writeOn(b.flow, ack); err != nil {
				t.Fatal(err)
			}
		}
		b.trace("0.00 ACK", "0.00 ACK")
		if x, y := b.flow.written[0].raw, b.flow.written[1].raw; x != y {
			t.Errorf("the retransmission differs:\n%s\n%s", x, y)
		}
		bad := request(sip.ACK)
		bad.RemoveHeader("To")
		if err := b.layer.writeOn(b.flow, bad); err == nil {
			t.Error("an ACK without To was written")
		}
	})
}
