package media

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/gosipua/gosipua/ua/sdp"
)

// checkTone fails unless pcm is that tone, to 5 Hz and 1 dB.
func checkTone(t testing.TB, who string, pcm []int16, hz, dbfs float64) {
	t.Helper()
	if !hasTone(pcm, hz, dbfs) {
		got, level, ok := Tone(pcm, 8000)
		t.Errorf("%s hears %.1f Hz at %.1f dBFS, %v; want %v Hz at %v", who, got, level, ok, hz, dbfs)
	}
}

func hasTone(pcm []int16, hz, dbfs float64) bool {
	got, level, ok := Tone(pcm, 8000)
	return ok && math.Abs(got-hz) <= 5 && math.Abs(level-dbfs) <= 1
}

// TestToneReachesTheOthersRecording is the whole line: source, codec, packets, jitter buffer, file.
func TestToneReachesTheOthersRecording(t *testing.T) {
	for _, codec := range []string{"PCMU", "PCMA"} {
		t.Run(codec, func(t *testing.T) {
			dir := t.TempDir()
			inCall(t, func(c *call) {
				record := func(s *Stream, name, tone string) {
					sink, err := ParseSink("aufile,"+name, Options{Dir: dir})
					if err != nil {
						t.Fatal(err)
					}
					if err := s.SetSink(sink); err != nil {
						t.Fatal(err)
					}
					if err := s.SetSource(source(t, tone)); err != nil {
						t.Fatal(err)
					}
				}
				record(c.a, "a.wav", "ausine,1000,-10")
				record(c.b, "b.wav", "ausine,440,-20")
				agree(t, c.a, c.b, func(l *sdp.Local) {
					if codec == "PCMA" {
						l.Codecs = l.Codecs[1:]
					}
				})
				c.wait(5 * time.Second)
				if st := c.a.Stats(); st.Codec != codec || st.Lost != 0 || st.Concealed > 40*time.Millisecond || st.RxPackets < 249 || st.MOS < 4.3 {
					t.Errorf("stats %+v", st)
				}
				if err := c.a.Close(); err != nil {
					t.Error(err)
				}
				if err := c.b.Close(); err != nil {
					t.Error(err)
				}
			})
			for name, hz := range map[string][2]float64{"a.wav": {440, -20}, "b.wav": {1000, -10}} {
				pcm := readSound(t, filepath.Join(dir, name))
				if math.Abs(float64(len(pcm))-40000) > 400 {
					t.Errorf("%s has %d samples, want 5 s", name, len(pcm))
				}
				checkTone(t, name, pcm[4000:36000], hz[0], hz[1])
			}
		})
	}
}

// readSound reads a sound file at 8 kHz.
func readSound(t testing.TB, path string) []int16 {
	t.Helper()
	s, err := openSoundFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var pcm []int16
	for {
		if pcm, err = s.r.read(pcm, 1000); err != nil {
			return pcm
		}
	}
}

func TestLossIsCountedAndConcealed(t *testing.T) {
	inCall(t, func(c *call) {
		n, dropped := 0, 0
		c.net.setTravel(func(_, to netip.AddrPort, b []byte) []time.Duration {
			if to == c.b.Stats().Local {
				if n++; n%20 == 0 {
					dropped++
					return nil
				}
			}
			return []time.Duration{10 * time.Millisecond}
		})
		play(t, c.a, "ausine,1000,-10")
		heard := play(t, c.b, "aunull")
		c.agree()
		c.wait(30*time.Second + 50*time.Millisecond)
		st := c.b.Stats()
		if st.Lost != int64(dropped) || dropped != 75 || st.Late+st.Duplicate+st.Reordered != 0 {
			t.Errorf("lost %d, late %d, duplicate %d, reordered %d; %d were dropped", st.Lost, st.Late, st.Duplicate, st.Reordered, dropped)
		}
		if want := time.Duration(dropped) * 20 * time.Millisecond; st.Concealed < want-40*time.Millisecond || st.Concealed > want+60*time.Millisecond {
			t.Errorf("concealed %v, want about %v", st.Concealed, want)
		}
		if want := (emodel{bpl: 25.1, loss: 0.05}).mos(); math.Abs(st.MOS-want) > 0.05 {
			t.Errorf("MOS = %.2f, want %.2f", st.MOS, want)
		}
		checkTone(t, "b", heard.last(80000), 1000, -10)
		for frame := range slices.Chunk(heard.last(80000), 160) {
			var m meter
			if m.add(frame, 1); powerLevel(m.power) < -12 {
				t.Fatalf("20 ms at %.1f dBFS: a lost packet can be heard", powerLevel(m.power))
			}
		}
		if sent := c.a.Stats(); st.RxBytes != 172*st.RxPackets || sent.TxBytes != 172*sent.TxPackets || sent.TxPackets-st.RxPackets > uint64(dropped)+1 {
			t.Errorf("%d bytes in %d packets are sent, %d in %d received", sent.TxBytes, sent.TxPackets, st.RxBytes, st.RxPackets)
		}
		if lost := c.a.Stats().RemoteLost; lost < 55 || lost > 75 {
			t.Errorf("a was told that %d packets are lost, want most of 75", lost)
		}
	})
}

