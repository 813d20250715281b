package ifwatch_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/netlab"
)

// needProgram skips t unless a program is there that gosipua does not come with.
func needProgram(t *testing.T, name string) {
	t.Helper()
	required := os.Getenv("GOSIPUA_REQUIRE_PEERS") == "1"
	if os.Getenv("GOSIPUA_PEERS") == "skip" && !required {
		t.Skip("GOSIPUA_PEERS=skip: without other programs")
	}
	switch _, err := netlab.FindProgram(name); {
	case err != nil && required:
		t.Fatalf("GOSIPUA_REQUIRE_PEERS=1, but: %v", err)
	case err != nil:
		t.Skipf("needs another program: %v", err)
	}
}

// autoconfigured waits for the address with these flags, out of stable_privacy, manage_temp and temporary, that has the prefix.
func (o *observer) autoconfigured(prefix string, flags ifwatch.Flags) string {
	o.t.Helper()
	const kinds = ifwatch.Temporary | ifwatch.ManageTemp
	found := ""
	o.await(fmt.Sprintf("an address of %s with flags %q", prefix, flags.Names()), func(s *ifwatch.Snapshot) error {
		for _, a := range s.Addrs {
			if netip.MustParsePrefix(prefix).Contains(a.Addr) && a.Flags&kinds == flags {
				found = a.Addr.String()
				return nil
			}
		}
		return fmt.Errorf("addresses %v", s.Addrs)
	})
	return found
}

func TestKernelSLAACByRadvd(t *testing.T) {
	t.Parallel()
	needProgram(t, "radvd")
	host, eth0, neighbour := cable(t)
	eth0.Conf("use_tempaddr", "2")
	router := neighbour.Host()
	router.Forward()
	neighbour.LinkLocal()
	neighbour.Add("2001:db8:a::1/64")
	dir := t.TempDir()
	conf := filepath.Join(dir, "radvd.conf")
	if err := os.WriteFile(conf, []byte(`
interface eth0 {
	AdvSendAdvert on;
	MinRtrAdvInterval 3;
	MaxRtrAdvInterval 4;
	AdvDefaultLifetime 20;
	prefix 2001:db8:a::/64 { AdvValidLifetime 600; AdvPreferredLifetime 300; DeprecatePrefix on; };
};
`), 0o600); err != nil {
		t.Fatal(err)
	}
	o := watch(t, host)
	radvd := router.Start(netlab.Cmd{
		Path: "radvd", Args: []string{"-n", "-m", "stderr", "-d", "1", "-C", conf, "-p", filepath.Join(dir, "radvd.pid")},
	})

	public := o.autoconfigured("2001:db8:a::/64", ifwatch.ManageTemp)
	temporary := o.autoconfigured("2001:db8:a::/64", ifwatch.Temporary)
	o.judged(public, "BKAF ok")
	s, a := o.judged(temporary, "BKAF ok")
	o.checkBinds(s)
	if a.PreferredUntil.IsZero() || a.ValidUntil.Before(a.PreferredUntil) {
		t.Errorf("the temporary address is preferred until %v and valid until %v", a.PreferredUntil, a.ValidUntil)
	}
	avoid := ifwatch.Policy{Temporary: ifwatch.TemporaryAvoid}
	if v := avoid.Judge(s, a, time.Now()); v.Advertise || v.Reason != ifwatch.ReasonTemporary {
		t.Errorf("to be avoided, but %s", answers(v))
	}

	radvd.Signal(syscall.SIGTERM) // it takes leave by making the prefix deprecated
	for _, addr := range []string{public, temporary} {
		o.judged(addr, "-K-- deprecated")
		for _, v := range o.seen(addr) {
			if v != "BKAF ok" && v != "---- tentative" && v != "-K-- deprecated" {
				t.Errorf("%s was judged %q", addr, o.seen(addr))
			}
		}
	}
	if code := radvd.Wait(); code != 0 {
		t.Errorf("radvd ended with %d", code)
	}
	o.converges("the prefix is deprecated")
}

