package transaction

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

// respond answers s, which must succeed.
func respond(t *testing.T, s *Server, code int) {
	t.Helper()
	if err := s.Respond(s.Response(code, "Whatever")); err != nil {
		t.Errorf("Respond(%d): %v", code, err)
	}
}

// later lets f run on the queue of call 2, and waits for it.
func (b *lab) later(f func()) {
	b.layer.Do("call-2@198.51.100.7", f)
	b.wait(0)
}

// keeping makes an OnRequest that puts the Server into s.
func keeping(s **Server) func(*Server) {
	return func(got *Server) { *s = got }
}

func TestServerInvite(t *testing.T) {
	invite := incoming{method: "INVITE"}
	again := func(b *lab) { b.receive(invite.String()) }
	tests := []struct {
		name  string
		proto transport.Proto
		run   func(b *lab, s *Server)
		want  []string
		end   error // of OnEnd, which is called if ends
		ends  bool
	}{
		{
			name: "nothing to say: 100 after 200 ms, and again for each copy of the INVITE", proto: transport.UDP,
			run: func(b *lab, _ *Server) {
				b.wait(500 * time.Millisecond)
				again(b)
				b.wait(5 * time.Minute) // ringing has no end of its own
			},
			want: []string{"0.20 100 INVITE", "0.50 100 INVITE"},
		},
		{
			name: "a copy within 200 ms gets the 100 at once", proto: transport.UDP,
			run: func(b *lab, _ *Server) {
				b.wait(50 * time.Millisecond)
				again(b)
				b.wait(time.Second)
			},
			want: []string{"0.05 100 INVITE"},
		},
		{
			name: "a provisional within 200 ms spares the 100, and is what copies get", proto: transport.UDP,
			run: func(b *lab, s *Server) {
				b.wait(100 * time.Millisecond)
				b.later(func() { respond(b.t, s, 180) })
				b.wait(time.Second)
				again(b)
				b.later(func() { respond(b.t, s, 183) })
				again(b)
			},
			want: []string{"0.10 180 INVITE", "1.10 180 INVITE", "1.10 183 INVITE", "1.10 183 INVITE"},
		},
		{
			name: "failure over UDP never acknowledged: timers G and H", proto: transport.UDP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 486) })
				b.wait(time.Minute)
			},
			want: []string{
				"0.00 486 INVITE", "0.50 486 INVITE", "1.50 486 INVITE", "3.50 486 INVITE", "7.50 486 INVITE", "11.50 486 INVITE",
				"15.50 486 INVITE", "19.50 486 INVITE", "23.50 486 INVITE", "27.50 486 INVITE", "31.50 486 INVITE", "32.00 end timeout",
			},
			end: ErrTimeout, ends: true,
		},
		{
			name: "failure over TCP never acknowledged: timer H only", proto: transport.TCP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 486) })
				b.wait(time.Minute)
			},
			want: []string{"0.00 486 INVITE", "32.00 end timeout"},
			end:  ErrTimeout, ends: true,
		},
		{
			name: "a copy of the INVITE gets the failure again", proto: transport.UDP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 486) })
				b.wait(200 * time.Millisecond)
				again(b)
				b.wait(400 * time.Millisecond)
			},
			want: []string{"0.00 486 INVITE", "0.20 486 INVITE", "0.50 486 INVITE"},
		},
		{
			name: "failure over UDP acknowledged: absorbs ACKs until timer I", proto: transport.UDP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 486) })
				b.wait(600 * time.Millisecond)
				ack := invite.ack(b.flow.sent(b.t, "SIP/2.0 486"))
				b.receive(ack)
				b.receive(ack)
				again(b)
				b.wait(4990 * time.Millisecond)
				b.receive(ack)
				b.wait(time.Second)
			},
			want: []string{"0.00 486 INVITE", "0.50 486 INVITE", "5.60 end none"},
			ends: true,
		},
		{
			name: "failure over TCP acknowledged: over at once", proto: transport.TCP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 486) })
				b.receive(invite.ack(b.flow.sent(b.t, "SIP/2.0 486")))
			},
			want: []string{"0.00 486 INVITE", "0.00 end none"},
			ends: true,
		},
		{
			name: "2xx: copies of the INVITE are absorbed until timer L, the 2xx may be repeated", proto: transport.UDP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 200) })
				b.wait(500 * time.Millisecond)
				again(b)
				b.later(func() { respond(b.t, s, 200) })
				b.wait(31490 * time.Millisecond)
				again(b)
				b.wait(time.Second)
			},
			want: []string{"0.00 200 INVITE", "0.50 200 INVITE", "32.00 end none"},
			ends: true,
		},
		{
			name: "2xx over TCP: timer L all the same", proto: transport.TCP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 200) })
				b.wait(time.Minute)
			},
			want: []string{"0.00 200 INVITE", "32.00 end none"},
			ends: true,
		},
		{
			name: "2xx: the ACK goes up, even if its branch is the INVITE's", proto: transport.UDP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 200) })
				ack := invite
				ack.branch = "z9hG4bK-2"
				b.receive(ack.ack(b.flow.sent(b.t, "SIP/2.0 200")))
				b.receive(invite.ack(b.flow.sent(b.t, "SIP/2.0 200")))
			},
			want: []string{"0.00 200 INVITE", "0.00 got ACK", "0.00 got ACK"},
		},
		{
			name: "connection is closed while it rings: the answer is still owed", proto: transport.TCP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 180) })
				b.wait(time.Second)
				b.flow.down(errors.New("gone"))
				b.wait(time.Second)
				b.later(func() { respond(b.t, s, 200) })
			},
			want: []string{"0.00 180 INVITE", "2.00 200 INVITE"},
		},
		{
			name: "address goes while it rings", proto: transport.TCP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 180) })
				b.wait(time.Second)
				b.flow.down(fmt.Errorf("x: %w", transport.ErrAddressGone))
				b.wait(time.Second)
				b.later(func() {
					if err := s.Respond(s.Response(200, "OK")); !errors.Is(err, ErrTerminated) {
						b.t.Errorf("Respond after the end: %v, want ErrTerminated", err)
					}
				})
			},
			want: []string{"0.00 180 INVITE", "1.00 end flow down"},
			end:  ErrFlowDown, ends: true,
		},
		{
			name: "flow goes down before the ACK", proto: transport.UDP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 200) })
				b.flow.down(nil)
				b.wait(time.Second)
			},
			want: []string{"0.00 200 INVITE", "0.00 end flow down"},
			end:  ErrFlowDown, ends: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s *Server
			var b *lab
			ended := false
			cfg := Config{OnRequest: func(got *Server) {
				if got.Request().Method == sip.ACK {
					b.flow.note("got ACK")
					return
				}
				if s != nil {
					t.Fatal("the INVITE came up twice")
				}
				s = got
				s.OnEnd(func(err error) {
					if ended {
						t.Error("OnEnd called twice")
					}
					ended = true
					if !errors.Is(err, tt.end) {
						t.Errorf("OnEnd with %v, want %v", err, tt.end)
					}
					b.flow.note("end " + short(err))
				})
			}}
			inLab(t, tt.proto, cfg, func(lab *lab) {
				b = lab
				b.receive(invite.String())
				tt.run(b, s)
				b.trace(tt.want...)
				if ended != tt.ends {
					t.Errorf("ended: %v, want %v", ended, tt.ends)
				}
				tt.end = ErrClosed // of those that still are
			})
		})
	}
}

