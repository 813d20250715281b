package transaction

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

func TestDoKeepsTheOrder(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		var got []int
		for i := range 1000 {
			b.layer.Do("a", func() { got = append(got, i) })
		}
		synctest.Wait()
		for i, n := range got {
			if i != n {
				t.Fatalf("%d ran as number %d", n, i)
			}
		}
		if len(got) != 1000 {
			t.Errorf("%d of 1000 ran", len(got))
		}
	})
}

// Messages, Do and timers of a Call-ID share its queue.
func TestOneAtATime(t *testing.T) {
	busy := false
	enter := func() {
		if busy {
			t.Error("two at a time")
		}
		busy = true
		time.Sleep(time.Millisecond)
		busy = false
	}
	var b *lab
	n := 0
	cfg := Config{OnRequest: func(s *Server) {
		enter()
		n++
		s.OnEnd(func(error) { enter() })
		respond(t, s, 486)
	}}
	inLab(t, transport.UDP, cfg, func(lab *lab) {
		b = lab
		for i := range 20 {
			b.receiveOn(b.flow, incoming{method: "INVITE", branch: fmt.Sprint("z9hG4bK-", i), cseq: i + 1}.String())
			b.layer.Do("call-2@198.51.100.7", enter)
		}
		b.wait(time.Minute)
		if n != 20 {
			t.Errorf("%d requests, want 20", n)
		}
	})
}

func TestCallsDoNotWaitForEachOther(t *testing.T) {
	var b *lab
	hold := make(chan struct{})
	cfg := Config{OnRequest: func(s *Server) {
		if s.Request().CallID().Value() == "slow" {
			<-hold
		}
		b.flow.note("got " + s.Request().CallID().Value())
	}}
	inLab(t, transport.UDP, cfg, func(lab *lab) {
		b = lab
		hold = make(chan struct{})
		b.receive(incoming{method: "OPTIONS", callID: "slow"}.String())
		b.receive(incoming{method: "OPTIONS", callID: "quick"}.String())
		b.trace("0.00 got quick")
		b.wait(time.Second)
		close(hold)
		b.trace("1.00 got slow")
	})
}

func TestFullQueueDropsMessagesOnly(t *testing.T) {
	var b *lab
	n, done := 0, 0
	hold := make(chan struct{})
	cfg := Config{MaxQueue: 10, OnRequest: func(s *Server) {
		<-hold
		n++
		respond(t, s, 200)
	}}
	inLab(t, transport.UDP, cfg, func(lab *lab) {
		b = lab
		hold = make(chan struct{})
		send := func(from, to int) {
			for i := range to - from {
				b.receiveOn(b.flow, incoming{method: "INFO", branch: fmt.Sprint("z9hG4bK-", from+i), cseq: from + i + 1}.String())
			}
		}
		send(0, 1)
		synctest.Wait() // the first is being worked on
		send(1, 31)
		for range 5 {
			b.layer.Do("call-2@198.51.100.7", func() { done++ })
		}
		close(hold)
		synctest.Wait()
		if s := b.layer.Stats(); s.Overflows != 20 || n != 11 || done != 5 {
			t.Errorf("%d dropped, %d handled, %d of Do; want 20, 11, 5", s.Overflows, n, done)
		}
		send(31, 32)
		synctest.Wait()
		if n != 12 {
			t.Error("the queue did not open again")
		}
	})
}

func TestTooManyMessagesInAllQueues(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		set := func(n int) {
			b.layer.mu.Lock()
			defer b.layer.mu.Unlock()
			b.layer.waiting += n
		}
		set(maxWaiting)
		b.receive(incoming{method: "OPTIONS"}.String())
		b.trace()
		set(-1)
		b.receive(incoming{method: "OPTIONS"}.String())
		b.trace("0.00 got OPTIONS")
		set(1 - maxWaiting)
		if n := b.layer.Stats().Overflows; n != 1 {
			t.Errorf("%d overflows, want 1", n)
		}
	})
}

func TestOverloadIsLoggedOnceAMinute(t *testing.T) {
	var out bytes.Buffer
	cfg := Config{MaxTransactions: 1, OnRequest: func(*Server) {}, Log: slog.New(slog.NewTextHandler(&out, nil))}
	inLab(t, transport.UDP, cfg, func(b *lab) {
		for i := range 130 {
			b.receive(incoming{method: "INVITE", branch: fmt.Sprint("z9hG4bK-", i), cseq: i + 1}.String())
			b.wait(time.Second)
		}
		if n := strings.Count(out.String(), "too much to do"); n != 3 {
			t.Errorf("logged %d times in 130 s, want 3:\n%s", n, &out)
		}
	})
}

