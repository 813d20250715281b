package transaction

import (
	"fmt"
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/transport/wire"
)

// A Client is a client transaction: a sent request, and the responses to it
// (RFC 3261 section 17.1).
type Client struct {
	layer  *Layer
	callID string
	flow   flow
	req    *sip.Request
	via    *sip.ViaHeader // of the request; the user may give that a new one after the final response
	branch string
	on     func(*sip.Response, error)

	// Owned by the queue of the Call-ID.
	call  *call
	state clientState // nil before begin and after end
	alarm alarm
	raw   []byte // the request, as long as it is retransmitted
	ack   []byte // the ACK to the failure
	final bool   // a final response or an error was passed up
	watch *watch

	toCancel bool // as soon as there is a provisional response
}

// A clientState is a state of RFC 3261 section 17.1, as RFC 6026 has changed it:
// it deals with one event. res is the response of provisional, success and
// failure.
type clientState func(c *Client, e event, res *sip.Response)

// Send starts a client transaction that sends req over f. The request needs
// Request-URI, From, To, Call-ID and CSeq; it gets the Via of f with a new branch
// in place of any other, and, if missing, Max-Forwards, Content-Length and
// User-Agent. It belongs to the transaction until on is called with a final
// response or an error.
//
// on is called on the queue of the Call-ID: for every provisional response, for
// the final one, for every further 2xx to an INVITE (a retransmission, or of
// another branch of a fork: tell by the To tag; each wants its ACK, see Write),
// or once with an error that ends it: ErrTimeout, ErrFlowDown, ErrClosed, or the
// flow's own if it could not send. The ACK to a failure is sent here. on is
// not called before Send returns if the caller is on that queue, and never if
// Send returns an error, which is about req or is ErrClosed.
//
// For an ACK see Write, for a CANCEL Client.Cancel.
func (l *Layer) Send(f *transport.Flow, req *sip.Request, on func(*sip.Response, error)) (*Client, error) {
	return l.sendOn(f, req, on)
}

func (l *Layer) sendOn(f flow, req *sip.Request, on func(*sip.Response, error)) (*Client, error) {
	if req.Method == sip.ACK || req.Method == sip.CANCEL {
		return nil, fmt.Errorf("transaction: %s has no transaction of its own to send", req.Method)
	}
	if l.ctx.Err() != nil {
		return nil, ErrClosed
	}
	branch, err := l.complete(f, req)
	if err != nil {
		return nil, err
	}
	c, err := l.newClient(f, req, branch, on)
	if err != nil {
		return nil, err
	}
	l.push(c.callID, c.begin)
	return c, nil
}

// newClient makes a transaction of a request that is complete.
func (l *Layer) newClient(f flow, req *sip.Request, branch string, on func(*sip.Response, error)) (*Client, error) {
	raw, err := l.encode(req)
	if err != nil {
		return nil, err
	}
	return &Client{
		layer: l, callID: req.CallID().Value(), flow: f, req: req, via: req.Via(), branch: branch, on: on, raw: raw,
	}, nil
}

// Write sends the ACK to a 2xx, which has no transaction (RFC 3261 section
// 13.2.2.4). It completes req like Send, but keeps a Via that is there, so that
// the same request can be written again for each retransmission of the 2xx. It
// does not wait for the queue. The error is about req, or the flow's.
func (l *Layer) Write(f *transport.Flow, req *sip.Request) error { return l.writeOn(f, req) }

func (l *Layer) writeOn(f flow, req *sip.Request) error {
	if l.ctx.Err() != nil {
		return ErrClosed
	}
	if req.Via() == nil {
		if _, err := l.complete(f, req); err != nil {
			return err
		}
	}
	raw, err := l.encode(req)
	if err != nil {
		return err
	}
	return l.write(f, raw)
}

// Request returns the request as it was sent.
func (c *Client) Request() *sip.Request { return c.req }

