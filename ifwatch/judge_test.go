package ifwatch_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
)

// noon is when all situations are judged.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// situation is one address on one link under one policy. Every field but name and want may be left out.
type situation struct {
	name   string
	link   func(*ifwatch.Link) // changes eth0, index 2, which is up and has carrier
	addr   string              // default 2001:db8::1/64
	flags  ifwatch.Flags
	facts  func(*ifwatch.Addr)
	others []ifwatch.Addr
	policy ifwatch.Policy
	want   string        // the four answers as letters (Bind, Keep, Advertise, new Flows), then all reasons
	why    string        // what Explain says; "" is not checked
	next   time.Duration // from noon; 0: never
}

func (c *situation) judge() (*ifwatch.Snapshot, ifwatch.Addr, ifwatch.Verdict) {
	l := ifwatchtest.Link(2, "eth0")
	if c.link != nil {
		c.link(&l)
	}
	prefix := "2001:db8::1/64"
	if c.addr != "" {
		prefix = c.addr
	}
	a := ifwatchtest.Addr(2, prefix, c.flags)
	if c.facts != nil {
		c.facts(&a)
	}
	s := &ifwatch.Snapshot{
		Gen: 1, At: noon, Complete: true,
		Links: []ifwatch.Link{ifwatchtest.Loopback(), l}, Addrs: append([]ifwatch.Addr{a}, c.others...),
	}
	return s, a, c.policy.Judge(s, a, noon)
}

func answers(v ifwatch.Verdict) string {
	letters := []byte("----")
	for i, yes := range []bool{v.Bind, v.Keep, v.Advertise, v.NewFlows} {
		if yes {
			letters[i] = "BKAF"[i]
		}
	}
	words := make([]string, len(v.Reasons))
	for i, r := range v.Reasons {
		words[i] = string(r)
	}
	return string(letters) + " " + strings.Join(words, " ")
}

func TestJudge(t *testing.T) {
	for _, table := range [][]situation{
		usable, choices, lifetimes, duplicateDetection, carrier, deprecations, temporaries, scopes,
	} {
		for _, c := range table {
			t.Run(c.name, func(t *testing.T) { checkJudge(t, &c) })
		}
	}
}

func checkJudge(t *testing.T, c *situation) {
	s, a, v := c.judge()
	if got := answers(v); got != c.want {
		t.Errorf("verdict %q, want %q", got, c.want)
	}
	if v.Reason != v.Reasons[0] {
		t.Errorf("reason %s is not the first of %v", v.Reason, v.Reasons)
	}
	if allYes := v.Bind && v.Advertise && v.NewFlows; allYes != (v.Reason == ifwatch.ReasonOK) {
		t.Errorf("reason %s with answers %s", v.Reason, answers(v))
	}
	if why := s.Explain(a, v); why == "" || c.why != "" && why != c.why {
		t.Errorf("explained as %q, want %q", why, c.why)
	}
	var next time.Time
	if c.next != 0 {
		next = noon.Add(c.next)
	}
	if !v.Next.Equal(next) {
		t.Errorf("next %v, want %v", v.Next, next)
	}
}

func patterns(s ...string) ifwatch.Patterns {
	p, err := ifwatch.ParsePatterns(s)
	if err != nil {
		panic(fmt.Sprintf("the test's own pattern: %v", err))
	}
	return p
}

func lifetime(preferred, valid time.Duration) func(*ifwatch.Addr) {
	return func(a *ifwatch.Addr) {
		a.PreferredUntil, a.ValidUntil = noon.Add(preferred), noon.Add(valid)
		a.Flags &^= ifwatch.Permanent
	}
}

func lostCarrier(ago time.Duration) func(*ifwatch.Link) {
	return func(l *ifwatch.Link) {
		l.LowerUp, l.Running, l.Oper, l.Changed = false, false, ifwatch.OperDown, noon.Add(-ago)
	}
}

func switchedOff(ago time.Duration) func(*ifwatch.Link) {
	return func(l *ifwatch.Link) {
		lostCarrier(ago)(l)
		l.Up = false
	}
}

// neverCarrier is libvirt's bridge whose only port has no carrier.
func neverCarrier(l *ifwatch.Link) {
	l.Name, l.Kind, l.LowerUp, l.Running, l.Oper, l.In6Ready = "virbr2", "bridge", false, false, ifwatch.OperDown, false
}

