package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzParse holds the promises of Raw: it reads as the same message again,
// byte for byte; no line is folded, none ends otherwise than with CRLF, and the
// head ends where Body begins. With the source written in, too.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Parse(in, Limits{})
		if err != nil {
			checkError(t, err)
			return
		}
		checkRaw(t, m)
		m.SetReceived(netip.MustParseAddrPort("[2001:db8:1111:2222:3333:4444:5555:6666]:65535"))
		checkRaw(t, m)
		if via, ok := TopVia(m.Raw); !ok || via != m.Head.Via {
			t.Errorf("TopVia says %+v, %v; Head says %+v", via, ok, m.Head.Via)
		}
	})
}

func checkRaw(t *testing.T, m Message) {
	t.Helper()
	again, err := Parse(m.Raw, Limits{Message: 1 << 20, Head: 1 << 20, Headers: 1 << 16})
	if err != nil {
		t.Fatalf("refused when read again: %v\n%q", err, m.Raw)
	}
	if again.Head != m.Head || !bytes.Equal(again.Raw, m.Raw) || !bytes.Equal(again.Body(), m.Body()) {
		t.Fatalf("read again\n%+v\n%q\nis not\n%+v\n%q", again.Head, again.Raw, m.Head, m.Raw)
	}
	head := string(m.Raw[:m.body])
	lines := strings.Split(head, "\r\n")
	if n := len(lines); lines[n-1] != "" || lines[n-2] != "" {
		t.Fatalf("head ends oddly: %q", head)
	}
	for _, line := range lines[:len(lines)-2] {
		if line == "" || isSpace(line[0]) || strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("line %q in\n%q", line, m.Raw)
		}
	}
}

// checkError holds that what is said to be answerable can be answered, and that
// the response is one line more than what was copied.
func checkError(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("not an *Error: %v", err)
	}
	r := e.Response(netip.MustParseAddrPort("192.0.2.1:5060"), "tag")
	if (r != nil) != (e.Status != 0) {
		t.Fatalf("status %d, response %q", e.Status, r)
	}
	if r == nil {
		return
	}
	if _, ok := TopVia(r); !ok {
		t.Fatalf("a response that cannot be directed: %q", r)
	}
	if n := bytes.Count(r, []byte("\r\n\r\n")); n != 1 || !bytes.HasSuffix(r, []byte("\r\n\r\n")) {
		t.Fatalf("a response with %d ends: %q", n, r)
	}
}

// FuzzReader holds that it makes no difference in how many pieces a stream
// comes, and that a message from a stream is the one a datagram would have held.
func FuzzReader(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, wholeErr := readStream(NewReader(bytes.NewReader(in), Limits{}))
		pieces, piecesErr := readStream(NewReader(iotest.OneByteReader(bytes.NewReader(in)), Limits{}))
		if len(whole) != len(pieces) || wholeErr != piecesErr {
			t.Fatalf("%d messages, then %s; in pieces %d, then %s", len(whole), wholeErr, len(pieces), piecesErr)
		}
		for i, m := range whole {
			if m.Head != pieces[i].Head || !bytes.Equal(m.Raw, pieces[i].Raw) {
				t.Fatalf("message %d differs:\n%q\n%q", i, m.Raw, pieces[i].Raw)
			}
			checkRaw(t, m)
		}
	})
}

// readStream reads to the end and returns what came, and what ended it.
func readStream(r *Reader) (got []Message, end string) {
	for {
		m, err := r.Next()
		var e *Error
		switch {
		case err == nil:
			got = append(got, m)
		case errors.As(err, &e) && !e.Fatal:
		default:
			return got, err.Error()
		}
	}
}
