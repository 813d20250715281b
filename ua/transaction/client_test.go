package transaction

import (
	"errors"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

// The traces give the time since the start in seconds, and what is written to
// the flow or reaches the transaction user.

func TestClientTimers(t *testing.T) {
	tests := []struct {
		name   string
		proto  transport.Proto
		method sip.RequestMethod
		run    func(*lab)
		want   []string
	}{
		{
			name: "INVITE unanswered over UDP: timer A doubles without limit, timer B ends it", proto: transport.UDP, method: sip.INVITE,
			want: []string{
				"0.00 INVITE", "0.50 INVITE", "1.50 INVITE", "3.50 INVITE", "7.50 INVITE", "15.50 INVITE", "31.50 INVITE",
				"32.00 error timeout",
			},
		},
		{
			name: "INVITE unanswered over TCP: timer B only", proto: transport.TCP, method: sip.INVITE,
			want: []string{"0.00 INVITE", "32.00 error timeout"},
		},
		{
			name: "OPTIONS unanswered over UDP: timer E doubles up to T2, timer F ends it", proto: transport.UDP, method: sip.OPTIONS,
			want: []string{
				"0.00 OPTIONS", "0.50 OPTIONS", "1.50 OPTIONS", "3.50 OPTIONS", "7.50 OPTIONS", "11.50 OPTIONS",
				"15.50 OPTIONS", "19.50 OPTIONS", "23.50 OPTIONS", "27.50 OPTIONS", "31.50 OPTIONS",
				"32.00 error timeout",
			},
		},
		{
			name: "OPTIONS unanswered over TLS: timer F only", proto: transport.TLS, method: sip.OPTIONS,
			want: []string{"0.00 OPTIONS", "32.00 error timeout"},
		},
		{
			name: "OPTIONS with a 100: timer E goes on at T2", proto: transport.UDP, method: sip.OPTIONS,
			run: func(b *lab) {
				b.wait(700 * time.Millisecond)
				b.answer(sip.OPTIONS, 100)
			},
			want: []string{
				"0.00 OPTIONS", "0.50 OPTIONS", "0.70 got 100", "1.50 OPTIONS", "5.50 OPTIONS", "9.50 OPTIONS", "13.50 OPTIONS",
				"17.50 OPTIONS", "21.50 OPTIONS", "25.50 OPTIONS", "29.50 OPTIONS", "32.00 error timeout",
			},
		},
		{
			name: "INVITE with a 180: neither timer A nor timer B", proto: transport.UDP, method: sip.INVITE,
			run: func(b *lab) {
				b.wait(700 * time.Millisecond)
				b.answer(sip.INVITE, 180)
			},
			want: []string{"0.00 INVITE", "0.50 INVITE", "0.70 got 180"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, tt.proto, Config{}, func(b *lab) {
				b.send(tt.method)
				b.wait(0)
				if tt.run != nil {
					tt.run(b)
				}
				b.wait(10 * time.Minute)
				b.trace(tt.want...)
			})
		})
	}
}

func TestClientTimersFollowConfig(t *testing.T) {
	cfg := Config{T1: 100 * time.Millisecond, T2: 300 * time.Millisecond, T4: time.Second}
	inLab(t, transport.UDP, cfg, func(b *lab) {
		b.send(sip.OPTIONS)
		b.wait(1500 * time.Millisecond)
		b.answer(sip.OPTIONS, 200)
		b.trace("0.00 OPTIONS", "0.10 OPTIONS", "0.30 OPTIONS", "0.60 OPTIONS", "0.90 OPTIONS", "1.20 OPTIONS", "1.50 OPTIONS", "1.50 got 200")
		b.wait(990 * time.Millisecond)
		if n := b.layer.Stats().Clients; n != 1 {
			t.Errorf("%d transactions before timer K, want 1", n)
		}
		b.wait(10 * time.Millisecond)
		if n := b.layer.Stats().Clients; n != 0 {
			t.Errorf("%d transactions after timer K, want 0", n)
		}
	})
}

// Timer D is for the peer's timer H, which knows nothing of our T1.
func TestTimerDIsNeverShorterThan32s(t *testing.T) {
	inLab(t, transport.UDP, Config{T1: 50 * time.Millisecond}, func(b *lab) {
		b.send(sip.INVITE)
		b.wait(0)
		b.answer(sip.INVITE, 486)
		b.wait(31990 * time.Millisecond)
		b.answer(sip.INVITE, 486)
		b.trace("0.00 INVITE", "0.00 ACK", "0.00 got 486", "31.99 ACK")
		b.wait(10 * time.Millisecond)
		if n := b.layer.Stats().Clients; n != 0 {
			t.Errorf("%d transactions after timer D", n)
		}
	})
}

