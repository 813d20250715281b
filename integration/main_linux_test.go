package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gosipua/gosipua/internal/netlab"
)

// programEnv names the built program for the tests.
const programEnv = "GOSIPUA_PROGRAM"

func TestMain(m *testing.M) {
	if netlab.Inside() || os.Getenv(programEnv) != "" {
		netlab.Main(m)
	}
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

// buildAndRun builds the program outside of the lab, from where modules can be
// had, and runs the tests.
func buildAndRun(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "gosipua")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program := filepath.Join(dir, "gosipua")
	args := []string{"build", "-o", program}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "../cmd/gosipua")...).CombinedOutput()
	if err != nil {
		return 1, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	if err := os.Setenv(programEnv, program); err != nil {
		return 1, err
	}
	return netlab.Run(m), nil
}

// need skips t unless the programs are there.
func need(t *testing.T, programs ...string) {
	t.Helper()
	required := os.Getenv("GOSIPUA_REQUIRE_PEERS") == "1"
	if os.Getenv("GOSIPUA_PEERS") == "skip" && !required {
		t.Skip("GOSIPUA_PEERS=skip: without other SIP programs")
	}
	for _, p := range programs {
		_, err := netlab.FindProgram(p)
		switch {
		case err != nil && required:
			t.Fatalf("GOSIPUA_REQUIRE_PEERS=1, but: %v", err)
		case err != nil:
			t.Skipf("needs another program: %v", err)
		}
	}
}