func oper(o ifwatch.OperState) func(*ifwatch.Link) { return func(l *ifwatch.Link) { l.Oper = o } }

func named(s string) ifwatch.Policy {
	return ifwatch.Policy{Named: []netip.Addr{netip.MustParseAddr(s)}}
}

func with(p ifwatch.Policy, more func(*ifwatch.Policy)) ifwatch.Policy {
	more(&p)
	return p
}

var usable = []situation{
	{name: "an ordinary IPv6 address", want: "BKAF ok", why: "usable"},
	{name: "an ordinary IPv4 address", addr: "192.0.2.1/24", want: "BKAF ok"},
	{name: "a unique local address", addr: "fd00::1/64", want: "BKAF ok"},
	{name: "a private IPv4 address", addr: "10.0.0.1/8", want: "BKAF ok"},
	{name: "an IPv4 secondary", addr: "192.0.2.2/24", flags: ifwatch.Secondary, want: "BKAF ok"},
	{name: "SLAAC, stable and opaque", flags: ifwatch.StablePrivacy | ifwatch.ManageTemp, facts: lifetime(time.Hour, 2*time.Hour), want: "BKAF ok", next: time.Hour},
	{name: "point to point", addr: "192.0.2.1/32", facts: func(a *ifwatch.Addr) { a.Peer = netip.MustParseAddr("192.0.2.9") }, want: "BKAF ok"},
	{name: "tun, whose driver does not say its state", link: oper(ifwatch.OperUnknown), want: "BKAF ok"},
	{name: "a service address on lo", addr: "192.0.2.53/32", facts: func(a *ifwatch.Addr) { a.Link = 1 }, want: "BKAF ok"},
	{name: "nodad", flags: ifwatch.NoDAD, want: "BKAF ok"},
	{name: "running lags behind the state", link: func(l *ifwatch.Link) { l.Running = false }, want: "BKAF ok"},
	{name: "carrier came back", link: func(l *ifwatch.Link) { l.Changed = noon.Add(-time.Second) }, want: "BKAF ok"},
}

var choices = []situation{
	{name: "the named interface", policy: ifwatch.Policy{Interfaces: patterns("eth0")}, want: "BKAF ok"},
	{name: "another interface named", policy: ifwatch.Policy{Interfaces: patterns("eth1")}, want: "---- interface_not_selected", why: "eth0 is not selected"},
	{name: "refused by a glob", policy: ifwatch.Policy{Interfaces: patterns("!et*")}, want: "---- interface_not_selected"},
	{name: "wanted and refused", policy: ifwatch.Policy{Interfaces: patterns("!eth0", "eth*")}, want: "---- interface_not_selected"},
	{name: "wanted by alternative name", link: func(l *ifwatch.Link) { l.AltNames = []string{"enp3s0"} }, policy: ifwatch.Policy{Interfaces: patterns("enp*")}, want: "BKAF ok"},
	{name: "refused by alternative name", link: func(l *ifwatch.Link) { l.AltNames = []string{"enp3s0"} }, policy: ifwatch.Policy{Interfaces: patterns("!enp3s0")}, want: "---- interface_not_selected"},
	{name: "inet only, an IPv6 address", policy: ifwatch.Policy{Family: ifwatch.Inet}, want: "---- family_not_selected", why: "IPv6 is not selected"},
	{name: "inet only, an IPv4 address", addr: "192.0.2.1/24", policy: ifwatch.Policy{Family: ifwatch.Inet}, want: "BKAF ok"},
	{name: "inet6 only, an IPv4 address", addr: "192.0.2.1/24", policy: ifwatch.Policy{Family: ifwatch.Inet6}, want: "---- family_not_selected", why: "IPv4 is not selected"},
	{name: "neither interface nor family, and tentative too", flags: ifwatch.Tentative, policy: ifwatch.Policy{Interfaces: patterns("lo"), Family: ifwatch.Inet}, want: "---- interface_not_selected family_not_selected tentative"},
	{name: "naming an address does not select its interface", policy: with(named("2001:db8::1"), func(p *ifwatch.Policy) { p.Interfaces = patterns("eth1") }), want: "---- interface_not_selected"},
	{name: "a positive list leaves lo out", addr: "127.0.0.1/8", facts: func(a *ifwatch.Addr) { a.Link = 1 }, policy: ifwatch.Policy{Interfaces: patterns("eth*")}, want: "---- interface_not_selected loopback"},
	{name: "a list of refusals keeps lo", addr: "127.0.0.1/8", facts: func(a *ifwatch.Addr) { a.Link = 1 }, policy: ifwatch.Policy{Interfaces: patterns("!eth*")}, want: "BK-F loopback"},
}

