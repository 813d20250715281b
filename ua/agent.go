package ua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua/media"
	"github.com/gosipua/gosipua/ua/transaction"
)

// ErrClosed is returned by the methods of an Agent whose Run has returned, or is about to. It wraps net.ErrClosed.
var ErrClosed = fmt.Errorf("ua: agent is closed: %w", net.ErrClosed)

// ErrNoAccount says that a call was asked for from an AOR that is not among the accounts.
var ErrNoAccount = errors.New("no such account")

// goodbye is how long Run takes at most, after its context ended, to say BYE and to remove bindings. With a registrar that
// is dead a transaction would take 32 s.
const goodbye = 2 * time.Second

// t1 and t2 are the defaults of RFC 3261 section 17.1.1.1; here they time the repetition of a 2xx.
const (
	t1 = 500 * time.Millisecond
	t2 = 4 * time.Second
)

// Config is what an Agent works with. Transport.Links is required, everything else has a default.
type Config struct {
	Transport transport.Config // its Receive is the Agent's own and must be nil
	Media     media.Config
	Accounts  []Account

	Source  string // what is sent in calls: "driver,argument" as in media.ParseSource; "" = silence
	Player  string // where heard audio goes, as in media.ParseSink; "" = nowhere
	FileDir string // where relative file names in Source and Player start; "" = the working directory

	RingTimeout time.Duration // an unanswered incoming call ends with 480; 0 = 120 s, negative = never
	UserAgent   string        // User-Agent and Server header; "" = "gosipua"
	T1          time.Duration // RFC 3261 timer T1; 0 = 500 ms

	Event func(Event) // called in order from one goroutine; may be nil
	Log   *slog.Logger
}

// Agent is a SIP user agent.
type Agent struct {
	cfg      Config
	log      *slog.Logger
	manager  *transport.Manager
	layer    *transaction.Layer
	engine   *media.Engine
	accounts []*account
	events   *events
	ctx      context.Context // ends when Run returns; for what goes on beside the queues
	stop     context.CancelFunc

	mu      sync.Mutex
	calls   map[callKey]*Call
	closing bool
}

// callKey finds the call of an in-dialog request. Our tag tells the two ends of a call of ours to ourselves apart.
type callKey struct{ callID, tag string }

// account is an Account and what became of it.
type account struct {
	Account
	aor sip.Uri
	reg *registration // nil without Register
}

// New makes an Agent and checks its accounts; nothing is opened until Run.
func New(cfg Config) (*Agent, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Event == nil {
		cfg.Event = func(Event) {}
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "gosipua"
	}
	if cfg.T1 <= 0 {
		cfg.T1 = t1
	}
	if cfg.RingTimeout == 0 {
		cfg.RingTimeout = 120 * time.Second
	}
	a := &Agent{cfg: cfg, log: cfg.Log, events: newEvents(), calls: make(map[callKey]*Call)}
	a.ctx, a.stop = context.WithCancel(context.Background())
	if err := a.checkAudio(); err != nil {
		return nil, err
	}
	for _, acc := range cfg.Accounts {
		if err := a.addAccount(acc); err != nil {
			return nil, err
		}
	}
	tc := cfg.Transport
	tc.Receive = func(m transport.Message) { a.layer.Receive(m) }
	a.manager = transport.New(tc)
	a.layer = transaction.New(transaction.Config{
		OnRequest: a.onRequest, T1: cfg.T1, UserAgent: cfg.UserAgent, Log: cfg.Log,
	})
	a.engine = media.New(cfg.Media)
	return a, nil
}

// checkAudio finds a misspelt driver or a missing file before the first call does.
func (a *Agent) checkAudio() error {
	src, err := a.source(a.cfg.Source)
	if err != nil {
		return err
	}
	if src != nil {
		src.Close()
	}
	sink, err := a.sink(a.cfg.Player)
	if sink != nil {
		sink.Close()
	}
	return err
}

