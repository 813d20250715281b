package ifwatch

import (
	"net/netip"
	"testing"
	"time"
)

// The bytes are those of a program in C on a 64-bit system.
func TestIn6Ifreq(t *testing.T) {
	if siocgifaflagIn6 != 0xc1206949 {
		t.Errorf("SIOCGIFAFLAG_IN6 is %#x", siocgifaflagIn6)
	}
	r, ok := newIn6Ifreq("en0", 5, netip.MustParseAddr("fe80::1"), 30)
	want := in6Ifreq{'e', 'n', '0'}
	copy(want[16:], []byte{28, 30, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 5, 0, 0, 0})
	if !ok || r != want {
		t.Errorf("asks with % x, want % x", r[:44], want[:44])
	}
	if r, ok = newIn6Ifreq("em0", 5, netip.MustParseAddr("2001:db8::1"), 28); !ok || r[17] != 28 || r[40] != 0 {
		t.Errorf("asks about a global address with % x: it has no scope", r[:44])
	}
	if _, ok = newIn6Ifreq("sixteen-letters-", 5, netip.MustParseAddr("2001:db8::1"), 28); ok {
		t.Error("a name without room for its end is accepted")
	}
	for _, c := range []struct {
		name   string
		answer [4]byte
		want   Flags
	}{
		{"nothing special", [4]byte{}, 0},
		{"anycast, detached and autoconfigured are nothing to us", [4]byte{0x49}, 0},
		{"DAD runs", [4]byte{0x02}, Tentative},
		{"DAD failed", [4]byte{0x04}, Tentative | DADFailed},
		{"deprecated temporary address", [4]byte{0xd0}, Deprecated | Temporary},
		{"without DAD", [4]byte{0x20}, NoDAD},
		{"Darwin: autoconfigured, opaque", [4]byte{0x40, 0x04}, StablePrivacy},
		{"Darwin: optimistic", [4]byte{0x40, 0x02}, Tentative | Optimistic},
	} {
		copy(r[16:], c.answer[:])
		if got := r.flags(); got != c.want {
			t.Errorf("%s: % x is %q, want %q", c.name, c.answer, got.Names(), c.want.Names())
		}
	}
}

func TestWindowsAddr(t *testing.T) {
	const forever = 1<<32 - 1
	now := time.Now()
	in := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	for _, c := range []struct {
		name             string
		addr             string
		is               windowsAddr
		flags            Flags
		preferred, valid time.Time
		want             Reason
	}{
		{"by hand", "192.0.2.1/24", windowsAddr{4, 1, 1, forever, forever}, 0, time.Time{}, time.Time{}, ReasonOK},
		{"DHCP", "192.0.2.1/24", windowsAddr{4, 3, 3, 60, 90}, 0, in(60), in(90), ReasonOK},
		{"the cable is out", "192.0.2.1/24", windowsAddr{1, 1, 1, forever, forever}, Tentative, time.Time{}, time.Time{}, ReasonTentative},
		{"about to go", "2001:db8::1/64", windowsAddr{0, 4, 4, 60, 90}, Tentative, in(60), in(90), ReasonTentative},
		{"another host has it", "2001:db8::1/64", windowsAddr{2, 1, 1, forever, forever}, DADFailed | Tentative, time.Time{}, time.Time{}, ReasonDADFailed},
		{"deprecated", "2001:db8::1/64", windowsAddr{3, 4, 4, 0, 90}, Deprecated, time.Time{}, in(90), ReasonDeprecated},
		{"not preferred any more, state not yet changed", "2001:db8::1/64", windowsAddr{4, 4, 4, 0, 90}, Deprecated, time.Time{}, in(90), ReasonDeprecated},
		{"temporary", "2001:db8::1/64", windowsAddr{4, 4, 5, 60, 90}, Temporary, in(60), in(90), ReasonOK},
		{"random, yet not advertised", "2001:db8::1/64", windowsAddr{4, 2, 5, forever, forever}, 0, time.Time{}, time.Time{}, ReasonOK},
		{"IPv4 is never temporary", "192.0.2.1/24", windowsAddr{4, 4, 5, 60, 90}, 0, in(60), in(90), ReasonOK},
	} {
		a := address(2, c.addr)
		c.is.describe(&a, now)
		if a.Flags != c.flags || !a.PreferredUntil.Equal(c.preferred) || !a.ValidUntil.Equal(c.valid) {
			t.Errorf("%s: %q until %v and %v, want %q until %v and %v", c.name,
				a.Flags.Names(), a.PreferredUntil, a.ValidUntil, c.flags.Names(), c.preferred, c.valid)
		}
		s := &Snapshot{Links: []Link{ethernet(2, "eth0")}, Addrs: []Addr{a}}
		if v := new(Policy).Judge(s, a, now); v.Reason != c.want {
			t.Errorf("%s: judged %s, want %s", c.name, v.Reason, c.want)
		}
	}
}
