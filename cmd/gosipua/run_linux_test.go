package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gosipua/gosipua/harness/registrar"
	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/netlab"
	"github.com/gosipua/gosipua/transport"
)

// leave bounds the end after a signal: 3 s are promised, the rest is for a machine that is busy with other tests.
const leave = 5 * time.Second

// example is the configuration that everybody starts with.
func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return file(t, string(text))
}

func TestRunOnTheHostThatBrokeBaresip(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).LibvirtHost("host")
	p := host.Start(netlab.Cmd{Path: "gosipua", Args: []string{"-f", example(t)}})
	p.Stdout.WaitFor(`(?m)^gosipua is ready: 1 account, listening on \d+ of \d+ addresses$`)
	for _, line := range []string{
		`  lo +127\.0\.0\.1 +listening on udp:5060 tcp:5060, call sip:echo@127\.0\.0\.1, from this host only`,
		`  lo +::1 +listening on udp:5060 tcp:5060, call sip:echo@\[::1\], from this host only`,
		`  enp0s13f0u1u4u4 +192\.0\.2\.10 +listening on udp:5060 tcp:5060, call sip:echo@192\.0\.2\.10`,
		`  enp0s13f0u1u4u4 +2001:db8:1::10 +listening on udp:5060 tcp:5060, call sip:echo@\[2001:db8:1::10\]`,
		`  virbr2 +192\.168\.125\.1 +not used: .*virbr2.*`,
		`  virbr2 +2001:db8:ddde:ffff::1 +not used: DAD waits for carrier: virbr2 has none`,
	} {
		p.Stdout.WaitFor(`(?m)^` + line + `$`)
	}
	p.Stderr.WaitFor(`level=WARN msg="anybody who reaches this public address .*local=192\.0\.2\.10 answer=echo max_calls=4`)
	if p.Stderr.Count(`msg="anybody .*local=(127|192\.168|::1|fe80)`) > 0 {
		t.Error("warned of an address that is not public")
	}
	host.PlugIn(2)
	p.Stderr.WaitFor(`msg=listening transport=udp local=\[2001:db8:ddde:ffff::1\]:5060`)
	p.Signal(syscall.SIGINT)
	if code := p.WaitAtMost(leave); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestRunWithoutAnyAddress(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).Host("host")
	config := file(t, "net_interface: eth0\naccounts: [{aor: 'sip:a@b', register: false, auth_pass: hunter2}]\n")
	if err := os.Chmod(config, 0o644); err != nil {
		t.Fatal(err)
	}
	p := host.Start(netlab.Cmd{Path: "gosipua", Args: []string{"-f", config, "--log-format", "json"}})
	p.Stdout.WaitFor(`(?m)^gosipua is ready: 1 account, listening on 0 of 2 addresses$`)
	p.Stdout.WaitFor(`(?m)^  lo +127\.0\.0\.1 +not used: `)
	p.Stdout.WaitFor(`(?m)^  eth0 +- +waiting: `)
	p.Stderr.WaitFor(`"level":"ERROR","msg":"no address is listened on`)
	p.Stderr.WaitFor(`"level":"WARN","msg":"configuration","at":"[^"]+:2:57","why":"accounts\[0\]\.auth_pass: every user`)
	p.Signal(syscall.SIGTERM)
	if code := p.WaitAtMost(leave); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for lines := bufio.NewScanner(strings.NewReader(p.Stderr.String())); lines.Scan(); {
		if !json.Valid(lines.Bytes()) {
			t.Errorf("not JSON: %s", lines.Text())
		}
	}
}

func TestRunNotesHangup(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).Host("host")
	p := host.Start(netlab.Cmd{Path: "gosipua", Args: []string{"-f", example(t)}})
	p.Stdout.WaitFor(`gosipua is ready`)
	p.Signal(syscall.SIGHUP)
	p.Stderr.WaitFor(`msg="reload is not yet supported`)
	p.Signal(syscall.SIGHUP)
	p.Signal(syscall.SIGINT)
	p.Stderr.WaitFor(`msg=stopping why=interrupt`)
	if code := p.WaitAtMost(leave); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// site is a registrar in the test's own process, and a host with a phone that is registered there.
type site struct {
	phone *netlab.Process
	cable *netlab.Link // the registrar's end
}

func registered(t *testing.T) site {
	t.Helper()
	lab := netlab.New(t)
	here, there := lab.Self(), lab.Host("phone")
	here.NoDAD()
	there.NoDAD()
	atHere, atThere := lab.Cable(here, "eth0", there, "eth0")
	atHere.Add("192.0.2.1/24")
	atThere.Add("192.0.2.2/24")

	ctx, stop := context.WithCancel(t.Context())
	links := ifwatch.New(ifwatch.Config{})
	r := registrar.New(registrar.Config{
		Transport: transport.Config{
			Links: links, Listen: []transport.Listen{{Proto: transport.UDP, Addr: netip.MustParseAddr("192.0.2.1"), Port: 5060}},
		},
		Users: map[string]string{"alice": "hunter2"},
	})
	ended := make(chan struct{}, 2)
	go func() { _ = links.Run(ctx); ended <- struct{}{} }()
	go func() { _ = r.Run(ctx); ended <- struct{}{} }()
	t.Cleanup(func() {
		stop()
		<-ended
		<-ended
	})
	config := file(t, "accounts: [{aor: 'sip:alice@192.0.2.1', auth_pass: hunter2}]\n")
	p := there.Start(netlab.Cmd{Path: "gosipua", Args: []string{"-f", config}})
	p.Stderr.WaitFor(`msg=registered account=sip:alice@192\.0\.2\.1`)
	if strings.Contains(p.Output.String(), "hunter2") {
		t.Error("the password is in the output")
	}
	return site{p, atHere}
}

func TestRunUnregisters(t *testing.T) {
	s := registered(t)
	s.phone.Signal(syscall.SIGTERM)
	if code := s.phone.WaitAtMost(leave); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.phone.Stderr.WaitFor(`msg=unregistered account=sip:alice@192\.0\.2\.1`)
}

func TestRunEndsInTimeWithADeadRegistrar(t *testing.T) {
	s := registered(t)
	s.cable.Remove("192.0.2.1/24") // what is sent there is lost, and nobody says so
	s.phone.Signal(syscall.SIGINT)
	if code := s.phone.WaitAtMost(leave); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestRunEndsAtOnceWithASecondSignal(t *testing.T) {
	s := registered(t)
	s.cable.Remove("192.0.2.1/24") // what is sent there is lost, and nobody says so
	s.phone.Signal(syscall.SIGINT)
	s.phone.Stderr.WaitFor(`msg=stopping`)
	s.phone.Signal(syscall.SIGINT)
	if code := s.phone.WaitAtMost(time.Second); code != 130 {
		t.Errorf("exit code %d", code)
	}
}
