package transaction

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

func TestCancelIsAnswered(t *testing.T) {
	invite := incoming{method: "INVITE"}
	cancel := incoming{method: "CANCEL"}
	tests := []struct {
		name string
		run  func(b *lab, s **Server)
		want []string
	}{
		{
			"while it rings: 200, then OnCancel",
			func(b *lab, s **Server) {
				b.receive(invite.String())
				b.receive(cancel.String())
			},
			[]string{"0.00 200 CANCEL", "0.00 canceled", "0.00 487 INVITE"},
		},
		{
			"a copy of it: the same 200, and no second OnCancel",
			func(b *lab, s **Server) {
				b.receive(invite.String())
				b.receive(cancel.String())
				b.wait(100 * time.Millisecond)
				b.receive(cancel.String())
			},
			[]string{"0.00 200 CANCEL", "0.00 canceled", "0.00 487 INVITE", "0.10 200 CANCEL"},
		},
		{
			"after the failure: 200 and nothing else",
			func(b *lab, s **Server) {
				b.receive(invite.String())
				b.later(func() { respond(b.t, *s, 486) })
				b.receive(cancel.String())
			},
			[]string{"0.00 486 INVITE", "0.00 200 CANCEL"},
		},
		{
			"after the 2xx: 200 and nothing else",
			func(b *lab, s **Server) {
				b.receive(invite.String())
				b.later(func() { respond(b.t, *s, 200) })
				b.receive(cancel.String())
			},
			[]string{"0.00 200 INVITE", "0.00 200 CANCEL"},
		},
		{
			"of no INVITE: 481",
			func(b *lab, _ **Server) { b.receive(cancel.String()) },
			[]string{"0.00 481 CANCEL"},
		},
		{
			"with another branch: 481",
			func(b *lab, _ **Server) {
				b.receive(invite.String())
				other := cancel
				other.branch = "z9hG4bK-other"
				b.receive(other.String())
			},
			[]string{"0.00 481 CANCEL"},
		},
		{
			"from a peer that does not know the cookie",
			func(b *lab, _ **Server) {
				i, c := invite, cancel
				i.branch, c.branch = "1", "1"
				b.receive(i.String())
				b.receive(c.String())
			},
			[]string{"0.00 200 CANCEL", "0.00 canceled", "0.00 487 INVITE"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b *lab
			var s *Server
			cfg := Config{OnRequest: func(got *Server) {
				s = got
				s.OnCancel(func() {
					b.flow.note("canceled")
					respond(t, s, 487)
				})
			}}
			inLab(t, transport.UDP, cfg, func(lab *lab) {
				b = lab
				tt.run(b, &s)
				b.trace(tt.want...)
				if strings.Contains(strings.Join(tt.want, " "), "487") {
					// RFC 3261 section 9.2.
					if x, y := header(b.flow.sent(t, "SIP/2.0 200"), "To"), header(b.flow.sent(t, "SIP/2.0 487"), "To"); x != y {
						t.Errorf("To of the CANCEL's response %q, of the INVITE's %q", x, y)
					}
				}
			})
		})
	}
}

func TestOnCancelAfterTheCancel(t *testing.T) {
	var s *Server
	inLab(t, transport.UDP, Config{OnRequest: keeping(&s)}, func(b *lab) {
		b.receive(incoming{method: "INVITE"}.String())
		b.receive(incoming{method: "CANCEL"}.String())
		b.later(func() { s.OnCancel(func() { b.flow.note("canceled") }) })
		b.trace("0.00 200 CANCEL", "0.00 canceled")
	})
}

func TestCancelOfAnythingElseHasNoEffect(t *testing.T) {
	var s *Server
	inLab(t, transport.UDP, Config{OnRequest: keeping(&s)}, func(b *lab) {
		b.receive(incoming{method: "OPTIONS"}.String())
		b.later(func() { s.OnCancel(func() { t.Error("OnCancel called") }) })
		b.receive(incoming{method: "CANCEL"}.String())
		b.later(func() { respond(t, s, 200) })
		b.trace("0.00 200 CANCEL", "0.00 200 OPTIONS")
	})
}

// A CANCEL has the branch of its request, but is not its retransmission.
func TestCancelOfAnAnsweredRequest(t *testing.T) {
	inLab(t, transport.UDP, Config{OnRequest: func(s *Server) { respond(t, s, 200) }}, func(b *lab) {
		b.receive(incoming{method: "INFO", to: "<sip:alice@192.0.2.1>;tag=x"}.String())
		b.receive(incoming{method: "CANCEL", to: "<sip:alice@192.0.2.1>;tag=x"}.String())
		b.trace("0.00 200 INFO", "0.00 481 CANCEL")
	})
}

