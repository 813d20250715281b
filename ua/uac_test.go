package ua

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/internal/memnet"
)

const bob = "sip:bob@" + peerAddr

func dial(t *testing.T, p *phone) *Call {
	t.Helper()
	c, err := p.Dial(t.Context(), "", bob, CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOutgoingCall(t *testing.T) { bubble(t, testOutgoingCall) }

func testOutgoingCall(t *testing.T) {
	r, p := setUp(t, Account{AuthPass: "secret", Display: "Alice"})
	defer p.stop()
	c := dial(t, p)
	inv, m := r.request(sip.INVITE)
	if got := inv.Recipient.String(); got != bob {
		t.Errorf("Request-URI %s", got)
	}
	if !strings.HasPrefix(inv.From().Value(), `"Alice" <sip:alice@192.0.2.1>;tag=`) || header(inv, "Contact") != "<sip:alice@192.0.2.10:5060>" {
		t.Errorf("From %s, Contact %s", inv.From().Value(), header(inv, "Contact"))
	}
	r.reply(inv, m.from, 407, "b1", "", strings.Replace(ask, "WWW-", "Proxy-", 1))
	r.request(sip.ACK)
	again, m := r.request(sip.INVITE)
	if again.GetHeader("Proxy-Authorization") == nil || again.CSeq().SeqNo != inv.CSeq().SeqNo+1 || again.From().Value() != inv.From().Value() {
		t.Errorf("after the challenge:\n%s", again)
	}
	r.reply(again, m.from, 180, "b1", "")
	synctest.Wait()
	if c.State() != Ringing {
		t.Errorf("state %s after 180", c.State())
	}
	r.reply(again, m.from, 200, "b1", peerSDP(), "Contact: <sip:bob@192.0.2.1:5060>", "Record-Route: <sip:192.0.2.1;lr>")
	ack, _ := r.request(sip.ACK)
	if ack.CSeq().SeqNo != again.CSeq().SeqNo || header(ack, "Route") != "<sip:192.0.2.1;lr>" || ack.GetHeader("Proxy-Authorization") == nil {
		t.Errorf("ACK:\n%s", ack)
	}
	// The 200 again: the ACK again.
	r.reply(again, m.from, 200, "b1", peerSDP(), "Contact: <sip:bob@192.0.2.1:5060>")
	if second, _ := r.request(sip.ACK); second.Via().Value() != ack.Via().Value() {
		t.Error("the ACK was not repeated but made anew")
	}
	time.Sleep(time.Second)
	if s := c.Stats(); c.State() != Established || s.TxPackets < 45 {
		t.Errorf("state %s, %d packets sent in a second", c.State(), s.TxPackets)
	}
	c.Hangup()
	bye, m := r.request(sip.BYE)
	if bye.CSeq().SeqNo <= again.CSeq().SeqNo || bye.GetHeader("Proxy-Authorization") == nil {
		t.Errorf("BYE:\n%s", bye)
	}
	r.reply(bye, m.from, 200, "", "")
	<-c.Done()
	synctest.Wait()
	if s := c.Stats(); c.Err() != nil || s.TxPackets < 45 {
		t.Errorf("err %v, %d packets in the final counters", c.Err(), s.TxPackets)
	}
	if got, want := p.kinds(), "call_progress call_answered call_ended"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestRefusedCall(t *testing.T) { bubble(t, testRefusedCall) }

func testRefusedCall(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	c := dial(t, p)
	inv, m := r.request(sip.INVITE)
	r.reply(inv, m.from, 486, "b1", "")
	r.request(sip.ACK)
	<-c.Done()
	var status *StatusError
	if !errors.As(c.Err(), &status) || status.Code != 486 {
		t.Errorf("err %v, want 486", c.Err())
	}
}

func TestNobodyAnswers(t *testing.T) { bubble(t, testNobodyAnswers) }

func testNobodyAnswers(t *testing.T) {
	_, p := setUp(t, Account{})
	defer p.stop()
	begin := time.Now()
	c := dial(t, p)
	<-c.Done()
	if took := time.Since(begin); c.Err() == nil || took != 32*time.Second {
		t.Errorf("err %v after %v, want a time-out after 64*T1", c.Err(), took)
	}
}

func TestHangupWhileRinging(t *testing.T) { bubble(t, testHangupWhileRinging) }

func testHangupWhileRinging(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	c := dial(t, p)
	inv, m := r.request(sip.INVITE)
	c.Hangup()
	r.quiet(100 * time.Millisecond) // RFC 3261 section 9.1: not before a provisional
	r.reply(inv, m.from, 180, "b1", "")
	cancel, cm := r.request(sip.CANCEL)
	r.reply(cancel, cm.from, 200, "b1", "")
	r.reply(inv, m.from, 487, "b1", "")
	r.request(sip.ACK)
	<-c.Done()
	if c.Err() != nil {
		t.Errorf("err %v: hanging up is no failure", c.Err())
	}
}

func TestHangupBetweenTwoTargets(t *testing.T) { bubble(t, testHangupBetweenTwoTargets) }

func testHangupBetweenTwoTargets(t *testing.T) {
	n := memnet.New()
	n.SetHooks(memnet.Hooks{Dial: func(netip.Addr, netip.AddrPort) error {
		time.Sleep(2 * time.Second)
		return nil
	}})
	first := startPeer(t, n, "192.0.2.2")
	second, err := n.Host(netip.MustParseAddr("192.0.2.3")).Listen(t.Context(), netip.MustParseAddrPort("192.0.2.3:5060"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	p := startPhone(t, n, phoneAddr, func(c *Config) {
		c.Accounts = []Account{{AOR: "sip:alice@example.com", Outbound: []string{"192.0.2.2", "sip:192.0.2.3;transport=tcp"}}}
	})
	defer p.stop()
	c := dial(t, p)
	inv, m := first.request(sip.INVITE)
	first.reply(inv, m.from, 503, "b1", "")
	first.request(sip.ACK)
	time.Sleep(time.Second) // the connection to the second is being opened
	c.Hangup()
	synctest.Wait()
	select {
	case <-c.Done():
	default:
		t.Fatal("the call goes on to the second target")
	}
	if c.Err() != nil {
		t.Errorf("err %v: hanging up is no failure", c.Err())
	}
}

func TestAnswerCrossesTheCancel(t *testing.T) { bubble(t, testAnswerCrossesTheCancel) }

func testAnswerCrossesTheCancel(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	c := dial(t, p)
	inv, m := r.request(sip.INVITE)
	r.reply(inv, m.from, 180, "b1", "")
	synctest.Wait()
	c.Hangup()
	cancel, cm := r.request(sip.CANCEL)
	r.reply(inv, m.from, 200, "b1", peerSDP(), "Contact: <sip:bob@192.0.2.1:5060>")
	r.reply(cancel, cm.from, 481, "b1", "")
	seen := map[sip.RequestMethod]bool{}
	for range 2 {
		got := r.next()
		req, ok := got.Message.(*sip.Request)
		if !ok {
			t.Fatalf("got %s", firstLine(got))
		}
		seen[req.Method] = true
		if req.Method == sip.BYE {
			r.reply(req, got.from, 200, "", "")
		}
	}
	if !seen[sip.ACK] || !seen[sip.BYE] {
		t.Errorf("saw %v, want ACK and BYE", seen)
	}
	<-c.Done()
}

func TestSecondBranchOfAForkIsEnded(t *testing.T) { bubble(t, testFork) }

func testFork(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	c := dial(t, p)
	inv, m := r.request(sip.INVITE)
	for _, tag := range []string{"b1", "b2"} {
		r.reply(inv, m.from, 200, tag, peerSDP(), "Contact: <sip:bob@192.0.2.1:5060>")
	}
	acks, byes := map[string]bool{}, map[string]bool{}
	for range 3 {
		got := r.next()
		req, ok := got.Message.(*sip.Request)
		if !ok {
			t.Fatalf("got %s", firstLine(got))
		}
		tag, _ := req.To().Params.Get("tag")
		if req.Method == sip.BYE {
			byes[tag] = true
			r.reply(req, got.from, 200, "", "")
		} else {
			acks[tag] = true
		}
	}
	if !acks["b1"] || !acks["b2"] || !byes["b2"] || byes["b1"] {
		t.Errorf("acknowledged %v, ended %v: want both, and b2", acks, byes)
	}
	if c.State() != Established {
		t.Errorf("state %s", c.State())
	}
}

func TestEarlyMediaThen200WithoutSDP(t *testing.T) { bubble(t, testEarlyMedia) }

func testEarlyMedia(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	c := dial(t, p)
	inv, m := r.request(sip.INVITE)
	r.reply(inv, m.from, 183, "b1", peerSDP())
	time.Sleep(time.Second)
	if s := c.Stats(); s.TxPackets < 45 {
		t.Errorf("%d packets a second after 183 with an answer", s.TxPackets)
	}
	r.reply(inv, m.from, 200, "b1", "", "Contact: <sip:bob@192.0.2.1:5060>")
	r.request(sip.ACK)
	r.quiet(time.Minute)
	if c.State() != Established {
		t.Errorf("state %s", c.State())
	}
}

func TestUselessAnswerEndsTheCall(t *testing.T) { bubble(t, testUselessAnswer) }

func testUselessAnswer(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	c := dial(t, p)
	inv, m := r.request(sip.INVITE)
	r.reply(inv, m.from, 200, "b1", strings.Replace(peerSDP(), "4000 RTP/AVP", "0 RTP/AVP", 1), "Contact: <sip:bob@192.0.2.1:5060>")
	for range 2 {
		got := r.next()
		if req, ok := got.Message.(*sip.Request); ok && req.Method == sip.BYE {
			r.reply(req, got.from, 200, "", "")
		}
	}
	<-c.Done()
	if !errors.Is(c.Err(), ErrNoAnswer) {
		t.Errorf("err %v, want ErrNoAnswer", c.Err())
	}
}

func TestTwoPhonesTalk(t *testing.T) { bubble(t, testTwoPhonesTalk) }

func testTwoPhonesTalk(t *testing.T) {
	n := memnet.New()
	echo := startPhone(t, n, "192.0.2.20", func(c *Config) {
		c.Accounts = []Account{{AOR: "sip:echo@192.0.2.20", Answer: AnswerEcho}}
	})
	defer echo.stop()
	caller := startPhone(t, n, phoneAddr, alice(Account{}))
	defer caller.stop()
	c, err := caller.Dial(t.Context(), "", "echo@192.0.2.20", CallOptions{Source: "ausine,1000,-10"})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	s := c.Stats()
	if s.RxPackets < 200 || s.Lost != 0 || s.RxLevel < -14 || s.RxLevel > -6 {
		t.Errorf("%d packets came back, %d lost, level %.1f dBFS; want 1 kHz at -10 dBFS", s.RxPackets, s.Lost, s.RxLevel)
	}
	if err := c.SendDTMF(t.Context(), "42#"); err != nil {
		t.Error(err)
	}
	time.Sleep(3 * time.Second)
	var digits string
	for _, e := range echo.all() {
		if e.Kind == CallDTMF {
			digits += string(e.Digit)
		}
	}
	if digits != "42#" {
		t.Errorf("digits %q arrived, want 42#", digits)
	}
	other := echo.event(t, CallAnswered).Call
	other.Hangup() // the callee ends it this time
	<-c.Done()
	<-other.Done()
}

func TestDialErrors(t *testing.T) { bubble(t, testDialErrors) }

func testDialErrors(t *testing.T) {
	_, p := setUp(t, Account{MaxCalls: 1})
	defer p.stop()
	for _, tc := range []struct{ aor, uri string }{{"sip:carol@x", bob}, {"", "mailto:x@y"}, {"", "tel:+123"}, {"", "sip:a b@c"}, {"", "sip:a@h:99999"}} {
		if _, err := p.Dial(t.Context(), tc.aor, tc.uri, CallOptions{}); err == nil {
			t.Errorf("Dial(%q, %q) works", tc.aor, tc.uri)
		}
	}
	dial(t, p)
	if _, err := p.Dial(t.Context(), "", bob, CallOptions{}); err == nil || !strings.Contains(err.Error(), "max_calls") {
		t.Errorf("a call too many: %v", err)
	}
}

func TestA2xxWithoutTagThenOneWithIt(t *testing.T) { bubble(t, testTaglessAnswer) }

func testTaglessAnswer(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	c := dial(t, p)
	inv, m := r.request(sip.INVITE)
	r.reply(inv, m.from, 200, noTag, peerSDP(), "Contact: <sip:bob@192.0.2.1:5060>")
	synctest.Wait()
	if c.State() != Ended || c.Err() == nil {
		t.Error("a 2xx that makes no dialog ended the call without a reason")
	}
	r.reply(inv, m.from, 200, "b2", peerSDP(), "Contact: <sip:bob@192.0.2.1:5060>")
	r.request(sip.ACK)
	bye, m := r.request(sip.BYE)
	r.reply(bye, m.from, 200, "", "")
	synctest.Wait()
	if got, want := p.kinds(), "call_ended"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestCopiesOfEarlier2xxGetTheirOwnACK(t *testing.T) { bubble(t, testCopiesOf2xx) }

func testCopiesOf2xx(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	dial(t, p)
	inv, m := r.request(sip.INVITE)
	answer := func(tag string) {
		r.reply(inv, m.from, 200, tag, peerSDP(), "Contact: <sip:bob@192.0.2.1:5060>")
	}
	answer("b1")
	first, _ := r.request(sip.ACK)
	answer("b2")
	second, _ := r.request(sip.ACK)
	bye, bm := r.request(sip.BYE)
	r.reply(bye, bm.from, 200, "", "")
	answer("b2") // the ACK was lost: no second BYE
	if ack, _ := r.request(sip.ACK); ack.Via().Value() != second.Via().Value() {
		t.Errorf("the copy of the second branch's 200 got\n%s", ack)
	}
	p.addresses(phoneAddr) // as it was
	r.quiet(time.Second)
	// A re-INVITE later, a late copy of the first 200 still gets the first ACK.
	c := p.event(t, CallAnswered).Call
	c.do(c.reinvite)
	again, am := r.request(sip.INVITE)
	r.reply(again, am.from, 200, "", strings.Replace(peerSDP(), "- 1 1 IN", "- 1 2 IN", 1), "Contact: <sip:bob@192.0.2.1:5060>")
	if ack, _ := r.request(sip.ACK); ack.CSeq().SeqNo != again.CSeq().SeqNo {
		t.Errorf("the re-INVITE has CSeq %d, its ACK %d", again.CSeq().SeqNo, ack.CSeq().SeqNo)
	}
	answer("b1")
	if ack, _ := r.request(sip.ACK); ack.CSeq().SeqNo != first.CSeq().SeqNo {
		t.Errorf("the copy of the first 200 got an ACK with CSeq %d, want %d", ack.CSeq().SeqNo, first.CSeq().SeqNo)
	}
}

func TestEarlyMediaOfAnotherBranch(t *testing.T) { bubble(t, testEarlyMediaOfAnother) }

func testEarlyMediaOfAnother(t *testing.T) {
	r, p := setUp(t, Account{})
	defer p.stop()
	c := dial(t, p)
	inv, m := r.request(sip.INVITE)
	r.reply(inv, m.from, 183, "b1", peerSDP())
	r.reply(inv, m.from, 200, "b2", "", "Contact: <sip:bob@192.0.2.1:5060>")
	r.request(sip.ACK)
	bye, m := r.request(sip.BYE) // b2 has never answered the offer
	r.reply(bye, m.from, 200, "", "")
	synctest.Wait()
	if !errors.Is(c.Err(), ErrNoAnswer) {
		t.Errorf("err %v, want ErrNoAnswer", c.Err())
	}
}
