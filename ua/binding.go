package ua

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// request builds a REGISTER that binds contacts, or with expires 0 removes them (RFC 3261 section 10.2).
func (r *registration) request(hop sip.Uri, expires time.Duration, contacts ...sip.Uri) (*sip.Request, error) {
	r.seq++
	req := sip.NewRequest(sip.REGISTER, bare(r.registrar))
	r.account.route(req, hop)
	callID := sip.CallIDHeader(r.callID)
	req.AppendHeader(&sip.FromHeader{DisplayName: r.account.Display, Address: identity(r.account.aor), Params: sip.HeaderParams{{K: "tag", V: r.tag}}})
	req.AppendHeader(&sip.ToHeader{Address: identity(r.account.aor)})
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: r.seq, MethodName: sip.REGISTER})
	lasting := strconv.FormatInt(int64(expires/time.Second), 10)
	for _, c := range contacts {
		req.AppendHeader(&sip.ContactHeader{Address: *c.Clone(), Params: sip.HeaderParams{{K: "expires", V: lasting}}})
	}
	req.AppendHeader(sip.NewHeader("Allow", allow))
	return req, r.auth.authorize(req)
}

// refreshAfter is when to renew a binding that was granted for d: with a tenth left, and at least 5 s before its end if it
// is that long.
func refreshAfter(d time.Duration) time.Duration {
	after := d * 9 / 10
	if d > 10*time.Second {
		after = min(after, d-5*time.Second)
	}
	return max(after, time.Second)
}

// grantedTo reads from a 200 how long the binding lasts: the expires of our Contact, the Expires header, or what we asked
// for (RFC 3261 section 10.2.4). A lone Contact that is not ours is what something on the way made of it.
func grantedTo(contact sip.Uri, res *sip.Response, asked time.Duration) time.Duration {
	listed := contacts(res)
	for _, c := range listed {
		if sameContact(c.Address, contact) || len(listed) == 1 {
			v, _ := c.Params.Get("expires")
			if d := seconds(v); d > 0 {
				return d
			}
		}
	}
	if d := headerSeconds(res, "Expires"); d > 0 {
		return d
	}
	return asked
}

func contacts(m sip.Message) []*sip.ContactHeader {
	var cs []*sip.ContactHeader
	for _, h := range m.GetHeaders("contact") {
		if c, ok := h.(*sip.ContactHeader); ok && !c.Address.Wildcard {
			cs = append(cs, c)
		}
	}
	return cs
}

// sameContact compares what we put into a Contact with what a registrar gives back; it may add parameters of its own, and
// write an IPv6 address in other words.
func sameContact(x, y sip.Uri) bool {
	return x.User == y.User && sameHost(x.Host, y.Host) && x.Port == y.Port && protoOf(x) == protoOf(y)
}

func sameHost(x, y string) bool {
	a, err := netip.ParseAddr(strings.Trim(x, "[]"))
	b, err2 := netip.ParseAddr(strings.Trim(y, "[]"))
	if err == nil && err2 == nil {
		return a == b
	}
	return strings.EqualFold(x, y)
}

// headerSeconds reads a header that is a number of seconds, with or without a comment or parameters behind it; 0 if there
// is none.
func headerSeconds(m sip.Message, name string) time.Duration {
	hs := m.GetHeaders(name)
	if len(hs) == 0 {
		return 0
	}
	digits, _, _ := strings.Cut(hs[0].Value(), ";")
	digits, _, _ = strings.Cut(digits, "(")
	return seconds(strings.TrimSpace(digits))
}

// seconds reads delta-seconds, at most the 2**32-1 that RFC 3261 section 20.19 allows; 0 if it is none.
func seconds(digits string) time.Duration {
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
