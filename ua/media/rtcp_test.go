package media

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/gosipua/gosipua/ua/sdp"
)

// rtcpOf is the compound packets of a trace that go to one address, with their times.
func rtcpOf(t *testing.T, trace []fakePacket, to netip.AddrPort) (list [][]rtcp.Packet, times []time.Time) {
	t.Helper()
	for _, p := range trace {
		if p.to != to || p.b[1] < 192 || p.b[1] > 223 {
			continue
		}
		packets, err := rtcp.Unmarshal(p.b)
		if err != nil {
			t.Fatal(err)
		}
		list, times = append(list, packets), append(times, p.at)
	}
	return list, times
}

func next(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

func TestReportsAreSentAndRead(t *testing.T) {
	inCall(t, func(c *call) {
		c.net.setTravel(func(_, _ netip.AddrPort, _ []byte) []time.Duration { return []time.Duration{30 * time.Millisecond} })
		c.net.traced()
		c.agree()
		begin := time.Now()
		c.wait(60 * time.Second)
		a, b := c.a.Stats(), c.b.Stats()
		for _, st := range []Stats{a, b} {
			if d := st.RTT - 60*time.Millisecond; d < -time.Millisecond || d > time.Millisecond {
				t.Errorf("round trip %v, want 60 ms", st.RTT)
			}
		}
		list, times := rtcpOf(t, c.net.traced(), next(b.Local))
		if len(list) < 9 || len(list) > 21 {
			t.Errorf("%d reports in a minute, want about 14", len(list))
		}
		if first := times[0].Sub(begin); first < time.Second || first > 3100*time.Millisecond {
			t.Errorf("the first report after %v", first)
		}
		for i := 1; i < len(times); i++ {
			if d := times[i].Sub(times[i-1]); d < 2*time.Second || d > 6200*time.Millisecond {
				t.Errorf("%v between reports", d)
			}
		}
		last := list[len(list)-1]
		sr, ok := last[0].(*rtcp.SenderReport)
		if !ok || len(last) != 2 || sr.SSRC != a.SSRC || len(sr.Reports) != 1 || sr.Reports[0].SSRC != b.SSRC || sr.Reports[0].TotalLost != 0 || sr.Reports[0].LastSenderReport == 0 {
			t.Fatalf("last report %v", last)
		}
		if sr.OctetCount != 160*sr.PacketCount || sr.PacketCount < 2600 {
			t.Errorf("counts %d packets, %d octets", sr.PacketCount, sr.OctetCount)
		}
		// RTP and NTP time of a sender's report are the same moment.
		elapsed := times[len(times)-1].Sub(times[0])
		if ts := sr.RTPTime - list[0][0].(*rtcp.SenderReport).RTPTime; ts != uint32(elapsed*8000/time.Second) {
			t.Errorf("RTP time went on by %d in %v", ts, elapsed)
		}
		if name := last[1].(*rtcp.SourceDescription).Chunks[0]; name.Source != a.SSRC || len(name.Items[0].Text) != 16 {
			t.Errorf("names itself %v", name)
		}
	})
}

func TestByeAtTheEnd(t *testing.T) {
	inCall(t, func(c *call) {
		c.agree()
		c.wait(time.Second)
		c.net.traced()
		if err := c.a.Close(); err != nil {
			t.Fatal(err)
		}
		list, _ := rtcpOf(t, c.net.traced(), next(c.b.Stats().Local))
		if len(list) != 1 || len(list[0]) != 3 {
			t.Fatalf("sent %v", list)
		}
		if bye, ok := list[0][2].(*rtcp.Goodbye); !ok || bye.Sources[0] != c.a.Stats().SSRC {
			t.Errorf("ends with %v", list[0][2])
		}
		silent := c.open(addrA)
		c.net.traced()
		if err := silent.Close(); err != nil || len(c.net.traced()) != 0 {
			t.Errorf("a stream that never sent says farewell: %v", err)
		}
	})
}

func TestReceiverReportsFromAListener(t *testing.T) {
	inCall(t, func(c *call) {
		c.b.SetDirection(sdp.RecvOnly)
		c.net.traced()
		c.agree()
		c.wait(12 * time.Second)
		list, _ := rtcpOf(t, c.net.traced(), next(c.a.Stats().Local))
		if len(list) == 0 {
			t.Fatal("no reports")
		}
		rr, ok := list[0][0].(*rtcp.ReceiverReport)
		if !ok || len(rr.Reports) != 1 || rr.SSRC != c.b.Stats().SSRC {
			t.Errorf("reports %v", list[0])
		}
		if c.a.Stats().RTT < 0 || !c.a.rx.report.known {
			t.Error("a has not read it")
		}
	})
}

func TestRTCPOnTheSamePort(t *testing.T) {
	inCallWith(t, Config{RTCPMux: true}, func(c *call) {
		c.net.setTravel(func(_, _ netip.AddrPort, _ []byte) []time.Duration { return []time.Duration{10 * time.Millisecond} })
		c.net.traced()
		c.agree()
		c.wait(15 * time.Second)
		a, b := c.a.Stats(), c.b.Stats()
		trace := c.net.traced()
		if other, _ := rtcpOf(t, trace, next(b.Local)); len(other) != 0 {
			t.Error("reports go to the next port")
		}
		if same, _ := rtcpOf(t, trace, b.Local); len(same) < 2 {
			t.Errorf("%d reports on the port of RTP", len(same))
		}
		if a.RTT < 19*time.Millisecond || a.RTT > 21*time.Millisecond || a.RxInvalid != 0 {
			t.Errorf("round trip %v, invalid %d", a.RTT, a.RxInvalid)
		}
	})
}

func TestReportsOfStrangersAreNotRead(t *testing.T) {
	inCall(t, func(c *call) {
		c.agree()
		c.wait(500 * time.Millisecond)
		lie, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: c.b.Stats().SSRC, Reports: []rtcp.ReceptionReport{{SSRC: c.a.Stats().SSRC, TotalLost: 999}}}})
		if err != nil {
			t.Fatal(err)
		}
		c.net.deliver(netip.AddrPortFrom(addrC, 1), next(c.a.Stats().Local), lie)
		c.wait(10 * time.Millisecond)
		if lost := c.a.Stats().RemoteLost; lost != 0 {
			t.Errorf("%d packets lost, says a stranger", lost)
		}
		// From the peer's host, but another program: it is read, and yet no reason to send reports there.
		other, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}})
		if err != nil {
			t.Fatal(err)
		}
		c.net.deliver(netip.AddrPortFrom(addrB, 9), next(c.a.Stats().Local), other)
		c.wait(10 * time.Millisecond)
		if to := c.a.remote.Load().rtcp; to != next(c.b.Stats().Local) {
			t.Errorf("reports go to %v", to)
		}
		c.net.deliver(next(c.b.Stats().Local), next(c.a.Stats().Local), lie)
		c.wait(10 * time.Millisecond)
		if lost := c.a.Stats().RemoteLost; lost != 999 {
			t.Errorf("the peer is not believed: %d", lost)
		}
	})
}

func TestRoundTrip(t *testing.T) {
	ntp := func(seconds float64) uint64 { return uint64(seconds * (1 << 32)) }
	tests := []struct {
		name      string
		now       uint64
		lsr, dlsr uint32
		want      time.Duration
		ok        bool
	}{
		{"the example of RFC 3550 figure 2", ntp(0xb710 + 0.5), 0xb7052000, 0x00054000, 6125 * time.Millisecond, true},
		{"nothing seen yet", ntp(5), 0, 0, 0, false},
		{"the 16 bits of seconds wrap", ntp(65536 + 0.25), 0xffffc000, 0, 500 * time.Millisecond, true},
		{"the peer's clock is a little fast", ntp(10), 9 << 16, 1<<16 + 10, 0, true},
		{"nonsense", ntp(10), 9 << 16, 5 << 16, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := roundTrip(tt.now, tt.lsr, tt.dlsr); got != tt.want || ok != tt.ok {
				t.Errorf("%v, %v; want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestNTPTime(t *testing.T) {
	// RFC 5905 figure 4: the first day of the UNIX epoch.
	if got := ntpTime(time.Unix(0, 250_000_000)); got != 2208988800<<32|1<<30 {
		t.Errorf("%x", got)
	}
}
