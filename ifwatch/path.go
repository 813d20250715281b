package ifwatch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// Path is the way of a new flow to a destination: by which link, from which address, and why.
type Path struct {
	Dst   netip.Addr // with the zone that it was asked for
	Route Route      // zero but for Dst and Link where the system cannot be asked for routes

	// Kernel is what connect(2) chose for a socket without an address of its own, and Expected what the algorithm says
	// that it chooses. If they differ, so that the explanation is wrong, see Differs.
	Kernel   netip.Addr
	Expected Choice

	// Choice is the source to use under the policy: the kernel's if the policy allows it for new flows, else what the
	// algorithm chooses among those that it does. Its Source is the zero Addr if there is none.
	Choice Choice

	// Pending is an address that would be chosen if its DAD had finished, see [Selection.Pending]; zero: none.
	Pending Addr
}

// Differs reports whether the kernel chose another source than the algorithm, so that Expected explains nothing.
func (p *Path) Differs() bool { return p.Kernel.IsValid() && p.Kernel != p.Expected.Source }

// FindPath asks the kernel how a flow to dst would leave this host, and explains its choice of source with the facts in s
// under the policy p. A link-local destination has its link's name or index as zone, or there must be no doubt about it.
// With [Policy.Interfaces] set, another link than the kernel's is tried if that is not selected, as sockets are bound to
// theirs then. If there is no way, the error wraps the errno that connect(2) returns; the Path has what is known.
//
// Two sockets are connected to tell what the kernel does, which sends nothing.
func FindPath(ctx context.Context, s *Snapshot, p *Policy, dst netip.Addr) (*Path, error) {
	f := pathFinder{s: s, p: p, dst: dst.Unmap()}
	path := &Path{Dst: f.dst}
	link, err := f.zone()
	if err != nil {
		return path, err
	}
	// Without tables the kernel's defaults are likely right, and if not, Differs tells.
	f.tables, _ = ReadTables(ctx)
	path, err = f.by(ctx, link)
	if err == nil && path.Choice.Source == path.Kernel || p.Interfaces.IsZero() || link != 0 {
		return path, err
	}
	for _, l := range s.Links {
		if !p.Selected(l) {
			continue
		}
		if other, errOther := f.by(ctx, l.Index); errOther == nil && other.Choice.Source == other.Kernel {
			return other, nil
		}
	}
	return path, err
}

// pathFinder is one FindPath under way.
type pathFinder struct {
	s      *Snapshot
	p      *Policy
	dst    netip.Addr
	tables *Tables
}

// zone returns the index of the link that a link-local destination is on, 0 for any other.
func (f *pathFinder) zone() (int, error) {
	if !f.dst.Is6() || !f.dst.IsLinkLocalUnicast() {
		return 0, nil
	}
	if zone := f.dst.Zone(); zone != "" {
		if l, ok := f.s.LinkNamed(zone); ok {
			return l.Index, nil
		}
		index, err := strconv.Atoi(zone)
		if _, ok := f.s.Link(index); err != nil || !ok {
			return 0, fmt.Errorf("route to %s: there is no interface %s", f.dst, zone)
		}
		return index, nil
	}
	only := 0
	for _, a := range f.s.Addrs {
		if !a.Addr.Is6() || !a.Addr.IsLinkLocalUnicast() || a.Link == only || !f.p.Judge(f.s, a, time.Now()).NewFlows {
			continue
		}
		if only != 0 {
			return 0, fmt.Errorf("route to %s: it is link-local and needs its interface, as in %s", f.dst, f.s.Zoned(Addr{Key: Key{Link: only, Addr: f.dst}}))
		}
		only = a.Link
	}
	if only == 0 {
		return 0, fmt.Errorf("route to %s: no interface has a usable link-local address", f.dst)
	}
	return only, nil
}

// by finds the way by one link, 0 for any.
func (f *pathFinder) by(ctx context.Context, link int) (*Path, error) {
	path := &Path{Dst: f.dst}
	kernel, failed := f.probe(ctx, link)
	if failed != nil {
		failed = fmt.Errorf("route to %s: %w", f.dst, failed)
	}
	path.Kernel = kernel
	sel := Selection{Snapshot: f.s, Tables: f.tables, Temporary: f.p.Temporary, Now: time.Now()}
	var err error
	path.Route, err = sel.lookup(ctx, f.dst, link)
	if errors.Is(err, errors.ErrUnsupported) {
		path.Route = f.guess(kernel, link)
		sel.Route = path.Route
	}
	path.Expected = sel.Choose()
	sel.Policy = f.p
	path.Choice = sel.Choose()
	if path.Differs() {
		if choice, ok := sel.accept(kernel); ok {
			path.Choice = choice
		}
	}
	path.Pending, _ = sel.Pending()
	return path, failed
}

// lookup returns the route to dst by a link, 0 for any, and puts into s.Route the one that the source is chosen by. As the
// kernel does, it looks twice where a route may depend on the source: always for IPv4, and for IPv6 if there is none that is
// good for all sources; then it chooses among the addresses of all links.
func (s *Selection) lookup(ctx context.Context, dst netip.Addr, link int) (Route, error) {
	q := RouteQuery{Dst: dst.WithZone(""), Link: link}
	r, err := LookupRoute(ctx, q)
	s.Route = r
	if (err == nil) == dst.Is6() {
		return r, err
	}
	s.Route.Dst = q.Dst
	if q.From = s.Choose().Source; !q.From.IsValid() {
		return s.Route, err
	}
	r, err = LookupRoute(ctx, q)
	switch {
	case err == nil:
		return r, nil
	case dst.Is6() && link != 0:
		return s.Route, fmt.Errorf("%w: %w", errUndecided, err)
	default:
		return s.Route, err
	}
}

// errUndecided: asked for the way of a certain source by a certain link, the kernel may name an IPv6 route by another link,
// which a socket would not take.
var errUndecided = errors.New("the kernel does not say whether there is a way by that link")

// guess makes up for a route that the system does not tell.
func (f *pathFinder) guess(source netip.Addr, link int) Route {
	r := Route{Dst: f.dst.WithZone(""), Link: link, Bound: link != 0}
	for _, a := range f.s.Addrs {
		if a.Addr == source && r.Link == 0 {
			r.Link = a.Link
		}
	}
	return r
}

// probePort is what probes connect to; nothing is sent there. The port plays no role but where policy rules name it.
const probePort = 5060

// probe connects a UDP socket, which sends nothing, and looks what address it has.
func (f *pathFinder) probe(ctx context.Context, link int) (netip.Addr, error) {
	remote := f.dst
	if remote.Is6() && remote.IsLinkLocalUnicast() {
		remote = remote.WithZone(strconv.Itoa(link))
	}
	device := ""
	if l, ok := f.s.Link(link); ok && remote.Zone() == "" {
		device = l.Name
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { return prepareProbe(c, device, f.p.Temporary) }}
	conn, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(remote, probePort).String())
	if err != nil {
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			return netip.Addr{}, errno
		}
		return netip.Addr{}, err
	}
	defer func() { _ = conn.Close() }() // nothing was written
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, errors.ErrUnsupported
	}
	return local.AddrPort().Addr().Unmap().WithZone(""), nil
}
