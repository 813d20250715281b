package ifwatch_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/netlab"
)

const refusedEnv = "IFWATCH_TEST_REFUSED"

// TestNetlinkRefused runs a Watcher in a process that may open no netlink socket, as a unit with RestrictAddressFamilies=
// may not, and lets it see an address come and go.
func TestNetlinkRefused(t *testing.T) {
	if os.Getenv(refusedEnv) != "" {
		refusedChild(t)
		return
	}
	host := netlab.New(t).Self()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestNetlinkRefused$", "-test.v")
	cmd.Env = append(os.Environ(), refusedEnv+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for line := range lines(out) {
		switch {
		case strings.HasPrefix(line, "watching"):
			host.Link("lo").Add("2001:db8::53/128")
		case strings.HasPrefix(line, "came"):
			host.Link("lo").Remove("2001:db8::53/128")
		default:
			t.Log(line)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the process without netlink: %v", err)
	}
}

// lines yields what r says, line by line.
func lines(r io.Reader) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		all := make([]byte, 0, 4096)
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			all = append(all, buf[:n]...)
			for {
				line, rest, ok := bytes.Cut(all, []byte("\n"))
				if !ok {
					break
				}
				if !yield(string(line)) {
					return
				}
				all = rest
			}
			if err != nil {
				return
			}
		}
	}
}

func refusedChild(t *testing.T) {
	if err := refuseNetlink(); err != nil {
		t.Fatalf("seccomp: %v", err)
	}
	if _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, 0); !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Fatalf("netlink is not refused: %v", err)
	}
	var log bytes.Buffer
	w := ifwatch.New(ifwatch.Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Poll: 20 * time.Millisecond})
	ctx := t.Context()
	running := make(chan struct{})
	go func() { _ = w.Run(ctx); close(running) }()
	has := func(s *ifwatch.Snapshot, addr string) bool {
		for _, a := range s.Addrs {
			if a.Addr == netip.MustParseAddr(addr) {
				l, ok := s.Link(a.Link)
				return ok && l.Loopback && l.Carrier()
			}
		}
		return false
	}
	wait := func(s *ifwatch.Snapshot, addr string, there bool) *ifwatch.Snapshot {
		for has(s, addr) != there {
			var err error
			if s, err = w.Wait(ctx, s.Gen); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	s := wait(w.Current(), "127.0.0.1", true)
	if !has(s, "::1") || s.Source != "poll" || !s.Complete {
		t.Errorf("from %q, complete %t: %v", s.Source, s.Complete, s.Addrs)
	}
	fmt.Println("watching")
	s = wait(s, "2001:db8::53", true)
	fmt.Println("came")
	wait(s, "2001:db8::53", false)
	if n := strings.Count(log.String(), "polling"); n != 1 {
		t.Errorf("it said %d times that it polls:\n%s", n, log.String())
	}
}

// refuseNetlink lets every socket(AF_NETLINK) of this process fail with EAFNOSUPPORT from now on.
func refuseNetlink() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // its first argument, little-endian
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AF_NETLINK, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}
