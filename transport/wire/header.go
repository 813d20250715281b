package wire

// A header is a header name that this package has something to do with.
type header uint8

const (
	hOther header = iota
	hVia
	hFrom
	hTo
	hCallID
	hCSeq
	hMaxForwards
	hContentLength
	// From here on only their number matters.
	hContentType
	hContentDisposition
	hExpires
	hMinExpires
	hMinSE
	hSessionExpires
	hEvent
	hReferTo
	hReferSub
	hReferredBy
	hReplaces
	hJoin
	hTargetDialog
	hRSeq
	hRAck
	hSubscriptionState
	hSIPETag
	hSIPIfMatch
	hRetryAfter
	hReplyTo
)

// names are the long names of the headers above (RFC 3261 section 20 and the
// IANA registry). All but Via must stand alone: RFC 3261 section 7.3.1 lets
// only headers whose value is a list come more than once, and a second From or
// Content-Length is how a message is made to mean two things to two parsers.
func (h header) name() string {
	switch h {
	case hVia:
		return "Via"
	case hFrom:
		return "From"
	case hTo:
		return "To"
	case hCallID:
		return "Call-ID"
	case hCSeq:
		return "CSeq"
	case hMaxForwards:
		return "Max-Forwards"
	case hContentLength:
		return "Content-Length"
	case hContentType:
		return "Content-Type"
	case hContentDisposition:
		return "Content-Disposition"
	case hExpires:
		return "Expires"
	case hMinExpires:
		return "Min-Expires"
	case hMinSE:
		return "Min-SE"
	case hSessionExpires:
		return "Session-Expires"
	case hEvent:
		return "Event"
	case hReferTo:
		return "Refer-To"
	case hReferSub:
		return "Refer-Sub"
	case hReferredBy:
		return "Referred-By"
	case hReplaces:
		return "Replaces"
	case hJoin:
		return "Join"
	case hTargetDialog:
		return "Target-Dialog"
	case hRSeq:
		return "RSeq"
	case hRAck:
		return "RAck"
	case hSubscriptionState:
		return "Subscription-State"
	case hSIPETag:
		return "SIP-ETag"
	case hSIPIfMatch:
		return "SIP-If-Match"
	case hRetryAfter:
		return "Retry-After"
	case hReplyTo:
		return "Reply-To"
	default:
		return ""
	}
}

// single reports whether a message may have h only once.
func (h header) single() bool { return h != hOther && h != hVia }

// lookup finds the header that a name, long or compact, stands for. long is
// its full name if there is a reason to write another one than the sender did.
func lookup(name []byte) (h header, long string) {
	if len(name) == 1 {
		return compact(name[0])
	}
	h = byLength(name)
	return h, h.name()
}

// compact resolves the compact names that are registered with IANA.
func compact(c byte) (header, string) {
	h := hOther
	switch lower(c) {
	case 'b':
		h = hReferredBy
	case 'c':
		h = hContentType
	case 'f':
		h = hFrom
	case 'i':
		h = hCallID
	case 'l':
		h = hContentLength
	case 'm':
		return hOther, "Contact"
	case 'n':
		return hOther, "Identity-Info"
	case 'o':
		h = hEvent
	case 'r':
		h = hReferTo
	case 't':
		h = hTo
	case 'v':
		h = hVia
	case 'x':
		h = hSessionExpires
	case 'a':
		return hOther, "Accept-Contact"
	case 'd':
		return hOther, "Request-Disposition"
	case 'e':
		return hOther, "Content-Encoding"
	case 'j':
		return hOther, "Reject-Contact"
	case 'k':
		return hOther, "Supported"
	case 's':
		return hOther, "Subject"
	case 'u':
		return hOther, "Allow-Events"
	case 'y':
		return hOther, "Identity"
	}
	return h, h.name()
}

// byLength compares name only with the headers of its length.
func byLength(name []byte) header {
	switch len(name) {
	case 2:
		return match(name, hTo)
	case 3:
		return match(name, hVia)
	case 4:
		return match(name, hFrom, hCSeq, hJoin, hRSeq, hRAck)
	case 5:
		return match(name, hEvent)
	case 6:
		return match(name, hMinSE)
	case 7:
		return match(name, hCallID, hExpires)
	case 8:
		return match(name, hReferTo, hReplaces, hReplyTo, hSIPETag)
	case 9:
		return match(name, hReferSub)
	case 11:
		return match(name, hMinExpires, hReferredBy, hRetryAfter)
	case 12:
		return match(name, hMaxForwards, hContentType, hSIPIfMatch)
	case 13:
		return match(name, hTargetDialog)
	case 14:
		return match(name, hContentLength)
	case 15:
		return match(name, hSessionExpires)
	case 18:
		return match(name, hSubscriptionState)
	case 19:
		return match(name, hContentDisposition)
	default:
		return hOther
	}
}

func match(name []byte, candidates ...header) header {
	for _, h := range candidates {
		if equalFold(name, h.name()) {
			return h
		}
	}
	return hOther
}

// equalFold compares ASCII without regard to case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if b[i] != s[i] && lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// isToken reports whether c may stand in a token (RFC 3261 section 25.1).
func isToken(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '-', '.', '!', '%', '*', '_', '+', '`', '\'', '~':
		return true
	}
	return false
}

func allToken(b []byte) bool {
	for _, c := range b {
		if !isToken(c) {
			return false
		}
	}
	return len(b) > 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// trim cuts spaces and tabs off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return trimRight(b)
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// number reads a run of decimal digits that is at most limit; ok is false for
// anything else, an empty b included.
func number(b []byte, limit uint64) (n uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
		if n > limit {
			return 0, false
		}
	}
	return n, len(b) > 0
}