// RFC 3261 section 8.2.2.2.
func TestMergedRequests(t *testing.T) {
	first := incoming{method: "INVITE", branch: "z9hG4bK-way-1"}
	tests := []struct {
		name   string
		second incoming
		answer int // to the first, before the second comes; 0 is none
		merged bool
	}{
		{"by another way", incoming{method: "INVITE", branch: "z9hG4bK-way-2"}, 0, true},
		{"by another way, from a peer without the cookie", incoming{method: "INVITE", branch: "2"}, 0, true},
		{"by another way, after the failure", incoming{method: "INVITE", branch: "z9hG4bK-way-2"}, 486, true},
		{"next CSeq", incoming{method: "INVITE", branch: "z9hG4bK-way-2", cseq: 2}, 0, false},
		{"another From tag", incoming{method: "INVITE", branch: "z9hG4bK-way-2", from: "<sip:bob@198.51.100.7>;tag=c"}, 0, false},
		{"another method", incoming{method: "OPTIONS", branch: "z9hG4bK-way-2"}, 0, false},
		{"another Call-ID", incoming{method: "INVITE", branch: "z9hG4bK-way-2", callID: "call-3"}, 0, false},
		{"within a dialog", incoming{method: "INVITE", branch: "z9hG4bK-way-2", to: "<sip:alice@192.0.2.1>;tag=x"}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []*Server
			inLab(t, transport.UDP, Config{OnRequest: func(s *Server) { got = append(got, s) }}, func(b *lab) {
				b.receive(first.String())
				if tt.answer != 0 {
					b.later(func() { respond(t, got[0], tt.answer) })
				}
				b.receive(tt.second.String())
				if !tt.merged {
					if len(got) != 2 {
						t.Errorf("%d requests came up, want 2", len(got))
					}
					return
				}
				if len(got) != 1 {
					t.Errorf("%d requests came up, want 1", len(got))
				}
				res := b.flow.sent(t, "SIP/2.0 482")
				if !strings.Contains(header(res, "Via"), "branch="+tt.second.branch) {
					t.Errorf("482 with Via %s", header(res, "Via"))
				}
				b.receive(tt.second.ack(res)) // absorbed
				if len(got) != 1 || b.layer.Stats().Merged != 1 {
					t.Errorf("%d requests came up, %d counted as merged; want 1, 1", len(got), b.layer.Stats().Merged)
				}
			})
		})
	}
}

// A CANCEL goes hop by hop: two of them that have everything but the branch in
// common are two, and the second is for the second way.
func TestCancelsAreNotMerged(t *testing.T) {
	inLab(t, transport.UDP, Config{OnRequest: func(*Server) {}}, func(b *lab) {
		b.receive(incoming{method: "INVITE", branch: "z9hG4bK-way-1"}.String())
		b.receive(incoming{method: "CANCEL", branch: "z9hG4bK-way-1"}.String())
		b.receive(incoming{method: "CANCEL", branch: "z9hG4bK-way-2"}.String())
		b.trace("0.00 200 CANCEL", "0.00 481 CANCEL")
	})
}

func TestMergedWithAnAnsweredRequest(t *testing.T) {
	var b *lab
	n := 0
	cfg := Config{OnRequest: func(s *Server) { n++; respond(t, s, 200) }}
	inLab(t, transport.UDP, cfg, func(lab *lab) {
		b = lab
		b.receive(incoming{method: "MESSAGE", branch: "z9hG4bK-way-1"}.String())
		b.wait(31 * time.Second)
		b.receive(incoming{method: "MESSAGE", branch: "z9hG4bK-way-2"}.String())
		b.receive(incoming{method: "MESSAGE", branch: "z9hG4bK-way-2"}.String())
		b.trace("0.00 200 MESSAGE", "31.00 482 MESSAGE", "31.00 482 MESSAGE")
		if n != 1 {
			t.Errorf("%d requests came up, want 1", n)
		}
	})
}

