package transaction

import (
	"bytes"
	"testing"

	"github.com/gosipua/gosipua/transport/wire"
)

// FuzzReceive feeds a Layer whatever wire lets through: it answers or drops it,
// the answers can be read and go back the way the request came, and a copy of a
// request never reaches the transaction user.
func FuzzReceive(f *testing.F) {
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := wire.Parse(raw, wire.Limits{})
		if err != nil {
			t.Skip()
		}
		n := 0
		l := New(Config{})
		l.cfg.OnRequest = func(s *Server) {
			if s.Request().Method == "ACK" {
				return
			}
			n++
			// What was parsed can be written again.
			if err := s.Respond(s.Response(404, "Not Found")); err != nil {
				t.Errorf("Respond: %v", err)
			}
		}
		flow := newFakeFlow("udp")
		if m.Head.Request {
			m.SetReceived(flow.remote)
		}
		for range 2 {
			again := m
			again.Raw = bytes.Clone(m.Raw)
			l.receive(again, flow)
		}
		idle := make(chan struct{})
		l.Do(m.Head.CallID, func() { close(idle) })
		<-idle
		for _, w := range flow.written {
			res, err := wire.Parse([]byte(w.raw), wire.Limits{Message: 1 << 20, Head: 1 << 20, Headers: 1 << 10})
			if err != nil {
				t.Errorf("%v in what was written:\n%q", err, w.raw)
				continue
			}
			for _, name := range []string{"Via", "From", "Call-ID", "CSeq"} {
				if header(string(res.Raw), name) != header(string(m.Raw), name) {
					t.Errorf("%s in the response to\n%q\nis\n%q", name, m.Raw, w.raw)
				}
			}
		}
		if n > 1 {
			t.Errorf("the same request came up %d times", n)
		}
		l.close()
	})
}
