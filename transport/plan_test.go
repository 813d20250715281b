package transport

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
)

func TestPlan(t *testing.T) {
	only := func(patterns ...string) ifwatch.Policy {
		p, err := ifwatch.ParsePatterns(patterns)
		if err != nil {
			t.Fatal(err)
		}
		return ifwatch.Policy{Interfaces: p}
	}
	everywhere := []Listen{{Proto: UDP, Port: 5060}, {Proto: TCP, Port: 5060}}
	for _, tt := range []struct {
		name   string
		policy ifwatch.Policy
		listen []Listen
		addrs  []ifwatch.Addr
		want   []string
	}{
		{
			"usable, tentative, and none of ours", only("eth0"), everywhere,
			[]ifwatch.Addr{ifwatchtest.Addr(2, "192.0.2.1/24"), ifwatchtest.Addr(2, "2001:db8::1/64", ifwatch.Tentative), ifwatchtest.Addr(3, "198.51.100.1/24")},
			[]string{
				"192.0.2.1 eth0 ok [udp:5060 planned tcp:5060 planned]",
				"2001:db8::1 eth0 tentative [udp:5060 waiting tcp:5060 waiting]",
				"198.51.100.1 eth1 interface_not_selected []",
			},
		},
		{
			"the family is not wanted",
			ifwatch.Policy{Family: ifwatch.Inet},
			everywhere,
			[]ifwatch.Addr{ifwatchtest.Addr(2, "2001:db8::1/64")},
			[]string{"2001:db8::1 eth0 family_not_selected []"},
		},
		{
			"one line for every address and one for one of them",
			ifwatch.Policy{},
			[]Listen{{Proto: UDP, Port: 5060}, {Proto: UDP, Addr: addr("192.0.2.1"), Port: 5060}, {Proto: TCP, Addr: addr("192.0.2.1"), Port: 5062}},
			[]ifwatch.Addr{ifwatchtest.Addr(2, "192.0.2.1/24"), ifwatchtest.Addr(2, "192.0.2.2/24")},
			[]string{"192.0.2.1 eth0 ok [udp:5060 planned tcp:5062 planned]", "192.0.2.2 eth0 ok [udp:5060 planned]"},
		},
		{
			"link-local on one link by name, on the other by index",
			ifwatch.Policy{},
			[]Listen{{Proto: UDP, Addr: addr("fe80::1%eth0"), Port: 5060}, {Proto: UDP, Addr: addr("fe80::1%3"), Port: 5062}},
			[]ifwatch.Addr{ifwatchtest.Addr(2, "fe80::1/64"), ifwatchtest.Addr(3, "fe80::1/64")},
			[]string{"fe80::1%eth0 eth0 link_local [udp:5060 planned]", "fe80::1%eth1 eth1 link_local [udp:5062 planned]"},
		},
		{
			"what is missing is waited for",
			only("wwan*", "eth0"),
			[]Listen{{Proto: UDP, Port: 5060}, {Proto: TCP, Addr: addr("192.0.2.7"), Port: 5060}, {Proto: TCP, Addr: addr("fe80::7%wlan0"), Port: 5060}},
			nil,
			[]string{
				"invalid IP wwan* interface_missing [udp:5060 waiting]",
				"192.0.2.7  address_missing [tcp:5060 waiting]",
				"fe80::7%wlan0 wlan0 address_missing [tcp:5060 waiting]",
			},
		},
		{
			"a deprecated address is kept only, unless it was asked for by name",
			ifwatch.Policy{},
			[]Listen{{Proto: UDP, Port: 5060}, {Proto: TCP, Addr: addr("2001:db8::2"), Port: 5060}},
			[]ifwatch.Addr{ifwatchtest.Addr(2, "2001:db8::1/64", ifwatch.Deprecated), ifwatchtest.Addr(2, "2001:db8::2/64", ifwatch.Deprecated)},
			[]string{"2001:db8::1 eth0 deprecated [udp:5060 waiting]", "2001:db8::2 eth0 deprecated [udp:5060 planned tcp:5060 planned]"},
		},
		{"multicast is no address of ours", ifwatch.Policy{}, everywhere, []ifwatch.Addr{ifwatchtest.Addr(2, "ff02::1/128")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			links := ifwatchtest.NewSource()
			links.Set([]ifwatch.Link{ifwatchtest.Loopback(), ifwatchtest.Link(2, "eth0"), ifwatchtest.Link(3, "eth1")}, tt.addrs)
			named := len(tt.policy.Named)
			var got []string
			for _, s := range Plan(tt.policy, tt.listen, links.Current(), time.Now()) {
				got = append(got, fmt.Sprint(s.Local, " ", s.Interface, " ", s.Verdict.Reason, " ", listenerText(s.Listeners)))
				if s.Why == "" {
					t.Errorf("%s: no why", s.Local)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
			if len(tt.policy.Named) != named {
				t.Error("the caller's policy was changed")
			}
		})
	}
}

// An address that the kernel deleted because DAD failed is shown, and waited for.
func TestPlanGone(t *testing.T) {
	links := ifwatchtest.NewSource()
	links.Publish(ifwatch.Snapshot{
		Links: []ifwatch.Link{ifwatchtest.Link(2, "eth0")},
		Gone:  []ifwatch.Addr{ifwatchtest.Addr(2, "2001:db8::1/64", ifwatch.Tentative, ifwatch.DADFailed)},
	})
	got := Plan(ifwatch.Policy{}, []Listen{{Proto: UDP, Port: 5060}}, links.Current(), time.Now())
	if len(got) != 1 || got[0].Verdict.Reason != ifwatch.ReasonDADFailed || got[0].Listeners[0].State != Waiting {
		t.Errorf("%+v", got)
	}
}

func TestConfigDefaults(t *testing.T) {
	given := Config{
		Listen:    []Listen{{Proto: UDP, Addr: addr("192.0.2.1"), Port: 5060}},
		Advertise: map[netip.Addr]netip.Addr{addr("192.0.2.1"): addr("203.0.113.1")},
		MaxConns:  -1, IdleTimeout: -1, SlowTimeout: time.Second,
	}
	c := given.withDefaults()
	if c.MaxConns != -1 || c.IdleTimeout != -1 || c.SlowTimeout != time.Second || c.MaxConnsPerPeer != defaultMaxConnsPerPeer || c.Log == nil {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(c.Policy.Named, []netip.Addr{addr("192.0.2.1")}) {
		t.Errorf("named %v", c.Policy.Named)
	}
	given.Listen[0].Port = 1
	given.Advertise[addr("192.0.2.1")] = addr("203.0.113.2")
	if c.Listen[0].Port != 5060 || c.Advertise[addr("192.0.2.1")] != addr("203.0.113.1") {
		t.Error("changed from outside")
	}
	if c := (Config{}).withDefaults(); len(c.Listen) != 2 {
		t.Errorf("nil listens on %v", c.Listen)
	}
	if c := (Config{Listen: []Listen{}}).withDefaults(); len(c.Listen) != 0 {
		t.Errorf("empty listens on %v", c.Listen)
	}
}
