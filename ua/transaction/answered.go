package transaction

import (
	"sync"
	"time"
)

// answered keeps the final responses to non-INVITE requests for as long as their
// retransmissions may come: the Completed state of RFC 3261 section 17.2.2, with
// timer J, without a transaction. A busy server holds hundreds of thousands of
// them, so each is one slice of bytes and one entry of a block.
//
// It is used from the queues of all Call-IDs, hence the lock.
type answered struct {
	now func() instant
	max int

	mu    sync.Mutex
	index map[key]*answer
	head  *block // oldest; entries before next are gone
	next  int
	tail  *block // youngest
	n     int
	timer *time.Timer // runs as long as there is an entry
}

// sweepEvery is the least time between two removals of what is past its timer J;
// find does not return such entries even before.
const sweepEvery = 100 * time.Millisecond

// An answer is one kept response.
type answer struct {
	key    key // what it is found by: see Server.answerKey
	branch key // of the transaction, to tell a retransmission from a merged request
	due    instant
	flow   flow
	raw    []byte
}

// A block is a run of answers in the order in which they end. All of them have
// the same time to live, so that is the order in which they came.
type block struct {
	answers [63]answer // with the rest of the block just under 4 kB, a size the allocator has
	n       int
	younger *block
}

func (a *answered) init(now func() instant, limit int) {
	a.now, a.max = now, limit
	a.index = make(map[key]*answer)
}

// keep stores e for d; e.due is filled in.
func (a *answered) keep(e answer, d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.n >= a.max {
		a.drop()
	}
	if a.tail == nil || a.tail.n == len(a.tail.answers) {
		a.grow()
	}
	at := &a.tail.answers[a.tail.n]
	a.tail.n++
	a.n++
	e.due = a.now() + d
	*at = e
	a.index[e.key] = at
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.sweep)
	}
}

func (a *answered) grow() {
	b := new(block)
	if a.tail == nil {
		a.head, a.next = b, 0
	} else {
		a.tail.younger = b
	}
	a.tail = b
}

// find returns the answer kept for k, if there is one.
func (a *answered) find(k key) (e answer, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.index[k]
	if at == nil || at.due <= a.now() {
		return answer{}, false
	}
	return *at, true
}

func (a *answered) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

// sweep drops what is past its time.
func (a *answered) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for a.n > 0 && a.head.answers[a.next].due <= now {
		a.drop()
	}
	if a.n == 0 {
		a.timer = nil
		return
	}
	a.timer = time.AfterFunc(max(a.head.answers[a.next].due-now, sweepEvery), a.sweep)
}

// drop forgets the oldest answer. There must be one.
func (a *answered) drop() {
	e := &a.head.answers[a.next]
	// A younger one may have taken the place, if the same request was answered
	// again after its timer J.
	if a.index[e.key] == e {
		delete(a.index, e.key)
	}
	*e = answer{}
	a.n--
	a.next++
	if a.next == a.head.n {
		a.head, a.next = a.head.younger, 0
	}
	if a.head == nil {
		a.tail = nil
		a.index = make(map[key]*answer) // a map never shrinks
	}
}

// close forgets everything.
func (a *answered) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	for a.n > 0 {
		a.drop()
	}
}
