// Package demo is a call from end to end inside one process: a registrar with digest authentication, two phones that register with it,
// a call between them, and a check of what each of them heard. It uses ephemeral ports of one loopback address and nothing else, so it
// works on any machine, beside anything, without root and without a network.
//
// It is what "gosipua demo" shows, and the shortest complete use of package ua.
package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/gosipua/gosipua/harness/registrar"
	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua"
)

// Config says how long to talk and who wants to see it. Links is required.
type Config struct {
	Links transport.Links // an *ifwatch.Watcher whose Run is running

	Addr netip.Addr    // the loopback address; zero: 127.0.0.1
	Talk time.Duration // how long the call lasts; 0: 4 s

	Message func(Message) // told of every SIP message, in order, from one goroutine; may be nil
	Step    func(string)  // told in words of what happens, from another goroutine than Message; may be nil
	Log     *slog.Logger  // nil discards
}

// Message is one SIP message on its way to or from the registrar.
type Message struct {
	At       time.Time
	From, To string // alice, bob or registrar
	Raw      []byte
}

// Report is what came of it.
type Report struct {
	Registered time.Duration // from the start until both phones were registered
	Answered   time.Duration // from dialing to the answer
	Talked     time.Duration
	Alice, Bob Phone // Alice calls
}

// Run makes the call and gives the report. The error says what did not work, the quality of the call included.
// Run ends at the latest 3 s after ctx.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if !cfg.Addr.IsValid() {
		cfg.Addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if cfg.Talk == 0 {
		cfg.Talk = 4 * time.Second
	}
	if cfg.Message == nil {
		cfg.Message = func(Message) {}
	}
	if cfg.Step == nil {
		cfg.Step = func(string) {}
	}
	folder, err := os.MkdirTemp("", "gosipua-demo-")
	if err != nil {
		return Report{}, err
	}
	defer os.RemoveAll(folder)
	d := &demo{cfg: cfg, folder: folder}
	report, err := d.run(ctx)
	if err == nil {
		err = errors.Join(report.Alice.check(), report.Bob.check())
	}
	return report, err
}

// demo is one run.
type demo struct {
	cfg       Config
	folder    string // of the recordings
	registrar *registrar.Server

	mu       sync.Mutex
	managers map[string]*transport.Manager // of the phones, by name, before they run
}

// run starts the registrar and what it needs, and ends them after the phones.
func (d *demo) run(ctx context.Context) (Report, error) {
	users := map[string]string{"alice": rand.Text(), "bob": rand.Text()}
	d.registrar = registrar.New(registrar.Config{Transport: d.transport(), Users: users, Message: d.message, Log: d.cfg.Log})
	below, stop := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	// If it ends early, that is seen by what does not happen then.
	parts.Go(func() { _ = d.registrar.Run(below) })
	at, err := d.listener(ctx, "registrar", d.registrar.Transport())
	if err != nil {
		return Report{}, err
	}
	d.cfg.Step("registrar: sip:" + at.String())
	return d.phones(ctx, at, users)
}

// phones starts both phones, lets them talk, and ends them, which unregisters them.
func (d *demo) phones(ctx context.Context, at netip.AddrPort, users map[string]string) (r Report, err error) {
	alice, err := d.newPhone("alice", at, users["alice"], aliceTone, ua.AnswerBusy)
	if err != nil {
		return r, err
	}
	bob, err := d.newPhone("bob", at, users["bob"], bobTone, ua.AnswerAuto)
	if err != nil {
		return r, err
	}
	d.mu.Lock()
	d.managers = map[string]*transport.Manager{alice.name: alice.agent.Transport(), bob.name: bob.agent.Transport()}
	d.mu.Unlock()
	working, stop := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	begin := time.Now()
	for _, p := range []*phone{alice, bob} {
		parts.Go(func() { _ = p.agent.Run(working) })
		if _, err := d.listener(ctx, p.name, p.agent.Transport()); err != nil {
			return r, err
		}
	}
	for _, p := range []*phone{alice, bob} {
		if err := d.registered(ctx, p); err != nil {
			return r, err
		}
	}
	r.Registered = time.Since(begin)
	return d.call(ctx, alice, bob, at, r)
}

