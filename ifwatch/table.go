package ifwatch

import (
	"cmp"
	"slices"
	"time"
)

// goneFor is how long an address that the kernel deleted after DAD failed stays visible.
const goneFor = 10 * time.Minute

// lifetimeJitter is by how much the end of a lifetime may seem to move: the kernel tells the rest in whole seconds.
const lifetimeJitter = 2 * time.Second

// effect is what an event did to the table, the greater the more has to be done about it.
type effect uint8

const (
	same      effect = iota // nothing
	refreshed               // lifetimes were extended: to be published before the published ones end
	changed                 // to be published now
)

// table holds the newest facts. It does no input or output, and belongs to one goroutine.
type table struct {
	rows []*row // by link index
	gone []goneAddr

	// refreshBy is when an extended lifetime has to be published; zero: none was. Router advertisements extend lifetimes
	// every few seconds on some networks, and nobody should be woken for that.
	refreshBy time.Time
}

// row is one link with its addresses in the kernel's order.
type row struct {
	Link
	v4, v6 []Addr
}

type goneAddr struct {
	Addr
	until time.Time
}

func (r *row) addrs(f Family) *[]Addr {
	if f == Inet {
		return &r.v4
	}
	return &r.v6
}

// row returns the row of a link, or nil.
func (t *table) row(index int) *row {
	if i, ok := t.search(index); ok {
		return t.rows[i]
	}
	return nil
}

func (t *table) search(index int) (int, bool) {
	return slices.BinarySearchFunc(t.rows, index, func(r *row, index int) int { return cmp.Compare(r.Index, index) })
}

// setLink adds or changes a link. It reports whether the addresses must be read again too: some of their changes come
// without an event of their own when the link changes (keep_addr_on_down makes them tentative, for example).
func (t *table) setLink(l Link, now time.Time) (e effect, reread bool) {
	i, ok := t.search(l.Index)
	if !ok {
		t.rows = slices.Insert(t.rows, i, &row{Link: l})
		return changed, true
	}
	old := t.rows[i].Link
	l.Changed = old.Changed
	if l.Carrier() != old.Carrier() {
		l.Changed = now
	}
	if sameLink(&l, &old) {
		return same, false
	}
	t.rows[i].Link = l
	reread = l.Up != old.Up || l.LowerUp != old.LowerUp || l.Running != old.Running || l.Oper != old.Oper ||
		l.In6Ready != old.In6Ready || l.NoARP != old.NoARP || l.MTU != old.MTU
	return changed, reread
}

func sameLink(a, b *Link) bool {
	return a.Index == b.Index && a.Name == b.Name && slices.Equal(a.AltNames, b.AltNames) && a.Kind == b.Kind &&
		a.Up == b.Up && a.LowerUp == b.LowerUp && a.Running == b.Running && a.Loopback == b.Loopback && a.NoARP == b.NoARP &&
		a.Oper == b.Oper && a.MTU == b.MTU && a.Master == b.Master && a.In6Ready == b.In6Ready &&
		a.UseTempAddr == b.UseTempAddr && a.Changed.Equal(b.Changed)
}

// setIn6 changes what IPv6 alone reports about a link.
func (t *table) setIn6(index int, ready bool, useTempAddr int, now time.Time) (e effect, reread bool) {
	r := t.row(index)
	if r == nil {
		return same, false
	}
	l := r.Link
	l.In6Ready, l.UseTempAddr = ready, useTempAddr
	return t.setLink(l, now)
}

// deleteLink removes a link with all that is on it.
func (t *table) deleteLink(index int) effect {
	i, ok := t.search(index)
	if !ok {
		return same
	}
	t.rows = slices.Delete(t.rows, i, i+1)
	t.gone = slices.DeleteFunc(t.gone, func(g goneAddr) bool { return g.Link == index })
	return changed
}

// setAddr adds or changes an address. One of an unknown link is left out: its link has gone in the meantime. It reports
// whether the addresses must be read again to know their order: because the kernel moved one (promote_secondaries), or because
// it may have had this one for a while (see outOfTurn).
func (t *table) setAddr(a Addr, now time.Time) (e effect, reread bool) {
	r := t.row(a.Link)
	if r == nil {
		return same, false
	}
	list := r.addrs(a.Family())
	i := slices.IndexFunc(*list, func(b Addr) bool { return b.Key == a.Key })
	if i < 0 {
		reread = outOfTurn(*list, &a)
		*list = slices.Insert(*list, place(*list, &a), a)
		t.forgetGone(a.Key)
		return changed, reread
	}
	old := &(*list)[i]
	if e = t.compare(old, &a, now); e != same {
		reread = (old.Flags^a.Flags)&Secondary != 0
		*old = a
	}
	return e, reread
}