func TestServerOther(t *testing.T) {
	options := incoming{method: "OPTIONS"}
	again := func(b *lab) { b.receive(options.String()) }
	tests := []struct {
		name  string
		proto transport.Proto
		run   func(b *lab, s *Server)
		want  []string
	}{
		{
			name: "answered at once: copies get the same until timer J", proto: transport.UDP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 200) })
				b.wait(500 * time.Millisecond)
				again(b)
				b.wait(31490 * time.Millisecond)
				again(b)
				b.wait(10 * time.Millisecond)
				again(b) // a new request now
			},
			want: []string{"0.00 got OPTIONS", "0.00 200 OPTIONS", "0.00 end none", "0.50 200 OPTIONS", "31.99 200 OPTIONS", "32.00 got OPTIONS"},
		},
		{
			name: "answered over TCP: forgotten at once, timer J is zero", proto: transport.TCP,
			run: func(b *lab, s *Server) {
				b.later(func() { respond(b.t, s, 200) })
				again(b)
			},
			want: []string{"0.00 got OPTIONS", "0.00 200 OPTIONS", "0.00 end none", "0.00 got OPTIONS"},
		},
		{
			name: "copies before the answer are absorbed; 100 when timer E reaches T2 (RFC 4320)", proto: transport.UDP,
			run: func(b *lab, s *Server) {
				for range 3 {
					b.wait(time.Second)
					again(b)
				}
				b.wait(time.Second)
				again(b)
				b.later(func() { respond(b.t, s, 404) })
			},
			want: []string{"0.00 got OPTIONS", "3.50 100 OPTIONS", "4.00 100 OPTIONS", "4.00 404 OPTIONS", "4.00 end none"},
		},
		{
			name: "never answered: no late response after 64*T1 (RFC 4320)", proto: transport.TCP,
			run: func(b *lab, s *Server) {
				b.wait(time.Minute)
				b.later(func() {
					if err := s.Respond(s.Response(200, "OK")); !errors.Is(err, ErrTerminated) {
						b.t.Errorf("Respond: %v, want ErrTerminated", err)
					}
				})
			},
			want: []string{"0.00 got OPTIONS", "3.50 100 OPTIONS", "32.00 end timeout"},
		},
		{
			name: "flow goes down", proto: transport.UDP,
			run: func(b *lab, _ *Server) {
				b.wait(time.Second)
				b.flow.down(nil)
				b.wait(time.Minute)
			},
			want: []string{"0.00 got OPTIONS", "1.00 end flow down"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b *lab
			var s *Server
			closing := false
			cfg := Config{OnRequest: func(got *Server) {
				b.flow.note("got " + string(got.Request().Method))
				got.OnEnd(func(err error) {
					if !closing {
						b.flow.note("end " + short(err))
					}
				})
				s = got
			}}
			inLab(t, tt.proto, cfg, func(lab *lab) {
				b = lab
				b.receive(options.String())
				tt.run(b, s)
				b.trace(tt.want...)
				closing = true
			})
		})
	}
}

