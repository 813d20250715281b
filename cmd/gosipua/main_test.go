package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gosipua/gosipua/internal/netlab"
)

// lab runs the tests in a network of their own, which has a loopback interface and nothing else.
type lab struct{ m *testing.M }

func (l lab) Run() int { return netlab.Run(l.m) }

func TestMain(m *testing.M) {
	testscript.Main(lab{m}, map[string]func(){"gosipua": main})
}

func TestScripts(t *testing.T) {
	example, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			return os.WriteFile(e.WorkDir+"/config.example.yaml", example, 0o600)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits},
	})
}

// exits is "exits CODE PROGRAM ARGS...": it runs a program and compares its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if (got == want) == neg {
		ts.Fatalf("%q exits with %d, want %d (negated: %t)", args[1:], got, want, neg)
	}
}
