package media

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

func TestZoneIndex(t *testing.T) {
	if i, err := zoneIndex("17"); i != 17 || err != nil {
		t.Errorf("zone 17 is interface %d, %v", i, err)
	}
	if i, err := zoneIndex("lo"); i == 0 || err != nil {
		t.Errorf("zone lo is interface %d, %v", i, err)
	}
}

func TestRealSocketErrors(t *testing.T) {
	network := systemNetwork{dscp: 46, log: New(Config{}).log}
	holder, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	loopback := Local{Addr: netip.MustParseAddr("127.0.0.1")}
	if _, err := network.Listen(loopback, holder.LocalAddr().(*net.UDPAddr).AddrPort().Port()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a taken port: %v", err)
	}
	if _, err := network.Listen(Local{Addr: addrA}, 4000); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("another host's address: %v", err)
	}
	if _, err := network.Listen(Local{Addr: loopback.Addr, Device: "no-such-link"}, 0); err == nil {
		t.Error("bound to an interface that does not exist")
	}
	if _, err := network.Listen(Local{Addr: netip.MustParseAddr("fe80::1%no-such-link")}, 0); err == nil {
		t.Error("bound to a zone that does not exist")
	}
	c, err := network.Listen(loopback, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("[::1]:9")); err == nil {
		t.Error("IPv4 sends to IPv6")
	}
}

// TestSendingAllocatesNothing is the same for the socket.
func TestSendingAllocatesNothing(t *testing.T) {
	c, err := systemNetwork{log: New(Config{}).log}.Listen(Local{Addr: netip.MustParseAddr("127.0.0.1")}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	packet, to := make([]byte, 172), netip.MustParseAddrPort("127.0.0.1:9")
	if n := testing.AllocsPerRun(200, func() { _, err = c.WriteToUDPAddrPort(packet, to) }); n > 0 || err != nil {
		t.Errorf("%v allocations a packet, %v", n, err)
	}
}