// After its final response a transaction stays for a while to deal with copies
// of it: timer D, K or M.
func TestClientStaysAfterFinal(t *testing.T) {
	tests := []struct {
		name   string
		proto  transport.Proto
		method sip.RequestMethod
		status int
		stays  time.Duration
		again  []string // what a copy of the response does
	}{
		{"failure of an INVITE over UDP, timer D", transport.UDP, sip.INVITE, 486, 32 * time.Second, []string{"ACK"}},
		{"failure of an INVITE over TCP", transport.TCP, sip.INVITE, 486, 0, nil},
		{"2xx to an INVITE over UDP, timer M", transport.UDP, sip.INVITE, 200, 32 * time.Second, []string{"got 200"}},
		{"2xx to an INVITE over TCP, timer M", transport.TCP, sip.INVITE, 200, 32 * time.Second, []string{"got 200"}},
		{"OPTIONS over UDP, timer K", transport.UDP, sip.OPTIONS, 200, 5 * time.Second, nil},
		{"OPTIONS over TCP", transport.TCP, sip.OPTIONS, 200, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, tt.proto, Config{}, func(b *lab) {
				b.send(tt.method)
				b.wait(0)
				b.answer(tt.method, tt.status)
				b.flow.log = nil
				if tt.stays == 0 {
					if n := b.layer.Stats().Clients; n != 0 {
						t.Errorf("%d transactions right after the response, want 0", n)
					}
					b.answer(tt.method, tt.status)
					b.trace()
					return
				}
				b.wait(tt.stays - 10*time.Millisecond)
				b.answer(tt.method, tt.status)
				var want []string
				for _, w := range tt.again {
					want = append(want, stamp(tt.stays-10*time.Millisecond)+" "+w)
				}
				b.trace(want...)
				b.wait(10 * time.Millisecond)
				if n := b.layer.Stats().Clients; n != 0 {
					t.Errorf("%d transactions after %v, want 0", n, tt.stays)
				}
				b.answer(tt.method, tt.status)
				b.trace() // a stray
				if n := b.layer.Stats().Strays; n != 1 {
					t.Errorf("%d strays counted, want 1", n)
				}
			})
		})
	}
}

func TestEveryCopyOfAFailureIsAcknowledgedAtOnce(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		b.send(sip.INVITE)
		b.wait(0)
		b.answer(sip.INVITE, 486, "tag=x")
		ack := b.flow.sent(t, "ACK ")
		b.wait(500 * time.Millisecond)
		b.answer(sip.INVITE, 486, "tag=x")
		b.answer(sip.INVITE, 486, "tag=x")
		b.trace("0.00 INVITE", "0.00 ACK", "0.00 got 486", "0.50 ACK", "0.50 ACK")
		if again := b.flow.sent(t, "ACK "); again != ack {
			t.Errorf("the second ACK differs:\n%s\n%s", ack, again)
		}
	})
}

// RFC 3261 section 17.1.1.3.
func TestACKToAFailure(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		req := request(sip.INVITE)
		req.AppendHeader(&sip.RouteHeader{Address: sip.Uri{Host: "proxy-1.example.com"}})
		req.AppendHeader(&sip.RouteHeader{Address: sip.Uri{Host: "proxy-2.example.com"}})
		req.SetBody([]byte("v=0\r\n"))
		if _, err := b.layer.sendOn(b.flow, req, b.on); err != nil {
			t.Fatal(err)
		}
		b.wait(0)
		b.answer(sip.INVITE, 404, "tag=theirs")
		invite := b.flow.sent(t, "INVITE ")
		want := "ACK sip:bob@198.51.100.7 SIP/2.0\r\n" +
			"Via: " + header(invite, "Via") + "\r\n" +
			"Route: <sip:proxy-1.example.com>\r\n" +
			"Route: <sip:proxy-2.example.com>\r\n" +
			"Max-Forwards: 70\r\n" +
			"From: <sip:alice@192.0.2.1>;tag=a\r\n" +
			"To: <sip:bob@198.51.100.7>;tag=theirs\r\n" +
			"Call-ID: call-1@192.0.2.1\r\n" +
			"CSeq: 1 ACK\r\n" +
			"Content-Length: 0\r\n\r\n"
		if got := b.flow.sent(t, "ACK "); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestForkedSuccessIsPassedUpEachTime(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		var tags []string
		_, err := b.layer.sendOn(b.flow, request(sip.INVITE), func(res *sip.Response, err error) {
			if err != nil {
				t.Error(err)
				return
			}
			tags = append(tags, toTag(res))
		})
		if err != nil {
			t.Fatal(err)
		}
		b.wait(0)
		b.answer(sip.INVITE, 180, "tag=one")
		b.answer(sip.INVITE, 200, "tag=one")
		b.answer(sip.INVITE, 200, "tag=two")
		b.answer(sip.INVITE, 180, "tag=three") // late: nobody waits for it
		b.answer(sip.INVITE, 200, "tag=one")
		b.answer(sip.INVITE, 486, "tag=four") // as late, and not to be acknowledged
		b.trace("0.00 INVITE")
		want := []string{"one", "one", "two", "one"}
		if len(tags) != len(want) {
			t.Fatalf("passed up %q, want %q", tags, want)
		}
		for i := range want {
			if tags[i] != want[i] {
				t.Fatalf("passed up %q, want %q", tags, want)
			}
		}
	})
}

