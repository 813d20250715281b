package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// listenKey tells one listener from all others.
type listenKey struct {
	local netip.Addr // as bound
	proto Proto
	port  uint16 // as configured
	path  string
}

// A listener is what one listenKey has come to. It belongs to Run's goroutine.
type listener struct {
	key    listenKey
	state  State // Listening, Draining or Failed
	local  netip.AddrPort
	shown  netip.AddrPort // local as people write it
	iface  string
	device device

	udp *udpSocket
	tcp *tcpListener

	err    error
	holder string    // who has the port, if that is known
	since  time.Time // of err
	logged time.Time
	tries  int
	retry  time.Time
}

const (
	// firstRetry is short because most refusals are races with the kernel.
	firstRetry = 100 * time.Millisecond
	// maxRetry bounds the wait for whatever may take long.
	maxRetry = 5 * time.Second
	// maxRetryInUse is shorter: whoever restarts another program waits for this.
	maxRetryInUse = 2 * time.Second
	// logAgain is how often a refusal that lasts is logged.
	logAgain = 10 * time.Minute
)

func (l *listener) open() bool { return l.state == Listening || l.state == Draining }

// refused reports whether the kernel says that the address is not there.
func (l *listener) refused() bool { return errors.Is(l.err, syscall.EADDRNOTAVAIL) }

// failedWith reports whether the last try ended with the same error as err.
func (l *listener) failedWith(err error) bool {
	return l.err != nil && withNumber(l.err).Error() == withNumber(err).Error()
}

// drain notes whether the address of an open listener may still begin something.
func (l *listener) drain(s *site) {
	l.iface = s.iface
	l.state = Listening
	if !s.verdict.Bind {
		l.state = Draining
	}
}

// public returns the state for everybody.
func (l *listener) public() ListenerState {
	s := ListenerState{Proto: l.key.proto, Port: l.key.port, State: l.state}
	if l.open() {
		s.Port = l.local.Port()
		return s
	}
	s.Err, s.Retry = l.listenError(), l.retry
	return s
}

// listenError is what the user sees of err: what was asked for, the error with
// its number, and what may help.
func (l *listener) listenError() error {
	if l.err == nil {
		return nil
	}
	text := fmt.Sprintf("listen %s %s", l.key.proto, l.shown)
	if l.holder != "" {
		return fmt.Errorf("%s: %w: held by %s", text, withNumber(l.err), l.holder)
	}
	if errors.Is(l.err, syscall.EACCES) && l.key.port < 1024 && l.key.port > 0 {
		return fmt.Errorf("%s: %w: a port below 1024 needs CAP_NET_BIND_SERVICE", text, withNumber(l.err))
	}
	return fmt.Errorf("%s: %w", text, withNumber(l.err))
}

// numbered is a system error that shows its number, which is what people search for.
type numbered struct{ errno syscall.Errno }

func (e numbered) Error() string { return fmt.Sprintf("%s (%d)", e.errno.Error(), int(e.errno)) }
func (e numbered) Unwrap() error { return e.errno }

// withNumber returns the system error in err without what package net put around it.
func withNumber(err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return numbered{errno}
	}
	return err
}

// open binds l's socket. It is quick: nothing in it waits for anybody.
func (m *Manager) open(now time.Time, l *listener, s *site) {
	l.iface, l.device = s.iface, m.device(s)
	l.shown = netip.AddrPortFrom(s.shown, l.key.port)
	want := netip.AddrPortFrom(l.key.local, l.key.port)
	var err error
	switch l.key.proto {
	case UDP:
		err = m.openUDP(l, want)
	case TCP:
		err = m.openTCP(l, want)
	default:
		err = errNotSupported
	}
	if err != nil {
		m.failed(now, l, err)
		return
	}
	l.state, l.err, l.tries, l.retry, l.holder = Listening, nil, 0, time.Time{}, ""
	l.shown = netip.AddrPortFrom(l.shown.Addr(), l.local.Port())
	m.log.InfoContext(m.ctx, "listening", slog.String("transport", string(l.key.proto)),
		slog.Any("local", l.shown), slog.String("link", l.iface))
	m.events.tell(Event{
		Kind: ListenerUp, Time: now, Local: l.local, Interface: l.iface, Proto: l.key.proto, Why: s.why,
	})
}

// localPort returns the port that a socket really has.
func localPort(a net.Addr) uint16 {
	if ap, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return ap.AddrPort().Port()
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Port()
}

// failed notes that the system refused l, and when to try again.
func (m *Manager) failed(now time.Time, l *listener, err error) {
	changed := !l.failedWith(err)
	l.state, l.err = Failed, err
	limit := maxRetry
	if errors.Is(err, syscall.EADDRINUSE) {
		limit = maxRetryInUse
	}
	l.retry = now.Add(min(firstRetry<<min(l.tries, 10), limit))
	l.tries++
	m.wakeAt(l.retry)
	if changed {
		l.since, l.logged, l.holder = now, time.Time{}, ""
		if errors.Is(err, syscall.EADDRINUSE) {
			m.findHolder(l)
			return // which logs, with the name
		}
	}
	m.logFailed(now, l)
}

// logFailed logs a refusal when it is new, and then every ten minutes.
func (m *Manager) logFailed(now time.Time, l *listener) {
	if !l.logged.IsZero() && now.Sub(l.logged) < logAgain {
		return
	}
	m.log.WarnContext(m.ctx, "not listening", slog.String("transport", string(l.key.proto)), slog.Any("local", l.shown),
		slog.String("link", l.iface), slog.Any("err", l.listenError()), slog.Int("count", l.tries), slog.Duration("for", now.Sub(l.since)))
	l.logged = now
}

// findHolder looks for the process that has the port. That reads a good part
// of /proc, so it is done elsewhere.
func (m *Manager) findHolder(l *listener) {
	want, err := netip.AddrPortFrom(l.key.local, l.key.port), l.err
	m.wg.Go(func() {
		holder := portHolder(l.key.proto, want)
		m.post(func(now time.Time) {
			if m.listeners[l.key] != l || !l.failedWith(err) {
				return // it has moved on
			}
			l.holder = holder
			m.logFailed(now, l)
			m.refresh(now)
		})
	})
}

// refresh publishes what has changed within a listener.
func (m *Manager) refresh(now time.Time) {
	m.reconcile(now, false)
}

// shut closes l, if it is open, and everything that cannot live without it.
// Connections that it accepted are not among that.
func (m *Manager) shut(now time.Time, l *listener, why error) {
	if !l.open() {
		return
	}
	l.state, l.err = Failed, nil
	if l.udp != nil {
		m.closeUDP(now, l.udp, why)
	}
	if l.tcp != nil {
		l.tcp.close()
	}
	l.udp, l.tcp = nil, nil
	if !errors.Is(why, ErrClosed) { // which closeAll says once for all of them
		m.log.InfoContext(m.ctx, "not listening any more", slog.String("transport", string(l.key.proto)),
			slog.Any("local", l.shown), slog.String("link", l.iface), slog.Any("why", why))
	}
	m.events.tell(Event{
		Kind: ListenerDown, Time: now, Local: l.local, Interface: l.iface, Proto: l.key.proto, Why: why.Error(),
	})
}
