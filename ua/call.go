package ua

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua/dialog"
	"github.com/gosipua/gosipua/ua/media"
	"github.com/gosipua/gosipua/ua/sdp"
	"github.com/gosipua/gosipua/ua/transaction"
)

// State is where in its life a Call is.
type State string

// The states of a Call.
const (
	Calling     State = "calling"     // our INVITE has no provisional response yet
	Ringing     State = "ringing"     // unanswered, on either side
	Established State = "established" // a 2xx was sent or received
	Ended       State = "ended"
)

// recovery is how long an established call waits for a usable address before it is given up.
const recovery = 60 * time.Second

// ErrState says that a method does not fit the state of the call.
var ErrState = errors.New("not possible in this state of the call")

// errNoRecovery ends a call whose host has lost every address for too long.
var errNoRecovery = fmt.Errorf("no usable address for %s", recovery)

// Call is one call, made or received. Its methods may be called from any goroutine.
type Call struct {
	agent    *Agent
	account  *account
	callID   string
	tag      string // ours
	outgoing bool
	log      *slog.Logger
	done     chan struct{}

	// What follows belongs to the queue of callID.
	dialog   *dialog.Dialog  // nil until a 2xx came, or the INVITE did
	flow     *transport.Flow // the last that signalling used
	unfollow func()          // nil before the call is established
	stream   *media.Stream
	mediaAt  netip.Addr // the local address that stream is bound to
	source   string
	player   string
	local    *sdp.Session // what we sent last, offer or answer
	auth     credentials
	rounds   int // challenges answered for the INVITE under way
	seq      uint32

	target   sip.Uri  // of an outgoing call
	busy     *attempt // the INVITE under way, initial or not
	early    string   // tag of the branch whose answer came in a provisional
	acks     map[ackKey]*ackSent
	acking   int      // ACKs that wait for a flow
	afterACK []func() // what must not overtake them

	uas      *transaction.Server // the INVITE to answer, or answered and not yet acknowledged
	offer    *sdp.Session        // theirs; nil if they sent none
	resend   dialog.Retransmit
	alarm    alarm  // ringing time-out; 2xx retransmission
	patience alarm  // when to send a re-INVITE again, or to wait for an address no longer
	unacked  bool   // our 2xx has no ACK yet
	awaiting bool   // the ACK to come brings the answer to our offer
	waits    bool   // for a usable address, as long as patience lasts
	ending   bool   // hang-up was asked for and waits for the peer
	why      string // it ended, if not for an error; "" = we hung up

	mu    sync.Mutex
	state State
	peer  string
	err   error
	stats media.Stats // the last ones, once the stream is closed
	live  *media.Stream
}

// ackKey tells the 2xx of our INVITEs apart: by CSeq number, and the tag of the branch that answered.
type ackKey struct {
	seq uint32
	tag string
}

// ackSent is kept to be written again for each retransmission of its 2xx.
type ackSent struct {
	req     *sip.Request
	hop     sip.Uri
	flow    *transport.Flow // nil before one was found
	pending bool            // one is sought
}

func (a *Agent) newCall(acc *account, callID, tag string) *Call {
	c := &Call{
		agent: a, account: acc, callID: callID, tag: tag, done: make(chan struct{}), state: Ringing,
		log:  a.log.With(slog.String("account", acc.AOR), slog.String("call_id", callID)),
		auth: credentials{user: acc.AuthUser, pass: acc.AuthPass}, source: a.cfg.Source, player: a.cfg.Player,
		acks: make(map[ackKey]*ackSent),
	}
	c.alarm.queue, c.patience.queue = c.do, c.do
	return c
}

func (c *Call) do(f func()) { c.agent.layer.Do(c.callID, f) }

// ask runs f on the queue and waits for what it says.
func (c *Call) ask(ctx context.Context, f func() error) error {
	answer := make(chan error, 1)
	c.do(func() { answer <- f() })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ID returns the Call-ID. Both ends of a call that an Agent makes to itself have the same.
func (c *Call) ID() string { return c.callID }

// Account returns the AOR the call belongs to.
func (c *Call) Account() string { return c.account.AOR }

// Outgoing says whether the call was made from here.
func (c *Call) Outgoing() bool { return c.outgoing }

// Peer returns the URI of the other side: of To for an outgoing call, of From for an incoming one.
func (c *Call) Peer() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer
}

// State returns where the call is in its life.
func (c *Call) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Done is closed when the call has ended and its BYE, if any, has been answered.
func (c *Call) Done() <-chan struct{} { return c.done }

