package ua

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/internal/memnet"
	"github.com/gosipua/gosipua/transport/wire"
)

// tcpPeer is a scripted SIP element that is connected to.
type tcpPeer struct {
	*peer // for reading; its own socket is not used
	from  chan net.Conn
}

func startTCPPeer(t *testing.T, h *memnet.Host, at netip.AddrPort) *tcpPeer {
	t.Helper()
	l, err := h.Listen(context.Background(), at, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &tcpPeer{peer: &peer{t: t, got: make(chan received, 1000), at: at}, from: make(chan net.Conn, 1000)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// serve reads what comes over a connection; from has its connection for each message of got.
func (p *tcpPeer) serve(c net.Conn) {
	defer c.Close()
	r := wire.NewReader(c, wire.Limits{})
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		msg, err := sip.ParseMessage(m.Raw)
		if err != nil {
			p.t.Errorf("peer cannot read %q: %v", m.Raw, err)
			return
		}
		p.from <- c
		p.got <- received{msg, netip.AddrPort{}, time.Now()}
	}
}

// answer answers a request over the connection that it came on, and returns that.
func (p *tcpPeer) answer(req *sip.Request, code int, tag, body string, extra ...string) net.Conn {
	p.t.Helper()
	c := <-p.from
	if _, err := io.WriteString(c, responseTo(req, code, tag, body, extra...)); err != nil {
		p.t.Error(err)
	}
	return c
}

// send writes to a connection.
func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func TestCallOverTCPKeepsItsConnection(t *testing.T) { bubble(t, testCallOverTCP) }

func testCallOverTCP(t *testing.T) {
	n := memnet.New()
	at := netip.AddrPortFrom(netip.MustParseAddr(peerAddr), 5060)
	r := startTCPPeer(t, n.Host(at.Addr()), at)
	p := startPhone(t, n, phoneAddr, alice(Account{}))
	defer p.stop()
	c, err := p.Dial(t.Context(), "", bob+";transport=tcp", CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	inv, _ := r.request(sip.INVITE)
	if got, want := header(inv, "Contact"), "<sip:alice@192.0.2.10:5060;transport=tcp>"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	if got := header(inv, "Via"); !strings.HasPrefix(got, "SIP/2.0/TCP 192.0.2.10:5060;") {
		t.Errorf("Via %s", got)
	}
	first := r.answer(inv, 200, "b1", peerSDP(), "Contact: <sip:bob@192.0.2.1:5060;transport=tcp>")
	r.request(sip.ACK)
	if used := <-r.from; used != first {
		t.Error("the ACK opened another connection")
	}
	synctest.Wait()
	first.Close() // the call lasts, and opens another when it needs one
	time.Sleep(time.Minute)
	if c.State() != Established {
		t.Fatalf("state %s", c.State())
	}
	c.Hangup()
	bye, _ := r.request(sip.BYE)
	r.answer(bye, 200, "", "")
	<-c.Done()
}

func TestCallerThatCannotBeConnectedTo(t *testing.T) { bubble(t, testUnreachableCaller) }

func testUnreachableCaller(t *testing.T) {
	n := memnet.New()
	p := startPhone(t, n, phoneAddr, alice(Account{Answer: AnswerAuto}))
	defer p.stop()
	h := n.Host(netip.MustParseAddr(peerAddr))
	conn, err := h.Dial(t.Context(), netip.MustParseAddr(peerAddr), phoneAt(), "")
	if err != nil {
		t.Fatal(err)
	}
	r := &tcpPeer{peer: &peer{t: t, got: make(chan received, 1000), at: netip.MustParseAddrPort(peerAddr + ":5060")}, from: make(chan net.Conn, 1000)}
	go r.serve(conn)
	via := "Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK"
	contact := "Contact: <sip:bob@198.51.100.99;transport=tcp>" // behind a NAT
	send(t, conn, r.build("INVITE", "sip:alice@"+phoneAddr, "c1", 1, peerSDP(), via+"1", contact))
	ok := r.response(200)
	<-r.from
	if got, want := header(ok, "Contact"), "<sip:alice@192.0.2.10:5060;transport=tcp>"; got != want {
		t.Errorf("Contact %s, want %s", got, want)
	}
	send(t, conn, r.build("ACK", "sip:alice@"+phoneAddr, "c1", 1, "", via+"2", "To: "+ok.To().Value()))
	synctest.Wait()
	c := p.event(t, CallAnswered).Call
	c.Hangup()
	bye, _ := r.request(sip.BYE)
	r.answer(bye, 200, "", "")
	<-c.Done()
}

func TestRequestTooLargeForADatagram(t *testing.T) {
	for _, tcp := range []bool{true, false} {
		t.Run(fmt.Sprintf("TCP %v", tcp), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := memnet.New()
				r := startPeer(t, n, peerAddr)
				p := startPhone(t, n, phoneAddr, func(c *Config) {
					c.Accounts = []Account{{AOR: "sip:" + strings.Repeat("a", 500) + "@" + peerAddr}}
				})
				defer p.stop()
				var s *tcpPeer
				if tcp {
					s = startTCPPeer(t, r.host, r.at)
				}
				c := dial(t, p)
				if !tcp {
					inv, m := r.request(sip.INVITE) // there is no other way
					r.reply(inv, m.from, 486, "b1", "")
					r.request(sip.ACK)
					return
				}
				inv, _ := s.request(sip.INVITE)
				if !strings.HasPrefix(header(inv, "Via"), "SIP/2.0/TCP ") || !strings.HasSuffix(header(inv, "Contact"), ";transport=tcp>") {
					t.Errorf("Via %s, Contact %s", header(inv, "Via"), header(inv, "Contact"))
				}
				s.answer(inv, 486, "b1", "")
				<-c.Done()
				r.quiet(time.Second)
			})
		})
	}
}