func (a *Agent) addAccount(acc Account) error {
	aor, err := parseAOR(acc.AOR)
	if err != nil {
		return err
	}
	for _, other := range a.accounts {
		if sameAOR(other.aor, aor) {
			return fmt.Errorf("account %s is given twice", acc.AOR)
		}
	}
	if acc.AuthUser == "" {
		acc.AuthUser = aor.User
	}
	switch {
	case acc.Expires == 0:
		acc.Expires = defaultExpires
	case acc.Expires < time.Second: // on the wire it would be zero, which removes a binding
		return fmt.Errorf("account %s: expires %s is less than a second", acc.AOR, acc.Expires)
	}
	if acc.MaxCalls == 0 {
		acc.MaxCalls = defaultMaxCalls
	}
	for _, proxy := range acc.Outbound {
		if _, err := parseTarget(proxy); err != nil {
			return fmt.Errorf("outbound of %s: %w", acc.AOR, err)
		}
	}
	own := &account{Account: acc, aor: aor}
	if acc.Register {
		if own.reg, err = newRegistration(a, own); err != nil {
			return err
		}
	}
	a.accounts = append(a.accounts, own)
	return nil
}

func sameAOR(x, y sip.Uri) bool {
	return x.User == y.User && strings.EqualFold(x.Host, y.Host) && x.Port == y.Port
}

// Transport returns the manager below, for its snapshots and flows.
func (a *Agent) Transport() *transport.Manager { return a.manager }

// Run works until ctx ends; then it hangs up, removes the bindings, which takes 2 s at most, closes everything and
// returns nil. An error means that it could not go on.
func (a *Agent) Run(ctx context.Context) error {
	defer a.stop()
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	defer stopInner()
	failed := make(chan error, 3)
	var group sync.WaitGroup
	for _, run := range []func(context.Context) error{a.manager.Run, a.layer.Run, a.engine.Run} {
		group.Go(func() {
			if err := run(inner); inner.Err() == nil {
				failed <- err
			}
		})
	}
	group.Go(func() { a.watch(inner) })
	telling, stopTelling := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTelling()
	told := make(chan struct{})
	go func() {
		defer close(told)
		a.events.run(telling, a.cfg.Event, a.log)
	}()
	for _, acc := range a.accounts {
		if acc.reg != nil {
			acc.reg.do(acc.reg.begin)
		}
	}
	var err error
	select {
	case <-ctx.Done():
		a.leave()
	case err = <-failed:
	}
	stopInner()
	a.stop()
	group.Wait()
	a.abandon()
	stopTelling()
	<-told // the end of every call, too
	return err
}

// watch looks after registrations and calls each time something changed below.
func (a *Agent) watch(ctx context.Context) {
	var gen uint64
	for {
		snap, err := a.manager.Wait(ctx, gen)
		if err != nil {
			return
		}
		gen = snap.Gen
		for _, acc := range a.accounts {
			if acc.reg != nil {
				acc.reg.do(acc.reg.check)
			}
		}
		for _, c := range a.Calls() {
			c.do(c.check)
		}
	}
}

// leave ends calls and bindings, all at the same time, and gives up after goodbye.
func (a *Agent) leave() {
	a.close()
	var waits []<-chan struct{}
	for _, c := range a.Calls() {
		c.do(c.leave)
		waits = append(waits, c.done)
	}
	for _, acc := range a.accounts {
		if acc.reg != nil {
			acc.reg.do(acc.reg.leave)
			waits = append(waits, acc.reg.left)
		}
	}
	limit := time.NewTimer(goodbye)
	defer limit.Stop()
	for _, w := range waits {
		select {
		case <-w:
		case <-limit.C:
			a.log.WarnContext(a.ctx, "left without an answer to every BYE and REGISTER")
			return
		}
	}
}

// close lets no further call begin.
func (a *Agent) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closing = true
}

// abandon ends the calls that nothing can be sent for any more.
func (a *Agent) abandon() {
	a.close()
	for _, c := range a.Calls() {
		c.do(func() {
			if c.ending {
				c.finish(nil)
			}
			c.finish(ErrClosed)
		})
		<-c.done
	}
}

