package ua

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/internal/memnet"
)

// setUp starts a peer and a phone with one account.
func setUp(t *testing.T, acc Account) (*peer, *phone) {
	t.Helper()
	n := memnet.New()
	return startPeer(t, n, peerAddr), startPhone(t, n, phoneAddr, alice(acc))
}

func header(m sip.Message, name string) string {
	if hs := m.GetHeaders(name); len(hs) > 0 {
		return hs[0].Value()
	}
	return ""
}

func TestRefusals(t *testing.T) {
	const video = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 9\r\n"
	self := "sip:alice@" + phoneAddr
	for _, tc := range []struct {
		name, method, uri, body string
		extra                   []string
		code                    int
		header, value           string
	}{
		{"an unknown user", "INVITE", "sip:carol@" + phoneAddr, peerSDP(), nil, 404, "", ""},
		{"our user at somebody else's host", "INVITE", "sip:alice@example.org", peerSDP(), nil, 404, "", ""},
		{"a method that is not served", "MESSAGE", self, "", nil, 405, "Allow", allow},
		{"a method nobody has heard of", "JUGGLE", self, "", nil, 501, "Allow", allow},
		{"another body than SDP", "INVITE", self, "x", []string{"Content-Type: text/plain"}, 415, "Accept", sdpType},
		{"a compressed body", "INVITE", self, peerSDP(), []string{"Content-Encoding: gzip"}, 415, "Accept-Encoding", "identity"},
		{"a tel URI", "INVITE", "tel:+123", peerSDP(), nil, 416, "", ""},
		{"a sips URI", "INVITE", "sips:alice@" + phoneAddr, peerSDP(), nil, 416, "", ""},
		{"nothing that is required", "OPTIONS", self, "", []string{"Require: ,"}, 200, "", ""},
		{"an extension that is required", "INVITE", self, peerSDP(), []string{"Require: 100rel, timer"}, 420, "Unsupported", "100rel, timer"},
		{"a dialog that is not there", "BYE", self, "", []string{"To: <" + self + ">;tag=x"}, 481, "", ""},
		{"a BYE without dialog", "BYE", self, "", nil, 481, "", ""},
		{"a re-INVITE for no dialog", "INVITE", self, peerSDP(), []string{"To: <" + self + ">;tag=x"}, 481, "", ""},
		{"no codec in common", "INVITE", self, video, nil, 488, "Warning", "305 192.0.2.10"},
		{"a description that is none", "INVITE", self, "hello", nil, 400, "", ""},
		{"an INVITE without Contact", "INVITE", self, peerSDP(), []string{"Contact:"}, 400, "", ""},
		{"OPTIONS for an unknown user", "OPTIONS", "sip:carol@" + phoneAddr, "", nil, 404, "", ""},
		{"OPTIONS", "OPTIONS", self, "", nil, 200, "Accept", sdpType},
		{"OPTIONS for nobody in particular", "OPTIONS", "sip:" + phoneAddr, "", nil, 200, "Allow", allow},
		{"the AOR's domain is as good as our address", "INVITE", "sip:alice@" + peerAddr, peerSDP(), nil, 180, "", ""},
		{"a user with an escape", "OPTIONS", "sip:%61lice@" + phoneAddr, "", nil, 200, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := setUp(t, Account{})
				r.send(r.build(tc.method, tc.uri, "c1", 1, tc.body, tc.extra...), phoneAt())
				res := r.response(tc.code)
				if !strings.HasPrefix(header(res, tc.header), tc.value) {
					t.Errorf("%s: %q, want %q", tc.header, header(res, tc.header), tc.value)
				}
				p.stop()
			})
		})
	}
}

func TestManualAnswer(t *testing.T) { bubble(t, testManualAnswer) }

