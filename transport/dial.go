package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

// A dialKey tells which connections may carry requests to a target: those that
// were opened to it, from that address, for that name. Where a connection was
// accepted from proves nothing about who is at its other end, so those are never
// among them (RFC 5923 section 5 has the conditions for that).
type dialKey struct {
	proto  Proto
	remote netip.AddrPort
	name   string // what TLS has verified; empty without TLS
	local  netip.Addr
}

// A dial is a connection that is being opened, or has been.
type dial struct {
	ready  chan struct{} // closed when one of the following is set
	stream *stream
	err    error
}

// A Target is where to send a request: one result of RFC 3263.
type Target struct {
	Proto Proto
	Addr  netip.AddrPort // a link-local one has its link's name or index as zone
	Name  string         // the domain asked for, which TLS verifies (RFC 5922); may be empty
	Local netip.Addr     // the source to use; zero means the Manager chooses
}

// Flow returns the flow to t, or opens one; over a connection that takes until
// the peer has answered, Config.ConnectTimeout at most. Without t.Local the
// source is the kernel's choice if the policy allows that one for new flows,
// else the best that it does. Errors are *FlowError, or match ErrNoAddress.
func (m *Manager) Flow(ctx context.Context, t Target) (*Flow, error) {
	f, err := m.flow(ctx, t)
	if !errors.Is(err, ErrAddressGone) {
		return f, err
	}
	// Run is in the middle of a change, and the view is older than the sockets.
	// When it is through, another address may serve.
	if err := m.do(ctx, func(time.Time) {}); err != nil {
		return nil, err
	}
	return m.flow(ctx, t)
}

func (m *Manager) flow(ctx context.Context, t Target) (*Flow, error) {
	if err := m.waitReady(ctx); err != nil {
		return nil, err
	}
	v := m.view.Load()
	remote, err := v.canonical(t.Addr)
	if err != nil {
		return nil, err
	}
	t.Addr = remote
	switch t.Proto {
	case UDP, TCP:
	default:
		return nil, &FlowError{Op: "dial", Proto: t.Proto, Remote: t.Addr, Err: errNotSupported}
	}
	s, err := m.source(ctx, v, t)
	if err != nil {
		return nil, err
	}
	if t.Proto == UDP {
		f, err := s.udp.ask(t.Addr)
		if err != nil {
			return nil, &FlowError{Op: "send", Proto: UDP, Local: s.udp.local, Remote: t.Addr, Err: err}
		}
		return f, nil
	}
	return m.connect(ctx, t, s)
}

// connect returns the connection to t from s, opened by whoever asks first. All
// others wait for that one, each as long as it likes: one who gives up takes
// nothing from the rest.
func (m *Manager) connect(ctx context.Context, t Target, s *site) (*Flow, error) {
	key := dialKey{proto: t.Proto, remote: t.Addr, local: s.local}
	if t.Proto.Secure() {
		key.name = t.Name
	}
	var d *dial
	err := m.do(ctx, func(now time.Time) { d = m.dial(now, key, s) }) //nolint:contextcheck // a dial outlives who asked for it first
	if err != nil {
		return nil, err
	}
	select {
	case <-d.ready:
	case <-ctx.Done():
		return nil, &FlowError{Op: "dial", Proto: t.Proto, Local: netip.AddrPortFrom(s.local, 0), Remote: t.Addr, Err: context.Cause(ctx)}
	}
	if d.err != nil {
		return nil, &FlowError{Op: "dial", Proto: t.Proto, Local: netip.AddrPortFrom(s.local, 0), Remote: t.Addr, Err: d.err}
	}
	d.stream.flow.asked.Store(true)
	return &d.stream.flow, nil
}

