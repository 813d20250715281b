package ua

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/internal/memnet"
)

// inCall brings a phone into a call that the peer made, and returns our 200.
func inCall(t *testing.T, r *peer, p *phone) (*Call, *sip.Response) {
	t.Helper()
	r.invite(phoneAt(), "c1", peerSDP())
	ok := r.response(200)
	r.within("ACK", ok, phoneAt(), 1, "")
	synctest.Wait()
	return p.event(t, CallAnswered).Call, ok
}

// acceptMove answers a re-INVITE and checks what it says.
func acceptMove(t *testing.T, r *peer, addr string) *sip.Request {
	t.Helper()
	req, m := r.request(sip.INVITE)
	if !req.To().Params.Has("tag") || m.from.Addr().String() != addr {
		t.Errorf("from %s:\n%s", m.from, req)
	}
	if got, want := header(req, "Contact"), "<sip:alice@"+addr+":5060>"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	if !strings.Contains(string(req.Body()), "c=IN IP4 "+addr+"\r\n") {
		t.Errorf("offer:\n%s", req.Body())
	}
	r.reply(req, m.from, 200, "", strings.Replace(peerSDP(), "- 1 1 IN", "- 1 2 IN", 1), "Contact: <sip:bob@192.0.2.1:5060>")
	r.request(sip.ACK)
	return req
}

func TestCallMovesWithItsAddress(t *testing.T) { bubble(t, testCallMoves) }

func testCallMoves(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	defer p.stop()
	c, ok := inCall(t, r, p)
	before := c.Stats().TxPackets
	begin := time.Now()
	p.addresses("192.0.2.11")
	first := acceptMove(t, r, "192.0.2.11")
	if time.Since(begin) != 0 {
		t.Errorf("the re-INVITE came after %v, want at once", time.Since(begin))
	}
	// The origin is the same session, one version later (RFC 3264 section 8).
	oldLine, newLine := originOf(ok.Body()), originOf(first.Body())
	if len(oldLine) != 6 || len(newLine) != 6 || oldLine[1] != newLine[1] || oldLine[2] >= newLine[2] {
		t.Errorf("origin %v then %v", oldLine, newLine)
	}
	r.quiet(time.Minute)
	if s := c.Stats(); s.TxPackets < before+2900 || s.Local.Addr().String() != "192.0.2.11" {
		t.Errorf("%d packets in a minute from %s", s.TxPackets-before, s.Local)
	}
	if got, want := p.kinds(), "call_incoming call_answered call_moved"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func originOf(body []byte) []string {
	for line := range strings.SplitSeq(string(body), "\r\n") {
		if rest, ok := strings.CutPrefix(line, "o="); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

func TestCallSurvivesAGapWithoutAddress(t *testing.T) { bubble(t, testCallGap) }

func testCallGap(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	defer p.stop()
	c, _ := inCall(t, r, p)
	p.addresses()
	r.quiet(30 * time.Second)
	p.addresses(phoneAddr) // the same one is back: the peer has to hear of it all the same
	acceptMove(t, r, phoneAddr)
	r.quiet(2 * time.Minute)
	if c.State() != Established {
		t.Errorf("state %s", c.State())
	}
}

func TestCallWithoutAddressIsGivenUp(t *testing.T) { bubble(t, testCallGivenUp) }

func testCallGivenUp(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	defer p.stop()
	c, _ := inCall(t, r, p)
	begin := time.Now()
	p.addresses()
	<-c.Done()
	if took := time.Since(begin); took != recovery || c.Err() == nil {
		t.Errorf("err %v after %v, want a reason after %v", c.Err(), took, recovery)
	}
}

func TestAnswersToAMove(t *testing.T) {
	for _, tc := range []struct {
		name string
		code int
		then string // what follows
	}{
		{"the peer does not know the call any more", 481, "ended"},
		{"the peer cannot", 488, "established"},
		{"glare", 491, "again"},
		{"glare as the peer's re-INVITE sees it", 500, "told"},
		{"the peer is busy", 500, "established"},
		{"the peer heard nothing from its own peer", 408, "bye"},
		{"the peer asks who we are", 407, "again"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := setUp(t, Account{Answer: AnswerAuto, AuthPass: "secret"})
				defer p.stop()
				c, _ := inCall(t, r, p)
				p.addresses("192.0.2.11")
				req, m := r.request(sip.INVITE)
				var extra []string
				switch {
				case tc.then == "told":
					extra = []string{"Retry-After: 7"}
				case tc.code == 407:
					extra = []string{strings.Replace(ask, "WWW-", "Proxy-", 1)}
				}
				r.reply(req, m.from, tc.code, "", "", extra...)
				r.request(sip.ACK)
				switch tc.then {
				case "told":
					time.Sleep(time.Second)
					p.addresses("192.0.2.11", "198.51.100.7") // is none of its business
					r.quiet(5999 * time.Millisecond)
					acceptMove(t, r, "192.0.2.11")
					if wait := time.Since(m.when); wait != 7*time.Second {
						t.Errorf("again after %v", wait)
					}
				case "bye":
					bye, m := r.request(sip.BYE)
					r.reply(bye, m.from, 200, "", "")
					synctest.Wait()
					if c.State() != Ended || c.Err() == nil {
						t.Errorf("state %s, err %v", c.State(), c.Err())
					}
				case "ended":
					<-c.Done()
					if c.Err() == nil {
						t.Error("no reason")
					}
				case "established":
					r.quiet(time.Minute)
					if c.State() != Established {
						t.Errorf("state %s", c.State())
					}
				case "again":
					begin := m.when
					acceptMove(t, r, "192.0.2.11")
					if wait := time.Since(begin); wait > 2*time.Second {
						t.Errorf("again after %v; who does not own the Call-ID waits 2 s at most", wait)
					}
				}
			})
		})
	}
}

