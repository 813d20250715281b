package integration

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/gosipua/gosipua/internal/netlab"
)

// farToneHz is what the far end plays; gosipua plays nearToneHz.
const (
	farToneHz  = 1000
	nearToneHz = 440
)

// farEnd is bob, the other phone of a call with alice: a baresip or a sipp.
type farEnd interface {
	// call calls alice, and expect waits to be called; they return before the call
	// is over. hangUp says who is to end it.
	call(hangUp bool)
	expect(hangUp bool)
	// talked is for when three seconds of sound have passed: a far end that is to
	// hang up does so, if it has not by itself.
	talked()
	// over waits for the end of the call and fails the test unless the far end
	// finds that all went well and has heard alice's tone.
	over()
}

// farConfig is what both far ends need to know.
type farConfig struct {
	t             *testing.T
	at            *station
	family, proto string
	proxy         netip.AddrPort
}

// farBaresip is a baresip that answers by itself.
type farBaresip struct {
	farConfig
	*baresip
	hangs bool
}

func newFarBaresip(c farConfig, k *registrar) farEnd {
	c.t.Helper()
	b := startBaresip(c.t, c.at, baresipConfig{
		Listen: c.at.addr(c.family), ToneHz: farToneHz,
		Account: fmt.Sprintf("<sip:bob@lab.test;transport=%s>;auth_user=bob;auth_pass=b-secret;outbound=\"sip:%s;transport=%s\";regint=600;answermode=auto", c.proto, c.proxy, c.proto),
		Extra:   "net_af " + map[string]string{"inet": "ipv4", "inet6": "ipv6"}[c.family],
	})
	k.saved("bob")
	return &farBaresip{farConfig: c, baresip: b}
}

func (f *farBaresip) call(hangUp bool) {
	f.farConfig.t.Helper()
	f.hangs = hangUp
	f.do("dial", "sip:alice@lab.test")
	f.event("CALL_ESTABLISHED")
}

func (f *farBaresip) expect(hangUp bool) { f.hangs = hangUp }

func (f *farBaresip) talked() {
	f.farConfig.t.Helper()
	if f.hangs {
		f.do("hangup", "")
	}
}

func (f *farBaresip) over() {
	f.farConfig.t.Helper()
	f.event("CALL_CLOSED")
	wantTone(f.farConfig.t, "baresip's recording", f.heard(), nearToneHz, toneLevel, 2)
}

// farSIPp is a sipp for each call. It does not record: what is sent to it is
// judged on the wire, as it is for every far end.
type farSIPp struct {
	farConfig
	*netlab.Process
}

func newFarSIPp(c farConfig, k *registrar) farEnd {
	c.t.Helper()
	wantSuccess(c.t, startSIPp(c.t, c.at, c.sipp("register", false)))
	k.saved("bob")
	return &farSIPp{farConfig: c}
}

func (c farConfig) sipp(scenario string, hangUp bool) sippConfig {
	s := sippConfig{
		Scenario: scenario, Listen: c.at.addr(c.family), Proto: c.proto, Proxy: c.proxy, ToneHz: farToneHz,
		User: "bob", Password: "b-secret", Callee: "alice",
	}
	if hangUp {
		s.HangUp = 4000 // it cannot tell when three seconds of sound have passed
	}
	return s
}

func (f *farSIPp) call(hangUp bool) {
	f.t.Helper()
	f.Process = startSIPp(f.t, f.at, f.sipp("caller", hangUp))
}

func (f *farSIPp) expect(hangUp bool) {
	f.t.Helper()
	f.Process = startSIPp(f.t, f.at, f.sipp("callee", hangUp))
	awaitListener(f.t, f.at, f.proto, f.at.addr(f.family), 5060)
}

func (f *farSIPp) talked() {}

func (f *farSIPp) over() {
	f.t.Helper()
	wantSuccess(f.t, f.Process)
}
