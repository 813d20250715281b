package ua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua/dialog"
	"github.com/gosipua/gosipua/ua/sdp"
)

// CallOptions are the choices for one outgoing call. The zero value takes those of Config.
type CallOptions struct {
	Source string // instead of Config.Source
	Player string // instead of Config.Player
}

// ErrNoAnswer ends a call whose 2xx has no usable answer to our offer.
var ErrNoAnswer = errors.New("the peer answered without a usable session description")

// Dial calls a URI from an account, the first one if aor is empty. "sip:" may be left out, and a lone user name or number
// means one in the account's domain. It does not wait for an answer: see Config.Event and Call.Done. ctx bounds nothing but
// the call of Dial itself.
func (a *Agent) Dial(ctx context.Context, aor, uri string, opts CallOptions) (*Call, error) {
	acc, err := a.account(aor)
	if err != nil {
		return nil, err
	}
	if !strings.ContainsAny(uri, "@.:[") {
		domain := acc.aor
		domain.User = uri
		uri = domain.String()
	}
	target, err := parseTarget(uri)
	if err != nil {
		return nil, err
	}
	target.Headers = nil // no place for them in a Request-URI, nor for a method (RFC 3261 section 19.1.5)
	target.UriParams = slices.DeleteFunc(target.UriParams, named("method"))
	c := a.newCall(acc, newCallID(), newTag())
	c.outgoing, c.target, c.state, c.peer = true, target, Calling, target.String()
	if opts.Source != "" {
		c.source = opts.Source
	}
	if opts.Player != "" {
		c.player = opts.Player
	}
	if err := a.enter(c); err != nil {
		return nil, err
	}
	if err := c.ask(ctx, func() error { c.invite(); return nil }); err != nil {
		c.Hangup()
		return nil, err
	}
	return c, nil
}

// invite sends the INVITE that begins the call, or sends it again with credentials.
func (c *Call) invite() {
	t := &attempt{agent: c.agent, callID: c.callID, hops: c.account.hops(c.target)}
	t.build = c.buildInvite
	t.on = c.inviteAnswered
	t.done = func(err error) {
		if c.ending {
			err = nil
		}
		c.finish(err)
	}
	c.busy = t
	t.start()
}

func (c *Call) buildInvite(f *transport.Flow, hop sip.Uri) (*sip.Request, error) {
	if err := c.openStream(f); err != nil {
		return nil, err
	}
	c.flow = f
	c.seq++
	req := sip.NewRequest(sip.INVITE, bare(c.target))
	c.account.route(req, hop)
	callID := sip.CallIDHeader(c.callID)
	req.AppendHeader(&sip.FromHeader{DisplayName: c.account.Display, Address: identity(c.account.aor), Params: sip.HeaderParams{{K: "tag", V: c.tag}}})
	req.AppendHeader(&sip.ToHeader{Address: identity(c.target)})
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: c.seq, MethodName: sip.INVITE})
	req.AppendHeader(c.account.contact(f))
	req.AppendHeader(sip.NewHeader("Allow", allow))
	c.local = nil // no dialog yet: each attempt makes the first offer
	c.putOffer(req)
	return req, c.auth.authorize(req)
}

// putOffer adds our offer to an INVITE of ours.
func (c *Call) putOffer(req *sip.Request) {
	c.local = sdp.Offer(c.describe())
	setBody(req, c.local)
}

func setBody(m sip.Message, s *sdp.Session) {
	m.AppendHeader(sip.NewHeader("Content-Type", sdpType))
	m.SetBody(s.Marshal())
}

func (c *Call) inviteAnswered(f *transport.Flow, req *sip.Request, res *sip.Response) {
	switch {
	case res.IsProvisional():
		c.progress(res)
	case res.IsSuccess():
		c.accepted(f, req, res)
	case c.ending || c.State() == Ended: // 487 as a rule
		c.finish(nil)
	case isChallenge(res) && c.rounds < maxChallenges:
		c.rounds++
		if err := c.auth.challenged(res); err != nil {
			c.finish(fmt.Errorf("%w (%d %s)", err, res.StatusCode, res.Reason))
			return
		}
		c.invite()
	default:
		c.finish(&StatusError{res.StatusCode, res.Reason})
	}
}

