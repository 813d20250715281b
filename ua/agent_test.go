package ua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
	"github.com/gosipua/gosipua/internal/memnet"
	"github.com/gosipua/gosipua/transport"
)

func TestLeavingTellsTheEndOfEveryCall(t *testing.T) { bubble(t, testLeavingTells) }

func testLeavingTells(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	c, _ := inCall(t, r, p)
	begin := time.Now()
	p.stop() // nobody answers the BYE
	if took := time.Since(begin); took != goodbye {
		t.Errorf("Run took %v to end, want %v", took, goodbye)
	}
	select {
	case <-c.Done():
	default:
		t.Error("the call has not ended")
	}
	if e := p.event(t, CallEnded); e.Err != nil {
		t.Errorf("err %v: leaving is no failure of the call", e.Err)
	}
	if _, err := p.Dial(t.Context(), "", bob, CallOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Dial after the end: %v, want ErrClosed", err)
	}
}

func TestLeavingEndsCallsInEveryState(t *testing.T) {
	for _, tc := range []struct {
		name string
		acc  Account
		call func(t *testing.T, r *peer, p *phone)
		want []string // in any order
	}{
		{"ringing here", Account{}, func(_ *testing.T, r *peer, _ *phone) {
			r.invite(phoneAt(), "c1", peerSDP())
			r.response(180)
		}, []string{"SIP/2.0 480 Temporarily Unavailable"}},
		{"ringing there", Account{}, func(t *testing.T, r *peer, p *phone) {
			dial(t, p)
			inv, m := r.request(sip.INVITE)
			r.reply(inv, m.from, 180, "b1", "")
			synctest.Wait()
		}, []string{"CANCEL " + bob + " SIP/2.0"}},
		{"answered and not acknowledged", Account{Answer: AnswerAuto}, func(_ *testing.T, r *peer, _ *phone) {
			r.invite(phoneAt(), "c1", peerSDP())
			r.response(200)
		}, []string{"BYE sip:bob@192.0.2.1:5060 SIP/2.0"}},
		{"hung up and not acknowledged", Account{Answer: AnswerAuto}, func(t *testing.T, r *peer, p *phone) {
			r.invite(phoneAt(), "c1", peerSDP())
			r.response(200)
			p.event(t, CallAnswered).Call.Hangup()
			synctest.Wait()
		}, []string{"BYE sip:bob@192.0.2.1:5060 SIP/2.0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := setUp(t, tc.acc)
				tc.call(t, r, p)
				p.stop()
				var seen []string
				for len(r.got) > 0 {
					seen = append(seen, firstLine(<-r.got))
				}
				for _, want := range tc.want {
					if !strings.Contains(strings.Join(seen, "\n"), want) {
						t.Errorf("saw %q, want %s", seen, want)
					}
				}
				if got := p.kinds(); !strings.HasSuffix(got, "call_ended") || len(p.Calls()) != 0 {
					t.Errorf("events %q, %d calls", got, len(p.Calls()))
				}
			})
		})
	}
}

func TestRequestsWhileLeaving(t *testing.T) { bubble(t, testRequestsWhileLeaving) }

func testRequestsWhileLeaving(t *testing.T) {
	r, p := setUp(t, Account{Answer: AnswerAuto})
	inCall(t, r, p)
	go p.stop()
	r.request(sip.BYE)
	r.invite(phoneAt(), "c2", peerSDP())
	r.response(480)
}

func TestOPTIONSSaysWhatAnINVITEWouldGet(t *testing.T) { bubble(t, testOPTIONS) }

func testOPTIONS(t *testing.T) {
	r, p := setUp(t, Account{MaxCalls: 1})
	defer p.stop()
	for i, want := range []int{200, 486} {
		r.send(r.build("OPTIONS", "sip:alice@"+phoneAddr, fmt.Sprint("o", i), 1, ""), phoneAt())
		res := r.response(want)
		if header(res, "Allow") != allow || header(res, "Accept") != sdpType {
			t.Errorf("Allow %q, Accept %q", header(res, "Allow"), header(res, "Accept"))
		}
		r.invite(phoneAt(), fmt.Sprint("c", i), peerSDP())
		for {
			m := r.next()
			if res, ok := m.Message.(*sip.Response); ok && res.StatusCode != sip.StatusTrying {
				if refused := res.StatusCode == 486; refused != (want == 486) {
					t.Errorf("OPTIONS got %d, INVITE %d", want, res.StatusCode)
				}
				break
			}
		}
	}
}

