package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
	"github.com/gosipua/gosipua/internal/memnet"
)

// Messages come in the order they were sent, however the bytes are cut up.
func TestStreamOrder(t *testing.T) { synctest.Test(t, testStreamOrder) }

func testStreamOrder(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	conn := w.dial("192.0.2.9", "192.0.2.1:5060")
	var all, want strings.Builder
	for i := range 1000 {
		for _, method := range []string{"INVITE", "CANCEL"} {
			all.WriteString(request(method, "TCP", "192.0.2.9", i))
			fmt.Fprintf(&want, "%s %d\n", method, i)
		}
	}
	data := all.String()
	for n := 1; len(data) > 0; n = n%4000 + 7 {
		n = min(n, len(data))
		w.send(conn, data[:n])
		data = data[n:]
	}
	var got strings.Builder
	for _, m := range w.received() {
		fmt.Fprintf(&got, "%s %d\n", m.Head.Method, m.Head.CSeq)
	}
	if got.String() != want.String() {
		t.Error("messages are missing or out of order")
	}
}

func TestAnswersOverTCP(t *testing.T) { synctest.Test(t, testAnswersOverTCP) }

func testAnswersOverTCP(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	w.told()
	conn := w.dial("192.0.2.9", "192.0.2.1:5060")
	w.send(conn, options("TCP", "192.0.2.9:5070"))
	m := w.one()
	w.expect("flow_up tcp 192.0.2.1:5060 > " + conn.LocalAddr().String())
	if err := m.Flow.Respond(t.Context(), answer(m)); err != nil {
		t.Fatal(err)
	}
	if got := w.read(conn); !strings.HasPrefix(got, "SIP/2.0 200 OK\r\n") {
		t.Errorf("got %s", got)
	}

	// The connection is gone: a new one, from the address that was asked, to the
	// port of the sent-by.
	l := w.listen("192.0.2.9:5070")
	conn.Close()
	synctest.Wait()
	if !isDown(m.Flow.Done()) || !errors.Is(m.Flow.Err(), errPeerClosed) {
		t.Errorf("flow: %v", m.Flow.Err())
	}
	if err := m.Flow.Respond(t.Context(), answer(m)); err != nil {
		t.Fatal(err)
	}
	again := w.accept(l)
	if got := w.read(again); !strings.HasPrefix(got, "SIP/2.0 200 OK\r\n") {
		t.Errorf("got %s", got)
	}
	if from := remoteAddr(again).Addr(); from != addr("192.0.2.1") {
		t.Errorf("from %s", from)
	}
	l.Close()
	again.Close()
	synctest.Wait()
	if err := m.Flow.Respond(t.Context(), answer(m)); !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(err, errPeerClosed) {
		t.Errorf("nobody there: %v", err)
	}
	if err := m.Flow.Respond(t.Context(), []byte("SIP/2.0 200 OK\r\n\r\n")); !errors.Is(err, errNoVia) {
		t.Errorf("no Via: %v", err)
	}
}

// A connection that somebody opened to us never carries a request of ours, even
// to where it came from: nobody has shown who is at its other end.
func TestRequestsNeverGoToStrangers(t *testing.T) { synctest.Test(t, testRequestsNeverGoToStrangers) }

func testRequestsNeverGoToStrangers(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	stranger := w.dial("192.0.2.9", "192.0.2.1:5060")
	w.send(stranger, options("TCP", "192.0.2.9"))
	in := w.one().Flow
	w.told()
	_, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: in.Remote()})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("to the stranger's port: %v", err)
	}
	l := w.listen("192.0.2.9:5060")
	f, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.9:5060"), Local: addr("192.0.2.1")})
	if err != nil || f == in {
		t.Fatalf("%v, %v", f, err)
	}
	if err := f.Send(t.Context(), []byte(options("TCP", "192.0.2.1"))); err != nil {
		t.Fatal(err)
	}
	if got := w.read(w.accept(l)); !strings.HasPrefix(got, "OPTIONS") {
		t.Errorf("got %q", got)
	}
	stranger.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := stranger.Read(make([]byte, 9)); err == nil {
		t.Errorf("the stranger got %d bytes", n)
	}
	// Requests that the peer sends on a connection of ours are welcome.
	if again, _ := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.9:5060")}); again != f {
		t.Errorf("not reused: %v", again)
	}
}

// A connection is opened once for all who ask at the same time, and one who
// gives up waiting takes nothing from the others.
func TestDialsOnce(t *testing.T) { synctest.Test(t, testDialsOnce) }

