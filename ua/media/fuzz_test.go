package media

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

// FuzzPackets gives a stream in mid-call what anybody could send it, on both ports.
func FuzzPackets(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4, 0xff, 0xff}, []byte{0x80, 200, 0, 6, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, true)
	f.Add([]byte{0x80, 101, 0, 2, 0, 0, 0, 160, 1, 2, 3, 4, 5, 0x8a, 3, 0x20}, []byte{0x81, 203, 0, 1, 1, 2, 3, 4}, true)
	f.Add([]byte{0xb1, 0x80, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 9, 0xbe, 0xde, 0, 1, 0x10, 0, 0, 0, 1, 2, 3, 3}, []byte{0x80, 201, 0, 1}, false)
	s, peer := undrivenStream(f)
	from, p, now := peer.Stats().Local, s.path.Load(), time.Now()
	stranger := netip.AddrPortFrom(addrC, 4000)
	f.Fuzz(func(t *testing.T, rtp, rtcp []byte, trusted bool) {
		at := from
		if !trusted {
			at = stranger
		}
		for i := range 3 {
			now = now.Add(20 * time.Millisecond)
			s.handleRTP(p, rtp, at, now)
			s.handleRTCP(p, rtcp, at, now)
			s.tick(now, 0)
			if len(rtp) > 3 {
				rtp = append([]byte(nil), rtp...)
				rtp[3] += byte(1 + i)
			}
		}
		if st := s.Stats(); st.MOS < 0 || st.MOS > 4.5 || st.Jitter < 0 || st.BufferTarget > 200*time.Millisecond || st.RTT < 0 {
			t.Fatalf("stats %+v", st)
		}
	})
}

// undrivenStream is a started stream that nothing drives, and its peer.
func undrivenStream(t testing.TB) (s, peer *Stream) {
	t.Helper()
	e := New(Config{Network: discard{newFakeNet()}})
	s, err := e.Open(Local{Addr: addrA})
	peer, err2 := e.Open(Local{Addr: addrB})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), peer.Close()); err != nil {
			t.Error(err)
		}
	})
	agree(t, s, peer, nil)
	return s, peer
}
