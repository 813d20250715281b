package yamlpos

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// plan has one field of every sort.
type plan struct {
	Name   string                        `yaml:"name"`
	PIN    At[string]                    `yaml:"pin,raw"`
	On     bool                          `yaml:"on"`
	Count  int                           `yaml:"count" range:"0..63" was:"anzahl"`
	Small  uint8                         `yaml:"small"`
	Ratio  float64                       `yaml:"ratio"`
	Wait   time.Duration                 `yaml:"wait" range:"1s..1h"`
	Addr   netip.Addr                    `yaml:"addr"`
	Word   word                          `yaml:"word"`
	Color  word                          `yaml:"color" want:"red or green"`
	Names  Many[string]                  `yaml:"names" want:"a name or a list of names"`
	NAT    map[netip.Addr]At[netip.Addr] `yaml:"nat"`
	Labels map[string]string             `yaml:"labels"`
	Sub    struct {
		Listen []At[string] `yaml:"listen" want:"a list of listeners" each:"a listener"`
	} `yaml:"sub"`
	Steps  []step   `yaml:"steps"`
	Maybe  *step    `yaml:"maybe"`
	Future []string `yaml:"future" later:"it comes with version 2"`
	hidden int
}

type step struct {
	Do    string `yaml:"do,required"`
	Times int    `yaml:"times"`
	Then  []step `yaml:"then"`
}

type paced struct {
	Every time.Duration `yaml:"every"`
	Tag   string        `yaml:"tag"`
}

func (p *paced) SetDefaults() { p.Every = time.Minute }

func TestDecodeGivesNewValuesTheirDefaults(t *testing.T) {
	var got struct {
		List []paced          `yaml:"list"`
		At   []At[paced]      `yaml:"at"`
		Map  map[string]paced `yaml:"map"`
		Ptr  *paced           `yaml:"ptr"`
	}
	const doc = "list: [{tag: a}, {every: 1s}]\nat: [{tag: a}]\nmap: {x: {tag: a}}\nptr: {tag: a}\n"
	if errs := Decode("p.yaml", []byte(doc), &got); errs != nil {
		t.Fatal(errs)
	}
	want := paced{time.Minute, "a"}
	if got.List[0] != want || got.List[1].Every != time.Second || got.At[0].Value != want || got.Map["x"] != want || *got.Ptr != want {
		t.Errorf("got %+v", got)
	}
}

type word string

func (w *word) UnmarshalText(b []byte) error {
	if s := string(b); s != "red" && s != "green" {
		return errors.New("expected red or green, found " + s)
	}
	*w = word(b)
	return nil
}

