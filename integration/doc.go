// Package integration tests the program against the real kernel and real peers.
//
// Each test builds a network of its own with internal/netlab, runs the program
// (built once, with the race detector if the tests are) and Debian's kamailio,
// baresip and sipp as processes in it, and looks at what the kernel and the wire
// say: socket tables, inodes, captured packets, recordings.
//
// A test that needs a program which is not there is skipped with its name, or,
// with GOSIPUA_REQUIRE_PEERS=1, fails. GOSIPUA_PEERS=skip skips those tests even
// where the programs are, as `make test` does; `make peers` runs them all.
package integration