func TestTooManyTransactions(t *testing.T) {
	var got []*Server
	cfg := Config{MaxTransactions: 3, OnRequest: func(s *Server) { got = append(got, s) }}
	inLab(t, transport.UDP, cfg, func(b *lab) {
		invite := func(i int) incoming {
			return incoming{method: "INVITE", callID: fmt.Sprint("call-", i), branch: fmt.Sprint("z9hG4bK-", i)}
		}
		for i := range 4 {
			b.receive(invite(i).String())
		}
		b.receive(invite(3).String())
		if len(got) != 3 {
			t.Fatalf("%d requests came up, want 3", len(got))
		}
		b.trace("0.00 503 INVITE", "0.00 503 INVITE") // no state is kept of the fourth
		first, second := b.flow.written[0].raw, b.flow.written[1].raw
		if first != second || header(first, "Retry-After") != "5" || !strings.Contains(header(first, "To"), ";tag=") {
			t.Errorf("503 is\n%s\nand then\n%s", first, second)
		}
		// An answered one makes room, even if it is not over.
		b.layer.Do("call-0", func() { respond(t, got[0], 486) })
		synctest.Wait()
		b.receive(invite(4).String())
		if len(got) != 4 {
			t.Errorf("%d requests came up, want 4", len(got))
		}
		if n := b.layer.Stats().Refused; n != 2 {
			t.Errorf("%d refused, want 2", n)
		}
	})
}

func TestRefusedWithinADialog(t *testing.T) {
	inLab(t, transport.UDP, Config{MaxTransactions: 1, OnRequest: func(*Server) {}}, func(b *lab) {
		b.receive(incoming{method: "INVITE", callID: "other"}.String())
		b.receive(incoming{method: "INVITE", to: "<sip:alice@192.0.2.1>;tag=ours"}.String())
		if got := header(b.flow.sent(t, "SIP/2.0 503"), "To"); got != "<sip:alice@192.0.2.1>;tag=ours" {
			t.Errorf("To: %s", got)
		}
	})
}

func TestTooManyTransactionsOfOneCall(t *testing.T) {
	n := 0
	inLab(t, transport.UDP, Config{OnRequest: func(*Server) { n++ }}, func(b *lab) {
		for i := range maxPerCall + 5 {
			b.receive(incoming{method: "INVITE", cseq: i + 1, branch: fmt.Sprint("z9hG4bK-", i)}.String())
		}
		if s := b.layer.Stats(); n != maxPerCall || s.Refused != 5 {
			t.Errorf("%d came up, %d refused; want %d, 5", n, s.Refused, maxPerCall)
		}
	})
}

// Nothing is left of a Call-ID without transactions: no goroutine, no entry.
func TestIdleCallsCostNothing(t *testing.T) {
	cfg := Config{OnRequest: func(s *Server) { respond(t, s, 200) }}
	inLab(t, transport.UDP, cfg, func(b *lab) {
		for i := range 1000 {
			b.receive(incoming{method: "OPTIONS", callID: fmt.Sprint("call-", i)}.String())
		}
		if s := b.layer.Stats(); s.Calls != 0 || s.Servers != 0 || s.Answered != 1000 {
			t.Errorf("%+v", s)
		}
		if n := b.goroutines(); n != 0 {
			t.Errorf("%d goroutines", n)
		}
		b.wait(33 * time.Second)
		if s := b.layer.Stats(); s.Answered != 0 {
			t.Errorf("%d answers after timer J", s.Answered)
		}
	})
}

// All transactions on flows that end together have one goroutine in common.
func TestWatchesAreShared(t *testing.T) {
	inLab(t, transport.UDP, Config{}, func(b *lab) {
		for i := range 100 {
			other := newFakeFlow(transport.UDP)
			other.done = b.flow.done // the same socket
			b.receiveOn(other, incoming{method: "INVITE", callID: fmt.Sprint("call-", i)}.String())
		}
		b.send(sip.OPTIONS)
		synctest.Wait()
		if n := b.goroutines(); n != 1 {
			t.Errorf("%d goroutines for the flows of 101 transactions, want 1", n)
		}
		b.flow.down(nil)
		synctest.Wait()
		if s := b.layer.Stats(); s.FlowsDown != 101 || s.Calls != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// goroutines returns how many the layer has, not counting Run.
func (b *lab) goroutines() int {
	b.layer.mu.Lock()
	defer b.layer.mu.Unlock()
	return b.layer.running
}
