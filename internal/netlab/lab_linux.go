package netlab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Patience is how long anything here waits for a condition before it fails the
// test. A test that does not fail never waits that long; it is generous because
// twenty labs on two busy cores have been seen to miss half a second.
const Patience = 30 * time.Second

// Lab is the network of one test. Its parts live until the test ends.
type Lab struct {
	tb   testing.TB
	self *Host
}

// New returns an empty network for tb. Where the system forbids labs it skips
// tb and says why; with GOSIPUA_REQUIRE_NETNS=1 it fails tb instead.
func New(tb testing.TB) *Lab {
	tb.Helper()
	state := os.Getenv(stateEnv)
	switch reason, none := strings.CutPrefix(state, stateNone); {
	case state == stateInside:
		return &Lab{tb: tb}
	case !none:
		tb.Fatal("netlab: TestMain of this package must call netlab.Main")
	case os.Getenv("GOSIPUA_REQUIRE_NETNS") == "1":
		tb.Fatalf("netlab: GOSIPUA_REQUIRE_NETNS=1, but no network namespaces here: %s", reason)
	default:
		tb.Skipf("netlab: no network namespaces here: %s", reason)
	}
	return nil
}

// must fails the test when err is not nil.
func (l *Lab) must(err error, format string, args ...any) {
	if err != nil {
		l.tb.Helper()
		l.tb.Fatalf("netlab: %s: %v", fmt.Sprintf(format, args...), err)
	}
}

// Await calls check until it returns nil, and fails the test with its last
// error after [Patience]. For conditions that nobody announces; the pause
// between two calls is a few milliseconds.
func Await(tb testing.TB, what string, check func() error) {
	tb.Helper()
	deadline := time.Now().Add(Patience)
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("netlab: %s: still not so after %v: %v", what, Patience, err)
		}
		<-tick.C
	}
}

// Host adds a host, a network namespace in which only loopback exists and is
// up. The name is for messages.
func (l *Lab) Host(name string) *Host {
	l.tb.Helper()
	h := &Host{lab: l, name: name}
	err := inThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return h.open()
	})
	l.must(err, "host %s", name)
	l.tb.Cleanup(h.close)
	h.Link("lo").Up()
	return h
}

// Self returns the host that the test itself and all its goroutines are in.
// A process has only one, so tests that use it take turns, and when the test
// ends all links that were made in it are deleted and its sysctls are written
// back. Policy rules and routes on loopback are the test's own to remove.
func (l *Lab) Self() *Host {
	l.tb.Helper()
	if l.self != nil {
		return l.self
	}
	l.lockSelf()
	h := &Host{lab: l, name: "self", restore: map[string]string{}}
	l.must(inThread(h.open), "host self")
	l.tb.Cleanup(h.close)
	l.tb.Cleanup(h.clear)
	l.self = h
	return h
}

// lockSelf waits until no other test uses the process's own network namespace.
// The lock is on a file of the lab's private /run, which ends with the lab.
func (l *Lab) lockSelf() {
	l.tb.Helper()
	f, err := os.OpenFile("/run/netlab.self", os.O_CREATE|os.O_RDWR, 0o600)
	l.must(err, "lock self")
	l.tb.Cleanup(func() { f.Close() })
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	l.must(err, "lock self")
}

// Cable connects a and b by a new veth pair whose ends are called aName and
// bName. Both ends are up. To give a link its settings before it comes up, see
// [Lab.LooseCable].
func (l *Lab) Cable(a *Host, aName string, b *Host, bName string) (atA, atB *Link) {
	l.tb.Helper()
	atA, atB = l.LooseCable(a, aName, b, bName)
	atA.Up()
	atB.Up()
	return atA, atB
}

// LooseCable is Cable with both ends down. An end has carrier as soon as both
// are up.
func (l *Lab) LooseCable(a *Host, aName string, b *Host, bName string) (atA, atB *Link) {
	l.tb.Helper()
	// Made in both namespaces at once: moving an end afterwards takes 50 ms and more.
	err := a.nl.LinkAdd(&netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: aName},
		PeerName:      bName,
		PeerNamespace: netlink.NsFd(b.ns),
	})
	l.must(err, "cable %s/%s to %s/%s", a.name, aName, b.name, bName)
	return a.Link(aName), b.Link(bName)
}

// inThread runs f on a thread of its own, which ends with it: whatever f does
// to the thread (namespaces, capabilities) is gone afterwards.
func inThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		if unix.Gettid() == unix.Getpid() {
			// The first thread cannot end, and /proc/self is its view: keep it
			// as it is, and busy, while another one does the work.
			defer runtime.UnlockOSThread()
			result <- inThread(f)
			return
		}
		err := errors.New("the function ended its goroutine, by Fatal or Goexit")
		defer func() { result <- err }()
		err = f()
	}()
	return <-result
}

// open fills in the namespace of the calling thread.
func (h *Host) open() error {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	h.ns = netns.NsHandle(fd)
	if h.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		unix.Close(fd)
	}
	return err
}