func TestDecodeFillsEveryType(t *testing.T) {
	const doc = `
name: "x"
pin: 0042
on: true
count: 63
small: 255
ratio: 1
wait: 1m30s
addr: 2001:db8::1
word: red
color: green
names: eth0
nat: {192.0.2.1: 198.51.100.1}
labels: {1: "one", true: "yes"}
sub:
  listen: [udp:5060, "tcp:5061"]
steps:
  - do: dial
    times: 2
    then: [{do: wait}]
maybe: {do: hangup}
`
	got := plan{Count: 7, hidden: 1}
	if errs := Decode("p.yaml", []byte(doc), &got); errs != nil {
		t.Fatalf("problems:\n%v", errs)
	}
	want := plan{
		Name: "x", PIN: At[string]{"0042", Pos{"p.yaml", 3, 6}, true}, On: true, Count: 63, Small: 255, Ratio: 1, Wait: 90 * time.Second,
		Addr: netip.MustParseAddr("2001:db8::1"), Word: "red", Color: "green",
		Names:  Many[string]{{"eth0", Pos{"p.yaml", 12, 8}, true}},
		NAT:    map[netip.Addr]At[netip.Addr]{netip.MustParseAddr("192.0.2.1"): {netip.MustParseAddr("198.51.100.1"), Pos{"p.yaml", 13, 18}, true}},
		Labels: map[string]string{"1": "one", "true": "yes"},
		Steps:  []step{{Do: "dial", Times: 2, Then: []step{{Do: "wait"}}}},
		Maybe:  &step{Do: "hangup"}, hidden: 1,
	}
	want.Sub.Listen = []At[string]{{"udp:5060", Pos{"p.yaml", 16, 12}, true}, {"tcp:5061", Pos{"p.yaml", 16, 22}, true}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDecodeKeepsDefaults(t *testing.T) {
	for _, doc := range []string{"", "\n# only a comment\n", "{}", "null", "---\n", "sub:\nsteps:\nnat:\nlabels:\n", "count: 64"} {
		got := plan{Name: "default", Count: 5}
		got.Sub.Listen = []At[string]{{Value: "udp:5060"}}
		errs := Decode("p.yaml", []byte(doc), &got)
		if wantErr := strings.Contains(doc, "64"); (errs != nil) != wantErr {
			t.Errorf("%q: problems %v", doc, errs)
		}
		if got.Name != "default" || got.Count != 5 || len(got.Sub.Listen) != 1 {
			t.Errorf("%q changed a default: %+v", doc, got)
		}
	}
}

// Every row is one mistake; the text is what a person reads.
var mistakes = []struct{ situation, doc, want string }{
	{"unknown key with a typo", "nam: x", `1:1: unknown key "nam"; did you mean "name"?`},
	{"unknown key of another place", "listen: x", `1:1: unknown key "listen"; did you mean "sub.listen"?`},
	{"unknown key joined by _", "sub_listen: x", `1:1: unknown key "sub_listen"; did you mean "sub.listen"?`},
	{"unknown key with - and capitals", "NAME: x", `1:1: unknown key "NAME"; did you mean "name"?`},
	{"unknown key that another program has", "anzahl: 3", `1:1: unknown key "anzahl"; did you mean "count"?`},
	{"unknown key like nothing", "sub: {zzzzzz: 1}", `1:7: sub: unknown key "zzzzzz"; known here: listen`},
	{"unknown key in a list", "steps:\n- do: a\n- do: b\n  tims: 2", `4:3: steps[1]: unknown key "tims"; did you mean "times"?`},
	{"duplicate key", "name: x\ncount: 1\nname: y", `3:1: the key "name" is here twice, first in line 1`},
	{"duplicate key in a map, written differently", "nat: {2001:db8::1: 192.0.2.1, 2001:DB8::1: 192.0.2.2}", `1:31: nat: "2001:DB8::1" is here twice, written differently`},
	{"missing key", "steps:\n- times: 1", `2:3: steps[0]: the key "do" is missing`},
	{"not yet supported", "future: [a]", `1:9: future: not yet supported: it comes with version 2`},
	{"a list for text", "name: [a]", `1:7: name: expected text, found a list`},
	{"a number for text", "name: 5", `1:7: name: expected text, found the number 5`},
	{"a boolean for text", "name: true", `1:7: name: expected text, found true`},
	{"nothing for text", "name:", `1:6: name: expected text, found nothing`},
	{"a map for raw text", "pin: {a: b}", `1:6: pin: expected text, found keys and values`},
	{"yes for a boolean", "on: yes", `1:5: on: expected true or false, found "yes"`},
	{"text for a number", "count: many", `1:8: count: expected a whole number, found "many"`},
	{"a number out of range", "count: 64", `1:8: count: expected 0 to 63, found 64`},
	{"a number beyond every type", "small: 99999999999999999999999", `1:8: small: expected a whole number, found the number 99999999999999999999999`},
	{"a number too large for its type", "small: 256", `1:8: small: expected a decimal number that fits, found the number 256`},
	{"a negative number", "small: -1", `1:8: small: expected a decimal number that fits, found the number -1`},
	{"a hexadecimal number", "small: 0x10", `1:8: small: expected a decimal number that fits, found the number 0x10`},
	{"a fraction for a whole number", "count: 1.5", `1:8: count: expected a whole number, found the number 1.5`},
	{"text for a fraction", "ratio: half", `1:8: ratio: expected a number, found "half"`},
	{"a duration without unit", "wait: 30", `1:7: wait: expected a duration with its unit, such as 30s or 5m, found the number 30`},
	{"a duration out of range", "wait: 2h", `1:7: wait: expected 1s to 1h0m0s, found 2h0m0s`},
	{"a bad address", "addr: 192.0.2.256", `1:7: addr: expected an IP address, found "192.0.2.256"`},
	{"a bad word", "word: blue", `1:7: word: expected red or green, found blue`},
	{"a bad word with a text of its own", "color: blue", `1:8: color: expected red or green, found "blue"`},
	{"a map where one or many are taken", "names: {a: b}", `1:8: names: expected a name or a list of names, found keys and values`},
	{"nothing where one or many are taken", "names:", `1:7: names: expected a name or a list of names, found nothing`},
	{"text for a list", "steps: x", `1:8: steps: expected a list, found "x"`},
	{"text for a list with a text of its own", "sub: {listen: x}", `1:15: sub.listen: expected a list of listeners, found "x"`},
	{"a number in a list with a text of its own", "sub: {listen: [5]}", `1:16: sub.listen[0]: expected a listener, found the number 5`},
	{"text for keys", "sub: x", `1:6: sub: expected keys and values, found "x"`},
	{"a list for a table", "nat: [x]", `1:6: nat: expected keys and values, found a list`},
	{"a bad key of a table", "nat: {x: 192.0.2.1}", `1:7: nat: expected an IP address, found "x"`},
	{"a list at the top", "- a\n- b", `1:1: expected keys and values, found a list`},
	{"text at the top", "hello", `1:1: expected keys and values, found "hello"`},
	{"a key that is no text", "? [a]\n: b", `1:3: a key must be text, found a list`},
	{"a long value is cut", "on: " + strings.Repeat("x", 60), `1:5: on: expected true or false, found "` + strings.Repeat("x", 40) + `..."`},
	{"a pattern without quotes is a tag", "names: !virbr*", `1:8: names: a value that begins with ! is a YAML tag: as a text it needs quotes`},
	{"a second document", "name: a\n---\nname: b", `2:1: a second document: a file holds one`},
	{"a value that holds itself", "steps: &s\n- do: x\n  then: *s", `3:9: steps[0].then: the alias *s is inside the value it stands for`},
	{"a merge into itself", "sub: &s\n  <<: *s", `2:7: sub: << merges a value into itself`},
	{"a merge of text", "sub:\n  <<: x", `2:7: sub: expected keys and values after <<, found "x"`},
	{"a tab as indentation", "sub:\n\tlisten: []", `2:1: a tab cannot be used for indentation: use spaces`},
	{"no colon", "name: a\ncount 3\non: true", `2:1: expected "key: value"`},
	{"a colon in a value", "name: a: b", `1:8: unexpected ":": wrong indentation, or a value with ": " in it that needs quotes`},
	{"indentation too deep", "name: a\n  count: 3", `2:8: unexpected ":": wrong indentation, or a value with ": " in it that needs quotes`},
	{"indentation half way", "sub:\n    listen: []\n  name: b\n", `3:3: unexpected text here: wrong indentation, or something after the end of a value`},
	{"a quote never closed", "on: true\nname: \"abc\ncount: 3\n", `2:7: this quote is not closed, or text follows it`},
	{"text after a quote", "name: 'it's'", `1:11: unexpected text here: wrong indentation, or something after the end of a value`},
	{"a list never closed", "names: [a, b\ncount: 3\n", `1:8: this list is not closed: expected , or ]`},
	{"a list with an unquoted pattern", "names: [eth0, !virbr*]\n", `1:8: this list is not closed: expected , or ]; a value that begins with ! needs quotes: "!..."`},
	{"braces never closed", "sub: {listen: [a]\ncount: 3\n", `1:6: these braces are not closed: expected , or }`},
	{"a star without quotes", "names: *\n", `1:8: a value cannot begin with *: put it in quotes`},
	{"an alias of nothing", "names: *eth\n", `1:8: no such anchor: * refers to a value marked with &; a text that begins with * needs quotes`},
	{"a forbidden first character", "names: @home\n", `1:8: a value cannot begin with @: put it in quotes`},
	{"an unknown escape", `name: "\q"`, `1:8: unknown escape: inside "..." write \\ for a backslash, or use '...'`},
	{"a list item among keys", "name: a\n- b\n", `2:1: unexpected text here: wrong indentation, or something after the end of a value`},
	{"bytes that are no text", "name: \xff\n", `1:7: the byte 0xff is not UTF-8 text`},
	{"a control character after wide ones", "name: äö\x01\n", `1:9: the control character 0x01 is not allowed`},
	{"a line break of old", "name: a\rcount: 3\n", `1:8: the line break U+000D is not allowed`},
	{"a byte order mark is no column", "\ufeffnam: a\r\n", `1:1: unknown key "nam"; did you mean "name"?`},
	{"a column counts characters", "names: [ä, @x]", `1:12: a value cannot begin with @: put it in quotes`},
}

func TestDecodeSaysWhatIsWrongAndWhere(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.situation, func(t *testing.T) {
			var p plan
			errs := Decode("p.yaml", []byte(m.doc), &p)
			if got := errs.Error(); got != "p.yaml:"+m.want {
				t.Errorf("%q\n got %s\nwant p.yaml:%s", m.doc, got, m.want)
			}
		})
	}
}

