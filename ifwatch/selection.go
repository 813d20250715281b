package ifwatch

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Selection says for what a source address is wanted, and holds everything that the choice depends on. To have it
// filled in from the running system, see [FindPath].
type Selection struct {
	Snapshot *Snapshot // required

	// Tables are what the kernel knows besides links and addresses. nil: its defaults, with the snapshot's UseTempAddr.
	Tables *Tables

	// Route is the way to the destination, Route.Dst, as [LookupRoute] tells it. Dst is required. Without Link the
	// choice is made as the kernel does it before it has found a route: among all links, none of them preferred.
	Route Route

	// Temporary is what the socket prefers (RFC 5014); [TemporaryKernel] leaves it to the links' use_tempaddr.
	Temporary TemporaryPolicy

	// Policy leaves only the addresses that it allows for new flows, and that reach the destination. nil: all that the
	// kernel would use.
	Policy *Policy
	Now    time.Time // for Policy
}

// Choice is a source address, and why it and no other.
type Choice struct {
	Source    netip.Addr // has no zone; the zero Addr if there is none
	Link      int        // which has it; 0 if none has
	Interface string     // name of that link
	Addr      Addr       // what is known about Source; zero if no link has it

	// Rule is what was needed to decide: the one that the strongest of the others lost by, or why there was nothing to
	// compare. It is empty if there is no source.
	Rule Rule

	// Candidates are all other addresses of the family: first those that were compared, the strongest first, then those
	// that did not take part, in the kernel's order.
	Candidates []Candidate
}

// Candidate is an address that was not chosen.
type Candidate struct {
	Addr
	Interface string  // name of its link
	Rule      Rule    // by which it lost to the source, or why it did not take part
	TookPart  bool    // false: it was never compared
	Verdict   Verdict // of the policy, if there was one and it is why the candidate did not take part
	Why       string  // Rule with the facts, for people: "label 5, the destination has 1"
}

// Choose selects the source: as the kernel does it for connect(2) (IPv6: RFC 6724 in the kernel's form; IPv4: by the
// route), or what it would do if it had only the addresses that s.Policy leaves. It depends on nothing but s.
func (s *Selection) Choose() Choice {
	if s.boundToGroup() {
		if choice := s.choose(group4()); choice.Source.IsValid() || s.Route.Dst.IsLinkLocalMulticast() {
			return choice
		}
	}
	return s.choose(s.method())
}

// method returns how the kernel chooses for the destination's family.
func (s *Selection) method() method {
	if s.Route.Dst.Is4() {
		return kernel4()
	}
	return kernel6()
}

// method is a way to choose. The tests alter those of the kernel, to see whether they would notice.
type method struct {
	// given returns a source that needs no comparing; the zero Addr: there is none.
	given func(*contest) (netip.Addr, Rule)
	// links returns the links in the order in which the kernel looks at them. Each is there at most once.
	links func(*contest) []*Link
	// exclude returns why an address does not take part, or "".
	exclude func(*contest, *candidate) Rule
	// rules compare the rest: the first one that gives two different values decides.
	rules []rule
}

// rule compares two candidates.
type rule struct {
	name  Rule
	value func(*contest, *candidate) int                      // the greater is the better
	why   func(c *contest, lost, won *candidate) (why string) // for people
}

// contest is one selection under way.
type contest struct {
	*Selection
	dst    netip.Addr // without zone
	oif    int        // outgoing interface; 0 unknown
	tables *Tables    // never nil
}

// candidate is an address in a contest.
type candidate struct {
	*Addr
	link *Link
	out  Rule    // why it does not take part; "" it does
	says Verdict // of the policy, if out is RuleNotUsable
}

// accept returns the choice of a source that the kernel has made, if the policy allows it.
func (s *Selection) accept(source netip.Addr) (Choice, bool) {
	c := s.contest()
	return c.give(source, RuleKernel, c.candidates(s.method()))
}

func (s *Selection) contest() *contest {
	return &contest{Selection: s, dst: s.Route.Dst.WithZone(""), oif: s.Route.Link, tables: s.Tables.complete()}
}

func (s *Selection) choose(m method) Choice {
	c := s.contest()
	all := c.candidates(m)
	if source, rule := m.given(c); source.IsValid() {
		if choice, ok := c.give(source, rule, all); ok {
			return choice
		}
	}
	// A stable sort by the rules leaves equals in the kernel's order; who did not take part comes last.
	slices.SortStableFunc(all, func(a, b *candidate) int {
		if a.out != "" || b.out != "" {
			return count(a.out != "") - count(b.out != "")
		}
		return -c.compare(m, a, b)
	})
	if len(all) == 0 || all[0].out != "" {
		return Choice{Candidates: c.others(nil, all, m)}
	}
	won := all[0]
	choice := Choice{Source: won.Addr.Addr, Link: won.link.Index, Interface: won.link.Name, Addr: *won.Addr, Rule: RuleOnly}
	if len(all) > 1 && all[1].out == "" {
		choice.Rule = c.decider(m, won, all[1]).name
	}
	choice.Candidates = c.others(won, all[1:], m)
	return choice
}