func TestPeersReINVITEDuringOurs(t *testing.T) { bubble(t, testGlareFromThePeer) }

func testGlareFromThePeer(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	defer p.stop()
	_, ok := inCall(t, r, p)
	p.addresses("192.0.2.11")
	r.request(sip.INVITE)
	r.within("INVITE", ok, netip.MustParseAddrPort("192.0.2.11:5060"), 2, peerSDP())
	for {
		m := r.next()
		if res, isRes := m.Message.(*sip.Response); isRes && res.StatusCode != sip.StatusTrying {
			if res.StatusCode != 491 {
				t.Errorf("got %d, want 491", res.StatusCode)
			}
			return
		}
	}
}

func TestCallMovesWhileItRings(t *testing.T) { bubble(t, testMoveWhileRinging) }

func testMoveWhileRinging(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	c := dial(t, p)
	r.request(sip.INVITE)
	p.addresses("192.0.2.11")
	req, m := r.request(sip.INVITE)
	if m.from.Addr().String() != "192.0.2.11" || !strings.Contains(string(req.Body()), "c=IN IP4 192.0.2.11") {
		t.Errorf("from %s:\n%s", m.from, req)
	}
	r.reply(req, m.from, 200, "b1", peerSDP(), "Contact: <sip:bob@192.0.2.1:5060>")
	r.request(sip.ACK)
	synctest.Wait()
	if c.State() != Established {
		t.Errorf("state %s", c.State())
	}
}

func TestHangupDuringAMove(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(r *peer, c *Call, ok *sip.Response)
	}{
		{"by us", func(r *peer, c *Call, _ *sip.Response) {
			c.Hangup()
			bye, m := r.request(sip.BYE)
			r.reply(bye, m.from, 200, "", "")
		}},
		{"by the peer", func(r *peer, _ *Call, ok *sip.Response) {
			r.within("BYE", ok, netip.MustParseAddrPort("192.0.2.11:5060"), 2, "")
			r.response(200)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := setUp(t, Account{Answer: AnswerAuto})
				defer p.stop()
				c, ok := inCall(t, r, p)
				p.addresses("192.0.2.11")
				inv, m := r.request(sip.INVITE)
				tc.end(r, c, ok)
				<-c.Done()
				// The 2xx was under way: without an ACK it would come again for 32 s.
				r.reply(inv, m.from, 200, "", peerSDP(), "Contact: <sip:bob@192.0.2.1:5060>")
				r.request(sip.ACK)
				r.quiet(time.Minute)
				if c.Err() != nil {
					t.Errorf("err %v", c.Err())
				}
			})
		})
	}
}

