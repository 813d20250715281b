package wire

import (
	"errors"
	"io"
)

// Parse reads the one message that datagram holds.
func Parse(datagram []byte, _ Limits) (Message, error) {
	return Message{}, &Error{Reason: "not a SIP message", raw: datagram}
}

// An Error says what is wrong with a message, and how to answer it.
type Error struct {
	Status int    // what to answer with: 400, 505, 513; zero if no answer is possible or allowed
	Reason string // what is wrong, fit for a reason phrase
	Head   Head   // as far as it could be read

	raw []byte
}

// Error returns Reason.
func (e *Error) Error() string { return "wire: " + e.Reason }

// A Reader takes messages from a stream.
type Reader struct {
	r   io.Reader
	lim Limits
}

// NewReader returns a Reader of the messages in r.
func NewReader(r io.Reader, lim Limits) *Reader { return &Reader{r: r, lim: lim} }

// Next returns the next message.
func (r *Reader) Next() (Message, error) { return Message{}, io.EOF }

// ValidValue reports why s must not be written as a header value; nil if it may.
func ValidValue(s string) error {
	for i := range len(s) {
		if s[i] == '\r' || s[i] == '\n' || s[i] == 0 {
			return errors.New("wire: CR, LF or NUL in a header value")
		}
	}
	return nil
}
