package ifwatch

import (
	"math"
	"net/netip"
	"time"
)

// What systems other than Linux tell of the state of an address, as pure functions: they are tested everywhere.

// The flags of an IPv6 address on FreeBSD and Darwin (IN6_IFF_* of netinet6/in6_var.h).
const (
	bsdTentative  = 0x02
	bsdDuplicated = 0x04
	bsdDeprecated = 0x10
	bsdNoDAD      = 0x20
	bsdTemporary  = 0x80
	bsdOptimistic = 0x200 // Darwin only
	bsdSecured    = 0x400 // Darwin only: a stable opaque identifier
)

// in6Ifreq is struct in6_ifreq: the name of an interface, and a union that begins with a socket address and is as large as the
// statistics that are in it too. The answer to SIOCGIFAFLAG_IN6 overwrites the address.
type in6Ifreq [16 + 272]byte

// siocgifaflagIn6 is SIOCGIFAFLAG_IN6, _IOWR('i', 73, struct in6_ifreq), the same on FreeBSD and Darwin.
const siocgifaflagIn6 = 0xc0000000 | uintptr(len(in6Ifreq{}))<<16 | 'i'<<8 | 73

// newIn6Ifreq asks about one address of an interface. inet6 is the system's AF_INET6. It reports false if the name is too long.
func newIn6Ifreq(name string, link int, a netip.Addr, inet6 byte) (r in6Ifreq, ok bool) {
	const nameSize, sockaddrSize = 16, 28
	if len(name) >= nameSize {
		return r, false
	}
	copy(r[:], name)
	sockaddr := r[nameSize : nameSize+sockaddrSize]
	sockaddr[0], sockaddr[1] = sockaddrSize, inet6
	ip := a.As16()
	copy(sockaddr[8:], ip[:])
	if a.IsLinkLocalUnicast() {
		for i := range 4 { // little-endian, as all systems that this is built for
			sockaddr[24+i] = byte(link >> (8 * i))
		}
	}
	return r, true
}

// flags reads the answer.
func (r *in6Ifreq) flags() Flags {
	word := uint32(r[16]) | uint32(r[17])<<8 | uint32(r[18])<<16 | uint32(r[19])<<24
	var f Flags
	for _, m := range [...]struct {
		system uint32
		flags  Flags
	}{
		{bsdTentative, Tentative},
		{bsdDuplicated, DADFailed | Tentative}, // as Linux has it
		{bsdDeprecated, Deprecated},
		{bsdNoDAD, NoDAD},
		{bsdTemporary, Temporary},
		{bsdOptimistic, Optimistic | Tentative},
		{bsdSecured, StablePrivacy},
	} {
		if word&m.system != 0 {
			f |= m.flags
		}
	}
	return f
}

// The states and origins of an address on Windows (NL_DAD_STATE, NL_PREFIX_ORIGIN and NL_SUFFIX_ORIGIN of nldef.h).
const (
	windowsInvalid    = 0
	windowsTentative  = 1
	windowsDuplicate  = 2
	windowsDeprecated = 3

	windowsPrefixAdvertised = 4
	windowsSuffixRandom     = 5
)

// windowsAddr is what GetAdaptersAddresses tells about an address.
type windowsAddr struct {
	dad, prefixOrigin, suffixOrigin int32
	preferred, valid                uint32 // the rest of the lifetimes in seconds; all ones: for ever
}

// describe sets what it tells.
func (w windowsAddr) describe(a *Addr, now time.Time) {
	switch w.dad {
	case windowsInvalid, windowsTentative: // invalid: it is about to go
		a.Flags |= Tentative
	case windowsDuplicate:
		a.Flags |= DADFailed | Tentative
	case windowsDeprecated:
		a.Flags |= Deprecated
	}
	if a.Addr.Is6() && w.prefixOrigin == windowsPrefixAdvertised && w.suffixOrigin == windowsSuffixRandom {
		a.Flags |= Temporary
	}
	a.ValidUntil = lifetimeEnd(w.valid, now)
	if w.preferred == 0 {
		a.Flags |= Deprecated
	} else {
		a.PreferredUntil = lifetimeEnd(w.preferred, now)
	}
}

func lifetimeEnd(seconds uint32, now time.Time) time.Time {
	if seconds == math.MaxUint32 {
		return time.Time{}
	}
	return now.Add(time.Duration(seconds) * time.Second)
}
