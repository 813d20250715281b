package ua

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

// adopt makes f the flow of the call and watches over it.
func (c *Call) adopt(f *transport.Flow) {
	if c.flow == f && c.unfollow != nil {
		return
	}
	if c.unfollow != nil {
		c.unfollow()
	}
	c.flow, c.unfollow = f, c.agent.follow(f, func() { c.do(c.check) })
}

// check is called when something below changed. If the address under an established call is gone, the call moves.
func (c *Call) check() {
	if !c.idle() || !c.stranded() {
		return
	}
	if !c.waits {
		c.log.InfoContext(c.agent.ctx, "the address under the call is gone", slog.String("local", c.mediaAt.String()))
	}
	c.mediaAt = netip.Addr{} // even if the address is back by now, its old socket may be tied to an interface that is not
	c.rounds = 0
	c.reinvite()
}

// idle says whether a re-INVITE may be sent: none is under way, in either direction (RFC 3261 section 14.1).
func (c *Call) idle() bool {
	return c.State() == Established && !c.ending && c.busy == nil && !c.unacked
}

// stranded says whether a local address of the call went away, that of its signalling or that of its media. That a peer
// closed its connection does not count: the next request opens another.
func (c *Call) stranded() bool {
	if isDone(c.flow) && (errors.Is(c.flow.Err(), transport.ErrAddressGone) || !c.agent.kept(c.flow.Local().Addr())) {
		return true
	}
	return !c.agent.kept(c.mediaAt)
}

// kept says whether a local address is there and may be used on.
func (a *Agent) kept(local netip.Addr) bool {
	local = local.WithZone("")
	return slices.ContainsFunc(a.manager.Snapshot().Addrs, func(s transport.AddrState) bool {
		return s.Addr.Addr == local && s.Verdict.Keep
	})
}

// reinvite tells the peer where we are now: media moves first, then one INVITE with a new Contact and a new offer
// (RFC 3261 section 14.1, RFC 3264 section 8.3.1).
func (c *Call) reinvite() {
	if !c.idle() {
		return
	}
	t := c.attempt(c.dialog)
	t.build = func(f *transport.Flow, _ sip.Uri) (*sip.Request, error) {
		if err := c.openStream(f); err != nil {
			return nil, err
		}
		c.waits = false
		c.patience.stop()
		req := c.dialog.Request(sip.INVITE, c.account.contact(f))
		req.AppendHeader(sip.NewHeader("Allow", allow))
		c.putOffer(req)
		return req, c.auth.authorize(req)
	}
	t.on = c.reinviteAnswered
	t.done = func(err error) {
		if c.busy != t {
			return // the call is over
		}
		c.busy = nil
		switch {
		case t.sent:
			c.bye(err) // RFC 3261 section 14.1: unanswered, as 408
		case t.outdated():
			c.check()
		default:
			c.strandedFor(err)
		}
	}
	c.busy = t
	t.start()
}

// strandedFor waits for an address: the next change of them calls check. A call is not kept for ever without one.
func (c *Call) strandedFor(err error) {
	if c.waits {
		return
	}
	c.waits = true
	c.log.WarnContext(c.agent.ctx, "the call waits for a usable address", slog.Any("err", err))
	c.patience.set(recovery, func() { c.finish(errNoRecovery) })
}

func (c *Call) reinviteAnswered(f *transport.Flow, req *sip.Request, res *sip.Response) {
	if res.IsProvisional() || res.IsSuccess() && c.repeatACK(req, res) {
		return
	}
	over := c.busy == nil // hung up meanwhile, by either side
	c.busy = nil
	switch {
	case over && res.IsSuccess():
		c.ack(c.dialog, req) // else it would be repeated for 32 s
	case over:
	case res.IsSuccess():
		c.moved(f, req, res)
	case isChallenge(res) && c.rounds < maxChallenges && c.auth.challenged(res) == nil:
		c.rounds++
		c.reinvite()
	case res.StatusCode == sip.StatusRequestPending && c.rounds < maxChallenges:
		c.reinviteIn(glare(c.outgoing), f)
	case len(res.GetHeaders("Retry-After")) > 0 && c.rounds < maxChallenges: // 500, to a re-INVITE that comes too soon (section 14.2)
		c.reinviteIn(min(headerSeconds(res, "Retry-After"), recovery), f)
	case res.StatusCode == sip.StatusCallTransactionDoesNotExists:
		c.finish(&StatusError{res.StatusCode, res.Reason}) // the peer does not know the call any more
	case res.StatusCode == sip.StatusRequestTimeout: // as if unanswered (section 14.1)
		c.bye(&StatusError{res.StatusCode, res.Reason})
	default:
		// RFC 3261 section 14.1: the session goes on as it was. Our media leaves from the new address all the same.
		c.adopt(f)
		c.log.WarnContext(c.agent.ctx, "the peer refused our new address", slog.Int("code", res.StatusCode), slog.String("why", res.Reason))
	}
}

// reinviteIn says the same again after a while. Until then the call stands on the flow that it was said over: a change
// elsewhere is no reason to say it sooner.
func (c *Call) reinviteIn(wait time.Duration, f *transport.Flow) {
	c.rounds++
	c.adopt(f)
	c.patience.set(wait, c.reinvite)
}

func (c *Call) moved(f *transport.Flow, req *sip.Request, res *sip.Response) {
	c.dialog.Answered(res)
	c.adopt(f)
	c.ack(c.dialog, req)
	if err := c.takeAnswer(res); err != nil {
		c.bye(err)
		return
	}
	c.log.InfoContext(c.agent.ctx, "call moved", slog.String("flow", f.String()))
	c.agent.events.put(Event{Kind: CallMoved, Account: c.account.AOR, Call: c})
	c.check()
}

// glare is how long to wait after a 491: the owner of the Call-ID longer than the other (RFC 3261 section 14.1).
func glare(owner bool) time.Duration {
	const unit = 10 * time.Millisecond
	if owner {
		return 2100*time.Millisecond + time.Duration(rand.IntN(190))*unit
	}
	return time.Duration(rand.IntN(200)) * unit
}