var lifetimes = []situation{
	{name: "lifetimes far away", facts: lifetime(time.Hour, 2*time.Hour), want: "BKAF ok", next: time.Hour},
	{name: "preferred for ever, valid for an hour", facts: func(a *ifwatch.Addr) { a.ValidUntil = noon.Add(time.Hour) }, want: "BKAF ok", next: time.Hour},
	{name: "preferred lifetime over, flag not seen yet", facts: lifetime(0, time.Hour), want: "-K-- deprecated", next: time.Hour},
	{name: "valid lifetime over, deletion not seen yet", facts: lifetime(-time.Hour, 0), want: "---- expired deprecated", why: "its valid lifetime ended at 12:00:00"},
}

var duplicateDetection = []situation{
	{name: "DAD runs", flags: ifwatch.Tentative, want: "---- tentative", why: "DAD is running on eth0"},
	{name: "DAD waits for carrier on a libvirt bridge", link: neverCarrier, flags: ifwatch.Tentative, want: "---- dad_waits_for_carrier tentative no_carrier", why: "DAD waits for carrier: virbr2 has none"},
	{name: "carrier has come, the kernel is about to begin", link: func(l *ifwatch.Link) { l.In6Ready = false }, flags: ifwatch.Tentative, want: "---- dad_waits_for_carrier tentative", why: "DAD waits until eth0 is ready"},
	{name: "nodad on a bridge without carrier", link: neverCarrier, flags: ifwatch.NoDAD, want: "---- no_carrier", why: "virbr2 has no carrier"},
	{name: "IPv4 on the libvirt bridge", link: neverCarrier, addr: "192.168.125.1/24", want: "---- no_carrier"},
	{name: "tentative IPv4 (Windows)", addr: "192.0.2.1/24", link: func(l *ifwatch.Link) { l.In6Ready = false }, flags: ifwatch.Tentative, want: "---- tentative"},
	{name: "carrier lost while DAD runs", link: lostCarrier(time.Second), flags: ifwatch.Tentative, want: "---- tentative no_carrier", next: 29 * time.Second},
	{name: "DAD failed", flags: ifwatch.DADFailed | ifwatch.Tentative, want: "---- dad_failed", why: "DAD failed: another host on eth0 has this address"},
	{name: "DAD failed and the link lost carrier", link: lostCarrier(time.Second), flags: ifwatch.DADFailed | ifwatch.Tentative, want: "---- dad_failed no_carrier", next: 29 * time.Second},
	{name: "optimistic", flags: ifwatch.Optimistic | ifwatch.Tentative, want: "-K-- optimistic", why: "optimistic: DAD has not finished on eth0"},
	{name: "optimistic, to be used", flags: ifwatch.Optimistic | ifwatch.Tentative, policy: ifwatch.Policy{Optimistic: ifwatch.OptimisticUse}, want: "BKAF ok"},
	{name: "optimistic, DAD failed", flags: ifwatch.Optimistic | ifwatch.Tentative | ifwatch.DADFailed, policy: ifwatch.Policy{Optimistic: ifwatch.OptimisticUse}, want: "---- dad_failed"},
	{name: "optimistic, DAD waits for carrier", link: neverCarrier, flags: ifwatch.Optimistic | ifwatch.Tentative, want: "---- dad_waits_for_carrier no_carrier optimistic"},
	{name: "optimistic, to be used, without carrier", link: neverCarrier, flags: ifwatch.Optimistic | ifwatch.Tentative, policy: ifwatch.Policy{Optimistic: ifwatch.OptimisticUse}, want: "---- no_carrier"},
	{name: "optimistic and deprecated", flags: ifwatch.Optimistic | ifwatch.Tentative | ifwatch.Deprecated, policy: ifwatch.Policy{Optimistic: ifwatch.OptimisticUse}, want: "-K-- deprecated"},
}

