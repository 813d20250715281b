package transport

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gosipua/gosipua/internal/netlab"
)

// TestMain runs the tests in a lab, and fails if one of them leaves a goroutine
// of this package behind.
func TestMain(m *testing.M) {
	code := netlab.Run(m)
	if code == 0 {
		if left := leaked(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked returns the stacks of the goroutines that are still in this package,
// after some time for those that are about to end.
func leaked() string {
	deadline := time.Now().Add(5 * time.Second)
	for {
		var left []string
		b := make([]byte, 4<<20)
		b = b[:runtime.Stack(b, true)]
		for stack := range strings.SplitSeq(string(b), "\n\n") {
			if strings.Contains(stack, "gosipua/transport.") && !strings.Contains(stack, "transport.TestMain") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
		runtime.Gosched()
	}
}