func TestDecodeReportsEverythingAtOnce(t *testing.T) {
	const doc = `nam: x
count: 64
wait: 5
sub: {listen: {}}
steps:
  - times: many
  - do: 3
name: "open
on: maybe
`
	want := []string{
		`1:1: unknown key "nam"; did you mean "name"?`,
		`2:8: count: expected 0 to 63, found 64`,
		`3:7: wait: expected a duration with its unit, such as 30s or 5m, found the number 5`,
		`4:15: sub.listen: expected a list of listeners, found keys and values`,
		`6:12: steps[0].times: expected a whole number, found "many"`,
		`7:9: steps[1].do: expected text, found the number 3`,
		`8:7: this quote is not closed, or text follows it`,
	}
	var p plan
	got := Decode("p.yaml", []byte(doc), &p).Error()
	if got != "p.yaml:"+strings.Join(want, "\np.yaml:") {
		t.Errorf("got\n%s", got)
	}
}

func TestDecodeAliases(t *testing.T) {
	const doc = `
steps:
  - &base {do: dial, times: 3}
  - *base
  - {<<: *base, times: 4}
  - <<: [*base, {do: never, then: [{do: wait}]}]
`
	var p plan
	if errs := Decode("p.yaml", []byte(doc), &p); errs != nil {
		t.Fatalf("problems:\n%v", errs)
	}
	want := []step{{Do: "dial", Times: 3}, {Do: "dial", Times: 3}, {Do: "dial", Times: 4}, {Do: "dial", Times: 3, Then: []step{{Do: "wait"}}}}
	if !reflect.DeepEqual(p.Steps, want) {
		t.Errorf("got %+v", p.Steps)
	}
}

