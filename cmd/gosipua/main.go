// Gosipua is a SIP user agent that listens only on local addresses the kernel says are usable, and follows them as they come and go.
//
// Run "gosipua help" for its commands. Each is in a file of its own; what they share is in command.go.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
)

func main() {
	p := &program{stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(p.main(os.Args[1:]))
}

// main runs the command that args ask for and gives the exit code.
func (p *program) main(args []string) (code int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(p.stderr, "gosipua: internal error: %v\n%s", r, debug.Stack())
			p.hint("please report this, with what was done before")
			code = exitInternal
		}
	}()
	return p.exit(p.dispatch(args))
}
