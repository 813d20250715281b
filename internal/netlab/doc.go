// Package netlab builds small networks on the real kernel for tests: hosts,
// cables, bridges and addresses in namespaces of the test's own, without root.
//
// # How it works
//
// [Main] starts the test binary a second time, as a lab: one process in new
// user, network, mount, pid and ipc namespaces, in which it holds every
// capability although nobody gave it any outside. A [Host] is one more network
// namespace owned by the lab, so that making two hosts and a cable between them
// takes a few milliseconds. The lab ends with its process: whatever was started
// in it is killed by the kernel, and every interface goes with its namespace.
//
//	func TestMain(m *testing.M) { netlab.Main(m) }
//
//	func TestReachesNeighbour(t *testing.T) {
//		lab := netlab.New(t)
//		a, b := lab.Host("a"), lab.Host("b")
//		ea, eb := lab.Cable(a, "eth0", b, "eth0")
//		ea.Add("192.0.2.1/24")
//		eb.Add("192.0.2.2/24")
//		...
//	}
//
// # Skips
//
// Where the system forbids what a lab needs, [Main] runs the tests outside of
// one, and [New] skips those that ask for it and names the reason: a limit of
// user namespaces (ENOSPC), a chroot or seccomp filter (EPERM), AppArmor, a
// kernel without veth. With GOSIPUA_REQUIRE_NETNS=1 such a skip is a failure.
//
// # Where code runs
//
//   - The tests themselves run in the lab, in a network namespace that has only
//     a loopback interface. [Lab.Self] makes a host of it: code under test that
//     starts goroutines and opens sockets from them runs there unchanged, one
//     test at a time.
//   - [Host.Do] runs a function on a thread inside a host. It may open sockets to
//     literal addresses, write sysctls and start processes, and it may keep the
//     sockets; goroutines that it starts, and a resolver's lookups, are in the
//     lab's own namespace.
//   - [Host.Start] runs a program inside a host: the program under test and the
//     peers it talks to.
//
// Everything reports its errors to the test it was made for with Fatal, so the
// methods must be called from the test's goroutine, except where their comment
// says otherwise. What may fail by design goes through [Host.Netlink].
//
// # What happened
//
// [Host.Sockets] and [Host.Listeners] are the kernel's socket table, with inodes
// that tell whether a socket is still the same one. [Link.Capture] records the
// packets of a link with the kernel's time stamps, and [Streams] puts TCP together.
//
// # Waiting
//
// Nothing here sleeps. [Process.WaitFor], [Capture.WaitFor] and [Await] return
// when their condition holds and give up after [Patience], which is long: it
// only bounds a broken test, on a machine that may be busy.
//
// # Limitations
//
// Linux only; elsewhere [Main] runs the tests and the rest does not exist, so
// tests that need a lab belong into files named *_linux_test.go. The kernels this
// was made for lack netem, dummy, vlan and macsec devices; loss can be had from
// nftables. SO_RCVBUFFORCE and the net.core sysctls are refused.
package netlab
