package ifwatch

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// readIoctl reads what can be had without netlink: links and the first IPv4 address of each by ioctl, all IPv6 addresses
// from /proc. It knows neither lifetimes nor IPv4 secondaries.
func readIoctl() (reading, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return reading{}, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	names, err := readProc("/proc/thread-self/net/dev", parseDev)
	if err != nil {
		return reading{}, err
	}
	r := reading{sure: true, source: "poll"}
	for _, name := range names {
		link, err := ioctlLink(fd, name)
		if err != nil {
			continue // it has gone since it was listed
		}
		r.links = append(r.links, link)
		if a, ok := ioctlAddr(fd, &link); ok {
			r.addrs = append(r.addrs, a)
		}
	}
	in6, err := readProc("/proc/thread-self/net/if_inet6", parseIn6)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil // the kernel has no IPv6
	}
	r.addrs = append(r.addrs, in6...)
	return r, err
}

func readProc[T any](path string, parse func(io.Reader) ([]T, error)) ([]T, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return parse(file)
}

// parseDev reads the names in /proc/net/dev: two lines of heading, then "name: counters".
func parseDev(r io.Reader) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if name, _, ok := strings.Cut(lines.Text(), ":"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names, lines.Err()
}

// parseIn6 reads /proc/net/if_inet6: address, index, prefix length, scope and flags in hexadecimal, and the name.
func parseIn6(r io.Reader) ([]Addr, error) {
	var addrs []Addr
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		a, err := parseIn6Line(strings.Fields(lines.Text()))
		if err != nil {
			return nil, fmt.Errorf("if_inet6: %q: %w", lines.Text(), err)
		}
		addrs = append(addrs, a)
	}
	return addrs, lines.Err()
}

func parseIn6Line(fields []string) (Addr, error) {
	if len(fields) != 6 || len(fields[0]) != 32 {
		return Addr{}, errors.New("not 6 fields, or no address of 32 digits")
	}
	var numbers [5]uint64 // two halves of the address, index, prefix length, flags
	for i, s := range [...]string{fields[0][:16], fields[0][16:], fields[1], fields[2], fields[4]} {
		var err error
		if numbers[i], err = strconv.ParseUint(s, 16, 64); err != nil {
			return Addr{}, err
		}
	}
	index, plen := numbers[2], numbers[3]
	if index == 0 || index > 1<<31-1 || plen > 128 {
		return Addr{}, fmt.Errorf("index %d, prefix length %d", index, plen)
	}
	var ip [16]byte
	for i := range ip {
		ip[i] = byte(numbers[i/8] >> (56 - 8*(i%8)))
	}
	a := Addr{Key: Key{Link: int(index), Addr: netip.AddrFrom16(ip), Bits: int(plen)}}
	a.Flags = flagsOf(unix.AF_INET6, uint32(numbers[4]&0xff))
	a.Scope = scopeOf(a.Addr)
	return a, nil
}

func ioctlLink(fd int, name string) (Link, error) {
	index, err := ioctlUint32(fd, name, unix.SIOCGIFINDEX)
	if err != nil {
		return Link{}, err
	}
	mtu, err := ioctlUint32(fd, name, unix.SIOCGIFMTU)
	if err != nil {
		return Link{}, err
	}
	ifr, err := ioctl(fd, name, unix.SIOCGIFFLAGS)
	if err != nil {
		return Link{}, err
	}
	flags := ifr.Uint16()
	running := flags&unix.IFF_RUNNING != 0
	l := Link{
		Index: int(index), Name: name, MTU: int(mtu), Up: flags&unix.IFF_UP != 0, LowerUp: running, Running: running,
		Loopback: flags&unix.IFF_LOOPBACK != 0, NoARP: flags&unix.IFF_NOARP != 0, In6Ready: running,
	}
	if !running {
		l.Oper = OperDown
	}
	return l, nil
}

func ioctlAddr(fd int, l *Link) (Addr, bool) {
	ip, err := ioctlInet4(fd, l.Name, unix.SIOCGIFADDR)
	if err != nil {
		return Addr{}, false // it has no IPv4 address
	}
	mask, err := ioctlInet4(fd, l.Name, unix.SIOCGIFNETMASK)
	if err != nil {
		return Addr{}, false
	}
	plen := 0
	for _, b := range mask.As4() {
		plen += bits.OnesCount8(b)
	}
	return Addr{Key: Key{Link: l.Index, Addr: ip, Bits: plen}, Scope: scopeOf(ip), Label: l.Name}, true
}

func ioctl(fd int, name string, req uint) (*unix.Ifreq, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	return ifr, unix.IoctlIfreq(fd, req, ifr)
}

func ioctlUint32(fd int, name string, req uint) (uint32, error) {
	ifr, err := ioctl(fd, name, req)
	if err != nil {
		return 0, err
	}
	return ifr.Uint32(), nil
}

func ioctlInet4(fd int, name string, req uint) (netip.Addr, error) {
	ifr, err := ioctl(fd, name, req)
	if err != nil {
		return netip.Addr{}, err
	}
	b, err := ifr.Inet4Addr()
	if err != nil {
		return netip.Addr{}, err
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip, nil
}
