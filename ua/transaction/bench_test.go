package transaction

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/transport/wire"
)

// A sinkFlow writes nowhere.
type sinkFlow struct{ *fakeFlow }

func (sinkFlow) Respond(context.Context, []byte) error { return nil }

// BenchmarkOptions is an OPTIONS with a Call-ID of its own, from framed bytes to
// the written 200, by as many as the queues let in. kept-B/op is the heap that
// each leaves behind until timer J, of which 350 bytes are the response.
func BenchmarkOptions(b *testing.B) {
	ready := make(chan struct{}, 1024)
	l := New(Config{MaxAnswered: b.N + 1, OnRequest: func(s *Server) {
		if err := s.Respond(s.Response(200, "OK")); err != nil {
			b.Error(err)
		}
		<-ready
	}})
	f := sinkFlow{newFakeFlow(transport.UDP)}
	f.remote = netip.MustParseAddrPort("198.51.100.7:5070")
	before := heap()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		raw := fmt.Appendf(nil, "OPTIONS sip:alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5070;rport;branch=z9hG4bK-%016d\r\n"+
			"Max-Forwards: 70\r\nFrom: <sip:bob@198.51.100.7>;tag=%08d\r\nTo: <sip:alice@192.0.2.1>\r\n"+
			"Call-ID: %016d@198.51.100.7\r\nCSeq: 1 OPTIONS\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n", i, i, i)
		m, err := wire.Parse(raw, wire.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		ready <- struct{}{}
		l.receive(m, f)
	}
	for range cap(ready) {
		ready <- struct{}{}
	}
	b.StopTimer()
	b.ReportMetric(float64(heap()-before)/float64(b.N), "kept-B/op")
	if n := l.Stats().Answered; n != b.N {
		b.Errorf("%d answers kept, want %d", n, b.N)
	}
	l.close()
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
