package wire

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// What sipgo's parser reads without an error but wrongly when it comes off the
// wire, it reads rightly after Parse.
func TestSipgoReadsTheSame(t *testing.T) {
	inputs := map[string]string{
		"a folded Via":        options("Via: SIP/2.0/UDP\n 192.0.2.9:5070\n ;branch=z9hG4bKx\n" + tail),
		"white space in Via":  options("Via: SIP / 2.0 / UDP 192.0.2.9 : 5070 ; branch = z9hG4bKx\n" + tail),
		"compact names":       options("v: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx\nk: timer\nr: <sip:c@example.com>\nx: 1800\n" + tail),
		"IPv6":                options("Via: SIP/2.0/TCP [2001:db8::9]:5070;branch=z9hG4bKx;received=2001:db8::7\n" + tail),
		"two Vias in a line":  options("Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKx;x=\"q\" , SIP/2.0/TCP b.example.com;branch=z9hG4bKy\n" + tail),
		"a body and LF lines": strings.ReplaceAll(options("Via: SIP/2.0/UDP 192.0.2.9\n"+tail+"l: 4\n"), "\r\n", "\n") + "body, and more",
	}
	// Of the corpus what it accepts at all: it refuses a Request-URI without a
	// scheme, and quoted strings with a comma in a Via, which is its good right.
	for name, in := range corpus(t) {
		if m, err := Parse([]byte(in), Limits{}); err == nil {
			if _, err := sip.NewParser().ParseSIP(m.Raw); err == nil {
				inputs["corpus "+name] = in
			}
		}
	}
	for name, in := range inputs {
		t.Run(name, func(t *testing.T) {
			m, err := Parse([]byte(in), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			msg, err := sip.NewParser().ParseSIP(m.Raw)
			if err != nil {
				t.Fatalf("sipgo: %v\n%s", err, m.Raw)
			}
			via := msg.Via()
			branch, _ := via.Params.Get("branch")
			if !strings.EqualFold(via.Transport, m.Head.Via.Proto) ||
				via.Host != m.Head.Via.Host || via.Port != int(m.Head.Via.Port) || branch != m.Head.Via.Branch {
				t.Errorf("sipgo read %+v from\n%s", via, m.Raw)
			}
			if msg.CallID().Value() != m.Head.CallID || msg.CSeq().SeqNo != m.Head.CSeq || string(msg.CSeq().MethodName) != m.Head.CSeqMethod {
				t.Errorf("sipgo read Call-ID %q, CSeq %v", msg.CallID(), msg.CSeq())
			}
			if string(msg.Body()) != string(m.Body()) {
				t.Errorf("sipgo read body %q, we %q", msg.Body(), m.Body())
			}
			for _, h := range []string{"Supported", "Refer-To", "Session-Expires"} {
				if strings.Contains(string(m.Raw), "\r\n"+h+":") && len(msg.GetHeaders(h)) == 0 {
					t.Errorf("sipgo has no %s", h)
				}
			}
		})
	}
}

// corpus returns the seeds of FuzzParse.
func corpus(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/fuzz/FuzzParse/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	all := make(map[string]string)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, quoted, _ := strings.Cut(string(data), "[]byte(")
		in, err := strconv.Unquote(strings.TrimSuffix(strings.TrimSpace(quoted), ")"))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = in
	}
	return all
}
