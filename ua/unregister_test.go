package ua

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/internal/memnet"
)

// contactsOf lists the Contacts of a REGISTER.
func contactsOf(req *sip.Request) string {
	var s []string
	for _, c := range contacts(req) {
		s = append(s, c.Value())
	}
	return strings.Join(s, " ")
}

// startRegistered returns a phone that is registered for expires seconds.
func startRegistered(t *testing.T, expires string) (*peer, *phone) {
	t.Helper()
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true}))
	registered(t, r, expires)
	return r, p
}

const (
	first  = "<sip:alice@192.0.2.10:5060>;expires="
	second = "<sip:alice@192.0.2.11:5060>;expires="
	third  = "<sip:alice@192.0.2.12:5060>;expires="
)

func TestOneREGISTERAtATime(t *testing.T) { bubble(t, testOneAtATime) }

func testOneAtATime(t *testing.T) {
	r, p := startRegistered(t, "3600")
	defer p.stop()
	p.addresses("192.0.2.11")
	req, m := r.request(sip.REGISTER)
	r.reply(req, m.from, 200, "r1", "", "Contact: "+first+"3000", "Contact: "+second+"10")
	removal, m := r.request(sip.REGISTER)
	if got, want := contactsOf(removal), first+"0"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	// The refresh is due after 5 s; it waits until nobody answers the removal any more.
	begin := m.when
	for {
		next, nm := r.request(sip.REGISTER)
		if next.CSeq().SeqNo == removal.CSeq().SeqNo {
			continue
		}
		if wait := nm.when.Sub(begin); wait != 32*time.Second || contactsOf(next) != second+"3600" {
			t.Errorf("%v after the removal came a REGISTER for %s", wait, contactsOf(next))
		}
		// The binding is still there, and is tried again.
		r.reply(next, nm.from, 200, "r1", "", "Contact: "+first+"2000, "+second+"3600")
		break
	}
	removal, m = r.request(sip.REGISTER)
	if got, want := contactsOf(removal), first+"0"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	r.reply(removal, m.from, 403, "r1", "")
	r.quiet(50 * time.Minute)
}

func TestAddressReplacedDuringARemoval(t *testing.T) { bubble(t, testReplacedDuringRemoval) }

func testReplacedDuringRemoval(t *testing.T) {
	r, p := startRegistered(t, "3600")
	defer p.stop()
	p.addresses("192.0.2.11")
	req, m := r.request(sip.REGISTER)
	r.reply(req, m.from, 200, "r1", "", "Contact: "+first+"3000", "Contact: "+second+"3600")
	r.request(sip.REGISTER) // the removal, which is not answered
	begin := time.Now()
	p.addresses("192.0.2.12")
	req, m = r.request(sip.REGISTER)
	if got, want := contactsOf(req), third+"3600"; got != want || !m.when.Equal(begin) {
		t.Errorf("after %v a REGISTER for %s, want %s at once", m.when.Sub(begin), got, want)
	}
	r.reply(req, m.from, 200, "r1", "", "Contact: "+first+"3000", "Contact: "+second+"3000", "Contact: "+third+"3600")
	req, m = r.request(sip.REGISTER)
	if got, want := contactsOf(req), first+"0 "+second+"0"; got != want {
		t.Errorf("Contacts %s, want %s", got, want)
	}
	r.reply(req, m.from, 200, "r1", "")
	r.quiet(10 * time.Minute)
}

func TestLeavingDuringARegistration(t *testing.T) { bubble(t, testLeavingDuringRegistration) }

func testLeavingDuringRegistration(t *testing.T) {
	r, p := startRegistered(t, "3600")
	p.addresses("192.0.2.11")
	req, m := r.request(sip.REGISTER)
	go p.stop()
	r.quiet(400 * time.Millisecond) // RFC 3261 section 10.2: not before the answer
	r.reply(req, m.from, 200, "r1", "", "Contact: "+first+"3000", "Contact: "+second+"3600")
	req, m = r.request(sip.REGISTER)
	if got, want := contactsOf(req), first+"0 "+second+"0"; got != want {
		t.Errorf("Contacts %s, want %s: both may be bound", got, want)
	}
	r.reply(req, m.from, 200, "r1", "")
	<-p.gone
	if got, want := p.kinds(), "registered registered unregistered"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestLeavingWhileARefreshIsRefused(t *testing.T) { bubble(t, testLeavingWhileRefused) }

func testLeavingWhileRefused(t *testing.T) {
	r, p := startRegistered(t, "100")
	req, m := r.request(sip.REGISTER) // the refresh
	go p.stop()
	synctest.Wait()
	r.reply(req, m.from, 401, "r1", "", ask)
	req, m = r.request(sip.REGISTER)
	if got, want := contactsOf(req), first+"0"; got != want {
		t.Errorf("Contacts %s, want %s", got, want)
	}
	r.reply(req, m.from, 200, "r1", "")
	<-p.gone
}

func TestUnregisterIsChallenged(t *testing.T) { bubble(t, testUnregisterChallenged) }

func testUnregisterChallenged(t *testing.T) {
	n := memnet.New()
	r := startPeer(t, n, peerAddr)
	p := startPhone(t, n, phoneAddr, alice(Account{Register: true, AuthPass: "secret"}))
	registered(t, r, "3600")
	go p.stop()
	req, m := r.request(sip.REGISTER)
	r.reply(req, m.from, 401, "r1", "", ask)
	again, m := r.request(sip.REGISTER)
	if contactsOf(again) != first+"0" || again.GetHeader("Authorization") == nil || again.CSeq().SeqNo != req.CSeq().SeqNo+1 {
		t.Errorf("after the challenge:\n%s", again)
	}
	r.reply(again, m.from, 401, "r1", "", ask) // the password is wrong
	begin := time.Now()
	<-p.gone
	if took := time.Since(begin); took != 0 {
		t.Errorf("Run went on for %v", took)
	}
	if got, want := p.kinds(), "registered"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestLeavingWithNothingSent(t *testing.T) { bubble(t, testLeavingWithNothingSent) }

func testLeavingWithNothingSent(t *testing.T) {
	n := memnet.New()
	p := startPhone(t, n, "", alice(Account{Register: true}))
	time.Sleep(time.Minute)
	begin := time.Now()
	p.stop()
	if took := time.Since(begin); took != 0 {
		t.Errorf("Run took %v to end", took)
	}
}