func testDialsOnce(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	l := w.listen("192.0.2.9:5060")
	dials := 0
	w.net.SetHooks(memnet.Hooks{Dial: func(netip.Addr, netip.AddrPort) error {
		dials++
		time.Sleep(2 * time.Second)
		return nil
	}})
	target := Target{Proto: TCP, Addr: addrPort("192.0.2.9:5060")}
	type result struct {
		f   *Flow
		err error
	}
	results := make(chan result, 10)
	ask := func(d time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		f, err := w.m.Flow(ctx, target)
		results <- result{f, err}
	}
	go ask(time.Second) // the first one gives up
	synctest.Wait()
	for range 9 {
		go ask(time.Minute)
	}
	first := <-results
	if fe := (*FlowError)(nil); !errors.As(first.err, &fe) || !errors.Is(first.err, context.DeadlineExceeded) {
		t.Errorf("who gave up: %v", first.err)
	}
	var flow *Flow
	for range 9 {
		r := <-results
		if r.err != nil || flow != nil && r.f != flow {
			t.Fatalf("%v, %v", r.f, r.err)
		}
		flow = r.f
	}
	w.accept(l)
	if dials != 1 {
		t.Errorf("dialed %d times", dials)
	}
}

func TestDialErrors(t *testing.T) { synctest.Test(t, testDialErrors) }

func testDialErrors(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	w.net.Host(addr("192.0.2.9"))
	_, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.9:5060")})
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.HasPrefix(err.Error(), "dial tcp 192.0.2.9:5060 from 192.0.2.1:0: ") {
		t.Errorf("refused: %v", err)
	}
	start := time.Now()
	if _, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.8:5060")}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != defaultConnectTimeout {
		t.Errorf("nobody there: %v after %s", err, time.Since(start))
	}
	for _, p := range []Proto{TLS, WS, WSS} {
		if _, err := w.m.Flow(t.Context(), Target{Proto: p, Addr: addrPort("192.0.2.9:5061")}); !errors.Is(err, errNotSupported) {
			t.Errorf("%s: %v", p, err)
		}
	}
	for _, a := range []netip.AddrPort{{}, addrPort("0.0.0.0:5060"), addrPort("192.0.2.9:0")} {
		if _, err := w.m.Flow(t.Context(), Target{Proto: UDP, Addr: a}); !errors.Is(err, ErrNoAddress) {
			t.Errorf("%s: %v", a, err)
		}
	}
	// What failed is forgotten.
	l := w.listen("192.0.2.9:5060")
	if _, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.9:5060")}); err != nil {
		t.Error(err)
	}
	w.accept(l)
}

// An address that goes takes its connections with it, at once and with a reset;
// no other connection notices.
func TestAddressGoesUnderConnections(t *testing.T) { synctest.Test(t, testAddressGoesUnderConnections) }

func testAddressGoesUnderConnections(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	w.host.Add(addr("192.0.2.2"))
	both := append(usual(), ifwatchtest.Addr(2, "192.0.2.2/24"))
	w.set(both...)
	lost, kept := w.dial("192.0.2.9", "192.0.2.2:5060"), w.dial("192.0.2.8", "192.0.2.1:5060")
	l := w.listen("192.0.2.7:5060")
	dialed, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.7:5060"), Local: addr("192.0.2.2")})
	if err != nil {
		t.Fatal(err)
	}
	far := w.accept(l)
	w.told()
	w.host.Remove(addr("192.0.2.2"))
	w.set(usual()...)
	if got := w.told(); len(got) != 5 || got[0] != "address_down  192.0.2.2:0" ||
		!slices.Contains(got, "flow_down tcp "+dialed.Local().String()+" > 192.0.2.7:5060") ||
		!slices.Contains(got, "flow_down tcp 192.0.2.2:5060 > "+lost.LocalAddr().String()) {
		t.Errorf("events %v", got)
	}
	if !isDown(dialed.Done()) || !errors.Is(dialed.Err(), ErrAddressGone) {
		t.Errorf("flow: %v", dialed.Err())
	}
	if err := dialed.Send(t.Context(), []byte("x")); !errors.Is(err, ErrAddressGone) {
		t.Errorf("send: %v", err)
	}
	for _, c := range []net.Conn{lost, far} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the peer reads %v", err)
		}
	}
	w.send(kept, options("TCP", "192.0.2.8"))
	w.one()
	// The address is back: nothing old is used for it.
	w.host.Add(addr("192.0.2.2"))
	w.set(both...)
	again, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.7:5060"), Local: addr("192.0.2.2")})
	if err != nil || again == dialed {
		t.Errorf("%v, %v", again, err)
	}
}

// The address goes while a connection from it is being opened.
func TestAddressGoesWhileDialing(t *testing.T) { synctest.Test(t, testAddressGoesWhileDialing) }

