package wire

// A Message is one SIP message in normalised form.
type Message struct {
	Head Head

	// Raw is the whole message, normalised as the package comment says. It
	// belongs to whoever holds the Message and may be kept; it shares no
	// memory with what it was read from.
	Raw []byte

	via  span // of the topmost Via value in Raw
	body int  // where the body begins in Raw
}

// span is a range of byte offsets.
type span struct{ from, to int }

// A Head is what a transport and a transaction layer need to know of a message.
type Head struct {
	Request bool

	Method string // of the request, or of the CSeq of a response
	URI    string // the Request-URI; empty in a response

	Status int    // 100 to 699; zero in a request
	Reason string // the response's reason phrase, may be empty

	Via    Via // the topmost one
	CallID string

	CSeq       uint32 // below 2**31 (RFC 3261 section 8.1.1.5)
	CSeqMethod string // in a request always equal to Method
}

// A Via is one Via header value (RFC 3261 section 20.42).
type Via struct {
	Proto  string // the transport in upper case: "UDP", "TCP", "TLS", "WS", "WSS", ...
	Host   string // of the sent-by; an IPv6 address without its brackets
	Port   uint16 // of the sent-by; zero if it has none
	Branch string

	Received string // the received parameter, without brackets; empty if absent
	RPort    uint16 // the value of rport; zero if it has none
	HasRPort bool   // rport is there, with or without a value (RFC 3581 section 3)
	MAddr    string // the maddr parameter, without brackets; empty if absent
}

// Body returns the body's bytes within Raw.
func (m *Message) Body() []byte { return m.Raw[m.body:] }

// Limits bound what is read. The zero value means the defaults.
type Limits struct {
	Message int // bytes of a whole message; 0 means 65535, the most that UDP carries
	Head    int // bytes of start line and headers as they came; 0 means 32768
	Headers int // header lines; 0 means 256
}

const (
	defaultMessage = 65535
	defaultHead    = 32 << 10
	defaultHeaders = 256
)

func (l Limits) message() int { return orDefault(l.Message, defaultMessage) }
func (l Limits) head() int    { return orDefault(l.Head, defaultHead) }
func (l Limits) headers() int { return orDefault(l.Headers, defaultHeaders) }

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}
