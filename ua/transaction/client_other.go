package transaction

import "github.com/emiago/sipgo/sip"

// The client transaction of every other request: RFC 3261 section 17.1.2 and
// figure 6.

func (c *Client) beginOther() {
	now := c.layer.now()
	c.state = (*Client).otherTrying
	c.alarm.endIn(now, 64*c.layer.cfg.T1) // timer F
	if !c.flow.Proto().Reliable() {
		c.alarm.resendIn(now, c.layer.cfg.T1) // timer E
	}
}

// otherTrying: no response yet.
func (c *Client) otherTrying(e event, res *sip.Response) {
	switch e {
	case timerResend: // timer E
		c.resend(c.layer.cfg.T2)
	case timerEnd: // timer F
		c.fail(ErrTimeout)
	case provisional:
		c.state = (*Client).otherProceeding
		c.pass(res)
	case success, failure:
		c.complete(res)
	case retransmission, acknowledged: // a server's
	}
}

// otherProceeding: the peer has the request, but its answer must be asked for.
func (c *Client) otherProceeding(e event, res *sip.Response) {
	switch e {
	case timerResend: // timer E, from now on at T2
		c.alarm.every = c.layer.cfg.T2
		c.resend(c.layer.cfg.T2)
	case timerEnd: // timer F
		c.fail(ErrTimeout)
	case provisional:
		c.pass(res)
	case success, failure:
		c.complete(res)
	case retransmission, acknowledged:
	}
}

// complete is the way to Completed.
func (c *Client) complete(res *sip.Response) {
	c.raw = nil
	if c.flow.Proto().Reliable() { // timer K is zero
		c.end()
	} else {
		c.state = (*Client).otherCompleted
		c.alarm.endIn(c.layer.now(), c.layer.cfg.T4) // timer K
	}
	c.pass(res)
}

// otherCompleted absorbs copies of the final response.
func (c *Client) otherCompleted(e event, _ *sip.Response) {
	if e == timerEnd { // timer K
		c.end()
	}
}
