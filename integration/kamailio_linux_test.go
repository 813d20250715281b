package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"text/template"

	"github.com/gosipua/gosipua/internal/netlab"
)

// registrar is a kamailio: registrar and proxy of the domain lab.test, on port
// 5060 of both addresses of its host, over UDP and TCP. It checks REGISTER and
// INVITE by digest.
type registrar struct {
	*netlab.Process
	at  *station
	cfg string
	dir string
}

// registrarConfig is what testdata/kamailio.cfg takes.
type registrarConfig struct {
	Users       map[string]string // passwords
	SHA256      bool              // instead of MD5
	NonceExpire int               // seconds; 0: 300
}

// startRegistrar starts a registrar and waits until it listens.
func startRegistrar(t *testing.T, at *station, c registrarConfig) *registrar {
	t.Helper()
	need(t, "kamailio")
	if c.NonceExpire == 0 {
		c.NonceExpire = 300
	}
	r := &registrar{at: at, dir: t.TempDir()}
	r.cfg = filepath.Join(r.dir, "kamailio.cfg")
	f, err := os.Create(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := template.Must(template.ParseFiles("testdata/kamailio.cfg")).Execute(f, c); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	return r
}

// start runs kamailio; for a test that has killed it, once more.
func (r *registrar) start(t *testing.T) {
	t.Helper()
	pid := filepath.Join(r.dir, "pid") // one that was killed has left it behind
	if err := os.RemoveAll(pid); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-f", r.cfg, "-L", kamailioModules(t), "-m", "64", "-M", "8", "-DD", "-E", "-n", "2",
		"-w", r.dir, "-Y", r.dir, "-P", pid,
	}
	for _, proto := range []string{"udp", "tcp"} {
		for _, family := range []string{"inet", "inet6"} {
			args = append(args, "-l", proto+":"+hostport(r.at.addr(family), 5060))
		}
	}
	// Contained: its workers are in sessions of their own.
	r.Process = r.at.Start(netlab.Cmd{Path: "kamailio", Args: args, Contain: true})
	netlab.Await(t, "kamailio listening", func() error {
		if n := len(r.at.Listeners()); n < 4 && r.Running() {
			return fmt.Errorf("%d sockets:\n%s", n, r.Output)
		}
		return nil
	})
}

// kamailioModules returns where Debian keeps kamailio's modules.
func kamailioModules(t *testing.T) string {
	t.Helper()
	dirs, err := filepath.Glob("/usr/lib/*/kamailio/modules")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("kamailio's modules: %v %v", dirs, err)
	}
	return dirs[0]
}

// saved waits until user has registered, or changed a registration, since the
// last call, and returns the Contact header it did so with.
func (r *registrar) saved(user string) (contact string) {
	r.site().t.Helper()
	return r.Next(`saved ` + regexp.QuoteMeta(user) + ` contact (.*?) expires`)[1]
}

func (r *registrar) site() *site { return r.at.site }
