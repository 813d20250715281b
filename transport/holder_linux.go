package transport

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portHolder names the process that has a port taken, or "" if that cannot be
// found out: other users' processes show their sockets only to root.
func portHolder(p Proto, want netip.AddrPort) string {
	inode := socketInode(p, want)
	if inode == "" {
		return ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/[0-9]*") // the pattern is good
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && target == "socket:["+inode+"]" {
			pid := strings.Split(fd, "/")[2]
			name, _ := os.ReadFile(filepath.Join("/proc", pid, "comm")) // it may have gone
			if pid == strconv.Itoa(os.Getpid()) {
				return "this process"
			}
			return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
		}
	}
	return ""
}

// socketInode finds the socket that is bound to want, or to every address and
// the same port, in the tables that the kernel shows.
func socketInode(p Proto, want netip.AddrPort) string {
	for _, table := range []string{string(p), string(p) + "6"} {
		f, err := os.Open("/proc/thread-self/net/" + table)
		if err != nil {
			continue
		}
		inode := findInode(f, p, want)
		f.Close()
		if inode != "" {
			return inode
		}
	}
	return ""
}

// Columns of /proc/net/udp and tcp, proc(5).
const (
	columnLocal = 1
	columnState = 3
	columnInode = 9
	stateListen = "0A"
)

func findInode(table *os.File, p Proto, want netip.AddrPort) string {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		columns := strings.Fields(lines.Text())
		if len(columns) <= columnInode || p != UDP && columns[columnState] != stateListen {
			continue
		}
		local, ok := parseLocal(columns[columnLocal])
		if !ok || local.Port() != want.Port() {
			continue
		}
		if a := local.Addr(); a == want.Addr().WithZone("") || a.IsUnspecified() && (a.Is6() || want.Addr().Is4()) {
			return columns[columnInode]
		}
	}
	return ""
}

// parseLocal reads an address as the kernel prints it: words of the host's byte
// order in hexadecimal, a colon, the port.
func parseLocal(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}
