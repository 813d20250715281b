package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/gosipua/gosipua/internal/netlab"
)

// file writes a configuration and gives its name.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// listAddrs runs gosipua addrs --json in a host.
func listAddrs(t *testing.T, h *netlab.Host, args ...string) []map[string]any {
	t.Helper()
	p, code := h.Run(netlab.Cmd{Path: "gosipua", Args: append([]string{"addrs", "--json"}, args...)})
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, p.Stderr)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(p.Stdout.String()), &list); err != nil {
		t.Fatalf("%v:\n%s", err, p.Stdout)
	}
	return list
}

// find gives the element of an address on an interface.
func find(t *testing.T, list []map[string]any, iface, address string) map[string]any {
	t.Helper()
	i := slices.IndexFunc(list, func(e map[string]any) bool { return e["interface"] == iface && e["address"] == address })
	if i < 0 {
		t.Fatalf("%s on %s is not in %v", address, iface, list)
	}
	return list[i]
}

func TestAddrsOfTheHostThatBrokeBaresip(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).LibvirtHost("host")
	list := listAddrs(t, host.Host)
	for _, want := range []struct {
		iface, address, family string
		bits                   float64
		bind                   bool
		reason                 string
	}{
		{"lo", "127.0.0.1", "inet", 8, true, "loopback"},
		{"lo", "::1", "inet6", 128, true, "loopback"},
		{"enp0s13f0u1u4u4", "192.0.2.10", "inet", 24, true, "ok"},
		{"enp0s13f0u1u4u4", "2001:db8:1::10", "inet6", 64, true, "ok"},
		{"virbr0", "192.168.122.1", "inet", 24, false, "no_carrier"},
		{"virbr2", "192.168.125.1", "inet", 24, false, "no_carrier"},
		{"virbr2", "2001:db8:ddde:ffff::1", "inet6", 64, false, "dad_waits_for_carrier"},
	} {
		got := find(t, list, want.iface, want.address)
		if got["prefix_len"] != want.bits || got["family"] != want.family || got["bind"] != want.bind || got["reason"] != want.reason {
			t.Errorf("%s on %s: got %v, want %+v", want.address, want.iface, got, want)
		}
		if got["ifindex"] == 0.0 || len(got["listeners"].([]any)) != 0 {
			t.Errorf("%s on %s: got %v", want.address, want.iface, got)
		}
	}
	tentative := find(t, list, "virbr2", "2001:db8:ddde:ffff::1")
	if flags := tentative["flags"].([]any); !slices.Contains(flags, any("tentative")) {
		t.Errorf("flags %v", flags)
	}
	if reasons := tentative["reasons"].([]any); reasons[0] != "dad_waits_for_carrier" || !slices.Contains(reasons, any("tentative")) {
		t.Errorf("reasons %v", reasons)
	}
}

func TestAddrsByConfiguration(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).LibvirtHost("host")
	config := file(t, `
net_interface: ["enp*", wlan0]
net_af: inet
sip: {listen: ["udp:5060", "tcp:0", "udp:198.51.100.7:5070"]}
`)
	list := listAddrs(t, host.Host, "-f", config)
	used := find(t, list, "enp0s13f0u1u4u4", "192.0.2.10")
	want := []any{
		map[string]any{"transport": "udp", "port": 5060.0, "state": "planned"},
		map[string]any{"transport": "tcp", "port": 0.0, "state": "planned"},
	}
	if got := used["listeners"].([]any); len(got) != 2 || !slices.EqualFunc(got, want, equalJSON) {
		t.Errorf("listeners %v", got)
	}
	for iface, address := range map[string]string{"lo": "127.0.0.1", "virbr0": "192.168.122.1"} {
		if got := find(t, list, iface, address); got["reason"] != "interface_not_selected" || len(got["listeners"].([]any)) != 0 {
			t.Errorf("%s: %v", iface, got)
		}
	}
	if got := find(t, list, "enp0s13f0u1u4u4", "2001:db8:1::10"); got["reason"] != "family_not_selected" {
		t.Errorf("%v", got)
	}
	waited := find(t, list, "wlan0", "")
	if waited["reason"] != "interface_missing" || waited["ifindex"] != 0.0 || waited["bind"] != false || waited["keep"] != false ||
		waited["advertise"] != false || waited["new_flows"] != false {
		t.Errorf("%v", waited)
	}
	missing := find(t, list, "", "198.51.100.7")
	if missing["reason"] != "address_missing" || missing["ifindex"] != 0.0 || missing["family"] != "inet" || len(missing["listeners"].([]any)) != 1 {
		t.Errorf("%v", missing)
	}
	p, code := host.Run(netlab.Cmd{Path: "gosipua", Args: []string{"addrs", "-f", config}})
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	p.Stdout.WaitFor(`(?m)^INTERFACE +ADDRESS +USE +LISTENERS +REASON +WHY$`)
	p.Stdout.WaitFor(`(?m)^enp0s13f0u1u4u4 +192\.0\.2\.10/24 +all +udp:5060 tcp:0 +ok +usable$`)
	p.Stdout.WaitFor(`(?m)^wlan0 +- +no +udp:5060\(waiting\) tcp:0\(waiting\) +interface_missing `)
}

func equalJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func TestAddrsWatchFollowsDAD(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).LibvirtHost("host")
	text := host.Start(netlab.Cmd{Path: "gosipua", Args: []string{"addrs", "--watch"}})
	objects := host.Start(netlab.Cmd{Path: "gosipua", Args: []string{"addrs", "--watch", "--json"}})
	text.Stdout.WaitFor(`(?m)^virbr2 +2001:db8:ddde:ffff::1/64 +no +dad_waits_for_carrier `)
	objects.Stdout.WaitFor(`(?m)^\{"time":"[^"]+","change":"added","address":"2001:db8:ddde:ffff::1",.*"reason":"dad_waits_for_carrier".*\}$`)
	host.PlugIn(2)
	text.Stdout.WaitFor(`(?m)^\d\d:\d\d:\d\d\.\d{3} changed virbr2 2001:db8:ddde:ffff::1/64: all, ok \(usable\), was `)
	objects.Stdout.WaitFor(`(?m)^\{"time":"[^"]+","change":"changed","was":"\w+","address":"2001:db8:ddde:ffff::1",.*"reason":"ok".*\}$`)
	host.Uplink.Remove("192.0.2.10/24")
	text.Stdout.WaitFor(`(?m)^\S+ removed enp0s13f0u1u4u4 192\.0\.2\.10/24: `)
	host.Uplink.Add("192.0.2.10/24")
	text.Stdout.WaitFor(`(?m)^\S+ added   enp0s13f0u1u4u4 192\.0\.2\.10/24: all, ok`)
	text.Signal(syscall.SIGINT)
	objects.Signal(syscall.SIGINT)
	if a, b := text.Wait(), objects.Wait(); a != 0 || b != 0 {
		t.Errorf("exit codes %d and %d after SIGINT", a, b)
	}
}