func TestReorderAndDuplicatesAreCounted(t *testing.T) {
	inCall(t, func(c *call) {
		n := 0
		c.net.setTravel(func(_, to netip.AddrPort, _ []byte) []time.Duration {
			if to != c.b.Stats().Local {
				return []time.Duration{0}
			}
			switch n++; {
			case n%50 == 10:
				return []time.Duration{5 * time.Millisecond, 6 * time.Millisecond} // doubled
			case n%50 == 20:
				return []time.Duration{26 * time.Millisecond} // overtaken
			case n%50 == 30 && n > 500:
				return []time.Duration{400 * time.Millisecond} // beyond all hope
			default:
				return []time.Duration{5 * time.Millisecond}
			}
		})
		c.agree()
		c.wait(20*time.Second + 15*time.Millisecond)
		st := c.b.Stats()
		if st.Duplicate != 20 || st.Reordered != 20+10 || st.Late != 10 || st.Lost != 0 {
			t.Errorf("duplicate %d, reordered %d, late %d, lost %d; want 20, 30, 10, 0", st.Duplicate, st.Reordered, st.Late, st.Lost)
		}
	})
}

func TestJitterIsMeasured(t *testing.T) {
	inCall(t, func(c *call) {
		n := make(map[netip.AddrPort]int)
		c.net.setTravel(func(_, to netip.AddrPort, _ []byte) []time.Duration {
			n[to]++
			return []time.Duration{time.Duration(10+10*(n[to]%2)) * time.Millisecond}
		})
		c.agree()
		c.wait(10 * time.Second)
		for _, s := range []*Stream{c.a, c.b} {
			st := s.Stats()
			if math.Abs(ms(st.Jitter)-10) > 0.2 || math.Abs(ms(st.RemoteJitter)-10) > 3 {
				t.Errorf("jitter %v, at the other end %v; want 10 ms", st.Jitter, st.RemoteJitter)
			}
			if st.BufferTarget < 20*time.Millisecond || st.BufferDelay < 20*time.Millisecond || st.BufferDelay > 80*time.Millisecond {
				t.Errorf("buffer %v, target %v", st.BufferDelay, st.BufferTarget)
			}
		}
	})
}

func TestDTMFArrivesOnceEach(t *testing.T) {
	const digits = "0123456789*#ABCD11"
	for name, lossy := range map[string]bool{"good network": false, "loss and duplicates": true} {
		t.Run(name, func(t *testing.T) {
			inCall(t, func(c *call) {
				random := rand.New(rand.NewPCG(5, 6))
				c.net.setTravel(func(_, _ netip.AddrPort, _ []byte) []time.Duration {
					switch x := random.Float64(); {
					case lossy && x < 0.2:
						return nil
					case lossy && x < 0.4:
						return []time.Duration{10 * time.Millisecond, 35 * time.Millisecond}
					default:
						return []time.Duration{10 * time.Millisecond}
					}
				})
				got := ""
				c.b.OnDTMF(func(r rune) { got += string(r) })
				c.agree()
				c.wait(200 * time.Millisecond)
				if err := c.a.SendDTMF(strings.ToLower(digits)); err != nil {
					t.Fatal(err)
				}
				c.wait(10 * time.Second)
				if got != digits {
					t.Errorf("heard %q, want %q", got, digits)
				}
				if events := c.heard(c.b, DTMF); len(events) != len(digits) || events[3].Digit != '3' || events[3].Remote != c.a.Stats().Local {
					t.Errorf("events %v", events)
				}
				if st := c.b.Stats(); !lossy && st.Lost+int64(st.Late) != 0 {
					t.Errorf("events count as %d lost, %d late", st.Lost, st.Late)
				}
			})
		})
	}
}