// What may not be sent, and why.
func TestRespondRefuses(t *testing.T) {
	tests := []struct {
		name   string
		method string
		before []int
		code   int
		want   error
	}{
		{"1xx to OPTIONS", "OPTIONS", nil, 180, errNonInvite1},
		{"100 to OPTIONS", "OPTIONS", nil, 100, errNonInvite1},
		{"408 to OPTIONS", "OPTIONS", nil, 408, errNonInvite4},
		{"second final to OPTIONS", "OPTIONS", []int{200}, 200, ErrTerminated},
		{"408 to INVITE is fine", "INVITE", nil, 408, nil},
		{"1xx after a failure", "INVITE", []int{486}, 180, ErrTerminated},
		{"2xx after a failure", "INVITE", []int{486}, 200, ErrTerminated},
		{"failure after a 2xx", "INVITE", []int{200}, 486, ErrTerminated},
		{"1xx after a 2xx", "INVITE", []int{200}, 183, ErrTerminated},
		{"2xx after a 2xx is its retransmission", "INVITE", []int{180, 200}, 200, nil},
		{"status 99", "INVITE", nil, 99, errStatus},
		{"status 700", "INVITE", nil, 700, errStatus},
		{"anything to an ACK", "ACK", nil, 200, errACK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s *Server
			inLab(t, transport.UDP, Config{OnRequest: keeping(&s)}, func(b *lab) {
				b.receive(incoming{method: tt.method}.String())
				b.later(func() {
					for _, code := range tt.before {
						respond(t, s, code)
					}
					if err := s.Respond(s.Response(tt.code, "Whatever")); !errors.Is(err, tt.want) {
						t.Errorf("Respond(%d): %v, want %v", tt.code, err, tt.want)
					}
				})
			})
		})
	}
	t.Run("off the queue", func(t *testing.T) {
		var s *Server
		inLab(t, transport.UDP, Config{OnRequest: keeping(&s)}, func(b *lab) {
			b.receive(incoming{method: "INVITE"}.String())
			if err := s.Respond(s.Response(200, "OK")); !errors.Is(err, errOffQueue) {
				t.Errorf("Respond: %v, want %v", err, errOffQueue)
			}
			b.trace()
		})
	})
}