// progress takes a 1xx: ringing, or early media if it brings an answer (RFC 3261 section 13.2.1, RFC 3960).
func (c *Call) progress(res *sip.Response) {
	if res.StatusCode == sip.StatusTrying || c.ending {
		return
	}
	c.setState(Ringing)
	c.agent.events.put(Event{Kind: CallProgress, Account: c.account.AOR, Call: c, Code: res.StatusCode, Reason: res.Reason})
	tag, _ := res.To().Params.Get("tag")
	if len(res.Body()) == 0 || c.early != "" || tag == "" {
		return
	}
	if err := c.takeAnswer(res); err != nil {
		c.log.WarnContext(c.agent.ctx, "early media is not used", slog.Any("err", err))
		return
	}
	c.early = tag
}

// takeAnswer reads the answer to our offer from a response or an ACK and starts the media.
func (c *Call) takeAnswer(m sip.Message) error {
	if len(m.Body()) == 0 {
		return ErrNoAnswer
	}
	answer, err := sdp.Parse(m.Body())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	agreed, err := sdp.Accept(c.local, answer)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return c.agreed(agreed)
}

// accepted takes a 2xx to the INVITE that began the call: the first one makes the dialog, the same again repeats the ACK, one
// of another branch is acknowledged and ended (RFC 3261 section 13.2.2.4).
func (c *Call) accepted(f *transport.Flow, req *sip.Request, res *sip.Response) {
	if c.repeatACK(req, res) {
		return
	}
	d, err := dialog.NewUAC(req, res)
	if err != nil {
		c.finish(err)
		return
	}
	c.ack(d, req)
	if c.dialog != nil || c.State() == Ended {
		c.log.InfoContext(c.agent.ctx, "a second branch of the call answered and is ended", slog.String("contact", d.Target().Host))
		c.sendBye(d, 0, func() {})
		return
	}
	c.dialog, c.flow, c.busy, c.rounds = d, f, nil, 0
	if c.ending {
		c.established() // the 2xx crossed our CANCEL
		c.bye(nil)
		return
	}
	if len(res.Body()) > 0 || c.early != d.ID().Remote {
		err = c.takeAnswer(res)
	}
	if err == nil {
		c.attach()
	}
	c.established() // only now: who is told asks at once for the codec
	if err != nil {
		c.bye(err)
	}
}

// ack acknowledges a 2xx along the route of its dialog, which need not be that of the INVITE.
func (c *Call) ack(d *dialog.Dialog, invite *sip.Request) {
	sent := &ackSent{req: d.ACK(invite), hop: c.nextHop(d)}
	c.acks[ackKey{invite.CSeq().SeqNo, d.ID().Remote}] = sent
	c.sendACK(sent)
}

// sendACK finds a flow and writes an ACK, for the first time or because the flow of the first time is down.
func (c *Call) sendACK(a *ackSent) {
	for a.req.RemoveHeader("Via") {
		continue // of the flow that is down
	}
	a.pending = true
	c.acking++
	c.agent.reach(c.callID, a.hop, func(f *transport.Flow, err error) {
		if err != nil && alive(c.flow) {
			f, err = c.flow, nil
		}
		a.flow, a.pending = f, false
		if err == nil {
			err = c.agent.layer.Write(f, a.req)
		}
		if err != nil {
			c.log.WarnContext(c.agent.ctx, "ACK was not sent", slog.Any("err", err))
		}
		if c.acking--; c.acking == 0 {
			next := c.afterACK
			c.afterACK = nil
			for _, f := range next {
				f()
			}
		}
	})
}

// repeatACK writes the ACK to a 2xx once more; false says that this 2xx has not been here before.
func (c *Call) repeatACK(invite *sip.Request, res *sip.Response) bool {
	tag, _ := res.To().Params.Get("tag")
	sent := c.acks[ackKey{invite.CSeq().SeqNo, tag}]
	switch {
	case sent == nil:
		return false
	case sent.pending:
	case sent.flow == nil || isDone(sent.flow):
		c.sendACK(sent)
	default:
		if err := c.agent.layer.Write(sent.flow, sent.req); err != nil {
			c.log.WarnContext(c.agent.ctx, "ACK was not sent again", slog.Any("err", err))
		}
	}
	return true
}

// reach finds a flow to the first target of a URI that has one, and gives it to f on the queue.
func (a *Agent) reach(callID string, hop sip.Uri, f func(*transport.Flow, error)) {
	go func() {
		flow, err := a.open(a.ctx, hop)
		a.layer.Do(callID, func() { f(flow, err) })
	}()
}

func (a *Agent) open(ctx context.Context, hop sip.Uri) (*transport.Flow, error) {
	targets, err := a.lookUp(ctx, hop)
	for _, t := range targets {
		var f *transport.Flow
		if f, err = a.manager.Flow(ctx, t); err == nil {
			return f, nil
		}
	}
	return nil, err
}
