package transaction

import (
	"errors"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

// A Server is a server transaction: a received request, and the responses to it
// (RFC 3261 section 17.2). An ACK to a 2xx, which has no transaction, comes as a
// Server too; responding to it is an error.
type Server struct {
	layer  *Layer
	call   *call
	flow   flow
	req    *sip.Request
	key    key
	answer key    // see Layer.answerKey
	tag    string // our To tag, once there is one
	head   string // of the request, as it came

	state serverState // nil before begin and after end
	alarm alarm
	last  []byte // what a retransmission is answered with; nil is nothing
	watch *watch

	final    bool // the final response has been given
	accepted bool // and is a 2xx to an INVITE

	wasCanceled bool
	onCancel    func()
	onEnd       func(error)
}

// A serverState is a state of RFC 3261 section 17.2, as RFC 6026 has changed it:
// it deals with one event. raw is the response of provisional, success and
// failure.
type serverState func(s *Server, e event, raw []byte) error

// Request returns the request. Its topmost Via tells where it came from
// (received, rport). It must not be changed.
func (s *Server) Request() *sip.Request { return s.req }

// Flow returns the flow on which the request came.
func (s *Server) Flow() *transport.Flow {
	f, _ := s.flow.(*transport.Flow)
	return f
}

// Response makes a response to the request, with the headers that RFC 3261
// section 8.2.6 copies from it: Via, From, To with our tag, which is the same in
// all responses but a 100, Call-ID, CSeq, and Record-Route where the response
// may begin a dialog (section 12.1.1). They are copied to the letter, as that
// section demands. To change one of them, replace it.
func (s *Server) Response(code int, reason string) *sip.Response {
	res := sip.NewResponse(code, reason)
	for name, value := range fields(s.head) {
		switch {
		case name == "To" && code != sip.StatusTrying:
			res.AppendHeader(sip.NewHeader(name, s.tagged(value)))
		case s.copied(name, code):
			res.AppendHeader(sip.NewHeader(name, value))
		}
	}
	if ua := s.layer.cfg.UserAgent; ua != "" && code != sip.StatusTrying {
		res.AppendHeader(sip.NewHeader("Server", ua))
	}
	return res
}

// fields yields the header fields of a normalised head.
func fields(head string) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		_, rest, _ := strings.Cut(head, "\r\n") // the start line
		for len(rest) > 0 {
			var line string
			line, rest, _ = strings.Cut(rest, "\r\n")
			if name, value, ok := strings.Cut(line, ": "); ok && !yield(name, value) {
				return
			}
		}
	}
}

// copied reports whether the header goes into a response with this code.
func (s *Server) copied(name string, code int) bool {
	switch name {
	case "Via", "From", "To", "Call-ID", "CSeq":
		return true
	}
	switch {
	case strings.EqualFold(name, "Record-Route"):
		return code > 100 && code < 300 && s.req.Method != sip.REGISTER
	case strings.EqualFold(name, "Timestamp"): // RFC 3261 section 8.2.6.1
		return code == sip.StatusTrying
	}
	return false
}

// tagged returns the value of the request's To with our tag.
func (s *Server) tagged(to string) string {
	if tag := s.localTag(); toTag(s.req) == "" {
		return to + ";tag=" + tag
	}
	return to
}

// localTag returns our To tag: the request's, if it is within a dialog.
func (s *Server) localTag() string {
	if s.tag == "" {
		if s.tag = toTag(s.req); s.tag == "" {
			s.tag = token()
		}
	}
	return s.tag
}

// Respond sends res, which Response has made; a Content-Length is added if it
// has none. It must be called on the queue of the Call-ID.
//
// An INVITE takes any number of 1xx, then one final response; a 2xx may be
// given again and again for 64*T1, which is how it is retransmitted (RFC 6026).
// Other requests take one final response, which must not be a 408, and no 1xx:
// their 100 is sent here when it is due (RFC 4320).
//
// The error says that res is not a response to be sent now (ErrTerminated, or
// what is wrong with it, naming the header), or is the flow's and says why it
// could not be sent. In the latter case the transaction goes on as if it had
// been sent (RFC 6026 section 7.1): a retransmission of the request, or timer G,
// tries it again.
func (s *Server) Respond(res *sip.Response) error {
	switch {
	case s.req.Method == sip.ACK:
		return errACK
	case s.state == nil:
		return ErrTerminated
	case !s.layer.onQueue(s.call):
		return errOffQueue
	}
	if err := s.allowed(res.StatusCode); err != nil {
		return err
	}
	if res.ContentLength() == nil {
		res.SetBody(res.Body())
	}
	raw, err := s.layer.encode(res)
	if err != nil {
		return err
	}
	if !s.final && res.StatusCode >= 200 {
		s.final = true
		s.layer.count.pending.Add(-1)
	}
	return s.step(responseEvent(res.StatusCode), raw)
}