func TestRejectSendsNothingThatIsNoRefusal(t *testing.T) {
	for _, tc := range []struct {
		code   int
		reason string
		want   int
	}{{603, "Decline", 603}, {200, "OK", 486}, {180, "Ringing", 486}, {700, "x", 486}, {404, "a\r\nb: c", 486}, {300, "Multiple Choices", 300}, {699, "", 699}} {
		t.Run(fmt.Sprint(tc.code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := setUp(t, Account{})
				defer p.stop()
				r.invite(phoneAt(), "c1", peerSDP())
				r.response(180)
				p.event(t, CallIncoming).Call.Reject(tc.code, tc.reason)
				r.response(tc.want)
			})
		})
	}
}

func TestNewRefuses(t *testing.T) {
	ok := Account{AOR: "sip:alice@example.com", Register: true}
	with := func(f func(*Account)) Config { a := ok; f(&a); return Config{Accounts: []Account{a}} }
	for name, cfg := range map[string]Config{
		"an AOR without user":      with(func(a *Account) { a.AOR = "sip:example.com" }),
		"an AOR with parameters":   with(func(a *Account) { a.AOR = "sip:alice@example.com;transport=tcp" }),
		"an AOR with a password":   with(func(a *Account) { a.AOR = "sip:alice:x@example.com" }),
		"an AOR of another scheme": with(func(a *Account) { a.AOR = "tel:+123" }),
		"the same AOR twice":       {Accounts: []Account{ok, {AOR: "sip:alice@EXAMPLE.com"}}},
		"a registrar that is none": with(func(a *Account) { a.Registrar = "http://example.com" }),
		"a proxy that is none":     with(func(a *Account) { a.Outbound = []string{"sip:a b"} }),
		"less than a second":       with(func(a *Account) { a.Expires = time.Millisecond }),
		"a source that is none":    {Source: "nosuch,thing"},
		"a player that is none":    {Player: "nosuch,thing"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(Config{Accounts: []Account{ok}, Transport: transport.Config{Links: ifwatchtest.NewSource()}}); err != nil {
		t.Errorf("a good account: %v", err)
	}
}

func TestAccountOfARequest(t *testing.T) { bubble(t, testAccountOfARequest) }

func testAccountOfARequest(t *testing.T) {
	n := memnet.New()
	p := startPhone(t, n, phoneAddr, func(c *Config) {
		c.Accounts = []Account{{AOR: "sip:alice@one.example"}, {AOR: "sip:alice@two.example"}, {AOR: "sip:bob@two.example"}}
	})
	defer p.stop()
	for uri, want := range map[string]string{
		"sip:alice@one.example": "sip:alice@one.example",
		"sip:alice@TWO.example": "sip:alice@two.example",
		"sip:bob@" + phoneAddr:  "sip:bob@two.example",
		"sip:b%6fb@127.0.0.9":   "sip:bob@two.example",
		"sip:alice@[::1]":       "sip:alice@one.example",
		"sip:bob@192.0.2.11":    "",
		"sip:bob@one.example":   "",
		"sip:Bob@two.example":   "", // users are compared as they are (RFC 3261 section 19.1.4)
	} {
		var u sip.Uri
		if err := sip.ParseUri(uri, &u); err != nil {
			t.Fatal(err)
		}
		got := ""
		if acc := p.accountFor(u); acc != nil {
			got = acc.AOR
		}
		if got != want {
			t.Errorf("%s is for %q, want %q", uri, got, want)
		}
	}
}

func TestSlowEventHandlerLosesTheOldest(t *testing.T) { bubble(t, testSlowHandler) }

func testSlowHandler(t *testing.T) {
	var text strings.Builder
	q := newEvents()
	for i := range maxEvents + 3 {
		q.put(Event{Code: i})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var got []int
	q.run(ctx, func(e Event) { got = append(got, e.Code) }, slog.New(slog.NewTextHandler(&text, nil)))
	if len(got) != maxEvents || got[0] != 3 || got[len(got)-1] != maxEvents+2 {
		t.Errorf("%d events, from %d to %d", len(got), got[0], got[len(got)-1])
	}
	if !strings.Contains(text.String(), "count=3") {
		t.Errorf("log %q", text.String())
	}
}