// RFC 6026 section 7.1: a server transaction survives a write error.
func TestServerWriteErrors(t *testing.T) {
	full := errors.New("no buffer space available")
	t.Run("a 2xx that cannot be written does not leak, and can be repeated", func(t *testing.T) {
		var s *Server
		inLab(t, transport.UDP, Config{OnRequest: keeping(&s)}, func(b *lab) {
			b.receive(incoming{method: "INVITE"}.String())
			b.flow.setRefuse(full)
			b.later(func() {
				if err := s.Respond(s.Response(200, "OK")); !errors.Is(err, full) {
					t.Errorf("Respond: %v, want %v", err, full)
				}
			})
			b.flow.setRefuse(nil)
			b.wait(500 * time.Millisecond)
			b.later(func() { respond(t, s, 200) })
			b.trace("0.50 200 INVITE")
			b.wait(31500 * time.Millisecond)
			if !s.Terminated() || b.layer.Stats().Servers != 0 {
				t.Error("the transaction is still there after timer L")
			}
		})
	})
	t.Run("timer G tries a failure again", func(t *testing.T) {
		var s *Server
		inLab(t, transport.UDP, Config{OnRequest: keeping(&s)}, func(b *lab) {
			b.receive(incoming{method: "INVITE"}.String())
			b.flow.setRefuse(full)
			b.later(func() {
				if err := s.Respond(s.Response(486, "Busy Here")); !errors.Is(err, full) {
					t.Errorf("Respond: %v, want %v", err, full)
				}
			})
			b.flow.setRefuse(nil)
			b.wait(500 * time.Millisecond)
			b.trace("0.50 486 INVITE")
		})
	})
	t.Run("a retransmission asks for an answer again", func(t *testing.T) {
		var s *Server
		inLab(t, transport.UDP, Config{OnRequest: keeping(&s)}, func(b *lab) {
			b.receive(incoming{method: "OPTIONS"}.String())
			b.flow.setRefuse(full)
			b.later(func() {
				if err := s.Respond(s.Response(200, "OK")); !errors.Is(err, full) {
					t.Errorf("Respond: %v, want %v", err, full)
				}
			})
			b.flow.setRefuse(nil)
			b.wait(500 * time.Millisecond)
			b.receive(incoming{method: "OPTIONS"}.String())
			b.trace("0.50 200 OPTIONS")
			if n := b.layer.Stats().WriteErrors; n != 1 {
				t.Errorf("%d write errors counted, want 1", n)
			}
		})
	})
}

func TestResponse(t *testing.T) {
	const vias = "SIP/2.0/UDP phone.example.com:5070;branch=z9hG4bK-1;received=198.51.100.7\r\n" +
		"Via: SIP/2.0/TCP 203.0.113.5;branch=z9hG4bK-0;x=\"a b\""
	// What sipgo would write in another way must stay as it came.
	const from = `Bob  of  Basingstoke <sip:bob@198.51.100.7;lr?X=y>;tag=b;q="a b"`
	req := incoming{
		method: "INVITE", via: vias, from: from,
		more: "Record-Route: <sip:p1.example.com;lr?X=y>,<sip:p2.example.com;lr>\r\nTimestamp: 54\r\nContact: <sip:bob@198.51.100.7:5070>\r\n",
	}
	const common = "Via: " + vias + "\r\nFrom: " + from + "\r\nTo: <sip:alice@192.0.2.1>"
	const rest = "\r\nCall-ID: call-2@198.51.100.7\r\nCSeq: 1 INVITE\r\n"
	const route = "Record-Route: <sip:p1.example.com;lr?X=y>,<sip:p2.example.com;lr>\r\n"
	tests := []struct {
		name string
		code int
		want func(tag string) string
	}{
		{"100: no tag, Timestamp", 100, func(string) string {
			return "SIP/2.0 100 Whatever\r\n" + common + rest + "Timestamp: 54\r\n"
		}},
		{"180: Record-Route and tag", 180, func(tag string) string {
			return "SIP/2.0 180 Whatever\r\n" + common + ";tag=" + tag + rest + route + "Server: test/1\r\n"
		}},
		{"200: as 180", 200, func(tag string) string {
			return "SIP/2.0 200 Whatever\r\n" + common + ";tag=" + tag + rest + route + "Server: test/1\r\n"
		}},
		{"486: no Record-Route", 486, func(tag string) string {
			return "SIP/2.0 486 Whatever\r\n" + common + ";tag=" + tag + rest + "Server: test/1\r\n"
		}},
	}
	var s *Server
	inLab(t, transport.UDP, Config{OnRequest: keeping(&s), UserAgent: "test/1"}, func(b *lab) {
		b.receive(req.String())
		tag := s.localTag()
		if len(tag) < 8 {
			t.Errorf("tag %q is too short", tag)
		}
		for _, tt := range tests {
			if got := strings.TrimSuffix(s.Response(tt.code, "Whatever").String(), "\r\n"); got != tt.want(tag) {
				t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, tt.want(tag))
			}
		}
		if toTag(s.Request()) != "" {
			t.Error("the request's own To got a tag")
		}
	})
}

func TestResponseWithinADialogKeepsTheTag(t *testing.T) {
	var s *Server
	inLab(t, transport.UDP, Config{OnRequest: keeping(&s)}, func(b *lab) {
		b.receive(incoming{method: "BYE", to: "<sip:alice@192.0.2.1>;tag=ours"}.String())
		b.later(func() { respond(t, s, 200) })
		raw := b.flow.sent(t, "SIP/2.0 200")
		if got := header(raw, "To"); got != "<sip:alice@192.0.2.1>;tag=ours" {
			t.Errorf("To: %s", got)
		}
		if got := header(raw, "Content-Length"); got != "0" { // streams need it
			t.Errorf("Content-Length: %q", got)
		}
	})
}
