package transaction

// The server transaction of every other request: RFC 3261 section 17.2.2 and
// figure 8, with RFC 4320. Its Completed state is in answered.go.

func (s *Server) beginOther() {
	now := s.layer.now()
	s.state = (*Server).otherUnanswered
	// The client gives up then, and its downstream element would see a response
	// that belongs to nothing (RFC 4320 section 4.2).
	s.alarm.endIn(now, 64*s.layer.cfg.T1)
	s.alarm.resendIn(now, s.layer.tryingAfter())
}

// otherUnanswered: the states Trying and Proceeding. They differ in what a
// retransmission gets, nothing or the 100, which is what s.last holds.
func (s *Server) otherUnanswered(e event, raw []byte) error {
	switch e {
	case retransmission:
		return s.send(s.last)
	case timerResend: // RFC 4320 section 4.1
		return s.trying()
	case success, failure:
		err := s.send(raw)
		s.keep(raw)
		return err
	case timerEnd:
		s.end(ErrTimeout)
	case provisional, acknowledged: // neither can be
	}
	return nil
}

// keep ends the transaction and keeps its response until timer J, which is zero
// over a reliable transport.
func (s *Server) keep(raw []byte) {
	if l := s.layer; !s.flow.Proto().Reliable() {
		l.answered.keep(answer{key: s.answer, branch: s.key, flow: s.flow, raw: raw}, 64*l.cfg.T1)
	}
	s.end(nil)
}
