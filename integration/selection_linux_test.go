package integration

import (
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/gosipua/gosipua/internal/netlab"
)

func TestNetInterfaceNamesOne(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).LibvirtHost("host")
	local := host.Uplink.LinkLocal().String()
	p := startProgram(t, host.Host, "net_interface: enp0s13f0u1u4u4\n"+echoConfig)
	p.awaitListening(both(5060, "192.0.2.10", "2001:db8:1::10", local))
	p.wantReasons(map[string]string{
		"lo 127.0.0.1":         "interface_not_selected",
		"virbr2 192.168.125.1": "interface_not_selected",
	})
	// What is not selected stays out when it becomes usable.
	host.PlugIn(2)
	host.Bridges[2].AwaitUsable("2001:db8:ddde:ffff::1")
	host.Uplink.Add("192.0.2.11/24") // seen by the program after the others
	p.awaitListening(both(5060, "192.0.2.10", "192.0.2.11", "2001:db8:1::10", local))
	p.stop()
}

func TestNetAFInet(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).LibvirtHost("host")
	p := startProgram(t, host.Host, "net_af: inet\n"+echoConfig)
	p.awaitListening(both(5060, "127.0.0.1", "192.0.2.10"))
	p.wantReasons(map[string]string{
		"enp0s13f0u1u4u4 2001:db8:1::10": "family_not_selected",
		"lo ::1":                         "family_not_selected",
		"virbr2 192.168.125.1":           "no_carrier",
	})
	p.stop()
}

func TestNetAFInet6(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).LibvirtHost("host")
	p := startProgram(t, host.Host, "net_af: inet6\n"+echoConfig)
	p.awaitListening(both(5060, "::1", "2001:db8:1::10", host.Uplink.LinkLocal().String()))
	p.stop()
}

func TestInterfaceIsWaitedFor(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	host, other := lab.Host("host"), lab.Host("other")
	p := startProgram(t, host, "net_interface: wlan0\n"+echoConfig)
	p.awaitListening(nil)
	p.wantReasons(map[string]string{"wlan0 ": "interface_missing"})
	p.Stdout.WaitFor(`(?m)^ +wlan0 +- +waiting: `)

	link, _ := lab.LooseCable(host, "wlan0", other, "eth0")
	link.QuickDAD()
	other.Link("eth0").Up()
	link.Up()
	link.Add("192.0.2.10/24", "2001:db8::10/64")
	all := both(5060, "192.0.2.10", "2001:db8::10", link.LinkLocal().String())
	before := p.awaitListening(all)

	// The name is what counts, so the interface is given up with it.
	link.Rename("eth7")
	p.awaitListening(nil)
	p.wantReasons(map[string]string{"wlan0 ": "interface_missing", "eth7 192.0.2.10": "interface_not_selected"})
	link.Rename("wlan0")
	after := p.awaitListening(all)
	for name := range before {
		if before[name].Inode == after[name].Inode {
			t.Errorf("%s was said to be closed and was not", name)
		}
	}
	p.stop()
}

func TestAddressRemovedAndAddedAgain(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).LibvirtHost("host")
	p := startProgram(t, host.Host, echoConfig)
	all := []string{"127.0.0.1", "::1", "192.0.2.10", "2001:db8:1::10", host.Uplink.LinkLocal().String()}
	before := p.awaitListening(both(5060, all...))
	for _, change := range []struct{ addr, prefix string }{
		{"192.0.2.10", "192.0.2.10/24"},
		{"2001:db8:1::10", "2001:db8:1::10/64"},
	} {
		others := slices.DeleteFunc(slices.Clone(all), func(a string) bool { return a == change.addr })
		for range 3 {
			host.Uplink.Remove(change.prefix)
			p.awaitListening(both(5060, others...))
			host.Uplink.Add(change.prefix)
			p.awaitListening(both(5060, all...))
		}
		answersOptions(t, host.Router, host.RouterLink, "echo", change.addr)
	}
	p.wantUntouched(before, both(5060, "192.0.2.10", "2001:db8:1::10")...)
	p.stop()
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).LibvirtHost("host")
	local := host.Uplink.LinkLocal().String()
	udp := netlab.In(host.Host, func() (net.PacketConn, error) { return net.ListenPacket("udp", "192.0.2.10:5060") })
	tcp := netlab.In(host.Host, func() (net.Listener, error) { return net.Listen("tcp", "[2001:db8:1::10]:5060") })
	all := both(5060, "127.0.0.1", "::1", "192.0.2.10", "2001:db8:1::10", local)

	p := startProgram(t, host.Host, echoConfig)
	before := p.awaitListening(all) // two of them are the test's
	p.Stdout.WaitFor(`(?m)^ +enp0s13f0u1u4u4 +192\.0\.2\.10 +listening on tcp:5060, .*udp:5060 failed and will be tried again: .*in use`)
	p.Stdout.WaitFor(`(?m)^ +enp0s13f0u1u4u4 +2001:db8:1::10 +listening on udp:5060, .*tcp:5060 failed and will be tried again: .*in use`)
	if err := errors.Join(udp.Close(), tcp.Close()); err != nil {
		t.Fatal(err)
	}
	p.awaitListening(all)
	answersOptions(t, host.Router, host.RouterLink, "echo", "192.0.2.10")
	answersOptions(t, host.Router, host.RouterLink, "echo", "2001:db8:1::10")
	p.wantUntouched(before, "udp 192.0.2.10:5060", "tcp [2001:db8:1::10]:5060")
	p.stop()
}
