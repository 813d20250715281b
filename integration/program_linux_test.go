package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gosipua/gosipua/internal/netlab"
)

// program is a running gosipua -f. It has no capabilities, like any user's.
type program struct {
	*netlab.Process
	t      *testing.T
	at     *netlab.Host
	dir    string // of its configuration, and of the files that names
	config string
}

// echoConfig is the least that makes a phone: the account of the example.
const echoConfig = `
accounts:
  - {aor: "sip:echo@localhost", register: false, answer: echo}
`

// accountOf is the configuration of a phone that is registered with a registrar,
// answers by itself, plays a tone and records.
func accountOf(user string, registrar netip.AddrPort, proto string, expires time.Duration, more string) string {
	server := fmt.Sprintf("sip:%s;transport=%s", registrar, proto)
	return fmt.Sprintf(`
accounts:
  - {aor: "sip:%s@lab.test", registrar: "%s", outbound: ["%s"], auth_pass: "%s-secret", expires: %s, answer: auto}
audio: {source: "ausine,440,%d", player: "aufile,heard.wav"}
%s`, user, server, server, user[:1], expires, toneLevel, more)
}

// passwords are those of the users that accountOf and the peers are.
func passwords() map[string]string { return map[string]string{"alice": "a-secret", "bob": "b-secret"} }

// startProgram starts gosipua with a configuration and waits until it says
// that it is ready.
func startProgram(t *testing.T, at *netlab.Host, config string) *program {
	t.Helper()
	p := newProgram(t, at, config)
	p.run()
	return p
}

// newProgram is startProgram for a test that wants to put files beside the
// configuration first, or to run other commands with it.
func newProgram(t *testing.T, at *netlab.Host, config string) *program {
	t.Helper()
	p := &program{t: t, at: at, dir: t.TempDir()}
	p.config = filepath.Join(p.dir, "config.yaml")
	if err := os.WriteFile(p.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// run starts gosipua -f and waits until it is ready.
func (p *program) run() {
	p.t.Helper()
	p.Process = p.at.Start(p.command("-f", p.config, "--log-level", "debug"))
	p.WaitFor(`gosipua is ready`)
}

// command returns how to run gosipua with these arguments.
func (p *program) command(args ...string) netlab.Cmd {
	return netlab.Cmd{Path: os.Getenv(programEnv), Args: args, Dir: p.dir, Unprivileged: true}
}

// address is what gosipua addrs --json says of an address.
type address struct {
	Address   string   `json:"address"`
	Interface string   `json:"interface"`
	Flags     []string `json:"flags"`
	Bind      bool     `json:"bind"`
	Reason    string   `json:"reason"`
	Reasons   []string `json:"reasons"`
	Listeners []struct {
		Transport string `json:"transport"`
		Port      uint16 `json:"port"`
		State     string `json:"state"`
	} `json:"listeners"`
}

// addrs returns what gosipua addrs --json says, by "interface address".
func (p *program) addrs() map[string]address {
	p.t.Helper()
	run, code := p.at.Run(p.command("addrs", "-f", p.config, "--json"))
	if code != 0 {
		p.t.Fatalf("gosipua addrs ended with %d:\n%s", code, run.Output)
	}
	var list []address
	if err := json.Unmarshal([]byte(run.Stdout.String()), &list); err != nil {
		p.t.Fatalf("gosipua addrs: %v\n%s", err, run.Stdout)
	}
	all := map[string]address{}
	for _, a := range list {
		all[a.Interface+" "+a.Address] = a
	}
	return all
}

// wantReasons fails the test unless gosipua addrs gives these addresses these
// reasons, "interface address" by "interface address".
func (p *program) wantReasons(want map[string]string) {
	p.t.Helper()
	got := p.addrs()
	for name, reason := range want {
		a, ok := got[name]
		if !ok {
			p.t.Errorf("gosipua addrs does not know %q, only %v", name, slices.Sorted(maps.Keys(got)))
		} else if a.Reason != reason {
			p.t.Errorf("%s: reason %s (of %v), want %s", name, a.Reason, a.Reasons, reason)
		}
	}
}

// both returns the names of the sockets that listen on addresses over UDP and
// TCP, as [netlab.Host.Listeners] has them.
func both(port uint16, addrs ...string) []string {
	var names []string
	for _, a := range addrs {
		for _, proto := range []string{"udp", "tcp"} {
			names = append(names, proto+" "+netip.AddrPortFrom(netip.MustParseAddr(a), port).String())
		}
	}
	slices.Sort(names)
	return names
}

// awaitListening waits until exactly the sockets of these names listen, no more
// and no fewer, and returns them.
func (p *program) awaitListening(want []string) map[string]netlab.Socket {
	p.t.Helper()
	var got map[string]netlab.Socket
	netlab.Await(p.t, "listening sockets", func() error {
		got = p.at.Listeners()
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
			return fmt.Errorf("listening on\n  %s\nwant\n  %s", strings.Join(names, "\n  "), strings.Join(want, "\n  "))
		}
		return nil
	})
	return got
}

// wantUntouched fails the test if one of the sockets before, except those that
// were expected to close, is another one now or none.
func (p *program) wantUntouched(before map[string]netlab.Socket, except ...string) {
	p.t.Helper()
	now := p.at.Listeners()
	for name, s := range before {
		if !slices.Contains(except, name) && now[name].Inode != s.Inode {
			p.t.Errorf("%s was inode %d, is %d", name, s.Inode, now[name].Inode)
		}
	}
}

// stop ends the program as an operator does and fails the test unless it takes
// leave properly.
func (p *program) stop() {
	p.t.Helper()
	if !p.Running() {
		p.t.Fatalf("gosipua has ended by itself, with %d", p.Wait())
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		p.t.Errorf("gosipua ended with %d after SIGTERM", code)
	}
	p.wantNoRace()
}

// wantNoRace fails the test if the race detector or a panic spoke.
func (p *program) wantNoRace() {
	p.t.Helper()
	if n := p.Output.Count(`DATA RACE|panic:|goroutine \d+ \[`); n > 0 {
		p.t.Errorf("gosipua printed %d races or panics", n)
	}
}
