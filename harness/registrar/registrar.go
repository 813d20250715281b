package registrar

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
)

// Config says what a Server is for. Transport.Links is required.
type Config struct {
	Transport transport.Config // its Receive is the Server's own and must be nil

	Users map[string]string // user part of the AOR -> password; nobody else can register
	Realm string            // of the digest challenge; "" means "gosipua"

	// Message is told of every message received and sent, in order, from one goroutine; nil: nobody is.
	Message func(Message)

	Log *slog.Logger // nil discards
}

// Message is one message as it passed the Server.
type Message struct {
	Sent  bool // by the Server; otherwise received
	Proto transport.Proto
	Peer  netip.AddrPort
	Raw   []byte // must not be changed
}

// maxWaiting is how many messages may wait for the one that is handled; it is what a burst of a busy test needs.
const maxWaiting = 1024

// Server is a registrar and proxy.
type Server struct {
	cfg     Config
	log     *slog.Logger
	manager *transport.Manager
	parser  *sip.Parser
	waiting chan transport.Message
	secret  [16]byte // of the nonces

	mu       sync.Mutex
	bindings map[string][]binding // by user, newest last
}

// New makes a Server that serves once Run runs.
func New(cfg Config) *Server {
	if cfg.Realm == "" {
		cfg.Realm = "gosipua"
	}
	if cfg.Message == nil {
		cfg.Message = func(Message) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, parser: sip.NewParser(), waiting: make(chan transport.Message, maxWaiting), bindings: map[string][]binding{},
	}
	rand.Read(s.secret[:]) // never fails
	tc := cfg.Transport
	tc.Receive = s.receive
	s.manager = transport.New(tc)
	return s
}

// Transport returns the manager below, for its snapshots.
func (s *Server) Transport() *transport.Manager { return s.manager }

// Run serves until ctx ends, and returns its cause.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.manager.Run(ctx) }()
	for {
		select {
		case m := <-s.waiting:
			s.handle(ctx, m)
		case err := <-ended:
			return err
		}
	}
}

// receive is called by the manager and must not block.
func (s *Server) receive(m transport.Message) {
	select {
	case s.waiting <- m:
	default:
		s.log.Warn("message dropped", slog.String("why", "too many are waiting"))
	}
}

// handle deals with one message.
func (s *Server) handle(ctx context.Context, m transport.Message) {
	s.cfg.Message(Message{Proto: m.Flow.Proto(), Peer: m.Flow.Remote(), Raw: m.Raw})
	parsed, err := s.parser.ParseSIP(m.Raw)
	if err != nil {
		s.log.DebugContext(ctx, "message not understood", slog.Any("remote", m.Flow.Remote()), slog.Any("err", err))
		return
	}
	switch msg := parsed.(type) {
	case *sip.Response:
		err = s.passBack(ctx, msg)
	case *sip.Request:
		err = s.request(ctx, m.Flow, msg)
	}
	if err != nil {
		s.log.DebugContext(ctx, "message not passed on", slog.Any("remote", m.Flow.Remote()), slog.Any("err", err))
	}
}

// request answers what is for the registrar itself and passes the rest on.
func (s *Server) request(ctx context.Context, f *transport.Flow, req *sip.Request) error {
	mine := own(f, req.Recipient) && req.Recipient.User == ""
	switch {
	case req.Via() == nil || req.CSeq() == nil || req.CallID() == nil || req.From() == nil || req.To() == nil:
		return errors.New("a required header is missing")
	case req.Method == sip.REGISTER:
		return s.respond(ctx, f, s.register(req, time.Now()))
	case req.Method == sip.OPTIONS && mine:
		return s.respond(ctx, f, sip.NewResponseFromRequest(req, sip.StatusOK, "OK", nil))
	}
	res, err := s.forward(ctx, f, req)
	if res == nil || req.Method == sip.ACK { // an ACK is never answered
		return err
	}
	return errors.Join(err, s.respond(ctx, f, res))
}

// respond sends an answer of the Server's own.
func (s *Server) respond(ctx context.Context, f *transport.Flow, res *sip.Response) error {
	raw := []byte(res.String())
	s.cfg.Message(Message{Sent: true, Proto: f.Proto(), Peer: f.Remote(), Raw: raw})
	return f.Respond(ctx, raw)
}

// send sends a message that is passed on.
func (s *Server) send(ctx context.Context, f *transport.Flow, raw string) error {
	s.cfg.Message(Message{Sent: true, Proto: f.Proto(), Peer: f.Remote(), Raw: []byte(raw)})
	return f.Send(ctx, []byte(raw))
}

// own tells whether a URI means this server, as the peer of a flow sees it.
func own(f *transport.Flow, u sip.Uri) bool {
	a, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
	at := f.Advertised()
	return err == nil && a == at.Addr().WithZone("") && portOf(u) == at.Port()
}

// portOf is the port that a URI means.
func portOf(u sip.Uri) uint16 {
	if u.Port == 0 {
		return transport.UDP.Port()
	}
	return uint16(u.Port) //nolint:gosec // sipgo's parser takes no more than 65535
}

// protoOf is the transport that a URI asks for; "" if none.
func protoOf(u sip.Uri) transport.Proto {
	name, _ := u.UriParams.Get("transport")
	return transport.Proto(strings.ToLower(name))
}

// uriAt is the URI of an address with a transport, without user.
func uriAt(at netip.AddrPort, p transport.Proto) sip.Uri {
	u := sip.Uri{Scheme: "sip", Host: at.Addr().WithZone("").String(), Port: int(at.Port())}
	if at.Addr().Is6() {
		u.Host = "[" + u.Host + "]"
	}
	if p != transport.UDP {
		u.UriParams.Add("transport", string(p))
	}
	return u
}

// status makes an answer of the Server's own.
func status(req *sip.Request, code int, reason string) *sip.Response {
	return sip.NewResponseFromRequest(req, code, reason, nil)
}

// errorf describes why a message was not passed on.
func errorf(req *sip.Request, format string, args ...any) error {
	return fmt.Errorf("%s: %w", req.StartLine(), fmt.Errorf(format, args...))
}
