package media

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gosipua/gosipua/ua/sdp"
)

var addrC = netip.MustParseAddr("198.51.100.3")

// TestMoveGoesOn: the stream changes its address in mid-call. From the next packet on it sends from there, with SSRC,
// sequence numbers and timestamps going on; the peer hears no gap, and follows.
func TestMoveGoesOn(t *testing.T) {
	inCall(t, func(c *call) {
		heardA, heardB := play(t, c.a, "ausine,1000,-10"), play(t, c.b, "ausine,440,-10")
		c.agree()
		c.wait(2 * time.Second)
		before, version := c.a.Stats(), c.a.Describe().Version
		c.net.traced()
		if err := c.a.Move(Local{Addr: addrC}); err != nil {
			t.Fatal(err)
		}
		d := c.a.Describe()
		if d.Addr != addrC || d.Port != before.Local.Port() || d.Version != version+1 {
			t.Errorf("describes %v port %d version %d; want the new address, port %d, version %d", d.Addr, d.Port, d.Version, before.Local.Port(), version+1)
		}
		c.wait(2 * time.Second)
		trace := c.net.traced()
		list := rtpOf(t, trace, c.b.Stats().Local)
		for i, p := range list {
			if p.SSRC != before.SSRC || p.SequenceNumber != list[0].SequenceNumber+uint16(i) || p.Timestamp != list[0].Timestamp+uint32(160*i) || p.Marker {
				t.Fatalf("packet %d after the move: %v", i, p)
			}
		}
		for _, p := range trace {
			if p.to == c.b.Stats().Local && p.from != netip.AddrPortFrom(addrC, d.Port) {
				t.Fatalf("after the move %v still sends", p.from)
			}
		}
		// The peer follows after four packets and 100 ms of silence from the old address, and plays on meanwhile.
		if st := c.b.Stats(); st.Remote.Addr() != addrC || st.RxForeign != 0 || st.Lost != 0 || st.LongestGap > 41*time.Millisecond {
			t.Errorf("b: remote %v, foreign %d, lost %d, longest gap %v", st.Remote, st.RxForeign, st.Lost, st.LongestGap)
		}
		synctest.Wait()
		if e := c.heard(c.b, RemoteMoved); len(e) != 1 || e[0].Remote.Addr() != addrC {
			t.Errorf("b tells of %v", e)
		}
		checkTone(t, "a", heardA.last(15000), 440, -10)
		checkTone(t, "b", heardB.last(15000), 1000, -10)
		if c.net.conn(before.Local) != nil {
			t.Error("the old socket is open although packets come on the new one")
		}
		if st := c.a.Stats(); st.Lost > 0 {
			t.Errorf("a lost %d packets: the old socket was not read", st.Lost)
		}
	})
}

// TestMoveKeepsTheOldSocketForAWhile: the peer does not follow, so what it sends still comes to the old socket.
func TestMoveKeepsTheOldSocketForAWhile(t *testing.T) {
	inCall(t, func(c *call) {
		c.agree()
		c.wait(time.Second)
		from := c.a.Stats().Local
		b := c.b.Stats().Local
		c.net.setTravel(func(from, to netip.AddrPort, _ []byte) []time.Duration {
			if to == b && from.Addr() == addrC {
				return nil // so the peer learns nothing of the move
			}
			return []time.Duration{0}
		})
		if err := c.a.Move(Local{Addr: addrC}); err != nil {
			t.Fatal(err)
		}
		c.wait(4900 * time.Millisecond)
		if st := c.a.Stats(); st.Lost != 0 || time.Since(st.LastPacket) > 25*time.Millisecond {
			t.Errorf("lost %d, last packet %v ago", st.Lost, time.Since(st.LastPacket))
		}
		c.wait(200 * time.Millisecond)
		if c.net.conn(from) != nil {
			t.Error("the old socket is open after 5 s")
		}
	})
}

// TestMoveFromADeadAddress: every write fails, and the way out is a new address.
func TestMoveFromADeadAddress(t *testing.T) {
	inCall(t, func(c *call) {
		heard := play(t, c.b, "aunull")
		play(t, c.a, "ausine,1000,-10")
		c.agree()
		c.wait(time.Second)
		c.net.conn(c.a.Stats().Local).fail(syscall.ENETUNREACH)
		c.wait(200 * time.Millisecond)
		if err := c.a.Move(Local{Addr: addrC, Device: "eth1"}); err != nil {
			t.Fatal(err)
		}
		c.wait(2 * time.Second)
		if st := c.b.Stats(); st.LongestGap > 240*time.Millisecond || st.Lost > 11 || st.Remote.Addr() != addrC {
			t.Errorf("b: gap %v, lost %d, remote %v", st.LongestGap, st.Lost, st.Remote)
		}
		checkTone(t, "b", heard.last(8000), 1000, -10)
	})
}