// outOfTurn reports whether a new address may stand elsewhere in the kernel's list than the time of its event says. The kernel
// does not announce the addresses that it makes from router advertisements, nor optimistic ones, before DAD is over, and that
// ends in any order.
func outOfTurn(list []Addr, a *Addr) bool {
	if a.Family() == Inet || a.Flags.Has(Tentative) || a.Flags.Has(NoDAD) {
		return false
	}
	return slices.ContainsFunc(list, func(b Addr) bool { return scopeOf6(b.Addr) == scopeOf6(a.Addr) })
}

// compare says what it means that old is now a.
func (t *table) compare(old, a *Addr, now time.Time) effect {
	if !sameBut(old, a) {
		return changed
	}
	preferred, valid := compareTime(old.PreferredUntil, a.PreferredUntil), compareTime(old.ValidUntil, a.ValidUntil)
	switch {
	case preferred < 0 || valid < 0:
		return changed
	case preferred > 0:
		t.refreshBefore(old.PreferredUntil, now)
		return refreshed
	case valid > 0:
		t.refreshBefore(old.ValidUntil, now)
		return refreshed
	default:
		return same
	}
}

// sameBut reports whether a and b are equal but for their lifetimes.
func sameBut(a, b *Addr) bool {
	return a.Key == b.Key && a.Peer == b.Peer && a.Scope == b.Scope && a.Flags == b.Flags && a.Proto == b.Proto &&
		a.Label == b.Label && a.Unsure == b.Unsure
}

// compareTime returns -1 if the end of a lifetime moved nearer, 1 if it moved away, 0 if it stayed. Zero is never.
func compareTime(old, new time.Time) int {
	switch {
	case old.IsZero() && new.IsZero():
		return 0
	case old.IsZero():
		return -1
	case new.IsZero():
		return 1
	case new.Sub(old).Abs() <= lifetimeJitter:
		return 0
	default:
		return new.Compare(old)
	}
}

// refreshBefore makes an extended lifetime known some time before the published one ends.
func (t *table) refreshBefore(end, now time.Time) {
	by := end.Add(-min(10*time.Second, end.Sub(now)/2))
	if t.refreshBy.IsZero() || by.Before(t.refreshBy) {
		t.refreshBy = by
	}
}

// place returns where the kernel inserts a new address. IPv6 sorts by scope, the newest first (ipv6_link_dev_addr);
// IPv4 puts a primary address behind the last primary of no lesser scope, and a secondary at the end (__inet_insert_ifa).
func place(list []Addr, a *Addr) int {
	if a.Family() == Inet6 {
		for i := range list {
			if scopeOf6(a.Addr) >= scopeOf6(list[i].Addr) {
				return i
			}
		}
		return len(list)
	}
	if a.Flags.Has(Secondary) {
		return len(list)
	}
	at := 0
	for i := range list {
		if !list[i].Flags.Has(Secondary) && a.Scope <= list[i].Scope {
			at = i + 1
		}
	}
	return at
}

// deleteAddr removes an address. The kernel deletes one with a lifetime when DAD fails, maybe without ever having
// announced it (SLAAC); one without lifetime stays, so if it was known as failed, somebody else deleted it.
func (t *table) deleteAddr(a Addr, now time.Time) effect {
	r := t.row(a.Link)
	if r == nil {
		return same
	}
	e, knownFailed := same, false
	list := r.addrs(a.Family())
	if i := slices.IndexFunc(*list, func(b Addr) bool { return b.Key == a.Key }); i >= 0 {
		knownFailed = (*list)[i].Flags.Has(DADFailed)
		*list = slices.Delete(*list, i, i+1)
		e = changed
	}
	if a.Flags.Has(DADFailed) && !knownFailed {
		e = max(e, t.noteGone(a, now))
	}
	return e
}

// noteGone remembers an address whose DAD failed; again and again, since every router advertisement tries anew.
func (t *table) noteGone(a Addr, now time.Time) effect {
	g := goneAddr{a, now.Add(goneFor)}
	if i := slices.IndexFunc(t.gone, func(b goneAddr) bool { return b.Key == a.Key }); i >= 0 {
		t.gone[i] = g
		return same
	}
	t.gone = append(t.gone, g)
	return changed
}

