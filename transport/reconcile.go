package transport

import (
	"cmp"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
)

// A site is one local address as sockets see it. The same address on two links,
// or with two prefix lengths, is one site: it stays usable while one of them is.
// A link-local address is another site on each link. Sites are immutable once
// they are in a view.
type site struct {
	local     netip.Addr // as bound
	shown     netip.Addr // as people write it: a zone is the link's name
	link      int
	iface     string
	verdict   ifwatch.Verdict // the best of its entries'
	why       string
	advertise bool
	entries   []ifwatch.Addr
	listen    []listenKey // in the order of Config.Listen

	udp   *udpSocket       // the first that listens; nil if none does
	ports map[Proto]uint16 // the first port listened on for each transport
}

// A view is what a flow needs to know when it begins.
type view struct {
	ready bool // false before the first
	sites []*site
	at    map[netip.Addr]*site
	links *ifwatch.Snapshot
}

// reconcile compares what the policy wants with what is open and acts on the
// difference: closes first, then opens. It is safe to run at any time and does
// nothing where nothing has changed, so an unrelated change touches no socket.
// news says that the facts have changed since the last time.
func (m *Manager) reconcile(now time.Time, news bool) {
	states := Plan(m.cfg.Policy, m.cfg.Listen, m.links, now)
	v := m.newView(states)
	m.due = time.Time{}
	m.events.hold() // until what they tell of can be seen and used
	defer m.events.release()
	m.tellAddresses(now, v)
	m.closeUnwanted(now, v)
	m.openWanted(now, v, news)
	m.sweep(now)
	for i := range states {
		m.wakeAt(states[i].Verdict.Next)
	}
	m.publish(states, v, news)
}

// wakeAt makes sure that reconcile runs at t; zero means never.
func (m *Manager) wakeAt(t time.Time) {
	if !t.IsZero() && (m.due.IsZero() || t.Before(m.due)) {
		m.due = t
	}
}

// newView groups the states by what is bound.
func (m *Manager) newView(states []AddrState) *view {
	v := &view{ready: true, at: make(map[netip.Addr]*site), links: m.links}
	for i := range states {
		state := &states[i]
		if state.Addr.Link == 0 {
			continue // waited for
		}
		local := bound(state.Addr)
		s := v.at[local]
		if s == nil {
			s = &site{local: local, ports: make(map[Proto]uint16)}
			v.at[local] = s
			v.sites = append(v.sites, s)
		}
		s.join(state)
	}
	for _, s := range v.sites {
		s.listen = m.keys(s)
	}
	return v
}

// join adds one entry of the address.
func (s *site) join(state *AddrState) {
	s.entries = append(s.entries, state.Addr)
	s.advertise = s.advertise || state.Verdict.Advertise
	if len(s.entries) == 1 || worth(state.Verdict) > worth(s.verdict) {
		s.verdict, s.why = state.Verdict, state.Why
		s.shown, s.link, s.iface = state.Local, state.Addr.Link, state.Interface
	}
}

// worth orders verdicts by what they allow.
func worth(v ifwatch.Verdict) int {
	switch {
	case v.NewFlows:
		return 3
	case v.Bind:
		return 2
	case v.Keep:
		return 1
	default:
		return 0
	}
}

