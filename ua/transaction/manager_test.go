package transaction_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
	"github.com/gosipua/gosipua/internal/memnet"
	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua/transaction"
)

// These tests run a Layer on a transport.Manager, on a network in memory.

var (
	ours   = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	theirs = []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")}
)

// A phone is one user agent: links, a Manager and a Layer.
type phone struct {
	t       *testing.T
	host    *memnet.Host
	links   *ifwatchtest.Source
	manager *transport.Manager
	layer   *transaction.Layer

	mu   sync.Mutex
	seen []string
}

func newPhone(t *testing.T, n *memnet.Net, addrs []netip.Addr, onRequest func(*phone, *transaction.Server)) *phone {
	p := &phone{t: t, host: n.Host(addrs...), links: ifwatchtest.NewSource()}
	p.setAddrs(addrs)
	p.layer = transaction.New(transaction.Config{OnRequest: func(s *transaction.Server) { onRequest(p, s) }})
	p.manager = transport.New(transport.Config{Links: p.links, Network: p.host, Receive: p.layer.Receive})
	return p
}

func (p *phone) setAddrs(addrs []netip.Addr) {
	var list []ifwatch.Addr
	for _, a := range addrs {
		bits := 24
		if a.Is6() {
			bits = 64
		}
		list = append(list, ifwatch.Addr{Key: ifwatch.Key{Link: 2, Addr: a, Bits: bits}})
	}
	p.links.Set([]ifwatch.Link{{Index: 2, Name: "eth0", Up: true, LowerUp: true, Running: true}}, list)
}

func (p *phone) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, fmt.Sprintf(format, args...))
}

func (p *phone) expect(want ...string) {
	p.t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.seen, want) {
		p.t.Errorf("got %q, want %q", p.seen, want)
	}
	p.seen = nil
}

func (p *phone) flow(proto transport.Proto, to netip.Addr) *transport.Flow {
	p.t.Helper()
	f, err := p.manager.Flow(p.t.Context(), transport.Target{Proto: proto, Addr: netip.AddrPortFrom(to, 5060)})
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (p *phone) send(f *transport.Flow, req *sip.Request) *transaction.Client {
	p.t.Helper()
	c, err := p.layer.Send(f, req, func(res *sip.Response, err error) {
		if err != nil {
			p.note("error")
			return
		}
		p.note("%d", res.StatusCode)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func newRequest(method sip.RequestMethod, seq uint32) *sip.Request {
	req := sip.NewRequest(method, sip.Uri{Scheme: "sip", User: "bob", Host: "192.0.2.2"})
	id := sip.CallIDHeader("call@192.0.2.1")
	req.AppendHeader(&sip.FromHeader{Address: sip.Uri{User: "alice", Host: "192.0.2.1"}, Params: sip.HeaderParams{{K: "tag", V: "a"}}})
	req.AppendHeader(&sip.ToHeader{Address: sip.Uri{User: "bob", Host: "192.0.2.2"}})
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: method})
	return req
}

// withPhones runs test with two phones whose Managers and Layers run.
func withPhones(t *testing.T, onRequest func(*phone, *transaction.Server), test func(n *memnet.Net, a, b *phone)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		a, b := newPhone(t, n, ours, onRequest), newPhone(t, n, theirs, onRequest)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for _, p := range []*phone{a, b} {
			group.Go(func() { _ = p.manager.Run(ctx) })
			group.Go(func() { _ = p.layer.Run(ctx) })
		}
		synctest.Wait()
		test(n, a, b)
		cancel()
		group.Wait()
	})
}