func testAddressGoesWhileDialing(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	l := w.listen("192.0.2.9:5060")
	w.net.SetHooks(memnet.Hooks{Dial: func(netip.Addr, netip.AddrPort) error { time.Sleep(time.Second); return nil }})
	result := make(chan error)
	go func() {
		_, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.9:5060")})
		result <- err
	}()
	synctest.Wait()
	w.set(usual()[1:]...)
	if err := <-result; !errors.Is(err, ErrNoAddress) { // another address was looked for, and there is none
		t.Errorf("got %v", err)
	}
	if _, err := w.accept(l).Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer reads %v", err)
	}
}

func TestKeepAlivesOverTCP(t *testing.T) { synctest.Test(t, testKeepAlivesOverTCP) }

func testKeepAlivesOverTCP(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	conn := w.dial("192.0.2.9", "192.0.2.1:5060")
	w.send(conn, "\r\n\r\n"+options("TCP", "192.0.2.9")+"\r\n\r\n")
	w.one()
	if got := w.read(conn); got != "\r\n\r\n" {
		t.Errorf("two pings were answered with %q", got)
	}
	time.Sleep(time.Minute)
	w.send(conn, "\r\n")
	synctest.Wait()
	if s := w.m.Stats(); s.KeepAlives != 3 {
		t.Errorf("%+v", s)
	}
}

func TestStreamLimits(t *testing.T) { synctest.Test(t, testStreamLimits) }

func testStreamLimits(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	start := time.Now()
	ends := make(chan string)
	watch := func(name string, c net.Conn) {
		_, err := io.Copy(io.Discard, c)
		ends <- fmt.Sprintf("%s after %s, %v", name, time.Since(start), err)
	}
	silent := w.dial("192.0.2.9", "192.0.2.1:5060")
	slow := w.dial("192.0.2.9", "192.0.2.1:5060")
	idle := w.dial("192.0.2.9", "192.0.2.1:5060")
	quiet := w.dial("192.0.2.9", "192.0.2.1:5060")
	go watch("silent", silent)
	go watch("slow", slow)
	w.send(idle, options("TCP", "192.0.2.9"))
	w.one()
	w.send(quiet, options("TCP", "192.0.2.9"))
	f := w.one().Flow
	go watch("idle", idle)
	go func() {
		for range 40 { // a byte a second is not enough
			slow.Write([]byte("O"))
			time.Sleep(time.Second)
		}
	}()
	go func() { // we talk on this one, which is as good
		for range 3 {
			time.Sleep(50 * time.Minute)
			f.Send(t.Context(), []byte("\r\n"))
		}
	}()
	go watch("quiet", quiet)
	got := []string{<-ends, <-ends, <-ends, <-ends}
	slices.Sort(got)
	want := []string{"idle after 1h0m0s, <nil>", "quiet after 3h30m0s, <nil>", "silent after 16s, <nil>", "slow after 16s, <nil>"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	synctest.Wait()
	if s := w.m.Stats(); s.Slow != 2 || s.Idle != 2 || s.Conns != 0 || s.Accepted != 4 {
		t.Errorf("%+v", s)
	}
}

// A connection that was opened from here may be silent for as long as it likes.
func TestDialedNeverIdles(t *testing.T) { synctest.Test(t, testDialedNeverIdles) }

func testDialedNeverIdles(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	l := w.listen("192.0.2.9:5060")
	f, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.9:5060")})
	if err != nil {
		t.Fatal(err)
	}
	far := w.accept(l)
	time.Sleep(48 * time.Hour)
	if f.Err() != nil {
		t.Errorf("after two days: %v", f.Err())
	}
	w.send(far, "OPTIONS") // but a message that has begun has to end
	time.Sleep(defaultSlowTimeout - time.Second)
	if f.Err() != nil {
		t.Errorf("too early: %v", f.Err())
	}
	time.Sleep(2 * time.Second)
	if !errors.Is(f.Err(), errSlow) {
		t.Errorf("got %v", f.Err())
	}
}

func TestConnectionLimits(t *testing.T) { synctest.Test(t, testConnectionLimits) }

func testConnectionLimits(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxConns, c.MaxConnsPerPeer = 4, 2 })
	defer w.end()
	l := w.listen("192.0.2.7:5060")
	up := func(c net.Conn) bool {
		w.send(c, options("TCP", "h"))
		return len(w.received()) == 1
	}
	var conns []net.Conn
	for i, tt := range []struct {
		from string
		want bool
	}{
		{"192.0.2.9", true},
		{"192.0.2.9", true},
		{"192.0.2.9", false}, // one too many of this peer
		{"192.0.2.8", true},
		{"192.0.2.6", true},
		{"192.0.2.5", false}, // one too many in all
	} {
		c := w.dial(tt.from, "192.0.2.1:5060")
		synctest.Wait()
		if _, err := c.Write([]byte(options("TCP", "h"))); (err == nil) != tt.want || (len(w.received()) == 1) != tt.want {
			t.Errorf("connection %d from %s: %v", i, tt.from, err)
		}
		if tt.want {
			conns = append(conns, c)
		}
	}
	if _, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.7:5060")}); !errors.Is(err, errTooMany) {
		t.Errorf("one more dialed: %v", err)
	}
	conns[0].Close()
	synctest.Wait()
	f, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.7:5060")})
	if err != nil {
		t.Fatal(err)
	}
	w.accept(l)
	conns[1].Close()
	synctest.Wait()
	if c := w.dial("192.0.2.9", "192.0.2.1:5060"); !up(c) {
		t.Error("room again, but not accepted")
	}
	// Full again: what was dialed and is not used any more makes room.
	time.Sleep(idleEnough + time.Second)
	l2 := w.listen("192.0.2.4:5060")
	if _, err := w.m.Flow(t.Context(), Target{Proto: TCP, Addr: addrPort("192.0.2.4:5060")}); err != nil {
		t.Errorf("no room made: %v", err)
	}
	w.accept(l2)
	if !errors.Is(f.Err(), errMakeRoom) {
		t.Errorf("flow: %v", f.Err())
	}
	if s := w.m.Stats(); s.Rejected != 2 || s.Conns != 4 {
		t.Errorf("%+v", s)
	}
}

