package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/gosipua/gosipua/internal/netlab"
)

// pair is two hosts; on the second one runs the example configuration.
func pair(t *testing.T) (caller *netlab.Host, phone *netlab.Process) {
	t.Helper()
	lab := netlab.New(t)
	caller, callee := lab.Host("caller"), lab.Host("callee")
	caller.NoDAD()
	callee.NoDAD()
	a, b := lab.Cable(caller, "eth0", callee, "eth0")
	a.Add("192.0.2.1/24", "2001:db8::1/64")
	b.Add("192.0.2.2/24", "2001:db8::2/64")
	phone = callee.Start(netlab.Cmd{Path: "gosipua", Args: []string{"-f", example(t)}})
	for _, listener := range []string{`192\.0\.2\.2`, `\[2001:db8::2\]`} {
		phone.Stderr.WaitFor(`msg=listening transport=udp local=` + listener + `:5060`)
	}
	netlab.Await(t, "the caller's cable to be operational", func() error {
		if e := find(t, listAddrs(t, caller), "eth0", "2001:db8::1"); e["reason"] != "ok" {
			return fmt.Errorf("%v", e["why"])
		}
		return nil
	})
	return caller, phone
}

// The bounds are wide: on a machine that is busy with other tests packets are late, and what is made up for them is fainter.
func TestCallHearsItsOwnEcho(t *testing.T) {
	t.Parallel()
	caller, phone := pair(t)
	recording := filepath.Join(t.TempDir(), "heard.wav")
	text := caller.Start(netlab.Cmd{Path: "gosipua", Args: []string{
		"call", "sip:echo@192.0.2.2", "--duration", "1500ms", "--source", "ausine,440,-20", "--player", "aufile," + recording,
	}})
	object := caller.Start(netlab.Cmd{Path: "gosipua", Args: []string{
		"call", "--json", "--duration", "1500ms", "--source", "ausine,440", "sip:echo@[2001:db8::2]",
	}})
	if a, b := text.Wait(), object.Wait(); a != 0 || b != 0 {
		t.Fatalf("exit codes %d and %d", a, b)
	}
	text.Stdout.WaitFor(`(?m)^calling sip:echo@192\.0\.2\.2$`)
	text.Stdout.WaitFor(`(?m)^answered after \d+\.\d s$`)
	text.Stdout.WaitFor(`(?m)^ended after \d+\.\d s: hung up here$`)
	text.Stdout.WaitFor(`(?m)^audio: PCM[AU] from 192\.0\.2\.1:\d+ to 192\.0\.2\.2:\d+$`)
	text.Stdout.WaitFor(`(?m)^quality: sent \d+ packets, received \d+, lost \d+ \(.*%\), late \d+, jitter \d+\.\d ms, round trip .*, level -[123]\d\.\d dBFS, MOS \d\.\d$`)
	if info, err := os.Stat(recording); err != nil || info.Size() < 8000 {
		t.Errorf("the recording: %v, %v", info, err)
	}
	var q quality
	if err := json.Unmarshal([]byte(object.Stdout.String()), &q); err != nil {
		t.Fatalf("%v:\n%s", err, object.Stdout)
	}
	if !q.Answered || q.EndedBy != "local" || q.Sent < 10 || q.Received < 10 || q.Level == nil || math.Abs(*q.Level+10) > 6 || q.Duration < 1.4 {
		t.Errorf("%+v", q)
	}
	phone.Stderr.WaitFor(`msg="call ended" account=sip:echo@localhost`)
}

func TestCallThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	caller, _ := pair(t)
	p, code := caller.Run(netlab.Cmd{Path: "gosipua", Args: []string{"call", "--json", "sip:nobody@192.0.2.2"}})
	var q quality
	if err := json.Unmarshal([]byte(p.Stdout.String()), &q); err != nil {
		t.Fatalf("%v:\n%s", err, p.Output)
	}
	if code != 1 || q.Answered || q.Code != 404 || q.Error == "" {
		t.Errorf("exit code %d, %+v", code, q)
	}
	p.Stderr.WaitFor(`(?m)^gosipua: sip:nobody@192\.0\.2\.2 did not answer: 404 `)
}

func TestCallEndsBySignal(t *testing.T) {
	t.Parallel()
	caller, phone := pair(t)
	p := caller.Start(netlab.Cmd{Path: "gosipua", Args: []string{"call", "sip:echo@192.0.2.2"}})
	p.Stdout.WaitFor(`(?m)^answered after `)
	p.Signal(syscall.SIGINT)
	if code := p.WaitAtMost(leave); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p.Stdout.WaitFor(`(?m)^ended after .*: hung up here$`)
	phone.Stderr.WaitFor(`msg="call ended" account=sip:echo@localhost`)
}

func TestCallThatThePeerEnds(t *testing.T) {
	t.Parallel()
	caller, phone := pair(t)
	p := caller.Start(netlab.Cmd{Path: "gosipua", Args: []string{"call", "sip:echo@[2001:db8::2]"}})
	p.Stdout.WaitFor(`(?m)^answered after `)
	phone.Signal(syscall.SIGTERM)
	if code := p.WaitAtMost(leave); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p.Stdout.WaitFor(`(?m)^ended after .*: .*peer`)
}

func TestDemo(t *testing.T) {
	t.Parallel()
	host := netlab.New(t).Host("host")
	p, code := host.Run(netlab.Cmd{Path: "gosipua", Args: []string{"demo", "--messages"}})
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, line := range []string{
		`alice -> registrar  REGISTER sip:127\.0\.0\.1:\d+ SIP/2\.0`,
		`registrar -> alice      SIP/2\.0 401 Unauthorized`,
		`\* alice is registered as sip:alice@127\.0\.0\.1:\d+ for 1h0m0s`,
		`registrar -> bob        INVITE sip:bob@127\.0\.0\.1:\d+ SIP/2\.0`,
		`        Via: SIP/2\.0/UDP 127\.0\.0\.1:\d+;branch=z9hG4bK.*`,
		`bob -> registrar  SIP/2\.0 200 OK`,
		`\* alice heard 4[34]\d Hz at -\d+\.\d dBFS \(440 Hz was sent\): \d+ packets received, \d+ lost \(.*%\), jitter .* ms, MOS \d\.\d`,
		`\* bob heard (99|100)\d Hz at -\d+\.\d dBFS .*`,
		`\* all good`,
	} {
		p.Stdout.WaitFor(`(?m)` + line + `$`)
	}
}