func TestNothingIsSentForACallThatEndedMeanwhile(t *testing.T) { bubble(t, testEndedWhileConnecting) }

func testEndedWhileConnecting(t *testing.T) {
	n := memnet.New()
	slow := func(netip.Addr, netip.AddrPort) error { time.Sleep(4 * time.Second); return nil }
	n.SetHooks(memnet.Hooks{Dial: slow})
	r := startPeer(t, n, peerAddr)
	l, err := n.Host(netip.MustParseAddr("192.0.2.3")).Listen(t.Context(), netip.MustParseAddrPort("192.0.2.3:5060"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := startPhone(t, n, phoneAddr, alice(Account{Answer: AnswerAuto}))
	defer p.stop()
	r.invite(phoneAt(), "c1", peerSDP(), "Contact: <sip:bob@192.0.2.3;transport=tcp>")
	ok := r.response(200)
	r.within("ACK", ok, phoneAt(), 1, "")
	synctest.Wait()
	c := p.event(t, CallAnswered).Call
	p.addresses("192.0.2.11") // the re-INVITE waits for a connection
	time.Sleep(time.Second)
	r.within("BYE", ok, netip.MustParseAddrPort("192.0.2.11:5060"), 2, "")
	r.response(200)
	<-c.Done()
	time.Sleep(time.Minute)
	done := make(chan bool)
	c.do(func() { done <- c.stream == nil })
	if !<-done {
		t.Error("the ended call has opened media")
	}
}

func TestMediaMovesThoughSignallingNeedNot(t *testing.T) { bubble(t, testMediaMoves) }

func testMediaMoves(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	defer p.stop()
	_, ok := inCall(t, r, p)
	p.addresses(phoneAddr, "192.0.2.11")
	// The peer's re-INVITE comes to our other address: signalling stands there from now on, media where it was.
	r.within("INVITE", ok, netip.MustParseAddrPort("192.0.2.11:5060"), 2, strings.Replace(peerSDP(), "- 1 1 IN", "- 1 2 IN", 1))
	ok = r.response(200)
	r.within("ACK", ok, netip.MustParseAddrPort("192.0.2.11:5060"), 2, "")
	r.quiet(time.Second)
	p.addresses("192.0.2.11")
	acceptMove(t, r, "192.0.2.11")
	r.quiet(time.Minute)
}

func TestGlareIsNotForEver(t *testing.T) { bubble(t, testEndlessGlare) }

func testEndlessGlare(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	defer p.stop()
	c, _ := inCall(t, r, p)
	p.addresses("192.0.2.11")
	for range maxChallenges + 1 {
		req, m := r.request(sip.INVITE)
		r.reply(req, m.from, 491, "", "")
		r.request(sip.ACK)
	}
	r.quiet(time.Minute)
	if c.State() != Established {
		t.Errorf("state %s", c.State())
	}
}

func TestGlare(t *testing.T) {
	for range 1000 {
		if d := glare(true); d < 2100*time.Millisecond || d > 4*time.Second {
			t.Fatalf("the owner of the Call-ID waits %v", d)
		}
		if d := glare(false); d < 0 || d > 2*time.Second {
			t.Fatalf("the other waits %v", d)
		}
	}
}

func TestUnansweredMoveEndsTheCall(t *testing.T) { bubble(t, testUnansweredMove) }

func testUnansweredMove(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	defer p.stop()
	c, _ := inCall(t, r, p)
	begin := time.Now()
	p.addresses("192.0.2.11")
	for {
		m := r.next()
		if req, ok := m.Message.(*sip.Request); ok && req.Method == sip.BYE {
			if wait := m.when.Sub(begin); wait != 32*time.Second {
				t.Errorf("BYE after %v, want 64*T1", wait)
			}
			r.reply(req, m.from, 200, "", "")
			break
		}
	}
	synctest.Wait()
	if c.State() != Ended || c.Err() == nil {
		t.Errorf("state %s, err %v", c.State(), c.Err())
	}
}