func TestDTMFIsRefusedWhereItCannotGo(t *testing.T) {
	inCall(t, func(c *call) {
		if err := c.a.SendDTMF("1"); err == nil {
			t.Error("before Start")
		}
		agree(t, c.a, c.b, func(l *sdp.Local) { l.Codecs = l.Codecs[:1] })
		if err := c.a.SendDTMF("1"); err == nil || !strings.Contains(err.Error(), "telephone-event") {
			t.Errorf("without events agreed: %v", err)
		}
		c.b.SetDirection(sdp.SendOnly)
		c.agree()
		if err := c.a.SendDTMF("1"); err == nil || !strings.Contains(err.Error(), "recvonly") {
			t.Errorf("on hold: %v", err)
		}
		if err := c.b.SendDTMF("E"); err == nil {
			t.Error("E is no digit")
		}
	})
}

// rtpOf is the RTP packets of a trace that go to one address.
func rtpOf(t *testing.T, trace []fakePacket, to netip.AddrPort) []rtp.Packet {
	t.Helper()
	var list []rtp.Packet
	for _, p := range trace {
		if p.to != to {
			continue
		}
		var pkt rtp.Packet
		if err := pkt.Unmarshal(p.b); err != nil {
			t.Fatal(err)
		}
		list = append(list, pkt)
	}
	return list
}

func TestPacketsFollowTheirClock(t *testing.T) {
	inCall(t, func(c *call) {
		c.net.traced()
		c.agree()
		c.wait(500 * time.Millisecond)
		if err := c.a.SendDTMF("7"); err != nil {
			t.Fatal(err)
		}
		c.wait(500 * time.Millisecond)
		trace := c.net.traced()
		list := rtpOf(t, trace, c.b.Stats().Local)
		var event []rtp.Packet
		for i, p := range list {
			if p.SequenceNumber != list[0].SequenceNumber+uint16(i) || p.SSRC != c.a.Stats().SSRC {
				t.Fatalf("packet %d: %v", i, p)
			}
			if p.PayloadType == 101 {
				event = append(event, p)
				if p.Timestamp != event[0].Timestamp || p.Marker != (len(event) == 1) {
					t.Errorf("event packet %d: %v", i, p)
				}
				continue
			}
			if p.Timestamp != list[0].Timestamp+uint32(160*i) || len(p.Payload) != 160 || p.Marker != (i == 0) {
				t.Errorf("packet %d: %v", i, p)
			}
		}
		if len(list) < 49 || len(event) != 7 {
			t.Errorf("%d packets, %d of them of the event", len(list), len(event))
		}
		var times []time.Time
		for _, p := range trace {
			if p.to == c.b.Stats().Local {
				times = append(times, p.at)
			}
		}
		for i := range times {
			if d := times[i].Sub(times[0]); d != time.Duration(i)*20*time.Millisecond {
				t.Fatalf("packet %d leaves after %v", i, d)
			}
		}
	})
}