// forgetGone forgets an address that exists again.
func (t *table) forgetGone(k Key) {
	t.gone = slices.DeleteFunc(t.gone, func(g goneAddr) bool { return g.Key == k })
}

// expireGone forgets addresses that have been gone for long.
func (t *table) expireGone(now time.Time) effect {
	before := len(t.gone)
	t.gone = slices.DeleteFunc(t.gone, func(g goneAddr) bool { return !now.Before(g.until) })
	if len(t.gone) != before {
		return changed
	}
	return same
}

// replaceAddrs makes read, in the kernel's order, the addresses of one family of a link. It does not keep read.
func (t *table) replaceAddrs(index int, f Family, read []Addr, now time.Time) effect {
	r := t.row(index)
	if r == nil {
		return same
	}
	list := r.addrs(f)
	if !slices.EqualFunc(*list, read, func(a, b Addr) bool { return a.Key == b.Key }) {
		*list = slices.Clone(read)
		for i := range read {
			t.forgetGone(read[i].Key)
		}
		return changed
	}
	e := same
	for i := range read {
		// One that is the same keeps its lifetimes: if they followed every jitter, a slow extension would go unnoticed.
		if c := t.compare(&(*list)[i], &read[i], now); c != same {
			(*list)[i] = read[i]
			e = max(e, c)
		}
	}
	return e
}

// mergeAddrs takes over what an interrupted reading found, which is true as far as it goes. What it did not find may exist
// or not, and is marked as unsure.
func (t *table) mergeAddrs(index int, f Family, read []Addr, now time.Time) effect {
	r := t.row(index)
	if r == nil {
		return same
	}
	e := same
	found := make(map[Key]bool, len(read))
	for _, a := range read {
		found[a.Key] = true
		set, _ := t.setAddr(a, now)
		e = max(e, set)
	}
	return max(e, doubt(*r.addrs(f), found))
}

// doubtAddrs marks all addresses of a link as unsure.
func (t *table) doubtAddrs(index int) effect {
	r := t.row(index)
	if r == nil {
		return same
	}
	return max(doubt(r.v4, nil), doubt(r.v6, nil))
}

// doubt marks those that are not in except as unsure.
func doubt(list []Addr, except map[Key]bool) effect {
	e := same
	for i := range list {
		if !list[i].Unsure && !except[list[i].Key] {
			list[i].Unsure = true
			e = changed
		}
	}
	return e
}

// unexplained counts how read differs from the table beyond what the kernel changes without an event: that an address
// becomes tentative, or appears tentatively.
func (t *table) unexplained(index int, f Family, read []Addr) int {
	r := t.row(index)
	if r == nil {
		return 0
	}
	known := make(map[Key]*Addr, len(read))
	for i := range *r.addrs(f) {
		a := &(*r.addrs(f))[i]
		known[a.Key] = a
	}
	wrong := 0
	for i := range read {
		old := known[read[i].Key]
		delete(known, read[i].Key)
		if (old == nil || !sameBut(old, &read[i])) && !read[i].Flags.Has(Tentative) {
			wrong++
		}
	}
	return wrong + len(known)
}

// keepLinks deletes all links but those in keep.
func (t *table) keepLinks(keep map[int]bool) effect {
	e := same
	for _, r := range slices.Clone(t.rows) {
		if !keep[r.Index] {
			e = max(e, t.deleteLink(r.Index))
		}
	}
	return e
}

// snapshot copies the table. Gen, Complete, Source and Resumed are the caller's.
func (t *table) snapshot(now time.Time) *Snapshot {
	addrs := 0
	for _, r := range t.rows {
		addrs += len(r.v4) + len(r.v6)
	}
	s := &Snapshot{At: now, Links: make([]Link, 0, len(t.rows)), Addrs: make([]Addr, 0, addrs)}
	for _, r := range t.rows {
		s.Links = append(s.Links, r.Link)
		s.Addrs = append(append(s.Addrs, r.v4...), r.v6...)
	}
	for _, g := range t.gone {
		s.Gone = append(s.Gone, g.Addr)
	}
	return s
}

// nextExpiry returns when the first lifetime after now ends, zero if none does.
func (s *Snapshot) nextExpiry(now time.Time) time.Time {
	var next time.Time
	for i := range s.Addrs {
		next = earliest(next, after(s.Addrs[i].PreferredUntil, now), after(s.Addrs[i].ValidUntil, now))
	}
	return next
}

// after returns t if it is later than now, else zero.
func after(t, now time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}

// earliest returns the earliest of times that are not zero.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
