package transaction

import (
	"time"

	"github.com/emiago/sipgo/sip"
)

// The INVITE server transaction: RFC 3261 section 17.2.1 with the Accepted state
// of RFC 6026 section 7.1.

// tryingDelay is how long the transaction user has to respond to an INVITE
// before the transaction itself says 100 (RFC 3261 section 17.2.1).
const tryingDelay = 200 * time.Millisecond

func (s *Server) beginInvite() {
	s.state = (*Server).inviteProceeding
	s.alarm.resendIn(s.layer.now(), tryingDelay)
}

// inviteProceeding: no final response yet. It has no end of its own; ringing may
// take any time.
func (s *Server) inviteProceeding(e event, raw []byte) error {
	switch e {
	case timerResend:
		return s.trying()
	case retransmission:
		if s.last == nil {
			// It was lost, or the peer is in a hurry: no reason to wait on.
			s.alarm.stop()
			return s.trying()
		}
		return s.send(s.last)
	case provisional:
		s.alarm.stop()
		s.last = raw
	case success:
		s.state, s.last, s.accepted = (*Server).inviteAccepted, nil, true
		s.alarm.endIn(s.layer.now(), 64*s.layer.cfg.T1) // timer L
	case failure:
		s.state, s.last = (*Server).inviteCompleted, raw
		s.alarm.endIn(s.layer.now(), 64*s.layer.cfg.T1) // timer H
		if !s.flow.Proto().Reliable() {
			s.alarm.resendIn(s.layer.now(), s.layer.cfg.T1) // timer G
		}
	case timerEnd, acknowledged: // neither can be
	}
	return s.send(raw)
}

// trying sends the automatic 100.
func (s *Server) trying() error {
	res := s.Response(sip.StatusTrying, "Trying")
	res.SetBody(nil)
	raw, err := s.layer.encode(res)
	if err != nil {
		return err
	}
	s.last = raw
	return s.send(raw)
}

// inviteAccepted: a 2xx was sent, and is sent again by the transaction user, which
// also gets the ACK. The transaction absorbs retransmissions of the INVITE that
// are still under way, which would begin another call (RFC 6026).
func (s *Server) inviteAccepted(e event, raw []byte) error {
	switch e {
	case success:
		return s.send(raw)
	case timerEnd: // timer L
		s.end(nil)
	case timerResend, provisional, failure, retransmission, acknowledged:
	}
	return nil
}

// inviteCompleted: a failure was sent and waits for its ACK.
func (s *Server) inviteCompleted(e event, _ []byte) error {
	switch e {
	case retransmission:
		return s.send(s.last)
	case timerResend: // timer G
		s.alarm.again(s.layer.now(), s.layer.cfg.T2)
		s.layer.count.resent.Add(1)
		return s.send(s.last)
	case acknowledged:
		s.confirm()
	case timerEnd: // timer H
		s.end(ErrTimeout)
	case provisional, success, failure:
	}
	return nil
}

func (s *Server) confirm() {
	if s.flow.Proto().Reliable() { // timer I is zero
		s.end(nil)
		return
	}
	s.state, s.last = (*Server).inviteConfirmed, nil
	s.alarm.endIn(s.layer.now(), s.layer.cfg.T4) // timer I
}

// inviteConfirmed absorbs further ACKs.
func (s *Server) inviteConfirmed(e event, _ []byte) error {
	if e == timerEnd { // timer I
		s.end(nil)
	}
	return nil
}

// acknowledges reports whether the ACK in m belongs to the transaction, and
// takes it then. After a 2xx it is the transaction user's, even if its branch is
// the INVITE's, as with RFC 2543 peers.
func (s *Server) acknowledges(m *message) bool {
	if s.accepted {
		return false
	}
	if !hasCookie(m.Head.Via) {
		// RFC 3261 section 17.2.3: the To tag is that of our response.
		req, _ := s.layer.parseRequest(m)
		if req == nil || toTag(req) != s.localTag() {
			return false
		}
	}
	s.layer.count.retransmissions.Add(1)
	_ = s.step(acknowledged, nil)
	return true
}
