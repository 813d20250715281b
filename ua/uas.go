package ua

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/ua/dialog"
	"github.com/gosipua/gosipua/ua/sdp"
	"github.com/gosipua/gosipua/ua/transaction"
)

// What this user agent understands (RFC 3261 sections 20.1 and 20.5). No extension that needs Require is supported.
const (
	allow   = "INVITE, ACK, CANCEL, BYE, OPTIONS"
	sdpType = "application/sdp"
)

// known are methods that exist but are not served: they are answered 405; anything else 501 (RFC 3261 sections 21.4.6
// and 21.5.2).
func known(m sip.RequestMethod) bool {
	return slices.Contains([]sip.RequestMethod{sip.REGISTER, sip.SUBSCRIBE, sip.NOTIFY, sip.REFER, sip.INFO, sip.MESSAGE, sip.PRACK, sip.UPDATE, sip.PUBLISH}, m)
}

// onRequest takes every new request, on the queue of its Call-ID, in the order of RFC 3261 section 8.2.
func (a *Agent) onRequest(tx *transaction.Server) {
	req := tx.Request()
	if req.IsAck() {
		if c := a.callOf(req); c != nil && c.dialog != nil && c.dialog.Match(req) {
			c.acknowledged(req)
		}
		return
	}
	res := a.inspect(tx)
	if res == nil {
		res = a.dispatch(tx)
	}
	if res == nil {
		return
	}
	if err := tx.Respond(res); err != nil {
		a.log.WarnContext(a.ctx, "response was not sent", slog.Int("code", res.StatusCode), slog.Any("err", err))
	}
}

// inspect looks at what every request must satisfy: method, URI scheme, extensions. It returns the refusal, or nil.
func (a *Agent) inspect(tx *transaction.Server) *sip.Response {
	req := tx.Request()
	switch req.Method {
	case sip.INVITE, sip.BYE, sip.OPTIONS:
	default:
		res := tx.Response(sip.StatusNotImplemented, "Not Implemented")
		if known(req.Method) {
			res = tx.Response(sip.StatusMethodNotAllowed, "Method Not Allowed")
		}
		res.AppendHeader(sip.NewHeader("Allow", allow))
		return res
	}
	if req.Recipient.Scheme != "sip" { // sips: asks for TLS all the way, which is not here yet
		return tx.Response(416, "Unsupported URI Scheme")
	}
	var tags []string
	for _, h := range req.GetHeaders("Require") {
		for tag := range strings.SplitSeq(h.Value(), ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				tags = append(tags, tag)
			}
		}
	}
	if len(tags) > 0 {
		res := tx.Response(sip.StatusBadExtension, "Bad Extension")
		res.AppendHeader(sip.NewHeader("Unsupported", strings.Join(tags, ", ")))
		return res
	}
	return nil
}

