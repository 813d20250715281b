package ua

import (
	"errors"
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
