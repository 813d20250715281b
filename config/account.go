package config

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/gosipua/gosipua/internal/yamlpos"
	"github.com/gosipua/gosipua/ua"
)

// accounts reads the accounts section.
func (c *checker) accounts() {
	first := map[string]yamlpos.Pos{}
	for i := range c.keys.Accounts {
		k := &c.keys.Accounts[i]
		key := func(name string) string { return fmt.Sprintf("accounts[%d].%s", i, name) }
		account, ok := c.account(k, key)
		if !ok {
			continue
		}
		id := canonicalAOR(account.AOR)
		if before, ok := first[id]; ok {
			c.bad(k.AOR.Pos, key("aor"), "%s is here twice, first in line %d", account.AOR, before.Line)
		} else {
			first[id] = k.AOR.Pos
		}
		c.cfg.Accounts = append(c.cfg.Accounts, account)
	}
}

// account reads one account; ok is false if it has no AOR to tell it from others.
func (c *checker) account(k *accountKeys, key func(string) string) (a ua.Account, ok bool) {
	a = ua.Account{
		Register: k.Register,
		Expires:  k.Expires.Value,
		MaxCalls: k.MaxCalls,
		Answer:   parse(c, key("answer"), k.Answer, parseAnswer),
		AuthUser: k.AuthUser.Value,
		AuthPass: c.password(k, key),
	}
	if a.Expires%time.Second != 0 {
		c.bad(k.Expires.Pos, key("expires"), "expected whole seconds, found %v", a.Expires)
	}
	if k.Registrar.Value != "" {
		a.Registrar = c.server(k.Registrar, key("registrar"))
	}
	for i, proxy := range k.Outbound {
		if proxy.Set {
			a.Outbound = append(a.Outbound, c.server(proxy, fmt.Sprintf("%s[%d]", key("outbound"), i)))
		}
	}
	if !k.AOR.Set {
		return a, false
	}
	display, aor, err := splitName(k.AOR.Value)
	if err == nil {
		err = checkAOR(aor)
	}
	if err == nil {
		err = ua.ParseAOR(aor) // what the Agent would refuse is refused here, with its place
	}
	if err != nil {
		c.bad(k.AOR.Pos, key("aor"), "%v", err)
		return a, false
	}
	a.Display, a.AOR = display, aor
	return a, true
}

// envName is a value that stands for an environment variable. Only a whole value does: a "$" inside a password means nothing.
var envName = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// password reads the password from the file, another file, or the environment. No message ever repeats it.
func (c *checker) password(k *accountKeys, key func(string) string) string {
	if k.AuthPassFile.Value != "" {
		if k.AuthPass.Value != "" {
			c.bad(k.AuthPassFile.Pos, key("auth_pass_file"), "there is auth_pass in line %d as well: expected one of them", k.AuthPass.Pos.Line)
			return ""
		}
		return c.passwordFile(k.AuthPassFile, key("auth_pass_file"))
	}
	if name := envName.FindStringSubmatch(k.AuthPass.Value); name != nil {
		value, ok := os.LookupEnv(name[1])
		if !ok || value == "" {
			c.bad(k.AuthPass.Pos, key("auth_pass"), "the environment variable %s is not set", name[1])
		}
		return value
	}
	if k.AuthPass.Value != "" && open(c.mode) {
		c.warn(k.AuthPass.Pos, key("auth_pass"), "every user of this host can read the password (mode %04o): chmod 600 %s, or use auth_pass_file or ${VARIABLE}",
			c.mode.Perm(), c.file)
	}
	return k.AuthPass.Value
}

// maxPassword bounds a password file, in bytes; a larger one is some other file.
const maxPassword = 4096

// passwordFile reads the first line of a file.
func (c *checker) passwordFile(name yamlpos.At[string], key string) string {
	path := c.resolve(name.Value)
	data, err := read(path, 2*maxPassword)
	if err != nil {
		c.bad(name.Pos, key, "%v", err)
		return ""
	}
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) == 0:
		c.bad(name.Pos, key, "the first line of %s is empty: expected the password", path)
	case len(line) > maxPassword || len(bytes.TrimSpace(rest)) > 0:
		c.bad(name.Pos, key, "%s has more than one line: expected the password alone", path)
	}
	if info, err := os.Stat(path); err == nil && open(info.Mode()) {
		c.warn(name.Pos, key, "every user of this host can read %s (mode %04o): chmod 600", path, info.Mode().Perm())
	}
	return string(line)
}

// open tells whether every user of the host may read a file. Windows has no such bits.
func open(mode os.FileMode) bool { return mode.Perm()&0o004 != 0 && runtime.GOOS != "windows" }

// splitName takes a display name off: "Alice" <sip:alice@example.com> (RFC 3261 section 25.1, name-addr).
func splitName(s string) (display, uri string, err error) {
	before, rest, ok := strings.Cut(s, "<")
	if !ok {
		return "", s, nil
	}
	uri, after, closed := strings.Cut(rest, ">")
	if !closed || after != "" {
		return "", "", fmt.Errorf(`expected sip:USER@DOMAIN or "NAME" <sip:USER@DOMAIN>, found %q`, s)
	}
	return strings.Trim(strings.TrimSpace(before), `"`), uri, nil
}

// parseAnswer leaves out what the key says already.
func parseAnswer(s string) (ua.AnswerPolicy, error) {
	p, err := ua.ParseAnswer(s)
	if err != nil {
		return p, fmt.Errorf("%q is not manual, auto, busy or echo", s)
	}
	return p, nil
}