var carrier = []situation{
	{name: "no carrier since the start", link: lostCarrier(0), facts: func(a *ifwatch.Addr) { a.Flags |= ifwatch.NoDAD }, want: "-K-- no_carrier", next: 30 * time.Second},
	{name: "carrier lost 10 s ago", link: lostCarrier(10 * time.Second), want: "-K-- no_carrier", next: 20 * time.Second, why: "eth0 has no carrier; an open listener stays for now"},
	{name: "carrier lost 30 s ago", link: lostCarrier(30 * time.Second), want: "---- no_carrier", why: "eth0 has no carrier"},
	{name: "carrier lost, grace of 2 min", link: lostCarrier(time.Minute), policy: ifwatch.Policy{CarrierGrace: 2 * time.Minute}, want: "-K-- no_carrier", next: time.Minute},
	{name: "carrier lost, no grace", link: lostCarrier(0), policy: ifwatch.Policy{CarrierGrace: -1}, want: "---- no_carrier"},
	{name: "carrier lost, address ends before the grace", link: lostCarrier(0), facts: lifetime(5*time.Second, 6*time.Second), want: "-K-- no_carrier", next: 5 * time.Second},
	{name: "carrier lost, never seen with it", link: func(l *ifwatch.Link) { l.LowerUp = false }, want: "---- no_carrier"},
	{name: "switched off 10 s ago, IPv4 stays", link: switchedOff(10 * time.Second), addr: "192.0.2.1/24", want: "-K-- link_down", next: 20 * time.Second, why: "eth0 is down; an open listener stays for now"},
	{name: "switched off long ago", link: switchedOff(time.Hour), addr: "192.0.2.1/24", want: "---- link_down", why: "eth0 is down"},
	{name: "switched off, IPv6 kept by keep_addr_on_down", link: switchedOff(time.Second), flags: ifwatch.Tentative, want: "---- link_down tentative", next: 29 * time.Second},
	{name: "switched off, kept, not ready", link: func(l *ifwatch.Link) { l.Up, l.In6Ready = false, false }, flags: ifwatch.Tentative, want: "---- link_down dad_waits_for_carrier tentative"},
	{name: "the link itself is missing", facts: func(a *ifwatch.Addr) { a.Link = 9 }, want: "---- link_down", why: "interface 9 has vanished"},
	{name: "dormant", link: oper(ifwatch.OperDormant), want: "---- dormant"},
	{name: "became dormant", link: func(l *ifwatch.Link) { l.Oper, l.Changed = ifwatch.OperDormant, noon }, want: "-K-- dormant", next: 30 * time.Second},
	{name: "dormant without carrier", link: func(l *ifwatch.Link) { l.Oper, l.LowerUp = ifwatch.OperDormant, false }, want: "---- no_carrier"},
	{name: "lower layer down", link: oper(ifwatch.OperLowerLayerDown), want: "---- no_carrier", why: "eth0 has no carrier: the link below it is down"},
	{name: "carrier, but not operational yet", link: oper(ifwatch.OperDown), want: "---- no_carrier", why: "eth0 has carrier but is not operational yet"},
	{name: "under test", link: oper(ifwatch.OperTesting), want: "---- no_carrier", why: "eth0 passes no packets: it is being tested"},
	{name: "hardware missing", link: oper(ifwatch.OperNotPresent), want: "---- no_carrier"},
	{name: "unsure", facts: func(a *ifwatch.Addr) { a.Unsure = true }, want: "-K-- unsure", why: "eth0 changed, and 2001:db8::1 could not be read again yet"},
	{name: "unsure and deprecated", flags: ifwatch.Deprecated, facts: func(a *ifwatch.Addr) { a.Unsure = true }, want: "-K-- unsure deprecated"},
}

