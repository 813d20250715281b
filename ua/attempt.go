package ua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua/transaction"
)

const (
	// maxMoves is how often a request is sent anew because the address under it went away while it was unanswered.
	maxMoves = 3
	// moveTimeout is how long such a request waits for another address: DAD takes 2 s.
	moveTimeout = 10 * time.Second
)

// attempt is one request on its way to the first of several targets that answers (RFC 3263 section 4.3, RFC 3261 section
// 8.1.2). Names are resolved and connections opened beside the queue; build and done run on it.
type attempt struct {
	agent  *Agent
	callID string
	hops   []sip.Uri // where to send it, in order of preference

	// build makes the request for a flow to one of the hops; it is called anew for each target, since Contact and SDP depend
	// on the flow.
	build func(f *transport.Flow, hop sip.Uri) (*sip.Request, error)
	// on takes each response. done takes the end without one: nobody could be reached, or nobody answered.
	on   func(f *transport.Flow, req *sip.Request, res *sip.Response)
	done func(err error)

	// fallback is a connection to use if no other can be opened: the dialog's own, whose peer may be behind a NAT. nil: none.
	fallback *transport.Flow

	// stays ends the attempt with the address it was begun from: something else is more urgent then.
	stays bool

	ctx      context.Context
	cancel   context.CancelFunc
	client   *transaction.Client // of the target being tried; nil while there is nothing to cancel
	next     []target            // still to be tried
	sent     bool                // at least one request has left
	flow     *transport.Flow     // the last one was sent over; nil before
	moves    int
	quiet    bool      // nothing more is sent: see abandon
	gen      uint64    // of the transport snapshot that the targets were sought under
	deadline time.Time // for finding another address, after a move
	over     bool      // on has seen a final response, or done was called, or stop
	last     error
}

// target is a transport target and the URI it came from.
type target struct {
	transport.Target
	hop sip.Uri
}

// start begins; the attempt's functions must be set.
func (t *attempt) start() {
	t.ctx, t.cancel = context.WithCancel(t.agent.ctx)
	t.begin()
}

// begin looks for targets, for the first time or after a move.
func (t *attempt) begin() {
	hops := t.hops
	t.gen = t.agent.manager.Snapshot().Gen
	go func() {
		targets, err := t.resolve(hops)
		t.queue(func() {
			t.next, t.last = targets, err
			t.tryNext()
		})
	}()
}

// stop abandons what has not been sent and forgets what has; neither on nor done is called any more.
func (t *attempt) stop() {
	t.over = true
	t.cancel()
}

// abandon sends nothing more, to no other target and from no other address. It says whether an answer to what has been sent
// may still come; if not, neither on nor done is called any more.
func (t *attempt) abandon() bool {
	t.quiet = true
	if t.client == nil {
		t.stop()
	}
	return t.client != nil
}

// giveUp abandons an INVITE and cancels what has been sent. It says whether a final response is still to come.
func (t *attempt) giveUp() bool {
	if !t.abandon() {
		return false
	}
	t.client.Cancel()
	return true
}

func (t *attempt) queue(f func()) {
	t.agent.layer.Do(t.callID, func() {
		if !t.over {
			f()
		}
	})
}

func (t *attempt) resolve(hops []sip.Uri) ([]target, error) {
	var targets []target
	var failed error
	for _, hop := range hops {
		found, err := t.agent.lookUp(t.ctx, hop)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for _, f := range found {
			targets = append(targets, target{f, hop})
		}
	}
	if len(targets) == 0 && failed == nil {
		failed = errors.New("no target")
	}
	return targets, failed
}

func (a *Agent) lookUp(ctx context.Context, hop sip.Uri) ([]transport.Target, error) {
	q, err := queryFor(hop)
	if err != nil {
		return nil, err
	}
	return a.manager.Resolve(ctx, q)
}