func TestHoldAndResume(t *testing.T) {
	inCall(t, func(c *call) {
		heardA, heardB := play(t, c.a, "ausine,1000,-10"), play(t, c.b, "ausine,440,-10")
		c.agree()
		version := c.a.Describe().Version
		c.wait(time.Second)
		c.a.SetDirection(sdp.SendOnly)
		if d := c.a.Describe(); d.Version != version+1 || d.Direction != sdp.SendOnly {
			t.Errorf("describes version %d, %v", d.Version, d.Direction)
		}
		c.a.SetDirection(sdp.SendOnly)
		if d := c.a.Describe(); d.Version != version+1 {
			t.Errorf("no change makes version %d", d.Version)
		}
		c.agree()
		c.net.traced()
		c.wait(40 * time.Second)
		checkTone(t, "b, held with music,", heardB.last(8000), 1000, -10)
		if _, dbfs, ok := Tone(heardA.last(8000), 8000); ok || c.a.Stats().RxLevel > -90 {
			t.Errorf("a, which holds, hears %v dBFS", dbfs)
		}
		alive := rtpOf(t, c.net.traced(), c.a.Stats().Local)
		if len(alive) != 2 || len(alive[0].Payload) != 0 || alive[0].PayloadType < 96 || alive[0].PayloadType == 101 {
			t.Errorf("b, on hold, sends %v; want a keep-alive every 15 s", alive)
		}
		if n := len(c.heard(c.a, Stalled)); n != 0 {
			t.Errorf("the silence of hold is told as a stall")
		}
		c.a.SetDirection(sdp.SendRecv)
		c.agree()
		c.wait(2 * time.Second)
		checkTone(t, "a", heardA.last(8000), 440, -10)
		back := rtpOf(t, c.net.traced(), c.a.Stats().Local)
		if !back[0].Marker || back[1].Marker {
			t.Error("the first packet after the hold, and no other, begins a talk spurt")
		}
		if st := c.a.Stats(); st.Lost != 0 || st.LongestGap > 100*time.Millisecond {
			t.Errorf("after hold: lost %d, longest gap %v", st.Lost, st.LongestGap)
		}
	})
}

func TestNothingIsSentToNowhere(t *testing.T) {
	inCall(t, func(c *call) {
		c.agree()
		c.wait(100 * time.Millisecond)
		held := c.a.agreed.Load().Agreed
		held.Remote, held.RemoteRTCP, held.Direction = netip.AddrPort{}, netip.AddrPort{}, sdp.RecvOnly
		if err := c.a.Start(held); err != nil {
			t.Fatal(err)
		}
		c.net.traced()
		c.wait(time.Minute)
		if list := rtpOf(t, c.net.traced(), c.b.Stats().Local); len(list) != 0 {
			t.Errorf("%d packets to a peer that wants none", len(list))
		}
		if err := c.a.Start(sdp.Agreed{Direction: sdp.SendRecv, EventPT: 101, Remote: c.b.Stats().Local}); err != nil {
			t.Errorf("line switched off: %v", err)
		}
		c.net.traced()
		c.wait(14 * time.Second)
		if list := rtpOf(t, c.net.traced(), c.b.Stats().Local); len(list) > 1 {
			t.Errorf("%d packets on a line that is switched off", len(list))
		}
		if st := c.a.Stats(); st.Direction != sdp.Inactive || st.Codec != "PCMU" {
			t.Errorf("line switched off: %+v", st)
		}
	})
}

func TestEchoComesBack(t *testing.T) {
	inCall(t, func(c *call) {
		heard := play(t, c.a, "ausine,700,-15")
		play(t, c.b, "echo")
		c.net.setTravel(func(_, _ netip.AddrPort, _ []byte) []time.Duration { return []time.Duration{15 * time.Millisecond} })
		c.agree()
		c.wait(3 * time.Second)
		checkTone(t, "a", heard.last(16000), 700, -15)
	})
}

func TestCodecAndPacketTimeChangeInACall(t *testing.T) {
	inCall(t, func(c *call) {
		heard := play(t, c.b, "ausine,440,-10")
		play(t, c.a, "ausine,1000,-10")
		c.agree()
		c.wait(2 * time.Second)
		agree(t, c.a, c.b, func(l *sdp.Local) { l.Codecs, l.PTime = l.Codecs[1:], 30*time.Millisecond })
		c.wait(2 * time.Second)
		st := c.b.Stats()
		if st.Codec != "PCMA" || st.PTime != 30*time.Millisecond || st.Lost != 0 || st.BufferResets != 0 {
			t.Errorf("stats %+v", st)
		}
		checkTone(t, "b", heard.last(30000), 1000, -10)
	})
}

