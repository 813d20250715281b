package ua

import (
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

// forget notes that a binding is to be removed, once the registrar is heard of again.
func (r *registration) forget(contact sip.Uri) {
	known := func(u sip.Uri) bool { return sameContact(u, contact) }
	if contact.Host != "" && !slices.ContainsFunc(r.stale, known) {
		r.stale = append(r.stale, contact)
	}
}

// removeStale removes the bindings of addresses that are gone, if the registrar still lists them; one that was replaced by
// itself is not bothered. Each is removed by its own Contact: calls would go on ringing a dead address otherwise.
func (r *registration) removeStale(res *sip.Response) {
	listed := contacts(res)
	r.stale = slices.DeleteFunc(r.stale, func(u sip.Uri) bool {
		return sameContact(u, r.contact) || !slices.ContainsFunc(listed, func(c *sip.ContactHeader) bool { return sameContact(c.Address, u) })
	})
	if len(r.stale) == 0 {
		return
	}
	r.remove(r.stale, 0, func(err error) {
		var refused *StatusError
		if err == nil {
			r.log.InfoContext(r.agent.ctx, "removed the binding of a dead address", slog.String("contact", join(r.stale)))
		} else {
			r.log.WarnContext(r.agent.ctx, "the binding of a dead address stays for now", slog.String("contact", join(r.stale)), slog.Any("err", err))
		}
		if err == nil || errors.As(err, &refused) {
			r.stale = nil
		}
		switch {
		case r.leaving:
			r.unbind()
		case r.again:
			r.begin()
		default:
			r.check()
		}
	})
}

// leave ends the registration for good: the binding is removed, as soon as no other REGISTER is unanswered.
func (r *registration) leave() {
	r.leaving = true
	r.alarm.stop()
	if r.busy != nil {
		if r.busy.sent {
			return
		}
		r.busy.stop()
		r.busy = nil
	}
	r.unbind()
}

// unbind removes every binding that there is or may be, by the Contact that was bound (RFC 3261 section 10.2.2).
func (r *registration) unbind() {
	r.forget(r.contact)
	r.forget(r.asked)
	r.contact, r.asked = sip.Uri{}, sip.Uri{}
	if len(r.stale) == 0 {
		r.finish()
		return
	}
	r.remove(r.stale, 0, func(err error) {
		if err != nil {
			r.log.WarnContext(r.agent.ctx, "the binding stays until it expires", slog.Any("err", err))
		} else {
			contact := join(r.stale)
			r.log.InfoContext(r.agent.ctx, "unregistered", slog.String("contact", contact))
			r.agent.events.put(Event{Kind: Unregistered, Account: r.account.AOR, Contact: contact})
		}
		r.finish()
	})
}

// remove ends the binding of contacts, and then says whether that worked. rounds is how many challenges have been answered.
func (r *registration) remove(contacts []sip.Uri, rounds int, then func(error)) {
	t := &attempt{agent: r.agent, callID: r.callID, hops: r.hops, stays: true} // without its address a new binding comes first
	t.build = func(_ *transport.Flow, hop sip.Uri) (*sip.Request, error) { return r.request(hop, 0, contacts...) }
	t.done = func(err error) {
		r.busy = nil
		then(err)
	}
	t.on = func(_ *transport.Flow, _ *sip.Request, res *sip.Response) {
		switch {
		case res.IsProvisional():
		case res.IsSuccess():
			t.done(nil)
		case isChallenge(res) && rounds < maxChallenges:
			if err := r.auth.challenged(res); err != nil {
				t.done(err)
				return
			}
			r.remove(contacts, rounds+1, then)
		default:
			t.done(&StatusError{res.StatusCode, res.Reason})
		}
	}
	r.busy = t
	t.start()
}

// finish says that there is nothing more to tell the registrar.
func (r *registration) finish() {
	select {
	case <-r.left:
	default:
		close(r.left)
	}
}

// join writes contacts as people read them.
func join(contacts []sip.Uri) string {
	s := make([]string, len(contacts))
	for i, c := range contacts {
		s[i] = c.String()
	}
	return strings.Join(s, ", ")
}