// RFC 3261 section 17.2.3. What differs in one of these is another request.
func TestRequestMatching(t *testing.T) {
	// Within a dialog, where nothing is taken for a merged request.
	base := incoming{method: "INVITE", via: "SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bK-1", to: "<sip:alice@192.0.2.1>;tag=x"}
	old := incoming{method: "INVITE", via: "SIP/2.0/UDP 198.51.100.7:5070;branch=1"}
	none := incoming{method: "INVITE", via: "SIP/2.0/UDP 198.51.100.7:5070"}
	change := func(r incoming, f func(*incoming)) incoming { f(&r); return r }
	tests := []struct {
		name          string
		first, second incoming
		same          bool
	}{
		{"copy", base, base, true},
		{"sent-by in other case", base, change(base, func(r *incoming) { r.via = "SIP/2.0/UDP 198.51.100.7:5070 ;branch=z9hG4bK-1" }), true},
		{"other Request-URI, same branch", base, change(base, func(r *incoming) { r.uri = "sip:x@192.0.2.1" }), true},
		{"other sent-by host", base, change(base, func(r *incoming) { r.via = "SIP/2.0/UDP 198.51.100.8:5070;branch=z9hG4bK-1" }), false},
		{"other sent-by port", base, change(base, func(r *incoming) { r.via = "SIP/2.0/UDP 198.51.100.7:5071;branch=z9hG4bK-1" }), false},
		{
			"branch that is the cookie and nothing else is none", change(base, func(r *incoming) { r.via = "SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bK" }),
			change(base, func(r *incoming) { r.via, r.cseq = "SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bK", 2 }), false,
		},
		{"RFC 2543: copy", old, old, true},
		{"RFC 2543: copy without a branch", none, none, true},
		{"RFC 2543: other Request-URI", old, change(old, func(r *incoming) { r.uri, r.from = "sip:x@192.0.2.1", "<sip:bob@198.51.100.7>;tag=c" }), false},
		{"RFC 2543: next CSeq", none, change(none, func(r *incoming) { r.cseq = 2 }), false},
		{"RFC 2543: other From tag", none, change(none, func(r *incoming) { r.from = "<sip:bob@198.51.100.7>;tag=c" }), false},
		{"RFC 2543: other Via", none, change(none, func(r *incoming) { r.via, r.from = "SIP/2.0/UDP 198.51.100.7:5071", "<sip:bob@198.51.100.7>;tag=c" }), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			inLab(t, transport.UDP, Config{OnRequest: func(*Server) { n++ }}, func(b *lab) {
				b.receive(tt.first.String())
				b.receive(tt.second.String())
				if same := n == 1; same != tt.same {
					t.Errorf("%d requests came up", n)
				}
			})
		})
	}
}

// An ACK without the cookie belongs to the failure if it has its To tag.
func TestOldACK(t *testing.T) {
	var s *Server
	acks := 0
	cfg := Config{OnRequest: func(got *Server) {
		if got.Request().Method == sip.ACK {
			acks++
			return
		}
		s = got
	}}
	inLab(t, transport.UDP, cfg, func(b *lab) {
		invite := incoming{method: "INVITE", branch: "1"}
		b.receive(invite.String())
		b.later(func() { respond(t, s, 486) })
		other := invite
		other.method, other.to = "ACK", "<sip:alice@192.0.2.1>;tag=another"
		b.receive(other.String())
		if acks != 1 {
			t.Errorf("%d ACKs came up, want the one with another tag", acks)
		}
		b.receive(invite.ack(b.flow.sent(t, "SIP/2.0 486")))
		b.wait(time.Second)
		b.trace("0.00 486 INVITE")
		if acks != 1 {
			t.Errorf("%d ACKs came up, want 1", acks)
		}
	})
}

