package ua

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

const (
	// retryBase and retryMax bound the wait after a REGISTER that failed: doubling, with a random half, as RFC 5626 section
	// 4.5 has it but with a shorter beginning and end, since a person waits for this phone.
	retryBase = 4 * time.Second
	retryMax  = 5 * time.Minute
	// calm is the least time between a binding and the next REGISTER that a lost connection causes, and between two tries
	// to open one: a registrar that closes each connection, or refuses it, must not start a storm.
	calm = 4 * time.Second
	// settle is how long a registration may be without any usable address before that is worth a word.
	settle = 500 * time.Millisecond
	// retryAfterMax is the longest Retry-After that is believed: a registrar that is up again after a day should not find the
	// phone asleep for the week that it once named.
	retryAfterMax = time.Hour
	// maxChallenges bounds the rounds of one REGISTER or INVITE with a peer that challenges for ever.
	maxChallenges = 4
)

// registration keeps one binding alive (RFC 3261 section 10). All of it belongs to the queue of its Call-ID, which
// stays the same for its life, as section 10.2 asks.
type registration struct {
	agent   *Agent
	account *account
	log     *slog.Logger

	callID, tag string
	seq         uint32
	registrar   sip.Uri
	hops        []sip.Uri
	auth        credentials
	expires     time.Duration // to ask for; a 423 raises it

	flow     *transport.Flow // the last REGISTER went over it, answered or not
	unfollow func()
	contact  sip.Uri       // of the binding; zero Host: there is none
	asked    sip.Uri       // of a REGISTER that has no answer
	stale    []sip.Uri     // bindings of addresses that are gone, which the registrar may still have
	granted  time.Duration // how long the binding lasts
	bound    time.Time     // when it was last made

	busy      *attempt  // the REGISTER under way, to bind or to remove
	again     bool      // another one is due after it
	tried     time.Time // when the last one began
	rounds    int       // times it was sent in other words
	fails     int       // in a row
	losses    int       // connections in a row that were closed soon
	waiting   bool      // nothing could be sent: the next change below is a reason to try again
	complaint string    // what was last reported
	leaving   bool
	alarm     alarm
	left      chan struct{} // closed when there is nothing more to say to the registrar
}

func newRegistration(a *Agent, acc *account) (*registration, error) {
	registrar := acc.aor
	if acc.Registrar != "" {
		var err error
		if registrar, err = parseTarget(acc.Registrar); err != nil {
			return nil, fmt.Errorf("registrar of %s: %w", acc.AOR, err)
		}
	}
	registrar.User = "" // RFC 3261 section 10.2: no userinfo in the Request-URI
	r := &registration{
		agent: a, account: acc, log: a.log.With(slog.String("account", acc.AOR)),
		callID: newCallID(), tag: newTag(), registrar: registrar, hops: acc.hops(registrar),
		auth: credentials{user: acc.AuthUser, pass: acc.AuthPass}, expires: acc.Expires, left: make(chan struct{}),
	}
	r.alarm.queue = r.do
	return r, nil
}

func (r *registration) do(f func()) { r.agent.layer.Do(r.callID, f) }

// begin starts a REGISTER, or has it begin as soon as no other is under way: RFC 3261 section 10.2 allows one at a time.
func (r *registration) begin() {
	r.again = r.busy != nil
	if r.again || r.leaving {
		return
	}
	r.alarm.stop()
	r.waiting, r.rounds, r.tried = false, 0, time.Now()
	r.register()
}

func (r *registration) register() {
	t := &attempt{agent: r.agent, callID: r.callID, hops: r.hops}
	t.build = func(f *transport.Flow, hop sip.Uri) (*sip.Request, error) {
		r.forget(r.asked) // it may have been bound though no answer came
		r.asked = r.account.contact(f).Address
		return r.request(hop, r.expires, r.asked)
	}
	t.on = r.answered
	t.done = r.failed
	r.busy = t
	t.start()
}

// answered takes a response to the REGISTER under way.
func (r *registration) answered(f *transport.Flow, _ *sip.Request, res *sip.Response) {
	switch {
	case res.IsProvisional():
		return
	case res.IsSuccess():
		r.busy = nil
		r.succeeded(f, res)
		return
	}
	r.asked = sip.Uri{} // not bound
	if r.rounds++; r.rounds <= maxChallenges && !r.leaving {
		least := headerSeconds(res, "Min-Expires")
		switch {
		case isChallenge(res):
			if err := r.auth.challenged(res); err != nil {
				r.failed(err)
				return
			}
			r.register()
			return
		case res.StatusCode == sip.StatusIntervalToBrief && least > r.expires:
			r.expires = least
			r.register()
			return
		}
	}
	r.refused(f, res)
}