// keys lists the listeners that the configuration wants at s.
func (m *Manager) keys(s *site) []listenKey {
	var keys []listenKey
	link := ifwatch.Link{Index: s.link, Name: s.iface}
	if l, ok := m.links.Link(s.link); ok {
		link = l
	}
	for _, l := range m.cfg.Listen {
		key := listenKey{local: s.local, proto: l.Proto, port: l.Port, path: l.Path}
		if l.wants(s.entries[0], link) && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// closeUnwanted closes listeners and connections of addresses that are not to
// be kept. UDP sockets must go at once: a kernel goes on sending from an IPv6
// address that it has lost. TCP connections would hang until their peers give up.
func (m *Manager) closeUnwanted(now time.Time, v *view) {
	for _, key := range m.keysInOrder() {
		l, s := m.listeners[key], v.at[key.local]
		switch {
		case s == nil || !s.verdict.Keep || !slices.Contains(s.listen, key):
			m.shut(now, l, goneError(l.shown.Addr(), s))
			delete(m.listeners, key)
		case l.open() && l.device != m.device(s):
			// A socket that is bound to an interface stays with it.
			m.shut(now, l, goneError(l.shown.Addr(), s))
			delete(m.listeners, key)
		}
	}
	for st := range m.streams {
		if s := v.at[st.local.Addr()]; s == nil || !s.verdict.Keep || st.device != m.device(s) {
			m.endStream(now, st, goneError(st.local.Addr(), s), true)
		}
	}
}

// keysInOrder lists the listeners in an order that is always the same.
func (m *Manager) keysInOrder() []listenKey {
	return slices.SortedFunc(maps.Keys(m.listeners), func(a, b listenKey) int {
		return cmp.Or(a.local.Compare(b.local), strings.Compare(string(b.proto), string(a.proto)),
			cmp.Compare(a.port, b.port), strings.Compare(a.path, b.path))
	})
}

// openWanted opens what may be opened and is not. After news a refused address
// is tried at once; otherwise each listener waits for its own time.
func (m *Manager) openWanted(now time.Time, v *view, news bool) {
	for _, s := range v.sites {
		for _, key := range s.listen {
			l := m.listeners[key]
			switch {
			case l != nil && l.open():
				l.drain(s)
			case !s.verdict.Bind:
				delete(m.listeners, key) // it had failed, and now waits
			case l == nil:
				l = &listener{key: key}
				m.listeners[key] = l
				m.open(now, l, s)
			case !now.Before(l.retry) || news && l.refused():
				m.open(now, l, s)
			default:
				m.wakeAt(l.retry)
			}
		}
	}
}

// device returns the interface that sockets of s are bound to: its own if the
// user chose interfaces, else none. It has the index too, because a socket
// follows the link and not the name.
func (m *Manager) device(s *site) device {
	if m.cfg.Policy.Interfaces.IsZero() {
		return device{}
	}
	return device{name: s.iface, index: s.link}
}

// device is a link that a socket is bound to.
type device struct {
	name  string
	index int
}

// publish makes the new state visible to everybody.
func (m *Manager) publish(states []AddrState, v *view, news bool) {
	for _, s := range v.sites {
		for _, key := range s.listen {
			if l := m.listeners[key]; l != nil && l.open() {
				s.serves(l)
			}
		}
	}
	for i := range states {
		m.fill(&states[i], v)
	}
	m.view.Store(v)
	m.public.set(m.links, states, news)
}

// serves notes what flows of s can use l for.
func (s *site) serves(l *listener) {
	if s.udp == nil && l.udp != nil {
		s.udp = l.udp
	}
	if s.ports[l.key.proto] == 0 {
		s.ports[l.key.proto] = l.local.Port()
	}
}

// fill replaces the planned listeners of a state by the real ones.
func (m *Manager) fill(state *AddrState, v *view) {
	if state.Addr.Link == 0 || len(state.Listeners) == 0 {
		return
	}
	s := v.at[bound(state.Addr)]
	state.Listeners = state.Listeners[:0]
	for _, key := range s.listen {
		ls := ListenerState{Proto: key.proto, Port: key.port, State: Waiting}
		if l := m.listeners[key]; l != nil {
			ls = l.public()
			if l.refused() {
				refuse(&state.Verdict)
				state.Why = ls.Err.Error()
			}
		}
		state.Listeners = append(state.Listeners, ls)
	}
}

// refuse adds to a verdict that the kernel does not let the address be bound,
// though nothing is known that speaks against it.
func refuse(v *ifwatch.Verdict) {
	v.Bind, v.Advertise, v.NewFlows = false, false, false
	reasons := []ifwatch.Reason{ifwatch.ReasonBindRefused}
	for _, r := range v.Reasons {
		if r != ifwatch.ReasonOK && r != ifwatch.ReasonBindRefused {
			reasons = append(reasons, r)
		}
	}
	v.Reason, v.Reasons = reasons[0], reasons
}

// tellAddresses tells which addresses became fit for new flows, or unfit, and
// logs why each is used as it is.
func (m *Manager) tellAddresses(now time.Time, v *view) {
	for local, old := range m.known {
		if v.at[local] == nil {
			gone := &site{local: local, shown: old.shown, iface: old.iface, why: "the address is gone"}
			m.tellAddress(now, old, gone)
			delete(m.known, local)
		}
	}
	for _, s := range v.sites {
		old := m.known[s.local]
		if old == nil {
			old = &site{}
		}
		m.tellAddress(now, old, s)
		m.known[s.local] = s
	}
}

func (m *Manager) tellAddress(now time.Time, old, s *site) {
	if was, is := old.verdict.NewFlows, s.verdict.NewFlows; was != is {
		kind := AddressUp
		if was {
			kind = AddressDown
		}
		m.events.tell(Event{Kind: kind, Time: now, Local: netip.AddrPortFrom(s.local, 0), Interface: s.iface, Why: s.why})
	}
	if old.verdict.Reason == s.verdict.Reason || unwanted(s.verdict.Reason) {
		return
	}
	m.log.InfoContext(m.ctx, "address", slog.Any("local", s.shown), slog.String("link", s.iface),
		slog.Bool("listen", s.verdict.Bind), slog.Bool("new_flows", s.verdict.NewFlows), slog.String("why", s.why))
}
