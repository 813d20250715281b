package transaction

import (
	"slices"

	"github.com/emiago/sipgo/sip"
)

// handle deals with one received message, on the queue of its Call-ID.
func (l *Layer) handle(c *call, m *message) {
	switch {
	case l.ctx.Err() != nil: // closing
	case m.Head.Request:
		l.handleRequest(c, m)
	default:
		l.handleResponse(c, m)
	}
}

// handleResponse finds the client transaction by branch and method of the CSeq
// (RFC 3261 section 17.1.3) and the sent-by (section 18.1.2).
func (l *Layer) handleResponse(c *call, m *message) {
	x := c.client(m)
	if x == nil {
		// RFC 6026: not for the transaction user, not even a 2xx.
		l.count.strays.Add(1)
		return
	}
	msg, reason := l.parse(m)
	res, ok := msg.(*sip.Response)
	if ok && len(res.GetHeaders("Via")) != 1 {
		ok, reason = false, "More Than One Via" // misrouted (RFC 3261 section 8.1.3.3)
	}
	if !ok {
		l.bad(m, reason)
		return
	}
	l.count.responses.Add(1)
	x.response(res)
}

func (c *call) client(m *message) *Client {
	for _, x := range c.clients {
		if x.matches(&m.Head) {
			return x
		}
	}
	return nil
}

// handleRequest finds the server transaction of a request, or makes one (RFC
// 3261 sections 8.2.2.2, 9.2 and 17.2.3).
func (l *Layer) handleRequest(c *call, m *message) {
	var k key
	matchable := hasCookie(m.Head.Via)
	if matchable {
		if k = l.branchKey(&m.Head); l.alive(c, k, m) {
			return
		}
	}
	req, reason := l.parseRequest(m)
	if req == nil {
		l.badRequest(m, reason)
		return
	}
	if !matchable {
		if k = l.oldKey(&m.Head, req); l.alive(c, k, m) {
			return
		}
	}
	s := &Server{layer: l, call: c, flow: m.flow, req: req, head: string(m.Raw[:len(m.Raw)-len(m.Body())]), key: k}
	if req.Method == sip.ACK {
		l.newACK(s)
		return
	}
	s.answer = l.answerKey(s, &m.Head)
	switch {
	case l.repeated(s):
	case req.Method == sip.CANCEL:
		l.newCancel(s)
	default:
		l.newServer(s)
	}
}

// alive deals with a request that belongs to a live transaction: a
// retransmission, or the ACK to a failure.
func (l *Layer) alive(c *call, k key, m *message) bool {
	if m.Head.Method == string(sip.ACK) {
		s := c.server(k, sip.INVITE)
		return s != nil && s.acknowledges(m)
	}
	s := c.server(k, sip.RequestMethod(m.Head.Method))
	if s == nil {
		return false
	}
	l.count.retransmissions.Add(1)
	_ = s.step(retransmission, nil)
	return true
}

func (c *call) server(k key, method sip.RequestMethod) *Server {
	for _, s := range c.servers {
		if s.key == k && s.req.Method == method {
			return s
		}
	}
	return nil
}

// repeated deals with a request that has been answered, or is here by another
// way already (RFC 3261 section 8.2.2.2).
func (l *Layer) repeated(s *Server) bool {
	e, ok := l.answered.find(s.answer)
	switch {
	case ok && e.branch == s.key:
		l.count.retransmissions.Add(1)
		_ = l.respond(e.flow, e.raw)
	case ok || s.call.answering(s.answer):
		l.count.merged.Add(1)
		l.refuse(s, sip.StatusLoopDetected, "Merged Request")
	default:
		return false
	}
	return true
}

// answering reports whether a live transaction will keep its answer as k.
func (c *call) answering(k key) bool {
	return slices.ContainsFunc(c.servers, func(s *Server) bool { return s.answer == k })
}

// newACK passes an ACK up, unless it is for a failure that was sent without a
// transaction.
func (l *Layer) newACK(s *Server) {
	if toTag(s.req) != l.statelessTag(s.key) {
		l.cfg.OnRequest(s)
	}
}

// newServer starts the transaction of a request that is seen for the first time.
func (l *Layer) newServer(s *Server) {
	l.count.requests.Add(1)
	if l.count.pending.Load() >= int64(l.cfg.MaxTransactions) || len(s.call.servers) >= maxPerCall {
		l.overloaded(s)
		return
	}
	s.begin()
	l.cfg.OnRequest(s)
	s.settle()
}

// newCancel answers a CANCEL, a transaction of its own, and tells the one that it
// is for (RFC 3261 section 9.2).
func (l *Layer) newCancel(s *Server) {
	target := s.call.cancelTarget(s.key)
	if target != nil {
		// The tag should be that of the responses to the request.
		s.tag = target.localTag()
	}
	s.begin()
	defer s.settle()
	if target == nil {
		l.count.unknownCancels.Add(1)
		_ = s.Respond(s.Response(sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist"))
		return
	}
	l.count.cancels.Add(1)
	_ = s.Respond(s.Response(sip.StatusOK, "OK"))
	target.canceled()
}

// cancelTarget is the transaction that a CANCEL with key k is for. It cannot be
// another CANCEL: those are answered at once.
func (c *call) cancelTarget(k key) *Server {
	for _, s := range c.servers {
		if s.key == k {
			return s
		}
	}
	return nil
}
