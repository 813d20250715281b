//go:build !linux

package netlab

import (
	"os"
	"testing"
)

// Main runs the tests of m and exits. There is no lab on this system.
func Main(m *testing.M) { os.Exit(m.Run()) }

// Run runs the tests of m and returns their exit code. There is no lab on this system.
func Run(m *testing.M) int { return m.Run() }

// Inside reports whether this process runs in a lab: never, on this system.
func Inside() bool { return false }