func TestKernelBridgeWithoutPort(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).Host("host")
	o := watch(t, host)
	br0 := host.Bridge("br0")
	br0.Add("192.0.2.1/24")
	o.judged("192.0.2.1", "---- link_down")
	br0.Up()
	br0.Add("2001:db8::1/64")
	// Unlike one whose only port has none, a bridge without any port has carrier, and DAD passes.
	s, _ := o.judged("2001:db8::1", "BKAF ok")
	o.judged("192.0.2.1", "BKAF ok")
	o.checkBinds(s)
	if l, ok := s.LinkNamed("br0"); !ok || !l.Carrier() || !l.In6Ready {
		t.Errorf("br0 is %+v", l)
	}
}

func TestKernelIndexReused(t *testing.T) {
	t.Parallel()
	const index = 77
	host := netlab.New(t).Host("host")
	host.NoDAD()
	o := watch(t, host)
	for i := range 3 {
		name, addr := fmt.Sprintf("br%d", i), fmt.Sprintf("2001:db8::%d", 1+i)
		if err := host.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index}}); err != nil {
			t.Fatal(err)
		}
		link := host.Link(name)
		if link.Index() != index {
			t.Fatalf("%s has index %d", name, link.Index())
		}
		link.Up()
		link.Add(addr + "/64")
		s, a := o.judged(addr, "BKAF ok")
		if l, ok := s.Link(a.Link); !ok || l.Name != name || a.Link != index {
			t.Errorf("%s is on %d, which is %+v", addr, a.Link, l)
		}
		for _, a := range s.Addrs {
			if a.Link == index && a.Addr.IsGlobalUnicast() && a.Addr.String() != addr {
				t.Errorf("%s inherits %s", name, a.Addr)
			}
		}
		link.Delete()
		o.judged(addr, "")
	}
	o.converges("the last one is deleted")
}

func TestKernelOptimisticUnannounced(t *testing.T) {
	t.Parallel()
	host, eth0, _ := cable(t)
	o := watch(t, host)
	eth0.Conf("optimistic_dad", "1")
	eth0.Conf("use_optimistic", "0") // then the kernel does not tell of it before DAD is over
	eth0.SlowDAD(300 * time.Millisecond)
	eth0.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::1/64"), Flags: unix.IFA_F_OPTIMISTIC})
	s, _ := o.judged("2001:db8::1", "BKAF ok")
	o.checkBinds(s)
	for _, v := range o.seen("2001:db8::1") {
		if v != "BKAF ok" && !strings.HasSuffix(v, "optimistic") {
			t.Errorf("verdicts %q", o.seen("2001:db8::1"))
		}
	}
}

func TestKernelNoDADAndStablePrivacy(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	host, other := lab.Host("host"), lab.Host("other")
	o := watch(t, host)
	eth0, far := lab.LooseCable(host, "eth0", other, "eth0")
	eth0.QuickDAD()
	eth0.Conf("addr_gen_mode", "3") // stable_privacy with a random secret
	far.Up()
	eth0.Up()
	eth0.SlowDAD(time.Second)
	eth0.AddAddr(netlab.Addr{Prefix: netip.MustParsePrefix("2001:db8::1/64"), Flags: unix.IFA_F_NODAD})
	_, a := o.judged("2001:db8::1", "BKAF ok")
	if !a.Flags.Has(ifwatch.NoDAD) {
		t.Errorf("flags %q", a.Flags.Names())
	}
	if seen := o.seen("2001:db8::1"); slices.ContainsFunc(seen, func(v string) bool { return strings.Contains(v, "tentative") }) {
		t.Errorf("verdicts %q: it was never tentative", seen)
	}
	o.await("an opaque link-local address", func(s *ifwatch.Snapshot) error {
		for _, a := range s.Addrs {
			if a.Addr.Is6() && a.Addr.IsLinkLocalUnicast() && a.Flags.Has(ifwatch.StablePrivacy) && !a.Flags.Has(ifwatch.Tentative) {
				return nil
			}
		}
		return fmt.Errorf("addresses %v", s.Addrs)
	})
}
