package wire

import (
	"errors"
	"io"
	"time"
)

// A Reader takes messages from a stream (RFC 3261 section 18.3). It is for one
// goroutine.
type Reader struct {
	// Ping and Pong, if set, are called from Next for the keep-alives of
	// RFC 5626 section 4.4.1 that stand between messages: a double CRLF, to
	// be answered with one CRLF, and a single one, which is such an answer.
	Ping, Pong func()

	r   io.Reader
	lim Limits
	err error // fatal; every later Next returns it

	buf        []byte
	start, end int // what is buffered and not yet consumed
	looked     int // how far behind start an end of the head has been looked for

	p    parser // of the message whose head has come
	head int    // length of its head; 0 if it has not

	lone time.Time // when a single CRLF came; zero if none did
}

const (
	firstBuffer = 2 << 10
	keepBuffer  = 16 << 10

	// pingGap is how long the two halves of a ping may be apart. Two pongs
	// are at least as far from each other as the pings they answer: half a
	// minute and more.
	pingGap = time.Second
)

// NewReader returns a Reader of the messages in r.
func NewReader(r io.Reader, lim Limits) *Reader {
	return &Reader{r: r, lim: lim, buf: make([]byte, firstBuffer)}
}

// Partial reports whether a message has begun and not yet ended, so that its
// sender can be given a time to finish it.
func (r *Reader) Partial() bool { return r.end > r.start || r.head > 0 }

// Next returns the next message. After an [*Error] that is not Fatal the stream
// goes on behind the refused message; any other error is returned again by
// every later call: io.EOF at the end of the stream between messages,
// io.ErrUnexpectedEOF within one, or what the reader returned.
func (r *Reader) Next() (Message, error) {
	if r.err != nil {
		return Message{}, r.err
	}
	for {
		r.lineEnds()
		m, done, err := r.take()
		if done {
			if err != nil && fatal(err) {
				r.err = err
			}
			return m, err
		}
		if err := r.fill(); err != nil {
			r.err = err
			return Message{}, err
		}
	}
}

func fatal(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Fatal
}

// lineEnds consumes the line ends before a message and reports keep-alives.
func (r *Reader) lineEnds() {
	if r.head > 0 {
		return
	}
	for r.start < r.end {
		b := r.buf[r.start:r.end]
		n := 1
		switch {
		case b[0] == '\n': // of somebody who ends lines so; no keep-alive
		case b[0] != '\r':
			r.lone = time.Time{}
			return
		case len(b) == 1:
			return // half of a CRLF, or garbage
		case b[1] == '\n':
			n = 2
			r.lineEnd(len(b) == 2)
		}
		r.start += n
		r.looked = 0
	}
	r.start, r.end = 0, 0
}

// lineEnd accounts for one CRLF; last says that nothing has come behind it. One
// before a message is a pong too, or a line end too many: both are harmless.
func (r *Reader) lineEnd(last bool) {
	now := time.Now()
	if !r.lone.IsZero() && now.Sub(r.lone) < pingGap {
		r.lone = time.Time{}
		call(r.Ping)
		return
	}
	r.lone = now
	if last {
		call(r.Pong)
	}
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// take parses what is buffered; done is false if more must come first.
func (r *Reader) take() (m Message, done bool, err error) {
	if r.start == r.end {
		return m, false, nil
	}
	if r.head == 0 {
		if done, err := r.takeHead(); err != nil || !done {
			return m, done, err
		}
	}
	have := r.end - r.start - r.head
	if need := r.p.length; have < need && !r.p.fatal {
		return m, false, nil
	}
	r.p.body(r.buf[r.start+r.head : r.end])
	r.consume(r.head + max(r.p.length, 0))
	r.head = 0
	m, err = r.p.result()
	r.p = parser{fold: r.p.fold}
	return m, true, err
}

// takeHead parses the head once it is complete.
func (r *Reader) takeHead() (done bool, err error) {
	b := r.buf[r.start:r.end]
	if !isToken(b[0]) && b[0] != '\r' {
		return true, &Error{Reason: "Not a SIP message", Fatal: true}
	}
	end, resume := headEnd(b, r.looked)
	if end < 0 {
		r.looked = resume
		if len(b) > r.lim.head() {
			return true, &Error{Reason: "Head too large", Fatal: true}
		}
		return false, nil
	}
	p := &r.p
	p.lim, p.length = r.lim, -1
	p.head(b[:end], len(b))
	r.head, r.looked = end, 0
	switch {
	case p.length < 0:
		// RFC 3261 section 20.14: required over streams.
		p.fail(400, "No Content-Length")
		p.fatal = true
	case end+p.length > r.lim.message():
		p.fail(513, "Message Too Large")
		p.fatal = true
	}
	if p.fatal {
		p.length = 0
	}
	return true, nil
}

// consume drops n bytes, and a buffer that one big message has made big.
func (r *Reader) consume(n int) {
	r.start += n
	if r.start < r.end {
		return
	}
	r.start, r.end = 0, 0
	if len(r.buf) > keepBuffer {
		r.buf = make([]byte, firstBuffer)
	}
}

// fill reads once, into room made for it.
func (r *Reader) fill() error {
	if r.start > 0 && r.end == len(r.buf) {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if r.end == len(r.buf) {
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	for range 100 {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		if n > 0 {
			return nil
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) && r.Partial() {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return io.ErrNoProgress
}
