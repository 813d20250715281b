package ua

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

const (
	// retryBase and retryMax bound the wait after a REGISTER that failed: doubling, with a random half, as RFC 5626 section
	// 4.5 has it but with a shorter beginning and end, since a person waits for this phone.
	retryBase = 4 * time.Second
	retryMax  = 5 * time.Minute
	// calm is the least time between a binding and the next REGISTER that a lost connection causes: a registrar that closes
	// each connection after answering must not start a storm.
	calm = 4 * time.Second
	// settle is how long a registration may be without any usable address before that is worth a word.
	settle = 500 * time.Millisecond
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

	flow    *transport.Flow // of the binding
	contact sip.Uri         // of the binding; zero Host: there is none
	stale   []sip.Uri       // bindings of dead addresses that the registrar still listed
	bound   time.Time       // when the binding was last made
	busy    *attempt        // the REGISTER under way
	rounds  int             // challenges answered in it
	fails   int
	waiting bool // the last try found no usable address: the next change is a reason to try again
	leaving bool
	alarm   alarm
	left    chan struct{} // closed when there is nothing more to say to the registrar
}

func newRegistration(a *Agent, acc *account) (*registration, error) {
	uri := acc.Registrar
	if uri == "" {
		uri = acc.aor.Scheme + ":" + acc.aor.Host
		if acc.aor.Port != 0 {
			uri += ":" + strconv.Itoa(acc.aor.Port)
		}
	}
	registrar, err := parseTarget(uri)
	if err != nil {
		return nil, fmt.Errorf("registrar of %s: %w", acc.AOR, err)
	}
	r := &registration{
		agent: a, account: acc, log: a.log.With(slog.String("account", acc.AOR)),
		callID: newCallID(), tag: newTag(), registrar: registrar, hops: acc.hops(registrar),
		auth: credentials{user: acc.AuthUser, pass: acc.AuthPass}, expires: acc.Expires, left: make(chan struct{}),
	}
	r.registrar.User = "" // RFC 3261 section 10.2: no userinfo in the Request-URI
	r.alarm.queue = r.do
	return r, nil
}

// hops is where requests to uri go: through the outbound proxies, in order, or straight there.
func (acc *account) hops(uri sip.Uri) []sip.Uri {
	var hops []sip.Uri
	for _, proxy := range acc.Outbound {
		if u, err := parseTarget(proxy); err == nil { // checked in New
			hops = append(hops, u)
		}
	}
	if len(hops) == 0 {
		hops = append(hops, uri)
	}
	return hops
}

// route adds the proxy that a request goes through (RFC 3261 section 8.1.2).
func (acc *account) route(req *sip.Request, hop sip.Uri) {
	if len(acc.Outbound) == 0 {
		return
	}
	u := *hop.Clone()
	if !u.UriParams.Has("lr") {
		u.UriParams.Add("lr", "")
	}
	req.AppendHeader(&sip.RouteHeader{Address: u})
}

func (r *registration) do(f func()) { r.agent.layer.Do(r.callID, f) }

// begin starts a REGISTER unless one is under way: RFC 3261 section 10.2 allows one at a time.
func (r *registration) begin() {
	if r.busy != nil || r.leaving {
		return
	}
	r.waiting, r.rounds = false, 0
	r.register(r.expires)
}

func (r *registration) register(expires time.Duration) {
	t := &attempt{agent: r.agent, callID: r.callID, hops: r.hops}
	t.build = func(f *transport.Flow, hop sip.Uri) (*sip.Request, error) {
		return r.request(r.account.contact(f), hop, expires)
	}
	t.on = r.answered
	t.done = r.failed
	r.busy = t
	t.start()
}

// request builds a REGISTER that binds, or with expires 0 removes, a contact.
func (r *registration) request(contact *sip.ContactHeader, hop sip.Uri, expires time.Duration) (*sip.Request, error) {
	r.seq++
	req := sip.NewRequest(sip.REGISTER, *r.registrar.Clone())
	r.account.route(req, hop)
	callID := sip.CallIDHeader(r.callID)
	req.AppendHeader(&sip.FromHeader{DisplayName: r.account.Display, Address: *r.account.aor.Clone(), Params: sip.HeaderParams{{K: "tag", V: r.tag}}})
	req.AppendHeader(&sip.ToHeader{Address: *r.account.aor.Clone()})
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: r.seq, MethodName: sip.REGISTER})
	contact.Params = sip.HeaderParams{{K: "expires", V: strconv.Itoa(int(expires.Seconds()))}}
	req.AppendHeader(contact)
	req.AppendHeader(sip.NewHeader("Allow", allow))
	return req, r.auth.authorize(req)
}

