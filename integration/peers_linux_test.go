package integration

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/gosipua/gosipua/internal/netlab"
)

// The peers among themselves: that what the other tests rely on is right.

func TestBaresipCallsBaresipThroughKamailio(t *testing.T) {
	for _, family := range []string{"inet", "inet6"} {
		for _, proto := range []string{"udp", "tcp"} {
			t.Run(family+" "+proto, func(t *testing.T) {
				t.Parallel()
				need(t, "kamailio", "baresip")
				s := newSite(t)
				k := startRegistrar(t, s.host("kamailio"), registrarConfig{Users: map[string]string{"alice": "a-secret", "bob": "b-secret"}})
				phone := func(user string, hz float64) *baresip {
					at := s.host(user)
					return startBaresip(t, at, baresipConfig{
						Listen: at.addr(family), ToneHz: hz,
						Account: fmt.Sprintf("<sip:%s@lab.test;transport=%s>;auth_user=%s;auth_pass=%c-secret;outbound=\"sip:%s;transport=%s\";regint=60;answermode=auto",
							user, proto, user, user[0], hostport(k.at.addr(family), 5060), proto),
						Extra: "net_af " + map[string]string{"inet": "ipv4", "inet6": "ipv6"}[family],
					})
				}
				alice := phone("alice", 440)
				k.saved("alice")
				bob := phone("bob", 1000)
				k.saved("bob")
				alice.do("dial", "sip:bob@lab.test")
				alice.event("CALL_ESTABLISHED")
				bob.event("CALL_ESTABLISHED")
				wire := bob.at.link.Capture()
				wire.WaitFor("three seconds of sound", func(netlab.Packet) bool { return len(rtp(wire, to(bob.at))) > 150 })
				alice.do("hangup", "")
				bob.event("CALL_CLOSED")
				alice.event("CALL_CLOSED")
				wantTone(t, "bob", bob.heard(), 440, toneLevel, 2)
				wantTone(t, "alice", alice.heard(), 1000, toneLevel, 2)
				wantTone(t, "wire to bob", sound(rtp(wire, to(bob.at))), 440, toneLevel, 2)
				wantTone(t, "wire from bob", sound(rtp(wire, from(bob.at))), 1000, toneLevel, 2)
			})
		}
	}
}

// to matches packets that are sent to a station, from those that it sends.
func to(at *station) func(netlab.Packet) bool {
	return func(p netlab.Packet) bool { return p.Dst.Addr() == at.v4 || p.Dst.Addr() == at.v6 }
}

func from(at *station) func(netlab.Packet) bool {
	return func(p netlab.Packet) bool { return p.Src.Addr() == at.v4 || p.Src.Addr() == at.v6 }
}

func TestSIPpCallsSIPpThroughKamailio(t *testing.T) {
	for _, family := range []string{"inet", "inet6"} {
		for _, proto := range []string{"udp", "tcp"} {
			for _, hangUp := range []string{"caller", "callee"} {
				t.Run(family+" "+proto+" "+hangUp+" hangs up", func(t *testing.T) {
					t.Parallel()
					need(t, "kamailio", "sipp")
					s := newSite(t)
					k := startRegistrar(t, s.host("kamailio"), registrarConfig{Users: map[string]string{"alice": "a-secret", "bob": "b-secret"}})
					proxy := netip.AddrPortFrom(k.at.addr(family), 5060)
					alice, bob := s.host("alice"), s.host("bob")
					config := func(scenario string, at *station, user string, hz float64) sippConfig {
						return sippConfig{Scenario: scenario, Listen: at.addr(family), Proto: proto, Proxy: proxy, User: user, Password: user[:1] + "-secret", ToneHz: hz}
					}
					wantSuccess(t, startSIPp(t, bob, config("register", bob, "bob", 0)))
					callee, caller := config("callee", bob, "bob", 1000), config("caller", alice, "alice", 440)
					caller.Callee = "bob"
					if hangUp == "caller" {
						caller.HangUp = 3000
					} else {
						callee.HangUp = 3000
					}
					wire := bob.link.Capture()
					uas := startSIPp(t, bob, callee)
					awaitListener(t, bob, proto, bob.addr(family), 5060)
					uac := startSIPp(t, alice, caller)
					wantSuccess(t, uac)
					wantSuccess(t, uas)
					wantTone(t, "wire to bob", sound(rtp(wire, to(bob))), 440, toneLevel, 2)
					wantTone(t, "wire from bob", sound(rtp(wire, from(bob))), 1000, toneLevel, 2)
				})
			}
		}
	}
}

// awaitListener waits until a station listens on an address.
func awaitListener(t *testing.T, at *station, proto string, addr netip.Addr, port uint16) {
	t.Helper()
	name := proto + " " + hostport(addr, port)
	netlab.Await(t, name+" of "+at.Name(), func() error {
		if l := at.Listeners(); l[name].Inode == 0 {
			return fmt.Errorf("listening: %v", slices.Sorted(maps.Keys(l)))
		}
		return nil
	})
}
