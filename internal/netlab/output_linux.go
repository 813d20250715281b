package netlab

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Output collects what a process prints. Safe for use from any goroutine,
// except for the methods that wait, which may end the test.
type Output struct {
	tb    testing.TB
	name  string
	ended <-chan struct{} // closed when nothing more will come

	mu      sync.Mutex
	text    []byte
	next    int           // where Next goes on
	changed chan struct{} // closed at the next Write
}

func newOutput(tb testing.TB, name string, ended <-chan struct{}) *Output {
	return &Output{tb: tb, name: name, ended: ended, changed: make(chan struct{})}
}

// Write adds to the output; it is there for the process.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(b), nil
}

// String returns all output so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// WaitFor waits until the regular expression pattern matches anywhere in the
// output and returns the match and its submatches. It fails the test if the
// process ends without it, or after [Patience].
func (o *Output) WaitFor(pattern string) []string {
	o.tb.Helper()
	return o.wait(pattern, func() int { return 0 })
}

// Next is WaitFor for what comes after the last match of Next. ^ and $ match at
// the places where it left off.
func (o *Output) Next(pattern string) []string {
	o.tb.Helper()
	return o.wait(pattern, func() int { return o.next })
}

// Skip makes Next look only at what comes from now on.
func (o *Output) Skip() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next = len(o.text)
}

// Count returns how often pattern matches in the output so far.
func (o *Output) Count(pattern string) int {
	return len(regexp.MustCompile(pattern).FindAllStringIndex(o.String(), -1))
}

func (o *Output) wait(pattern string, from func() int) []string {
	o.tb.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	for last := false; ; {
		o.mu.Lock()
		start, changed := from(), o.changed
		if at := re.FindSubmatchIndex(o.text[start:]); at != nil {
			match := submatches(string(o.text[start:]), at)
			o.next = max(o.next, start+at[1])
			o.mu.Unlock()
			return match
		}
		o.mu.Unlock()
		if last {
			o.tb.Fatalf("netlab: %s ended without %q:\n%s", o.name, pattern, o.tail())
		}
		select {
		case <-changed:
		case <-o.ended:
			last = true // once more: the last words may have come in between
		case <-timeout.C:
			o.tb.Fatalf("netlab: %s: no %q within %v:\n%s", o.name, pattern, Patience, o.tail())
		}
	}
}

func submatches(text string, at []int) []string {
	match := make([]string, len(at)/2)
	for i := range match {
		if at[2*i] >= 0 {
			match[i] = text[at[2*i]:at[2*i+1]]
		}
	}
	return match
}

// tailLines is how much of an output a message shows.
const tailLines = 60

// tail returns the last lines of the output.
func (o *Output) tail() string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	if cut := len(lines) - tailLines; cut > 0 {
		lines = append([]string{fmt.Sprintf("(%d lines before)", cut)}, lines[cut:]...)
	}
	return strings.Join(lines, "\n")
}
