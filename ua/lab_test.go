package ua

import (
	"context"
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
	"github.com/gosipua/gosipua/ua/media"
)

// These tests run an Agent on a network in memory inside a bubble of testing/synctest. Its peers are scripted: they see
// every message as it was on the wire.

const (
	phoneAddr = "192.0.2.10"
	peerAddr  = "192.0.2.1"
)

// phone is an Agent with its host, its addresses and what it reported.
type phone struct {
	*Agent
	host  *memnet.Host
	links *ifwatchtest.Source
	stop  func() // ends Run and waits for it
	gone  <-chan struct{}

	mu     sync.Mutex
	events []Event
}

// mediaNet gives the media engine sockets of a memnet host.
type mediaNet struct{ host *memnet.Host }

func (m mediaNet) Listen(local media.Local, port uint16) (media.PacketConn, error) {
	c, err := m.host.ListenPacket(context.Background(), netip.AddrPortFrom(local.Addr, port), "")
	if err != nil {
		return nil, err
	}
	return c.(media.PacketConn), nil
}

// startPhone runs an agent on an address until the test ends. It must be called inside a bubble.
func startPhone(t *testing.T, n *memnet.Net, addr string, change func(*Config)) *phone {
	t.Helper()
	p := &phone{host: n.Host(), links: ifwatchtest.NewSource()}
	cfg := Config{
		Transport: transport.Config{Links: p.links, Network: p.host},
		Media:     media.Config{Network: mediaNet{p.host}},
		Source:    "aunull",
		Event: func(e Event) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.events = append(p.events, e)
		},
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.Agent = a
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan struct{})
	p.gone = gone
	go func() {
		defer close(gone)
		if err := a.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	p.stop = func() { cancel(); <-gone }
	t.Cleanup(p.stop)
	if addr != "" {
		p.addresses(addr)
	}
	synctest.Wait()
	return p
}

// addresses makes these the only addresses of the phone's host.
func (p *phone) addresses(addrs ...string) {
	var entries []ifwatch.Addr
	for _, old := range p.links.Current().Addrs {
		p.host.Remove(old.Addr)
		p.host.Remove(old.Addr.WithZone("2"))
	}
	for _, a := range addrs {
		addr := netip.MustParseAddr(a)
		p.host.Add(addr)
		entries = append(entries, ifwatchtest.Addr(2, addr.WithZone("").String()+"/24"))
	}
	p.links.Set([]ifwatch.Link{ifwatchtest.Link(2, "eth0")}, entries)
	synctest.Wait()
}

// all returns what was reported, in order.
func (p *phone) all() []Event {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// kinds lists what was reported, in order.
func (p *phone) kinds() string {
	var s []string
	for _, e := range p.all() {
		s = append(s, string(e.Kind))
	}
	return strings.Join(s, " ")
}

// event returns the last event of a kind.
func (p *phone) event(t *testing.T, kind EventKind) Event {
	t.Helper()
	for _, e := range slices.Backward(p.all()) {
		if e.Kind == kind {
			return e
		}
	}
	t.Fatalf("no event %s", kind)
	return Event{}
}

// peer is a scripted SIP element on one UDP socket.
type peer struct {
	t    *testing.T
	host *memnet.Host
	conn media.PacketConn
	got  chan received
	at   netip.AddrPort
}

type received struct {
	sip.Message
	from netip.AddrPort
	when time.Time
}

func startPeer(t *testing.T, n *memnet.Net, addr string) *peer {
	t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr(addr), 5060)
	h := n.Host(at.Addr())
	c, err := h.ListenPacket(context.Background(), at, "")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, host: h, conn: c.(media.PacketConn), got: make(chan received, 1000), at: at}
	t.Cleanup(func() { p.conn.Close() })
	go func() {
		defer close(p.got)
		for {
			b := make([]byte, 65535)
			size, from, err := p.conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			m, err := sip.ParseMessage(b[:size])
			if err != nil {
				t.Errorf("peer cannot read %q: %v", b[:size], err)
				return
			}
			p.got <- received{m, from, time.Now()}
		}
	}()
	return p
}

// next waits for the next message, at most a quarter of an hour of bubble time.
func (p *peer) next() received {
	p.t.Helper()
	select {
	case m, ok := <-p.got:
		if ok {
			return m
		}
	case <-time.After(15 * time.Minute):
	}
	p.t.Fatal("nothing came")
	return received{}
}

// request waits for the next request of a method; others before it are an error unless they repeat the last one.
func (p *peer) request(method sip.RequestMethod) (*sip.Request, received) {
	p.t.Helper()
	m := p.next()
	req, ok := m.Message.(*sip.Request)
	if !ok || req.Method != method {
		p.t.Fatalf("got %s, want %s", firstLine(m), method)
	}
	return req, m
}

