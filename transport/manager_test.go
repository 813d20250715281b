package transport

import (
	"strings"
	"testing"
	"testing/synctest"
)

func TestListensAnswersAndEnds(t *testing.T) { synctest.Test(t, testListensAnswersAndEnds) }

func testListensAnswersAndEnds(t *testing.T) {
	w := newWorld(t, nil)
	w.expect(
		"address_up  192.0.2.1:0", "address_up  [2001:db8::1]:0",
		"listener_up udp 192.0.2.1:5060", "listener_up tcp 192.0.2.1:5060",
		"listener_up udp [2001:db8::1]:5060", "listener_up tcp [2001:db8::1]:5060",
	)
	peer := w.peer("192.0.2.9:5070")
	w.write(peer, "192.0.2.1:5060", options("UDP", "192.0.2.9:5070;rport"))
	m := w.one()
	if err := m.Flow.Respond(t.Context(), answer(m)); err != nil {
		t.Fatal(err)
	}
	got, from := w.readFrom(peer)
	if from != addrPort("192.0.2.1:5060") || !strings.Contains(got, ";received=192.0.2.9;rport=5070\r\n") {
		t.Errorf("from %s:\n%s", from, got)
	}
	w.end()
	w.expect(
		"listener_down udp 192.0.2.1:5060", "listener_down tcp 192.0.2.1:5060",
		"listener_down udp [2001:db8::1]:5060", "listener_down tcp [2001:db8::1]:5060",
	)
}
