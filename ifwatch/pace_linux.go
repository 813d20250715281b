package ifwatch

import "time"

const (
	// freely is how many snapshots may follow one another without a pause. What happens in a network that works, say a link that
	// comes up with all its addresses, takes fewer.
	freely = 32

	// breather is the pause between snapshots in a flood that goes on after them. Meanwhile the socket's buffer has to hold what
	// comes: some 200 events at the fastest, and the least that Linux grants by default is good for 270.
	breather = 4 * time.Millisecond
)

// pace keeps a flood of events from costing a wake-up and a snapshot each. A change that follows a quiet moment is never held
// back: after a breather there is at least one snapshot free, and after a tenth of a second all of them.
type pace struct {
	spent int       // snapshots that followed one another faster than one per breather
	at    time.Time // of the last one
}

// published counts a snapshot.
func (p *pace) published(now time.Time) {
	p.spent = min(freely, max(0, p.spent-int(now.Sub(p.at)/breather))+1)
	p.at = now
}

// pause returns for how long to let events gather.
func (p *pace) pause(now time.Time) time.Duration {
	if p.spent < freely {
		return 0
	}
	return max(0, breather-now.Sub(p.at))
}