func TestPacketTimesNeedNotAgree(t *testing.T) {
	for _, ptime := range []time.Duration{10, 30, 40, 60, 120} {
		t.Run(fmt.Sprint(ptime), func(t *testing.T) {
			inCall(t, func(c *call) {
				heardA, heardB := play(t, c.a, "ausine,1000,-10"), play(t, c.b, "ausine,440,-10")
				n := 0
				agree(t, c.a, c.b, func(l *sdp.Local) {
					if n++; n == 1 {
						l.PTime = ptime * time.Millisecond
					}
				})
				c.wait(5 * time.Second)
				checkTone(t, "a", heardA.last(24000), 440, -10)
				checkTone(t, "b", heardB.last(24000), 1000, -10)
				if a, b := c.a.Stats(), c.b.Stats(); b.PTime != ptime*time.Millisecond || a.PTime != 20*time.Millisecond || a.Lost+b.Lost != 0 {
					t.Errorf("a %v, b %v", a.PTime, b.PTime)
				}
			})
		})
	}
}

// TestLossOfOddPacketTimes: what is made up lasts as long as what is missing, also where turns and packets do not match.
func TestLossOfOddPacketTimes(t *testing.T) {
	inCall(t, func(c *call) {
		n := 0
		c.net.setTravel(func(_, to netip.AddrPort, _ []byte) []time.Duration {
			if to == c.a.Stats().Local {
				if n++; n%10 == 0 {
					return nil
				}
			}
			return []time.Duration{0}
		})
		first := true
		agree(t, c.a, c.b, func(l *sdp.Local) {
			if first {
				l.PTime, first = 30*time.Millisecond, false
			}
		})
		c.wait(30 * time.Second)
		st := c.a.Stats()
		if want := time.Duration(st.Lost) * 30 * time.Millisecond; st.Lost < 98 || st.Concealed < want-100*time.Millisecond || st.Concealed > want+100*time.Millisecond || st.Late != 0 {
			t.Errorf("%d packets lost, %v concealed, want %v; late %d", st.Lost, st.Concealed, want, st.Late)
		}
	})
}

func TestEventsOfAStream(t *testing.T) {
	inCall(t, func(c *call) {
		c.agree()
		c.wait(time.Second)
		c.net.setTravel(func(_, _ netip.AddrPort, _ []byte) []time.Duration { return nil })
		c.wait(2 * time.Second)
		c.net.setTravel(nil)
		c.wait(time.Second)
		var kinds []string
		for _, e := range c.events[c.b] {
			kinds = append(kinds, e.Kind.String())
		}
		if got := strings.Join(kinds, " "); got != "first_packet stalled resumed" {
			t.Errorf("events %v", got)
		}
		if gap := c.b.Stats().LongestGap; gap < 2*time.Second || gap > 2100*time.Millisecond {
			t.Errorf("longest gap %v, want 2 s", gap)
		}
	})
}

func TestSendErrorsAreCountedAndToldOnce(t *testing.T) {
	inCall(t, func(c *call) {
		c.agree()
		c.wait(time.Second)
		conn := c.net.conn(c.a.Stats().Local)
		conn.fail(syscall.ENETUNREACH)
		c.wait(time.Second)
		conn.fail(nil)
		c.wait(time.Second)
		st := c.a.Stats()
		if st.TxErrors < 49 || st.TxErrors > 51 || st.TxPackets < 99 {
			t.Errorf("%d errors, %d packets", st.TxErrors, st.TxPackets)
		}
		if events := c.heard(c.a, SendFailing); len(events) != 1 || !errors.Is(events[0].Err, syscall.ENETUNREACH) {
			t.Errorf("events %v", events)
		}
		if lost := c.b.Stats().Lost; lost != int64(st.TxErrors) {
			t.Errorf("b misses %d packets, want %d", lost, st.TxErrors)
		}
	})
}