func TestUnparsableRequests(t *testing.T) {
	tests := []struct {
		name, method string
		change       [2]string
		want         string // start line; empty is no answer
	}{
		{"From without a URI", "INVITE", [2]string{"From: <sip:bob@198.51.100.7>;tag=b", "From: <sip:bob"}, "SIP/2.0 400 Malformed From"},
		{"Route without a URI", "OPTIONS", [2]string{"Max-Forwards: 70\r\n", "Max-Forwards: 70\r\nRoute: <sip:p\r\n"}, "SIP/2.0 400 Malformed Route"},
		{"Request-URI with a port that is no number", "OPTIONS", [2]string{"sip:alice@192.0.2.1 ", "sip:alice@192.0.2.1:port "}, "SIP/2.0 400 Malformed Request"},
		{"Contact with an open quote", "REGISTER", [2]string{"Max-Forwards: 70\r\n", "Max-Forwards: 70\r\nContact: \"Bob <sip:bob@h>\r\n"}, "SIP/2.0 400 Malformed Contact"},
		{"an ACK is not answered", "ACK", [2]string{"Max-Forwards: 70\r\n", "Max-Forwards: 70\r\nRoute: <sip:p\r\n"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, transport.UDP, Config{}, func(b *lab) {
				raw := replace(t, incoming{method: tt.method, more: "Authorization: Digest username=\"bob\", response=\"5ec3e7\"\r\n"}.String(), tt.change)
				b.receive(raw)
				if n := b.layer.Stats().Bad; n != 1 {
					t.Errorf("%d counted as bad, want 1", n)
				}
				if tt.want == "" {
					b.trace()
					return
				}
				first := b.flow.sent(t, "SIP/2.0 ")
				if start, _, _ := strings.Cut(first, "\r\n"); start != tt.want {
					t.Errorf("got %q, want %q", start, tt.want)
				}
				if strings.Contains(first, "5ec3e7") {
					t.Errorf("credentials in the response:\n%s", first)
				}
				for _, h := range []string{"Via", "From", "Call-ID", "CSeq"} {
					if header(first, h) != header(raw, h) {
						t.Errorf("%s is %q, was %q", h, header(first, h), header(raw, h))
					}
				}
				if !strings.Contains(header(first, "To"), ";tag=") {
					t.Errorf("To without tag: %s", header(first, "To"))
				}
				// RFC 3261 section 8.2.7: no state, and yet the same answer.
				b.receive(raw)
				if again := b.flow.sent(t, "SIP/2.0 "); again != first {
					t.Errorf("a copy got another answer:\n%s\n%s", first, again)
				}
			})
		})
	}
}

func TestUnparsableResponseIsDropped(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		b.send(sip.OPTIONS)
		b.wait(0)
		good := response(b.flow.sent(t, "OPTIONS "), 200)
		b.receive(replace(t, good, [2]string{"From: <sip:alice@192.0.2.1>", "From: <sip:alice"}))
		b.trace("0.00 OPTIONS")
		b.receive(good)
		b.trace("0.00 got 200")
	})
}

// What a peer sends in one segment is handled in that order: the CANCEL finds
// its INVITE every time.
func TestInviteAndCancelInOneSegment(t *testing.T) {
	const n = 1000
	var b *lab
	seen := make(map[string][]string) // by Call-ID; each is touched on its own queue only
	for i := range n {
		seen[fmt.Sprint("call-", i)] = make([]string, 0, 2)
	}
	results := make(chan string, 2*n)
	cfg := Config{OnRequest: func(s *Server) {
		id := s.Request().CallID().Value()
		results <- id + " INVITE"
		s.OnCancel(func() {
			results <- id + " CANCEL"
			respond(t, s, 487)
		})
	}}
	inLab(t, transport.TCP, cfg, func(lab *lab) {
		b = lab
		for i := range n {
			r := incoming{method: "INVITE", callID: fmt.Sprint("call-", i)}
			b.receiveOn(b.flow, r.String())
			r.method = "CANCEL"
			b.receiveOn(b.flow, r.String())
		}
		synctest.Wait()
		close(results)
		for r := range results {
			id, what, _ := strings.Cut(r, " ")
			seen[id] = append(seen[id], what)
		}
		for id, got := range seen {
			if !slices.Equal(got, []string{"INVITE", "CANCEL"}) {
				t.Fatalf("%s: %q", id, got)
			}
		}
		if s := b.layer.Stats(); s.Cancels != n || s.UnknownCancels != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// 100, 183 and 200 in one segment.
func TestResponsesInOneSegment(t *testing.T) {
	inLab(t, transport.TCP, Config{}, func(b *lab) {
		for i := range 100 {
			req := request(sip.INVITE)
			id := sip.CallIDHeader(fmt.Sprint("call-", i))
			req.ReplaceHeader(&id)
			var got []int
			if _, err := b.layer.sendOn(b.flow, req, func(res *sip.Response, _ error) {
				if res != nil {
					got = append(got, res.StatusCode)
				}
			}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			raw := b.flow.sent(t, "INVITE ")
			for _, code := range []int{100, 183, 200} {
				b.receiveOn(b.flow, response(raw, code))
			}
			synctest.Wait()
			if !slices.Equal(got, []int{100, 183, 200}) {
				t.Fatalf("call %d: %v", i, got)
			}
		}
	})
}