// candidates lists the addresses of the destination's family in the kernel's order.
func (c *contest) candidates(m method) []*candidate {
	byLink := make(map[int][]*Addr)
	for i := range c.Snapshot.Addrs {
		if a := &c.Snapshot.Addrs[i]; a.Addr.Is4() == c.dst.Is4() {
			byLink[a.Link] = append(byLink[a.Link], a)
		}
	}
	var all []*candidate
	for _, l := range m.links(c) {
		for _, a := range byLink[l.Index] {
			d := &candidate{Addr: a, link: l}
			if d.out = m.exclude(c, d); d.out == "" {
				d.out = c.forbidden(d)
			}
			all = append(all, d)
		}
	}
	return all
}

// forbidden returns why the policy does not allow an address, or "".
func (c *contest) forbidden(d *candidate) Rule {
	if c.Policy == nil {
		return ""
	}
	d.says = c.Policy.Judge(c.Snapshot, *d.Addr, c.Now)
	switch {
	case !d.says.NewFlows:
		return RuleNotUsable
	case !reaches(d.says, *d.Addr, c.dst, c.oif):
		return RuleReach
	default:
		return ""
	}
}

// give returns the choice of a source that was given, unless the policy does not allow it.
func (c *contest) give(source netip.Addr, rule Rule, all []*candidate) (Choice, bool) {
	choice := Choice{Source: source, Rule: rule}
	i := slices.IndexFunc(all, func(d *candidate) bool { return d.Addr.Addr == source && c.forbidden(d) == "" })
	switch {
	case i >= 0:
		choice.Link, choice.Interface, choice.Addr = all[i].link.Index, all[i].link.Name, *all[i].Addr
		all = slices.Delete(all, i, i+1)
	case c.Policy != nil:
		return Choice{}, false
	}
	for _, d := range all {
		choice.Candidates = append(choice.Candidates, Candidate{Addr: *d.Addr, Interface: d.link.Name, Rule: rule, Why: rule.Text()})
	}
	return choice, true
}

// compare returns 1 if the kernel prefers a, -1 if it prefers b, 0 if the rules do not tell.
func (c *contest) compare(m method, a, b *candidate) int {
	for i := range m.rules {
		if order := cmp.Compare(m.rules[i].value(c, a), m.rules[i].value(c, b)); order != 0 {
			return order
		}
	}
	return 0
}

// decider returns the rule that tells two candidates apart.
func (c *contest) decider(m method, a, b *candidate) rule {
	for _, r := range m.rules {
		if r.value(c, a) != r.value(c, b) {
			return r
		}
	}
	return rule{name: RuleOrder, why: func(*contest, *candidate, *candidate) string { return RuleOrder.Text() }}
}

// others says of each but the winner why it is not the source.
func (c *contest) others(won *candidate, all []*candidate, m method) []Candidate {
	others := make([]Candidate, 0, len(all))
	for _, d := range all {
		o := Candidate{Addr: *d.Addr, Interface: d.link.Name, Rule: d.out}
		if d.out == "" {
			r := c.decider(m, won, d)
			o.TookPart, o.Rule, o.Why = true, r.name, r.why(c, d, won)
		} else {
			o.Why = c.whyOut(d)
		}
		if d.out == RuleNotUsable {
			o.Verdict = d.says
		}
		others = append(others, o)
	}
	return others
}

// whyOut says why a candidate did not take part.
func (c *contest) whyOut(d *candidate) string {
	switch d.out {
	case RuleNotUsable:
		return c.Snapshot.Explain(*d.Addr, d.says)
	case RuleInterface:
		return "on " + d.link.Name + ", and only addresses of " + c.linkName(c.oif) + " take part"
	default:
		return d.out.Text()
	}
}

// linkName returns the name of a link for people.
func (c *contest) linkName(index int) string {
	if l, ok := c.Snapshot.Link(index); ok {
		return l.Name
	}
	return "the outgoing interface"
}

// reaches reports whether an address with that verdict may be the source of a new flow to dst, which leaves by the link
// out (0: any): a loopback address only to this host, a link-local one only on its own link and, unless it is advertised,
// only to a link-local peer.
func reaches(v Verdict, a Addr, dst netip.Addr, out int) bool {
	switch local := a.Addr; {
	case local.IsLoopback() || dst.IsLoopback():
		return local.IsLoopback() && dst.IsLoopback()
	case dst.Is6() && dst.IsLinkLocalUnicast():
		return local.IsLinkLocalUnicast() && (out == 0 || out == a.Link)
	case local.IsLinkLocalUnicast() && !v.Advertise:
		return dst.IsLinkLocalUnicast()
	default:
		return true
	}
}
