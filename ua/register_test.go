package ua

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/internal/memnet"
)

const ask = `WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256`

func contactOf(req *sip.Request) string { return req.Contact().Value() }

// registered takes a phone through its first REGISTER and returns that.
func registered(t *testing.T, r *peer, expires string) *sip.Request {
	t.Helper()
	req, m := r.request(sip.REGISTER)
	r.reply(req, m.from, 200, "r1", "", "Contact: "+strings.Replace(contactOf(req), "expires=3600", "expires="+expires, 1))
	synctest.Wait()
	return req
}

func TestRegisterRefreshUnregister(t *testing.T) { bubble(t, testRegisterRefreshUnregister) }

func testRegisterRefreshUnregister(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true, AuthPass: "secret"}))

	first, m := r.request(sip.REGISTER)
	if got := first.Recipient.String(); got != "sip:"+peerAddr {
		t.Errorf("Request-URI %s, want the domain alone (RFC 3261 section 10.2)", got)
	}
	if got, want := contactOf(first), "<sip:alice@192.0.2.10:5060>;expires=3600"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	if first.GetHeader("Authorization") != nil {
		t.Error("credentials before anybody asked")
	}
	r.reply(first, m.from, 401, "r1", "", ask)

	second, m := r.request(sip.REGISTER)
	if second.GetHeader("Authorization") == nil || second.CSeq().SeqNo != first.CSeq().SeqNo+1 || second.CallID().Value() != first.CallID().Value() {
		t.Errorf("after a challenge:\n%s", second)
	}
	begin := time.Now()
	r.reply(second, m.from, 200, "r1", "", "Contact: <sip:alice@192.0.2.10:5060>;expires=100, <sip:alice@198.51.100.7>;expires=9")

	refresh, m := r.request(sip.REGISTER)
	if after := m.when.Sub(begin); after != 90*time.Second {
		t.Errorf("refresh after %v, want nine tenths of the 100 s that our own Contact was granted", after)
	}
	if refresh.GetHeader("Authorization") == nil {
		t.Error("the refresh does not use the nonce again")
	}
	r.reply(refresh, m.from, 200, "r1", "", "Contact: "+contactOf(refresh))
	synctest.Wait()
	if got, want := p.kinds(), "registered"; got != want {
		t.Errorf("events %q, want %q: a refresh is none", got, want)
	}

	go p.stop()
	last, m := r.request(sip.REGISTER)
	if got, want := contactOf(last), "<sip:alice@192.0.2.10:5060>;expires=0"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	r.reply(last, m.from, 200, "r1", "")
	<-p.gone
	if got, want := p.kinds(), "registered unregistered"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestDeadRegistrar(t *testing.T) { bubble(t, testDeadRegistrar) }

func testDeadRegistrar(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true}))
	deadline := time.After(time.Hour)
	requests := make(map[uint32]bool)
	for more := true; more; {
		select {
		case m := <-r.got:
			requests[m.CSeq().SeqNo] = true
		case <-deadline:
			more = false
		}
	}
	// Each try lasts 32 s; the waits between them double up to five minutes.
	if len(requests) < 8 || len(requests) > 26 {
		t.Errorf("%d REGISTERs in an hour, want between 8 and 26", len(requests))
	}
	if e := p.event(t, RegisterFailed); e.Err == nil || e.Retry <= 0 || e.Retry > 5*time.Minute {
		t.Errorf("event %+v", e)
	}
	begin := time.Now()
	p.stop()
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("Run took %v to end, want at most 3 s", took)
	}
}

func TestRegistrarDeadAtTheEnd(t *testing.T) { bubble(t, testRegistrarDeadAtTheEnd) }

func testRegistrarDeadAtTheEnd(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true}))
	registered(t, r, "3600")
	begin := time.Now()
	p.stop()
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("Run took %v to end, want at most 3 s", took)
	}
}

