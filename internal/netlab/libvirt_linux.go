package netlab

import (
	"fmt"
)

// Libvirt is a host like the one this project comes from: a physical interface
// and three bridges of libvirt on which no guest runs.
type Libvirt struct {
	*Host

	// Uplink is the physical interface, enp0s13f0u1u4u4: 192.0.2.10/24 and
	// 2001:db8:1::10/64, both usable, and a default route for each family.
	Uplink *Link

	// Router is the neighbour at the other end of the uplink's cable:
	// 192.0.2.1 and 2001:db8:1::1 on RouterLink, called eth0 there.
	Router     *Host
	RouterLink *Link

	// Bridges are virbr0 (192.168.122.1/24), virbr1 (192.168.100.1/24) and
	// virbr2 (192.168.125.1/24 and 2001:db8:ddde:ffff::1/64). They are up and
	// have no carrier; the IPv6 address stays tentative until there is one.
	Bridges [3]*Link

	// Guests are the hosts behind the bridges' only ports. Their eth0 is down:
	// see PlugIn.
	Guests [3]*Host
}

// LibvirtHost adds such a host, its neighbour and its guests.
func (l *Lab) LibvirtHost(name string) *Libvirt {
	l.tb.Helper()
	v := &Libvirt{Host: l.Host(name), Router: l.Host(name + "-router")}
	v.Uplink, v.RouterLink = l.LooseCable(v.Host, "enp0s13f0u1u4u4", v.Router, "eth0")
	for _, end := range []*Link{v.Uplink, v.RouterLink} {
		end.NoDAD()
		end.Up()
	}
	v.RouterLink.Add("192.0.2.1/24", "2001:db8:1::1/64")
	v.Uplink.Add("192.0.2.10/24", "2001:db8:1::10/64")
	v.Route("default", "192.0.2.1")
	v.Route("default", "2001:db8:1::1")
	v.Uplink.AwaitUsable("2001:db8:1::10")
	v.Uplink.LinkLocal() // there, so that a test counts the same addresses every time

	addrs := [3][]string{
		{"192.168.122.1/24"},
		{"192.168.100.1/24"},
		{"192.168.125.1/24", "2001:db8:ddde:ffff::1/64"},
	}
	for i := range v.Bridges {
		v.Guests[i] = l.Host(fmt.Sprintf("%s-guest%d", name, i))
		v.Bridges[i] = v.Bridge(fmt.Sprintf("virbr%d", i))
		port, _ := l.LooseCable(v.Host, fmt.Sprintf("vnet%d", i), v.Guests[i], "eth0")
		// The port is there before the bridge comes up: a bridge that was up
		// without a port for a moment has had carrier, and DAD would pass.
		port.Conf("disable_ipv6", "1") // as libvirt does
		port.PlugInto(v.Bridges[i])
		port.Up()
		v.Bridges[i].Add(addrs[i]...)
		v.Bridges[i].Up()
	}
	return v
}

// PlugIn gives the port of virbr<i> carrier, as a guest that starts does. DAD on
// the bridge is done one to two seconds later.
func (v *Libvirt) PlugIn(i int) { v.lab.tb.Helper(); v.Guests[i].Link("eth0").Up() }

// PlugOut takes the carrier away again.
func (v *Libvirt) PlugOut(i int) { v.lab.tb.Helper(); v.Guests[i].Link("eth0").Down() }
