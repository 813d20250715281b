package ifwatch

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// recorded messages of Linux 6.18: RTM_NEWADDR and RTM_NEWLINK with their headers.
func readHex(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

func TestParseRecordedAddr(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		file string
		want Addr
	}{
		{"addr_tentative.hex", address(4, "2001:db8:ddde:ffff::1/64", Tentative, Permanent)},
		{"addr_lifetime.hex", func() Addr {
			a := address(4, "2001:db8::2/64", NoDAD)
			a.PreferredUntil, a.ValidUntil = now.Add(300*time.Second), now.Add(600*time.Second)
			return a
		}()},
		{"addr_peer.hex", func() Addr {
			a := address(4, "192.0.2.1/32", Permanent)
			a.Peer, a.Label = netip.MustParseAddr("192.0.2.9"), "virbr2"
			return a
		}()},
	} {
		m, rest, ok := nextMessage(readHex(t, c.file))
		if !ok || len(rest) != 0 || m.typ != unix.RTM_NEWADDR {
			t.Fatalf("%s: message %+v, rest %x", c.file, m, rest)
		}
		got, err := parseAddr(m.body, now)
		if err != nil || !sameBut(&got, &c.want) || !got.PreferredUntil.Equal(c.want.PreferredUntil) || !got.ValidUntil.Equal(c.want.ValidUntil) {
			t.Errorf("%s: %+v, %v; want %+v", c.file, got, err, c.want)
		}
	}
}

func TestParseRecordedLink(t *testing.T) {
	m, _, _ := nextMessage(readHex(t, "link_bridge.hex"))
	l, err := parseLink(m.body)
	want := Link{
		Index: 4, Name: "virbr2", AltNames: []string{"guests"}, Kind: "bridge", Up: true, Oper: OperDown, MTU: 1500,
	}
	if err != nil || l.family != unix.AF_UNSPEC || l.wireless || !sameLink(&l.link, &want) {
		t.Errorf("got %+v, %v; want %+v", l, err, want)
	}
}

func TestMessageRoundTrip(t *testing.T) { synctest.Test(t, testMessageRoundTrip) }

func testMessageRoundTrip(t *testing.T) {
	full := ethernet(7, "wlan0")
	full.AltNames, full.Kind, full.NoARP, full.Master, full.UseTempAddr = []string{"a", "wlp0s20f3"}, "vlan", true, 9, -1
	for _, l := range []Link{full, ethernet(1, "e"), {Index: 5, Name: "lo", Loopback: true}, linkDown(ethernet(2, "eth0"))} {
		m, _, _ := nextMessage(linkEvent(unix.RTM_NEWLINK, unix.AF_UNSPEC, l))
		if got, err := parseLink(m.body); err != nil || !sameLink(&got.link, &l) {
			t.Errorf("link %+v became %+v, %v", l, got, err)
		}
	}
	all := ^Flags(0) >> (32 - 13)
	for _, a := range []Addr{
		address(2, global, all&^Secondary), address(2, "192.0.2.1/24", all&^Temporary), address(2, "::1/128"),
		func() Addr {
			a := address(2, "192.0.2.1/31")
			a.Peer = netip.MustParseAddr("192.0.2.2")
			a.Label = "ppp0"
			return a
		}(),
		func() Addr {
			a := address(2, global)
			a.Peer = netip.MustParseAddr("2001:db8::9")
			a.Proto = 2
			return a
		}(),
		func() Addr { a := address(2, global); a.ValidUntil = time.Now().Add(time.Hour); return a }(),
	} {
		m, _, _ := nextMessage(addrEvent(unix.RTM_NEWADDR, a))
		got, err := parseAddr(m.body, time.Now())
		if err != nil || !sameBut(&got, &a) || !got.ValidUntil.Equal(a.ValidUntil) {
			t.Errorf("address %+v became %+v, %v", a, got, err)
		}
	}
}

func TestParseRejects(t *testing.T) {
	head := func(family, bits byte, index byte) []byte { return []byte{family, bits, 0, 0, index, 0, 0, 0} }
	v6 := netip.MustParseAddr("2001:db8::1").AsSlice()
	for _, c := range []struct {
		name string
		body []byte
	}{
		{"too short", []byte{unix.AF_INET6, 64, 0}},
		{"no address", head(unix.AF_INET6, 64, 2)},
		{"address of the other family", appendAttr(head(unix.AF_INET, 24, 2), unix.IFA_LOCAL, v6)},
		{"address of another family", appendAttr(head(unix.AF_PHONET, 64, 2), unix.IFA_LOCAL, v6)},
		{"address of 5 bytes", appendAttr(head(unix.AF_INET, 24, 2), unix.IFA_LOCAL, v6[:5])},
		{"prefix of 129 bits", appendAttr(head(unix.AF_INET6, 129, 2), unix.IFA_ADDRESS, v6)},
		{"no link", appendAttr(head(unix.AF_INET6, 64, 0), unix.IFA_ADDRESS, v6)},
		{"attribute longer than the message", append(head(unix.AF_INET6, 64, 2), 200, 0, unix.IFA_ADDRESS, 0)},
		{"attribute of 3 bytes", append(head(unix.AF_INET6, 64, 2), 3, 0, unix.IFA_ADDRESS, 0)},
	} {
		if a, err := parseAddr(c.body, time.Now()); !errors.Is(err, errMessage) {
			t.Errorf("%s: %+v, %v", c.name, a, err)
		}
	}
	for _, body := range [][]byte{nil, make([]byte, 15), make([]byte, 16)} {
		if l, err := parseLink(body); !errors.Is(err, errMessage) {
			t.Errorf("link of %d zero bytes: %+v, %v", len(body), l, err)
		}
	}
}

