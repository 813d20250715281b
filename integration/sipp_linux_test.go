package integration

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"text/template"

	"github.com/gosipua/gosipua/internal/netlab"
)

// sippConfig says what a sipp does. The templates are in testdata/sipp.
type sippConfig struct {
	Scenario string // "register", "caller", "callee"
	Listen   netip.Addr
	Proto    string         // "udp" or "tcp"
	Proxy    netip.AddrPort // where requests go
	ToneHz   float64        // what it plays

	User, Password string
	Callee         string // whom the caller calls
	HangUp         int    // ms after which it hangs up; 0: it waits for the BYE
}

// Contact returns the address it is reached at.
func (c sippConfig) Contact() string {
	contact := "[local_ip]:[local_port]" // keywords of sipp: the address itself would be taken for one
	if c.Proto == "tcp" {
		contact += ";transport=tcp"
	}
	return contact
}

// startSIPp starts one call, or one registration, of a sipp. It ends by itself,
// with exit code 0 if everything went as in the scenario.
func startSIPp(t *testing.T, at *station, c sippConfig) *netlab.Process {
	t.Helper()
	need(t, "sipp")
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, c.Scenario+".xml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := template.Must(template.ParseFiles("testdata/sipp/"+c.Scenario+".xml")).Execute(f, c); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// A whole second of it is repeated without a gap if a second holds whole periods.
	tone := encodeMuLaw(sine(c.ToneHz, toneLevel, 1))
	if err := os.WriteFile(filepath.Join(dir, "tone.pcmu"), tone, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-sf", f.Name(), "-i", c.Listen.String(), "-mi", c.Listen.String(), "-p", "5060", "-m", "1", "-nostdin",
		"-timeout", strconv.Itoa(int(netlab.Patience.Seconds())), "-timeout_error", "-trace_err", "-error_file", "/dev/stderr",
	}
	if c.Proto == "tcp" {
		args = append(args, "-t", "t1")
	}
	if c.Proxy.IsValid() {
		args = append(args, c.Proxy.String())
	}
	return at.Start(netlab.Cmd{Path: "sipp", Args: args, Dir: dir, Env: []string{"TERM=dumb"}})
}

// wantSuccess waits for a sipp to end and fails the test unless it went well.
func wantSuccess(t *testing.T, p *netlab.Process) {
	t.Helper()
	if code := p.Wait(); code != 0 {
		t.Errorf("sipp ended with %d", code)
	}
}
