package ua

import "time"

// alarm is a timer whose function runs on a Call-ID queue. Its methods are called on that queue only; once stop or set has
// returned, the function set before does not run any more, even if its time had come.
type alarm struct {
	queue func(func())
	timer *time.Timer
	turn  uint64
}

func (a *alarm) set(d time.Duration, f func()) {
	a.stop()
	turn := a.turn
	a.timer = time.AfterFunc(d, func() {
		a.queue(func() {
			if a.turn == turn {
				f()
			}
		})
	})
}

func (a *alarm) stop() {
	a.turn++
	if a.timer != nil {
		a.timer.Stop()
	}
}