var deprecations = []situation{
	{name: "deprecated", flags: ifwatch.Deprecated, want: "-K-- deprecated", why: "deprecated: its preferred lifetime is over; only an open listener stays"},
	{name: "deprecated, to be used", flags: ifwatch.Deprecated, policy: ifwatch.Policy{Deprecated: ifwatch.DeprecatedUse}, want: "BK-- deprecated", why: "deprecated: its preferred lifetime is over; listened on, but not advertised"},
	{name: "deprecated, refused", flags: ifwatch.Deprecated, policy: ifwatch.Policy{Deprecated: ifwatch.DeprecatedRefuse}, want: "---- deprecated", why: "deprecated: its preferred lifetime is over"},
	{name: "deprecated but named", flags: ifwatch.Deprecated, policy: named("2001:db8::1"), want: "BK-- deprecated"},
	{name: "deprecated, another one named", flags: ifwatch.Deprecated, policy: named("2001:db8::2"), want: "-K-- deprecated"},
	{name: "deprecated, named and refused", flags: ifwatch.Deprecated, policy: with(named("2001:db8::1"), func(p *ifwatch.Policy) { p.Deprecated = ifwatch.DeprecatedRefuse }), want: "---- deprecated"},
	{name: "deprecated link-local, named with its zone", addr: "fe80::1/64", flags: ifwatch.Deprecated, policy: named("fe80::1%eth0"), want: "BK-- deprecated link_local"},
	{name: "deprecated link-local, named with its index", addr: "fe80::1/64", flags: ifwatch.Deprecated, policy: named("fe80::1%2"), want: "BK-- deprecated link_local"},
	{name: "deprecated link-local, named on another link", addr: "fe80::1/64", flags: ifwatch.Deprecated, policy: named("fe80::1%eth1"), want: "-K-- deprecated link_local"},
	{name: "deprecated IPv4, named as mapped", addr: "192.0.2.1/24", flags: ifwatch.Deprecated, policy: named("::ffff:192.0.2.1"), want: "BK-- deprecated"},
	{name: "deprecated, carrier lost", link: lostCarrier(0), flags: ifwatch.Deprecated, policy: ifwatch.Policy{Deprecated: ifwatch.DeprecatedUse}, want: "-K-- no_carrier deprecated", next: 30 * time.Second},
}

// private is a temporary address beside public, which is of the same prefix.
const private = "2001:db8::dead:beef/64"

var public = ifwatchtest.Addr(2, "2001:db8::1/64")

func tempAddr(sysctl int) func(*ifwatch.Link) {
	return func(l *ifwatch.Link) { l.UseTempAddr = sysctl }
}

var temporaries = []situation{
	{name: "temporary, kernel prefers public", addr: private, flags: ifwatch.Temporary, link: tempAddr(1), others: []ifwatch.Addr{public}, want: "BK-- temporary", why: "temporary: a public address of eth0 is advertised instead"},
	{name: "temporary, kernel prefers temporary", addr: private, flags: ifwatch.Temporary, link: tempAddr(2), others: []ifwatch.Addr{public}, want: "BKAF ok"},
	{name: "temporary, to be preferred", addr: private, flags: ifwatch.Temporary, link: tempAddr(1), others: []ifwatch.Addr{public}, policy: ifwatch.Policy{Temporary: ifwatch.TemporaryPrefer}, want: "BKAF ok"},
	{name: "temporary, to be avoided", addr: private, flags: ifwatch.Temporary, link: tempAddr(2), others: []ifwatch.Addr{public}, policy: ifwatch.Policy{Temporary: ifwatch.TemporaryAvoid}, want: "BK-- temporary"},
	{name: "temporary, to be avoided, but nothing else is there", addr: private, flags: ifwatch.Temporary, policy: ifwatch.Policy{Temporary: ifwatch.TemporaryAvoid}, want: "BKAF ok"},
	{name: "temporary, the public one is tentative", addr: private, flags: ifwatch.Temporary, others: []ifwatch.Addr{ifwatchtest.Addr(2, "2001:db8::1/64", ifwatch.Tentative)}, want: "BKAF ok"},
	{name: "temporary, the public one is unique local", addr: private, flags: ifwatch.Temporary, others: []ifwatch.Addr{ifwatchtest.Addr(2, "fd00::1/64")}, want: "BKAF ok"},
	{name: "temporary, the public one is on another link", addr: private, flags: ifwatch.Temporary, others: []ifwatch.Addr{ifwatchtest.Addr(1, "2001:db8::1/64")}, want: "BKAF ok"},
	{name: "temporary, the public one ends soon", addr: private, flags: ifwatch.Temporary, others: []ifwatch.Addr{func() ifwatch.Addr { a := public; a.PreferredUntil = noon.Add(time.Minute); return a }()}, want: "BK-- temporary", next: time.Minute},
	{name: "temporary and deprecated", addr: private, flags: ifwatch.Temporary | ifwatch.Deprecated, others: []ifwatch.Addr{public}, want: "-K-- deprecated temporary"},
	{name: "the public one beside a temporary", flags: ifwatch.ManageTemp, link: tempAddr(2), others: []ifwatch.Addr{ifwatchtest.Addr(2, private, ifwatch.Temporary)}, want: "BKAF ok"},
}