func TestRegisterRefusals(t *testing.T) {
	for _, tc := range []struct {
		name       string
		code       int
		headers    []string
		least      time.Duration // until the next REGISTER
		most       time.Duration
		wantExpire string
	}{
		{"refused", 403, nil, 2 * time.Second, 4 * time.Second, "3600"},
		{"told when to come again", 503, []string{"Retry-After: 20 (maintenance)"}, 20 * time.Second, 20 * time.Second, "3600"},
		{"interval too brief", 423, []string{"Min-Expires: 7200"}, 0, 0, "7200"},
		{"a challenge without end", 401, []string{ask}, 0, 0, "3600"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := memnet.New()
				r := startPeer(t, n, peerAddr)
				p := startPhone(t, n, phoneAddr, alice(Account{Register: true, AuthPass: "x"}))
				defer p.stop()
				req, m := r.request(sip.REGISTER)
				r.reply(req, m.from, tc.code, "r1", "", tc.headers...)
				again, second := r.request(sip.REGISTER)
				if wait := second.when.Sub(m.when); wait < tc.least || wait > tc.most {
					t.Errorf("next REGISTER after %v, want %v to %v", wait, tc.least, tc.most)
				}
				if !strings.HasSuffix(contactOf(again), "expires="+tc.wantExpire) {
					t.Errorf("Contact %s", contactOf(again))
				}
			})
		})
	}
}

func TestWrongPasswordIsNotTriedForEver(t *testing.T) { bubble(t, testWrongPassword) }

func testWrongPassword(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true, AuthPass: "wrong"}))
	defer p.stop()
	for range 2 {
		req, m := r.request(sip.REGISTER)
		r.reply(req, m.from, 401, "r1", "", ask)
	}
	synctest.Wait()
	if e := p.event(t, RegisterFailed); !errors.Is(e.Err, ErrCredentials) {
		t.Errorf("error %v, want ErrCredentials", e.Err)
	}
	r.quiet(time.Second)
}

func TestAddressReplaced(t *testing.T) { bubble(t, testAddressReplaced) }

func testAddressReplaced(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true}))
	defer p.stop()
	first := registered(t, r, "3600")

	begin := time.Now()
	p.addresses("192.0.2.11")
	second, m := r.request(sip.REGISTER)
	if m.when != begin || m.from.Addr().String() != "192.0.2.11" {
		t.Errorf("REGISTER after %v from %v, want at once from the new address", m.when.Sub(begin), m.from)
	}
	if got, want := contactOf(second), "<sip:alice@192.0.2.11:5060>;expires=3600"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	if second.CallID().Value() != first.CallID().Value() || second.CSeq().SeqNo <= first.CSeq().SeqNo {
		t.Error("the new REGISTER does not follow the old one (RFC 3261 section 10.2)")
	}
	// The registrar still has the old binding: it is removed by its own Contact.
	r.reply(second, m.from, 200, "r1", "", "Contact: <sip:alice@192.0.2.10:5060>;expires=3000", "Contact: <sip:alice@192.0.2.11:5060>;expires=3600")
	third, m := r.request(sip.REGISTER)
	if got, want := contactOf(third), "<sip:alice@192.0.2.10:5060>;expires=0"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	r.reply(third, m.from, 200, "r1", "")
	r.quiet(10 * time.Minute)
	if got, want := p.kinds(), "registered registered"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestRegistrarThatReplacedTheBindingIsLeftAlone(t *testing.T) { bubble(t, testReplacedByRegistrar) }

func testReplacedByRegistrar(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true}))
	defer p.stop()
	registered(t, r, "3600")
	p.addresses("192.0.2.11")
	second, m := r.request(sip.REGISTER)
	r.reply(second, m.from, 200, "r1", "", "Contact: "+contactOf(second))
	r.quiet(10 * time.Minute)
}

func TestAddressComesBack(t *testing.T) { bubble(t, testAddressComesBack) }

func testAddressComesBack(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true}))
	defer p.stop()
	registered(t, r, "3600")
	p.addresses()
	r.quiet(20 * time.Minute)
	begin := time.Now()
	p.addresses(phoneAddr)
	req, m := r.request(sip.REGISTER)
	if m.when != begin {
		t.Errorf("REGISTER %v after the address was back, want at once", m.when.Sub(begin))
	}
	r.reply(req, m.from, 200, "r1", "", "Contact: "+contactOf(req))
	r.quiet(10 * time.Minute)
}

func TestNoAddressAtTheStart(t *testing.T) { bubble(t, testNoAddressAtTheStart) }

