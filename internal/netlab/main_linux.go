package netlab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// stateEnv tells a process where it stands. It is not set outside; a process
// that shall become a lab finds stateStart, everything inside a finished lab
// stateInside, and tests that run without a lab stateNone and the reason.
const (
	stateEnv    = "GOSIPUA_NETLAB"
	stateStart  = "start"
	stateInside = "inside"
	stateNone   = "none: "
)

// reportFD is the descriptor on which the process that becomes a lab says
// how that went: "ok", or the stage that failed and its error.
const reportFD = 3

// form is one way to make a lab, in order of preference.
type form struct {
	name  string
	flags uintptr
	user  bool // in a user namespace, as uid 1000
}

// forms returns the ways to make a lab that are worth trying.
// Containers that mask parts of /proc forbid mounting another one, which a pid
// namespace needs; real root may make namespaces where user namespaces are
// forbidden, as in a chroot.
func forms() []form {
	const base = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWIPC
	all := []form{
		{"user and pid namespaces", base | unix.CLONE_NEWUSER | unix.CLONE_NEWPID, true},
		{"user namespace", base | unix.CLONE_NEWUSER, true},
	}
	if os.Geteuid() == 0 {
		all = append(all, form{"as root, without a user namespace", base | unix.CLONE_NEWPID, false})
	}
	return all
}

// Main runs the tests of m in a lab, or outside of one where the system forbids
// labs, and exits with their exit code. Call it from TestMain.
func Main(m *testing.M) {
	code := Run(m)
	if !Inside() && os.Getenv(stateEnv) == "" {
		// Nothing ran in this process that wants to be seen off. With the race
		// detector os.Exit would stay for another second.
		syscall.Exit(code)
	}
	os.Exit(code)
}

// Run is Main for a TestMain that has something to do before or after: outside
// it starts the lab and returns its exit code, inside it runs the tests.
// See [Inside].
func Run(m *testing.M) int {
	switch state := os.Getenv(stateEnv); {
	case state == stateStart:
		if err := becomeLab(); err != nil {
			return 1 // reported to the parent, which goes on without this process
		}
		return m.Run()
	case state != "": // a fuzz worker or a helper process of a test
		return m.Run()
	}
	code, err := runLab()
	if err == nil {
		return code
	}
	// The tests read the reason from the environment, because a variable would
	// have to be a global one.
	if err := os.Setenv(stateEnv, stateNone+err.Error()); err != nil {
		fmt.Fprintln(os.Stderr, "netlab:", err)
		return 1
	}
	return m.Run()
}

// Inside reports whether this process runs in a lab.
func Inside() bool {
	state := os.Getenv(stateEnv)
	return state == stateStart || state == stateInside
}

// runLab runs this program again as a lab and returns its exit code, or an
// error that says why no lab could be made.
func runLab() (code int, err error) {
	// Pdeathsig, which ends the lab with this process, follows the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var reasons reasons
	for _, f := range forms() {
		cmd := labCommand(f)
		report, err := startLab(cmd)
		if err != nil {
			reasons = append(reasons, fmt.Errorf("%s: %w", f.name, err))
			continue
		}
		if report != "ok" {
			_ = cmd.Wait()
			reasons = append(reasons, fmt.Errorf("%s: %s", f.name, report))
			continue
		}
		err = cmd.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && !exit.Exited() {
			fmt.Fprintln(os.Stderr, "netlab: the lab ended with", exit)
			return 1, nil
		}
		return cmd.ProcessState.ExitCode(), nil
	}
	return 0, withHint(reasons)
}

// reasons are errors in one line, for one skip.
type reasons []error

func (r reasons) Error() string {
	texts := make([]string, len(r))
	for i, err := range r {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (r reasons) Unwrap() []error { return r }

// labCommand returns the command that runs this program as a lab of form f.
func labCommand(f form) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:noctx // lives as long as this process
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stateEnv+"="+stateStart)
	if os.Getenv("GORACE") == "" {
		// Every process built with -race would wait a second before it exits.
		cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Cloneflags: f.flags}
	if f.user {
		// Not uid 0: programs that are started as root try to become somebody
		// else, and there is nobody else in this namespace.
		one := func(id int) []syscall.SysProcIDMap {
			return []syscall.SysProcIDMap{{ContainerID: labID, HostID: id, Size: 1}}
		}
		cmd.SysProcAttr.UidMappings = one(os.Geteuid())
		cmd.SysProcAttr.GidMappings = one(os.Getegid())
		cmd.SysProcAttr.AmbientCaps = allCaps()
	}
	return cmd
}

// labID is the user and group a lab runs as.
const labID = 1000

// allCaps returns the numbers of every capability this kernel knows.
func allCaps() []uintptr {
	last := uint64(unix.CAP_LAST_CAP)
	if b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap"); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 8); err == nil {
			last = n
		}
	}
	caps := make([]uintptr, 0, last+1)
	for c := range last + 1 {
		caps = append(caps, uintptr(c))
	}
	return caps
}

// startLab starts cmd and returns what it reports.
func startLab(cmd *exec.Cmd) (report string, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{w}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	if err != nil || len(b) == 0 {
		return "ended before it could say anything", nil
	}
	return string(b), nil
}

// becomeLab makes a lab of this process, which is in its namespaces already,
// and reports to the parent how that went.
func becomeLab() error {
	report := os.NewFile(reportFD, "report")
	defer report.Close()
	err := setUp()
	if err != nil {
		fmt.Fprint(report, err)
		return err
	}
	fmt.Fprint(report, "ok")
	return os.Setenv(stateEnv, stateInside)
}

// setUp gives the lab its mounts and its loopback interface, and tries whether
// this kernel has what hosts are made of.
func setUp() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if os.Getpid() == 1 { // in a pid namespace, of which /proc knows nothing yet
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount /proc: %w", err)
		}
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return fmt.Errorf("kernel without IPv6: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("loopback up: %w", err)
	}
	return probeVeth()
}

// probeVeth fails where no link can be made: the module is missing, or the
// capabilities in a user namespace are empty ones.
func probeVeth() error {
	probe := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "probe0"}, PeerName: "probe1"}
	if err := netlink.LinkAdd(probe); err != nil {
		return fmt.Errorf("create a veth link: %w", err)
	}
	if err := netlink.LinkDel(probe); err != nil {
		return fmt.Errorf("delete a veth link: %w", err)
	}
	return nil
}

// withHint adds to err what on this system is known to cause it.
func withHint(err error) error {
	is := func(path, value string) bool {
		b, readErr := os.ReadFile(path)
		return readErr == nil && strings.TrimSpace(string(b)) == value
	}
	hint := "a chroot or a seccomp filter forbids namespaces"
	switch {
	case is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"):
		hint = "AppArmor takes the capabilities away: kernel.apparmor_restrict_unprivileged_userns=1"
	case is("/proc/sys/kernel/unprivileged_userns_clone", "0"):
		hint = "kernel.unprivileged_userns_clone=0"
	case is("/proc/sys/user/max_user_namespaces", "0"), errors.Is(err, unix.ENOSPC):
		hint = "user.max_user_namespaces is 0 or used up"
	case errors.Is(err, unix.EOPNOTSUPP):
		hint = "the kernel has no veth"
	}
	return fmt.Errorf("%w (%s)", err, hint)
}
