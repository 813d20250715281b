package transport

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gosipua/gosipua/ifwatch"
)

func itoa(n int) string { return strconv.Itoa(n) }

// source chooses the local address of a new flow to t (RFC 6724, as the kernel
// does it): the kernel's choice where the policy allows it, since the kernel
// knows routes, policy routing, labels and sysctls; else the best that is allowed.
func (m *Manager) source(ctx context.Context, v *view, t Target) (*site, error) {
	if t.Local.IsValid() {
		return v.pinned(t)
	}
	fits := v.fitting(t)
	if len(fits) == 0 {
		return nil, v.unusable(t)
	}
	picked, err := m.network.Source(ctx, t.Addr, "")
	if s := v.pick(fits, picked, t.Addr.Addr()); s != nil {
		return s, nil
	}
	if !m.cfg.Policy.Interfaces.IsZero() {
		if s := m.throughDevice(ctx, v, fits, t); s != nil {
			return s, nil
		}
	}
	if err != nil {
		return nil, &FlowError{Op: "dial", Proto: t.Proto, Remote: t.Addr, Err: err}
	}
	return best(fits, t.Addr.Addr(), v.at[picked]), nil
}

// throughDevice asks what the kernel would choose on each of the chosen links.
func (m *Manager) throughDevice(ctx context.Context, v *view, fits []*site, t Target) *site {
	asked := make(map[int]bool)
	for _, s := range fits {
		if asked[s.link] {
			continue
		}
		asked[s.link] = true
		picked, err := m.network.Source(ctx, t.Addr, s.iface)
		if err != nil {
			continue
		}
		if s := v.pick(fits, picked, t.Addr.Addr()); s != nil {
			return s
		}
	}
	return nil
}

// pick returns the one of fits that has the address which the kernel chose.
func (v *view) pick(fits []*site, picked, remote netip.Addr) *site {
	picked = picked.Unmap()
	if needsZone(picked) {
		picked = picked.WithZone(remote.Zone())
	}
	for _, s := range fits {
		if s.local == picked {
			return s
		}
	}
	return nil
}

// pinned returns the site that t.Local names. It may be one that begins nothing
// new by itself: a dialog goes on from where it is.
func (v *view) pinned(t Target) (*site, error) {
	local := t.Local.Unmap()
	if needsZone(local) {
		zone, err := v.zone(local)
		if err != nil {
			return nil, err
		}
		local = local.WithZone(zone)
	}
	s := v.at[local]
	switch {
	case s == nil:
		return nil, &FlowError{Op: "dial", Proto: t.Proto, Local: netip.AddrPortFrom(local, 0), Remote: t.Addr, Err: goneError(local, nil)}
	case !s.verdict.Keep:
		return nil, &FlowError{Op: "dial", Proto: t.Proto, Local: netip.AddrPortFrom(local, 0), Remote: t.Addr, Err: goneError(local, s)}
	case local.Is4() != t.Addr.Addr().Is4():
		return nil, &addressError{fmt.Sprintf("no usable %s address for %s: %s is pinned", family(t.Addr.Addr()), t.Addr.Addr(), s.shown)}
	case t.Proto == UDP && s.udp == nil:
		return nil, &addressError{fmt.Sprintf("no usable %s address for %s: nothing listens on udp %s", family(t.Addr.Addr()), t.Addr.Addr(), s.shown)}
	}
	return s, nil
}

// fitting returns the sites that a flow to t may begin from.
func (v *view) fitting(t Target) []*site {
	var fits []*site
	for _, s := range v.sites {
		if s.fits(t.Addr.Addr()) && (t.Proto != UDP || s.udp != nil) {
			fits = append(fits, s)
		}
	}
	return fits
}

// fits reports whether s may be the source of something new to remote: loopback
// only to this host, link-local only to its own link.
func (s *site) fits(remote netip.Addr) bool {
	local := s.local
	switch {
	case !s.verdict.NewFlows || local.Is4() != remote.Is4():
		return false
	case local.IsLoopback() || remote.IsLoopback():
		return local.IsLoopback() && remote.IsLoopback()
	case needsZone(remote):
		return local.Zone() == remote.Zone()
	case local.IsLinkLocalUnicast() && !s.advertise:
		return remote.IsLinkLocalUnicast()
	}
	return true
}

// best returns the site to use where the kernel's choice must not be used: on
// the link of the kernel's choice if possible, then one whose prefix holds the
// destination, then of the same scope, then the one with the longest common
// prefix (RFC 6724 section 5, rules 5, 2 and 8).
func best(fits []*site, remote netip.Addr, picked *site) *site {
	var winner *site
	highest := -1
	for _, s := range fits {
		score := s.commonBits(remote)
		if s.local.IsLinkLocalUnicast() == remote.IsLinkLocalUnicast() {
			score += 1 << 8
		}
		if s.onLink(remote) {
			score += 1 << 9
		}
		if picked != nil && s.link == picked.link {
			score += 1 << 10
		}
		if score > highest {
			winner, highest = s, score
		}
	}
	return winner
}

// onLink reports whether the destination is in the prefix of the address.
func (s *site) onLink(remote netip.Addr) bool {
	for _, a := range s.entries {
		if p, err := a.Addr.Prefix(a.Bits); err == nil && p.Contains(remote.WithZone("")) {
			return true
		}
	}
	return false
}

// commonBits counts the leading bits that the two addresses share.
func (s *site) commonBits(remote netip.Addr) int {
	a, b := s.local.AsSlice(), remote.AsSlice()
	for i := range a {
		for bit := range 8 {
			if (a[i]^b[i])&(0x80>>bit) != 0 {
				return 8*i + bit
			}
		}
	}
	return 8 * len(a)
}

func family(a netip.Addr) string {
	if a.Is4() {
		return ifwatch.Inet.String()
	}
	return ifwatch.Inet6.String()
}

// maxReasons bounds the addresses that an error explains.
const maxReasons = 4

// unusable says that nothing can reach t, and why each address that looks as if
// it could cannot.
func (v *view) unusable(t Target) error {
	remote := t.Addr.Addr()
	var why []string
	for _, s := range v.sites {
		switch {
		case s.local.Is4() != remote.Is4(), s.local.IsLoopback() != remote.IsLoopback(), unwanted(s.verdict.Reason):
			continue
		case s.fits(remote):
			why = append(why, fmt.Sprintf("nothing listens on %s %s", t.Proto, s.shown))
		case !s.verdict.NewFlows:
			why = append(why, fmt.Sprintf("%s on %s: %s", s.shown, s.iface, s.verdict.Reason.Text()))
		}
	}
	if len(why) > maxReasons {
		why = append(why[:maxReasons], fmt.Sprintf("and %d more", len(why)-maxReasons))
	}
	text := fmt.Sprintf("no usable %s address for %s", family(remote), remote)
	if len(why) > 0 {
		text += ": " + strings.Join(why, "; ")
	}
	return &addressError{text}
}
