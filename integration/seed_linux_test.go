package integration

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/internal/netlab"
)

// The host this project comes from: baresip found 2001:db8:ddde:ffff::1 on
// virbr2, could not bind it, and exited.
func TestSeedHost(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).LibvirtHost("host")
	uplink := []string{"127.0.0.1", "::1", "192.0.2.10", "2001:db8:1::10", host.Uplink.LinkLocal().String()}
	virbr2 := []string{"192.168.125.1", "2001:db8:ddde:ffff::1"}

	p := startProgram(t, host.Host, echoConfig)
	before := p.awaitListening(both(5060, uplink...))
	p.wantReasons(map[string]string{
		"lo 127.0.0.1":                   "loopback",
		"lo ::1":                         "loopback",
		"enp0s13f0u1u4u4 192.0.2.10":     "ok",
		"enp0s13f0u1u4u4 2001:db8:1::10": "ok",
		"virbr0 192.168.122.1":           "no_carrier",
		"virbr1 192.168.100.1":           "no_carrier",
		"virbr2 192.168.125.1":           "no_carrier",
		"virbr2 2001:db8:ddde:ffff::1":   "dad_waits_for_carrier",
	})
	if a := p.addrs()["virbr2 2001:db8:ddde:ffff::1"]; !slices.Contains(a.Reasons, "tentative") || !slices.Contains(a.Reasons, "no_carrier") {
		t.Errorf("reasons of the address that waits for carrier: %v", a.Reasons)
	}
	p.Stdout.WaitFor(`(?m)^ +virbr2 +2001:db8:ddde:ffff::1 +not used: .*carrier`)
	p.Stdout.WaitFor(`(?m)^ +enp0s13f0u1u4u4 +192\.0\.2\.10 +listening on udp:5060 tcp:5060, call sip:echo@192\.0\.2\.10`)

	// A guest starts: DAD on virbr2 can be done, and is.
	host.PlugIn(2)
	host.Bridges[2].AwaitUsable(virbr2[1])
	virbr2 = append(virbr2, host.Bridges[2].LinkLocal().String())
	p.awaitListening(both(5060, slices.Concat(uplink, virbr2)...))
	p.wantUntouched(before)
	p.wantReasons(map[string]string{
		"virbr2 192.168.125.1":         "ok",
		"virbr2 2001:db8:ddde:ffff::1": "ok",
		"virbr0 192.168.122.1":         "no_carrier",
	})
	guest := host.Guests[2].Link("eth0")
	guest.NoDAD()
	guest.Add("192.168.125.100/24", "2001:db8:ddde:ffff::100/64")
	answersOptions(t, host.Guests[2], guest, "echo", virbr2[0])
	answersOptions(t, host.Guests[2], guest, "echo", virbr2[1])

	// The guest has the address that the host is given next.
	duplicate := netip.MustParsePrefix("2001:db8:ddde:ffff::7/64")
	guest.AddAddr(netlab.Addr{Prefix: duplicate, Flags: unix.IFA_F_NODAD})
	before = host.Listeners()
	host.Bridges[2].Add(duplicate.String())
	host.Bridges[2].AwaitDuplicate(duplicate.Addr().String())
	p.wantReasons(map[string]string{
		"virbr2 2001:db8:ddde:ffff::7": "dad_failed",
		"virbr2 2001:db8:ddde:ffff::1": "ok",
	})
	p.awaitListening(both(5060, slices.Concat(uplink, virbr2)...))
	p.wantUntouched(before)

	// Once the guest has let go of it, it is an address like any other.
	guest.Remove(duplicate.String())
	host.Bridges[2].Remove(duplicate.String())
	host.Bridges[2].Add(duplicate.String())
	p.awaitListening(both(5060, slices.Concat(uplink, virbr2, []string{duplicate.Addr().String()})...))
	p.wantUntouched(before)
	p.stop()
}