// answered takes a response to the REGISTER under way.
func (r *registration) answered(f *transport.Flow, req *sip.Request, res *sip.Response) {
	switch {
	case res.IsProvisional():
	case res.IsSuccess():
		r.busy = nil
		r.succeeded(f, req.Contact().Address, res)
	case isChallenge(res):
		r.rounds++
		if err := r.auth.challenged(res); err != nil {
			r.failed(err)
			return
		}
		if r.rounds > maxChallenges {
			r.failed(&StatusError{res.StatusCode, res.Reason})
			return
		}
		r.register(r.expires)
	case res.StatusCode == sip.StatusIntervalToBrief:
		least := headerSeconds(res, "Min-Expires")
		if least <= r.expires {
			r.failed(&StatusError{res.StatusCode, res.Reason})
			return
		}
		r.expires = least
		r.register(r.expires)
	default:
		r.refused(res)
	}
}

// succeeded arms the refresh and looks at what else the registrar has of us.
func (r *registration) succeeded(f *transport.Flow, contact sip.Uri, res *sip.Response) {
	granted := grantedTo(contact, res, r.expires)
	moved := r.contact.String() != contact.String()
	if moved && r.contact.Host != "" {
		r.stale = append(r.stale, r.contact)
	}
	again := r.fails > 0 || r.bound.IsZero() || r.flow != f
	if r.flow != f {
		go r.follow(f)
	}
	r.flow, r.contact, r.bound, r.fails = f, contact, time.Now(), 0
	r.alarm.set(refreshAfter(granted), r.begin)
	if again {
		r.log.InfoContext(r.agent.ctx, "registered", slog.String("contact", contact.String()), slog.Duration("expires", granted), slog.String("flow", f.String()))
		r.agent.events.put(Event{Kind: Registered, Account: r.account.AOR, Contact: contact.String(), Expires: granted})
	}
	if r.leaving {
		r.leave()
		return
	}
	r.removeStale(res)
}

// follow tells the queue when the flow under the binding ends.
func (r *registration) follow(f *transport.Flow) {
	select {
	case <-f.Done():
		r.do(func() {
			if r.flow == f {
				r.check()
			}
		})
	case <-r.agent.ctx.Done():
	}
}

// refreshAfter is when to renew a binding that was granted for d: with a tenth left, and at least 5 s before its end if it
// is that long.
func refreshAfter(d time.Duration) time.Duration {
	after := d * 9 / 10
	if d > 10*time.Second {
		after = min(after, d-5*time.Second)
	}
	return max(after, time.Second)
}

// grantedTo reads from a 200 how long the binding lasts: the expires of our Contact, the Expires header, or what we asked
// for (RFC 3261 section 10.2.4).
func grantedTo(contact sip.Uri, res *sip.Response, asked time.Duration) time.Duration {
	for _, c := range contacts(res) {
		if v, ok := c.Params.Get("expires"); ok && sameContact(c.Address, contact) {
			if n, err := strconv.Atoi(v); err == nil && n > 0 {
				return time.Duration(n) * time.Second
			}
		}
	}
	if d := headerSeconds(res, "Expires"); d > 0 {
		return d
	}
	return asked
}

func contacts(m sip.Message) []*sip.ContactHeader {
	var cs []*sip.ContactHeader
	for _, h := range m.GetHeaders("contact") {
		if c, ok := h.(*sip.ContactHeader); ok && !c.Address.Wildcard {
			cs = append(cs, c)
		}
	}
	return cs
}

// sameContact compares what we put into a Contact with what a registrar gives back; it may add parameters of its own.
func sameContact(x, y sip.Uri) bool {
	tx, _ := x.UriParams.Get("transport")
	ty, _ := y.UriParams.Get("transport")
	return x.User == y.User && strings.EqualFold(x.Host, y.Host) && x.Port == y.Port && strings.EqualFold(tx, ty)
}

// removeStale removes the binding of an address that is gone, if the registrar still lists it; one that was replaced by
// itself is not bothered. It is removed by its own Contact: calls would go on ringing a dead address otherwise.
func (r *registration) removeStale(res *sip.Response) {
	listed := contacts(res)
	r.stale = slices.DeleteFunc(r.stale, func(u sip.Uri) bool {
		return sameContact(u, r.contact) || !slices.ContainsFunc(listed, func(c *sip.ContactHeader) bool { return sameContact(c.Address, u) })
	})
	for _, old := range r.stale {
		r.remove(old, 0, func(err error) {
			if err != nil {
				r.log.WarnContext(r.agent.ctx, "the binding of a dead address stays until it expires", slog.String("contact", old.String()), slog.Any("err", err))
				return
			}
			r.log.InfoContext(r.agent.ctx, "removed the binding of a dead address", slog.String("contact", old.String()))
		})
	}
	r.stale = nil
}