// A peer that does not read costs its own connection, after the write time-out,
// and nobody else anything.
func TestPeerThatDoesNotRead(t *testing.T) { synctest.Test(t, testPeerThatDoesNotRead) }

func testPeerThatDoesNotRead(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	conn := w.dial("192.0.2.9", "192.0.2.1:5060")
	w.send(conn, options("TCP", "192.0.2.9"))
	f := w.one().Flow
	start := time.Now()
	results := make(chan error, 2)
	go func() { results <- f.Send(t.Context(), make([]byte, 100<<10)) }()
	synctest.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := f.Send(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) || f.Err() != nil {
		t.Errorf("waiting for the turn: %v, flow: %v", err, f.Err())
	}
	go func() { results <- f.Send(t.Context(), []byte("x")) }()
	for range 2 {
		if err := <-results; err == nil || time.Since(start) != defaultWriteTimeout {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	}
	if !isDown(f.Done()) {
		t.Error("the flow is up, with half a message on it")
	}
}

// Garbage ends the connection that it came on; what can be answered is.
func TestGarbageOverTCP(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"TLS", "\x16\x03\x01\x02\x00\x01", ""},
		{"HTTP", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", ""},
		{"no Content-Length", strings.Replace(options("TCP", "h"), "Content-Length: 0\r\n", "", 1), "SIP/2.0 400 No Content-Length\r\n"},
		{"too big", strings.Replace(options("TCP", "h"), "Length: 0", "Length: 99999", 1), "SIP/2.0 513 Message Too Large\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				defer w.end()
				conn := w.dial("192.0.2.9", "192.0.2.1:5060")
				w.send(conn, tt.in+options("TCP", "192.0.2.9"))
				got, err := io.ReadAll(conn)
				if err != nil || !strings.HasPrefix(string(got), tt.want) || (tt.want == "") != (len(got) == 0) {
					t.Errorf("answered %q, %v", got, err)
				}
				if n := len(w.received()); n != 0 {
					t.Errorf("%d messages passed", n)
				}
			})
		})
	}
}

// A bad message whose end is known costs nothing but itself.
func TestBadMessageOverTCP(t *testing.T) { synctest.Test(t, testBadMessageOverTCP) }

func testBadMessageOverTCP(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	conn := w.dial("192.0.2.9", "192.0.2.1:5060")
	w.send(conn, strings.Replace(options("TCP", "h"), "70", "700", 1)+options("TCP", "192.0.2.9"))
	if got := w.read(conn); !strings.HasPrefix(got, "SIP/2.0 400 Malformed Max-Forwards\r\n") {
		t.Errorf("answered %q", got)
	}
	w.one()
}

func TestClose(t *testing.T) { synctest.Test(t, testClose) }

func testClose(t *testing.T) {
	w := newWorld(t, nil)
	defer w.end()
	conn := w.dial("192.0.2.9", "192.0.2.1:5060")
	w.send(conn, options("TCP", "192.0.2.9"))
	f := w.one().Flow
	w.told()
	f.Close()
	f.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the peer reads %v", err)
	}
	if !errors.Is(f.Err(), errFlowClosed) || !isDown(f.Done()) {
		t.Errorf("%v", f.Err())
	}
	w.expect("flow_down tcp 192.0.2.1:5060 > " + conn.LocalAddr().String())
}