// registered waits until a phone is.
func (d *demo) registered(ctx context.Context, p *phone) error {
	e, err := p.await(ctx, ua.Registered)
	if err != nil {
		return fmt.Errorf("%s does not get registered: %w", p.name, err)
	}
	d.cfg.Step(fmt.Sprintf("%s is registered as %s for %v", p.name, e.Contact, e.Expires))
	return nil
}

// call makes alice call bob.
func (d *demo) call(ctx context.Context, alice, bob *phone, at netip.AddrPort, r Report) (Report, error) {
	begin := time.Now()
	call, err := alice.agent.Dial(ctx, "", "sip:bob@"+at.String(), ua.CallOptions{})
	if err != nil {
		return r, fmt.Errorf("alice cannot call: %w", err)
	}
	d.cfg.Step("alice calls " + call.Peer())
	incoming, err := bob.await(ctx, ua.CallAnswered)
	if err == nil {
		_, err = alice.await(ctx, ua.CallAnswered)
	}
	if err != nil {
		return r, fmt.Errorf("the call is not answered: %w", err)
	}
	r.Answered = time.Since(begin)
	d.cfg.Step(fmt.Sprintf("bob has answered; they talk for %v", d.cfg.Talk))
	if err := d.talk(ctx, call); err != nil {
		return r, err
	}
	r.Talked = time.Since(begin) - r.Answered
	call.Hangup()
	for _, p := range []*phone{alice, bob} {
		if _, err := p.await(ctx, ua.CallEnded); err != nil {
			return r, fmt.Errorf("the call of %s does not end: %w", p.name, err)
		}
	}
	d.cfg.Step("alice has hung up")
	if r.Alice, err = alice.report(call, bobTone); err == nil {
		r.Bob, err = bob.report(incoming.Call, aliceTone)
	}
	return r, err
}

// talk lets time pass, unless the call ends by itself.
func (d *demo) talk(ctx context.Context, call *ua.Call) error {
	enough := time.NewTimer(d.cfg.Talk)
	defer enough.Stop()
	select {
	case <-enough.C:
		return nil
	case <-call.Done():
		return fmt.Errorf("the call ended too early: %w", errors.Join(call.Err(), context.Cause(ctx)))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// transport is what everybody's transport is made of: one UDP listener on a free port.
func (d *demo) transport() transport.Config {
	return transport.Config{Links: d.cfg.Links, Listen: []transport.Listen{{Proto: transport.UDP, Addr: d.cfg.Addr}}, Log: d.cfg.Log}
}

// opening is how long a listener on loopback may take; it takes milliseconds.
const opening = 3 * time.Second

// listener waits for the listener of a transport, and gives the address it is at.
func (d *demo) listener(ctx context.Context, name string, m *transport.Manager) (netip.AddrPort, error) {
	limited, cancel := context.WithTimeout(ctx, opening)
	defer cancel()
	for snap := m.Snapshot(); ; {
		at, why := d.listening(snap)
		if why == nil {
			return at, nil
		}
		next, err := m.Wait(limited, snap.Gen)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("%s cannot listen on %s: %w", name, d.cfg.Addr, cmp.Or(context.Cause(ctx), why))
		}
		snap = next
	}
}

// listening finds the listener in a snapshot, or says why there is none.
func (d *demo) listening(snap *transport.Snapshot) (netip.AddrPort, error) {
	why := errors.New("this host does not have it")
	for _, a := range snap.Addrs {
		if a.Local != d.cfg.Addr {
			continue
		}
		why = errors.New(a.Why)
		for _, l := range a.Listeners {
			if l.State == transport.Listening {
				return netip.AddrPortFrom(a.Local, l.Port), nil
			}
			why = cmp.Or(l.Err, why)
		}
	}
	return netip.AddrPort{}, why
}

// name says whose address it is. A phone sends as soon as it listens, so it is asked of the phones when a message has come.
func (d *demo) name(peer netip.AddrPort) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, m := range d.managers {
		if at, err := d.listening(m.Snapshot()); err == nil && at == peer {
			return name
		}
	}
	return peer.String()
}

// message names who sent a message to whom.
func (d *demo) message(m registrar.Message) {
	from, to := d.name(m.Peer), "registrar"
	if m.Sent {
		from, to = to, from
	}
	d.cfg.Message(Message{At: time.Now(), From: from, To: to, Raw: m.Raw})
}
