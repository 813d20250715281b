package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/gosipua/gosipua/ifwatch"
)

// A Query asks where to send requests for a host.
type Query struct {
	Host   string // a domain name or an IP address, with or without brackets
	Port   uint16 // zero if none is given
	Proto  Proto  // "" if none is given: RFC 3263 section 4.1 decides
	Secure bool   // sips: nothing but an encrypted transport will do
}

// resolver is what is used of *net.Resolver.
type resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Resolve returns the targets of q in the order to try them (RFC 3263 section 4):
// an address as it is; a name with a port by its A and AAAA records; any other
// name by its SRV records, in the order of their priorities and weights, else by
// A and AAAA. Addresses that no usable local address can reach are left out; if
// that leaves none, the error matches ErrNoAddress.
//
// NAPTR records are not asked for.
func (m *Manager) Resolve(ctx context.Context, q Query) ([]Target, error) {
	if err := m.waitReady(ctx); err != nil {
		return nil, err
	}
	host, err := checkHost(q.Host)
	if err != nil {
		return nil, err
	}
	if q.Secure && q.Proto != "" && !q.Proto.Secure() {
		q.Proto = map[Proto]Proto{TCP: TLS, WS: WSS}[q.Proto]
		if q.Proto == "" {
			return nil, fmt.Errorf("sips:%s cannot be sent over UDP", q.Host) // RFC 3261 section 26.2.2
		}
	}
	r := resolution{m: m, q: q, host: host, view: m.view.Load()}
	if a, err := netip.ParseAddr(host); err == nil {
		r.add(r.defaultProto(), a, q.Port)
		return r.result()
	}
	if err := r.byName(ctx); err != nil {
		return nil, err
	}
	return r.result()
}

// checkHost returns the host without brackets and a final dot.
func checkHost(host string) (string, error) {
	if h, ok := strings.CutPrefix(host, "["); ok {
		h, ok = strings.CutSuffix(h, "]")
		if a, err := netip.ParseAddr(h); !ok || err != nil || !a.Is6() {
			return "", fmt.Errorf("%q is not an IPv6 address in brackets", host)
		}
		return h, nil
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" || strings.ContainsAny(host, " /@[]") {
		return "", fmt.Errorf("%q is not a host name", host)
	}
	return host, nil
}

// A resolution is one Resolve under way.
type resolution struct {
	m    *Manager
	q    Query
	host string
	view *view

	targets []Target
	left    []netip.Addr // what cannot be reached
	why     error        // what was wrong with the last of these, if it was that
}

// defaultProto is the transport where neither URI nor DNS name one (RFC 3263
// section 4.1).
func (r *resolution) defaultProto() Proto {
	switch {
	case r.q.Proto != "":
		return r.q.Proto
	case r.q.Secure:
		return TLS
	default:
		return UDP
	}
}

func (r *resolution) byName(ctx context.Context) error {
	if isLocalhost(r.host) {
		for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
			r.add(r.defaultProto(), a, r.q.Port)
		}
		return nil
	}
	if r.q.Port == 0 {
		if found, err := r.bySRV(ctx); found || err != nil {
			return err
		}
	}
	return r.byHost(ctx, r.defaultProto(), r.host, r.q.Port)
}

// isLocalhost reports whether a name is this host by definition (RFC 6761
// section 6.3), whatever DNS says and even if nothing does.
func isLocalhost(name string) bool {
	name = strings.ToLower(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// srvName is the SRV service of a transport.
type srvName struct {
	proto          Proto
	service, under string
}

// srvNames are the services to ask for, one after the other (RFC 3263 section 4.1).
func (r *resolution) srvNames() []srvName {
	all := []srvName{{UDP, "sip", "udp"}, {TCP, "sip", "tcp"}, {TLS, "sips", "tcp"}}
	switch {
	case r.q.Proto == TLS || r.q.Proto == "" && r.q.Secure:
		return all[2:]
	case r.q.Proto == UDP:
		return all[:1]
	case r.q.Proto == TCP:
		return all[1:2]
	case r.q.Proto == "":
		return all[:2]
	default:
		return nil // WebSocket servers are found by URI
	}
}

// bySRV adds the targets of the first service that the domain has.
func (r *resolution) bySRV(ctx context.Context) (found bool, err error) {
	for _, n := range r.srvNames() {
		_, records, err := r.m.resolver.LookupSRV(ctx, n.service, n.under, r.host)
		if err != nil && !notFound(err) {
			return false, fmt.Errorf("looking up _%s._%s.%s: %w", n.service, n.under, r.host, err)
		}
		if len(records) == 1 && records[0].Target == "." {
			return false, fmt.Errorf("%s offers no SIP over %s", r.host, n.proto) // RFC 2782
		}
		var first error
		for _, rec := range records {
			if err := r.byHost(ctx, n.proto, rec.Target, rec.Port); err != nil && first == nil {
				first = err
			}
		}
		if len(r.targets)+len(r.left) > 0 {
			return true, nil
		}
		if first != nil {
			return false, first
		}
	}
	return false, nil
}

func notFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

// byHost adds the addresses of a host.
func (r *resolution) byHost(ctx context.Context, p Proto, host string, port uint16) error {
	addrs, err := r.m.resolver.LookupNetIP(ctx, "ip", strings.TrimSuffix(host, "."))
	if err != nil {
		return fmt.Errorf("looking up %s: %w", host, err)
	}
	for _, a := range addrs {
		r.add(p, a.Unmap(), port)
	}
	return nil
}

// add adds a target if something local can reach it.
func (r *resolution) add(p Proto, a netip.Addr, port uint16) {
	if port == 0 {
		port = p.Port()
	}
	a = a.Unmap()
	to, err := r.view.canonical(netip.AddrPortFrom(a, port))
	if err != nil || !slices.ContainsFunc(r.view.sites, func(s *site) bool { return s.fits(to.Addr()) }) {
		r.left, r.why = append(r.left, a), err
		return
	}
	r.targets = append(r.targets, Target{Proto: p, Addr: netip.AddrPortFrom(a, port), Name: r.host})
}

func (r *resolution) result() ([]Target, error) {
	if len(r.targets) > 0 {
		return r.targets, nil
	}
	if len(r.left) == 0 {
		return nil, fmt.Errorf("%s has no address", r.host)
	}
	if r.why != nil {
		return nil, r.why
	}
	text := r.view.unusable(Target{Addr: netip.AddrPortFrom(r.left[0], 1)}).Error()
	if _, perr := netip.ParseAddr(r.host); perr != nil {
		text = fmt.Sprintf("no usable %s address for %s (%s)", missing(r.left), r.host, text)
	}
	return nil, &addressError{text}
}

// missing names the families of addrs.
func missing(addrs []netip.Addr) string {
	want := ifwatch.AnyFamily
	for _, a := range addrs {
		f := ifwatch.Inet6
		if a.Is4() {
			f = ifwatch.Inet
		}
		if want != ifwatch.AnyFamily && want != f {
			return "inet or inet6"
		}
		want = f
	}
	return want.String()
}
