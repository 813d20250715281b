package transaction

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/transport/wire"
)

// TestMain fails the package if a goroutine of it outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leftovers(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leftovers returns the stacks of goroutines of this package, after giving them
// a while to end.
func leftovers() string {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var left string
	for range 200 {
		buf := make([]byte, 1<<20)
		buf = buf[:runtime.Stack(buf, true)]
		left = ""
		for g := range bytes.SplitSeq(buf, []byte("\n\n")) {
			if bytes.Contains(g, []byte("gosipua/ua/transaction")) && !bytes.Contains(g, []byte("TestMain")) {
				left += string(g) + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
		<-tick.C
	}
	return left
}

// A fakeFlow is a flow whose other end is the test.
type fakeFlow struct {
	proto      transport.Proto
	advertised netip.AddrPort
	remote     netip.AddrPort
	done       chan struct{}
	began      time.Time

	mu      sync.Mutex
	err     error // why it is down
	refuse  error // what Send and Respond return
	written []written
	log     []string
}

type written struct {
	at  time.Duration
	raw string
}

func newFakeFlow(p transport.Proto) *fakeFlow {
	return &fakeFlow{
		proto:      p,
		advertised: netip.MustParseAddrPort("192.0.2.1:5060"),
		remote:     netip.MustParseAddrPort("198.51.100.7:5070"),
		done:       make(chan struct{}),
		began:      time.Now(),
	}
}

func (f *fakeFlow) Proto() transport.Proto     { return f.proto }
func (f *fakeFlow) Advertised() netip.AddrPort { return f.advertised }
func (f *fakeFlow) Remote() netip.AddrPort     { return f.remote }
func (f *fakeFlow) Done() <-chan struct{}      { return f.done }
func (f *fakeFlow) String() string             { return string(f.proto) + " " + f.remote.String() }

func (f *fakeFlow) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fakeFlow) Send(_ context.Context, raw []byte) error    { return f.write(raw) }
func (f *fakeFlow) Respond(_ context.Context, raw []byte) error { return f.write(raw) }

func (f *fakeFlow) write(raw []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse
	}
	w := written{time.Since(f.began), string(raw)}
	f.written = append(f.written, w)
	f.log = append(f.log, w.String())
	return nil
}

// String is the time in hundredths of a second, and what a trace calls the
// message: "0.50 INVITE", "3.50 100 OPTIONS".
func (w written) String() string {
	start, _, _ := strings.Cut(w.raw, "\r\n")
	what, rest, _ := strings.Cut(start, " ")
	if what == "SIP/2.0" {
		what, _, _ = strings.Cut(rest, " ")
		_, method, _ := strings.Cut(header(w.raw, "CSeq"), " ")
		what += " " + method
	}
	return stamp(w.at) + " " + what
}

func stamp(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

func (f *fakeFlow) setRefuse(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

func (f *fakeFlow) down(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	close(f.done)
}

// note adds a line of the test's own to the trace.
func (f *fakeFlow) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, stamp(time.Since(f.began))+" "+what)
}

// sent returns what was written last that begins with start ("INVITE", "SIP/2.0
// 200").
func (f *fakeFlow) sent(t *testing.T, start string) string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range slices.Backward(f.written) {
		if strings.HasPrefix(w.raw, start) {
			return w.raw
		}
	}
	t.Fatalf("nothing sent that begins with %q; trace %q", start, f.log)
	return ""
}

// A lab is a Layer with one flow, in a bubble of testing/synctest.
type lab struct {
	t     *testing.T
	layer *Layer
	flow  *fakeFlow
	ended chan struct{}
}

// inLab runs test with a Layer made of cfg and a flow of proto. OnRequest notes
// the request in the trace, unless cfg has its own. When test returns, the layer
// ends, and whatever is left of it fails the test.
func inLab(t *testing.T, proto transport.Proto, cfg Config, test func(*lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &lab{t: t, flow: newFakeFlow(proto), ended: make(chan struct{})}
		if cfg.OnRequest == nil {
			cfg.OnRequest = func(s *Server) { b.flow.note("got " + string(s.Request().Method)) }
		}
		b.layer = New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(b.ended)
			_ = b.layer.Run(ctx)
		}()
		test(b)
		cancel()
		<-b.ended
		if s := b.layer.Stats(); s.Servers != 0 || s.Clients != 0 || s.Answered != 0 || s.Calls != 0 {
			t.Errorf("left behind: %+v", s)
		}
		if n, m := b.layer.count.pending.Load(), b.layer.waiting; n != 0 || m != 0 {
			t.Errorf("in the end %d requests count as pending, %d messages as waiting", n, m)
		}
	})
}

// receive lets the layer receive raw and waits until it has dealt with it.
func (b *lab) receive(raw string) {
	b.t.Helper()
	b.receiveOn(b.flow, raw)
	synctest.Wait()
}