var scopes = []situation{
	{name: "loopback", addr: "127.0.0.1/8", want: "BK-F loopback", why: "loopback: reachable from this host only"},
	{name: "IPv6 loopback", addr: "::1/128", want: "BK-F loopback"},
	{name: "loopback refused", addr: "::1/128", policy: ifwatch.Policy{Loopback: ifwatch.LoopbackRefuse}, want: "---- loopback", why: "loopback addresses are refused"},
	{name: "host scope", addr: "192.0.2.1/32", facts: func(a *ifwatch.Addr) { a.Scope = ifwatch.ScopeHost }, want: "BK-F loopback"},
	{name: "link-local", addr: "fe80::1/64", want: "BK-F link_local", why: "link-local: reachable on eth0 only"},
	{name: "link-local, to be used", addr: "fe80::1/64", policy: ifwatch.Policy{LinkLocal: ifwatch.LinkLocalUse}, want: "BKAF ok"},
	{name: "link-local refused", addr: "fe80::1/64", policy: ifwatch.Policy{LinkLocal: ifwatch.LinkLocalRefuse}, want: "---- link_local", why: "link-local addresses are refused"},
	{name: "IPv4 link-local", addr: "169.254.7.7/16", want: "BK-F link_local"},
	{name: "link-local, tentative", addr: "fe80::1/64", flags: ifwatch.Tentative, want: "---- tentative link_local"},
}

// TestJudgeGone: what the kernel deleted is judged as well.
func TestJudgeGone(t *testing.T) {
	gone := ifwatchtest.Addr(2, "2001:db8::1/64", ifwatch.Tentative, ifwatch.DADFailed)
	s := &ifwatch.Snapshot{Links: []ifwatch.Link{ifwatchtest.Link(2, "eth0")}, Gone: []ifwatch.Addr{gone}}
	p := named("2001:db8::1")
	v := p.Judge(s, gone, noon)
	if got := answers(v); got != "---- dad_failed" {
		t.Errorf("verdict %q", got)
	}
	const why = "DAD failed: another host on eth0 has this address; the kernel removed it"
	if got := s.Explain(gone, v); got != why {
		t.Errorf("explained as %q, want %q", got, why)
	}
	if w := p.Waiting(s); len(w) != 0 {
		t.Errorf("waiting for %v though it has a verdict", w)
	}
}

// TestExplainForeignReasons: transport adds reasons that Judge cannot know.
func TestExplainForeignReasons(t *testing.T) {
	s, a, v := (&situation{}).judge()
	for _, r := range []ifwatch.Reason{ifwatch.ReasonBindRefused, ifwatch.ReasonHeldDown} {
		v.Reason = r
		if why := s.Explain(a, v); why == "" || why == string(r) {
			t.Errorf("%s is explained as %q", r, why)
		}
		if r.Text() == string(r) {
			t.Errorf("%s has no text", r)
		}
	}
	if got := ifwatch.Reason("invented").Text(); got != "invented" {
		t.Errorf("an unknown reason reads %q", got)
	}
}