func TestMoveThatFailsChangesNothing(t *testing.T) {
	inCallWith(t, Config{PortMin: 4000, PortMax: 4003}, func(c *call) {
		c.agree()
		for _, port := range []uint16{4000, 4002} {
			c.net.taken[netip.AddrPortFrom(addrC, port)] = syscall.EADDRNOTAVAIL
		}
		c.wait(time.Second)
		before := c.a.Describe()
		if err := c.a.Move(Local{Addr: addrC}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("Move = %v", err)
		}
		c.wait(time.Second)
		if d := c.a.Describe(); d.Addr != before.Addr || d.Version != before.Version || c.b.Stats().Lost != 0 {
			t.Errorf("describes %+v, was %+v", d, before)
		}
	})
}

// TestMoveOnHoldOpensTheWay: a stream that does not send must still show itself from the new address (RFC 6263).
func TestMoveOnHoldOpensTheWay(t *testing.T) {
	inCall(t, func(c *call) {
		c.b.SetDirection(sdp.SendOnly)
		c.agree()
		c.wait(time.Second)
		c.net.traced()
		if err := c.a.Move(Local{Addr: addrC}); err != nil {
			t.Fatal(err)
		}
		c.wait(50 * time.Millisecond)
		if list := rtpOf(t, c.net.traced(), c.b.Stats().Local); len(list) != 1 || len(list[0].Payload) != 0 {
			t.Errorf("sent %v, want one keep-alive", list)
		}
	})
}

// TestNewDescriptionAfterMove: what the signalling does about a move must not disturb the media.
func TestNewDescriptionAfterMove(t *testing.T) {
	inCall(t, func(c *call) {
		heard := play(t, c.a, "aunull")
		play(t, c.b, "ausine,440,-10")
		c.agree()
		c.wait(time.Second)
		if err := c.a.Move(Local{Addr: addrC}); err != nil {
			t.Fatal(err)
		}
		c.wait(60 * time.Millisecond) // before the peer would have followed by itself
		c.agree()
		c.wait(2 * time.Second)
		if st := c.b.Stats(); st.Remote.Addr() != addrC || st.Lost != 0 || st.BufferResets != 0 {
			t.Errorf("b: %+v", st)
		}
		if st := c.a.Stats(); st.Lost != 0 || st.LongestGap > 21*time.Millisecond {
			t.Errorf("a: lost %d, longest gap %v", st.Lost, st.LongestGap)
		}
		checkTone(t, "a", heard.last(8000), 440, -10)
	})
}

// nat puts stream a behind a NAT: what it sends seems to come from another address, and what is sent there reaches it.
func nat(c *call, outside netip.Addr) {
	inside := c.a.Stats().Local.Addr()
	c.net.setTravel(func(from, to netip.AddrPort, b []byte) []time.Duration {
		p := fakePacket{from, to, time.Now(), append([]byte(nil), b...)}
		switch {
		case from.Addr() == inside:
			p.from = netip.AddrPortFrom(outside, from.Port()+1000)
			c.net.arrive(p)
		case to.Addr() == outside:
			p.to = netip.AddrPortFrom(inside, to.Port()-1000)
			c.net.arrive(p)
		}
		return nil // the address in the description leads nowhere
	})
}

func TestPeerBehindNATIsFollowed(t *testing.T) {
	inCall(t, func(c *call) {
		heard := play(t, c.a, "aunull")
		play(t, c.b, "ausine,440,-10")
		nat(c, addrC)
		c.agree()
		c.wait(11 * time.Second)
		st := c.b.Stats()
		if want := netip.AddrPortFrom(addrC, c.a.Stats().Local.Port()+1000); st.Remote != want || st.RxForeign != 3 {
			t.Errorf("b sends to %v after %d foreign packets, want %v after 3", st.Remote, st.RxForeign, want)
		}
		checkTone(t, "a", heard.last(8000), 440, -10)
		if a := c.a.Stats(); a.RTT == 0 && st.RTT == 0 && a.RemoteLost == 0 && c.a.rx.report.known == false {
			t.Error("RTCP does not find its way through the NAT")
		}
		// A new round with the same address in the description does not undo what has been learnt.
		c.agree()
		c.wait(100 * time.Millisecond)
		if got := c.b.Stats().Remote.Addr(); got != addrC {
			t.Errorf("after a re-INVITE b sends to %v", got)
		}
	})
}

// TestStrangersAreNotFollowed: while the peer is heard, others can neither speak nor draw the media to themselves.
func TestStrangersAreNotFollowed(t *testing.T) {
	inCall(t, func(c *call) {
		heard := play(t, c.b, "aunull")
		play(t, c.a, "ausine,1000,-10")
		c.agree()
		c.wait(time.Second)
		stranger := netip.AddrPortFrom(addrC, 9)
		for i := range 100 {
			b := append([]byte{0x80, 0, 0, byte(i), 0, 0, 0, byte(i), 1, 2, 3, 4}, make([]byte, 160)...)
			c.net.deliver(stranger, c.b.Stats().Local, b)
			c.wait(10 * time.Millisecond)
		}
		c.wait(time.Second)
		st := c.b.Stats()
		if st.RxForeign != 100 || st.Remote != c.a.Stats().Local || st.RemoteSSRC != c.a.Stats().SSRC || st.Lost != 0 {
			t.Errorf("foreign %d, remote %v, lost %d", st.RxForeign, st.Remote, st.Lost)
		}
		checkTone(t, "b", heard.last(16000), 1000, -10)
	})
}