func TestManagerCarriesTransactions(t *testing.T) {
	for _, proto := range []transport.Proto{transport.UDP, transport.TCP} {
		for i, family := range []string{"IPv4", "IPv6"} {
			t.Run(string(proto)+" "+family, func(t *testing.T) {
				var invite *transaction.Server
				onRequest := func(p *phone, s *transaction.Server) {
					method := s.Request().Method
					p.note("%s from %s", method, s.Flow().Remote().Addr())
					switch method {
					case sip.ACK:
					case sip.INVITE:
						invite = s
						_ = s.Respond(s.Response(180, "Ringing"))
						_ = s.Respond(s.Response(200, "OK"))
					default:
						_ = s.Respond(s.Response(200, "OK"))
					}
				}
				withPhones(t, onRequest, func(_ *memnet.Net, a, b *phone) {
					from := ours[i].String()
					f := a.flow(proto, theirs[i])
					a.send(f, newRequest(sip.OPTIONS, 1))
					b.expect("OPTIONS from " + from)
					a.expect("200")

					c := a.send(f, newRequest(sip.INVITE, 2))
					b.expect("INVITE from " + from)
					a.expect("180", "200")
					if c.Flow() != f || invite.Flow().Local().Addr() != theirs[i] {
						t.Error("wrong flow")
					}
					if err := a.layer.Write(f, newRequest(sip.ACK, 2)); err != nil {
						t.Error(err)
					}
					b.expect("ACK from " + from)
					via := invite.Request().Via()
					if got, _ := via.Params.Get("received"); got != from {
						t.Errorf("received=%s in the Via, want %s", got, from)
					}
				})
			})
		}
	}
}

// An address that goes away takes its transactions with it, at once.
func TestManagerLosesAnAddress(t *testing.T) {
	var invite *transaction.Server
	onRequest := func(p *phone, s *transaction.Server) {
		invite = s
		_ = s.Respond(s.Response(180, "Ringing"))
		s.OnEnd(func(err error) {
			p.note("end: down %v, gone %v", errors.Is(err, transaction.ErrFlowDown), errors.Is(err, transport.ErrAddressGone))
		})
	}
	for _, proto := range []transport.Proto{transport.UDP, transport.TCP} {
		t.Run("caller's "+string(proto), func(t *testing.T) {
			withPhones(t, onRequest, func(_ *memnet.Net, a, b *phone) {
				var got error
				_, err := a.layer.Send(a.flow(proto, theirs[0]), newRequest(sip.INVITE, 1), func(_ *sip.Response, err error) { got = err })
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				a.host.Remove(ours[0])
				a.setAddrs(ours[1:])
				synctest.Wait()
				if !errors.Is(got, transaction.ErrFlowDown) || !errors.Is(got, transport.ErrAddressGone) {
					t.Errorf("the INVITE ended with %v", got)
				}
			})
		})
		t.Run("callee's "+string(proto), func(t *testing.T) {
			withPhones(t, onRequest, func(_ *memnet.Net, a, b *phone) {
				a.send(a.flow(proto, theirs[0]), newRequest(sip.INVITE, 1))
				a.expect("180")
				b.host.Remove(theirs[0])
				b.setAddrs(theirs[1:])
				b.expect("end: down true, gone true")
				if !invite.Terminated() {
					t.Error("the INVITE is still alive")
				}
			})
		})
	}
}

// INVITE and CANCEL in one write, a thousand times: never out of order.
func TestManagerKeepsTheOrder(t *testing.T) {
	const n = 1000
	onRequest := func(p *phone, s *transaction.Server) {
		s.OnCancel(func() {
			p.note("%s", s.Request().CallID().Value())
			_ = s.Respond(s.Response(487, "Request Terminated"))
		})
	}
	withPhones(t, onRequest, func(net *memnet.Net, _, b *phone) {
		conn, err := net.Host(netip.MustParseAddr("192.0.2.9")).Dial(t.Context(), netip.MustParseAddr("192.0.2.9"), netip.AddrPortFrom(theirs[0], 5060), "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go func() { // what comes back must be read
			buf := make([]byte, 4096)
			for {
				if _, err := conn.Read(buf); err != nil {
					return
				}
			}
		}()
		var want []string
		for i := range n {
			id := fmt.Sprintf("call-%d", i)
			want = append(want, id)
			var segment strings.Builder
			for _, method := range []string{"INVITE", "CANCEL"} {
				fmt.Fprintf(&segment, "%s sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK%d\r\nFrom: <sip:x@192.0.2.9>;tag=x\r\n"+
					"To: <sip:bob@192.0.2.2>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n", method, i, id, method)
			}
			if _, err := conn.Write([]byte(segment.String())); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b.mu.Lock()
		slices.Sort(b.seen)
		b.mu.Unlock()
		slices.Sort(want)
		b.expect(want...)
		if s := b.layer.Stats(); s.Cancels != n || s.UnknownCancels != 0 || s.Overflows != 0 {
			t.Errorf("%+v", s)
		}
	})
}