// FuzzMessages parses anything; what was parsed must survive being written and parsed again.
func FuzzMessages(f *testing.F) {
	for _, name := range []string{"addr_tentative.hex", "addr_lifetime.hex", "addr_peer.hex", "link_bridge.hex"} {
		f.Add(readHex(f, name))
	}
	f.Add(linkEvent(unix.RTM_NEWLINK, unix.AF_INET6, ethernet(2, "eth0")))
	f.Add(append(addrEvent(unix.RTM_NEWADDR, address(2, global, Tentative)), done(1, 0)...))
	now := time.Now().Truncate(time.Second)
	f.Fuzz(func(t *testing.T, b []byte) {
		left := len(b) + 1
		for m, rest, ok := nextMessage(b); ok; m, rest, ok = nextMessage(rest) {
			if len(rest) >= left {
				t.Fatalf("%d bytes left of %d: no progress", len(rest), left)
			}
			left = len(rest)
			fuzzLink(t, m.body)
			fuzzAddr(t, m.body, now)
		}
		fuzzFollower(b)
	})
}

func fuzzLink(t *testing.T, body []byte) {
	l, err := parseLink(body)
	if err != nil || len(l.link.Name) > 1000 || strings.Contains(l.link.Name, "\x00") {
		return
	}
	m, _, ok := nextMessage(linkEvent(unix.RTM_NEWLINK, l.family, l.link))
	if !ok {
		return // names that are too long for an attribute
	}
	again, err := parseLink(m.body)
	again.wireless = l.wireless
	if err != nil || !sameLink(&again.link, &l.link) || again.family != l.family {
		t.Fatalf("link %+v became %+v, %v", l, again, err)
	}
}

func fuzzAddr(t *testing.T, body []byte, now time.Time) {
	a, err := parseAddr(body, now)
	if err != nil {
		return
	}
	if !a.Addr.IsValid() || a.Addr.Zone() != "" || a.Bits < 0 || a.Bits > a.Addr.BitLen() || a.Link <= 0 {
		t.Fatalf("impossible address %+v", a)
	}
	a.PreferredUntil, a.ValidUntil = time.Time{}, time.Time{}
	m, _, ok := nextMessage(addrEvent(unix.RTM_NEWADDR, a))
	again, err := parseAddr(m.body, now)
	if !ok || err != nil || !sameBut(&again, &a) {
		t.Fatalf("address %+v became %+v, %v", a, again, err)
	}
}

// fuzzFollower only has to live on. It has no sockets, and so none of their large buffers.
func fuzzFollower(b []byte) {
	f := follower{feed: &feed{w: New(Config{})}, stale: map[int]bool{}, again: map[int]bool{}}
	f.table.setLink(ethernet(2, "eth0"), time.Now())
	f.handle(b)
	f.table.snapshot(time.Now())
}

func TestParseProc(t *testing.T) {
	addrs, err := parseIn6(strings.NewReader(
		"fe8000000000000000000000000000a1 02 40 20 c0     eth0\n" +
			"20010db8dddeffff0000000000000001 0c 40 00 40   virbr2\n" +
			"00000000000000000000000000000001 01 80 10 80       lo\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Addr{
		address(2, "fe80::a1/64", Tentative, Permanent),
		address(12, "2001:db8:ddde:ffff::1/64", Tentative), address(1, "::1/128", Permanent),
	}
	for i := range want {
		if i >= len(addrs) || !sameBut(&addrs[i], &want[i]) {
			t.Fatalf("got %+v, want %+v", addrs, want)
		}
	}
	for _, bad := range []string{
		"fe80 02 40 20 c0 eth0", "fe8000000000000000000000000000a1 00 40 20 c0 eth0", "fe8000000000000000000000000000a1 02 81 20 c0 eth0",
		"fe8000000000000000000000000000a1 02 40 20", "xe8000000000000000000000000000a1 02 40 20 c0 eth0",
	} {
		if got, err := parseIn6(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	const dev = "Inter-|   Receive\n face |bytes\n    lo:  1 2 3\n  eth0: 4 5 6\n"
	if names, err := parseDev(strings.NewReader(dev)); err != nil || strings.Join(names, " ") != "lo eth0" {
		t.Errorf("names %q, %v", names, err)
	}
}

// FuzzIn6 reads anything as /proc/net/if_inet6.
func FuzzIn6(f *testing.F) {
	f.Add([]byte("fe8000000000000000000000000000a1 02 40 20 c0     eth0\n"))
	f.Add([]byte("00000000000000000000000000000001 01 80 10 80       lo"))
	f.Fuzz(func(t *testing.T, b []byte) {
		addrs, err := parseIn6(bytes.NewReader(b))
		for _, a := range addrs {
			if err == nil && (!a.Addr.Is6() || a.Bits < 0 || a.Bits > 128 || a.Link <= 0) {
				t.Fatalf("impossible address %+v", a)
			}
		}
	})
}
