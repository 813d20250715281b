package ifwatch

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Key tells one address entry from all others: the same address may be on two links (fe80::1 often is), or twice on one
// with different prefix lengths, and each of them comes and goes by itself.
type Key struct {
	Link int        // interface index
	Addr netip.Addr // never has a zone; see [Snapshot.Zoned]
	Bits int        // prefix length
}

// Prefix returns address and prefix length together; it is not masked.
func (k Key) Prefix() netip.Prefix { return netip.PrefixFrom(k.Addr, k.Bits) }

// Family is [Inet] or [Inet6].
func (k Key) Family() Family {
	if k.Addr.Is4() {
		return Inet
	}
	return Inet6
}

// Addr is what is known about one local address. It holds facts only; what they mean is for [Policy.Judge] to say.
type Addr struct {
	Key
	Peer  netip.Addr // the other end of a point-to-point address; zero for all others
	Scope Scope
	Flags Flags
	Proto uint8  // who added it (Linux IFA_PROTO: 1 loopback, 2 router advertisement, 3 link-local); 0 unknown
	Label string // IPv4 label, such as "eth0:1"; often the link's name

	// PreferredUntil is when the address becomes deprecated, and ValidUntil when it ceases to exist. Zero means never
	// (or, of PreferredUntil, that it is Deprecated already). The kernel tells whole seconds, so they may be 1 s late.
	PreferredUntil, ValidUntil time.Time

	// Unsure is set while the address could not be read again though its link changed or events were lost.
	Unsure bool
}

// Link is what is known about one network interface.
type Link struct {
	Index    int    // identity: names change, and a number is not given anew while the link exists
	Name     string // such as "eth0"
	AltNames []string
	Kind     string // Linux: "bridge", "veth", "tun", ...; "" for hardware and elsewhere
	Up       bool   // switched on by the administrator
	LowerUp  bool   // has carrier
	Running  bool   // the kernel's summary of carrier and state, up to 1 s late
	Loopback bool
	NoARP    bool // no neighbour discovery, so no DAD either
	Oper     OperState
	MTU      int // bytes
	Master   int // index of the bridge, bond or VRF it belongs to; 0 none

	// In6Ready reports that the kernel runs IPv6 on the link. False while a link that was brought up without carrier
	// waits for it: DAD does not begin before. Stays true when carrier is lost later.
	In6Ready bool

	// UseTempAddr is the sysctl use_tempaddr: 0 no temporary addresses, 1 public ones preferred, 2 temporary preferred.
	UseTempAddr int

	// Changed is when [Link.Carrier] changed last, as seen by the watcher. Zero: it has not been seen to change.
	Changed time.Time
}

// Carrier reports whether the link is up and can pass packets as far as the kernel knows.
func (l Link) Carrier() bool {
	return l.Up && l.LowerUp && (l.Oper == OperUp || l.Oper == OperUnknown)
}

// Named reports whether name is the link's name or one of its alternative names.
func (l Link) Named(name string) bool {
	return l.Name == name || slices.Contains(l.AltNames, name)
}

// Snapshot is everything known at one moment. It never changes after it was published; share it freely.
type Snapshot struct {
	Gen uint64    // counts up by at least one per published snapshot; 0 is the empty one before the first
	At  time.Time // when it was made

	Links []Link // by index
	Addrs []Addr // by link, IPv4 before IPv6, then in the kernel's own order, which its source selection depends on

	// Gone holds addresses that the kernel deleted because DAD failed: it does so with every one that has a lifetime
	// (SLAAC, temporary), so without this list nobody could ever see why they are missing. Kept for 10 minutes.
	Gone []Addr

	Complete bool      // false before the first reading, and while some part of it could not be read again
	Source   string    // where it comes from: "netlink", "poll"; "" before the first
	Resumed  time.Time // when the host was last seen to wake from sleep; zero: not yet
}

// Link returns the link with that interface index.
func (s *Snapshot) Link(index int) (Link, bool) {
	return s.find(func(l *Link) bool { return l.Index == index })
}

// LinkNamed returns the link with that name or alternative name.
func (s *Snapshot) LinkNamed(name string) (Link, bool) {
	return s.find(func(l *Link) bool { return l.Named(name) })
}

func (s *Snapshot) find(match func(*Link) bool) (Link, bool) {
	for i := range s.Links {
		if match(&s.Links[i]) {
			return s.Links[i], true
		}
	}
	return Link{}, false
}

// Zoned returns the address as sockets need it: with its link's name as zone if, and only if, it is a link-local IPv6
// address.
func (s *Snapshot) Zoned(a Addr) netip.Addr {
	if !a.Addr.Is6() || !a.Addr.IsLinkLocalUnicast() {
		return a.Addr
	}
	if l, ok := s.Link(a.Link); ok {
		return a.Addr.WithZone(l.Name)
	}
	return a.Addr.WithZone(strconv.Itoa(a.Link))
}
