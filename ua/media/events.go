package media

import (
	"net/netip"
	"sync"
	"time"
)

// EventKind says what an Event is about.
type EventKind uint8

// The kinds of events.
const (
	DTMF        EventKind = iota // a digit came by telephone-event: Event.Digit
	FirstPacket                  // the first RTP packet came: Event.Remote
	Stalled                      // nothing has come for half a second although the peer may send
	Resumed                      // packets come again after Stalled
	RemoteMoved                  // the peer sends from another address, and we now send there: Event.Remote
	SendFailing                  // sending began to fail: Event.Err; it is told again only after a success
	SourceEnded                  // the source has no more audio, Event.Err if that was a failure; silence is sent
	SinkFailed                   // the sink cannot take more: Event.Err; audio is discarded
)

// String is the name for logs, such as "first_packet".
func (k EventKind) String() string {
	switch k {
	case DTMF:
		return "dtmf"
	case FirstPacket:
		return "first_packet"
	case Stalled:
		return "stalled"
	case Resumed:
		return "resumed"
	case RemoteMoved:
		return "remote_moved"
	case SendFailing:
		return "send_failing"
	case SourceEnded:
		return "source_ended"
	case SinkFailed:
		return "sink_failed"
	default:
		return "unknown"
	}
}

// Event is something that happened on a stream. Fields that do not belong to its kind are zero.
type Event struct {
	Kind   EventKind
	At     time.Time
	Digit  rune // '0'-'9', '*', '#', 'A'-'D'
	Remote netip.AddrPort
	Err    error
}

// eventLimit is how many events may wait for a slow listener; more are dropped.
const eventLimit = 4096

// eventQueue hands events from pacers and readers, which must not run foreign code, to one goroutine that may.
type eventQueue struct {
	ready chan struct{} // holds a token while the list may not be empty

	mu   sync.Mutex
	list []queuedEvent
}

type queuedEvent struct {
	s *Stream
	e Event
}

func (q *eventQueue) push(s *Stream, e Event) {
	q.mu.Lock()
	if len(q.list) < eventLimit {
		q.list = append(q.list, queuedEvent{s, e})
	}
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// run tells of events until stop is closed.
func (q *eventQueue) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-q.ready:
		}
		q.mu.Lock()
		list := q.list
		q.list = nil
		q.mu.Unlock()
		for _, item := range list {
			item.s.tell(item.e)
		}
	}
}
