package media

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	slotTime   = time.Millisecond
	wheelSlots = 240 // longer than any packet time, and a multiple of the usual ones
	spread     = 20  // slots among which a new stream gets the emptiest
	maxBehind  = 40 * time.Millisecond
)

// ticker is what a pacer serves.
type ticker interface {
	// tick does what is due, at a time near its slot. gap is time that was passed over since the last tick. It returns
	// after how long the next one is due, in whole slots up to wheelSlots; 0: never.
	tick(now time.Time, gap time.Duration) time.Duration
}

// sleeper waits.
type sleeper interface {
	// until returns at t; it may return earlier when ctx ends or wake has something.
	until(ctx context.Context, t time.Time, wake <-chan struct{})
}

// timerSleeper waits with Go's timers. They are late by 0.5 ms at the median, but work everywhere.
type timerSleeper struct{}

func (timerSleeper) until(ctx context.Context, t time.Time, wake <-chan struct{}) {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// pacer gives its streams their turns at absolute times, so that their clocks never drift. Time is cut into slots of a
// millisecond, and each stream has its place in one of them, so that they do not all send at once.
type pacer struct {
	sleep   sleeper
	wake    chan struct{} // holds a token after add
	late    histogram
	skipped atomic.Int64 // nanoseconds

	mu    sync.Mutex
	fresh []ticker // added, and not yet in the wheel

	// The rest belongs to run.
	wheel [wheelSlots][]place
	count int
	base  time.Time     // when slot 0 is due
	at    int64         // next slot to serve
	lag   time.Duration // by how much base has been moved in all
}

// place is a stream in the wheel.
type place struct {
	t   ticker
	lag time.Duration // what of pacer.lag it has been told
}

func newPacer(s sleeper) *pacer { return &pacer{sleep: s, wake: make(chan struct{}, 1)} }

// add gives t its turns from now on. A ticker leaves by returning 0.
func (p *pacer) add(t ticker) {
	p.mu.Lock()
	p.fresh = append(p.fresh, t)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pacer) run(ctx context.Context) {
	for ctx.Err() == nil {
		p.admit()
		if p.count == 0 {
			select {
			case <-p.wake:
			case <-ctx.Done():
			}
			continue
		}
		slot := p.nextSlot()
		due := p.base.Add(time.Duration(slot) * slotTime)
		p.sleep.until(ctx, due, p.wake)
		if now := time.Now(); !now.Before(due) {
			p.at = slot
			p.serve(now.Sub(due))
		}
	}
}

// admit places added streams.
func (p *pacer) admit() {
	p.mu.Lock()
	fresh := p.fresh
	p.fresh = nil
	p.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	// Empty slots that have passed are no place for anybody.
	if now := time.Now(); p.count == 0 {
		p.base, p.at = now, 0
	} else {
		p.at = max(p.at, min(p.nextSlot(), int64(now.Sub(p.base)/slotTime)+1))
	}
	for _, t := range fresh {
		best := p.at
		for slot := p.at; slot < p.at+spread; slot++ {
			if len(*p.slot(slot)) < len(*p.slot(best)) {
				best = slot
			}
		}
		*p.slot(best) = append(*p.slot(best), place{t, p.lag})
		p.count++
	}
}

func (p *pacer) slot(n int64) *[]place { return &p.wheel[n%wheelSlots] }

// nextSlot is the first one from p.at on that has a stream in it.
func (p *pacer) nextSlot() int64 {
	slot := p.at
	for len(*p.slot(slot)) == 0 {
		slot++
	}
	return slot
}

// serve gives the streams of slot p.at their turn. When the process did not run for a while, what was missed is passed
// over instead of sent in a burst: all later slots move back, and the streams are told.
func (p *pacer) serve(behind time.Duration) {
	if behind > maxBehind {
		behind = behind.Truncate(slotTime)
		p.base, p.lag = p.base.Add(behind), p.lag+behind
		p.skipped.Add(int64(behind))
	}
	due := p.base.Add(time.Duration(p.at) * slotTime)
	list := *p.slot(p.at)
	for _, pl := range list {
		now := time.Now()
		p.late.add(now.Sub(due))
		step := int64(pl.t.tick(now, p.lag-pl.lag) / slotTime)
		if step == 0 {
			p.count--
			continue
		}
		to := p.slot(p.at + min(step, wheelSlots-1))
		*to = append(*to, place{pl.t, p.lag})
	}
	clear(list)
	*p.slot(p.at) = list[:0]
	p.at++
}

// histogram counts durations in buckets that grow by an eighth of a power of two, from 1 us on.
type histogram struct{ buckets [8 * 28]atomic.Uint64 }

func bucketOf(d time.Duration) int {
	us := uint64(max(d/time.Microsecond, 0))
	if us < 8 {
		return int(us)
	}
	exp := bits.Len64(us) - 4 // us>>exp is 8 to 15
	return min(8*exp+int(us>>exp), 8*28-1)
}

// bucketEnd is the largest duration of bucket i.
func bucketEnd(i int) time.Duration {
	if i < 8 {
		return time.Duration(i) * time.Microsecond
	}
	exp := i/8 - 1
	return time.Duration(uint64(i%8+8+1)<<exp-1) * time.Microsecond
}

func (h *histogram) add(d time.Duration) { h.buckets[bucketOf(d)].Add(1) }

func (h *histogram) addTo(sum *histogram) {
	for i := range h.buckets {
		sum.buckets[i].Add(h.buckets[i].Load())
	}
}

func (h *histogram) total() uint64 {
	n := uint64(0)
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n
}

// quantile is a duration that the share q of all does not exceed; 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	total := h.total()
	rank, sum := uint64(q*float64(total)), uint64(0)
	for i := range h.buckets {
		sum += h.buckets[i].Load()
		if sum > 0 && sum >= rank {
			return bucketEnd(i)
		}
	}
	return 0
}
