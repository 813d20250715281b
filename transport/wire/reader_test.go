package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func streamed(n int) string {
	return options("v: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK"+strings.Repeat("x", n)+"\n"+tail+"l: 4\n") + "body"
}

func readAll(t *testing.T, r *Reader) (branches []string, err error) {
	t.Helper()
	for {
		m, err := r.Next()
		if err != nil {
			return branches, err
		}
		if string(m.Body()) != "body" {
			t.Errorf("body %q", m.Body())
		}
		branches = append(branches, m.Head.Via.Branch)
	}
}

func TestReaderFrames(t *testing.T) {
	three := streamed(1) + "\r\n" + streamed(3000) + streamed(2)
	for name, in := range map[string]io.Reader{
		"three in one segment":     strings.NewReader(three),
		"byte by byte":             iotest.OneByteReader(strings.NewReader(three)),
		"in halves of what fits":   iotest.HalfReader(strings.NewReader(three)),
		"the last one with io.EOF": iotest.DataErrReader(strings.NewReader(three)),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(t, NewReader(in, Limits{}))
			if !errors.Is(err, io.EOF) {
				t.Errorf("ended with %v", err)
			}
			if len(got) != 3 || len(got[0]) != 8 || len(got[1]) != 3007 || len(got[2]) != 9 {
				t.Errorf("got %d messages", len(got))
			}
		})
	}
}

func TestReaderGoesOnAfterRefusal(t *testing.T) {
	bad := options("v: SIP/2.0/TCP 192.0.2.9\n"+tail+"Max-Forwards: x\nl: 4\n") + "body"
	r := NewReader(strings.NewReader(streamed(1)+bad+streamed(2)), Limits{})
	_, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err = r.Next(); !errors.As(err, &e) || e.Status != 400 || e.Fatal {
		t.Fatalf("got %v", err)
	}
	if m, err := r.Next(); err != nil || len(m.Head.Via.Branch) != 9 {
		t.Fatalf("got %v, %v", m.Head, err)
	}
}

func TestReaderGivesUp(t *testing.T) {
	const via = "v: SIP/2.0/TCP 192.0.2.9\n"
	for _, tt := range []struct {
		name, in string
		status   int
		reason   string
	}{
		{"no Content-Length", options(via + tail), 400, "No Content-Length"},
		{"two Content-Lengths", options(via + tail + "l: 0\nContent-Length: 4\n"), 400, "More than one Content-Length"},
		{"bad Content-Length", options(via + tail + "l: 4x\n"), 400, "Malformed Content-Length"},
		{"too big", options(via + tail + "l: 70000\n"), 513, "Message Too Large"},
		{"a head that does not end", "OPTIONS " + strings.Repeat("y", 80000), 0, "Head too large"},
		{"too many headers", options(via + tail + strings.Repeat("X-Mine: y\n", 300) + "l: 0\n"), 513, "Too many header lines"},
		{"a TLS ClientHello", "\x16\x03\x01\x02\x00", 0, "Not a SIP message"},
		{"HTTP", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, "Not a SIP message"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(streamed(1)+tt.in+streamed(2)), Limits{})
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			_, err := r.Next()
			var e *Error
			if !errors.As(err, &e) || !e.Fatal || e.Status != tt.status || e.Reason != tt.reason {
				t.Fatalf("got %v, fatal %v", err, e != nil && e.Fatal)
			}
			if _, again := r.Next(); !errors.Is(again, err) {
				t.Errorf("went on: %v", again)
			}
		})
	}
}

func TestReaderEndsWithinMessage(t *testing.T) {
	whole := streamed(1)
	for n := 1; n < len(whole); n++ {
		r := NewReader(strings.NewReader(whole[:n]), Limits{})
		if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

func TestReaderPartial(t *testing.T) {
	client, server := io.Pipe()
	r := NewReader(client, Limits{})
	next := make(chan error)
	go func() {
		_, err := r.Next()
		next <- err
	}()
	whole := streamed(1)
	// Each Write returns when Next has read it and reads again.
	for _, part := range []string{"\r\n", whole[:20], whole[20 : len(whole)-2], whole[len(whole)-2:]} {
		if _, err := server.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-next; err != nil {
		t.Fatal(err)
	}
	if r.Partial() {
		t.Error("partial between messages")
	}
	r.buf = append(r.buf[:0], "OPT"...)
	r.start, r.end = 0, 3
	if !r.Partial() {
		t.Error("not partial within a message")
	}
}

func TestReaderKeepAlive(t *testing.T) { synctest.Test(t, testReaderKeepAlive) }

func testReaderKeepAlive(t *testing.T) {
	const gap = 10 * time.Second
	for _, tt := range []struct {
		name  string
		parts []string // "" waits
		want  string   // P for a ping, p for a pong, m for a message
	}{
		{"a ping", []string{"\r\n\r\n"}, "P"},
		{"a ping in two segments", []string{"\r\n", "\r\n"}, "pP"},
		{"a ping byte by byte", []string{"\r", "\n", "\r", "\n"}, "pP"},
		{"two pings in one segment", []string{"\r\n\r\n\r\n\r\n"}, "PP"},
		{"two pongs", []string{"\r\n", "", "\r\n"}, "pp"},
		{"a message between", []string{"\r\n\r\n" + streamed(1) + "\r\n\r\n"}, "PmP"},
		{"a pong, then a ping", []string{"\r\n", "", "\r\n\r\n"}, "pP"},
		{"a line end before a message", []string{"\r\n" + streamed(1)}, "m"},
		{"bare line feeds mean nothing", []string{"\n\n", streamed(1)}, "m"},
	} {
		client, server := io.Pipe()
		var got bytes.Buffer
		r := NewReader(client, Limits{})
		r.Ping = func() { got.WriteByte('P') }
		r.Pong = func() { got.WriteByte('p') }
		go func() {
			for _, part := range tt.parts {
				if part == "" {
					time.Sleep(gap)
				}
				server.Write([]byte(part))
			}
			server.Close()
		}()
		for {
			if _, err := r.Next(); err != nil {
				break
			}
			got.WriteByte('m')
		}
		if got.String() != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got.String(), tt.want)
		}
	}
}

// The memory of a connection that once sent something big is given back.
func TestReaderShrinks(t *testing.T) {
	r := NewReader(strings.NewReader(streamed(20000)+streamed(1)), Limits{})
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.buf) > keepBuffer {
		t.Errorf("still %d bytes", len(r.buf))
	}
}

func BenchmarkReader(b *testing.B) {
	one := []byte(streamed(10))
	r := NewReader(&endless{one: one}, Limits{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// endless repeats one message for ever.
type endless struct {
	one []byte
	at  int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.one[e.at:])
	e.at = (e.at + n) % len(e.one)
	return n, nil
}
