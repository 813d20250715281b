package registrar

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
	"github.com/gosipua/gosipua/internal/memnet"
	"github.com/gosipua/gosipua/transport"
)

const here = "192.0.2.1:5060"

// world is a registrar at 192.0.2.1:5060 of a network in memory.
type world struct {
	t     *testing.T
	net   *memnet.Net
	s     *Server
	trace []string // start lines, with < for received and > for sent
}

func in(t *testing.T, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: memnet.New()}
		links := ifwatchtest.NewSource()
		links.Set([]ifwatch.Link{ifwatchtest.Link(2, "eth0")}, []ifwatch.Addr{ifwatchtest.Addr(2, "192.0.2.1/24")})
		w.s = New(Config{
			Transport: transport.Config{Links: links, Network: w.net.Host(netip.MustParseAddr("192.0.2.1"))},
			Users:     map[string]string{"alice": "hunter2", "bob": "swordfish"},
			Message: func(m Message) {
				line, _, _ := strings.Cut(string(m.Raw), "\r\n")
				w.trace = append(w.trace, map[bool]string{false: "< ", true: "> "}[m.Sent]+line)
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = w.s.Run(ctx) }()
		synctest.Wait()
		test(w)
		stop()
		<-ended
	})
}

// peer is somebody with a UDP socket.
type peer struct {
	w    *world
	addr string
	conn net.PacketConn
}

func (w *world) peer(addr string) *peer {
	w.t.Helper()
	at := netip.MustParseAddrPort(addr)
	conn, err := w.net.Host(at.Addr()).ListenPacket(w.t.Context(), at, "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return &peer{w, addr, conn}
}

// request writes a request with the headers that every one needs.
func (p *peer) request(method, uri, to string, extra ...string) string {
	head := []string{
		method + " " + uri + " SIP/2.0", "Via: SIP/2.0/UDP " + p.addr + ";rport;branch=z9hG4bK1", "From: <sip:x@192.0.2.1>;tag=f", "To: " + to,
		"Call-ID: c1", "CSeq: 1 " + method, "Max-Forwards: 70",
	}
	for _, h := range extra {
		name, _, _ := strings.Cut(h, ":")
		head = slices.DeleteFunc(head, func(old string) bool { return strings.HasPrefix(old, name+":") })
		head = append(head, h)
	}
	return strings.Join(append(head, "Content-Length: 0", "", ""), "\r\n")
}

func (p *peer) send(raw string) {
	p.w.t.Helper()
	if _, err := p.conn.WriteTo([]byte(raw), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(here))); err != nil {
		p.w.t.Fatal(err)
	}
}

// receive gives the next message, nil if there is none within a second.
func (p *peer) receive() sip.Message {
	p.w.t.Helper()
	buf := make([]byte, 4096)
	if err := p.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		p.w.t.Fatal(err)
	}
	n, _, err := p.conn.ReadFrom(buf)
	if err != nil {
		return nil
	}
	m, err := sip.NewParser().ParseSIP(buf[:n])
	if err != nil {
		p.w.t.Fatalf("%v:\n%s", err, buf[:n])
	}
	return m
}

// ask sends a request and gives the answer, which must have that code.
func (p *peer) ask(code int, raw string) *sip.Response {
	p.w.t.Helper()
	p.send(raw)
	res, ok := p.receive().(*sip.Response)
	if !ok || res.StatusCode != code {
		p.w.t.Fatalf("%s\ngot %v, want %d", raw, res, code)
	}
	return res
}