// succeeded arms the refresh and looks at what else the registrar has of us.
func (r *registration) succeeded(f *transport.Flow, res *sip.Response) {
	r.granted = grantedTo(r.asked, res, r.expires)
	if !sameContact(r.contact, r.asked) {
		r.forget(r.contact)
	}
	news := r.fails > 0 || r.bound.IsZero() || r.flow != f
	r.use(f)
	r.contact, r.asked, r.bound, r.fails, r.again, r.complaint = r.asked, sip.Uri{}, time.Now(), 0, false, ""
	if news {
		r.log.InfoContext(r.agent.ctx, "registered", slog.String("contact", r.contact.String()), slog.Duration("expires", r.granted), slog.String("flow", f.String()))
		r.agent.events.put(Event{Kind: Registered, Account: r.account.AOR, Contact: r.contact.String(), Expires: r.granted})
	}
	if r.leaving {
		r.unbind()
		return
	}
	r.alarm.set(refreshAfter(r.granted), r.begin)
	r.removeStale(res)
}

// refused takes a final response that a REGISTER in other words would not change.
func (r *registration) refused(f *transport.Flow, res *sip.Response) {
	r.busy = nil
	r.use(f)
	r.fails++
	wait := min(headerSeconds(res, "Retry-After"), retryAfterMax)
	r.report(&StatusError{res.StatusCode, res.Reason}, max(r.backoff(), wait))
}

// failed takes the end of a REGISTER without a usable answer.
func (r *registration) failed(err error) {
	t := r.busy
	r.busy = nil
	if t.flow != nil {
		r.use(t.flow)
	}
	switch {
	case r.leaving:
		r.unbind()
		return
	case !t.sent && t.outdated():
		r.begin()
		return
	}
	// Where nothing could even be sent, a change of addresses or links is a reason not to wait for the alarm.
	r.waiting = !t.sent
	if noAddress(err) {
		// One address giving way to another leaves a moment without any, of which nobody wants to read.
		r.tried = time.Time{}
		r.alarm.set(settle, func() { r.later(err) })
		return
	}
	r.later(err)
}

// later reports a failure and tries again after a while.
func (r *registration) later(err error) {
	r.fails++
	r.report(err, r.backoff())
}

func (r *registration) report(err error, wait time.Duration) {
	if r.leaving {
		r.unbind()
		return
	}
	// That there still is no address is worth one word, however often something else changes.
	if text := err.Error(); !noAddress(err) || text != r.complaint {
		r.complaint = text
		r.log.WarnContext(r.agent.ctx, "not registered", slog.Any("err", err), slog.Duration("retry", wait))
		r.agent.events.put(Event{Kind: RegisterFailed, Account: r.account.AOR, Err: err, Retry: wait})
	}
	r.alarm.set(wait, r.begin)
}

func (r *registration) backoff() time.Duration {
	d := retryMax
	if r.fails < 10 {
		d = min(retryMax, retryBase<<(r.fails-1))
	}
	return d/2 + rand.N(d/2)
}

// use makes f the flow whose end is a reason to register anew.
func (r *registration) use(f *transport.Flow) {
	if r.flow == f {
		return
	}
	if r.flow != nil {
		r.unfollow()
	}
	r.flow, r.unfollow = f, r.agent.follow(f, func() { r.do(r.check) })
}

// check is called when something below changed: the flow of the binding is gone, or there may be an address again.
func (r *registration) check() {
	switch {
	case r.leaving || r.busy != nil: // whatever ends that looks again
	case r.waiting:
		r.beginIn(calm - time.Since(r.tried))
	case r.flow != nil && isDone(r.flow):
		err := r.flow.Err()
		r.log.InfoContext(r.agent.ctx, "flow of the registration is gone", slog.String("flow", r.flow.String()), slog.Any("why", err))
		r.unfollow()
		r.flow = nil
		if errors.Is(err, transport.ErrAddressGone) {
			r.begin()
			return
		}
		r.beginIn(r.calmDown())
	}
}

// beginIn begins after a while, at once if that is not positive.
func (r *registration) beginIn(wait time.Duration) {
	if wait > 0 {
		r.alarm.set(wait, r.begin)
		return
	}
	r.begin()
}

// calmDown is how long to leave a registrar alone that has closed the connection: each time that happens within a minute of
// the answer, twice as long, yet never longer than the binding lasts.
func (r *registration) calmDown() time.Duration {
	since := time.Since(r.bound)
	if since > time.Minute {
		r.losses = 0
	}
	wait := min(calm<<r.losses, retryMax, refreshAfter(r.granted))
	r.losses = min(r.losses+1, 10)
	return wait - since
}
