package transport

import (
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
	"github.com/gosipua/gosipua/internal/memnet"
)

func TestSource(t *testing.T) {
	deprecated := func(a ifwatch.Addr) ifwatch.Addr { a.Flags |= ifwatch.Deprecated; return a }
	v4 := ifwatchtest.Addr(2, "192.0.2.1/24")
	other4 := ifwatchtest.Addr(3, "198.51.100.1/24")
	v6 := ifwatchtest.Addr(2, "2001:db8::1/64")
	other6 := ifwatchtest.Addr(3, "2001:db8:1::1/64")
	ll2, ll3 := ifwatchtest.Addr(2, "fe80::1/64"), ifwatchtest.Addr(3, "fe80::1/64")
	lo4, lo6 := ifwatchtest.Addr(1, "127.0.0.1/8"), ifwatchtest.Addr(1, "::1/128")
	eth1, err := ifwatch.ParsePatterns([]string{"eth1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		policy ifwatch.Policy
		addrs  []ifwatch.Addr
		kernel map[string]string // device: what the kernel chooses, "" it has no route
		to     string
		pin    string
		want   string // the source, or the error
	}{
		{"the kernel's choice", ifwatch.Policy{}, []ifwatch.Addr{v4, other4}, map[string]string{"": "198.51.100.1"}, "203.0.113.9", "", "198.51.100.1"},
		{"the kernel's choice for this host itself", ifwatch.Policy{}, []ifwatch.Addr{lo4, v4}, map[string]string{"": "192.0.2.1"}, "192.0.2.1", "", "192.0.2.1"},
		{"the kernel's choice is deprecated", ifwatch.Policy{}, []ifwatch.Addr{deprecated(v6), other6}, map[string]string{"": "2001:db8::1"}, "2001:db8::9", "", "2001:db8:1::1"},
		{
			"the kernel's choice is not usable: one of the same link first",
			ifwatch.Policy{},
			[]ifwatch.Addr{other6, deprecated(v6), ifwatchtest.Addr(2, "2001:db8:2::1/64")},
			map[string]string{"": "2001:db8::1"},
			"2001:db8:1:5::9", "", "2001:db8:2::1",
		},
		{
			"the kernel's choice is not usable: then one whose prefix has the destination",
			ifwatch.Policy{},
			[]ifwatch.Addr{deprecated(ifwatchtest.Addr(2, "198.51.100.7/32")), ifwatchtest.Addr(3, "203.0.113.1/24"), ifwatchtest.Addr(3, "192.0.2.9/24")},
			map[string]string{"": "198.51.100.7"},
			"192.0.2.8", "", "192.0.2.9",
		},
		{
			"the kernel's choice is not usable: then the longest common prefix",
			ifwatch.Policy{},
			[]ifwatch.Addr{deprecated(ifwatchtest.Addr(2, "2001:db8:7::1/64")), ifwatchtest.Addr(3, "2001:db8:f::1/64"), ifwatchtest.Addr(3, "2001:db8:1::1/64")},
			map[string]string{"": "2001:db8:7::1"},
			"2001:db8:0:5::9", "", "2001:db8:1::1",
		},
		{"an interface is chosen, the kernel would take another", ifwatch.Policy{Interfaces: eth1}, []ifwatch.Addr{v4, other4}, map[string]string{"": "192.0.2.1", "eth1": "198.51.100.1"}, "203.0.113.9", "", "198.51.100.1"},
		{"an interface is chosen, and the kernel has no route without it", ifwatch.Policy{Interfaces: eth1}, []ifwatch.Addr{v4, other4}, map[string]string{"": "", "eth1": "198.51.100.1"}, "203.0.113.9", "", "198.51.100.1"},
		{"no route", ifwatch.Policy{}, []ifwatch.Addr{v4}, map[string]string{"": ""}, "203.0.113.9", "", "dial udp 203.0.113.9:5060: network is unreachable"},
		{"loopback only to loopback", ifwatch.Policy{}, []ifwatch.Addr{lo4, lo6, v6}, map[string]string{"": "127.0.0.1"}, "192.0.2.9", "", "no usable inet address for 192.0.2.9"},
		{"to loopback only from loopback", ifwatch.Policy{}, []ifwatch.Addr{v4, lo6}, map[string]string{"": "127.0.0.1"}, "127.0.0.1", "", "no usable inet address for 127.0.0.1"},
		{"to loopback", ifwatch.Policy{}, []ifwatch.Addr{v4, lo4}, map[string]string{"": "127.0.0.1"}, "127.0.0.2", "", "127.0.0.1"},
		{"link-local to its link", ifwatch.Policy{}, []ifwatch.Addr{v6, ll2, ll3}, map[string]string{"": "fe80::1"}, "fe80::9%eth1", "", "fe80::1%3"},
		{"link-local by index", ifwatch.Policy{}, []ifwatch.Addr{v6, ll2, ll3}, map[string]string{"": "fe80::1"}, "fe80::9%2", "", "fe80::1%2"},
		{"link-local on the only link that has any", ifwatch.Policy{}, []ifwatch.Addr{v6, ll2}, map[string]string{"": "fe80::1"}, "fe80::9", "", "fe80::1%2"},
		{"link-local on one of two links", ifwatch.Policy{}, []ifwatch.Addr{ll2, ll3}, nil, "fe80::9", "", "no usable inet6 address for fe80::9: it is link-local and needs its interface, as in fe80::9%eth1"},
		{"link-local without any", ifwatch.Policy{}, []ifwatch.Addr{v6}, nil, "fe80::9", "", "no usable inet6 address for fe80::9: no interface has a usable link-local address"},
		{"link-local on a link that does not exist", ifwatch.Policy{}, []ifwatch.Addr{ll2}, nil, "fe80::9%wlan0", "", "no usable inet6 address for fe80::9%wlan0: there is no interface wlan0"},
		{"link-local is no source for the rest of the world", ifwatch.Policy{}, []ifwatch.Addr{ll2}, map[string]string{"": "fe80::1"}, "2001:db8::9", "", "no usable inet6 address for 2001:db8::9"},
		{"unless the user says so", ifwatch.Policy{LinkLocal: ifwatch.LinkLocalUse}, []ifwatch.Addr{ll2}, map[string]string{"": "fe80::1"}, "2001:db8::9", "", "fe80::1%2"},
		{"IPv4 link-local to its own kind", ifwatch.Policy{}, []ifwatch.Addr{ifwatchtest.Addr(2, "169.254.1.1/16")}, map[string]string{"": "169.254.1.1"}, "169.254.9.9", "", "169.254.1.1"},
		{
			"nothing of the family, with the reasons",
			ifwatch.Policy{},
			[]ifwatch.Addr{v4, deprecated(v6), ifwatchtest.Addr(3, "2001:db8:1::1/64", ifwatch.Tentative)},
			nil, "2001:db8::9", "",
			"no usable inet6 address for 2001:db8::9: 2001:db8::1 on eth0: preferred lifetime is over; 2001:db8:1::1 on eth1: DAD is running",
		},
		{"the family is not wanted", ifwatch.Policy{Family: ifwatch.Inet}, []ifwatch.Addr{v4, v6}, nil, "2001:db8::9", "", "no usable inet6 address for 2001:db8::9"},
		{"pinned", ifwatch.Policy{}, []ifwatch.Addr{v4, other4}, nil, "203.0.113.9", "198.51.100.1", "198.51.100.1"},
		{"pinned to a link-local address", ifwatch.Policy{}, []ifwatch.Addr{ll2, ll3}, nil, "fe80::9%eth1", "fe80::1%eth1", "fe80::1%3"},
		{"pinned to nothing", ifwatch.Policy{}, []ifwatch.Addr{v4}, nil, "203.0.113.9", "198.51.100.1", "dial udp 203.0.113.9:5060 from 198.51.100.1:0: local address is gone: 198.51.100.1 was removed"},
		{"pinned to the other family", ifwatch.Policy{}, []ifwatch.Addr{v4, v6}, nil, "203.0.113.9", "2001:db8::1", "no usable inet address for 203.0.113.9: 2001:db8::1 is pinned"},
		{
			"pinned to a tentative one",
			ifwatch.Policy{},
			[]ifwatch.Addr{ifwatchtest.Addr(2, "2001:db8::1/64", ifwatch.Tentative)},
			nil, "2001:db8::9", "2001:db8::1",
			"dial udp [2001:db8::9]:5060 from [2001:db8::1]:0: local address is gone: 2001:db8::1: DAD is running on eth0",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(c *Config) { c.Policy = tt.policy })
				defer w.end()
				for _, a := range tt.addrs {
					w.host.Add(bound(a))
				}
				w.net.SetHooks(memnet.Hooks{Source: func(_ netip.AddrPort, device string) (netip.Addr, error) {
					if s := tt.kernel[device]; s != "" {
						return addr(s), nil
					}
					return netip.Addr{}, syscall.ENETUNREACH
				}})
				w.set(tt.addrs...)
				target := Target{Proto: UDP, Addr: netip.AddrPortFrom(addr(tt.to), 5060)}
				if tt.pin != "" {
					target.Local = addr(tt.pin)
				}
				f, err := w.m.Flow(t.Context(), target)
				switch {
				case err != nil && err.Error() != tt.want:
					t.Errorf("got error %v\nwant %s", err, tt.want)
				case err == nil && f.Local().Addr().String() != tt.want:
					t.Errorf("from %s, want %s", f.Local().Addr(), tt.want)
				}
				if strings.HasPrefix(tt.want, "no usable") != errors.Is(err, ErrNoAddress) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

// Without a UDP listener on the kernel's choice another address is used, and
// without any the error says what is missing.
func TestSourceNeedsListener(t *testing.T) { synctest.Test(t, testSourceNeedsListener) }

func testSourceNeedsListener(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Listen = []Listen{{Proto: TCP, Port: 5060}, {Proto: UDP, Addr: addr("192.0.2.2"), Port: 5060}}
	})
	defer w.end()
	w.host.Add(addr("192.0.2.2"))
	w.set(append(usual(), ifwatchtest.Addr(2, "192.0.2.2/24"))...)
	f, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5060")})
	if err != nil || f.Local() != addrPort("192.0.2.2:5060") {
		t.Errorf("%v, %v", f, err)
	}
	_, err = w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("[2001:db8::9]:5060")})
	if err == nil || err.Error() != "no usable inet6 address for 2001:db8::9: nothing listens on udp 2001:db8::1" {
		t.Errorf("got %v", err)
	}
	_, err = w.m.Flow(t.Context(), Target{Proto: UDP, Addr: addrPort("192.0.2.9:5060"), Local: addr("192.0.2.1")})
	if err == nil || err.Error() != "no usable inet address for 192.0.2.9: nothing listens on udp 192.0.2.1" {
		t.Errorf("pinned: %v", err)
	}
}

