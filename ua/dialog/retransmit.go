package dialog

import "time"

// Retransmit is the schedule of a 2xx to INVITE until its ACK comes (RFC 3261 section 13.3.1.4): again after T1, the interval
// doubling up to T2, over reliable transports too, for 64*T1 in all. It keeps no timer: Next says how long to wait.
type Retransmit struct {
	T1, T2 time.Duration

	interval, spent time.Duration
}

// Next returns the time until the next transmission; false when 64*T1 have passed without ACK, and the dialog has to be ended
// with BYE.
func (r *Retransmit) Next() (time.Duration, bool) {
	r.interval = max(r.T1, min(2*r.interval, r.T2))
	left := 64*r.T1 - r.spent
	if left <= 0 {
		return 0, false
	}
	wait := min(r.interval, left)
	r.spent += wait
	return wait, true
}