// dial returns the dial for key, and begins one if there is none that is up or
// on its way up. It runs on Run's goroutine.
func (m *Manager) dial(now time.Time, key dialKey, s *site) *dial {
	if d := m.dialed[key]; d != nil && (d.stream == nil || d.stream.reason() == nil) {
		return d
	}
	d := &dial{ready: make(chan struct{})}
	if over(len(m.streams), m.cfg.MaxConns) && !m.makeRoom(now) {
		d.err = errTooMany
		close(d.ready)
		return d
	}
	m.dialed[key] = d
	dev := m.device(s)
	m.wg.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, m.cfg.ConnectTimeout)
		defer cancel()
		conn, err := m.network.Dial(ctx, key.local, key.remote, dev.name)
		if !m.post(func(now time.Time) { m.connected(now, key, d, s, conn, err) }) {
			if conn != nil {
				conn.Close()
			}
			d.err = ErrClosed
			close(d.ready)
		}
	})
	return d
}

// connected makes a flow of what came out of a dial. It runs on Run's goroutine.
func (m *Manager) connected(now time.Time, key dialKey, d *dial, s *site, conn net.Conn, err error) {
	defer close(d.ready)
	if err != nil {
		d.err = err
		delete(m.dialed, key)
		return
	}
	st := m.newStream(conn, key.proto, netip.AddrPortFrom(key.local, localPort(conn.LocalAddr())), key.remote)
	st.key, st.iface, st.device = key, s.iface, m.device(s)
	if now := m.view.Load().at[key.local]; now == nil || !now.verdict.Keep {
		d.err = goneError(key.local, now)
		st.abort()
		delete(m.dialed, key)
		return
	}
	m.count.dialed.Add(1)
	d.stream = st
	m.startStream(now, st)
}

// idleEnough is how long a dialed connection must have been unused before
// another may take its place.
const idleEnough = 5 * time.Minute

// makeRoom closes the longest unused dialed connection, if it is unused at all.
func (m *Manager) makeRoom(now time.Time) bool {
	var oldest *stream
	for s := range m.streams {
		if !s.accepted && (oldest == nil || s.flow.used.Load() < oldest.flow.used.Load()) {
			oldest = s
		}
	}
	if oldest == nil || now.Unix()-oldest.flow.used.Load() < int64(idleEnough/time.Second) {
		return false
	}
	m.endStream(now, oldest, errMakeRoom, false)
	return true
}

// canonical returns remote in the form in which flows are known: an IPv4 address
// as one, and a link's index as the zone of a link-local address.
func (v *view) canonical(remote netip.AddrPort) (netip.AddrPort, error) {
	a := remote.Addr().Unmap()
	if !a.IsValid() || a.IsUnspecified() || remote.Port() == 0 {
		return remote, &addressError{"no address to send to"}
	}
	if !needsZone(a) {
		return netip.AddrPortFrom(a.WithZone(""), remote.Port()), nil
	}
	zone, err := v.zone(a)
	if err != nil {
		return remote, err
	}
	return netip.AddrPortFrom(a.WithZone(zone), remote.Port()), nil
}

// zone returns the index of the link that a is on. If a has no zone, and only
// one link has link-local addresses, it is that one.
func (v *view) zone(a netip.Addr) (string, error) {
	if name := a.Zone(); name != "" {
		if l, ok := v.links.LinkNamed(name); ok {
			return itoa(l.Index), nil
		}
		if slices.ContainsFunc(v.sites, func(s *site) bool { return s.local.Zone() == name }) {
			return name, nil
		}
		return "", &addressError{"no usable inet6 address for " + a.String() + ": there is no interface " + name}
	}
	zone := ""
	for _, s := range v.sites {
		if !needsZone(s.local) || !s.verdict.NewFlows || s.local.Zone() == zone {
			continue
		}
		if zone != "" {
			return "", &addressError{"no usable inet6 address for " + a.String() + ": it is link-local and needs its interface, as in " + a.WithZone(s.iface).String()}
		}
		zone = s.local.Zone()
	}
	if zone == "" {
		return "", &addressError{"no usable inet6 address for " + a.String() + ": no interface has a usable link-local address"}
	}
	return zone, nil
}
