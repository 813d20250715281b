package media

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// counter is a ticker that notes its turns.
type counter struct {
	step  time.Duration
	turns []time.Time
	gap   time.Duration
	left  int // turns until it leaves; 0: never
	hook  func()
}

func (c *counter) tick(now time.Time, gap time.Duration) time.Duration {
	c.turns = append(c.turns, now)
	c.gap += gap
	if c.hook != nil {
		c.hook()
	}
	if len(c.turns) == c.left {
		return 0
	}
	return c.step
}

// inPacer runs f in a bubble with a running pacer.
func inPacer(t *testing.T, f func(p *pacer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(timerSleeper{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.run(ctx); close(done) }()
		f(p)
		cancel()
		<-done
	})
}

func TestPacerKeepsEveryPeriod(t *testing.T) {
	inPacer(t, func(p *pacer) {
		var list []*counter
		for _, step := range []time.Duration{5, 10, 20, 25, 30, 60, 120, 239} {
			c := &counter{step: step * time.Millisecond}
			list = append(list, c)
			p.add(c)
			time.Sleep(7 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		for _, c := range list {
			for i, at := range c.turns {
				if want := c.turns[0].Add(time.Duration(i) * c.step); !at.Equal(want) {
					t.Fatalf("period %v: turn %d after %v", c.step, i, at.Sub(c.turns[0]))
				}
			}
			if n, want := len(c.turns), int(30*time.Second/c.step); n < want || n > want+12 {
				t.Errorf("period %v: %d turns, want %d", c.step, n, want)
			}
		}
	})
}

func TestPacerSpreadsItsStreams(t *testing.T) {
	inPacer(t, func(p *pacer) {
		list := make([]*counter, 40)
		for i := range list {
			list[i] = &counter{step: 20 * time.Millisecond}
			p.add(list[i])
		}
		time.Sleep(time.Second)
		synctest.Wait()
		phases := make(map[time.Duration]int)
		for _, c := range list {
			phases[time.Duration(c.turns[0].UnixNano())%(20*time.Millisecond)]++
		}
		for phase, n := range phases {
			if n != 2 {
				t.Errorf("%d of 40 streams at %v, want 2 in each of 20 slots", n, phase)
			}
		}
		if len(phases) != 20 {
			t.Errorf("%d slots in use, want 20", len(phases))
		}
	})
}

func TestPacerLetsStreamsLeaveAndSleeps(t *testing.T) {
	inPacer(t, func(p *pacer) {
		for range 3 {
			c := &counter{step: 20 * time.Millisecond, left: 5}
			p.add(c)
			time.Sleep(time.Hour) // with an idle pacer this costs nothing
			synctest.Wait()
			if len(c.turns) != 5 {
				t.Errorf("%d turns, want 5", len(c.turns))
			}
		}
		if n := p.late.total(); n != 15 {
			t.Errorf("%d turns counted, want 15", n)
		}
	})
}

// TestPacerPassesOverALongPause: when the process did not run, streams do not send in a burst what they missed, and
// their clocks are told.
func TestPacerPassesOverALongPause(t *testing.T) {
	for _, pause := range []time.Duration{30 * time.Millisecond, 300 * time.Millisecond, 10 * time.Second} {
		t.Run(pause.String(), func(t *testing.T) {
			inPacer(t, func(p *pacer) {
				a, b := &counter{step: 20 * time.Millisecond}, &counter{step: 20 * time.Millisecond}
				a.hook = func() {
					if len(a.turns) == 50 {
						time.Sleep(pause) // the pacer's goroutine itself is held up
					}
				}
				p.add(a)
				p.add(b)
				time.Sleep(2*time.Second + pause)
				synctest.Wait()
				begin := a.turns[0]
				missed := time.Duration(0)
				if pause > maxBehind {
					missed = pause - 21*time.Millisecond
				}
				for _, c := range []*counter{a, b} {
					played := time.Duration(len(c.turns)-1)*c.step + c.gap
					if total := c.turns[len(c.turns)-1].Sub(begin); math.Abs(ms(played-total)) > 21 {
						t.Errorf("%d turns and a gap of %v make %v, but %v have passed", len(c.turns), c.gap, played, total)
					}
					if c.gap < missed || c.gap > missed+21*time.Millisecond {
						t.Errorf("told of a gap of %v, want %v", c.gap, missed)
					}
					burst := 0
					for i := 1; i < len(c.turns); i++ {
						if c.turns[i].Sub(c.turns[i-1]) < 10*time.Millisecond {
							burst++
						}
					}
					if burst > 2 {
						t.Errorf("%d turns in a burst", burst)
					}
				}
			})
		})
	}
}

func TestStreamPassesOverAGap(t *testing.T) {
	inCall(t, func(c *call) {
		c.net.traced()
		c.agree()
		c.wait(100 * time.Millisecond)
		c.a.tick(time.Now(), 300*time.Millisecond) // a turn out of the pacer's hand
		list := rtpOf(t, c.net.traced(), c.b.Stats().Local)
		last, before := list[len(list)-1], list[len(list)-2]
		if last.SequenceNumber != before.SequenceNumber+1 || last.Timestamp != before.Timestamp+160+2400 || !last.Marker {
			t.Errorf("after %v comes %v", before.Header, last.Header)
		}
	})
}

func TestHistogram(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("quantile of nothing")
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * 100 * time.Microsecond) // 0.1 to 100 ms
	}
	for q, want := range map[float64]float64{0.5: 50, 0.99: 99, 1: 100} {
		if got := ms(h.quantile(q)); got < want*0.99 || got > want*1.13 {
			t.Errorf("quantile %v = %v ms, want %v", q, got, want)
		}
	}
	for _, d := range []time.Duration{-time.Second, 0, time.Microsecond, 7 * time.Microsecond, 8 * time.Microsecond, 1000 * time.Hour} {
		i := bucketOf(d)
		if end := bucketEnd(i); end < d && i != len(h.buckets)-1 || i > 0 && bucketEnd(i-1) >= d {
			t.Errorf("%v is in bucket %d, which ends at %v", d, i, end)
		}
	}
}

// TestSystemSleeperWakesInTime uses the machine's clock: late it may be on a busy machine, but never early.
func TestSystemSleeperWakesInTime(t *testing.T) {
	s := newSystemSleeper()
	for range 5 {
		due := time.Now().Add(2 * time.Millisecond)
		s.until(t.Context(), due, nil)
		if early := time.Until(due); early > 0 {
			t.Errorf("woke %v early", early)
		}
	}
}
