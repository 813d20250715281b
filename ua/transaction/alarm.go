package transaction

import "time"

// instant is a point in time, counted from the Layer's start; zero is never.
// Eight bytes instead of the 24 of a time.Time, of which each transaction
// would keep three.
type instant = time.Duration

// An alarm is the one timer of a transaction. It serves two deadlines: one to
// send again (timers A, E and G, and the automatic 100), one to leave the state
// (timers B, D, F, H, I, K, L and M).
type alarm struct {
	timer *time.Timer
	armed instant // what timer is set to; zero if it is not running

	resend instant       // when to send again
	last   instant       // when resend last came due
	every  time.Duration // the interval that led to resend
	end    instant       // when the state ends
}

// resendIn sets the first sending again d after now.
func (a *alarm) resendIn(now instant, d time.Duration) {
	a.resend, a.every = now+d, d
}

// again sets the next sending again, twice as far away as the last, at most
// limit; no limit if that is zero. It counts from the last deadline, not from
// now, so that the intervals do not grow by the time it takes to serve them;
// after a stall it starts from now instead of catching up in a burst.
func (a *alarm) again(now instant, limit time.Duration) {
	a.every *= 2
	if limit > 0 {
		a.every = min(a.every, limit)
	}
	a.resend = a.last + a.every
	if a.resend <= now {
		a.resend = now + a.every
	}
}

// endIn forgets about sending again, and sets the end of the state.
func (a *alarm) endIn(now instant, d time.Duration) {
	a.resend, a.end = 0, now+d
}

// next returns the earlier of the two deadlines; zero if there is none.
func (a *alarm) next() instant {
	switch {
	case a.resend == 0:
		return a.end
	case a.end == 0:
		return a.resend
	}
	return min(a.resend, a.end)
}

// arm sets the timer to the earlier deadline. When it fires, it calls fire on a
// goroutine of its own; a fire that comes late, because the deadline was moved
// meanwhile, is told by due.
func (a *alarm) arm(now instant, fire func()) {
	next := a.next()
	switch {
	case next == a.armed:
	case next == 0:
		a.stop()
	case a.timer == nil:
		a.timer = time.AfterFunc(next-now, fire)
	default:
		a.timer.Reset(next - now)
	}
	a.armed = next
}

// stop forgets both deadlines.
func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.armed, a.resend, a.end = 0, 0, 0
}

// due says which of the deadlines has come. The end comes before sending again.
func (a *alarm) due(now instant) (e event, ok bool) {
	switch {
	case a.end != 0 && a.end <= now:
		a.armed, a.end = 0, 0
		return timerEnd, true
	case a.resend != 0 && a.resend <= now:
		a.armed, a.last, a.resend = 0, a.resend, 0
		return timerResend, true
	}
	return 0, false
}
