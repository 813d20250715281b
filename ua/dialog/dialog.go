// Package dialog keeps the state of RFC 3261 section 12: who talks to whom, in which order, and over which route.
//
// A Dialog is plain state without goroutines, timers or sockets. It belongs to one call and is not safe for concurrent
// use: package ua touches it only on the queue of its Call-ID (see package transaction). Methods build requests and judge
// received ones; sending is the caller's.
//
// Done: dialogs from INVITE for both sides, early and confirmed, loose and strict routing (sections 12.2.1.1 and 16.12.1.2
// as seen from a user agent), target refresh, sequence numbers, retransmission of the 2xx (section 13.3.1.4).
// Not yet: UPDATE (RFC 3311), reliable provisionals (RFC 3262), session timers (RFC 4028), REFER and Replaces.
package dialog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"
)

var (
	// ErrIncomplete says that a message lacks what a dialog is made of: a tag, a Contact, a Call-ID.
	ErrIncomplete = errors.New("message cannot make a dialog")
	// ErrOrder says that a request's CSeq is lower than one already seen; it is answered 500 (RFC 3261 section 12.2.2).
	ErrOrder = errors.New("CSeq out of order")
)

// ID tells the dialogs of one Call-ID apart (RFC 3261 section 12). Tags are as this side sees them.
type ID struct {
	CallID, Local, Remote string
}

// Dialog is one peer-to-peer relationship between two user agents.
type Dialog struct {
	id        ID
	local     sip.Uri // what we put into From
	remote    sip.Uri // what we put into To
	display   string  // our display name, kept for From
	target    sip.Uri // the peer's Contact: the Request-URI of our requests
	routes    []sip.Uri
	seq       uint32 // the CSeq number of our last request
	remoteSeq uint32 // the highest the peer has used
	heard     bool   // remoteSeq is valid
	confirmed bool
}

// NewUAC makes the dialog of a caller from its INVITE and a response with a To tag (RFC 3261 section 12.1.2): a provisional
// makes it early, a 2xx confirmed.
func NewUAC(req *sip.Request, res *sip.Response) (*Dialog, error) {
	id, err := idOf(res, res.From().Params, res.To().Params)
	if err != nil {
		return nil, err
	}
	d := &Dialog{
		id: id, local: *req.From().Address.Clone(), remote: *req.To().Address.Clone(), display: req.From().DisplayName,
		seq: req.CSeq().SeqNo, target: *req.Recipient.Clone(),
	}
	d.Answered(res)
	return d, nil
}

// NewUAS makes the dialog of a callee from the INVITE it received and the tag it puts into To (RFC 3261 section 12.1.1).
func NewUAS(req *sip.Request, tag string) (*Dialog, error) {
	if req.From() == nil || req.To() == nil || req.CSeq() == nil {
		return nil, fmt.Errorf("%w: From, To or CSeq is missing", ErrIncomplete)
	}
	contact := req.Contact()
	if contact == nil || contact.Address.Wildcard {
		return nil, fmt.Errorf("%w: no Contact", ErrIncomplete)
	}
	id, err := idOf(req, sip.HeaderParams{{K: "tag", V: tag}}, req.From().Params)
	if err != nil {
		return nil, err
	}
	return &Dialog{
		id: id, local: *req.To().Address.Clone(), remote: *req.From().Address.Clone(), target: *contact.Address.Clone(),
		routes: recordRoutes(req), remoteSeq: req.CSeq().SeqNo, heard: true,
	}, nil
}

func idOf(m sip.Message, local, remote sip.HeaderParams) (ID, error) {
	if m.CallID() == nil {
		return ID{}, fmt.Errorf("%w: no Call-ID", ErrIncomplete)
	}
	id := ID{CallID: m.CallID().Value()}
	id.Local, _ = local.Get("tag")
	id.Remote, _ = remote.Get("tag")
	if id.Local == "" || id.Remote == "" {
		// RFC 2543 peers have no tags. RFC 3261 section 12.1 asks to bear with them, yet two forks of one call could
		// not be told apart: nobody has been met who still sends none.
		return ID{}, fmt.Errorf("%w: no tag", ErrIncomplete)
	}
	return id, nil
}

func recordRoutes(m sip.Message) []sip.Uri {
	var routes []sip.Uri
	for _, h := range m.GetHeaders("record-route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			routes = append(routes, *rr.Address.Clone())
		}
	}
	return routes
}

// ID returns the dialog's identifiers.
func (d *Dialog) ID() ID { return d.id }

// Remote is the peer's address of record.
func (d *Dialog) Remote() sip.Uri { return *d.remote.Clone() }

// Target is the peer's Contact.
func (d *Dialog) Target() sip.Uri { return *d.target.Clone() }

// Confirmed says whether a 2xx has been sent or received.
func (d *Dialog) Confirmed() bool { return d.confirmed }

// Confirm makes an early dialog of a callee a confirmed one: it has sent its 2xx.
func (d *Dialog) Confirm() { d.confirmed = true }

// Answered takes a further response to the INVITE that made the dialog, or to a later INVITE of ours: its Contact becomes
// the remote target. The route set is taken from the first 2xx at the latest and then never changes (RFC 3261 sections
// 12.1.2, 12.2.1.2 and 13.2.2.4). A response without Contact, which only a provisional may be, leaves the target as it
// was: the Request-URI of the INVITE at first.
func (d *Dialog) Answered(res *sip.Response) {
	if c := res.Contact(); c != nil && !c.Address.Wildcard {
		d.target = *c.Address.Clone()
	}
	if d.confirmed {
		return
	}
	d.routes = recordRoutes(res)
	slices.Reverse(d.routes)
	d.confirmed = res.IsSuccess()
}

// Match says whether a request with a To tag belongs to this dialog.
func (d *Dialog) Match(req *sip.Request) bool {
	if req.From() == nil || req.To() == nil || req.CallID() == nil {
		return false
	}
	local, _ := req.To().Params.Get("tag")
	remote, _ := req.From().Params.Get("tag")
	return d.id == ID{CallID: req.CallID().Value(), Local: local, Remote: remote}
}

// Receive judges a request inside the dialog and takes a target refresh from it (RFC 3261 section 12.2.2). The error is
// ErrOrder, or nil. ACK and CANCEL carry the INVITE's number and change nothing.
func (d *Dialog) Receive(req *sip.Request) error {
	if req.IsAck() || req.IsCancel() {
		return nil
	}
	seq := req.CSeq().SeqNo
	if d.heard && seq <= d.remoteSeq {
		return fmt.Errorf("%w: %d after %d", ErrOrder, seq, d.remoteSeq)
	}
	d.remoteSeq, d.heard = seq, true
	return nil
}

// Refresh takes the new remote target of a re-INVITE that has been accepted (RFC 3261 section 12.2.2, RFC 6141 section 4.1:
// not before it is).
func (d *Dialog) Refresh(req *sip.Request) {
	if c := req.Contact(); c != nil && !c.Address.Wildcard {
		d.target = *c.Address.Clone()
	}
}

// Request builds the next request inside the dialog (RFC 3261 section 12.2.1.1) with From, To, Call-ID, CSeq, Route and, if
// contact is given, Contact. Via and the rest are the transaction layer's.
func (d *Dialog) Request(method sip.RequestMethod, contact *sip.ContactHeader) *sip.Request {
	d.seq++
	return d.request(method, d.seq, contact)
}

// ACK builds the acknowledgement of a 2xx to the given INVITE of ours (RFC 3261 section 13.2.2.4): the INVITE's CSeq number
// and credentials, on the dialog's route.
func (d *Dialog) ACK(invite *sip.Request) *sip.Request {
	ack := d.request(sip.ACK, invite.CSeq().SeqNo, nil)
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		for _, h := range invite.GetHeaders(name) {
			ack.AppendHeader(sip.NewHeader(name, h.Value()))
		}
	}
	return ack
}

func (d *Dialog) request(method sip.RequestMethod, seq uint32, contact *sip.ContactHeader) *sip.Request {
	uri, routes := d.target, d.routes
	if len(routes) > 0 && !loose(routes[0]) {
		// A strict router wants to be the Request-URI and to find the target as the last Route.
		uri, routes = routes[0], append(slices.Clone(routes[1:]), d.target)
	}
	req := sip.NewRequest(method, *uri.Clone())
	for _, r := range routes {
		req.AppendHeader(&sip.RouteHeader{Address: *r.Clone()})
	}
	from := &sip.FromHeader{DisplayName: d.display, Address: *d.local.Clone(), Params: sip.NewParams()}
	from.Params.Add("tag", d.id.Local)
	to := &sip.ToHeader{Address: *d.remote.Clone(), Params: sip.NewParams()}
	to.Params.Add("tag", d.id.Remote)
	callID := sip.CallIDHeader(d.id.CallID)
	req.AppendHeader(from)
	req.AppendHeader(to)
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: method})
	if contact != nil {
		req.AppendHeader(contact)
	}
	return req
}

func loose(u sip.Uri) bool {
	for _, p := range u.UriParams {
		if strings.EqualFold(p.K, "lr") {
			return true
		}
	}
	return false
}

// NextHop is the URI that requests of the dialog are sent to: the first Route, or the Request-URI (RFC 3261 section 8.1.2).
func (d *Dialog) NextHop() sip.Uri {
	if len(d.routes) > 0 {
		return *d.routes[0].Clone()
	}
	return *d.target.Clone()
}

// NextHop is the URI that an out-of-dialog request is sent to: its first Route, or the Request-URI.
func NextHop(req *sip.Request) sip.Uri {
	if r := req.Route(); r != nil && loose(r.Address) {
		return *r.Address.Clone()
	}
	return *req.Recipient.Clone()
}