func testNoAddressAtTheStart(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, "", alice(Account{Register: true}))
	defer p.stop()
	r.quiet(time.Hour)
	begin := time.Now()
	p.addresses(phoneAddr)
	if _, m := r.request(sip.REGISTER); m.when != begin {
		t.Errorf("REGISTER %v after the first address came, want at once", m.when.Sub(begin))
	}
}

func TestUnrelatedAddressChangesNothing(t *testing.T) { bubble(t, testUnrelatedAddress) }

func testUnrelatedAddress(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true}))
	defer p.stop()
	registered(t, r, "3600")
	for range 20 {
		p.addresses(phoneAddr, "198.51.100.5")
		time.Sleep(time.Second)
		p.addresses(phoneAddr)
		time.Sleep(time.Second)
	}
	r.quiet(time.Minute)
}

func TestOutboundProxiesAreTriedInOrder(t *testing.T) { bubble(t, testOutboundProxies) }

func testOutboundProxies(t *testing.T) {
	n := memnet.New()
	startPeer(t, n, "192.0.2.2") // never answers
	second := startPeer(t, n, "192.0.2.3")
	p := startPhone(t, n, phoneAddr, func(c *Config) {
		c.Accounts = []Account{{AOR: "sip:alice@example.com", Register: true, Outbound: []string{"192.0.2.2", "sip:192.0.2.3;lr"}}}
	})
	defer p.stop()
	req, m := second.request(sip.REGISTER)
	if got, want := req.Route().Value(), "<sip:192.0.2.3;lr>"; got != want {
		t.Errorf("Route %s, want %s", got, want)
	}
	if got := req.Recipient.String(); got != "sip:example.com" {
		t.Errorf("Request-URI %s", got)
	}
	second.reply(req, m.from, 200, "r1", "", "Contact: "+contactOf(req))
	synctest.Wait()
	p.event(t, Registered)
}

func TestAddressReplacedWhileNobodyAnswers(t *testing.T) { bubble(t, testReplacedUnanswered) }

func testReplacedUnanswered(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true}))
	defer p.stop()
	for range 4 { // tries, each in vain
		m := r.next()
		for seq := m.CSeq().SeqNo; r.next().CSeq().SeqNo == seq; {
			continue
		}
	}
	time.Sleep(40 * time.Second) // between two of them
	for len(r.got) > 0 {
		<-r.got
	}
	begin := time.Now()
	p.addresses("192.0.2.11")
	if req, m := r.request(sip.REGISTER); !m.when.Equal(begin) || contactOf(req) != second+"3600" {
		t.Errorf("%s after %v, want the new address at once", contactOf(req), m.when.Sub(begin))
	}
}

func TestRefusedThenAddressReplaced(t *testing.T) { bubble(t, testRefusedThenReplaced) }

func testRefusedThenReplaced(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true}))
	defer p.stop()
	req, m := r.request(sip.REGISTER)
	r.reply(req, m.from, 403, "r1", "", "Retry-After: 4000000000")
	r.quiet(time.Hour - time.Second)
	again, m2 := r.request(sip.REGISTER)
	if wait := m2.when.Sub(m.when); wait != retryAfterMax {
		t.Errorf("again after %v, want %v", wait, retryAfterMax)
	}
	r.reply(again, m2.from, 403, "r1", "", "Retry-After: 4000000000")
	time.Sleep(time.Minute)
	begin := time.Now()
	p.addresses("192.0.2.11") // where another answer may be had
	if _, m := r.request(sip.REGISTER); !m.when.Equal(begin) {
		t.Errorf("after %v, want at once", m.when.Sub(begin))
	}
}

func TestIntervalTooBriefForEver(t *testing.T) { bubble(t, testTooBriefForEver) }

func testTooBriefForEver(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true}))
	defer p.stop()
	begin := time.Now()
	for i := range maxChallenges + 1 {
		req, m := r.request(sip.REGISTER)
		if !m.when.Equal(begin) {
			t.Fatalf("try %d after %v", i, m.when.Sub(begin))
		}
		r.reply(req, m.from, 423, "r1", "", "Min-Expires: "+strings.Repeat("9", 4+i))
	}
	r.quiet(time.Second)
}

func TestNoAddressIsToldOnce(t *testing.T) { bubble(t, testNoAddressIsToldOnce) }

