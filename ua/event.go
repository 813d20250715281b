package ua

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	Registered     EventKind = "registered"      // a binding was made or moved; refreshes are no event. Contact, Expires
	RegisterFailed EventKind = "register_failed" // Err says why, Retry when it is tried again
	Unregistered   EventKind = "unregistered"    // the binding was removed, on request
	CallIncoming   EventKind = "call_incoming"   // an INVITE came; AnswerManual accounts decide now
	CallProgress   EventKind = "call_progress"   // a provisional response to our INVITE came. Code, Reason
	CallAnswered   EventKind = "call_answered"   // a 2xx was sent or received
	CallMoved      EventKind = "call_moved"      // the peer accepted a new address of ours
	CallDTMF       EventKind = "call_dtmf"       // Digit
	CallEnded      EventKind = "call_ended"      // Reason says why; Err is nil if either side hung up, else says what went wrong
)

// Event is something that happened to an account or a call.
type Event struct {
	Kind    EventKind
	Time    time.Time
	Account string // AOR
	Call    *Call  // of the call events
	Contact string
	Expires time.Duration
	Retry   time.Duration // from Time
	Code    int
	Reason  string
	Digit   rune
	Err     error
}

// StatusError is what the peer answered: a final response that is not a success.
type StatusError struct {
	Code   int
	Reason string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Reason) }

// maxEvents bounds what a handler that does not keep up costs; the oldest events give way.
const maxEvents = 4096

// events hands events to the application in order, from one goroutine, without ever blocking who reports one.
type events struct {
	mu      sync.Mutex
	queue   []Event
	dropped uint64
	wake    chan struct{} // one token: there may be something
}

func newEvents() *events { return &events{wake: make(chan struct{}, 1)} }

func (q *events) put(e Event) {
	e.Time = time.Now()
	q.mu.Lock()
	if len(q.queue) == maxEvents {
		q.queue = q.queue[1:]
		q.dropped++
	}
	q.queue = append(q.queue, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run delivers until ctx ends, and then what is still queued.
func (q *events) run(ctx context.Context, f func(Event), log *slog.Logger) {
	for {
		q.mu.Lock()
		batch, dropped := q.queue, q.dropped
		q.queue, q.dropped = nil, 0
		q.mu.Unlock()
		if dropped > 0 {
			log.WarnContext(ctx, "events were lost: their handler does not keep up", slog.Uint64("count", dropped))
		}
		for _, e := range batch {
			f(e)
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			if q.empty() {
				return
			}
		}
	}
}

func (q *events) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue) == 0
}
