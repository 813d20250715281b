package transaction

// A watch waits for the end of a flow that transactions stand on, or of all UDP
// flows of one socket, which end together. It lives as long as one of the
// transactions does.
type watch struct {
	flow  flow           // one of them
	calls map[string]int // guarded by Layer.mu: Call-IDs, and how many of their transactions
	stop  chan struct{}  // closed when calls is empty
}

// watch lets a transaction of callID end with f.
func (l *Layer) watch(f flow, callID string) *watch {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.watches[f.Done()]
	if w == nil {
		w = &watch{flow: f, calls: make(map[string]int), stop: make(chan struct{})}
		l.watches[f.Done()] = w
		l.running++
		go l.await(w)
	}
	w.calls[callID]++
	return w
}

// unwatch is for a transaction that is over; w may be nil.
func (l *Layer) unwatch(w *watch, callID string) {
	if w == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w.calls[callID]--
	if w.calls[callID] > 0 {
		return
	}
	delete(w.calls, callID)
	if len(w.calls) == 0 {
		close(w.stop)
		delete(l.watches, w.flow.Done())
	}
}

// await ends the transactions of a flow when the flow ends.
func (l *Layer) await(w *watch) {
	select {
	case <-w.flow.Done():
	case <-w.stop:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watches, w.flow.Done()) // a transaction that begins now wants a watch of its own
	for id := range w.calls {
		// It has a live transaction, or its queue still runs the end of the last.
		if c := l.calls[id]; c != nil {
			l.pushLocked(c, task{do: func(c *call) { c.endAll(w.flow.Done(), flowDown(w.flow)) }})
		}
	}
	l.endLocked()
}
