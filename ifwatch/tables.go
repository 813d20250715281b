package ifwatch

import (
	"cmp"
	"context"
	"math"
	"net/netip"
	"slices"
)

// Tables are what source selection depends on besides links, addresses and the route. No event tells when any of it
// changes, so it is no part of a [Snapshot] and is read when it is needed.
type Tables struct {
	// Labels is the address label table (RFC 6724 section 2.1, "ip addrlabel") in the order in which the kernel looks at
	// it. nil means the kernel's own; empty but not nil means that all were deleted.
	Labels []Label

	// Knobs are the links' settings, by index. One that is missing has none but the snapshot's [Link.UseTempAddr].
	Knobs map[int]Knobs

	// Order has the indexes of links in the order in which they were registered, which decides between equals. It is
	// neither that of the indexes nor that of any dump. Links that are missing come last, by index.
	Order []int
}

// Label is one entry of the address label table.
type Label struct {
	Prefix netip.Prefix
	Link   int // it applies to addresses of this link only; 0: to all
	Label  uint32
}

// NoLabel is the label of an address that no entry matches.
const NoLabel = math.MaxUint32

// Knobs are the settings (sysctls) of a link that source selection depends on, as they take effect: those of "all"
// are worked in.
type Knobs struct {
	UseTempAddr   int  // see [Link.UseTempAddr]
	OIFAddrsOnly  bool // use_oif_addrs_only: what leaves by this link has one of its own IPv6 addresses
	UseOptimistic bool // optimistic_dad and use_optimistic: optimistic addresses are as good as others
	RouteLocalnet bool // route_localnet: 127.0.0.0/8 may leave by this link
}

// ReadTables reads the tables of this host. What the system refuses to tell is left out, which makes it the default;
// an error means that nothing could be read. It matches [errors.ErrUnsupported] where there is nothing to read.
func ReadTables(ctx context.Context) (*Tables, error) { return readTables(ctx) }

// defaultLabels are Linux's. They differ from those of RFC 6724: unique local addresses have 5 and not 13, Teredo 6 and
// not 5, and ORCHIDs one of their own.
func defaultLabels() []Label {
	var all []Label
	for _, l := range [...]struct {
		prefix string
		label  uint32
	}{
		{"::1/128", 0},
		{"::/96", 3},
		{"::ffff:0:0/96", 4},
		{"2001::/32", 6},
		{"2001:10::/28", 7},
		{"3ffe::/16", 12},
		{"2002::/16", 2},
		{"fec0::/10", 11},
		{"fc00::/7", 5},
		{"::/0", 1},
	} {
		all = append(all, Label{Prefix: netip.MustParsePrefix(l.prefix), Label: l.label})
	}
	return all
}

// complete returns t with the kernel's own labels if it has none; t may be nil.
func (t *Tables) complete() *Tables {
	switch {
	case t == nil:
		return &Tables{Labels: defaultLabels()}
	case t.Labels == nil:
		return &Tables{Labels: defaultLabels(), Knobs: t.Knobs, Order: t.Order}
	default:
		return t
	}
}

// label returns the label of an IPv6 address of a link: that of the first entry that matches.
func (t *Tables) label(a netip.Addr, link int) uint32 {
	for _, l := range t.Labels {
		if (l.Link == 0 || l.Link == link) && contains6(l.Prefix, a) {
			return l.Label
		}
	}
	return NoLabel
}

// contains6 is Prefix.Contains without the exception for addresses that stand for IPv4 ones.
func contains6(p netip.Prefix, a netip.Addr) bool { return commonBits(p.Addr(), a) >= p.Bits() }

// knobs returns the settings of a link.
func (t *Tables) knobs(s *Snapshot, link int) Knobs {
	if k, ok := t.Knobs[link]; ok {
		return k
	}
	l, _ := s.Link(link)
	return Knobs{UseTempAddr: l.UseTempAddr}
}

// inOrder returns the links of a snapshot in the order in which they were registered.
func (t *Tables) inOrder(s *Snapshot) []*Link {
	place := make(map[int]int, len(t.Order))
	for i, index := range t.Order {
		place[index] = i + 1
	}
	all := make([]*Link, len(s.Links))
	for i := range s.Links {
		all[i] = &s.Links[i]
	}
	last := len(t.Order) + 1
	slices.SortStableFunc(all, func(a, b *Link) int {
		return cmp.Or(cmp.Compare(cmp.Or(place[a.Index], last), cmp.Or(place[b.Index], last)), cmp.Compare(a.Index, b.Index))
	})
	return all
}

// mergeOrders returns an order of which all orders are parts, as they are if each leaves out some of the same list.
// What only a later one has goes right behind what it follows there.
func mergeOrders(orders ...[]int) []int {
	var merged []int
	for _, order := range orders {
		at := 0
		for _, index := range order {
			if i := slices.Index(merged, index); i >= 0 {
				at = i + 1
				continue
			}
			merged = slices.Insert(merged, at, index)
			at++
		}
	}
	return merged
}
