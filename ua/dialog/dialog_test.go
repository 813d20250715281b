package dialog_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/ua/dialog"
)

// parse reads a message written with bare newlines.
func parse(t *testing.T, text string) sip.Message {
	t.Helper()
	m, err := sip.ParseMessage([]byte(strings.ReplaceAll(strings.TrimSpace(text), "\n", "\r\n") + "\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func request(t *testing.T, text string) *sip.Request { return parse(t, text).(*sip.Request) }

func response(t *testing.T, text string) *sip.Response { return parse(t, text).(*sip.Response) }

const invite = `
INVITE sip:bob@b.example SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1
Record-Route: <sip:p2.example;lr>, <sip:p1.example:5070;transport=tcp;lr>
From: "Alice" <sip:alice@a.example>;tag=a1
To: <sip:bob@b.example>
Call-ID: c1
CSeq: 7 INVITE
Contact: <sip:alice@192.0.2.1:5060>
Content-Length: 0`

const ok = `
SIP/2.0 200 OK
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1
Record-Route: <sip:p2.example;lr>
Record-Route: <sip:p1.example;lr>
From: "Alice" <sip:alice@a.example>;tag=a1
To: <sip:bob@b.example>;tag=b1
Call-ID: c1
CSeq: 7 INVITE
Contact: <sip:bob@192.0.2.2:5080>
Content-Length: 0`

func routes(req *sip.Request) string {
	var rs []string
	for _, h := range req.GetHeaders("route") {
		rs = append(rs, h.Value())
	}
	return strings.Join(rs, " ")
}

func TestCallerTakesRouteFromTheResponseReversed(t *testing.T) {
	req := request(t, invite)
	d, err := dialog.NewUAC(req, response(t, ok))
	if err != nil {
		t.Fatal(err)
	}
	bye := d.Request(sip.BYE, nil)
	if got, want := bye.Recipient.String(), "sip:bob@192.0.2.2:5080"; got != want {
		t.Errorf("Request-URI %s, want the peer's Contact %s", got, want)
	}
	if got, want := routes(bye), "<sip:p1.example;lr> <sip:p2.example;lr>"; got != want {
		t.Errorf("routes %s, want %s", got, want)
	}
	if bye.CSeq().SeqNo != 8 || bye.CSeq().MethodName != sip.BYE {
		t.Errorf("CSeq %s, want 8 BYE", bye.CSeq().Value())
	}
	if from, to := bye.From().Value(), bye.To().Value(); from != `"Alice" <sip:alice@a.example>;tag=a1` || to != "<sip:bob@b.example>;tag=b1" {
		t.Errorf("From %s, To %s", from, to)
	}
	if hop := d.NextHop(); hop.Host != "p1.example" {
		t.Errorf("next hop %s, want p1.example", hop.Host)
	}
}

func TestCalleeTakesRouteFromTheRequestInOrder(t *testing.T) {
	d, err := dialog.NewUAS(request(t, invite), "b1")
	if err != nil {
		t.Fatal(err)
	}
	bye := d.Request(sip.BYE, nil)
	if got, want := routes(bye), "<sip:p2.example;lr> <sip:p1.example:5070;transport=tcp;lr>"; got != want {
		t.Errorf("routes %s, want %s", got, want)
	}
	if bye.CSeq().SeqNo != 1 {
		t.Errorf("CSeq %d: a callee counts for itself", bye.CSeq().SeqNo)
	}
	if tag, _ := bye.From().Params.Get("tag"); tag != "b1" {
		t.Errorf("From tag %q", tag)
	}
}

// RFC 3261 section 12.2.1.1 with the strict router of its example.
func TestStrictRouterBecomesTheRequestURI(t *testing.T) {
	res := response(t, strings.ReplaceAll(ok, "Record-Route: <sip:p1.example;lr>", "Record-Route: <sip:strict.example>"))
	d, err := dialog.NewUAC(request(t, invite), res)
	if err != nil {
		t.Fatal(err)
	}
	bye := d.Request(sip.BYE, nil)
	if got, want := bye.Recipient.String(), "sip:strict.example"; got != want {
		t.Errorf("Request-URI %s, want %s", got, want)
	}
	if got, want := routes(bye), "<sip:p2.example;lr> <sip:bob@192.0.2.2:5080>"; got != want {
		t.Errorf("routes %s, want %s", got, want)
	}
}

func TestACKCarriesTheNumberAndCredentialsOfItsINVITE(t *testing.T) {
	req := request(t, invite)
	req.AppendHeader(sip.NewHeader("Proxy-Authorization", "Digest x"))
	d, err := dialog.NewUAC(req, response(t, ok))
	if err != nil {
		t.Fatal(err)
	}
	d.Request(sip.OPTIONS, nil) // 8
	ack := d.ACK(req)
	if ack.CSeq().SeqNo != 7 || ack.CSeq().MethodName != sip.ACK {
		t.Errorf("CSeq %s, want 7 ACK", ack.CSeq().Value())
	}
	if h := ack.GetHeader("Proxy-Authorization"); h == nil || h.Value() != "Digest x" {
		t.Errorf("credentials %v", h)
	}
	if next := d.Request(sip.BYE, nil); next.CSeq().SeqNo != 9 {
		t.Errorf("BYE has CSeq %d, want 9: an ACK uses no number up", next.CSeq().SeqNo)
	}
}

func TestTargetFollowsAnAcceptedReINVITEOnly(t *testing.T) {
	d, err := dialog.NewUAS(request(t, invite), "b1")
	if err != nil {
		t.Fatal(err)
	}
	again := request(t, strings.NewReplacer("CSeq: 7", "CSeq: 8", "To: <sip:bob@b.example>", "To: <sip:bob@b.example>;tag=b1", "alice@192.0.2.1:5060>", "alice@192.0.2.9>", "Record-Route: <sip:p2.example;lr>, <sip:p1.example:5070;transport=tcp;lr>", "Record-Route: <sip:other.example;lr>").Replace(invite))
	if !d.Match(again) {
		t.Fatal("the re-INVITE does not match its dialog")
	}
	if err := d.Receive(again); err != nil {
		t.Fatal(err)
	}
	if target := d.Target(); target.Host != "192.0.2.1" {
		t.Errorf("target %s before the request was accepted", target.Host)
	}
	d.Refresh(again)
	if target := d.Target(); target.Host != "192.0.2.9" {
		t.Errorf("target %s after the request was accepted", target.Host)
	}
	if hop := d.NextHop(); hop.Host != "p2.example" {
		t.Errorf("next hop %s: the route set never changes", hop.Host)
	}
}

func TestRequestsOutOfOrderAreTold(t *testing.T) {
	d, err := dialog.NewUAS(request(t, invite), "b1")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		cseq string
		want error
	}{
		{"9 BYE", nil}, // gaps are legal
		{"8 INFO", dialog.ErrOrder},
		{"9 INFO", dialog.ErrOrder},
		{"7 ACK", nil}, // the INVITE's number
		{"10 INVITE", nil},
	} {
		_, method, _ := strings.Cut(step.cseq, " ")
		req := request(t, strings.NewReplacer("CSeq: 7 INVITE", "CSeq: "+step.cseq, "INVITE sip", method+" sip").Replace(invite))
		if err := d.Receive(req); !errors.Is(err, step.want) {
			t.Errorf("CSeq %s: %v, want %v", step.cseq, err, step.want)
		}
	}
}

func TestRouteSetIsFixedByThe2xx(t *testing.T) {
	early := strings.NewReplacer("200 OK", "180 Ringing", "Record-Route: <sip:p1.example;lr>\n", "").Replace(ok)
	d, err := dialog.NewUAC(request(t, invite), response(t, early))
	if err != nil {
		t.Fatal(err)
	}
	if d.Confirmed() {
		t.Error("a 180 confirms nothing")
	}
	d.Answered(response(t, ok))
	if hop := d.NextHop(); !d.Confirmed() || hop.Host != "p1.example" {
		t.Errorf("confirmed %v, next hop %s, want the 2xx's", d.Confirmed(), hop.Host)
	}
	d.Answered(response(t, strings.NewReplacer("p1.example", "late.example", "192.0.2.2", "192.0.2.7").Replace(ok)))
	if hop, target := d.NextHop(), d.Target(); hop.Host != "p1.example" || target.Host != "192.0.2.7" {
		t.Errorf("next hop %s, target %s: the answer to a re-INVITE moves the target only", hop.Host, target.Host)
	}
}

func TestIncompleteMessagesMakeNoDialog(t *testing.T) {
	for what, text := range map[string]string{
		"no Contact":  strings.Replace(invite, "Contact: <sip:alice@192.0.2.1:5060>\n", "", 1),
		"no From tag": strings.Replace(invite, ";tag=a1", "", 1),
		"no From":     strings.Replace(invite, "From: \"Alice\" <sip:alice@a.example>;tag=a1\n", "", 1),
	} {
		if _, err := dialog.NewUAS(request(t, text), "b1"); !errors.Is(err, dialog.ErrIncomplete) {
			t.Errorf("%s: %v, want ErrIncomplete", what, err)
		}
	}
	if _, err := dialog.NewUAC(request(t, invite), response(t, strings.Replace(ok, ";tag=b1", "", 1))); !errors.Is(err, dialog.ErrIncomplete) {
		t.Errorf("2xx without To tag: %v, want ErrIncomplete", err)
	}
}

// RFC 3261 section 13.3.1.4: T1, doubling, T2 at most, 64*T1 in all.
func TestRetransmitSchedule(t *testing.T) {
	r := dialog.Retransmit{T1: 500 * time.Millisecond, T2: 4 * time.Second}
	var at []time.Duration
	var now time.Duration
	for {
		wait, more := r.Next()
		if !more {
			break
		}
		now += wait
		at = append(at, now)
	}
	want := []float64{0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5, 32}
	if len(at) != len(want) {
		t.Fatalf("%d transmissions at %v, want %v", len(at), at, want)
	}
	for i, w := range want {
		if at[i].Seconds() != w {
			t.Errorf("transmission %d at %v, want %vs", i, at[i], w)
		}
	}
}