func testManualAnswer(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	r.invite(phoneAt(), "c1", peerSDP())
	ringing := r.response(180)
	tag, _ := ringing.To().Params.Get("tag")
	c := p.event(t, CallIncoming).Call
	if c.State() != Ringing || c.Peer() != "sip:bob@192.0.2.1" || c.Outgoing() {
		t.Errorf("state %s, peer %s, outgoing %v", c.State(), c.Peer(), c.Outgoing())
	}
	time.Sleep(5 * time.Second)
	if err := c.Answer(t.Context()); err != nil {
		t.Fatal(err)
	}
	ok := r.response(200)
	if again, _ := ok.To().Params.Get("tag"); again != tag {
		t.Error("180 and 200 have different tags")
	}
	if got, want := header(ok, "Contact"), "<sip:alice@192.0.2.10:5060>"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	if body := string(ok.Body()); !strings.Contains(body, "c=IN IP4 192.0.2.10\r\n") || !strings.Contains(body, "m=audio ") {
		t.Errorf("answer:\n%s", body)
	}
	// No ACK: the 200 comes again after T1, then after twice that.
	begin := time.Now()
	for _, after := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond} {
		if m := r.next(); m.when.Sub(begin) != after {
			t.Errorf("%s after %v, want the 200 again after %v", firstLine(m), m.when.Sub(begin), after)
		}
	}
	r.within("ACK", ok, phoneAt(), 1, "")
	r.quiet(time.Minute)
	if err := c.Answer(t.Context()); err == nil {
		t.Error("a call can be answered twice")
	}
	r.within("BYE", ok, phoneAt(), 2, "")
	r.response(200)
	<-c.Done()
	synctest.Wait()
	if c.Err() != nil || c.State() != Ended || len(p.Calls()) != 0 {
		t.Errorf("err %v, state %s, %d calls left", c.Err(), c.State(), len(p.Calls()))
	}
	if got, want := p.kinds(), "call_incoming call_answered call_ended"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestNoACKEndsTheCall(t *testing.T) { bubble(t, testNoACK) }

func testNoACK(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	defer p.stop()
	r.invite(phoneAt(), "c1", peerSDP())
	r.response(200)
	begin := time.Now()
	for {
		m := r.next()
		req, ok := m.Message.(*sip.Request)
		if !ok {
			continue // the 200 again
		}
		if req.Method != sip.BYE || m.when.Sub(begin) != 32*time.Second {
			t.Errorf("%s after %v, want BYE after 64*T1", firstLine(m), m.when.Sub(begin))
		}
		r.reply(req, m.from, 200, "", "")
		break
	}
	synctest.Wait()
	if e := p.event(t, CallEnded); e.Err == nil {
		t.Error("the call ended without saying why")
	}
}

func TestHangupBeforeTheACKWaitsForIt(t *testing.T) { bubble(t, testHangupBeforeACK) }

func testHangupBeforeACK(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	defer p.stop()
	r.invite(phoneAt(), "c1", "") // no offer: ours comes in the 200, the answer would in the ACK
	ok := r.response(200)
	p.event(t, CallAnswered).Call.Hangup()
	r.quiet(400 * time.Millisecond)
	r.within("ACK", ok, phoneAt(), 1, peerSDP())
	if req, m := r.request(sip.BYE); req != nil {
		r.reply(req, m.from, 200, "", "")
	}
}

func TestOfferInThe200(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		stands       bool
	}{
		{"answered in the ACK", peerSDP(), true},
		{"never answered", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := setUp(t, Account{Answer: AnswerAuto})
				r.invite(phoneAt(), "c1", "")
				ok := r.response(200)
				if !strings.Contains(string(ok.Body()), "m=audio") {
					t.Errorf("no offer in %q", ok.Body())
				}
				r.within("ACK", ok, phoneAt(), 1, tc.answer)
				if !tc.stands {
					req, m := r.request(sip.BYE)
					r.reply(req, m.from, 200, "", "")
					return
				}
				r.quiet(time.Minute)
				if s := p.event(t, CallAnswered).Call.Stats(); s.TxPackets < 2900 {
					t.Errorf("%d packets in a minute", s.TxPackets)
				}
			})
		})
	}
}

func TestCancel(t *testing.T) { bubble(t, testCancel) }

