package transaction

import (
	"crypto/rand"
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/transport/wire"
)

// A key identifies a server transaction together with its method. A request,
// the ACK to its failure and its CANCEL have the same key (RFC 3261 section
// 17.2.3).
//
// It is a hash, so that a kept response needs no strings to be found by. Its
// seed is random and never shown: nobody can aim at a collision, and by chance
// two of a million transactions share a key once in 30 million Layers.
type key uint64

// cookie begins a branch that identifies its transaction (RFC 3261 section 8.1.1.7).
const cookie = sip.RFC3261BranchMagicCookie

// hasCookie reports whether the branch of v identifies a transaction. Parameter
// values are case-insensitive (RFC 3261 section 7.3.1), if only in theory.
func hasCookie(v wire.Via) bool {
	return len(v.Branch) > len(cookie) && strings.EqualFold(v.Branch[:len(cookie)], cookie)
}

// hash of parts; where one ends and the next begins makes a difference.
func (l *Layer) hash(parts ...string) key {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, p := range parts {
		h.WriteString(p)
		h.WriteByte(0) // not in any part: wire refuses it in a head
	}
	return key(h.Sum64())
}

// branchKey is the key of a request whose branch has the cookie: branch and
// sent-by (RFC 3261 section 17.2.3), and the Call-ID.
func (l *Layer) branchKey(h *wire.Head) key {
	return l.hash("branch", h.CallID, h.Via.Branch, strings.ToLower(h.Via.Host), itoa(h.Via.Port))
}

// oldKey is the key of a request without the cookie, as RFC 2543 peers send it:
// Request-URI, From tag, Call-ID, CSeq number and topmost Via. The To tag, which
// section 17.2.3 compares too, tells requests apart that differ in nothing else
// only for an ACK; see Server.acknowledges.
func (l *Layer) oldKey(h *wire.Head, req *sip.Request) key {
	return l.hash("2543", h.CallID, h.URI, fromTag(req), itoa(h.CSeq),
		h.Via.Proto, strings.ToLower(h.Via.Host), itoa(h.Via.Port), h.Via.Branch)
}

// answerKey is what the answer to the request of s is kept by. Within a dialog,
// and for a CANCEL, that is the key of the transaction. Other requests may come by
// several ways, and then have From tag, Call-ID and CSeq in common (RFC 3261
// section 8.2.2.2); so that a copy can be told from a retransmission, the
// transaction's key is kept with the answer.
func (l *Layer) answerKey(s *Server, h *wire.Head) key {
	if s.req.Method != sip.CANCEL && toTag(s.req) == "" {
		return l.hash("merge", h.CallID, fromTag(s.req), itoa(h.CSeq), h.Method)
	}
	return key(maphash.Comparable(l.seed, struct {
		key    key
		method string
	}{s.key, h.Method}))
}

func itoa[T uint16 | uint32](n T) string { return strconv.FormatUint(uint64(n), 10) }

// fromTag returns the tag of the From header, empty if it has none.
func fromTag(m interface{ From() *sip.FromHeader }) string {
	if from := m.From(); from != nil {
		return from.Params.GetOr("tag", "")
	}
	return ""
}

// toTag returns the tag of the To header, empty if it has none.
func toTag(m interface{ To() *sip.ToHeader }) string {
	if to := m.To(); to != nil {
		return to.Params.GetOr("tag", "")
	}
	return ""
}

// token returns 64 random bits in 16 characters that may stand in a tag or a
// branch: twice what RFC 3261 section 19.3 asks for.
func token() string {
	const digits = "0123456789abcdef"
	var b [8]byte
	rand.Read(b[:]) // never fails
	var s [16]byte
	for i, c := range b {
		s[2*i], s[2*i+1] = digits[c>>4], digits[c&15]
	}
	return string(s[:])
}

// sameHost compares the host of two sent-by values, which may be the same
// IPv6 address in two spellings (RFC 5118 section 4.6).
func sameHost(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Unmap() == y.Unmap()
}
