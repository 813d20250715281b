package transaction

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/transport/wire"
)

// maxUDP is the largest request that may go over UDP when the path MTU is
// unknown (RFC 3261 section 18.1.1).
const maxUDP = 1300

// newParser returns sipgo's parser without its limit: transport has one, and
// normalising may have made a message longer.
func newParser() *sip.Parser {
	p := sip.NewParser()
	p.MaxMessageLength = 1 << 30
	return p
}

// outgoing is what sip.Request and sip.Response have in common, as far as
// writing them goes.
type outgoing interface {
	StringWrite(io.StringWriter)
	Headers() []sip.Header
	Body() []byte
}

// encode writes m, and refuses one in which a value would end its line and begin
// another (CR, LF, NUL).
func (l *Layer) encode(m outgoing) ([]byte, error) {
	buf, _ := l.bufs.Get().(*bytes.Buffer)
	if buf == nil {
		buf = new(bytes.Buffer)
	}
	defer l.bufs.Put(buf)
	buf.Reset()
	m.StringWrite(buf)
	if err := guard(buf.Bytes(), m); err != nil {
		return nil, err
	}
	return bytes.Clone(buf.Bytes()), nil // as long as it is: it is kept
}

// guard checks the message raw that m was written to. Its head has one line for
// the start, one per header and an empty one; a CR or LF more comes from inside
// a value.
func guard(raw []byte, m outgoing) error {
	head, headers := raw[:len(raw)-len(m.Body())], m.Headers()
	lines := len(headers) + 2
	if bytes.Count(head, []byte{'\n'}) == lines && bytes.Count(head, []byte{'\r'}) == lines && bytes.IndexByte(head, 0) < 0 {
		return nil
	}
	for _, h := range headers {
		if err := wire.ValidValue(h.Name()); err != nil {
			return fmt.Errorf("transaction: name of header %q: %w", h.Name(), err)
		}
		if err := wire.ValidValue(h.Value()); err != nil {
			return fmt.Errorf("transaction: header %s: %w", h.Name(), err)
		}
	}
	return errors.New("transaction: CR, LF or NUL in the start line")
}

// complete checks that req can be sent as a transaction of its own, gives it the
// Via of f, and adds what is missing and the same in all requests. It returns
// the new branch.
func (l *Layer) complete(f flow, req *sip.Request) (branch string, err error) {
	if err := checkRequest(req); err != nil {
		return "", err
	}
	for req.RemoveHeader("Via") { // of an earlier try
	}
	branch = cookie + token()
	req.PrependHeader(newVia(f, branch))
	if req.MaxForwards() == nil {
		hops := sip.MaxForwardsHeader(70)
		req.AppendHeader(&hops)
	}
	if l.cfg.UserAgent != "" && !hasHeader(req, "User-Agent") {
		req.AppendHeader(sip.NewHeader("User-Agent", l.cfg.UserAgent))
	}
	if req.ContentLength() == nil {
		req.SetBody(req.Body())
	}
	return branch, nil
}

func hasHeader(req *sip.Request, name string) bool {
	return slices.ContainsFunc(req.Headers(), func(h sip.Header) bool { return strings.EqualFold(h.Name(), name) })
}

// checkRequest looks for the headers that RFC 3261 section 8.1.1 demands and a
// transaction cannot be without.
func checkRequest(req *sip.Request) error {
	missing := func(name string) error {
		return fmt.Errorf("transaction: %s without %s", req.Method, name)
	}
	switch cseq := req.CSeq(); {
	case req.CallID() == nil:
		return missing("Call-ID")
	case cseq == nil:
		return missing("CSeq")
	case cseq.MethodName != req.Method:
		return fmt.Errorf("transaction: %s with a CSeq of %s", req.Method, cseq.MethodName)
	case req.From() == nil:
		return missing("From")
	case req.To() == nil:
		return missing("To")
	}
	return nil
}

// newVia is the Via of a request over f: RFC 3261 section 18.1.1, and an rport
// always (RFC 3581 section 3). It says where f can be reached from outside, and
// never has a zone, which means nothing to the peer (RFC 6874 section 1).
func newVia(f flow, branch string) *sip.ViaHeader {
	at := f.Advertised()
	return &sip.ViaHeader{
		ProtocolName:    "SIP",
		ProtocolVersion: "2.0",
		Transport:       f.Proto().Via(),
		Host:            at.Addr().Unmap().WithZone("").String(),
		Port:            int(at.Port()),
		Params:          sip.HeaderParams{{K: "rport"}, {K: "branch", V: branch}},
	}
}

// Oversize reports whether req is too large for f, that is, f is UDP and req has
// more than 1300 bytes (RFC 3261 section 18.1.1). Such a request belongs on a
// TCP flow to the same target; if that is refused, it may be sent on f all the
// same. Send does not ask: which flow to take is its caller's decision.
// Oversize completes req the way Send does.
func (l *Layer) Oversize(f *transport.Flow, req *sip.Request) bool { return l.oversize(f, req) }

func (l *Layer) oversize(f flow, req *sip.Request) bool {
	if f.Proto().Reliable() {
		return false
	}
	if _, err := l.complete(f, req); err != nil {
		return false // Send will say what is wrong
	}
	raw, err := l.encode(req)
	return err == nil && len(raw) > maxUDP
}

// newACK makes the ACK to the failure res of invite (RFC 3261 section 17.1.1.3).
func newACK(invite *sip.Request, res *sip.Response) *sip.Request {
	return hopRequest(sip.ACK, invite, res.To())
}

// newCancel makes the CANCEL of invite (RFC 3261 section 9.1).
func newCancel(invite *sip.Request) *sip.Request {
	return hopRequest(sip.CANCEL, invite, invite.To())
}

// hopRequest makes a request that goes the same way as invite, hop by hop: same
// Request-URI, topmost Via, Route, From, Call-ID and CSeq number. The headers
// are invite's own: it is for writing only.
func hopRequest(method sip.RequestMethod, invite *sip.Request, to *sip.ToHeader) *sip.Request {
	req := sip.NewRequest(method, invite.Recipient)
	hops := sip.MaxForwardsHeader(70)
	req.AppendHeader(invite.Via())
	for _, h := range invite.GetHeaders("Route") {
		req.AppendHeader(h)
	}
	req.AppendHeader(&hops)
	req.AppendHeader(invite.From())
	if to != nil {
		req.AppendHeader(to)
	}
	req.AppendHeader(invite.CallID())
	req.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: method})
	req.SetBody(nil)
	return req
}

// tryingAfter is when a request other than INVITE gets a 100: when timer E of its
// client has grown to T2 (RFC 4320 section 4.1), with the default timers after
// 3.5 s.
func (l *Layer) tryingAfter() instant {
	var sum instant
	for t := l.cfg.T1; t < l.cfg.T2; t *= 2 {
		sum += t
	}
	return sum
}
