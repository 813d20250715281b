package transport

import "sync"

// maxEvents bounds the events that wait for a slow Config.Event. Beyond it those
// of flows are dropped, since peers can make any number of them; those of
// addresses and listeners never are.
const maxEvents = 16384

// A teller hands events over in order, from one goroutine.
type teller struct {
	wake chan struct{} // holds one token while queue may not be empty

	mu      sync.Mutex
	queue   []Event
	held    bool
	dropped uint64
}

// hold keeps what is told from now on back until release.
func (t *teller) hold() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = true
}

func (t *teller) release() {
	t.mu.Lock()
	t.held = false
	t.mu.Unlock()
	t.poke()
}

// poke lets run look at the queue.
func (t *teller) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// tell queues e. It never blocks.
func (t *teller) tell(e Event) {
	t.mu.Lock()
	if e.Flow != nil && len(t.queue) >= maxEvents {
		t.dropped++
	} else {
		t.queue = append(t.queue, e)
	}
	t.mu.Unlock()
	t.poke()
}

// run calls f with each event until done is closed and none is left.
func (t *teller) run(f func(Event), done <-chan struct{}) {
	for {
		select {
		case <-t.wake:
			t.drain(f)
		case <-done:
			t.drain(f)
			return
		}
	}
}

func (t *teller) drain(f func(Event)) {
	for {
		events := t.take()
		if len(events) == 0 {
			return
		}
		for _, e := range events {
			f(e)
		}
	}
}

func (t *teller) take() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held {
		return nil
	}
	events := t.queue
	t.queue = nil
	return events
}

// lost returns how many events were dropped.
func (t *teller) lost() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}