func TestReadErrorsDoNotSpin(t *testing.T) {
	inCall(t, func(c *call) {
		c.agree()
		c.wait(time.Second)
		conn := c.net.conn(c.a.Stats().Local)
		for range 5 {
			conn.mu.Lock()
			conn.readErr = syscall.ECONNREFUSED
			conn.mu.Unlock()
			c.wait(100 * time.Millisecond)
		}
		if n := c.a.rx.readErrors.Load(); n != 5 {
			t.Errorf("%d errors counted, want 5", n)
		}
		if st := c.a.Stats(); st.Lost != 0 || st.RxPackets < 70 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestGarbageIsCountedAndDropped(t *testing.T) {
	inCall(t, func(c *call) {
		from, to := c.a.Stats().Local, c.b.Stats().Local
		c.net.deliver(from, to, []byte("early"))
		synctest.Wait()
		c.agree()
		c.wait(time.Second)
		unknown := []byte{0x80, 77, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 1}
		for _, b := range [][]byte{nil, {0x80}, {0x80, 0, 1}, {0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {0x8f, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {0xb0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, []byte("OPTIONS sip:x SIP/2.0\r\n"), {0x80, 200, 0, 9}} {
			c.net.deliver(from, to, b)
			c.net.deliver(netip.AddrPortFrom(from.Addr(), from.Port()+1), netip.AddrPortFrom(to.Addr(), to.Port()+1), b)
		}
		c.net.deliver(from, to, unknown)
		c.wait(time.Second)
		st := c.b.Stats()
		if st.RxInvalid != 7 || st.Lost != 0 || st.RemoteSSRC != c.a.Stats().SSRC {
			t.Errorf("%d invalid, lost %d, SSRC %x", st.RxInvalid, st.Lost, st.RemoteSSRC)
		}
	})
}

func TestPeerChangesItsSSRC(t *testing.T) {
	inCall(t, func(c *call) {
		heard := play(t, c.b, "aunull")
		play(t, c.a, "ausine,1000,-10")
		c.agree()
		c.wait(time.Second)
		before := c.b.Stats()
		c.a.turn.Lock()
		c.a.ssrc, c.a.tx.seq, c.a.tx.timestamp = 42, 60000, 5
		c.a.turn.Unlock()
		c.wait(2 * time.Second)
		st := c.b.Stats()
		if st.RemoteSSRC != 42 || st.Lost != 0 || st.Expected <= before.Expected {
			t.Errorf("stats %+v", st)
		}
		checkTone(t, "b", heard.last(8000), 1000, -10)
	})
}

func TestSourceEndsAndSinkFails(t *testing.T) {
	inCall(t, func(c *call) {
		src, sink := &brokenDevice{left: 10}, &brokenDevice{left: 10}
		if err := errors.Join(c.a.SetSource(src), c.a.SetSink(sink)); err != nil {
			t.Fatal(err)
		}
		c.agree()
		c.wait(time.Second)
		if e := c.heard(c.a, SourceEnded); len(e) != 1 || !errors.Is(e[0].Err, errBroken) {
			t.Errorf("events %v", e)
		}
		if e := c.heard(c.a, SinkFailed); len(e) != 1 || !errors.Is(e[0].Err, errBroken) {
			t.Errorf("events %v", e)
		}
		if src.calls != 11 || sink.calls != 11 {
			t.Errorf("read %d times, written %d times; want 11", src.calls, sink.calls)
		}
		if n := c.a.Stats().TxPackets; n < 49 {
			t.Errorf("%d packets are sent: silence must go on", n)
		}
		if err := errors.Join(c.a.SetSource(nil), c.a.SetSink(nil)); err != nil || !src.closed || !sink.closed {
			t.Errorf("replaced: %v, closed %v, %v", err, src.closed, sink.closed)
		}
		refused := &brokenDevice{refuse: true}
		if err := c.a.SetSource(refused); !errors.Is(err, errBroken) || !refused.closed {
			t.Errorf("a source that cannot be opened: %v, closed %v", err, refused.closed)
		}
	})
}

var errBroken = errors.New("broken")

// brokenDevice works left times.
type brokenDevice struct {
	left, calls    int
	refuse, closed bool
}

func (d *brokenDevice) Open(int) error {
	if d.refuse {
		return errBroken
	}
	return nil
}

func (d *brokenDevice) Close() error { d.closed = true; return nil }

func (d *brokenDevice) Read(pcm []int16) (int, error) { return len(pcm), d.use() }
func (d *brokenDevice) Write([]int16) error           { return d.use() }

func (d *brokenDevice) use() error {
	if d.calls++; d.calls > d.left {
		return errBroken
	}
	return nil
}

func TestClosedStreamRefusesEverything(t *testing.T) {
	inCall(t, func(c *call) {
		c.agree()
		c.wait(time.Second)
		a := c.a.agreed.Load().Agreed
		if err := errors.Join(c.a.Close(), c.a.Close()); err != nil {
			t.Error(err)
		}
		src := &brokenDevice{}
		for name, err := range map[string]error{
			"Start": c.a.Start(a), "Move": c.a.Move(Local{Addr: addrA}), "SetSource": c.a.SetSource(src), "SetSink": c.a.SetSink(nil), "SendDTMF": c.a.SendDTMF("1"),
		} {
			if !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
		if !src.closed {
			t.Error("the source is left open")
		}
		n := c.a.Stats().TxPackets
		c.wait(time.Second)
		if got := c.a.Stats().TxPackets; got != n {
			t.Error("it goes on sending")
		}
	})
}

func TestStartRefusesAnUnknownCodec(t *testing.T) {
	inCall(t, func(c *call) {
		for _, codec := range []sdp.Codec{{}, {Name: "G729", Clock: 8000}, {Name: "PCMU", Clock: 16000}} {
			if err := c.a.Start(sdp.Agreed{Send: codec, EventPT: -1}); err == nil {
				t.Errorf("started with %+v", codec)
			}
		}
	})
}

func TestOpenTakesAPortPair(t *testing.T) {
	local := Local{Addr: addrA}
	full := newFakeNet()
	for _, p := range []uint16{4000, 4003} {
		full.taken[netip.AddrPortFrom(addrA, p)] = syscall.EADDRINUSE
	}
	if p, err := openPath(full, local, 3999, 4005, 0); err != nil || p.port != 4004 {
		t.Errorf("the only free pair: %+v, %v", p, err)
	}
	if len(full.conns) != 2 {
		t.Errorf("%d sockets are open, want 2", len(full.conns))
	}
	if _, err := openPath(full, local, 3999, 4005, 0); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "3999-4005") {
		t.Errorf("all taken: %v", err)
	}
	full.taken[netip.AddrPortFrom(addrB, 5000)] = syscall.EADDRNOTAVAIL
	if _, err := openPath(full, Local{Addr: addrB}, 5000, 5001, 0); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("address not there: %v", err)
	}
	for name, tt := range map[string]struct {
		local           Local
		lowest, highest uint16
	}{
		"no address": {Local{}, 4000, 5000}, "every address": {Local{Addr: netip.IPv6Unspecified()}, 4000, 5000},
		"one port": {local, 4001, 4002}, "range turned round": {local, 5000, 4000},
	} {
		if _, err := openPath(newFakeNet(), tt.local, tt.lowest, tt.highest, 0); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestDescribe(t *testing.T) {
	inCallWith(t, Config{PTime: 30 * time.Millisecond, RTCPMux: true, PortMin: 7000, PortMax: 7001}, func(c *call) {
		s, err := c.e.Open(Local{Addr: netip.MustParseAddr("fe80::1%eth0"), Advertised: netip.MustParseAddr("203.0.113.7")})
		if err != nil {
			t.Fatal(err)
		}
		d := s.Describe()
		if d.Addr != netip.MustParseAddr("203.0.113.7") || d.Port != 7000 || d.RTCPPort != 7001 || !d.Mux || d.PTime != 30*time.Millisecond || len(d.Codecs) != 3 || d.SessionID>>62 != 0 {
			t.Errorf("describes %+v", d)
		}
	})
}

func TestEngineEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{Network: newFakeNet()})
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		s, err := e.Open(Local{Addr: addrA})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := e.Run(ctx); err == nil {
			t.Error("Run ran twice")
		}
		if n := e.Stats().Streams; n != 1 {
			t.Errorf("%d streams", n)
		}
		cancel(errBroken)
		if err := <-done; !errors.Is(err, errBroken) {
			t.Errorf("Run ended with %v", err)
		}
		if err := s.SetSource(nil); !errors.Is(err, ErrClosed) {
			t.Errorf("the stream is not closed: %v", err)
		}
		if _, err := e.Open(Local{Addr: addrA}); !errors.Is(err, ErrClosed) {
			t.Errorf("opened after the end: %v", err)
		}
	})
}
