package integration

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/gosipua/gosipua/internal/netlab"
)

// site is a network of hosts on one switch: 198.51.100.0/24, 2001:db8:5::/64.
type site struct {
	t   *testing.T
	lab *netlab.Lab
	sw  *netlab.Host
	br  *netlab.Link
	n   int
}

// station is a host of a site. Its interface is eth0.
type station struct {
	*netlab.Host
	site   *site
	link   *netlab.Link
	port   *netlab.Link // the switch's end of the cable
	v4, v6 netip.Addr
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, lab: netlab.New(t)}
	s.sw = s.lab.Host("switch")
	s.sw.NoDAD()
	s.br = s.sw.Bridge("br0")
	s.br.Up()
	return s
}

// host adds a station with the next free addresses, which are usable at once.
func (s *site) host(name string) *station {
	s.t.Helper()
	s.n++
	st := &station{Host: s.lab.Host(name), site: s}
	st.NoDAD()
	port := fmt.Sprintf("port%d", s.n)
	st.link, st.port = s.lab.LooseCable(st.Host, "eth0", s.sw, port)
	st.port.PlugInto(s.br)
	st.port.Up()
	st.link.Up()
	st.v4, st.v6 = s.addrs(s.n)
	st.link.Add(st.v4.String()+"/24", st.v6.String()+"/64")
	st.link.AwaitUsable(st.v6.String())
	return st
}

// addrs returns the addresses number n of the site.
func (s *site) addrs(n int) (v4, v6 netip.Addr) {
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}),
		netip.MustParseAddr(fmt.Sprintf("2001:db8:5::%x", n))
}

// addr returns address number n of a family.
func (s *site) addr(n int, family string) netip.Addr {
	v4, v6 := s.addrs(n)
	if family == "inet6" {
		return v6
	}
	return v4
}

// addr returns the station's address of a family, "inet" or "inet6".
func (st *station) addr(family string) netip.Addr {
	if family == "inet6" {
		return st.v6
	}
	return st.v4
}

// hostport returns an address as it stands in a URI, with a port.
func hostport(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }
