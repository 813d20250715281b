package registrar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

// branchPrefix marks the branches of this proxy.
const branchPrefix = "z9hG4bKregistrar"

// forward passes a request on (RFC 3261 section 16.6), or gives the answer that says why not.
func (s *Server) forward(ctx context.Context, from *transport.Flow, req *sip.Request) (*sip.Response, error) {
	if hops := req.MaxForwards(); hops != nil && hops.Val() == 0 {
		return status(req, 483, "Too Many Hops"), nil
	}
	if r := req.Route(); r != nil && own(from, r.Address) {
		req.RemoveHeader("Route") // the topmost one, which is this proxy (section 16.4)
	}
	next := req.Recipient
	if r := req.Route(); r != nil {
		next = r.Address
	} else if own(from, req.Recipient) {
		contact, ok := s.lookup(req.Recipient.User, time.Now())
		if !ok {
			return status(req, sip.StatusNotFound, "Not Found"), nil
		}
		req.Recipient, next = contact, contact
	}
	to, err := s.open(ctx, next)
	if err != nil {
		return status(req, sip.StatusTemporarilyUnavailable, "Temporarily Unavailable"), errorf(req, "%w", err)
	}
	s.stamp(req, from, to)
	return nil, s.send(ctx, to, req.String())
}

// stamp makes a request pass through here: Max-Forwards, Record-Route, Via.
func (s *Server) stamp(req *sip.Request, from, to *transport.Flow) {
	if hops := req.MaxForwards(); hops != nil {
		hops.Dec()
	}
	if _, inDialog := req.To().Params.Get("tag"); req.Method == sip.INVITE && !inDialog {
		route := uriAt(from.Advertised(), from.Proto())
		route.UriParams.Add("lr", "")
		req.PrependHeader(&sip.RecordRouteHeader{Address: route})
	}
	at := to.Advertised()
	req.PrependHeader(&sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: to.Proto().Via(), Host: uriAt(at, to.Proto()).Host, Port: int(at.Port()),
		Params: sip.HeaderParams{{K: "branch", V: branch(req)}},
	})
}

// branch derives the branch from what identifies the transaction, so that retransmissions, CANCEL and the ACK to a failure
// get the one of their INVITE (section 16.11).
func branch(req *sip.Request) string {
	via := req.Via()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d", via.Params.GetOr("branch", ""), via.SentBy(), req.CallID().Value(), req.CSeq().SeqNo))
	return branchPrefix + hex.EncodeToString(sum[:8])
}

// open gives the flow to the first target of a URI that has one.
func (s *Server) open(ctx context.Context, u sip.Uri) (*transport.Flow, error) {
	targets, err := s.manager.Resolve(ctx, transport.Query{Host: u.Host, Port: uint16(u.Port), Proto: protoOf(u)}) //nolint:gosec // at most 65535
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		f, flowErr := s.manager.Flow(ctx, t)
		if flowErr == nil {
			return f, nil
		}
		err = errors.Join(err, flowErr)
	}
	return nil, err
}

// passBack passes a response on to where its request came from (section 16.7).
func (s *Server) passBack(ctx context.Context, res *sip.Response) error {
	if via := res.Via(); via == nil || !strings.HasPrefix(via.Params.GetOr("branch", ""), branchPrefix) {
		return errors.New("response to no request of this proxy")
	}
	res.RemoveHeader("Via")
	via := res.Via()
	if via == nil {
		return errors.New("response without a second Via")
	}
	to, err := viaTarget(via)
	if err != nil {
		return err
	}
	f, err := s.manager.Flow(ctx, to)
	if err != nil {
		return err
	}
	return s.send(ctx, f, res.String())
}

// viaTarget is where a response goes by its topmost Via (RFC 3261 section 18.2.2, RFC 3581 section 4).
func viaTarget(via *sip.ViaHeader) (transport.Target, error) {
	host := via.Params.GetOr("received", via.Host)
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return transport.Target{}, fmt.Errorf("sent-by %q is not an address", host)
	}
	port := uint64(via.Port) //nolint:gosec // never negative
	if rport, ok := via.Params.Get("rport"); ok && rport != "" {
		if port, err = strconv.ParseUint(rport, 10, 16); err != nil {
			return transport.Target{}, fmt.Errorf("rport %q: %w", rport, err)
		}
	}
	if port == 0 {
		port = uint64(transport.UDP.Port())
	}
	return transport.Target{Proto: transport.Proto(strings.ToLower(via.Transport)), Addr: netip.AddrPortFrom(addr, uint16(port))}, nil
}
