package transaction

import "github.com/emiago/sipgo/sip"

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
		// RFC 6026 section 8.9: not for the transaction user, not even a 2xx.
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
		if k = l.branchKey(&m.Head); l.known(c, k, m) {
			return
		}
	}
	req, reason := l.parseRequest(m)
	if req == nil {
		l.badRequest(m, reason)
		return
	}
	if !matchable {
		if k = l.oldKey(&m.Head, req); l.known(c, k, m) {
			return
		}
	}
	s := &Server{layer: l, call: c, flow: m.flow, req: req, key: k}
	switch req.Method {
	case sip.ACK:
		l.cfg.OnRequest(s)
	case sip.CANCEL:
		l.newCancel(s)
	default:
		l.newServer(s, m)
	}
}

// known deals with a request whose transaction exists: a retransmission, or the
// ACK to a failure.
func (l *Layer) known(c *call, k key, m *message) bool {
	if m.Head.Method == string(sip.ACK) {
		s := c.server(k, sip.INVITE)
		return s != nil && s.acknowledges(m)
	}
	if s := c.server(k, sip.RequestMethod(m.Head.Method)); s != nil {
		l.count.retransmissions.Add(1)
		_ = s.step(retransmission, nil)
		return true
	}
	raw, f := l.answered.find(l.withMethod(k, m.Head.Method))
	if f == nil {
		return false
	}
	l.count.retransmissions.Add(1)
	_ = l.respond(f, []byte(raw))
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

// newServer starts the transaction of a request that is seen for the first time.
func (l *Layer) newServer(s *Server, m *message) {
	l.count.requests.Add(1)
	if l.count.pending.Load() >= int64(l.cfg.MaxTransactions) || len(s.call.servers) >= maxPerCall {
		l.refuse(s)
		return
	}
	if toTag(s.req) == "" {
		s.merge = l.withMethod(l.mergeKey(&m.Head, s.req), m.Head.Method)
	}
	merged := l.merged(s)
	s.begin()
	if merged {
		l.count.merged.Add(1)
		_ = s.Respond(s.Response(sip.StatusLoopDetected, "Merged Request"))
	} else {
		l.cfg.OnRequest(s)
	}
	s.settle()
}

// merged reports whether the request of s is there already, by another way.
func (l *Layer) merged(s *Server) bool {
	if s.merge == 0 {
		return false
	}
	for _, other := range s.call.servers {
		if other.merge == s.merge {
			return true
		}
	}
	_, f := l.answered.find(s.merge)
	return f != nil
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