func TestDecodeReportsAnAliasedMistakeOnce(t *testing.T) {
	var p plan
	errs := Decode("p.yaml", []byte("steps:\n- &b {do: 3}\n- *b\n- {<<: *b}\n"), &p)
	if len(errs) != 1 || errs[0].Pos.Line != 2 {
		t.Errorf("got %v", errs)
	}
}

func TestDecodeStopsMultiplyingAliases(t *testing.T) {
	var doc strings.Builder
	doc.WriteString("steps:\n- &s0 {do: x}\n")
	for i := range 20 {
		alias := " *s" + string(rune('A'+i-1)) + ","
		if i == 0 {
			alias = " *s0,"
		}
		doc.WriteString("- &s" + string(rune('A'+i)) + " {do: x, then: [" + strings.Repeat(alias, 9) + "]}\n")
	}
	var p plan
	errs := Decode("p.yaml", []byte(doc.String()), &p)
	if len(errs) != 1 || !strings.Contains(errs[0].Text, "more than 100000 values") {
		t.Errorf("got %.300v", errs)
	}
}

func TestDecodeRefusesHugeFiles(t *testing.T) {
	var p plan
	errs := Decode("p.yaml", make([]byte, maxSize+1), &p)
	if got, want := errs.Error(), "p.yaml: the file has 1048577 bytes, more than 1048576"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestKeys(t *testing.T) {
	want := []string{
		"name", "pin", "on", "count", "small", "ratio", "wait", "addr", "word", "color", "names", "nat", "labels", "sub", "sub.listen",
		"steps", "steps[].do", "steps[].times", "steps[].then", "maybe", "maybe.do", "maybe.times", "maybe.then", "future",
	}
	if got := Keys(&plan{}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "ab", 2}, {"nam", "name", 1}, {"regster", "register", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
