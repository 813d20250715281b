package transaction

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/transport/wire"
)

// A lossyFlow is one end of a way between two Layers that loses, delays and
// thereby reorders messages.
type lossyFlow struct {
	*fakeFlow
	to   *Layer
	back *lossyFlow // on which the other end receives

	mu   sync.Mutex
	rand *rand.Rand
}

func (f *lossyFlow) Send(_ context.Context, raw []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rand.IntN(4) == 0 {
		return nil
	}
	raw = bytes.Clone(raw)
	time.AfterFunc(time.Duration(f.rand.IntN(300))*time.Millisecond, func() {
		if m, err := wire.Parse(raw, wire.Limits{}); err == nil {
			f.to.receive(m, f.back)
		}
	})
	return nil
}

func (f *lossyFlow) Respond(ctx context.Context, raw []byte) error { return f.Send(ctx, raw) }

// Through a network that loses a quarter of everything and reorders the rest,
// every request reaches the other side once, and everything ends.
func TestLossAndReordering(t *testing.T) {
	const n = 300
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		arrived := make(map[string]int)
		var ends []error
		server := New(Config{OnRequest: func(s *Server) {
			id := s.Request().CallID().Value()
			mu.Lock()
			arrived[id]++
			mu.Unlock()
			s.OnEnd(func(err error) {
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, err)
			})
			if s.Request().Method != sip.INVITE {
				respond(t, s, 200)
				return
			}
			time.AfterFunc(time.Second, func() {
				server := s.layer
				server.Do(id, func() { respond(t, s, 180) })
				server.Do(id, func() { respond(t, s, 486) })
			})
		}})
		client := New(Config{OnRequest: func(s *Server) { t.Errorf("the client got a request: %s", s.Request().StartLine()) }})
		there := &lossyFlow{fakeFlow: newFakeFlow(transport.UDP), to: server, rand: rand.New(rand.NewPCG(1, 2))}
		here := &lossyFlow{fakeFlow: newFakeFlow(transport.UDP), to: client, rand: rand.New(rand.NewPCG(3, 4)), back: there}
		there.back = here

		finals, failed := make(map[string]int), 0
		for i := range n {
			method := []sip.RequestMethod{sip.INVITE, sip.OPTIONS, sip.MESSAGE}[i%3]
			req := request(method)
			id := sip.CallIDHeader(fmt.Sprint("call-", i))
			req.ReplaceHeader(&id)
			_, err := client.sendOn(there, req, func(res *sip.Response, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed++
				}
				if err != nil || !res.IsProvisional() {
					finals[string(id)]++
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()

		for i := range n {
			id := fmt.Sprint("call-", i)
			if arrived[id] > 1 {
				t.Errorf("%s came up %d times", id, arrived[id])
			}
			if finals[id] != 1 {
				t.Errorf("%s has %d final results, want 1", id, finals[id])
			}
		}
		if failed > n/20 {
			t.Errorf("%d of %d failed", failed, n)
		}
		if len(ends) != len(arrived) {
			t.Errorf("%d of %d server transactions ended", len(ends), len(arrived))
		}
		for name, s := range map[string]Stats{"client": client.Stats(), "server": server.Stats()} {
			if s.Clients != 0 || s.Servers != 0 || s.Calls != 0 || s.Answered != 0 || s.Bad != 0 || s.Merged != 0 {
				t.Errorf("%s: %+v", name, s)
			}
		}
		if s := server.Stats(); s.Retransmissions == 0 || s.Resent == 0 {
			t.Errorf("nothing was ever lost? %+v", s)
		}
		client.close()
		server.close()
	})
}