func TestCancel(t *testing.T) {
	tests := []struct {
		name string
		run  func(b *lab, c *Client)
		want []string
	}{
		{
			"after a provisional response: at once",
			func(b *lab, c *Client) {
				b.answer(sip.INVITE, 180)
				c.Cancel()
				b.wait(100 * time.Millisecond)
				b.answer(sip.CANCEL, 200)
				b.answer(sip.INVITE, 487)
			},
			[]string{"0.00 INVITE", "0.00 got 180", "0.00 CANCEL", "0.10 ACK", "0.10 got 487"},
		},
		{
			"before any response: with the first provisional",
			func(b *lab, c *Client) {
				c.Cancel()
				b.wait(600 * time.Millisecond)
				b.answer(sip.INVITE, 100)
				b.answer(sip.CANCEL, 200)
				b.answer(sip.INVITE, 487)
			},
			[]string{"0.00 INVITE", "0.50 INVITE", "0.60 got 100", "0.60 CANCEL", "0.60 ACK", "0.60 got 487"},
		},
		{
			"before any response, and a final one comes: never",
			func(b *lab, c *Client) {
				c.Cancel()
				b.wait(100 * time.Millisecond)
				b.answer(sip.INVITE, 486)
			},
			[]string{"0.00 INVITE", "0.10 ACK", "0.10 got 486"},
		},
		{
			"before any response, and nobody ever answers: timer B",
			func(b *lab, c *Client) {
				c.Cancel()
				b.wait(time.Minute)
			},
			[]string{
				"0.00 INVITE", "0.50 INVITE", "1.50 INVITE", "3.50 INVITE", "7.50 INVITE", "15.50 INVITE", "31.50 INVITE",
				"32.00 error timeout",
			},
		},
		{
			"a 200 crosses the CANCEL: passed up, to be acknowledged and ended",
			func(b *lab, c *Client) {
				b.answer(sip.INVITE, 180)
				c.Cancel()
				b.wait(50 * time.Millisecond)
				b.answer(sip.INVITE, 200)
				b.answer(sip.CANCEL, 481)
			},
			[]string{"0.00 INVITE", "0.00 got 180", "0.00 CANCEL", "0.05 got 200"},
		},
		{
			"twice: one CANCEL",
			func(b *lab, c *Client) {
				b.answer(sip.INVITE, 180)
				c.Cancel()
				c.Cancel()
				b.wait(100 * time.Millisecond)
				b.answer(sip.CANCEL, 200)
				c.Cancel()
			},
			[]string{"0.00 INVITE", "0.00 got 180", "0.00 CANCEL"},
		},
		{
			"after the final response: nothing",
			func(b *lab, c *Client) {
				b.answer(sip.INVITE, 200)
				c.Cancel()
			},
			[]string{"0.00 INVITE", "0.00 got 200"},
		},
		{
			"no final response for 64*T1 after it: the end (RFC 3261 section 9.1)",
			func(b *lab, c *Client) {
				b.answer(sip.INVITE, 180)
				b.wait(10 * time.Second)
				c.Cancel()
				b.wait(0)
				b.answer(sip.CANCEL, 200)
				b.answer(sip.INVITE, 183) // does not prolong it
				b.wait(time.Hour)
			},
			[]string{"0.00 INVITE", "0.00 got 180", "10.00 CANCEL", "10.00 got 183", "42.00 error timeout"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, transport.UDP, Config{}, func(b *lab) {
				c := b.send(sip.INVITE)
				b.wait(0)
				tt.run(b, c)
				b.trace(tt.want...)
			})
		})
	}
}

