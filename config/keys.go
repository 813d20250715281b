package config

import (
	"net/netip"
	"time"

	"github.com/gosipua/gosipua/internal/yamlpos"
)

// The structs of this file are the configuration file, key by key. Their values are checked one by one here;
// what needs more than one key, or a look at the host, is checked in the other files.

type fileKeys struct {
	NetInterface yamlpos.Many[string] `yaml:"net_interface" want:"an interface name, or a list of names and patterns"`
	NetAF        yamlpos.At[string]   `yaml:"net_af" want:"any, inet or inet6"`
	Net          netKeys              `yaml:"net"`
	SIP          sipKeys              `yaml:"sip"`
	RTP          rtpKeys              `yaml:"rtp"`
	Accounts     []accountKeys        `yaml:"accounts" was:"account"`
	Audio        audioKeys            `yaml:"audio"`
	Control      controlKeys          `yaml:"control"`
	Log          logKeys              `yaml:"log"`
}

type netKeys struct {
	Temporary    yamlpos.At[string]                    `yaml:"temporary"`
	CarrierGrace time.Duration                         `yaml:"carrier_grace" range:"0s..24h"`
	DNS          []string                              `yaml:"dns" was:"dns_server,dns_fallback" later:"names are looked up as the system does; leave it out or write []"`
	Advertise    map[netip.Addr]yamlpos.At[netip.Addr] `yaml:"advertise" was:"external_address,announced_ip"`
	Deprecated   yamlpos.At[string]                    `yaml:"deprecated"`
	Optimistic   yamlpos.At[string]                    `yaml:"optimistic"`
	LinkLocal    yamlpos.At[string]                    `yaml:"link_local" was:"use_linklocal"`
	Loopback     yamlpos.At[string]                    `yaml:"loopback"`
}

type sipKeys struct {
	Listen yamlpos.At[[]yamlpos.At[string]] `yaml:"listen" want:"a list such as [\"udp:5060\", \"tcp:192.0.2.1:5060\"]" each:"text such as \"udp:5060\""`
	TLS    tlsKeys                          `yaml:"tls"`
	DSCP   int                              `yaml:"dscp" range:"0..63" was:"tos"`
}

type tlsKeys struct {
	Cert string `yaml:"cert" was:"certificate" later:"SIP runs over UDP and TCP in this version; leave it out"`
	Key  string `yaml:"key" later:"SIP runs over UDP and TCP in this version; leave it out"`
	CA   string `yaml:"ca" was:"cafile" later:"SIP runs over UDP and TCP in this version; leave it out"`
}

type rtpKeys struct {
	Ports yamlpos.At[string] `yaml:"ports" want:"a range of ports such as 10000-20000"`
	DSCP  int                `yaml:"dscp" range:"0..63" was:"tos"`
}

type accountKeys struct {
	AOR          yamlpos.At[string]        `yaml:"aor,required" was:"uri,address"`
	Register     bool                      `yaml:"register"`
	Registrar    yamlpos.At[string]        `yaml:"registrar"`
	AuthUser     yamlpos.At[string]        `yaml:"auth_user,raw" was:"user,username"`
	AuthPass     yamlpos.At[string]        `yaml:"auth_pass,raw" was:"password,pass,secret"`
	AuthPassFile yamlpos.At[string]        `yaml:"auth_pass_file"`
	Expires      yamlpos.At[time.Duration] `yaml:"expires" range:"1s..8760h" was:"regint"`
	Outbound     []yamlpos.At[string]      `yaml:"outbound" was:"outbound1,outbound2,proxy,outbound_proxy" want:"a list such as [\"sip:proxy.example.com\"]"`
	MaxCalls     int                       `yaml:"max_calls" range:"1..100000" was:"call_max_calls"`
	Answer       yamlpos.At[string]        `yaml:"answer" was:"answermode"`
}

type audioKeys struct {
	Source yamlpos.At[string] `yaml:"source" was:"ausrc"`
	Player yamlpos.At[string] `yaml:"player" was:"auplay"`
}

type controlKeys struct {
	HTTP string `yaml:"http" was:"http_listen" later:"no remote control in this version; leave it out or write \"\""`
}

type logKeys struct {
	Level  yamlpos.At[string] `yaml:"level"`
	Format yamlpos.At[string] `yaml:"format"`
}

// SetDefaults gives every key of an account the value it has when it is not in the file.
func (k *accountKeys) SetDefaults() {
	k.Register = true
	k.Expires.Value = time.Hour
	k.MaxCalls = 4
	k.Answer.Value = "manual"
}

// defaults gives every key the value it has when it is not in the file.
func defaults() fileKeys {
	word := func(s string) yamlpos.At[string] { return yamlpos.At[string]{Value: s} }
	return fileKeys{
		NetAF: word("any"),
		Net: netKeys{
			Temporary: word("kernel"), CarrierGrace: 30 * time.Second, Deprecated: word("keep"), Optimistic: word("wait"),
			LinkLocal: word("auto"), Loopback: word("use"),
		},
		SIP:   sipKeys{Listen: yamlpos.At[[]yamlpos.At[string]]{Value: []yamlpos.At[string]{word("udp:5060"), word("tcp:5060")}}, DSCP: 24},
		RTP:   rtpKeys{Ports: word("10000-20000"), DSCP: 46},
		Audio: audioKeys{Source: word("aunull"), Player: word("aunull")},
		Log:   logKeys{Level: word("info"), Format: word("text")},
	}
}