func testNoAddressIsToldOnce(t *testing.T) {
	n := memnet.New()
	p := startPhone(t, n, "", alice(Account{Register: true}))
	defer p.stop()
	for range 20 {
		p.addresses("2001:db8::1") // of the other family
		time.Sleep(time.Second)
		p.addresses()
		time.Sleep(time.Second)
	}
	if n := strings.Count(p.kinds(), string(RegisterFailed)); n > 3 {
		t.Errorf("%d times told: %s", n, p.kinds())
	}
}

func TestGranted(t *testing.T) {
	ours := sip.Uri{Scheme: "sip", User: "alice", Host: "[2001:db8::1]", Port: 5060}
	for _, tc := range []struct {
		name    string
		headers []string
		want    time.Duration
	}{
		{"nothing said", nil, time.Hour},
		{"the Expires header", []string{"Expires: 60"}, time.Minute},
		{"our Contact before the header", []string{"Expires: 60", "Contact: <sip:alice@[2001:db8::1]:5060>;expires=30"}, 30 * time.Second},
		{"another's Contact", []string{"Contact: <sip:alice@[2001:db8::1]:5070>;expires=30", "Contact: <sip:bob@[2001:db8::1]:5060>;expires=20", "Expires: 50"}, 50 * time.Second},
		{"our Contact over another transport", []string{"Contact: <sip:alice@[2001:db8::1]:5060;transport=tcp>;expires=30", "Contact: <sip:x@y>;expires=20"}, time.Hour},
		{"ours in other words", []string{"Contact: <sip:x@y>;expires=20", "Contact: <sip:alice@[2001:DB8:0:0::1]:5060;ob>;expires=30"}, 30 * time.Second},
		{"a lone one that something on the way has changed", []string{"Contact: <sip:alice@198.51.100.1:1024>;expires=40"}, 40 * time.Second},
		{"no number", []string{"Contact: <sip:alice@[2001:db8::1]:5060>;expires=soon"}, time.Hour},
		{"nought", []string{"Contact: <sip:alice@[2001:db8::1]:5060>;expires=0"}, time.Hour},
		{"more than there is", []string{"Contact: <sip:alice@[2001:db8::1]:5060>;expires=99999999999", "Expires: 99999999999"}, time.Hour},
		{"as much as there is", []string{"Contact: <sip:alice@[2001:db8::1]:5060>;expires=4294967295"}, 4294967295 * time.Second},
		{"below nought", []string{"Expires: -5"}, time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := "SIP/2.0 200 OK\r\n" + strings.Join(append(tc.headers, "Content-Length: 0"), "\r\n") + "\r\n\r\n"
			m, err := sip.ParseMessage([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if got := grantedTo(ours, m.(*sip.Response), time.Hour); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

func TestRefreshAfter(t *testing.T) {
	for granted, want := range map[time.Duration]time.Duration{
		0:                 time.Second,
		time.Second:       time.Second,
		10 * time.Second:  9 * time.Second,
		20 * time.Second:  15 * time.Second, // 5 s before the end
		100 * time.Second: 90 * time.Second,
		time.Hour:         54 * time.Minute,
	} {
		if got := refreshAfter(granted); got != want {
			t.Errorf("granted %v: after %v, want %v", granted, got, want)
		}
	}
}

func TestRegistrarThatClosesEveryConnection(t *testing.T) { bubble(t, testClosingRegistrar) }

func testClosingRegistrar(t *testing.T) {
	n := memnet.New()
	at := netip.AddrPortFrom(netip.MustParseAddr(peerAddr), 5060)
	r := startTCPPeer(t, n.Host(at.Addr()), at)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true, Registrar: peerAddr + ";transport=tcp"}))
	defer p.stop()
	var waits []time.Duration
	last := time.Now()
	for range 9 {
		req, m := r.request(sip.REGISTER)
		waits = append(waits, m.when.Sub(last))
		last = m.when
		if got, want := contactOf(req), "<sip:alice@192.0.2.10:5060;transport=tcp>;expires=3600"; got != want {
			t.Errorf("Contact %s, want %s", got, want)
		}
		r.answer(req, 200, "r1", "", "Contact: "+contactOf(req)).Close()
	}
	s := time.Second
	if want := []time.Duration{0, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 300 * s}; !slices.Equal(waits, want) {
		t.Errorf("REGISTERs after %v, want %v", waits, want)
	}
}
