package transaction

import (
	"errors"
	"strings"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/transport/wire"
)

// A message is one that waits in a queue, and the flow it came on.
type message struct {
	wire.Message
	flow flow
}

// A task is one entry of a queue: a message, or something to do.
type task struct {
	msg *message
	do  func(*call)
}

// A call is one Call-ID: its queue and its live transactions. It is in
// Layer.calls as long as it has either, so two calls of one Call-ID cannot be.
type call struct {
	id string

	// Guarded by Layer.mu.
	pending []task
	running bool // a goroutine works on the queue

	// Owned by the goroutine that works on the queue.
	servers []*Server
	clients []*Client
}

// enqueue puts a received message into the queue of its Call-ID; false says that
// there is no room. After the end messages are dropped.
func (l *Layer) enqueue(m *message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[m.Head.CallID]
	switch {
	case l.closed:
		return true
	case l.waiting >= maxWaiting, c != nil && len(c.pending) >= l.cfg.MaxQueue:
		return false
	case c == nil:
		// The head's strings share the memory of the whole message.
		c = l.newCallLocked(strings.Clone(m.Head.CallID))
	}
	l.waiting++
	l.pushLocked(c, task{msg: m})
	return true
}

// push lets do run on the queue of callID.
func (l *Layer) push(callID string, do func(*call)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[callID]
	if c == nil {
		c = l.newCallLocked(callID)
	}
	l.pushLocked(c, task{do: do})
}

func (l *Layer) newCallLocked(id string) *call {
	c := &call{id: id}
	l.calls[id] = c
	return c
}

func (l *Layer) pushLocked(c *call, t task) {
	c.pending = append(c.pending, t)
	if !c.running {
		c.running = true
		l.running++
		go l.work(c)
	}
}

// work empties the queue of c. There is never more than one work for a call.
func (l *Layer) work(c *call) {
	var batch []task
	for {
		batch = l.take(c, batch)
		if len(batch) == 0 {
			return
		}
		for i := range batch {
			t := batch[i]
			batch[i] = task{} // free it when it has run, not when the batch has
			if t.msg != nil {
				l.handle(c, t.msg)
			} else {
				t.do(c)
			}
		}
	}
}

// take returns what is in the queue and leaves the emptied batch in its place.
// When nothing is left, the goroutine is over, and so is a call without
// transactions.
func (l *Layer) take(c *call, batch []task) []task {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range c.pending {
		if t.msg != nil {
			l.waiting--
		}
	}
	batch, c.pending = c.pending, batch[:0]
	if len(batch) > 0 {
		return batch
	}
	c.pending, c.running = nil, false
	if len(c.servers) == 0 && len(c.clients) == 0 {
		delete(l.calls, c.id)
	}
	l.endLocked()
	return nil
}

// endLocked is the end of a goroutine.
func (l *Layer) endLocked() {
	l.running--
	if l.running == 0 {
		l.idle.Broadcast()
	}
}

// onQueue reports whether the queue of c is being worked on, which it is if the
// caller is on it.
func (l *Layer) onQueue(c *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.running
}

// endAll ends the transactions of c whose flow has this Done, or all if it is nil.
func (c *call) endAll(done <-chan struct{}, err error) {
	// A callback may send or answer, and so change the lists.
	servers, clients := append([]*Server(nil), c.servers...), append([]*Client(nil), c.clients...)
	for _, s := range servers {
		// A connection that is gone is no reason to owe the answer: it goes over a new one (RFC 3261 section 18.2.2).
		// Without the local address there is no way left that the client would accept it from.
		if done == nil || s.flow.Done() == done && (!s.flow.Proto().Reliable() || errors.Is(err, transport.ErrAddressGone)) {
			s.end(err)
		}
	}
	for _, x := range clients {
		if done == nil || x.flow.Done() == done {
			x.fail(err)
		}
	}
}