func TestLatchNeedsProof(t *testing.T) {
	peer, other, third := netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("192.0.2.7:4000"), netip.MustParseAddrPort("192.0.2.8:4000")
	type packet struct {
		after time.Duration
		from  netip.AddrPort
		ssrc  uint32
		seq   uint16
		known bool
	}
	in := func(after time.Duration, from netip.AddrPort, ssrc uint32, seqs ...uint16) (list []packet) {
		for _, s := range seqs {
			list = append(list, packet{after, from, ssrc, s, true})
		}
		return list
	}
	heard := in(0, peer, 1, 10)
	tests := []struct {
		name    string
		packets []packet
		want    netip.AddrPort
	}{
		{"three packets", append(heard, in(time.Second, other, 1, 11, 12, 13)...), peer},
		{"four packets", append(heard, in(time.Second, other, 1, 11, 12, 13, 14)...), other},
		{"four packets with holes", append(heard, in(time.Second, other, 1, 11, 13, 15, 20)...), other},
		{"four packets from the start", in(time.Second, other, 1, 11, 12, 13, 14), other},
		{"the peer was heard just now", append(in(950*time.Millisecond, peer, 1, 10), in(time.Second, other, 1, 11, 12, 13, 14)...), peer},
		{"the peer speaks in between", append(append(heard, in(time.Second, other, 1, 11, 12, 13)...), append(in(time.Second, peer, 1, 14), in(2*time.Second, other, 1, 15, 16, 17)...)...), peer},
		{"backwards", append(heard, in(time.Second, other, 1, 14, 13, 12, 11, 10)...), peer},
		{"far apart", append(heard, in(time.Second, other, 1, 100, 200, 300, 400)...), peer},
		{"SSRCs mixed", append(append(heard, in(time.Second, other, 1, 11, 12)...), in(time.Second, other, 2, 13, 14, 15)...), peer},
		{"addresses mixed", append(append(heard, in(time.Second, other, 1, 11, 12, 13)...), in(time.Second, third, 1, 14, 15, 16)...), peer},
		{"payload type unknown", append(heard, packet{time.Second, other, 1, 11, false}, packet{time.Second, other, 1, 12, false}, packet{time.Second, other, 1, 13, false}, packet{time.Second, other, 1, 14, false}), peer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := latch{to: peer}
			begin := time.Now()
			for _, p := range tt.packets {
				if trusted, moved := l.take(p.from, p.ssrc, p.seq, p.known, begin.Add(p.after)); trusted != (p.from == l.to) || moved && p.from == peer {
					t.Errorf("%+v: trusted %v, moved %v", p, trusted, moved)
				}
			}
			if l.to != tt.want {
				t.Errorf("sends to %v, want %v", l.to, tt.want)
			}
		})
	}
	nowhere := latch{}
	for seq := range uint16(10) {
		if trusted, moved := nowhere.take(other, 1, seq, true, time.Now()); trusted || moved {
			t.Error("a peer that takes nothing has been found")
		}
	}
}

// TestLinkLocalPeerIsReachable: descriptions carry no zones, packets do.
func TestLinkLocalPeerIsReachable(t *testing.T) {
	inCall(t, func(c *call) {
		a, b := c.open(netip.MustParseAddr("fe80::a%eth0")), c.open(netip.MustParseAddr("fe80::b%eth0"))
		heard := play(t, b, "aunull")
		play(t, a, "ausine,1000,-10")
		agree(t, a, b, nil)
		if to := a.Stats().Remote; to.Addr().Zone() != "eth0" {
			t.Errorf("sends to %v, want a zone", to)
		}
		// The network in memory knows no zones.
		for _, s := range []*Stream{a, b} {
			to := *s.remote.Load()
			to = remote{netip.AddrPortFrom(to.rtp.Addr().WithZone(""), to.rtp.Port()), netip.AddrPortFrom(to.rtcp.Addr().WithZone(""), to.rtcp.Port())}
			s.remote.Store(&to)
		}
		c.wait(2 * time.Second)
		checkTone(t, "b", heard.last(8000), 1000, -10)
		if st := b.Stats(); st.RxForeign != 0 {
			t.Errorf("%d packets of the peer are taken for foreign", st.RxForeign)
		}
		if err := a.Move(Local{Addr: netip.MustParseAddr("fe80::c%eth1")}); err != nil {
			t.Fatal(err)
		}
		if to := a.Stats().Remote; to.Addr().Zone() != "eth1" || a.rx.latch.to != to {
			t.Errorf("after a move to another link it sends to %v, and waits for %v", to, a.rx.latch.to)
		}
	})
}
