package ua

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
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