// The CANCEL itself is retransmitted like any other request.
func TestCancelIsATransaction(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		c := b.send(sip.INVITE)
		b.wait(0)
		b.answer(sip.INVITE, 180, "tag=theirs")
		c.Cancel()
		b.wait(4 * time.Second)
		b.trace("0.00 INVITE", "0.00 got 180", "0.00 CANCEL", "0.50 CANCEL", "1.50 CANCEL", "3.50 CANCEL")
		invite, cancel := b.flow.sent(t, "INVITE "), b.flow.sent(t, "CANCEL ")
		for _, h := range []string{"Via", "From", "To", "Call-ID"} { // RFC 3261 section 9.1
			if header(invite, h) != header(cancel, h) {
				t.Errorf("%s of the CANCEL is %q, of the INVITE %q", h, header(cancel, h), header(invite, h))
			}
		}
		if got := header(cancel, "CSeq"); got != "1 CANCEL" {
			t.Errorf("CSeq of the CANCEL is %q", got)
		}
	})
}

func TestCancelIsForInviteOnly(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		c := b.send(sip.OPTIONS)
		b.wait(0)
		b.answer(sip.OPTIONS, 100)
		c.Cancel()
		b.trace("0.00 OPTIONS", "0.00 got 100")
	})
}

func TestFlowDownEndsClients(t *testing.T) {
	why := errors.New("address is gone")
	for _, proto := range []transport.Proto{transport.UDP, transport.TCP} {
		t.Run(string(proto), func(t *testing.T) {
			inLab(t, proto, Config{}, func(b *lab) {
				var got []error
				on := func(_ *sip.Response, err error) {
					if err != nil {
						got = append(got, err)
					}
				}
				ringing, register, answered := request(sip.INVITE), request(sip.REGISTER), request(sip.INVITE)
				answered.CSeq().SeqNo = 2
				for _, r := range []*sip.Request{answered, ringing, register} {
					if _, err := b.layer.sendOn(b.flow, r, on); err != nil {
						t.Fatal(err)
					}
					b.wait(0)
					if r == answered {
						b.answer(sip.INVITE, 200)
					}
				}
				b.answer(sip.INVITE, 180)
				b.flow.down(why)
				b.wait(0)
				if len(got) != 2 {
					t.Fatalf("errors %v, want two: the one with a final response has none", got)
				}
				for _, err := range got {
					if !errors.Is(err, ErrFlowDown) || !errors.Is(err, why) {
						t.Errorf("error %q, want ErrFlowDown and %q", err, why)
					}
				}
				if s := b.layer.Stats(); s.Clients != 0 || s.FlowsDown != 2 {
					t.Errorf("%+v", s)
				}
				// A transaction on a flow that is down already ends too.
				if _, err := b.layer.sendOn(b.flow, request(sip.OPTIONS), on); err != nil {
					t.Fatal(err)
				}
				b.wait(0)
				if len(got) != 3 || !errors.Is(got[2], ErrFlowDown) {
					t.Errorf("errors %v, want a third ErrFlowDown", got)
				}
			})
		})
	}
}

func TestWriteErrorEndsClient(t *testing.T) {
	refused := errors.New("connection refused")
	t.Run("first write", func(t *testing.T) {
		inLab(t, transport.UDP, Config{}, func(b *lab) {
			b.flow.setRefuse(refused)
			b.send(sip.INVITE)
			b.wait(time.Minute)
			b.trace("0.00 error connection refused")
		})
	})
	t.Run("retransmission", func(t *testing.T) {
		inLab(t, transport.UDP, Config{}, func(b *lab) {
			b.send(sip.REGISTER)
			b.wait(100 * time.Millisecond)
			b.flow.setRefuse(refused)
			b.wait(time.Minute)
			b.trace("0.00 REGISTER", "0.50 error connection refused")
		})
	})
}

func TestClosingTheLayerEndsClients(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		b.send(sip.INVITE)
		b.wait(time.Second)
		b.layer.close()
		b.trace("0.00 INVITE", "0.50 INVITE", "1.00 error closed")
		if _, err := b.layer.sendOn(b.flow, request(sip.OPTIONS), b.on); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after the end: %v, want ErrClosed", err)
		}
		if err := b.layer.writeOn(b.flow, request(sip.ACK)); !errors.Is(err, ErrClosed) {
			t.Errorf("Write after the end: %v, want ErrClosed", err)
		}
		b.receive(incoming{method: "OPTIONS"}.String())
		b.trace()
		ran := false
		b.layer.Do("any", func() { ran = true })
		b.wait(0)
		if !ran {
			t.Error("Do did not run after the end")
		}
	})
}

