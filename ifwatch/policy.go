package ifwatch

import (
	"net/netip"
	"time"
)

// Policy says which of the existing addresses a program wants to use, and how. The zero value uses every interface and
// both families with the defaults named at each field. A Policy may be used by many goroutines as long as none changes it.
type Policy struct {
	Interfaces Patterns         // which links; zero: all
	Family     Family           // which address family; zero: both
	Loopback   LoopbackPolicy   // zero: [LoopbackUse]
	LinkLocal  LinkLocalPolicy  // zero: [LinkLocalAuto]
	Temporary  TemporaryPolicy  // zero: [TemporaryKernel]
	Deprecated DeprecatedPolicy // zero: [DeprecatedKeep]
	Optimistic OptimisticPolicy // zero: [OptimisticWait]

	// CarrierGrace is how long an open listener may stay on a link that went down or lost carrier.
	// 0 means 30 s, negative not at all.
	CarrierGrace time.Duration

	// Named are addresses that the user asked for one by one. They are waited for when missing, and bound when deprecated
	// under [DeprecatedKeep]: somebody may want to be reachable there and nothing else. A link-local one may have a zone.
	Named []netip.Addr
}

// LoopbackPolicy says what to do with loopback addresses.
type LoopbackPolicy uint8

// What to do with loopback addresses.
const (
	LoopbackUse    LoopbackPolicy = iota // bind them and use them towards this host; never advertise them beyond it
	LoopbackRefuse                       // leave them alone
)

// ParseLoopback reads "use" or "refuse".
func ParseLoopback(s string) (LoopbackPolicy, error) {
	return parseWord(s, LoopbackUse, LoopbackRefuse)
}

// String returns the word that [ParseLoopback] reads.
func (p LoopbackPolicy) String() string { return word(p, "use", "refuse") }

// LinkLocalPolicy says what to do with link-local addresses, fe80::/10 and 169.254.0.0/16.
type LinkLocalPolicy uint8

// What to do with link-local addresses.
const (
	LinkLocalAuto   LinkLocalPolicy = iota // bind them and use them towards peers of the same link; do not advertise them
	LinkLocalUse                           // like any other address: there may be nothing else on this network
	LinkLocalRefuse                        // leave them alone
)

// ParseLinkLocal reads "auto", "use" or "refuse".
func ParseLinkLocal(s string) (LinkLocalPolicy, error) {
	return parseWord(s, LinkLocalAuto, LinkLocalUse, LinkLocalRefuse)
}

// String returns the word that [ParseLinkLocal] reads.
func (p LinkLocalPolicy) String() string { return word(p, "auto", "use", "refuse") }

// TemporaryPolicy says what to do with temporary addresses (RFC 8981).
type TemporaryPolicy uint8

// What to do with temporary addresses.
const (
	TemporaryKernel TemporaryPolicy = iota // prefer if the link's use_tempaddr is 2 or more, else avoid
	TemporaryPrefer                        // use them
	TemporaryAvoid                         // bind them, but advertise and choose them only where no public address is usable
)

// ParseTemporary reads "kernel", "prefer" or "avoid".
func ParseTemporary(s string) (TemporaryPolicy, error) {
	return parseWord(s, TemporaryKernel, TemporaryPrefer, TemporaryAvoid)
}

// String returns the word that [ParseTemporary] reads.
func (p TemporaryPolicy) String() string { return word(p, "kernel", "prefer", "avoid") }

// DeprecatedPolicy says what to do with deprecated addresses. None of them is ever advertised or used for new flows.
type DeprecatedPolicy uint8

// What to do with deprecated addresses.
const (
	DeprecatedKeep   DeprecatedPolicy = iota // open no listener, unless Named; an open one stays for those who use it
	DeprecatedUse                            // bind them
	DeprecatedRefuse                         // let go of them at once, Named or not
)

// ParseDeprecated reads "keep", "use" or "refuse".
func ParseDeprecated(s string) (DeprecatedPolicy, error) {
	return parseWord(s, DeprecatedKeep, DeprecatedUse, DeprecatedRefuse)
}

// String returns the word that [ParseDeprecated] reads.
func (p DeprecatedPolicy) String() string { return word(p, "keep", "use", "refuse") }

// OptimisticPolicy says what to do with optimistic addresses (RFC 4429).
type OptimisticPolicy uint8

// What to do with optimistic addresses.
const (
	OptimisticWait OptimisticPolicy = iota // wait until DAD has finished; an open listener stays
	OptimisticUse                          // use them before
)

// ParseOptimistic reads "wait" or "use".
func ParseOptimistic(s string) (OptimisticPolicy, error) {
	return parseWord(s, OptimisticWait, OptimisticUse)
}

// String returns the word that [ParseOptimistic] reads.
func (p OptimisticPolicy) String() string { return word(p, "wait", "use") }
