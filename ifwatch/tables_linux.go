package ifwatch

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func readTables(ctx context.Context) (*Tables, error) {
	conn, err := openSocket(ctx, 0)
	if err != nil {
		return nil, errors.Join(errors.ErrUnsupported, err)
	}
	defer conn.close()
	t := &Tables{Order: readOrder()}
	t.Labels, err = readLabels(ctx, conn)
	var errKnobs error
	t.Knobs, errKnobs = readKnobs(ctx, conn)
	if err != nil && errKnobs != nil {
		return nil, errors.Join(err, errKnobs)
	}
	return t, nil
}

// Numbers of linux/if_addrlabel.h.
const (
	sizeofLabelMsg = 12 // struct ifaddrlblmsg
	ifalAddress    = 1
	ifalLabel      = 2
)

// readLabels reads the label table; nil if the kernel refuses.
func readLabels(ctx context.Context, conn netlinkConn) ([]Label, error) {
	header := make([]byte, sizeofLabelMsg)
	header[0] = unix.AF_INET6
	labels := []Label{}
	err := dumpAll(ctx, conn, unix.RTM_GETADDRLABEL, header, func(m message) {
		if l, err := parseLabel(m.body); m.typ == unix.RTM_NEWADDRLABEL && err == nil {
			labels = append(labels, l)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("address labels: %w", err)
	}
	return labels, nil
}

// parseLabel reads the body of an RTM_NEWADDRLABEL.
func parseLabel(b []byte) (Label, error) {
	if len(b) < sizeofLabelMsg {
		return Label{}, fmt.Errorf("label of %d bytes: %w", len(b), errMessage)
	}
	l := Label{Link: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	for a, rest, ok := nextAttr(b[sizeofLabelMsg:]); ok; a, rest, ok = nextAttr(rest) {
		switch a.typ {
		case ifalAddress:
			l.Prefix = netip.PrefixFrom(ipOf(unix.AF_INET6, a.value), int(b[2]))
		case ifalLabel:
			l.Label = a.uint32()
		}
	}
	if !l.Prefix.IsValid() {
		return Label{}, fmt.Errorf("label for a prefix of %d bits: %w", b[2], errMessage)
	}
	return l, nil
}

// readKnobs reads the settings of all links. Those of "all", which no message has, come from /proc.
func readKnobs(ctx context.Context, conn netlinkConn) (map[int]Knobs, error) {
	all := readAllConf()
	knobs := make(map[int]Knobs)
	err := dumpAll(ctx, conn, unix.RTM_GETLINK, linkRequest(), func(m message) {
		if index, conf, err := parseConf(m.body); m.typ == unix.RTM_NEWLINK && err == nil {
			knobs[index] = conf.effective(all)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("settings of links: %w", err)
	}
	return knobs, nil
}

// linkConf are settings as they are written down.
type linkConf struct {
	useTempAddr                                               int
	oifAddrsOnly, optimisticDAD, useOptimistic, routeLocalnet bool
}

// effective combines the settings of a link with those of "all" as the kernel does.
func (c linkConf) effective(all linkConf) Knobs {
	return Knobs{
		UseTempAddr: c.useTempAddr, OIFAddrsOnly: c.oifAddrsOnly, RouteLocalnet: c.routeLocalnet || all.routeLocalnet,
		UseOptimistic: (c.optimisticDAD || all.optimisticDAD) && (c.useOptimistic || all.useOptimistic),
	}
}

func readAllConf() linkConf {
	return linkConf{
		optimisticDAD: sysctl("ipv6/conf/all/optimistic_dad"), useOptimistic: sysctl("ipv6/conf/all/use_optimistic"),
		routeLocalnet: sysctl("ipv4/conf/all/route_localnet"),
	}
}

// sysctl reports whether a setting is not 0. One that cannot be read counts as 0, its default.
func sysctl(path string) bool {
	b, err := os.ReadFile("/proc/sys/net/" + path)
	n, errNumber := strconv.Atoi(strings.TrimSpace(string(b)))
	return err == nil && errNumber == nil && n != 0
}

// Places in IFLA_INET6_CONF (linux/ipv6.h) and IFLA_INET_CONF (linux/ip.h, which counts from 1).
const (
	in6ConfOptimisticDAD = 23
	in6ConfUseOptimistic = 34
	in6ConfOIFAddrsOnly  = 37
	in4ConfRouteLocalnet = 26 - 1
)

// parseConf reads the settings in an RTM_NEWLINK.
func parseConf(b []byte) (index int, c linkConf, err error) {
	if len(b) < unix.SizeofIfInfomsg {
		return 0, linkConf{}, fmt.Errorf("link of %d bytes: %w", len(b), errMessage)
	}
	index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	inside(b[unix.SizeofIfInfomsg:], unix.IFLA_AF_SPEC, func(families attr) {
		inside(families.value, unix.AF_INET6, func(in6 attr) {
			inside(in6.value, unix.IFLA_INET6_CONF, func(conf attr) {
				c.useTempAddr = int(conf.word(in6ConfUseTempAddr))
				c.optimisticDAD, c.useOptimistic = conf.word(in6ConfOptimisticDAD) != 0, conf.word(in6ConfUseOptimistic) != 0
				c.oifAddrsOnly = conf.word(in6ConfOIFAddrsOnly) != 0
			})
		})
		inside(families.value, unix.AF_INET, func(in4 attr) {
			inside(in4.value, unix.IFLA_INET_CONF, func(conf attr) { c.routeLocalnet = conf.word(in4ConfRouteLocalnet) != 0 })
		})
	})
	return index, c, nil
}

// word returns one number of an array, 0 if the array is shorter.
func (a attr) word(i int) int32 {
	if len(a.value) < 4*i+4 {
		return 0
	}
	return int32(binary.NativeEndian.Uint32(a.value[4*i:]))
}

// readOrder returns the links in the order in which they were registered, as far as it can be seen: the lists of multicast
// memberships are the only ones that are in this order, and a link is in that for IPv6 if it has any, in that for IPv4 if
// it is up.
func readOrder() []int {
	in6, err6 := readProc("/proc/thread-self/net/igmp6", parseMemberships)
	in4, err4 := readProc("/proc/thread-self/net/igmp", parseMemberships)
	if err6 != nil && err4 != nil {
		return nil
	}
	return mergeOrders(in6, in4)
}

// parseMemberships reads /proc/net/igmp6 or /proc/net/igmp: a line that begins with a number has the index of a link.
func parseMemberships(r io.Reader) ([]int, error) {
	var order []int
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if line := lines.Text(); line == "" || line[0] < '0' || line[0] > '9' {
			continue
		}
		index, err := strconv.Atoi(strings.Fields(lines.Text())[0])
		if err == nil && (len(order) == 0 || order[len(order)-1] != index) {
			order = append(order, index)
		}
	}
	return order, lines.Err()
}