// A request that was sent but is not yet on its way when the layer closes.
func TestClosingTheLayerBeforeTheRequestWasWritten(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		hold := make(chan struct{})
		b.layer.Do("call-1@192.0.2.1", func() { <-hold })
		b.send(sip.OPTIONS)
		go b.layer.close()
		b.wait(time.Second)
		close(hold)
		b.wait(time.Second)
		b.trace("1.00 error closed")
	})
}

func TestFlowDownEndsItsOwnTransactionsOnly(t *testing.T) {
	var s *Server
	inLab(t, transport.UDP, Config{OnRequest: keeping(&s)}, func(b *lab) {
		other := newFakeFlow(transport.UDP)
		id := sip.CallIDHeader("call-2@198.51.100.7")
		req := request(sip.OPTIONS)
		req.ReplaceHeader(&id)
		if _, err := b.layer.sendOn(b.flow, req, b.on); err != nil {
			t.Fatal(err)
		}
		b.receive(incoming{method: "INVITE"}.String())
		kept := s
		b.receiveOn(other, incoming{method: "INFO", branch: "z9hG4bK-2", cseq: 2}.String())
		b.wait(0)
		close(other.done)
		b.wait(0)
		if !s.Terminated() || kept.Terminated() || b.layer.Stats().Clients != 1 {
			t.Errorf("ended: on the flow that is down %v, on the other %v; %d clients, want true, false, 1",
				s.Terminated(), kept.Terminated(), b.layer.Stats().Clients)
		}
	})
}

// A flow that is down ends a new transaction at once, even if the end of an older
// one still waits in its queue.
func TestFlowDownTwice(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		hold := make(chan struct{})
		b.receive(incoming{method: "INVITE"}.String())
		b.layer.Do("call-2@198.51.100.7", func() { <-hold })
		b.flow.down(nil)
		b.wait(time.Second)
		b.send(sip.OPTIONS)
		b.wait(time.Second)
		b.trace("0.00 got INVITE", "1.00 OPTIONS", "1.00 error flow down")
		close(hold)
	})
}

// RFC 3261 sections 8.1.3.3, 17.1.3 and 18.1.2.
func TestResponseMatching(t *testing.T) {
	tests := []struct {
		name   string
		change [2]string // in the response
		want   bool
	}{
		{"as it was sent", [2]string{"", ""}, true},
		{"with received and rport", [2]string{";rport;", ";rport=1024;received=203.0.113.9;"}, true},
		{"another branch", [2]string{";branch=z9hG4bK", ";branch=z9hG4bKx"}, false},
		{"another sent-by host", [2]string{"UDP 192.0.2.1:5060", "UDP 192.0.2.9:5060"}, false},
		{"another sent-by port", [2]string{"UDP 192.0.2.1:5060", "UDP 192.0.2.1:5061"}, false},
		{"another method in CSeq", [2]string{"1 OPTIONS", "1 INFO"}, false},
		{"another Call-ID", [2]string{"call-1@", "call-9@"}, false},
		{"more than one Via", [2]string{"\r\nFrom", "\r\nVia: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKq\r\nFrom"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, transport.UDP, Config{}, func(b *lab) {
				b.send(sip.OPTIONS)
				b.wait(0)
				b.receive(replace(t, response(b.flow.sent(t, "OPTIONS "), 200), tt.change))
				if tt.want {
					b.trace("0.00 OPTIONS", "0.00 got 200")
				} else {
					b.trace("0.00 OPTIONS")
				}
			})
		})
	}
}

// The same request object with a new CSeq and an Authorization is sent again
// from within the callback, and the first transaction still does its duty.
func TestSameRequestAgainAfterAChallenge(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		req := request(sip.INVITE)
		_, err := b.layer.sendOn(b.flow, req, func(res *sip.Response, err error) {
			b.on(res, err)
			req.CSeq().SeqNo++
			if _, err := b.layer.sendOn(b.flow, req, b.on); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		b.wait(0)
		first := b.flow.sent(t, "INVITE ")
		b.receive(response(first, 401, "tag=x"))
		second := b.flow.sent(t, "INVITE ")
		b.receive(response(first, 401, "tag=x")) // a retransmission
		b.receive(response(second, 200, "tag=x"))
		b.trace("0.00 INVITE", "0.00 ACK", "0.00 got 401", "0.00 INVITE", "0.00 ACK", "0.00 got 200")
		if got := header(b.flow.sent(t, "ACK "), "Via"); got != header(first, "Via") {
			t.Errorf("Via of the ACK is %s, want the first INVITE's", got)
		}
		if header(first, "Via") == header(second, "Via") {
			t.Error("both INVITEs have the same branch")
		}
	})
}