func TestAdvertised(t *testing.T) { synctest.Test(t, testAdvertised) }

func testAdvertised(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Listen = []Listen{{Proto: UDP, Port: 5070}, {Proto: TCP, Addr: addr("192.0.2.1"), Port: 5072}}
		c.Advertise = map[netip.Addr]netip.Addr{addr("192.0.2.1"): addr("203.0.113.1")}
	})
	defer w.end()
	w.host.Add(addr("fe80::1%2"))
	w.set(append(usual(), ifwatchtest.Addr(2, "fe80::1/64"))...)
	w.listen("192.0.2.9:5060")
	w.listen("[2001:db8::9]:5060")
	flow := func(target Target) *Flow {
		t.Helper()
		f, err := w.m.Flow(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	conn := w.dial("192.0.2.8", "192.0.2.1:5072")
	w.send(conn, options("TCP", "h"))
	accepted := w.one().Flow
	dialed6 := flow(Target{Proto: TCP, Addr: addrPort("[2001:db8::9]:5060")})
	for _, tt := range []struct {
		name string
		f    *Flow
		want string
	}{
		{"UDP behind 1:1 NAT", flow(Target{Proto: UDP, Addr: addrPort("192.0.2.9:5060")}), "203.0.113.1:5070"},
		{"UDP, link-local: no zone", flow(Target{Proto: UDP, Addr: addrPort("[fe80::9%eth0]:5060")}), "[fe80::1]:5070"},
		{"dialed: the port listened on", flow(Target{Proto: TCP, Addr: addrPort("192.0.2.9:5060")}), "203.0.113.1:5072"},
		{"accepted", accepted, "203.0.113.1:5072"},
		{"dialed, and nothing listens", dialed6, dialed6.Local().String()},
	} {
		if got := tt.f.Advertised(); got.String() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if s := accepted.String(); s != "tcp 192.0.2.1:5072 > "+conn.LocalAddr().String() {
		t.Errorf("String: %s", s)
	}
}
