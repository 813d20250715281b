package transaction

import (
	"time"

	"github.com/emiago/sipgo/sip"
)

// The INVITE client transaction: RFC 3261 section 17.1.1 with the Accepted state
// of RFC 6026 section 7.2.

// minTimerD is the least time to stay in Completed over an unreliable transport
// (RFC 3261 section 17.1.1.2): the peer's timer H may not be ours.
const minTimerD = 32 * time.Second

func (c *Client) beginInvite() {
	now := c.layer.now()
	c.state = (*Client).inviteCalling
	c.alarm.endIn(now, 64*c.layer.cfg.T1) // timer B
	if !c.flow.Proto().Reliable() {
		c.alarm.resendIn(now, c.layer.cfg.T1) // timer A
	}
}

// inviteCalling: no response yet.
func (c *Client) inviteCalling(e event, res *sip.Response) {
	switch e {
	case timerResend: // timer A: doubles without limit
		c.resend(0)
	case timerEnd: // timer B
		c.fail(ErrTimeout)
	case provisional:
		c.alarm.stop()
		c.state, c.raw = (*Client).inviteProceeding, nil
		c.pass(res)
		if c.toCancel {
			c.sendCancel()
		}
	case success:
		c.accept(res)
	case failure:
		c.refused(res)
	case retransmission, acknowledged: // a server's
	}
}

// inviteProceeding: it ends with a final response; the only timer is the one of a
// CANCEL.
func (c *Client) inviteProceeding(e event, res *sip.Response) {
	switch e {
	case timerEnd: // RFC 3261 section 9.1
		c.fail(errCanceled)
	case provisional:
		c.pass(res)
	case success:
		c.accept(res)
	case failure:
		c.refused(res)
	case timerResend, retransmission, acknowledged:
	}
}

// accept is the way to Accepted.
func (c *Client) accept(res *sip.Response) {
	c.state, c.raw = (*Client).inviteAccepted, nil
	c.alarm.endIn(c.layer.now(), 64*c.layer.cfg.T1) // timer M
	c.pass(res)
}

// inviteAccepted: further 2xx are passed up, each of them.
func (c *Client) inviteAccepted(e event, res *sip.Response) {
	switch e {
	case success:
		c.pass(res)
	case timerEnd: // timer M
		c.end()
	case timerResend, provisional, failure, retransmission, acknowledged:
	}
}

// refused is the way to Completed: the failure is acknowledged first.
func (c *Client) refused(res *sip.Response) {
	c.raw = nil
	c.ack, _ = c.layer.encode(newACK(c.req, res)) // of parts that were written or parsed before
	c.acknowledge()
	if c.flow.Proto().Reliable() { // timer D is zero
		c.end()
	} else {
		c.state = (*Client).inviteCompleted
		c.alarm.endIn(c.layer.now(), max(minTimerD, 64*c.layer.cfg.T1)) // timer D
	}
	c.pass(res)
}

// acknowledge sends the ACK to a failure. If that cannot be sent, the peer will
// send the failure again.
func (c *Client) acknowledge() { _ = c.layer.write(c.flow, c.ack) }

// inviteCompleted: each copy of the failure gets its ACK.
func (c *Client) inviteCompleted(e event, _ *sip.Response) {
	switch e {
	case failure:
		c.acknowledge()
	case timerEnd: // timer D
		c.end()
	case timerResend, provisional, success, retransmission, acknowledged:
	}
}

// cancel is Client.Cancel on the queue.
func (c *Client) cancel() {
	if c.state == nil || c.final || c.toCancel {
		return
	}
	c.toCancel = true
	if c.raw == nil { // no longer calling
		c.sendCancel()
		c.arm()
	}
}

// sendCancel starts the transaction of the CANCEL, which has the branch of its
// INVITE. What becomes of it changes nothing for the INVITE, whose end is set
// (RFC 3261 section 9.1).
func (c *Client) sendCancel() {
	c.alarm.endIn(c.layer.now(), 64*c.layer.cfg.T1)
	x, err := c.layer.newClient(c.flow, newCancel(c.req), c.branch, func(*sip.Response, error) {})
	if err == nil { // it is made of parts that were written before
		x.begin(c.call)
	}
}