// Calls returns the calls that have not ended, in no order.
func (a *Agent) Calls() []*Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls := make([]*Call, 0, len(a.calls))
	for _, c := range a.calls {
		calls = append(calls, c)
	}
	return calls
}

// callOf finds the call that an in-dialog request belongs to.
func (a *Agent) callOf(req *sip.Request) *Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	tag, _ := req.To().Params.Get("tag")
	return a.calls[callKey{req.CallID().Value(), tag}]
}

// enter counts a call in, unless the account has as many as it may, or the agent is leaving.
func (a *Agent) enter(c *Call) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing {
		return ErrClosed
	}
	if a.fullLocked(c.account) {
		return fmt.Errorf("account %s has %d calls, as many as max_calls allows", c.account.AOR, c.account.MaxCalls)
	}
	a.calls[callKey{c.callID, c.tag}] = c
	return nil
}

// fullLocked says whether an account has as many calls as it may.
func (a *Agent) fullLocked(acc *account) bool {
	n := 0
	for _, c := range a.calls {
		if c.account == acc {
			n++
		}
	}
	return acc.MaxCalls > 0 && n >= acc.MaxCalls
}

// busy says whether a call to an account would be refused.
func (a *Agent) busy(acc *account) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closing || acc.Answer == AnswerBusy || a.fullLocked(acc)
}

func (a *Agent) drop(c *Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.calls, callKey{c.callID, c.tag})
}

func (a *Agent) account(aor string) (*account, error) {
	if aor == "" && len(a.accounts) > 0 {
		return a.accounts[0], nil
	}
	u, err := parseTarget(aor)
	if err != nil {
		return nil, err
	}
	for _, acc := range a.accounts {
		if sameAOR(acc.aor, u) {
			return acc, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrNoAccount, aor)
}

// accountFor finds the account that a Request-URI means: by its user, and a host that is an address of ours or the domain
// of the account.
func (a *Agent) accountFor(u sip.Uri) *account {
	user := unescape(u.User)
	for _, acc := range a.accounts {
		if unescape(acc.aor.User) == user && (strings.EqualFold(acc.aor.Host, u.Host) || a.own(u.Host)) {
			return acc
		}
	}
	return nil
}

func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// own says whether host is one of our addresses, as bound or as advertised.
func (a *Agent) own(host string) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	addr = addr.WithZone("").Unmap()
	for local, public := range a.cfg.Transport.Advertise {
		if addr == public || addr == local {
			return true
		}
	}
	if addr.IsLoopback() { // all of 127.0.0.0/8 is ours, whatever the kernel lists
		return true
	}
	return slices.ContainsFunc(a.manager.Snapshot().Addrs, func(s transport.AddrState) bool { return s.Addr.Addr == addr })
}

// contact says where an account can be reached over a flow (RFC 3261 section 8.1.1.8).
func (acc *account) contact(f *transport.Flow) *sip.ContactHeader {
	at := f.Advertised()
	u := sip.Uri{Scheme: "sip", User: acc.aor.User, Host: hostOf(at.Addr()), Port: int(at.Port())}
	if f.Proto() != transport.UDP {
		u.UriParams = sip.HeaderParams{{K: "transport", V: string(f.Proto())}}
	}
	return &sip.ContactHeader{Address: u}
}

// hostOf writes an address as the host of a URI: IPv6 in brackets (RFC 3261 section 19.1.2), never with a zone.
func hostOf(a netip.Addr) string {
	a = a.WithZone("").Unmap()
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// source opens what a call sends; nil is silence.
func (a *Agent) source(spec string) (media.Source, error) {
	if spec == "" {
		return nil, nil // silence needs no source
	}
	return media.ParseSource(spec, media.Options{Dir: a.cfg.FileDir})
}

func (a *Agent) sink(spec string) (media.Sink, error) {
	if spec == "" {
		return nil, nil // nowhere needs no sink
	}
	return media.ParseSink(spec, media.Options{Dir: a.cfg.FileDir})
}