// tryNext opens a flow to the next target, or ends.
func (t *attempt) tryNext() {
	if f := t.fallback; len(t.next) == 0 && f != nil && !t.sent && alive(f) {
		t.fallback = nil
		t.send(f, target{hop: t.hops[0]})
		return
	}
	if len(t.next) == 0 {
		if t.moves > 0 && noAddress(t.last) {
			t.await()
			return
		}
		t.end(t.last)
		return
	}
	to := t.next[0]
	t.next = t.next[1:]
	go func() {
		f, err := t.agent.manager.Flow(t.ctx, to.Target)
		t.queue(func() {
			if err != nil {
				t.last = err
				t.tryNext()
				return
			}
			t.send(f, to)
		})
	}()
}

// await lets a request whose address went away wait for the next one.
func (t *attempt) await() {
	gen, last := t.gen, t.last
	go func() {
		ctx, cancel := context.WithDeadline(t.ctx, t.deadline)
		defer cancel()
		_, err := t.agent.manager.Wait(ctx, gen)
		t.queue(func() {
			if err != nil {
				t.end(last)
				return
			}
			t.begin()
		})
	}()
}

// noAddress says whether an error will pass as soon as there is another address.
func noAddress(err error) bool {
	return errors.Is(err, transport.ErrNoAddress) || errors.Is(err, transport.ErrAddressGone)
}

// outdated says, after a failure, whether something changed below while the attempt was under way. Whoever waits for the next
// change has to ask this first: the change may have been the one.
func (t *attempt) outdated() bool { return t.agent.manager.Snapshot().Gen != t.gen }

func (t *attempt) end(err error) {
	t.over = true
	t.cancel()
	t.done(err)
}

func (t *attempt) send(f *transport.Flow, to target) {
	req, err := t.build(f, to.hop)
	if err != nil {
		t.last, t.next = err, nil
		t.tryNext()
		return
	}
	if to.Proto == transport.UDP && t.agent.layer.Oversize(f, req) {
		t.sendOverTCP(f, req, to)
		return
	}
	t.transmit(f, req)
}

// sendOverTCP opens a connection for a request that is too large for a datagram, and falls back to the datagram if the peer
// has none (RFC 3261 section 18.1.1).
func (t *attempt) sendOverTCP(udp *transport.Flow, req *sip.Request, to target) {
	to.Proto, to.Local = transport.TCP, udp.Local().Addr()
	go func() {
		tcp, err := t.agent.manager.Flow(t.ctx, to.Target)
		t.queue(func() {
			if err != nil {
				t.transmit(udp, req)
				return
			}
			req, err := t.build(tcp, to.hop)
			if err != nil {
				t.last, t.next = err, nil
				t.tryNext()
				return
			}
			t.transmit(tcp, req)
		})
	}()
}

func (t *attempt) transmit(f *transport.Flow, req *sip.Request) {
	client, err := t.agent.layer.Send(f, req, func(res *sip.Response, err error) {
		if t.over {
			return
		}
		t.outcome(f, req, res, err)
	})
	if err != nil {
		t.outcome(f, req, nil, err)
		return
	}
	t.client, t.flow, t.sent = client, f, true
}

// outcome decides between the next target and the caller.
func (t *attempt) outcome(f *transport.Flow, req *sip.Request, res *sip.Response, err error) {
	switch {
	case err != nil && t.quiet:
		t.end(err)
	case errors.Is(err, transport.ErrAddressGone) && t.moves < maxMoves && !t.stays:
		// The address went away below us, not the peer: every target deserves another try, from another address.
		t.client = nil
		t.moves++
		t.deadline = time.Now().Add(moveTimeout)
		t.begin()
	case err != nil:
		t.client, t.last = nil, fmt.Errorf("%s: %w", f.Remote(), err)
		t.tryNext()
	case res.StatusCode == sip.StatusServiceUnavailable && len(t.next) > 0 && !t.quiet:
		t.client, t.last = nil, &StatusError{res.StatusCode, res.Reason}
		t.tryNext()
	default:
		if !res.IsProvisional() {
			t.over = !req.IsInvite() || !res.IsSuccess() // further 2xx of an INVITE come here too
			t.cancel()
		}
		t.on(f, req, res)
	}
}
