package memnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }

func listenPacket(t *testing.T, h *Host, local string) *packetConn {
	t.Helper()
	c, err := h.ListenPacket(t.Context(), addrPort(local), "")
	if err != nil {
		t.Fatal(err)
	}
	return c.(*packetConn)
}

func read(t *testing.T, c net.PacketConn) (data string, from netip.AddrPort) {
	t.Helper()
	b := make([]byte, 100)
	c.SetReadDeadline(time.Now().Add(time.Minute))
	n, a, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), a.(*net.UDPAddr).AddrPort()
}

func TestDatagrams(t *testing.T) { synctest.Test(t, testDatagrams) }

func testDatagrams(t *testing.T) {
	n := New()
	ha, hb := n.Host(addr("192.0.2.1")), n.Host(addr("192.0.2.2"), addr("fe80::2%3"))
	a, b := listenPacket(t, ha, "192.0.2.1:5060"), listenPacket(t, hb, "192.0.2.2:5060")
	for range 100 {
		a.WriteToUDPAddrPort([]byte("hello"), addrPort("192.0.2.2:5060"))
	}
	for range 100 {
		if data, from := read(t, b); data != "hello" || from != a.local {
			t.Fatalf("got %q from %s", data, from)
		}
	}
	// Nobody there: no error, nothing arrives.
	for _, to := range []string{"192.0.2.2:5061", "192.0.2.3:5060"} {
		if _, err := a.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(addrPort(to))); err != nil {
			t.Error(err)
		}
	}
	b.SetReadDeadline(time.Now().Add(time.Second))
	if _, _, err := b.ReadFrom(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	b.SetReadDeadline(time.Time{})
	hb.Inject("udp", b.local, io.ErrNoProgress)
	if _, _, err := b.ReadFrom(nil); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
	ended := make(chan error)
	go func() {
		_, _, err := b.ReadFrom(nil)
		ended <- err
	}()
	synctest.Wait()
	b.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := b.WriteToUDPAddrPort(nil, a.local); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestHooks(t *testing.T) { synctest.Test(t, testHooks) }

func testHooks(t *testing.T) {
	n := New()
	h := n.Host(addr("192.0.2.1"))
	a, b := listenPacket(t, h, "192.0.2.1:5060"), listenPacket(t, h, "192.0.2.1:0")
	delays := []time.Duration{3 * time.Second, time.Second, time.Second}
	n.SetHooks(Hooks{
		Drop: func(_, to netip.AddrPort) bool { return to == a.local },
		Delay: func(_, _ netip.AddrPort) time.Duration {
			d := delays[0]
			delays = delays[1:]
			return d
		},
		Send: func(_, to netip.AddrPort) error {
			if to.Port() == 1 {
				return syscall.EPERM
			}
			return nil
		},
		Dial: func(netip.Addr, netip.AddrPort) error { return syscall.ENETUNREACH },
		Bind: func(network string, _ netip.AddrPort) error {
			if network == "tcp" {
				return syscall.EACCES
			}
			return nil
		},
		Source: func(netip.AddrPort, string) (netip.Addr, error) { return addr("192.0.2.77"), nil },
	})
	start := time.Now()
	for _, s := range []string{"late", "early", "soon after"} {
		a.WriteToUDPAddrPort([]byte(s), b.local)
	}
	for _, want := range []struct {
		s  string
		at time.Duration
	}{{"early", time.Second}, {"soon after", time.Second}, {"late", 3 * time.Second}} {
		if s, _ := read(t, b); s != want.s || time.Since(start) != want.at {
			t.Errorf("got %q at %s, want %q at %s", s, time.Since(start), want.s, want.at)
		}
	}
	if _, err := b.WriteToUDPAddrPort([]byte("x"), a.local); err != nil || len(a.in) != 0 {
		t.Errorf("dropped: %v, %d arrived", err, len(a.in))
	}
	if _, err := b.WriteToUDPAddrPort([]byte("x"), addrPort("192.0.2.1:1")); !errors.Is(err, syscall.EPERM) {
		t.Errorf("send: %v", err)
	}
	if _, err := h.Dial(t.Context(), netip.Addr{}, a.local, ""); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("dial: %v", err)
	}
	if _, err := h.Listen(t.Context(), a.local, ""); !errors.Is(err, syscall.EACCES) {
		t.Errorf("listen: %v", err)
	}
	if got, err := h.Source(t.Context(), a.local, ""); got != addr("192.0.2.77") || err != nil {
		t.Errorf("source: %s, %v", got, err)
	}
}

