package ifwatch

import (
	"fmt"
	"strings"
)

// Change is one difference between two snapshots: of a link, or of an address.
type Change struct {
	OldLink, NewLink *Link // nil: did not exist, does not exist any more; both nil for a change of an address
	OldAddr, NewAddr *Addr // the same for an address
	link             string
}

// Diff lists how two snapshots differ, links first. Lifetimes that were merely extended are no difference.
func Diff(from, to *Snapshot) []Change {
	var changes []Change
	for _, l := range pair(from.Links, to.Links, func(l *Link) int { return l.Index }, sameLink) {
		changes = append(changes, Change{OldLink: l[0], NewLink: l[1]})
	}
	for _, a := range pair(from.Addrs, to.Addrs, func(a *Addr) Key { return a.Key }, sameBut) {
		c := Change{OldAddr: a[0], NewAddr: a[1]}
		in, key := to, a[1]
		if key == nil {
			in, key = from, a[0]
		}
		if l, ok := in.Link(key.Link); ok {
			c.link = l.Name
		}
		changes = append(changes, c)
	}
	return changes
}

// pair returns the elements that are not the same in old and new: {old, nil} for a lost one, {nil, new} for a new one.
func pair[T any, K comparable](old, new []T, key func(*T) K, same func(a, b *T) bool) [][2]*T {
	var pairs [][2]*T
	was := make(map[K]*T, len(old))
	for i := range old {
		was[key(&old[i])] = &old[i]
	}
	for i := range new {
		k := key(&new[i])
		if o, ok := was[k]; !ok || !same(o, &new[i]) {
			pairs = append(pairs, [2]*T{o, &new[i]})
		}
		delete(was, k)
	}
	for i := range old {
		if o := &old[i]; was[key(o)] == o {
			pairs = append(pairs, [2]*T{o, nil})
		}
	}
	return pairs
}

// String describes the change in one line: "address 2001:db8::1/64 on eth0: tentative permanent -> permanent".
func (c Change) String() string {
	switch {
	case c.OldLink != nil && c.NewLink != nil:
		return "link " + linkName(c) + ": " + linkChange(c.OldLink, c.NewLink)
	case c.NewLink != nil:
		return fmt.Sprintf("link %s: new, %s", c.NewLink.Name, linkState(c.NewLink))
	case c.OldLink != nil:
		return fmt.Sprintf("link %s: deleted", c.OldLink.Name)
	case c.OldAddr != nil && c.NewAddr != nil:
		return fmt.Sprintf("address %s on %s: %s -> %s", c.NewAddr.Prefix(), c.link, addrState(c.OldAddr), addrState(c.NewAddr))
	case c.NewAddr != nil:
		return fmt.Sprintf("address %s on %s: new, %s", c.NewAddr.Prefix(), c.link, addrState(c.NewAddr))
	case c.OldAddr != nil:
		return fmt.Sprintf("address %s on %s: deleted", c.OldAddr.Prefix(), c.link)
	default:
		return "nothing"
	}
}

func linkName(c Change) string {
	if c.OldLink.Name != c.NewLink.Name {
		return c.OldLink.Name + " (now " + c.NewLink.Name + ")"
	}
	return c.NewLink.Name
}

func linkState(l *Link) string {
	state := choose(l.Up, "up", "down")
	if l.Up {
		state += choose(l.LowerUp, ", carrier", ", no carrier")
	}
	return state + ", " + l.Oper.String()
}

// linkChange names what differs between two states of a link.
func linkChange(from, to *Link) string {
	var changes []string
	was, is := linkState(from), linkState(to)
	if was != is {
		changes = append(changes, was+" -> "+is)
	}
	for _, f := range []struct {
		name    string
		was, is any
	}{
		{"running", from.Running, to.Running},
		{"ready for IPv6", from.In6Ready, to.In6Ready},
		{"noarp", from.NoARP, to.NoARP},
		{"mtu", from.MTU, to.MTU},
		{"master", from.Master, to.Master},
		{"kind", from.Kind, to.Kind},
		{"loopback", from.Loopback, to.Loopback},
		{"alternative names", fmt.Sprint(from.AltNames), fmt.Sprint(to.AltNames)},
		{"use_tempaddr", from.UseTempAddr, to.UseTempAddr},
	} {
		if f.was != f.is {
			changes = append(changes, fmt.Sprintf("%s %v -> %v", f.name, f.was, f.is))
		}
	}
	return strings.Join(changes, ", ")
}

func addrState(a *Addr) string {
	names := a.Flags.Names()
	if a.Unsure {
		names = append(names, "unsure")
	}
	if len(names) == 0 {
		return "plain"
	}
	return strings.Join(names, " ")
}