func (b *lab) receiveOn(f flow, raw string) {
	b.t.Helper()
	m, err := wire.Parse([]byte(raw), wire.Limits{})
	if err != nil {
		b.t.Fatalf("%v in:\n%s", err, raw)
	}
	if m.Head.Request {
		m.SetReceived(f.Remote()) // as transport does
	}
	b.layer.receive(m, f)
}

// wait lets d pass, and everything happen that is due.
func (b *lab) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// trace fails the test unless this, and nothing else, happened since the last
// call.
func (b *lab) trace(want ...string) {
	b.t.Helper()
	synctest.Wait()
	b.flow.mu.Lock()
	defer b.flow.mu.Unlock()
	if !slices.Equal(b.flow.log, want) {
		b.t.Errorf("trace:\n got %q\nwant %q", b.flow.log, want)
	}
	b.flow.log = nil
}

// on is a callback for Send that notes everything in the trace.
func (b *lab) on(res *sip.Response, err error) {
	if err != nil {
		b.flow.note("error " + short(err))
		return
	}
	b.flow.note(fmt.Sprintf("got %d", res.StatusCode))
}

func short(err error) string {
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, ErrTimeout):
		return "timeout"
	case errors.Is(err, ErrFlowDown):
		return "flow down"
	case errors.Is(err, ErrClosed):
		return "closed"
	case errors.Is(err, ErrTerminated):
		return "terminated"
	}
	return err.Error()
}

// send sends a request of the method and notes what comes of it.
func (b *lab) send(method sip.RequestMethod) *Client {
	b.t.Helper()
	c, err := b.layer.sendOn(b.flow, request(method), b.on)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// answer receives a response to the newest sent request of that method.
func (b *lab) answer(method sip.RequestMethod, status int, more ...string) {
	b.t.Helper()
	b.receive(response(b.flow.sent(b.t, string(method)+" "), status, more...))
}

// request is a request as a transaction user makes it.
func request(method sip.RequestMethod) *sip.Request {
	r := sip.NewRequest(method, sip.Uri{Scheme: "sip", User: "bob", Host: "198.51.100.7"})
	id := sip.CallIDHeader("call-1@192.0.2.1")
	r.AppendHeader(&sip.FromHeader{Address: sip.Uri{User: "alice", Host: "192.0.2.1"}, Params: sip.HeaderParams{{K: "tag", V: "a"}}})
	r.AppendHeader(&sip.ToHeader{Address: sip.Uri{User: "bob", Host: "198.51.100.7"}})
	r.AppendHeader(&id)
	r.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: method})
	return r
}

// response answers the request raw. A line in more that begins with "tag="
// becomes the To tag, other lines become headers.
func response(raw string, status int, more ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d Whatever\r\n", status)
	to, headers := "", ""
	for _, m := range more {
		if strings.HasPrefix(m, "tag=") {
			to = ";" + m
		} else {
			headers += m + "\r\n"
		}
	}
	for line := range strings.SplitSeq(raw, "\r\n") {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "Via", "From", "Call-ID", "CSeq":
			b.WriteString(line + "\r\n")
		case "To":
			b.WriteString(line + to + "\r\n")
		}
	}
	return b.String() + headers + "Content-Length: 0\r\n\r\n"
}

// An incoming is a request as a peer sends it; zero fields have the values of
// call 1.
type incoming struct {
	method, uri, via, branch, from, to, callID string
	cseq                                       int
	more                                       string // header lines
	body                                       string
}

func (r incoming) String() string {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&r.uri, "sip:alice@192.0.2.1")
	def(&r.branch, "z9hG4bK-1")
	def(&r.via, "SIP/2.0/UDP 198.51.100.7:5070;branch="+r.branch)
	def(&r.from, "<sip:bob@198.51.100.7>;tag=b")
	def(&r.to, "<sip:alice@192.0.2.1>")
	def(&r.callID, "call-2@198.51.100.7")
	if r.cseq == 0 {
		r.cseq = 1
	}
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n%sContent-Length: %d\r\n\r\n%s",
		r.method, r.uri, r.via, r.from, r.to, r.callID, r.cseq, r.method, r.more, len(r.body), r.body)
}

// ack is the ACK to the failure res of the request r.
func (r incoming) ack(res string) string {
	r.method, r.to = "ACK", header(res, "To")
	return r.String()
}

// header returns the value of the first header of that name in raw.
func header(raw, name string) string {
	head, _, _ := strings.Cut(raw, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, v, ok := strings.Cut(line, ": "); ok && n == name {
			return v
		}
	}
	return ""
}

// replace makes one change, which must be possible.
func replace(t *testing.T, s string, change [2]string) string {
	t.Helper()
	if change[0] == "" {
		return s
	}
	if !strings.Contains(s, change[0]) {
		t.Fatalf("no %q in:\n%s", change[0], s)
	}
	return strings.Replace(s, change[0], change[1], 1)
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