func testCancel(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	r.invite(phoneAt(), "c1", peerSDP())
	r.response(180)
	cancel := strings.ReplaceAll(r.build("CANCEL", "sip:alice@"+phoneAddr, "c1", 1, ""), "c1-1-CANCEL", "c1-1-INVITE")
	r.send(cancel, phoneAt())
	for _, want := range []string{"CANCEL", "INVITE"} {
		res := r.next().Message.(*sip.Response)
		if code := map[string]int{"CANCEL": 200, "INVITE": 487}[want]; res.StatusCode != code || string(res.CSeq().MethodName) != want {
			t.Errorf("got %d %s, want %d %s", res.StatusCode, res.CSeq().MethodName, code, want)
		}
	}
	synctest.Wait()
	if e := p.event(t, CallEnded); e.Err != nil || len(p.Calls()) != 0 {
		t.Errorf("err %v, %d calls", e.Err, len(p.Calls()))
	}
}

func TestRingingEndsAfterTwoMinutes(t *testing.T) { bubble(t, testRingTimeout) }

func testRingTimeout(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	r.invite(phoneAt(), "c1", peerSDP())
	r.response(180)
	time.Sleep(119 * time.Second)
	r.quiet(900 * time.Millisecond)
	r.response(480)
}

func TestBusyPolicies(t *testing.T) { bubble(t, testBusyPolicies) }

func testBusyPolicies(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerBusy})
	r.invite(phoneAt(), "c1", peerSDP())
	r.response(486)
	p.stop()
	r.conn.Close()

	r, p = setUp(t, Account{MaxCalls: 1})
	defer p.stop()
	r.invite(phoneAt(), "c1", peerSDP())
	r.response(180)
	r.invite(phoneAt(), "c2", peerSDP())
	r.response(486)
	p.event(t, CallIncoming).Call.Reject(603, "Decline")
	r.response(603)
	synctest.Wait()
	r.invite(phoneAt(), "c3", peerSDP())
	for { // the 603 is repeated until its ACK
		if m := r.next(); m.CallID().Value() == "c3" && !strings.Contains(firstLine(m), " 100 ") {
			if !strings.Contains(firstLine(m), "180") {
				t.Errorf("got %s: a rejected call still counts", firstLine(m))
			}
			break
		}
	}
}

func TestReINVITEFromThePeer(t *testing.T) { bubble(t, testReINVITEFromThePeer) }

func testReINVITEFromThePeer(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	defer p.stop()
	r.invite(phoneAt(), "c1", peerSDP())
	ok := r.response(200)
	// Before the ACK there is no place for another (RFC 3261 section 14.2).
	r.within("INVITE", ok, phoneAt(), 2, peerSDP())
	if res := r.response(500); header(res, "Retry-After") == "" {
		t.Error("500 without Retry-After")
	}
	r.within("ACK", ok, phoneAt(), 2, "")
	r.within("ACK", ok, phoneAt(), 1, "")
	synctest.Wait()
	r.within("INVITE", ok, phoneAt(), 3, strings.Replace(peerSDP("a=sendonly\r\n"), "- 1 1 IN", "- 1 2 IN", 1), "Contact: <sip:bob@192.0.2.1:5070>")
	hold := r.response(200)
	if !strings.Contains(string(hold.Body()), "a=recvonly") {
		t.Errorf("the answer to a hold:\n%s", hold.Body())
	}
	r.within("ACK", ok, phoneAt(), 3, "")
	// An offer that cannot be met leaves the session as it was.
	r.within("INVITE", ok, phoneAt(), 4, strings.Replace(peerSDP(), "RTP/AVP 0 101", "RTP/AVP 9 101", 1))
	r.response(488)
	r.within("ACK", ok, phoneAt(), 4, "")
	r.within("OPTIONS", ok, phoneAt(), 3, "")
	if res := r.response(500); !strings.Contains(res.Reason, "CSeq") {
		t.Errorf("an old CSeq got %s", res.Reason)
	}
	if c := p.event(t, CallAnswered).Call; c.State() != Established || port(c) != 5070 {
		t.Errorf("state %s, target port %d", c.State(), port(c))
	}
	r.within("BYE", ok, phoneAt(), 5, "")
	r.response(200)
}

// port is the port of the peer's Contact, read on the call's queue.
func port(c *Call) (n int) {
	done := make(chan struct{})
	c.do(func() { target := c.dialog.Target(); n = target.Port; close(done) })
	<-done
	return n
}
