package config

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/yamlpos"
	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua"
)

// folder makes a folder with the files that values name.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"pass": "s3cret\n", "empty": "\n", "two": "a\nb\n", "hello.wav": "RIFF", "open": "s3cret"} {
		mode := os.FileMode(0o600)
		if name == "open" {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// write makes a configuration file in dir that nobody else can read.
func write(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := Load(write(t, t.TempDir(), text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestLoadReadsEveryKey(t *testing.T) {
	t.Setenv("GOSIPUA_TEST_PASS", "from the environment")
	path := write(t, folder(t), `
net_interface: [eth0, "wl*", "!virbr*"]
net_af: inet6
net: {temporary: avoid, carrier_grace: 5s, advertise: {10.0.0.5: 203.0.113.5}, deprecated: use, optimistic: use, link_local: use, loopback: refuse}
sip: {listen: ["udp:5070", "tcp:[2001:db8::1]:5080"], dscp: 26}
rtp: {ports: 30000-30099, dscp: 0}
accounts:
  - {aor: '"Alice A." <sip:alice@example.com>', registrar: "registrar.example.com:5070", auth_user: 1234, auth_pass: 0042, expires: 600s,
     outbound: ["sip:proxy.example.com;transport=tcp"], max_calls: 9, answer: auto}
  - {aor: sip:bob@Example.com, register: false, auth_pass_file: pass, answer: busy}
  - {aor: sip:carol@example.com, auth_pass: "${GOSIPUA_TEST_PASS}"}
audio: {source: "aufile,hello.wav", player: "aufile,out.wav"}
log: {level: debug, format: json}
`)
	cfg, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	patterns, _ := ifwatch.ParsePatterns([]string{"eth0", "wl*", "!virbr*"})
	want := &Config{
		Policy: ifwatch.Policy{
			Interfaces: patterns, Family: ifwatch.Inet6, Temporary: ifwatch.TemporaryAvoid, CarrierGrace: 5 * time.Second,
			Deprecated: ifwatch.DeprecatedUse, Optimistic: ifwatch.OptimisticUse, LinkLocal: ifwatch.LinkLocalUse, Loopback: ifwatch.LoopbackRefuse,
		},
		Listen:    []transport.Listen{{Proto: transport.UDP, Port: 5070}, {Proto: transport.TCP, Addr: netip.MustParseAddr("2001:db8::1"), Port: 5080}},
		SIPDSCP:   26,
		Advertise: map[netip.Addr]netip.Addr{netip.MustParseAddr("10.0.0.5"): netip.MustParseAddr("203.0.113.5")},
		RTPMin:    30000, RTPMax: 30099,
		Accounts: []ua.Account{
			{
				AOR: "sip:alice@example.com", Display: "Alice A.", Register: true, Registrar: "sip:registrar.example.com:5070", AuthUser: "1234",
				AuthPass: "0042", Expires: 10 * time.Minute, Outbound: []string{"sip:proxy.example.com;transport=tcp"}, MaxCalls: 9, Answer: ua.AnswerAuto,
			},
			{AOR: "sip:bob@Example.com", AuthPass: "s3cret", Expires: time.Hour, MaxCalls: 4, Answer: ua.AnswerBusy},
			{AOR: "sip:carol@example.com", Register: true, AuthPass: "from the environment", Expires: time.Hour, MaxCalls: 4, Answer: ua.AnswerManual},
		},
		Source: "aufile," + filepath.Join(filepath.Dir(path), "hello.wav"), Player: "aufile," + filepath.Join(filepath.Dir(path), "out.wav"),
		LogLevel: slog.LevelDebug, LogJSON: true,
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
}

func TestLoadDefaults(t *testing.T) {
	want := &Config{
		Policy:  ifwatch.Policy{CarrierGrace: 30 * time.Second},
		Listen:  []transport.Listen{{Proto: transport.UDP, Port: 5060}, {Proto: transport.TCP, Port: 5060}},
		SIPDSCP: 24, RTPMin: 10000, RTPMax: 20000, RTPDSCP: 46, Source: "aunull", Player: "aunull", LogLevel: slog.LevelInfo,
	}
	for name, got := range map[string]*Config{"Default": Default(), "empty file": load(t, ""), "empty sections": load(t, "net:\nsip:\naccounts:\n")} {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got  %+v\nwant %+v", name, got, want)
		}
	}
}

func TestLoadCarrierGraceOfZeroIsNone(t *testing.T) {
	if got := load(t, "net: {carrier_grace: 0s}").Policy.CarrierGrace; got >= 0 {
		t.Errorf("CarrierGrace is %v, which means the default", got)
	}
}

// Every row is one mistake. %s is the configuration's folder.
var mistakes = []struct{ situation, doc, want string }{
	{"family by another name", "net_af: ipv4", `1:9: net_af: "ipv4" is not any, inet or inet6; did you mean inet?`},
	{"family as number", "net_af: 6", `1:9: net_af: expected any, inet or inet6, found the number 6`},
	{"policy word", "net: {temporary: never}", `1:18: net.temporary: "never" is not kernel, prefer or avoid`},
	{"deprecated word", "net: {deprecated: no}", `1:19: net.deprecated: "no" is not keep, use or refuse`},
	{"optimistic word", "net: {optimistic: no}", `1:19: net.optimistic: "no" is not wait or use`},
	{"link-local word", "net: {link_local: no}", `1:19: net.link_local: "no" is not auto, use or refuse`},
	{"loopback word", "net: {loopback: no}", `1:17: net.loopback: "no" is not use or refuse`},
	{"carrier grace without unit", "net: {carrier_grace: 30}", `1:22: net.carrier_grace: expected a duration with its unit, such as 30s or 5m, found the number 30`},
	{"negative carrier grace", "net: {carrier_grace: -1s}", `1:22: net.carrier_grace: expected 0s to 24h0m0s, found -1s`},
	{"interface by address", "net_interface: 192.0.2.1", `1:16: net_interface: "192.0.2.1" is an address; to listen on one address only, name it in sip.listen: udp:ADDRESS:5060`},
	{"interfaces with comma", "net_interface: eth0,eth1", `1:16: net_interface: "eth0,eth1" has a comma or blank in it; several names are a list: [eth0, "wl*"]`},
	{"empty interface in a list", `net_interface: [eth0, ""]`, `1:23: net_interface: expected an interface name or a pattern, found "" (for every interface leave the key out)`},
	{"bad pattern", `net_interface: ["wl[*"]`, `1:17: net_interface: interface pattern "wl[*": bad glob`},
	{"interface without value", `net_interface:`, `1:15: net_interface: expected an interface name, or a list of names and patterns, found nothing`},
	{"advertise to the other family", "net: {advertise: {192.0.2.1: 2001:db8::1}}", `1:30: net.advertise: 192.0.2.1 and 2001:db8::1 are not of one family`},
	{"advertise nothing", "net: {advertise: {192.0.2.1: 0.0.0.0}}", `1:30: net.advertise: 0.0.0.0 cannot be advertised: expected an address that others reach`},
	{"advertise for every address", "net: {advertise: {0.0.0.0: 192.0.2.1}}", `1:28: net.advertise: 0.0.0.0 is not an address that a host can have`},
	{"advertise a name", "net: {advertise: {192.0.2.1: example.com}}", `1:30: net.advertise.192.0.2.1: expected an IP address, found "example.com"`},
	{"DNS servers", "net: {dns: [192.0.2.53]}", `1:12: net.dns: not yet supported: names are looked up as the system does; leave it out or write []`},
	{"TLS certificate", "sip: {tls: {cert: a.pem}}", `1:19: sip.tls.cert: not yet supported: SIP runs over UDP and TCP in this version; leave it out`},
	{"control", "control: {http: 127.0.0.1:8666}", `1:17: control.http: not yet supported: no remote control in this version; leave it out or write ""`},
	{"listen on TLS", `sip: {listen: ["tls:5061"]}`, `1:16: sip.listen: tls is not yet supported: expected udp or tcp`},
	{"listen on WebSocket", `sip: {listen: ["ws:8080/sip"]}`, `1:16: sip.listen: ws is not yet supported: expected udp or tcp`},
	{"listen without transport", `sip: {listen: ["0.0.0.0:5060"]}`, `1:16: sip.listen: "0.0.0.0:5060": want TRANSPORT:PORT or TRANSPORT:ADDRESS:PORT with a transport of udp, tcp, tls, ws, wss`},
	{"listen by a bare port", `sip: {listen: [5060]}`, `1:16: sip.listen[0]: expected text such as "udp:5060", found the number 5060`},
	{"listen as text", `sip: {listen: "udp:5060"}`, `1:15: sip.listen: expected a list such as ["udp:5060", "tcp:192.0.2.1:5060"], found "udp:5060"`},
	{"listen on nothing", "sip: {listen: []}", `1:15: sip.listen: the list is empty; leave the key out for ["udp:5060", "tcp:5060"]`},
	{"listen twice", `sip: {listen: ["udp:5060", "tcp:5060", "udp:5060"]}`, `1:40: sip.listen: udp:5060 is here twice, first at line 1`},
	{"listen on a port too high", `sip: {listen: ["udp:65536"]}`, `1:16: sip.listen: "udp:65536": "65536" is not a port (0 to 65535)`},
	{"listen against net_af", "net_af: inet\nsip: {listen: ['udp:[2001:db8::1]:5060']}", `2:16: sip.listen: 2001:db8::1 can never be listened on: net_af is inet`},
	{"listen against net.loopback", "net: {loopback: refuse}\nsip: {listen: ['udp:127.0.0.1:5060']}", `2:16: sip.listen: 127.0.0.1 can never be listened on: net.loopback is refuse`},
	{"listen against net.link_local", "net: {link_local: refuse}\nsip: {listen: ['udp:[fe80::1%eth0]:5060']}", `2:16: sip.listen: fe80::1%eth0 can never be listened on: net.link_local is refuse`},
	{"DSCP as TOS", "sip: {dscp: 184}", `1:13: sip.dscp: expected 0 to 63, found 184`},
	{"ports as number", "rtp: {ports: 10000}", `1:14: rtp.ports: expected a range of ports such as 10000-20000, found the number 10000`},
	{"ports backwards", "rtp: {ports: 20000-10000}", `1:14: rtp.ports: 20000-10000 goes downwards; expected 10000-20000`},
	{"ports beyond", "rtp: {ports: 60000-70000}", `1:14: rtp.ports: expected LOW-HIGH with ports from 1 to 65535, such as 10000-20000, found "60000-70000"`},
	{"a single port", "rtp: {ports: 10000-10000}", `1:14: rtp.ports: 10000-10000 has no even port followed by an odd one: a call needs both`},
	{"two ports that make no pair", "rtp: {ports: 10001-10002}", `1:14: rtp.ports: 10001-10002 has no even port followed by an odd one: a call needs both`},
	{"ports over SIP's", "rtp: {ports: 5000-6000}", `1:14: rtp.ports: 5000-6000 contains port 5060 of sip.listen's udp:5060`},
	{"account without AOR", "accounts: [{register: false}]", `1:12: accounts[0]: the key "aor" is missing`},
	{"account as text", "accounts: [sip:alice@example.com]", `1:12: accounts[0]: expected keys and values, found "sip:alice@example.com"`},
	{"accounts as map", "accounts: {aor: sip:alice@example.com}", `1:11: accounts: expected a list, found keys and values`},
	{"AOR without scheme", "accounts: [{aor: alice@example.com}]", `1:18: accounts[0].aor: expected a SIP URI such as sip:alice@example.com, found "alice@example.com"`},
	{"AOR without user", "accounts: [{aor: sip:example.com}]", `1:18: accounts[0].aor: expected sip:USER@DOMAIN, found "sip:example.com"`},
	{"AOR with sips", "accounts: [{aor: sips:alice@example.com}]", `1:18: accounts[0].aor: the scheme sips is not yet supported, it needs TLS: expected sip`},
	{"AOR with password", "accounts: [{aor: sip:alice:hunter2@example.com}]", `1:18: accounts[0].aor: sip:alice:...@ has a password in it: write it into auth_pass`},
	{"AOR with parameter", `accounts: [{aor: "sip:alice@example.com;transport=tcp"}]`, `1:18: accounts[0].aor: ";transport=tcp" does not belong to the AOR; a transport is set by registrar: "sip:example.com;transport=tcp"`},
	{"AOR with a blank", `accounts: [{aor: "sip:al ice@example.com"}]`, `1:18: accounts[0].aor: "al ice" cannot be the user of a SIP URI; write other characters as %XX`},
	{"AOR with a bad host", `accounts: [{aor: "sip:alice@exa mple"}]`, `1:18: accounts[0].aor: "exa mple" is not a domain name or IP address`},
	{"AOR with a bare IPv6 address", `accounts: [{aor: "sip:alice@2001:db8::1"}]`, `1:18: accounts[0].aor: an IPv6 address needs brackets: [2001:db8::1]`},
	{"AOR with a zone", `accounts: [{aor: "sip:alice@[fe80::1%eth0]"}]`, `1:18: accounts[0].aor: "[fe80::1%eth0]" is not an IPv6 address in brackets`},
	{"AOR with a bad port", `accounts: [{aor: "sip:alice@example.com:0"}]`, `1:18: accounts[0].aor: "0" is not a port: expected 1 to 65535`},
	{"AOR with an open bracket", `accounts: [{aor: "Alice <sip:alice@example.com"}]`, `1:18: accounts[0].aor: expected sip:USER@DOMAIN or "NAME" <sip:USER@DOMAIN>, found "Alice <sip:alice@example.com"`},
	{"two accounts with one AOR", "accounts:\n- {aor: sip:a@example.com}\n- {aor: sip:a@EXAMPLE.com}", `3:9: accounts[1].aor: sip:a@EXAMPLE.com is here twice, first in line 2`},
	{"registrar with user", "accounts: [{aor: sip:a@b, registrar: 'sip:a@b'}]", `1:38: accounts[0].registrar: "sip:a@b" names a user: expected a server such as sip:example.com`},
	{"registrar over TLS", "accounts: [{aor: sip:a@b, registrar: 'sip:b;transport=tls'}]", `1:38: accounts[0].registrar: the transport tls is not yet supported: expected udp or tcp`},
	{"registrar over something else", "accounts: [{aor: sip:a@b, registrar: 'sip:b;transport=sctp'}]", `1:38: accounts[0].registrar: unknown transport "sctp": expected udp or tcp`},
	{"proxy with an unknown parameter", "accounts: [{aor: sip:a@b, outbound: ['sip:b;maddr=c']}]", `1:38: accounts[0].outbound[0]: unknown URI parameter "maddr": expected ;transport=udp or ;transport=tcp`},
	{"proxy as text", "accounts: [{aor: sip:a@b, outbound: 'sip:b'}]", `1:37: accounts[0].outbound: expected a list such as ["sip:proxy.example.com"], found "sip:b"`},
	{"answer word", "accounts: [{aor: sip:a@b, answer: yes}]", `1:35: accounts[0].answer: "yes" is not manual, auto, busy or echo`},
	{"too few calls", "accounts: [{aor: sip:a@b, max_calls: 0}]", `1:38: accounts[0].max_calls: expected 1 to 100000, found 0`},
	{"expires by number", "accounts: [{aor: sip:a@b, expires: 3600}]", `1:36: accounts[0].expires: expected a duration with its unit, such as 30s or 5m, found the number 3600`},
	{"expires in fractions", "accounts: [{aor: sip:a@b, expires: 1500ms}]", `1:36: accounts[0].expires: expected whole seconds, found 1.5s`},
	{"register by word", "accounts: [{aor: sip:a@b, register: no}]", `1:37: accounts[0].register: expected true or false, found "no"`},
	{"two passwords", "accounts: [{aor: sip:a@b, auth_pass: x, auth_pass_file: pass}]", `1:57: accounts[0].auth_pass_file: there is auth_pass in line 1 as well: expected one of them`},
	{"missing password file", "accounts: [{aor: sip:a@b, auth_pass_file: nope}]", `1:43: accounts[0].auth_pass_file: open %s/nope: no such file or directory`},
	{"empty password file", "accounts: [{aor: sip:a@b, auth_pass_file: empty}]", `1:43: accounts[0].auth_pass_file: the first line of %s/empty is empty: expected the password`},
	{"password file with more", "accounts: [{aor: sip:a@b, auth_pass_file: two}]", `1:43: accounts[0].auth_pass_file: %s/two has more than one line: expected the password alone`},
	{"environment variable not set", "accounts: [{aor: sip:a@b, auth_pass: '${GOSIPUA_TEST_UNSET}'}]", `1:38: accounts[0].auth_pass: the environment variable GOSIPUA_TEST_UNSET is not set`},
	{"baresip's key for expires", "accounts: [{aor: sip:a@b, regint: 3600}]", `1:27: accounts[0]: unknown key "regint"; did you mean "expires"?`},
	{"baresip's key for listen", "sip_listen: 0.0.0.0:5060", `1:1: unknown key "sip_listen"; did you mean "sip.listen"?`},
	{"source of no driver", "audio: {source: hello.wav}", `1:17: audio.source: unknown driver "hello.wav": expected one of aufile, ausine, aunull, echo`},
	{"source of baresip", "audio: {source: 'alsa,default'}", `1:17: audio.source: the driver alsa is not yet supported: expected one of aufile, ausine, aunull, echo`},
	{"source file missing", "audio: {source: 'aufile,nope.wav'}", `1:17: audio.source: aufile: stat %s/nope.wav: no such file or directory`},
	{"source is a folder", "audio: {source: 'aufile,.'}", `1:17: audio.source: aufile: %s is a folder: expected a WAV file`},
	{"source without file", "audio: {source: aufile}", `1:17: audio.source: aufile: expected a file: aufile,hello.wav`},
	{"tone too high", "audio: {source: 'ausine,21000'}", `1:17: audio.source: ausine: expected a frequency of up to 20000 Hz, such as ausine,440, found "21000"`},
	{"tone without frequency", "audio: {source: ausine}", `1:17: audio.source: ausine: expected a frequency of up to 20000 Hz, such as ausine,440, found ""`},
	{"tone too loud", "audio: {source: 'ausine,440,3'}", `1:17: audio.source: ausine: expected a level of -96 to 0 dBFS, such as ausine,440,-10, found "3"`},
	{"player into no folder", "audio: {player: 'aufile,no/call.wav'}", `1:17: audio.player: aufile: stat %s/no: no such file or directory`},
	{"player that only plays", "audio: {player: 'ausine,440'}", `1:17: audio.player: unknown driver "ausine": expected one of aufile, aunull`},
	{"log level", "log: {level: trace}", `1:14: log.level: "trace" is not one of debug, info, warn, error`},
	{"log format", "log: {format: xml}", `1:15: log.format: "xml" is not one of text, json`},
}

func TestLoadSaysWhatIsWrongAndWhere(t *testing.T) {
	dir := folder(t)
	for _, m := range mistakes {
		t.Run(m.situation, func(t *testing.T) {
			path := write(t, dir, m.doc)
			_, err := Load(path)
			if err == nil {
				t.Fatalf("%q is accepted", m.doc)
			}
			if got, want := err.Error(), path+":"+strings.ReplaceAll(m.want, "%s", dir); got != want {
				t.Errorf("%q\n got %s\nwant %s", m.doc, got, want)
			}
		})
	}
}

func TestLoadReportsEverythingAtOnce(t *testing.T) {
	var doc strings.Builder
	doc.WriteString("# every section has a mistake of its own\n")
	doc.WriteString("net_af: ipv5\nsip: {listen: [\"udp:99999\"], dscp: 99}\nrtp: {ports: 2-1}\n")
	doc.WriteString("accounts:\n- {aor: nobody}\n- {answer: never}\naudio: {source: x, player: y}\nlog: {lewel: info}\nextra: 1\n")
	_, err := Load(write(t, t.TempDir(), doc.String()))
	var lines []int
	for _, p := range Problems(err) {
		lines = append(lines, p.Pos.Line)
	}
	if want := []int{2, 3, 3, 4, 6, 7, 7, 8, 8, 9, 10}; !slices.Equal(lines, want) {
		t.Errorf("problems in lines %v, want %v:\n%v", lines, want, err)
	}
}

func TestLoadReadsNoMoreThanItShould(t *testing.T) {
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip(err)
	}
	if _, err := Load("/dev/zero"); err == nil || !strings.Contains(err.Error(), "more than 1048576") {
		t.Errorf("an endless file: %.200v", err)
	}
	_, err := Load(write(t, t.TempDir(), "accounts: [{aor: sip:a@b, auth_pass_file: /dev/zero}]"))
	if err == nil || !strings.Contains(err.Error(), "more than one line") {
		t.Errorf("an endless password: %.200v", err)
	}
}

func TestLoadNeverRepeatsAPassword(t *testing.T) {
	dir := folder(t)
	for _, doc := range []string{
		"accounts: [{aor: sip:a@b, auth_pass: hunter2, auth_pass_file: pass}]",
		"accounts: [{auth_pass: hunter2, extra: 1}]",
		"accounts: [{aor: sip:a@b, auth_pass: [hunter2]}]",
		"accounts: [{aor: sip:a@b, auth_pass: {hunter2: x}}]",
		"accounts: [{aor: sip:a@b, auth_pass: 'hunter2'x}]",
		"accounts: [{aor: 'sip:a:hunter2@b'}]",
		"accounts:\n- aor: sip:a@b\n  auth_pass: @hunter2\n",
		"accounts:\n- aor: sip:a@b\n  auth_pass: !hunter2\n",
		"accounts:\n- aor: sip:a@b\n  auth_pass: *hunter2\n",
	} {
		_, err := Load(write(t, dir, doc))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func TestLoadWarnsOfOpenPasswords(t *testing.T) {
	path := write(t, folder(t), "accounts:\n- {aor: sip:a@b, auth_pass_file: open}\n- {aor: sip:c@d, auth_pass: x}\n- {aor: sip:e@f}\n")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) != 2 || cfg.Warnings[0].Pos.Line != 2 || cfg.Warnings[1].Pos.Line != 3 || !strings.Contains(cfg.Warnings[1].Text, "mode 0644") {
		t.Errorf("warnings: %v", cfg.Warnings)
	}
}

func TestLoadOfWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Load(filepath.Join(dir, "nope.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestExampleIsAnEchoPhone(t *testing.T) {
	cfg, err := Load("../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Accounts = []ua.Account{{AOR: "sip:echo@localhost", Answer: ua.AnswerEcho, MaxCalls: 4, Expires: time.Hour}}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("beside its account the example differs from the defaults:\n got %+v\nwant %+v", cfg, want)
	}
}

func TestExampleHasEveryKey(t *testing.T) {
	data, err := os.ReadFile("../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	if got, want := paths(root.Content[0], ""), yamlpos.Keys(fileKeys{}); !slices.Equal(got, want) {
		t.Errorf("the example has the keys\n%q\nknown are\n%q", got, want)
	}
}

// paths lists the keys of a YAML tree as yamlpos.Keys does; of a list the first item counts.
func paths(n *yaml.Node, path string) []string {
	var out []string
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			full := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			out = append(append(out, full), paths(n.Content[i+1], full)...)
		}
	case yaml.SequenceNode:
		if len(n.Content) > 0 {
			out = paths(n.Content[0], path+"[]")
		}
	default:
	}
	return out
}

func TestReadmeHasEveryKey(t *testing.T) {
	data, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\|").FindAllStringSubmatch(string(data), -1) {
		got = append(got, row[1])
	}
	var want []string
	known := yamlpos.Keys(fileKeys{})
	for i, key := range known {
		if i+1 == len(known) || !strings.HasPrefix(known[i+1], key+".") && !strings.HasPrefix(known[i+1], key+"[]") {
			want = append(want, key)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the README's table has the keys\n%q\nknown are\n%q", got, want)
	}
}

func FuzzLoad(f *testing.F) {
	for _, m := range mistakes {
		f.Add([]byte(m.doc))
	}
	example, err := os.ReadFile("../config.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("file")) {
			t.Skip("no file of this host is opened by chance")
		}
		c := checker{file: "c.yaml"}
		cfg, err := c.load(data)
		if (cfg == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", data, cfg, err)
		}
		if cfg == nil {
			return
		}
		if len(cfg.Listen) == 0 || cfg.RTPMin == 0 || cfg.RTPMin >= cfg.RTPMax {
			t.Fatalf("%q gives %+v", data, cfg)
		}
		for _, a := range cfg.Accounts {
			if checkAOR(a.AOR) != nil || a.MaxCalls < 1 || a.Expires < time.Second {
				t.Fatalf("%q gives %+v", data, a)
			}
		}
	})
}
