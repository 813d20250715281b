package transaction

import "sync/atomic"

// Stats counts what a Layer has done since it was made; the last block says how
// things are now.
type Stats struct {
	Requests        uint64 // new requests received, those refused here included
	Responses       uint64 // responses received that belong to a transaction
	Retransmissions uint64 // received requests that were copies, answered or absorbed here
	Merged          uint64 // requests answered 482 (RFC 3261 section 8.2.2.2)
	Cancels         uint64 // CANCELs that matched a transaction
	UnknownCancels  uint64 // CANCELs answered 481
	Bad             uint64 // messages that could not be parsed; requests among them got a 400
	Strays          uint64 // responses that belong to no transaction, dropped
	Overflows       uint64 // messages dropped because a queue was full
	Refused         uint64 // requests answered 503 because of Config.MaxTransactions
	Sent            uint64 // client transactions started
	Resent          uint64 // requests and responses sent again by a timer
	Timeouts        uint64 // transactions ended with ErrTimeout
	FlowsDown       uint64 // transactions ended with ErrFlowDown
	WriteErrors     uint64 // messages that a flow refused to send

	Servers  int // live server transactions
	Clients  int // live client transactions
	Answered int // responses to non-INVITE requests kept for their retransmissions
	Calls    int // Call-IDs with live transactions or a queue that is not empty
}

// counters are the Stats that only grow, and the two that are asked for often.
type counters struct {
	requests, responses, retransmissions, merged, cancels, unknownCancels, bad, strays, overflows,
	refused, sent, resent, timeouts, flowsDown, writeErrors atomic.Uint64

	servers, clients atomic.Int64
	pending          atomic.Int64 // server transactions without their final response
}

// Stats returns the counters. It may be called from any goroutine.
func (l *Layer) Stats() Stats {
	l.mu.Lock()
	calls := len(l.calls)
	l.mu.Unlock()
	n := &l.count
	return Stats{
		Requests:        n.requests.Load(),
		Responses:       n.responses.Load(),
		Retransmissions: n.retransmissions.Load(),
		Merged:          n.merged.Load(),
		Cancels:         n.cancels.Load(),
		UnknownCancels:  n.unknownCancels.Load(),
		Bad:             n.bad.Load(),
		Strays:          n.strays.Load(),
		Overflows:       n.overflows.Load(),
		Refused:         n.refused.Load(),
		Sent:            n.sent.Load(),
		Resent:          n.resent.Load(),
		Timeouts:        n.timeouts.Load(),
		FlowsDown:       n.flowsDown.Load(),
		WriteErrors:     n.writeErrors.Load(),
		Servers:         int(n.servers.Load()),
		Clients:         int(n.clients.Load()),
		Answered:        l.answered.len(),
		Calls:           calls,
	}
}