func (a *Agent) dispatch(tx *transaction.Server) *sip.Response {
	req := tx.Request()
	if req.To().Params.Has("tag") {
		c := a.callOf(req)
		if c == nil || c.dialog == nil || !c.dialog.Match(req) || c.State() == Ended {
			return tx.Response(sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
		}
		return c.request(tx)
	}
	switch req.Method {
	case sip.BYE:
		return tx.Response(sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
	case sip.OPTIONS:
		acc := a.accountFor(req.Recipient)
		switch {
		case req.Recipient.User == "":
			return capabilities(tx.Response(sip.StatusOK, "OK"))
		case acc == nil:
			return tx.Response(sip.StatusNotFound, "Not Found")
		case a.busy(acc): // what an INVITE would get (RFC 3261 section 11.2)
			return capabilities(tx.Response(sip.StatusBusyHere, "Busy Here"))
		default:
			return capabilities(tx.Response(sip.StatusOK, "OK"))
		}
	default:
		return a.incoming(tx)
	}
}

// capabilities completes an answer to OPTIONS (RFC 3261 section 11.2).
func capabilities(res *sip.Response) *sip.Response {
	for _, h := range [][2]string{{"Allow", allow}, {"Accept", sdpType}, {"Accept-Encoding", "identity"}, {"Accept-Language", "en"}, {"Supported", ""}} {
		res.AppendHeader(sip.NewHeader(h[0], h[1]))
	}
	return res
}

// incoming takes an INVITE that begins a call. It returns the refusal, or nil if the call goes its way.
func (a *Agent) incoming(tx *transaction.Server) *sip.Response {
	req := tx.Request()
	acc := a.accountFor(req.Recipient)
	if acc == nil {
		return tx.Response(sip.StatusNotFound, "Not Found")
	}
	if res := checkBody(tx); res != nil {
		return res
	}
	if acc.Answer == AnswerBusy {
		return tx.Response(sip.StatusBusyHere, "Busy Here")
	}
	tag, _ := tx.Response(sip.StatusRinging, "Ringing").To().Params.Get("tag")
	d, err := dialog.NewUAS(req, tag)
	if err != nil {
		return tx.Response(sip.StatusBadRequest, "Bad Request: "+err.Error())
	}
	c := a.newCall(acc, req.CallID().Value(), tag)
	c.dialog, c.flow, c.uas, c.peer = d, tx.Flow(), tx, req.From().Address.String()
	if err := a.enter(c); err != nil {
		if errors.Is(err, ErrClosed) {
			return tx.Response(sip.StatusTemporarilyUnavailable, "Temporarily Unavailable")
		}
		c.log.InfoContext(a.ctx, "call refused", slog.Any("why", err))
		return tx.Response(sip.StatusBusyHere, "Busy Here")
	}
	if res := c.prepare(tx); res != nil {
		a.drop(c)
		c.closeStream()
		return res
	}
	c.ring(tx)
	return nil
}

// checkBody refuses what is no session description (RFC 3261 section 8.2.3).
func checkBody(tx *transaction.Server) *sip.Response {
	req := tx.Request()
	if len(req.Body()) == 0 {
		return nil
	}
	if enc := req.GetHeader("Content-Encoding"); enc != nil && !strings.EqualFold(strings.TrimSpace(enc.Value()), "identity") {
		res := tx.Response(sip.StatusUnsupportedMediaType, "Unsupported Media Type")
		res.AppendHeader(sip.NewHeader("Accept-Encoding", "identity"))
		return res
	}
	if ct := req.ContentType(); ct != nil {
		if kind, _, err := mime.ParseMediaType(ct.Value()); err == nil && kind == sdpType {
			return nil
		}
	}
	res := tx.Response(sip.StatusUnsupportedMediaType, "Unsupported Media Type")
	res.AppendHeader(sip.NewHeader("Accept", sdpType))
	return res
}

// prepare opens the media and finds out, before anything rings, whether the offer can be answered at all.
func (c *Call) prepare(tx *transaction.Server) *sip.Response {
	var err error
	if c.offer, err = offerOf(tx.Request()); err != nil {
		return notAcceptable(tx, err)
	}
	if err = c.openStream(tx.Flow()); err != nil {
		c.log.ErrorContext(c.agent.ctx, "call refused", slog.Any("err", err))
		return tx.Response(sip.StatusInternalServerError, "Server Internal Error")
	}
	if c.offer == nil {
		return nil
	}
	if _, _, err = sdp.Answer(c.offer, c.describe()); err != nil {
		return notAcceptable(tx, err)
	}
	return nil
}

// offerOf reads the offer in an INVITE; nil if it has none.
func offerOf(req *sip.Request) (*sdp.Session, error) {
	if len(req.Body()) == 0 {
		return nil, nil // an INVITE without offer is legal (RFC 3261 section 13.2.1)
	}
	return sdp.Parse(req.Body())
}

// notAcceptable refuses an offer: 488 with a Warning that says why (RFC 3261 section 20.43), 400 if it is no description.
func notAcceptable(tx *transaction.Server, err error) *sip.Response {
	if errors.Is(err, sdp.ErrBad) {
		return tx.Response(sip.StatusBadRequest, "Bad Session Description")
	}
	res := tx.Response(sip.StatusNotAcceptableHere, "Not Acceptable Here")
	host := tx.Flow().Advertised().Addr()
	res.AppendHeader(sip.NewHeader("Warning", fmt.Sprintf("305 %s %s", hostOf(host), strconv.Quote(err.Error()))))
	return res
}

// ring lets the account's policy answer, or the application decide.
func (c *Call) ring(tx *transaction.Server) {
	tx.OnCancel(func() {
		c.respond(tx, tx.Response(sip.StatusRequestTerminated, "Request Terminated"))
		c.why = "canceled by the peer"
		c.finish(nil)
	})
	tx.OnEnd(func(err error) {
		if c.State() == Ringing {
			c.finish(err) // the flow went down before we answered
		}
	})
	c.log.InfoContext(c.agent.ctx, "call comes in", slog.String("peer", c.peer), slog.String("flow", c.flow.String()))
	c.agent.events.put(Event{Kind: CallIncoming, Account: c.account.AOR, Call: c})
	if c.account.Answer == AnswerManual {
		res := tx.Response(sip.StatusRinging, "Ringing")
		res.AppendHeader(c.account.contact(tx.Flow()))
		c.respond(tx, res)
		if c.agent.cfg.RingTimeout > 0 {
			c.alarm.set(c.agent.cfg.RingTimeout, func() {
				c.why = "nobody answered"
				c.hangup(sip.StatusTemporarilyUnavailable, "Temporarily Unavailable")
			})
		}
		return
	}
	if c.account.Answer == AnswerEcho {
		c.source = "echo"
	}
	if err := c.answer(); err != nil {
		c.log.ErrorContext(c.agent.ctx, "call was not answered", slog.Any("err", err))
	}
}

// answer sends the 200 and starts the media. On an error the caller has been refused and the call is over.
func (c *Call) answer() error {
	c.alarm.stop()
	tx := c.uas
	err := c.accept(tx)
	if err == nil {
		c.established()
		c.attach()
		return nil
	}
	c.respond(tx, tx.Response(sip.StatusInternalServerError, "Server Internal Error"))
	c.finish(err)
	return err
}

// accept answers an INVITE, the first or a later one, with 200: with the answer to its offer, or with our own offer. The 200
// is then repeated until its ACK comes. An error is returned before anything has been sent.
func (c *Call) accept(tx *transaction.Server) error {
	var mine *sdp.Session
	if c.offer == nil {
		mine = sdp.Offer(c.describe())
	} else {
		answer, agreed, err := sdp.Answer(c.offer, c.describe())
		if err != nil {
			return err
		}
		if err := c.agreed(agreed); err != nil {
			return err
		}
		mine = answer
	}
	c.local, c.awaiting = mine, c.offer == nil
	res := tx.Response(sip.StatusOK, "OK")
	res.AppendHeader(c.account.contact(tx.Flow()))
	res.AppendHeader(sip.NewHeader("Allow", allow))
	res.AppendHeader(sip.NewHeader("Supported", ""))
	setBody(res, mine)
	c.respond(tx, res)
	c.dialog.Confirm()
	c.uas, c.unacked = tx, true
	c.resend = dialog.Retransmit{T1: c.agent.cfg.T1, T2: t2}
	c.repeat(res)
	return nil
}

// repeat sends a 2xx again until its ACK comes (RFC 3261 section 13.3.1.4).
func (c *Call) repeat(res *sip.Response) {
	wait, more := c.resend.Next()
	if !more {
		c.unacked = false
		c.log.WarnContext(c.agent.ctx, "no ACK came")
		c.bye(transaction.ErrTimeout)
		return
	}
	c.alarm.set(wait, func() {
		if err := c.uas.Respond(res); err != nil && !errors.Is(err, transaction.ErrTerminated) {
			c.log.DebugContext(c.agent.ctx, "2xx was not repeated", slog.Any("err", err))
		}
		c.repeat(res)
	})
}

// acknowledged takes the ACK to our 2xx.
func (c *Call) acknowledged(req *sip.Request) {
	if !c.unacked || c.uas.Request().CSeq().SeqNo != req.CSeq().SeqNo {
		return
	}
	c.alarm.stop()
	c.unacked, c.uas = false, nil
	if c.ending {
		c.bye(nil)
		return
	}
	if c.awaiting {
		c.awaiting = false
		if err := c.takeAnswer(req); err != nil {
			c.bye(err)
			return
		}
	}
	c.check()
}

// request takes a request inside the dialog.
func (c *Call) request(tx *transaction.Server) *sip.Response {
	req := tx.Request()
	if err := c.dialog.Receive(req); err != nil {
		return tx.Response(sip.StatusInternalServerError, "CSeq Out Of Order")
	}
	switch req.Method {
	case sip.BYE:
		if c.State() == Ringing && c.uas != nil { // a BYE on an early dialog (RFC 3261 section 15.1.2)
			c.respond(c.uas, c.uas.Response(sip.StatusRequestTerminated, "Request Terminated"))
		}
		// Before anybody is told: an application that was waiting for the end of its call may leave at once.
		c.respond(tx, tx.Response(sip.StatusOK, "OK"))
		c.why = "hung up by the peer"
		c.finish(nil)
		return nil
	case sip.OPTIONS:
		return capabilities(tx.Response(sip.StatusOK, "OK"))
	default:
		return c.reinvited(tx)
	}
}

// reinvited takes an INVITE inside the dialog: hold, another address of the peer, other codecs.
func (c *Call) reinvited(tx *transaction.Server) *sip.Response {
	switch {
	case c.busy != nil: // ours is under way: glare (RFC 3261 section 14.2)
		return tx.Response(sip.StatusRequestPending, "Request Pending")
	case c.unacked || c.State() != Established || c.ending:
		res := tx.Response(sip.StatusInternalServerError, "Server Internal Error")
		res.AppendHeader(sip.NewHeader("Retry-After", strconv.Itoa(rand.IntN(11)))) // RFC 3261 section 14.2: 0 to 10 s
		return res
	}
	if res := checkBody(tx); res != nil {
		return res
	}
	offer, err := offerOf(tx.Request())
	if err != nil {
		return notAcceptable(tx, err)
	}
	c.offer = offer
	if err := c.accept(tx); err != nil { // the session goes on as it was
		return notAcceptable(tx, err)
	}
	c.dialog.Refresh(tx.Request())
	c.adopt(tx.Flow())
	return nil
}