// Flow returns the flow that the request was sent over.
func (c *Client) Flow() *transport.Flow {
	f, _ := c.flow.(*transport.Flow)
	return f
}

// Cancel asks the peer to give up an INVITE that has no final response yet (RFC
// 3261 section 9.1): its CANCEL goes out with, or as soon as there is, a
// provisional response. The final response comes as ever, 487 as a rule, or a
// 2xx that was under way: that wants its ACK, and a BYE. If none comes in 64*T1
// after the CANCEL, the transaction ends with ErrTimeout. Cancel does nothing
// for other requests, and nothing the second time. It may be called from any
// goroutine.
func (c *Client) Cancel() {
	if c.req.Method == sip.INVITE {
		c.layer.push(c.callID, func(*call) { c.cancel() })
	}
}

// begin sends the request, on the queue of the Call-ID.
func (c *Client) begin(call *call) {
	if c.layer.ctx.Err() != nil {
		c.final = true
		c.on(nil, ErrClosed)
		return
	}
	c.call = call
	call.clients = append(call.clients, c)
	c.layer.count.sent.Add(1)
	c.layer.count.clients.Add(1)
	c.watch = c.layer.watch(c.flow, call.id)
	if c.req.Method == sip.INVITE {
		c.beginInvite()
	} else {
		c.beginOther()
	}
	c.send()
	c.arm()
}

// matches reports whether a response with head h is to this request.
func (c *Client) matches(h *wire.Head) bool {
	return c.branch == h.Via.Branch && string(c.req.Method) == h.CSeqMethod &&
		c.via.Port == int(h.Via.Port) && sameHost(c.via.Host, h.Via.Host)
}

// response takes a response that matches.
func (c *Client) response(res *sip.Response) {
	c.step(responseEvent(res.StatusCode), res)
}

func (c *Client) step(e event, res *sip.Response) {
	if c.state == nil {
		return
	}
	c.state(c, e, res)
	c.arm()
}

func (c *Client) arm() {
	if c.state != nil {
		c.alarm.arm(c.layer.now(), c.ring)
	}
}

// ring is called by the timer.
func (c *Client) ring() {
	c.layer.push(c.callID, func(*call) {
		if e, ok := c.alarm.due(c.layer.now()); ok {
			c.step(e, nil)
		}
	})
}

// send writes the request; if that fails the transaction is over (RFC 3261
// section 17.1.4).
func (c *Client) send() {
	if err := c.layer.write(c.flow, c.raw); err != nil {
		c.fail(err)
	}
}

// resend is timer A or E: once more, and again after twice the time, at most
// limit if that is not zero.
func (c *Client) resend(limit time.Duration) {
	c.layer.count.resent.Add(1)
	c.alarm.again(c.layer.now(), limit)
	c.send()
}

func (l *Layer) write(f flow, raw []byte) error {
	err := f.Send(l.ctx, raw)
	if err != nil {
		l.count.writeErrors.Add(1)
	}
	return err
}

// pass hands a response to the transaction user.
func (c *Client) pass(res *sip.Response) {
	c.final = c.final || res.StatusCode >= 200
	c.on(res, nil)
}

// fail ends the transaction with err, which the transaction user is told unless
// it has had a final response.
func (c *Client) fail(err error) {
	if c.state == nil {
		return
	}
	c.end()
	if c.final {
		return
	}
	c.final = true
	c.layer.countEnd(err)
	c.on(nil, err)
}

// end is the end of the transaction.
func (c *Client) end() {
	c.state, c.raw, c.ack = nil, nil, nil
	c.alarm.stop()
	c.layer.unwatch(c.watch, c.callID)
	c.call.clients = remove(c.call.clients, c)
	c.layer.count.clients.Add(-1)
}

// remove returns list without x, and without keeping x alive.
func remove[T comparable](list []T, x T) []T {
	return slices.DeleteFunc(list, func(y T) bool { return y == x })
}
