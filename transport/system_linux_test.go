package transport

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/netlab"
)

func TestParseLocal(t *testing.T) {
	for in, want := range map[string]string{
		"010200C0:13C4":                         "192.0.2.1:5060",
		"00000000:0035":                         "0.0.0.0:53",
		"B80D0120000000000000000001000000:13C4": "[2001:db8::1]:5060",
		"00000000000000000000000000000000:13C4": "[::]:5060",
		"0000000000000000FFFF0000010200C0:0001": "192.0.2.1:1",
	} {
		if got, ok := parseLocal(in); !ok || got.String() != want {
			t.Errorf("%s: %s, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "0102:1", "010200C0", "010200C0:XYZ", "01020:1"} {
		if got, ok := parseLocal(in); ok {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// The holder of a port is found for an address, for every address, and for every
// address of both families; nobody holds a free one.
func TestKernelPortHolder(t *testing.T) {
	netlab.New(t).Self()
	for _, tt := range []struct {
		network, local string
		p              Proto
		asked          string
		found          bool
	}{
		{"udp4", "127.0.0.1:5070", UDP, "127.0.0.1:5070", true},
		{"udp4", "127.0.0.1:5070", UDP, "127.0.0.1:5071", false},
		{"udp4", "127.0.0.1:5070", UDP, "127.0.0.2:5070", false},
		{"udp4", "127.0.0.1:5070", TCP, "127.0.0.1:5070", false},
		{"udp4", "0.0.0.0:5070", UDP, "127.0.0.1:5070", true},
		{"udp", "[::]:5070", UDP, "127.0.0.1:5070", true},
		{"udp", "[::]:5070", UDP, "[::1]:5070", true},
		{"tcp", "[::1]:5070", TCP, "[::1]:5070", true},
	} {
		t.Run(fmt.Sprint(tt.network, tt.local, tt.p, tt.asked), func(t *testing.T) {
			if strings.HasPrefix(tt.network, "udp") {
				c, err := net.ListenPacket(tt.network, tt.local)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			} else {
				l, err := net.Listen(tt.network, tt.local)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
			}
			if got := portHolder(tt.p, addrPort(tt.asked)); (got == "this process") != tt.found {
				t.Errorf("held by %q", got)
			}
		})
	}
}

// An interface that cannot be bound to is an error, not a socket without it.
func TestKernelUnknownDevice(t *testing.T) {
	netlab.New(t).Self()
	n := newSystem(Config{Log: slog.New(slog.DiscardHandler)})
	_, err := n.ListenPacket(t.Context(), addrPort("127.0.0.1:0"), "nosuch0")
	if err == nil {
		t.Error("bound to an interface that does not exist")
	}
}

// That binding to interfaces is not permitted is said once.
func TestNotPermittedIsSaidOnce(t *testing.T) {
	var log bytes.Buffer
	n := newSystem(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		n.notPermitted("eth0", syscall.EPERM)
	}
	if got := strings.Count(log.String(), "not bound to their interfaces"); got != 1 {
		t.Errorf("said %d times:\n%s", got, log.String())
	}
}

// A probe prefers public or temporary addresses as the policy says.
func TestKernelPreference(t *testing.T) {
	lab := netlab.New(t)
	h := lab.Self()
	h.NoDAD()
	eth0, _ := lab.Cable(h, "eth0", lab.Host("peer"), "eth0")
	eth0.Conf("use_tempaddr", "1") // made, but public ones are preferred
	eth0.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::1/64"), Flags: unix.IFA_F_MANAGETEMPADDR})
	var temporary netip.Addr
	netlab.Await(t, "a temporary address", func() error {
		s, err := ifwatch.Read(t.Context())
		if err != nil {
			return err
		}
		for _, a := range s.Addrs {
			if a.Flags.Has(ifwatch.Temporary) && !a.Flags.Has(ifwatch.Tentative) && a.Family() == ifwatch.Inet6 {
				temporary = a.Addr
				return nil
			}
		}
		return errors.New("there is none")
	})
	for policy, want := range map[ifwatch.TemporaryPolicy]netip.Addr{
		ifwatch.TemporaryPrefer: temporary, ifwatch.TemporaryAvoid: addr("2001:db8::1"), ifwatch.TemporaryKernel: addr("2001:db8::1"),
	} {
		n := newSystem(Config{Policy: ifwatch.Policy{Temporary: policy}, Log: slog.New(slog.DiscardHandler)})
		got, err := n.Source(t.Context(), addrPort("[2001:db8::9]:5060"), "")
		if err != nil || got != want {
			t.Errorf("%s: %s, %v", policy, got, err)
		}
	}
}
