package netlab

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { Main(m) }

func TestTwoHostsReachEachOther(t *testing.T) {
	t.Parallel()
	lab := New(t)
	a, b := lab.Host("a"), lab.Host("b")
	ea, eb := lab.LooseCable(a, "eth0", b, "eth0")
	for _, e := range []*Link{ea, eb} {
		e.NoDAD()
		e.Up()
	}
	ea.Add("192.0.2.1/24", "2001:db8::1/64")
	eb.Add("192.0.2.2/24", "2001:db8::2/64")
	ea.AwaitUsable("2001:db8::1")
	eb.AwaitUsable("2001:db8::2")
	for _, to := range []string{"192.0.2.2:5060", "[2001:db8::2]:5060"} {
		server := In(b, func() (*net.UDPConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		})
		client := In(a, func() (net.Conn, error) { return net.Dial("udp", to) })
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		_ = server.SetReadDeadline(time.Now().Add(Patience))
		buf := make([]byte, 16)
		n, from, err := server.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != "hello" {
			t.Fatalf("read %q, %v", buf[:n], err)
		}
		if got := client.LocalAddr().String(); from.String() != got {
			t.Errorf("%s: came from %v, was sent from %v", to, from, got)
		}
		server.Close()
		client.Close()
	}
}

func TestSeedHostWaitsForCarrier(t *testing.T) {
	t.Parallel()
	lab := New(t)
	seed := lab.LibvirtHost("seed")
	const addr = "2001:db8:ddde:ffff::1"
	bind := func() error {
		return seed.Do(func() error {
			c, err := net.ListenPacket("udp", "["+addr+"]:5060")
			if err == nil {
				c.Close()
			}
			return err
		})
	}
	if flags, ok := seed.Bridges[2].Flags(addr); !ok || flags&unix.IFA_F_TENTATIVE == 0 {
		t.Fatalf("without carrier: present %v, flags %#x; want tentative", ok, flags)
	}
	if err := bind(); err == nil {
		t.Error("a tentative address could be bound")
	}
	seed.PlugIn(2)
	seed.Bridges[2].AwaitUsable(addr)
	if err := bind(); err != nil {
		t.Errorf("after DAD: %v", err)
	}
	seed.PlugOut(2)
	if flags, _ := seed.Bridges[2].Flags(addr); flags&unix.IFA_F_TENTATIVE != 0 {
		t.Error("carrier lost: tentative again, which this kernel was not seen to do")
	}
}

func TestDuplicateAddressFails(t *testing.T) {
	t.Parallel()
	lab := New(t)
	a, b := lab.Host("a"), lab.Host("b")
	ea, eb := lab.LooseCable(a, "eth0", b, "eth0")
	ea.QuickDAD()
	ea.Up()
	eb.Up()
	eb.AddAddr(Addr{Prefix: netip.MustParsePrefix("2001:db8::7/64"), Flags: unix.IFA_F_NODAD})
	eb.LinkLocal()
	ea.Add("2001:db8::7/64")
	ea.AwaitDuplicate("2001:db8::7")
}

func TestQuickDADIsQuick(t *testing.T) {
	t.Parallel()
	lab := New(t)
	a, b := lab.Host("a"), lab.Host("b")
	ea, eb := lab.LooseCable(a, "eth0", b, "eth0")
	ea.QuickDAD()
	ea.Conf("dad_transmits", "30") // ordinary DAD would take more than 30 s now, so that a busy machine cannot decide
	start := time.Now()
	ea.Up()
	eb.Up()
	ea.Add("2001:db8::1/64")
	ea.AwaitUsable("2001:db8::1")
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestAddressLifetimes(t *testing.T) {
	t.Parallel()
	lab := New(t)
	a, b := lab.Host("a"), lab.Host("b")
	a.NoDAD()
	ea, _ := lab.Cable(a, "eth0", b, "eth0")
	ea.AddAddr(Addr{Prefix: netip.MustParsePrefix("2001:db8::1/64"), Preferred: -1})
	ea.AddAddr(Addr{Prefix: netip.MustParsePrefix("2001:db8::2/64"), Valid: time.Hour})
	ea.AwaitUsable("2001:db8::1")
	if flags, _ := ea.Flags("2001:db8::1"); flags&unix.IFA_F_DEPRECATED == 0 {
		t.Errorf("preferred for no time: flags %#x, want deprecated", flags)
	}
	if flags, _ := ea.Flags("2001:db8::2"); flags&(unix.IFA_F_DEPRECATED|unix.IFA_F_PERMANENT) != 0 {
		t.Errorf("valid for an hour: flags %#x", flags)
	}
	ea.ReplaceAddr(Addr{Prefix: netip.MustParsePrefix("2001:db8::2/64"), Preferred: -1})
	if flags, _ := ea.Flags("2001:db8::2"); flags&unix.IFA_F_DEPRECATED == 0 {
		t.Errorf("replaced: flags %#x, want deprecated", flags)
	}
}

// Two subtests find the process's own namespace as if they were the first.
func TestSelfIsLeftAsFound(t *testing.T) {
	for range 2 {
		t.Run("use", func(t *testing.T) {
			lab := New(t)
			self, other := lab.Self(), lab.Host("other")
			if got := self.ReadSysctl("ipv6/conf/default/accept_dad"); got != "1" {
				t.Errorf("accept_dad is %s", got)
			}
			self.NoDAD()
			self.Link("lo").Add("192.0.2.9/32")
			e, _ := lab.Cable(self, "eth0", other, "eth0")
			e.Add("192.0.2.1/24")
			// No thread was entered: this is the test's own goroutine.
			c, err := net.ListenPacket("udp", "192.0.2.1:0")
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
}

func TestDoLeavesTheTestWhereItIs(t *testing.T) {
	lab := New(t)
	h := lab.Host("h")
	where := func() string {
		s, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := where()
	inside := In(h, func() (string, error) { return where(), nil })
	if inside == before {
		t.Error("Do did not enter the host")
	}
	for range 100 { // the first thread of the process must not be used up
		if err := h.Do(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	leader, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if after := where(); after != before || leader != before {
		t.Errorf("the test was in %s, is in %s, /proc/self in %s", before, after, leader)
	}
}

func TestDoReportsAGoroutineThatEnded(t *testing.T) {
	h := New(t).Host("h")
	err := h.Do(func() error {
		runtime.Goexit() // as Fatal does
		return nil
	})
	if err == nil {
		t.Error("no error from a function that never returned")
	}
}