// response waits for the next response that is not a 100 and checks its code.
func (p *peer) response(code int) *sip.Response {
	p.t.Helper()
	for {
		m := p.next()
		res, ok := m.Message.(*sip.Response)
		if ok && res.StatusCode == sip.StatusTrying {
			continue
		}
		if !ok || res.StatusCode != code {
			p.t.Fatalf("got %s, want %d", firstLine(m), code)
		}
		return res
	}
}

// quiet checks that nothing comes for d.
func (p *peer) quiet(d time.Duration) {
	p.t.Helper()
	select {
	case m := <-p.got:
		p.t.Fatalf("got %s, want nothing for %v", firstLine(m), d)
	case <-time.After(d):
	}
}

func firstLine(m received) string {
	line, _, _ := strings.Cut(m.String(), "\r\n")
	return line
}

// noTag makes reply leave the To tag out.
const noTag = "-"

// reply answers a request; extra are header lines.
func (p *peer) reply(req *sip.Request, to netip.AddrPort, code int, tag, body string, extra ...string) {
	p.t.Helper()
	p.send(responseTo(req, code, tag, body, extra...), to)
}

func responseTo(req *sip.Request, code int, tag, body string, extra ...string) string {
	res := sip.NewResponseFromRequest(req, code, "Reason", nil)
	switch tag {
	case "":
	case noTag:
		res.To().Params.Remove("tag") // sipgo has added one
	default:
		res.To().Params.Add("tag", tag)
	}
	for _, e := range extra {
		name, value, _ := strings.Cut(e, ": ")
		res.AppendHeader(sip.NewHeader(name, value))
	}
	if body != "" {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	}
	res.SetBody([]byte(body))
	return res.String()
}

func (p *peer) send(text string, to netip.AddrPort) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort([]byte(text), to); err != nil {
		p.t.Fatal(err)
	}
}

// peerSDP is a description of the peer's, PCMU and telephone-event, with RTP to a port nobody listens on.
func peerSDP(extra ...string) string {
	return "v=0\r\no=- 1 1 IN IP4 " + peerAddr + "\r\ns=-\r\nc=IN IP4 " + peerAddr + "\r\nt=0 0\r\n" +
		"m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n" + strings.Join(extra, "")
}

// call builds a request of the peer's. Lines of extra replace what they name, or are added; "Name:" alone removes.
func (p *peer) build(method, uri, callID string, cseq int, body string, extra ...string) string {
	at := netip.AddrPortFrom(p.at.Addr().WithZone(""), p.at.Port())
	head := []string{
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=z9hG4bK%s-%d-%s;rport", at, callID, cseq, method),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <sip:bob@%s>;tag=p1", hostOf(p.at.Addr())),
		fmt.Sprintf("To: <%s>", uri),
		"Call-ID: " + callID,
		fmt.Sprintf("CSeq: %d %s", cseq, method),
		fmt.Sprintf("Contact: <sip:bob@%s>", at),
	}
	if body != "" {
		head = append(head, "Content-Type: application/sdp")
	}
	for _, e := range extra {
		name, value, _ := strings.Cut(e, ":")
		kept := head[:0]
		for _, h := range head {
			if !strings.HasPrefix(h, name+":") {
				kept = append(kept, h)
			}
		}
		head = kept
		if strings.TrimSpace(value) != "" {
			head = append(head, e)
		}
	}
	return fmt.Sprintf("%s %s SIP/2.0\r\n%s\r\nContent-Length: %d\r\n\r\n%s", method, uri, strings.Join(head, "\r\n"), len(body), body)
}

func (p *peer) invite(to netip.AddrPort, callID, body string, extra ...string) {
	p.t.Helper()
	p.send(p.build("INVITE", "sip:alice@"+to.Addr().String(), callID, 1, body, extra...), to)
}

// within sends a request inside the dialog that res, an answer of the phone's, made.
func (p *peer) within(method string, res *sip.Response, to netip.AddrPort, cseq int, body string, extra ...string) {
	p.t.Helper()
	extra = append([]string{"To: " + res.To().Value()}, extra...)
	uri := "sip:alice@" + to.Addr().String()
	p.send(p.build(method, uri, res.CallID().Value(), cseq, body, extra...), to)
}

func phoneAt() netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(phoneAddr), 5060) }

func alice(a Account) func(*Config) {
	a.AOR = "sip:alice@" + peerAddr
	return func(c *Config) { c.Accounts = []Account{a} }
}

// bubble runs a test in a synctest bubble.
func bubble(t *testing.T, f func(*testing.T)) { t.Helper(); synctest.Test(t, f) }
