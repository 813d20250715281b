package netlab

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

func shell(script string) Cmd { return Cmd{Path: "sh", Args: []string{"-c", script}} }

func TestProcessRunsInItsHost(t *testing.T) {
	t.Parallel()
	lab := New(t)
	a, b := lab.Host("a"), lab.Host("b")
	lab.Cable(a, "one", b, "two")
	p, code := a.Run(shell("cat /proc/self/net/dev; echo oops >&2; exit 3"))
	if code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if out := p.Stdout.String(); !strings.Contains(out, "one:") || strings.Contains(out, "two:") {
		t.Errorf("sees the interfaces\n%s", out)
	}
	if got := p.Stderr.String(); got != "oops\n" {
		t.Errorf("standard error %q", got)
	}
}

func TestOutputInOrder(t *testing.T) {
	t.Parallel()
	p := New(t).Host("h").Start(shell("echo n=1; echo n=2; read line; echo got $line; echo n=3; exec sleep 1000"))
	if m := p.Next(`n=(\d)\n`); m[1] != "1" {
		t.Errorf("first %q", m)
	}
	if m := p.Next(`n=(\d)\n`); m[1] != "2" {
		t.Errorf("second %q", m)
	}
	if _, err := p.Stdin.Write([]byte("words\n")); err != nil {
		t.Fatal(err)
	}
	p.WaitFor(`got words`)
	if m := p.Next(`n=(\d)`); m[1] != "3" {
		t.Errorf("third %q", m)
	}
	if got := p.Output.Count(`n=\d`); got != 3 {
		t.Errorf("%d lines", got)
	}
	if !p.Running() {
		t.Error("ended by itself")
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 128+15 {
		t.Errorf("exit code %d", code)
	}
	p.Signal(syscall.SIGTERM) // has ended: no error
}

func TestNothingOutlivesKill(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Cmd{
		"child":            {Args: []string{"-c", "sleep 1001 & echo $!; wait"}},
		"daemon, by pid 1": {Args: []string{"-c", "setsid sleep 1001 & sleep 0; cat /proc/self/status; wait"}, Contain: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := New(t).Host("h")
			c.Path = "sh"
			p := h.Start(c)
			p.WaitFor(`\d\n`)
			Await(t, "its child", func() error { return childOf(h, "1001", true) })
			p.Kill()
			Await(t, "its child", func() error { return childOf(h, "1001", false) })
		})
	}
}

// childOf returns an error unless a process with the argument arg is in h or
// not, as wanted.
func childOf(h *Host, arg string, wanted bool) error {
	ns, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", int(h.ns)))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	found := false
	for _, e := range entries {
		cmdline, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		its, _ := os.Readlink("/proc/" + e.Name() + "/ns/net")
		found = found || its == ns && strings.Contains(string(cmdline), "sleep\x00"+arg)
	}
	if found != wanted {
		return &os.PathError{Op: "find", Path: ns, Err: os.ErrNotExist}
	}
	return nil
}

func TestFilesReplacedForOneProcessOnly(t *testing.T) {
	t.Parallel()
	h := New(t).Host("h")
	c := shell("cat /etc/hosts; cat /etc/resolv.conf")
	c.Files = map[string]string{"/etc/hosts": "192.0.2.1 peer.example\n", "/etc/resolv.conf": "nameserver 192.0.2.53\n"}
	p, _ := h.Run(c)
	if got := p.Stdout.String(); got != "192.0.2.1 peer.example\nnameserver 192.0.2.53\n" {
		t.Errorf("the process read %q", got)
	}
	if b, err := os.ReadFile("/etc/hosts"); err == nil && strings.Contains(string(b), "peer.example") {
		t.Error("the test itself sees the other file")
	}
}

func TestUnprivilegedHasNoCapabilities(t *testing.T) {
	t.Parallel()
	h := New(t).Host("h")
	c := shell("grep CapEff /proc/self/status")
	p, _ := h.Run(c)
	if strings.Contains(p.Stdout.String(), "0000000000000000") {
		t.Errorf("ordinary: %s", p.Stdout)
	}
	c.Unprivileged = true
	p, _ = h.Run(c)
	if os.Geteuid() != 0 && !strings.Contains(p.Stdout.String(), "0000000000000000") {
		t.Errorf("unprivileged: %s", p.Stdout)
	}
}
