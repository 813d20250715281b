package media

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// run starts an Engine on the machine's own sockets, and ends it with the test.
func run(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return e
}

// TestRealSockets is a call over the kernel's loopback, both families, with a move in the middle. What packets do in
// detail is tested in memory; this shows that the sockets and the clock beneath do their part.
func TestRealSockets(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			t.Parallel()
			local := Local{Addr: netip.MustParseAddr(addr), Device: "lo"}
			e := run(t, Config{})
			open := func() *Stream {
				s, err := e.Open(local)
				if errors.Is(err, syscall.EADDRNOTAVAIL) {
					t.Skipf("no %s here: %v", addr, err)
				}
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			a, b := open(), open()
			heardA, heardB := play(t, a, "ausine,1000,-10"), play(t, b, "ausine,440,-10")
			digits := make(chan rune, 10)
			b.OnDTMF(func(r rune) { digits <- r })
			agree(t, a, b, nil)
			if err := a.SendDTMF("42"); err != nil {
				t.Fatal(err)
			}
			for _, want := range "42" {
				if got := <-digits; got != want {
					t.Errorf("heard %q, want %q", got, want)
				}
			}
			before := a.Stats().Local
			if err := a.Move(local); err != nil {
				t.Fatal(err)
			}
			await(t, func() bool { return b.Stats().Remote == a.Stats().Local })
			if got := a.Stats().Local; got == before {
				t.Errorf("moved from %v to %v", before, got)
			}
			heardA.forget()
			heardB.forget()
			// On a busy machine a turn may be missed, which a tone does not survive; half a second without that must come.
			await(t, func() bool { return hasTone(heardA.last(4096), 440, -10) && hasTone(heardB.last(4096), 1000, -10) })
			if st := a.Stats(); st.TxErrors != 0 || st.RxForeign != 0 {
				t.Errorf("errors %d, foreign %d", st.TxErrors, st.RxForeign)
			}
		})
	}
}

// await lets the machine work until ok; the limit is only there to fail with a message instead of a time-out.
func await(t testing.TB, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to that in 30 s")
		}
	}
}

// turns makes a stream that is fed and driven by hand, and returns what does one turn: a packet is received, one is
// played, one is made and sent. The kernel has no part in it.
func turns(t testing.TB) func() {
	t.Helper()
	s, peer := undrivenStream(t)
	if err := s.SetSource(source(t, "ausine,440,-10")); err != nil {
		t.Fatal(err)
	}
	packet := append([]byte{0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, make([]byte, 160)...)
	now, from, p, i := time.Now(), peer.Stats().Local, s.path.Load(), uint32(0)
	s.tx.nextReport = now.Add(1e6 * time.Hour)
	return func() {
		binary.BigEndian.PutUint16(packet[2:], uint16(i))
		binary.BigEndian.PutUint32(packet[4:], 160*i)
		i++
		now = now.Add(20 * time.Millisecond)
		s.handleRTP(p, packet, from, now)
		s.tick(now, 0)
	}
}

// discard is a network that takes packets and forgets them.
type discard struct{ *fakeNet }

type discardConn struct{ PacketConn }

func (d discard) Listen(local Local, port uint16) (PacketConn, error) {
	c, err := d.fakeNet.Listen(local, port)
	return discardConn{c}, err
}

func (discardConn) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }

func BenchmarkTurn(b *testing.B) {
	turn := turns(b)
	b.ReportAllocs()
	for b.Loop() {
		turn()
	}
}

// TestTurnsAllocateNothing holds the packet path to it.
func TestTurnsAllocateNothing(t *testing.T) {
	turn := turns(t)
	for range 100 {
		turn()
	}
	if n := testing.AllocsPerRun(5000, turn); n > 0 {
		t.Errorf("%v allocations a turn", n)
	}
}
