package netlab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cmd says how to run a program inside a host.
type Cmd struct {
	Path string   // a file, or a name to look for in PATH, /usr/sbin and /sbin
	Args []string // without the program's name
	Env  []string // "KEY=value", in addition to the test's own
	Dir  string   // working directory; "" is the test's

	// Files are put in the place of existing ones, for this process only:
	// {"/etc/resolv.conf": "nameserver 192.0.2.1\n"}.
	Files map[string]string

	// Contain runs the program as the first process of a pid namespace, so that
	// the daemons it forks end with it. Such a process ignores every signal that
	// it has no handler for. Without it the program's process group is killed.
	Contain bool

	// Unprivileged takes away the capabilities that everything in a lab has.
	// It has no effect where the lab could only be made as real root.
	Unprivileged bool
}

// Process is a program that runs inside a host. It is killed when the test
// ends, and if that failed the end of what it printed is shown, unless it was
// started by [Host.Run].
type Process struct {
	// Stdout and Stderr are what it printed to each; Output is both together.
	Output, Stdout, Stderr *Output

	// Stdin stays open until the process ends.
	Stdin io.WriteCloser

	host   *Host
	name   string
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended and everything is read
	told   bool          // the test has seen the exit code, and the output if it wanted
}

// leftoverDelay is how long after a process has ended its output may still be
// held open by something it started.
const leftoverDelay = time.Second

// Start starts a program inside the host.
func (h *Host) Start(c Cmd) *Process {
	h.lab.tb.Helper()
	path, err := FindProgram(c.Path)
	h.lab.must(err, "start on %s", h.name)
	p := &Process{host: h, name: filepath.Base(path) + " on " + h.name, exited: make(chan struct{})}
	p.Output = newOutput(h.lab.tb, p.name, p.exited)
	p.Stdout = newOutput(h.lab.tb, p.name, p.exited)
	p.Stderr = newOutput(h.lab.tb, p.name, p.exited)
	p.cmd = exec.Command(path, c.Args...) //nolint:noctx // lives as long as the test, see cleanup
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Dir = c.Dir
	p.cmd.Stdout = io.MultiWriter(p.Stdout, p.Output)
	p.cmd.Stderr = io.MultiWriter(p.Stderr, p.Output)
	p.cmd.WaitDelay = leftoverDelay
	// No Pdeathsig: it would follow the thread that starts the process, and that
	// one ends at once.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.Contain {
		p.cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWPID
	}
	p.Stdin, err = p.cmd.StdinPipe()
	h.lab.must(err, "start %s", p.name)
	h.lab.must(h.startOnThread(p.cmd, c), "start %s", p.name)
	go func() {
		_ = p.cmd.Wait() // its verdict stays in ProcessState
		close(p.exited)
	}()
	h.lab.tb.Cleanup(p.cleanup)
	return p
}

// startOnThread starts cmd from a thread that stands where c wants it.
func (h *Host) startOnThread(cmd *exec.Cmd, c Cmd) error {
	dir := ""
	if len(c.Files) > 0 {
		dir = h.lab.tb.TempDir()
	}
	return h.Do(func() error {
		if err := replaceFiles(dir, c.Files); err != nil {
			return err
		}
		if c.Unprivileged {
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
				return fmt.Errorf("drop capabilities: %w", err)
			}
		}
		return cmd.Start()
	})
}

// replaceFiles mounts files over existing ones, for the calling thread and what
// it starts. dir is for their contents.
func replaceFiles(dir string, files map[string]string) error {
	if len(files) == 0 {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("own mounts: %w", err)
	}
	n := 0
	for target, content := range files {
		n++
		source := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(source, []byte(content), 0o644); err != nil { //nolint:gosec // as the files in /etc
			return err
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("replace %s: %w", target, err)
		}
	}
	return nil
}

// Run runs a program inside the host to its end and returns it. It fails the
// test if that takes longer than [Patience]; the exit code is for the caller.
func (h *Host) Run(c Cmd) (p *Process, code int) {
	h.lab.tb.Helper()
	p = h.Start(c)
	p.Stdin.Close()
	code = p.Wait()
	p.told = true
	return p, code
}

// FindProgram returns the path of a program. Unlike [exec.LookPath] it looks
// into the sbin folders too, where Debian keeps daemons.
func FindProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, sbinErr := exec.LookPath(filepath.Join(dir, name)); sbinErr == nil {
			return path, nil
		}
	}
	return "", err
}

// PID returns the process's id in the lab.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Exited returns a channel that is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// WaitFor waits for pattern in what the process prints; see [Output.WaitFor].
func (p *Process) WaitFor(pattern string) []string {
	p.host.lab.tb.Helper()
	return p.Output.WaitFor(pattern)
}

// Next waits for pattern in what the process prints; see [Output.Next].
func (p *Process) Next(pattern string) []string {
	p.host.lab.tb.Helper()
	return p.Output.Next(pattern)
}

// Wait waits until the process has ended and returns its exit code, or 128 and
// the number of the signal that ended it. It fails the test after [Patience].
func (p *Process) Wait() int {
	p.host.lab.tb.Helper()
	return p.WaitAtMost(Patience)
}

// WaitAtMost is Wait with a bound of the caller's.
func (p *Process) WaitAtMost(bound time.Duration) int {
	p.host.lab.tb.Helper()
	timeout := time.NewTimer(bound)
	defer timeout.Stop()
	select {
	case <-p.exited:
	case <-timeout.C:
		p.host.lab.tb.Fatalf("netlab: %s still runs after %v:\n%s", p.name, bound, p.Output.tail())
	}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends a signal to the process. That it has ended already is no error.
func (p *Process) Signal(sig syscall.Signal) {
	p.host.lab.tb.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.host.lab.must(err, "%v to %s", sig, p.name)
	}
}

// Kill ends the process and everything it started, and waits for that.
func (p *Process) Kill() {
	p.kill()
	<-p.exited
}

func (p *Process) kill() {
	if p.Running() {
		// The whole group; in a pid namespace the kernel kills the rest anyway.
		_ = unix.Kill(-p.PID(), unix.SIGKILL)
	}
}

func (p *Process) cleanup() {
	p.Kill()
	if p.host.lab.tb.Failed() && !p.told {
		p.host.lab.tb.Logf("%s (%v) printed:\n%s", p.name, p.cmd.ProcessState, p.Output.tail())
	}
}
