package netlab

import (
	"os"
	"strings"
	"testing"
)

// rerun runs one test of this binary again, as if nothing of a lab were there
// yet, and with user namespaces forbidden if so wanted.
func rerun(t *testing.T, test string, forbid bool, env ...string) (output string, code int) {
	t.Helper()
	h := New(t).Host("h")
	script := `exec "$0" -test.v -test.run="^$1\$"`
	if forbid {
		// This limit is the lab's own; the machine's is another one.
		script = `echo 0 >/proc/sys/user/max_user_namespaces || exit 99; ` + script
		const limit = "/proc/sys/user/max_user_namespaces"
		before, err := os.ReadFile(limit)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.WriteFile(limit, before, 0) })
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, code := h.Run(Cmd{Path: "sh", Args: []string{"-c", script, self, test}, Env: append(env, stateEnv+"=")})
	return p.Output.String(), code
}

func TestSkipsWithTheReason(t *testing.T) {
	out, code := rerun(t, "TestTwoHostsReachEachOther", true, "GOSIPUA_REQUIRE_NETNS=")
	if code != 0 || !strings.Contains(out, "--- SKIP") || !strings.Contains(out, "max_user_namespaces") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestSkipIsAFailureWhereRequired(t *testing.T) {
	out, code := rerun(t, "TestTwoHostsReachEachOther", true, "GOSIPUA_REQUIRE_NETNS=1")
	if code == 0 || !strings.Contains(out, "--- FAIL") || !strings.Contains(out, "max_user_namespaces") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestExitCodeOfTheLabIsPassedOn(t *testing.T) {
	out, code := rerun(t, "TestTwoHostsReachEachOther", false, "GOSIPUA_REQUIRE_NETNS=1")
	if code != 0 || !strings.Contains(out, "--- PASS") {
		t.Errorf("a lab in a lab: exit code %d:\n%s", code, out)
	}
	if out, code := rerun(t, "TestThatFails", false, failEnv+"=1"); code != 1 || !strings.Contains(out, "--- FAIL") {
		t.Errorf("a failing test: exit code %d:\n%s", code, out)
	}
}

// failEnv makes TestThatFails fail.
const failEnv = "GOSIPUA_NETLAB_FAIL"

func TestThatFails(t *testing.T) {
	if os.Getenv(failEnv) != "" {
		t.Error("as asked")
	}
}