// Err says why the call ended: nil while it lasts, or if either side hung up; a *StatusError if the peer refused it.
func (c *Call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Stats returns the counters of the media, of an ended call the last ones.
func (c *Call) Stats() media.Stats {
	c.mu.Lock()
	live, last := c.live, c.stats
	c.mu.Unlock()
	if live != nil {
		return live.Stats()
	}
	return last
}

// Answer answers an incoming call that is ringing with 200.
func (c *Call) Answer(ctx context.Context) error {
	return c.ask(ctx, func() error {
		if c.outgoing || c.State() != Ringing || c.uas == nil {
			return fmt.Errorf("answer: %w: %s", ErrState, c.State())
		}
		return c.answer()
	})
}

// Hangup ends the call in whatever state it is: CANCEL, BYE, or 486 to an incoming one that is ringing. It does not wait:
// see Done.
func (c *Call) Hangup() { c.do(func() { c.hangup(sip.StatusBusyHere, "Busy Here") }) }

// Reject is Hangup with a final response of the caller's choice for an incoming call that is ringing: a code from 300 to 699
// and a reason phrase of one line. Anything else is 486 Busy Here.
func (c *Call) Reject(code int, reason string) {
	if code < 300 || code > 699 || strings.ContainsAny(reason, "\r\n\x00") {
		code, reason = sip.StatusBusyHere, "Busy Here"
	}
	c.do(func() { c.hangup(code, reason) })
}

// SendDTMF sends digits (0-9, *, #, A-D) as telephone-events (RFC 4733).
func (c *Call) SendDTMF(ctx context.Context, digits string) error {
	return c.ask(ctx, func() error {
		if c.stream == nil || c.State() != Established {
			return fmt.Errorf("dtmf: %w: %s", ErrState, c.State())
		}
		return c.stream.SendDTMF(digits)
	})
}

func (c *Call) setState(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

// openStream gives the call its socket pair on the address that signalling uses, or moves the one it has there.
func (c *Call) openStream(f *transport.Flow) error {
	local := c.agent.mediaLocal(f)
	if c.stream == nil {
		s, err := c.agent.engine.Open(local)
		if err != nil {
			return fmt.Errorf("media: %w", err)
		}
		s.OnDTMF(func(digit rune) {
			c.agent.events.put(Event{Kind: CallDTMF, Account: c.account.AOR, Call: c, Digit: digit})
		})
		c.stream = s
		c.mu.Lock()
		c.live = s
		c.mu.Unlock()
	} else if c.mediaAt != local.Addr {
		if err := c.stream.Move(local); err != nil {
			return fmt.Errorf("media: %w", err)
		}
	}
	c.mediaAt = local.Addr
	return nil
}

// mediaLocal is where media of a call goes from: the address of its signalling, and its interface if the user named any.
func (a *Agent) mediaLocal(f *transport.Flow) media.Local {
	local := media.Local{Addr: f.Local().Addr(), Advertised: f.Advertised().Addr()}
	if !a.cfg.Transport.Policy.Interfaces.IsZero() {
		local.Device = f.Interface()
	}
	return local
}

// describe is what we bring to the next offer or answer.
func (c *Call) describe() sdp.Local {
	d := c.stream.Describe()
	d.Previous = c.local
	return d
}

// agreed starts or changes the media as the last round of offer and answer had it.
func (c *Call) agreed(a sdp.Agreed) error {
	if err := c.stream.Start(a); err != nil {
		return fmt.Errorf("media: %w", err)
	}
	return nil
}

// attach gives the stream what it plays and records. It is done once, when the call is answered. What cannot be played or
// recorded, such as a file that another call records to, is left out: the call is worth more.
func (c *Call) attach() {
	src, err := c.agent.source(c.source)
	if err == nil && src != nil {
		err = c.stream.SetSource(src)
	}
	if err != nil {
		c.log.ErrorContext(c.agent.ctx, "nothing is played", slog.String("source", c.source), slog.Any("err", err))
	}
	sink, err := c.agent.sink(c.player)
	if err == nil && sink != nil {
		err = c.stream.SetSink(sink)
	}
	if err != nil {
		c.log.ErrorContext(c.agent.ctx, "nothing is recorded", slog.String("player", c.player), slog.Any("err", err))
	}
}

// established marks the moment of the 2xx.
func (c *Call) established() {
	c.setState(Established)
	c.log.InfoContext(c.agent.ctx, "call established", slog.String("peer", c.Peer()), slog.String("flow", c.flow.String()))
	c.agent.events.put(Event{Kind: CallAnswered, Account: c.account.AOR, Call: c})
	c.adopt(c.flow)
}

// hangup ends the call from this side.
func (c *Call) hangup(code int, reason string) {
	switch state := c.State(); {
	case state == Ended || c.ending:
	case state == Established && c.unacked:
		c.ending = true // RFC 3261 section 15: no BYE before the ACK, or its time-out
		c.closeStream()
	case state == Established:
		c.bye(nil)
	case c.outgoing:
		c.ending = true
		if c.busy == nil || !c.busy.giveUp() {
			c.finish(nil)
		}
	default:
		c.respond(c.uas, c.uas.Response(code, reason))
		c.finish(nil)
	}
}

// leave is hangup when the agent goes: nothing is waited for.
func (c *Call) leave() {
	if c.State() == Established && c.unacked {
		c.unacked = false
		c.ending = false
	}
	c.hangup(sip.StatusTemporarilyUnavailable, "Temporarily Unavailable")
}

// bye ends an established call with BYE; err is why, nil if that is what the user wanted.
func (c *Call) bye(err error) {
	c.ending = true
	c.alarm.stop()
	c.patience.stop()
	c.closeStream()
	c.abandon()
	c.sendBye(c.dialog, 0, func() { c.finish(err) })
}

// abandon forgets the INVITE under way. If it has left already, a 2xx to it is still acknowledged.
func (c *Call) abandon() {
	if c.busy != nil {
		c.busy.abandon()
		c.busy = nil
	}
}

// sendBye ends a dialog, after the ACKs that are on their way; then is called when the peer has answered, or will not.
// rounds is how many challenges have been answered.
func (c *Call) sendBye(d *dialog.Dialog, rounds int, then func()) {
	if c.acking > 0 {
		c.afterACK = append(c.afterACK, func() { c.sendBye(d, rounds, then) })
		return
	}
	t := c.attempt(d)
	t.build = func(*transport.Flow, sip.Uri) (*sip.Request, error) {
		req := d.Request(sip.BYE, nil)
		return req, c.auth.authorize(req)
	}
	t.on = func(_ *transport.Flow, _ *sip.Request, res *sip.Response) {
		switch {
		case res.IsProvisional():
		case isChallenge(res) && rounds < maxChallenges && c.auth.challenged(res) == nil:
			c.sendBye(d, rounds+1, then)
		default:
			then()
		}
	}
	t.done = func(err error) {
		c.log.WarnContext(c.agent.ctx, "BYE was not answered", slog.Any("err", err))
		then()
	}
	t.start()
}

// attempt prepares a request inside the dialog.
func (c *Call) attempt(d *dialog.Dialog) *attempt {
	return &attempt{agent: c.agent, callID: c.callID, hops: []sip.Uri{c.nextHop(d)}, fallback: c.flow}
}

// closeStream ends the media and keeps its last counters.
func (c *Call) closeStream() {
	if c.stream == nil {
		return
	}
	stats := c.stream.Stats()
	c.mu.Lock()
	c.stats, c.live = stats, nil
	c.mu.Unlock()
	if err := c.stream.Close(); err != nil {
		c.log.WarnContext(c.agent.ctx, "closing media", slog.Any("err", err))
	}
	c.stream = nil
}

// finish is the end of the call, whatever it was.
func (c *Call) finish(err error) {
	if c.State() == Ended {
		return
	}
	c.alarm.stop()
	c.patience.stop()
	c.abandon()
	if c.unfollow != nil {
		c.unfollow()
	}
	c.closeStream()
	c.mu.Lock()
	c.state, c.err = Ended, err
	c.mu.Unlock()
	c.agent.drop(c)
	why := cmp.Or(c.why, "hung up here")
	if err != nil {
		why = err.Error()
	}
	c.log.InfoContext(c.agent.ctx, "call ended", slog.String("why", why))
	c.agent.events.put(Event{Kind: CallEnded, Account: c.account.AOR, Call: c, Reason: why, Err: err})
	close(c.done)
}

// respond sends a response; what goes wrong with that is for the transaction to repeat and for the log.
func (c *Call) respond(tx *transaction.Server, res *sip.Response) {
	if err := tx.Respond(res); err != nil {
		c.log.WarnContext(c.agent.ctx, "response was not sent", slog.Int("code", res.StatusCode), slog.Any("err", err))
	}
}
