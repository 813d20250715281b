package ifwatch

import (
	"fmt"
	"math/bits"
	"strings"
)

// Family is an address family, or both of them.
type Family uint8

// The address families. The zero value is both.
const (
	AnyFamily Family = iota // IPv4 and IPv6
	Inet                    // IPv4
	Inet6                   // IPv6
)

// ParseFamily reads "any", "inet" or "inet6".
func ParseFamily(s string) (Family, error) {
	return parseWord(s, AnyFamily, Inet, Inet6)
}

// String returns the word that [ParseFamily] reads.
func (f Family) String() string { return word(f, "any", "inet", "inet6") }

// Flags are the states and origins of an address, the same bits for both families and every operating system.
// (The kernel uses one bit for Temporary on IPv6 and Secondary on IPv4.)
type Flags uint32

// The flags. Those that no kernel but Linux has are never set elsewhere.
const (
	// Tentative: Duplicate Address Detection (DAD, RFC 4862 section 5.4) has not finished. It cannot be bound, unless Optimistic.
	Tentative Flags = 1 << iota
	// Optimistic: it may be used while DAD still runs (RFC 4429); Tentative is set as well.
	Optimistic
	// DADFailed: another host has this address. Nothing retries DAD.
	DADFailed
	// Deprecated says that its preferred lifetime is over: good for what uses it, not to be chosen anew (RFC 4862 section 5.5.4).
	Deprecated
	// Temporary: a privacy address that is replaced every day or so (RFC 8981).
	Temporary
	// Secondary: an IPv4 address in the subnet of an earlier one of the same link.
	Secondary
	// Permanent: it has no lifetime.
	Permanent
	// NoDAD: configured to skip DAD.
	NoDAD
	// ManageTemp: the kernel derives temporary addresses from it.
	ManageTemp
	// StablePrivacy: its interface identifier is opaque and stable (RFC 7217).
	StablePrivacy
	// Home: a Mobile IPv6 home address (RFC 6275).
	Home
	// NoPrefixRoute: it came without a route to its prefix.
	NoPrefixRoute
	// MulticastAutoJoin: a multicast address that the kernel has joined.
	MulticastAutoJoin
)

// Has reports whether all of want are set.
func (f Flags) Has(want Flags) bool { return f&want == want }

// Names lists the flags that are set, in the order of the constants, as lower-case words: "tentative", "dad_failed".
func (f Flags) Names() []string {
	names := make([]string, 0, bits.OnesCount32(uint32(f)))
	for i, name := range [...]string{
		"tentative", "optimistic", "dad_failed", "deprecated", "temporary", "secondary", "permanent", "nodad",
		"manage_temp", "stable_privacy", "home", "no_prefix_route", "multicast_auto_join",
	} {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	return names
}

// OperState is the operational state of a link (RFC 2863), with the numbers that Linux gives them.
type OperState uint8

// The operational states.
const (
	OperUnknown        OperState = iota // the driver does not say: normal for lo, tun and a bridge without ports
	OperNotPresent                      // hardware is missing
	OperDown                            // no carrier, or switched off
	OperLowerLayerDown                  // the link it stands on is down
	OperTesting                         // passes no packets for now
	OperDormant                         // has carrier but waits, say for 802.1X
	OperUp                              // passes packets
)

// String returns the word that ip(8) prints, in lower case.
func (o OperState) String() string {
	return word(o, "unknown", "not_present", "down", "lower_layer_down", "testing", "dormant", "up")
}

// Scope says how far an address reaches. Linux keeps it per address; elsewhere it is derived from the address.
type Scope uint8

// The scopes, with the numbers that Linux gives them. Others exist: an administrator may invent some.
const (
	ScopeGlobal Scope = 0
	ScopeSite   Scope = 200
	ScopeLink   Scope = 253
	ScopeHost   Scope = 254
)

// word returns the word of an enumeration's value.
func word[E ~uint8](v E, words ...string) string {
	if int(v) < len(words) {
		return words[v]
	}
	return fmt.Sprintf("%d", v)
}

// parseWord returns the one of all that is written s.
func parseWord[E interface {
	~uint8
	fmt.Stringer
}](s string, all ...E,
) (E, error) {
	words := make([]string, len(all))
	for i, e := range all {
		if words[i] = e.String(); words[i] == s {
			return e, nil
		}
	}
	last := len(words) - 1
	return all[0], fmt.Errorf("%q is not %s or %s", s, strings.Join(words[:last], ", "), words[last])
}