func TestBind(t *testing.T) {
	n := New()
	h := n.Host(addr("192.0.2.1"))
	for _, tt := range []struct {
		name, local string
		want        error
	}{
		{"own address", "192.0.2.1:5060", nil},
		{"the same again", "192.0.2.1:5060", syscall.EADDRINUSE},
		{"loopback", "127.0.0.1:5060", nil},
		{"an address it has not", "192.0.2.2:5060", syscall.EADDRNOTAVAIL},
	} {
		_, err := h.ListenPacket(t.Context(), addrPort(tt.local), "")
		if !errors.Is(err, tt.want) {
			t.Errorf("udp, %s: %v", tt.name, err)
		}
		if _, err = h.Listen(t.Context(), addrPort(tt.local), ""); !errors.Is(err, tt.want) {
			t.Errorf("tcp, %s: %v", tt.name, err)
		}
	}
	h.Remove(addr("192.0.2.1"))
	if _, err := h.Listen(t.Context(), addrPort("192.0.2.1:0"), ""); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("removed: %v", err)
	}
	other := n.Host()
	other.Add(addr("192.0.2.1"))
	h.Remove(addr("192.0.2.1"))
	if _, err := other.Listen(t.Context(), addrPort("192.0.2.1:0"), ""); err != nil {
		t.Errorf("moved to another host: %v", err)
	}
}

func TestSource(t *testing.T) {
	h := New().Host(addr("fe80::1%2"), addr("192.0.2.1"), addr("2001:db8::1"), addr("fe80::1%3"))
	for to, want := range map[string]string{
		"192.0.2.9:1":     "192.0.2.1",
		"[2001:db8::9]:1": "2001:db8::1",
		"[fe80::9%3]:1":   "fe80::1%3",
		"127.0.0.2:1":     "127.0.0.1",
		"[::1]:1":         "::1",
	} {
		if got, err := h.Source(t.Context(), addrPort(to), ""); err != nil || got != addr(want) {
			t.Errorf("to %s from %s, %v", to, got, err)
		}
	}
	if _, err := h.Source(t.Context(), addrPort("[fe80::9%4]:1"), ""); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("unknown link: %v", err)
	}
}

// connected returns both ends of a connection.
func connected(t *testing.T) (near, far net.Conn) {
	t.Helper()
	n := New()
	ha, hb := n.Host(addr("192.0.2.1")), n.Host(addr("192.0.2.2"))
	l, err := hb.Listen(t.Context(), addrPort("192.0.2.2:5060"), "")
	if err != nil {
		t.Fatal(err)
	}
	near, err = ha.Dial(t.Context(), netip.Addr{}, addrPort("192.0.2.2:5060"), "")
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if near.LocalAddr().String() != far.RemoteAddr().String() || near.RemoteAddr().String() != far.LocalAddr().String() {
		t.Errorf("%s to %s, %s to %s", near.LocalAddr(), near.RemoteAddr(), far.LocalAddr(), far.RemoteAddr())
	}
	return near, far
}

func TestStream(t *testing.T) { synctest.Test(t, testStream) }

func testStream(t *testing.T) {
	near, far := connected(t)
	sent := bytes.Repeat([]byte("0123456789"), 30000) // several windows
	go func() {
		near.Write(sent)
		near.Close()
	}()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := far.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write to a closed end: %v", err)
	}
	if _, err := near.Read(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

func TestStreamDeadlines(t *testing.T) { synctest.Test(t, testStreamDeadlines) }

func testStreamDeadlines(t *testing.T) {
	near, far := connected(t)
	start := time.Now()
	near.SetDeadline(start.Add(time.Second))
	n, err := near.Write(make([]byte, window+1))
	if n != window || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
		t.Errorf("wrote %d in %s, %v", n, time.Since(start), err)
	}
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	// A deadline that is moved wakes who waits for the old one.
	ended := make(chan error)
	near.SetReadDeadline(time.Time{})
	go func() {
		_, err := near.Read(make([]byte, 1))
		ended <- err
	}()
	synctest.Wait()
	near.SetReadDeadline(time.Now())
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	far.Close()
}

func TestStreamReset(t *testing.T) { synctest.Test(t, testStreamReset) }

func testStreamReset(t *testing.T) {
	near, far := connected(t)
	near.Write([]byte("lost"))
	near.(*conn).SetLinger(0)
	near.Close()
	if _, err := far.Read(make([]byte, 9)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
}

func TestDialErrors(t *testing.T) { synctest.Test(t, testDialErrors) }

func testDialErrors(t *testing.T) {
	n := New()
	ha, hb := n.Host(addr("192.0.2.1")), n.Host(addr("192.0.2.2"))
	if _, err := ha.Dial(t.Context(), addr("192.0.2.1"), addrPort("192.0.2.2:5060"), ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := ha.Dial(t.Context(), addr("192.0.2.9"), addrPort("192.0.2.2:5060"), ""); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("from an address it has not: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := ha.Dial(ctx, netip.Addr{}, addrPort("192.0.2.3:5060"), ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no such host: %v", err)
	}
	l, err := hb.Listen(t.Context(), addrPort("192.0.2.2:5060"), "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ha.Dial(t.Context(), netip.Addr{}, addrPort("192.0.2.2:5060"), "")
	if err != nil {
		t.Fatal(err)
	}
	hb.Inject("tcp", addrPort("192.0.2.2:5060"), syscall.EMFILE)
	if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("injected: %v", err)
	}
	l.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("never accepted: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after Close: %v", err)
	}
	if hb.Inject("tcp", addrPort("192.0.2.2:5060"), io.EOF) {
		t.Error("injected into a closed listener")
	}
}