// refused takes a final response that a REGISTER in other words would not change.
func (r *registration) refused(res *sip.Response) {
	err := &StatusError{res.StatusCode, res.Reason}
	r.busy = nil
	r.fails++
	wait := max(r.backoff(), headerSeconds(res, "Retry-After"))
	r.report(err, wait)
}

// failed takes the end of a REGISTER without a usable answer.
func (r *registration) failed(err error) {
	t := r.busy
	r.busy = nil
	if r.leaving {
		r.finish()
		return
	}
	if !t.sent && t.outdated() {
		r.begin()
		return
	}
	// Where nothing could even be sent, a change of addresses or links is a reason not to wait for the alarm.
	r.waiting = !t.sent
	if noAddress(err) {
		// One address giving way to another leaves a moment without any, of which nobody wants to read.
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
		r.finish()
		return
	}
	r.log.WarnContext(r.agent.ctx, "not registered", slog.Any("err", err), slog.Duration("retry", wait))
	r.agent.events.put(Event{Kind: RegisterFailed, Account: r.account.AOR, Err: err, Retry: wait})
	r.alarm.set(wait, r.begin)
}

func (r *registration) backoff() time.Duration {
	d := retryMax
	if r.fails < 10 {
		d = min(retryMax, retryBase<<(r.fails-1))
	}
	return d/2 + rand.N(d/2)
}

// check is called when something below changed: the flow of the binding is gone, or there may be an address again.
func (r *registration) check() {
	switch {
	case r.leaving || r.busy != nil:
	case r.waiting:
		r.begin()
	case r.flow != nil && isDone(r.flow):
		err := r.flow.Err()
		r.log.InfoContext(r.agent.ctx, "flow of the registration is gone", slog.String("flow", r.flow.String()), slog.Any("why", err))
		r.flow = nil
		if since := time.Since(r.bound); since < calm && !errors.Is(err, transport.ErrAddressGone) {
			r.alarm.set(calm-since, r.begin)
			return
		}
		r.begin()
	}
}

// leave removes the binding, with the Contact that was bound (RFC 3261 section 10.2.2).
func (r *registration) leave() {
	r.leaving = true
	r.alarm.stop()
	if r.busy != nil {
		// A REGISTER is unanswered. If it is answered in time the binding is removed then; without one before there is nothing
		// to remove.
		if r.contact.Host == "" {
			return
		}
		r.busy.stop()
		r.busy = nil
	}
	if r.contact.Host == "" {
		r.finish()
		return
	}
	contact := r.contact
	r.contact = sip.Uri{}
	r.remove(contact, 0, func(err error) {
		if err != nil {
			r.log.WarnContext(r.agent.ctx, "the binding stays until it expires", slog.Any("err", err))
		} else {
			r.log.InfoContext(r.agent.ctx, "unregistered", slog.String("contact", contact.String()))
			r.agent.events.put(Event{Kind: Unregistered, Account: r.account.AOR, Contact: contact.String()})
		}
		r.finish()
	})
}

// remove ends the binding of one contact, and then says whether that worked.
func (r *registration) remove(contact sip.Uri, rounds int, then func(error)) {
	t := &attempt{agent: r.agent, callID: r.callID, hops: r.hops}
	t.build = func(_ *transport.Flow, hop sip.Uri) (*sip.Request, error) {
		return r.request(&sip.ContactHeader{Address: *contact.Clone()}, hop, 0)
	}
	t.on = func(_ *transport.Flow, _ *sip.Request, res *sip.Response) {
		switch {
		case res.IsProvisional():
		case res.IsSuccess():
			then(nil)
		case isChallenge(res) && rounds < maxChallenges:
			if err := r.auth.challenged(res); err != nil {
				then(err)
				return
			}
			r.remove(contact, rounds+1, then)
		default:
			then(&StatusError{res.StatusCode, res.Reason})
		}
	}
	t.done = then
	t.start()
}

func isChallenge(res *sip.Response) bool {
	return res.StatusCode == sip.StatusUnauthorized || res.StatusCode == sip.StatusProxyAuthRequired
}

func (r *registration) finish() {
	select {
	case <-r.left:
	default:
		close(r.left)
	}
}

func isDone(f *transport.Flow) bool {
	select {
	case <-f.Done():
		return true
	default:
		return false
	}
}

// headerSeconds reads a header that is a number of seconds, with or without a comment or parameters behind it; 0 if there
// is none.
func headerSeconds(m sip.Message, name string) time.Duration {
	hs := m.GetHeaders(name)
	if len(hs) == 0 {
		return 0
	}
	digits, _, _ := strings.Cut(strings.TrimSpace(hs[0].Value()), " ")
	digits, _, _ = strings.Cut(digits, ";")
	digits, _, _ = strings.Cut(digits, "(")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