// credentials answers the challenge of one algorithm.
func credentials(t *testing.T, res *sip.Response, algorithm, user, pass string) string {
	t.Helper()
	for _, h := range res.GetHeaders("WWW-Authenticate") {
		c, err := digest.ParseChallenge(h.Value())
		if err != nil {
			t.Fatal(err)
		}
		if c.Algorithm != algorithm {
			continue
		}
		cred, err := digest.Digest(c, digest.Options{Method: "REGISTER", URI: "sip:192.0.2.1", Username: user, Password: pass, Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		return "Authorization: " + cred.String()
	}
	t.Fatalf("no challenge for %s in %v", algorithm, res)
	return ""
}

// register registers with the right password; extra headers as in request.
func (p *peer) register(code int, user string, extra ...string) *sip.Response {
	p.w.t.Helper()
	to := "<sip:" + user + "@192.0.2.1>"
	challenge := p.ask(401, p.request("REGISTER", "sip:192.0.2.1", to))
	auth := credentials(p.w.t, challenge, "SHA-256", user, p.w.s.cfg.Users[user])
	return p.ask(code, p.request("REGISTER", "sip:192.0.2.1", to, append(extra, auth)...))
}

// contactsOf gives what a 200 lists.
func contactsOf(res *sip.Response) []string {
	var out []string
	for _, h := range res.GetHeaders("Contact") {
		out = append(out, h.Value())
	}
	return out
}

func TestRegisterNeedsCredentials(t *testing.T) {
	in(t, func(w *world) {
		p := w.peer("192.0.2.9:5070")
		const to = "<sip:alice@192.0.2.1>"
		try := func(auth string) string {
			return p.request("REGISTER", "sip:192.0.2.1", to, "Contact: <sip:alice@192.0.2.9:5070>", auth)
		}
		challenge := p.ask(401, p.request("REGISTER", "sip:192.0.2.1", to))
		if got := len(challenge.GetHeaders("WWW-Authenticate")); got != 2 {
			t.Errorf("%d challenges", got)
		}
		p.ask(401, try(credentials(t, challenge, "SHA-256", "alice", "wrong")))
		p.ask(401, try(credentials(t, challenge, "SHA-256", "bob", "swordfish")))
		p.ask(401, try(credentials(t, challenge, "SHA-256", "mallory", "")))
		p.ask(401, try("Authorization: Basic eDp5"))
		p.ask(401, try(strings.Replace(credentials(t, challenge, "MD5", "alice", "hunter2"), `nonce="`, `nonce="0`, 1)))
		for _, algorithm := range []string{"SHA-256", "MD5"} {
			res := p.ask(200, try(credentials(t, challenge, algorithm, "alice", "hunter2")))
			if got := contactsOf(res); len(got) != 1 || got[0] != "<sip:alice@192.0.2.9:5070>;expires=3600" {
				t.Errorf("%s: contacts %q", algorithm, got)
			}
		}
		time.Sleep(nonceLife + time.Second)
		late := p.ask(401, try(credentials(t, challenge, "MD5", "alice", "hunter2")))
		if !strings.Contains(late.GetHeader("WWW-Authenticate").Value(), "stale=true") {
			t.Errorf("a good answer to an old nonce: %v", late)
		}
		p.ask(401, p.request("REGISTER", "sip:192.0.2.1", "<sip:nobody@192.0.2.1>", credentials(t, late, "MD5", "nobody", "")))
	})
}

func TestRegisterKeepsBindings(t *testing.T) {
	in(t, func(w *world) {
		p := w.peer("192.0.2.9:5070")
		const first, second = "<sip:alice@192.0.2.9:5070>", "<sip:alice@192.0.2.9:5080>"
		steps := []struct {
			situation string
			wait      time.Duration
			headers   []string
			code      int
			want      []string
		}{
			{"one contact", 0, []string{"CSeq: 2 REGISTER", "Contact: " + first + ";expires=60"}, 200, []string{first + ";expires=60"}},
			{"a second one, by the header", 0, []string{"CSeq: 3 REGISTER", "Contact: " + second, "Expires: 120"}, 200, []string{first + ";expires=60", second + ";expires=120"}},
			{"a question", 0, nil, 200, []string{first + ";expires=60", second + ";expires=120"}},
			{"the first has expired", 61 * time.Second, nil, 200, []string{second + ";expires=59"}},
			{"an old request comes late", 0, []string{"CSeq: 2 REGISTER", "Contact: " + second + ";expires=600"}, 200, []string{second + ";expires=59"}},
			{"a refresh is cut to what is allowed", 0, []string{"CSeq: 4 REGISTER", "Contact: " + second + ";expires=99999"}, 200, []string{second + ";expires=3600"}},
			{"one is removed", 0, []string{"CSeq: 5 REGISTER", "Contact: " + second + ";expires=0"}, 200, nil},
			{"a star that does not remove", 0, []string{"CSeq: 6 REGISTER", "Contact: *"}, 400, nil},
			{"one again", 0, []string{"CSeq: 7 REGISTER", "Contact: " + first}, 200, []string{first + ";expires=3600"}},
			{"a star", 0, []string{"CSeq: 8 REGISTER", "Contact: *", "Expires: 0"}, 200, nil},
		}
		for _, step := range steps {
			time.Sleep(step.wait)
			if got := contactsOf(p.register(step.code, "alice", step.headers...)); !slices.Equal(got, step.want) {
				t.Errorf("%s: got %q, want %q", step.situation, got, step.want)
			}
		}
	})
}

// received gives the next request, which must have that method.
func (p *peer) received(method string) *sip.Request {
	p.w.t.Helper()
	req, ok := p.receive().(*sip.Request)
	if !ok || string(req.Method) != method {
		p.w.t.Fatalf("got %v, want %s", req, method)
	}
	return req
}

func TestForwardsACall(t *testing.T) {
	in(t, func(w *world) {
		alice, bob := w.peer("192.0.2.9:5070"), w.peer("192.0.2.10:5080")
		bob.register(200, "bob", "Contact: <sip:bob@192.0.2.10:5080;x=y>")

		alice.send(alice.request("INVITE", "sip:bob@192.0.2.1", "<sip:bob@192.0.2.1>", "Contact: <sip:alice@192.0.2.9:5070>"))
		invite := bob.received("INVITE")
		if got := invite.Recipient.String(); got != "sip:bob@192.0.2.10:5080;x=y" {
			t.Errorf("Request-URI %s", got)
		}
		if got := invite.RecordRoute().Value(); got != "<sip:192.0.2.1:5060;lr>" {
			t.Errorf("Record-Route %s", got)
		}
		if got := invite.MaxForwards().Val(); got != 69 {
			t.Errorf("Max-Forwards %d", got)
		}
		if vias := invite.GetHeaders("Via"); len(vias) != 2 || !strings.Contains(vias[1].Value(), "received=192.0.2.9") {
			t.Errorf("Via %v", vias)
		}

		bob.send(sip.NewResponseFromRequest(invite, 180, "Ringing", nil).String())
		bob.send(sip.NewResponseFromRequest(invite, 200, "OK", nil).String())
		for _, code := range []int{180, 200} {
			res, ok := alice.receive().(*sip.Response)
			if !ok || res.StatusCode != code || len(res.GetHeaders("Via")) != 1 {
				t.Fatalf("got %v, want %d", res, code)
			}
		}

		const route = "Route: <sip:192.0.2.1:5060;lr>"
		alice.send(alice.request("ACK", "sip:bob@192.0.2.10:5080", "<sip:bob@192.0.2.1>;tag=b", route))
		if ack := bob.received("ACK"); ack.Route() != nil || ack.RecordRoute() != nil {
			t.Errorf("%v", ack)
		}
		bob.send(bob.request("BYE", "sip:alice@192.0.2.9:5070", "<sip:alice@192.0.2.1>;tag=a", route))
		alice.received("BYE")
		want := []string{"< INVITE sip:bob@192.0.2.1 SIP/2.0", "> INVITE sip:bob@192.0.2.10:5080;x=y SIP/2.0"}
		if got := w.trace[4:6]; !slices.Equal(got, want) {
			t.Errorf("trace %q", got)
		}
	})
}

func TestForwardsCancelOnTheSameBranch(t *testing.T) {
	in(t, func(w *world) {
		alice, bob := w.peer("192.0.2.9:5070"), w.peer("192.0.2.10:5080")
		bob.register(200, "bob", "Contact: <sip:bob@192.0.2.10:5080>")
		branches := map[string]int{}
		for _, method := range []string{"INVITE", "INVITE", "CANCEL", "ACK"} {
			alice.send(alice.request(method, "sip:bob@192.0.2.1", "<sip:bob@192.0.2.1>"))
			via := bob.received(method).Via()
			branches[via.Params.GetOr("branch", "")]++
		}
		if len(branches) != 1 {
			t.Errorf("branches %v", branches)
		}
		alice.send(alice.request("INVITE", "sip:bob@192.0.2.1", "<sip:bob@192.0.2.1>", "CSeq: 2 INVITE"))
		if other := bob.received("INVITE").Via().Params.GetOr("branch", ""); branches[other] > 0 {
			t.Error("another transaction has the same branch")
		}
	})
}

func TestRefusesWhatItCannotForward(t *testing.T) {
	in(t, func(w *world) {
		p := w.peer("192.0.2.9:5070")
		p.ask(200, p.request("OPTIONS", "sip:192.0.2.1", "<sip:192.0.2.1>"))
		p.ask(404, p.request("INVITE", "sip:nobody@192.0.2.1", "<sip:nobody@192.0.2.1>"))
		p.ask(404, p.request("INVITE", "sip:alice@192.0.2.1", "<sip:alice@192.0.2.1>")) // known, but not registered
		p.ask(483, p.request("INVITE", "sip:alice@192.0.2.1", "<sip:alice@192.0.2.1>", "Max-Forwards: 0"))
		for _, silent := range []string{
			p.request("ACK", "sip:nobody@192.0.2.1", "<sip:nobody@192.0.2.1>"),
			"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKother\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1\r\n" +
				"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
			"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=" + branchPrefix + "1\r\n" +
				"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
		} {
			p.send(silent)
			if m := p.receive(); m != nil {
				t.Errorf("%s\nis answered with %v", silent, m)
			}
		}
	})
}

func TestAPeerThatIsGone(t *testing.T) {
	in(t, func(w *world) {
		alice, bob := w.peer("192.0.2.9:5070"), w.peer("192.0.2.10:5080")
		bob.register(200, "bob", "Contact: <sip:bob@192.0.2.10:5080;transport=tcp>")
		alice.ask(480, alice.request("INVITE", "sip:bob@192.0.2.1", "<sip:bob@192.0.2.1>"))
	})
}

func TestViaTarget(t *testing.T) {
	for _, c := range []struct{ params, want string }{
		{"192.0.2.9", "192.0.2.9:5060"},
		{"192.0.2.9:5070", "192.0.2.9:5070"},
		{"192.0.2.9:5070;rport", "192.0.2.9:5070"},
		{"192.0.2.9:5070;rport=6000", "192.0.2.9:6000"},
		{"example.com;received=192.0.2.7", "192.0.2.7:5060"},
		{"[2001:db8::1]:5070", "[2001:db8::1]:5070"},
		{"example.com", ""},
		{"192.0.2.9;rport=70000", ""},
	} {
		host, rest, _ := strings.Cut(c.params, ";")
		raw := fmt.Sprintf("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP %s;branch=x;%s\r\nContent-Length: 0\r\n\r\n", host, rest)
		m, err := sip.NewParser().ParseSIP([]byte(strings.ReplaceAll(raw, ";\r\n", "\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		target, err := viaTarget(m.(*sip.Response).Via())
		if got := target.Addr.String(); (err != nil) != (c.want == "") || err == nil && (got != c.want || target.Proto != transport.UDP) {
			t.Errorf("%s: got %v, %v, want %q", c.params, target, err, c.want)
		}
	}
}