var (
	errStatus     = errors.New("transaction: not a status code of SIP")
	errNonInvite1 = errors.New("transaction: only an INVITE has provisional responses (RFC 4320 section 4.1)")
	errNonInvite4 = errors.New("transaction: 408 is only for an INVITE (RFC 4320 section 4.2)")
)

// allowed says why a response with this status must not be sent now.
func (s *Server) allowed(status int) error {
	invite := s.req.Method == sip.INVITE
	switch {
	case status < 100 || status > 699:
		return errStatus
	case !invite && status < 200:
		return errNonInvite1
	case !invite && status == sip.StatusRequestTimeout:
		return errNonInvite4
	case s.final && (!s.accepted || responseEvent(status) != success):
		return ErrTerminated
	}
	return nil
}

// OnCancel sets what is called when the INVITE is canceled. The CANCEL has been
// answered then; the INVITE is still to be, with 487 (RFC 3261 section 9.2). It
// is not called after the final response. Called on the queue; if the CANCEL
// was before OnCancel, at once.
func (s *Server) OnCancel(f func()) {
	s.onCancel = f
	if s.wasCanceled {
		s.callOnCancel()
	}
}

// OnEnd sets what is called once when the transaction is over: for an INVITE
// when its final state has ended, for other requests with their final response.
// The error is nil, ErrTimeout, ErrFlowDown or ErrClosed. Called on the queue.
func (s *Server) OnEnd(f func(error)) { s.onEnd = f }

// Terminated reports whether the transaction is over.
func (s *Server) Terminated() bool { return s.state == nil }

// canceled notes the CANCEL of the transaction (RFC 3261 section 9.2: without
// effect on anything but an INVITE that has no final response yet).
func (s *Server) canceled() {
	if s.req.Method == sip.INVITE && !s.wasCanceled {
		s.wasCanceled = true
		s.callOnCancel()
	}
}

func (s *Server) callOnCancel() {
	if f := s.onCancel; f != nil && !s.final {
		s.onCancel = nil
		f()
	}
}

// begin enters the first state. The timer does not run before settle, so that a
// request which is answered at once needs none.
func (s *Server) begin() {
	s.call.servers = append(s.call.servers, s)
	s.layer.count.servers.Add(1)
	s.layer.count.pending.Add(1)
	if s.req.Method == sip.INVITE {
		s.beginInvite()
	} else {
		s.beginOther()
	}
}

// settle lets time and the flow's end act on a new transaction, if it has not
// ended meanwhile.
func (s *Server) settle() {
	if s.state == nil {
		return
	}
	s.watch = s.layer.watch(s.flow, s.call.id)
	s.arm()
}

// step lets the state deal with e.
func (s *Server) step(e event, raw []byte) error {
	if s.state == nil {
		return nil
	}
	err := s.state(s, e, raw)
	if s.watch != nil { // settled
		s.arm()
	}
	return err
}

func (s *Server) arm() {
	if s.state != nil {
		s.alarm.arm(s.layer.now(), s.ring)
	}
}

// ring is called by the timer.
func (s *Server) ring() {
	s.layer.push(s.call.id, func(*call) {
		if e, ok := s.alarm.due(s.layer.now()); ok {
			_ = s.step(e, nil)
		}
	})
}

// send answers with raw, nil is nothing.
func (s *Server) send(raw []byte) error {
	if raw == nil {
		return nil
	}
	return s.layer.respond(s.flow, raw)
}

func (l *Layer) respond(f flow, raw []byte) error {
	err := f.Respond(l.ctx, raw)
	if err != nil {
		l.count.writeErrors.Add(1)
	}
	return err
}

// end is the end of the transaction, err says why; nil in the ordinary case.
func (s *Server) end(err error) {
	if s.state == nil {
		return
	}
	s.state, s.last = nil, nil
	s.alarm.stop()
	s.layer.unwatch(s.watch, s.call.id)
	s.call.servers = remove(s.call.servers, s)
	s.layer.count.servers.Add(-1)
	if !s.final {
		s.layer.count.pending.Add(-1)
	}
	s.layer.countEnd(err)
	if s.onEnd != nil {
		s.onEnd(err)
	}
}

// countEnd counts how a transaction ended.
func (l *Layer) countEnd(err error) {
	switch {
	case errors.Is(err, ErrTimeout):
		l.count.timeouts.Add(1)
	case errors.Is(err, ErrFlowDown):
		l.count.flowsDown.Add(1)
	}
}