func TestWaiting(t *testing.T) {
	l := ifwatchtest.Link(2, "eth0")
	l.AltNames = []string{"enp3s0"}
	s := &ifwatch.Snapshot{Links: []ifwatch.Link{l}, Addrs: []ifwatch.Addr{ifwatchtest.Addr(2, "fe80::1/64")}}
	for _, c := range []struct {
		name   string
		policy ifwatch.Policy
		want   string
	}{
		{"nothing named", ifwatch.Policy{}, ""},
		{"interface exists", ifwatch.Policy{Interfaces: patterns("eth0")}, ""},
		{"interface exists by alternative name", ifwatch.Policy{Interfaces: patterns("enp3s0")}, ""},
		{"interface does not exist", ifwatch.Policy{Interfaces: patterns("eth0", "eth1")}, "no interface is called eth1, or matches it"},
		{"glob matches nothing", ifwatch.Policy{Interfaces: patterns("wl*")}, "no interface is called wl*, or matches it"},
		{"a refused interface is not waited for", ifwatch.Policy{Interfaces: patterns("!eth1")}, ""},
		{"address exists", named("fe80::1"), ""},
		{"address exists in its zone", named("fe80::1%eth0"), ""},
		{"address exists in another zone", named("fe80::1%eth1"), "no interface eth1 has the address fe80::1"},
		{"address does not exist", named("192.0.2.1"), "no interface has the address 192.0.2.1"},
		{"every address", named("::"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, w := range c.policy.Waiting(s) {
				got = append(got, w.Explain())
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("waiting: %q, want %q", got, c.want)
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		name     string
		patterns []string
		link     string
		want     bool
	}{
		{"no pattern", nil, "eth0", true},
		{"name", []string{"eth0"}, "eth0", true},
		{"a prefix is not enough", []string{"eth"}, "eth0", false},
		{"star", []string{"eth*"}, "eth0.100", true},
		{"class", []string{"eth[0-3]"}, "eth4", false},
		{"question mark", []string{"?un0"}, "tun0", true},
		{"refused among all", []string{"!eth0"}, "eth1", true},
		{"order is irrelevant", []string{"!virbr0", "virbr*"}, "virbr0", false},
		{"case counts", []string{"ETH0"}, "eth0", false},
		{"escaped", []string{`a\*`}, "a*", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := ifwatch.Policy{Interfaces: patterns(c.patterns...)}
			if got := p.Selected(ifwatchtest.Link(2, c.link)); got != c.want {
				t.Errorf("%q selects %s: %t", c.patterns, c.link, got)
			}
		})
	}
	for _, bad := range []string{"", "!", "!!eth0", "eth[", "a/b", "!eth["} {
		if _, err := ifwatch.ParsePatterns([]string{"eth0", bad}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) {
			t.Errorf("pattern %q: error %v does not name it", bad, err)
		}
	}
}

func TestWords(t *testing.T) {
	checkWords(t, ifwatch.ParseFamily, "any", "inet", "inet6")
	checkWords(t, ifwatch.ParseLoopback, "use", "refuse")
	checkWords(t, ifwatch.ParseLinkLocal, "auto", "use", "refuse")
	checkWords(t, ifwatch.ParseTemporary, "kernel", "prefer", "avoid")
	checkWords(t, ifwatch.ParseDeprecated, "keep", "use", "refuse")
	checkWords(t, ifwatch.ParseOptimistic, "wait", "use")
}

func checkWords[E interface {
	~uint8
	fmt.Stringer
}](t *testing.T, parse func(string) (E, error), words ...string,
) {
	t.Helper()
	for i, w := range words {
		if got, err := parse(w); err != nil || int(got) != i || got.String() != w {
			t.Errorf("%q parses as %v, %v; want %d", w, got, err, i)
		}
	}
	for _, bad := range []string{"", "Use", "never"} {
		if got, err := parse(bad); err == nil || got != 0 || !strings.Contains(err.Error(), words[len(words)-1]) {
			t.Errorf("%q: %v, %v; want the default and an error that lists the words", bad, got, err)
		}
	}
	if got := E(99).String(); got != "99" {
		t.Errorf("value 99 reads %q", got)
	}
}

func TestFlagNames(t *testing.T) {
	got := (ifwatch.Tentative | ifwatch.DADFailed | ifwatch.MulticastAutoJoin).Names()
	if want := []string{"tentative", "dad_failed", "multicast_auto_join"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	if got := ifwatch.Flags(0).Names(); got == nil || len(got) != 0 {
		t.Errorf("no flags: %#v, want an empty list that is not nil, for JSON", got)
	}
}

func TestSnapshotLookups(t *testing.T) {
	l := ifwatchtest.Link(2, "eth0")
	l.AltNames = []string{"enp3s0"}
	s := &ifwatch.Snapshot{Links: []ifwatch.Link{ifwatchtest.Loopback(), l}}
	for _, c := range []struct {
		name string
		link int
		addr string
		want string
	}{
		{"link-local IPv6 has a zone", 2, "fe80::1/64", "fe80::1%eth0"},
		{"global IPv6 has none", 2, "2001:db8::1/64", "2001:db8::1"},
		{"link-local IPv4 has none", 2, "169.254.1.1/16", "169.254.1.1"},
		{"the link has vanished", 9, "fe80::1/64", "fe80::1%9"},
	} {
		if got := s.Zoned(ifwatchtest.Addr(c.link, c.addr)).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for _, name := range []string{"eth0", "enp3s0"} {
		if got, ok := s.LinkNamed(name); !ok || got.Index != 2 {
			t.Errorf("LinkNamed(%s) = %v, %t", name, got, ok)
		}
	}
	if _, ok := s.LinkNamed("eth1"); ok {
		t.Error("LinkNamed finds a link that is not there")
	}
}
