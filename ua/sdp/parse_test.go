package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const plain = "v=0\r\no=alice 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n" +
	"m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"

func mustParse(t *testing.T, body string) *Session {
	t.Helper()
	s, err := Parse([]byte(body))
	if err != nil {
		t.Fatalf("Parse: %v\n%s", err, body)
	}
	return s
}

func TestParseReadsEveryPart(t *testing.T) {
	s := mustParse(t, "v=0\r\no=- 18446744073709551615 7 IN IP6 2001:db8::1\r\ns=call\r\ni=about\r\nu=http://x\r\ne=a@b\r\np=+1\r\n"+
		"c=IN IP6 2001:db8::1\r\nb=AS:64\r\nt=0 0\r\nr=7d 1h 0\r\nk=prompt\r\na=recvonly\r\na=tool:x:y\r\n"+
		"m=audio 4000/2 RTP/AVP 0 96\r\ni=voice\r\nc=IN IP4 224.2.1.1/127/3\r\nb=TIAS:64000\r\na=rtpmap:96 L16/16000/2\r\n"+
		"m=video 0 RTP/AVP 31\r\n")
	want := &Session{
		Origin: Origin{User: "-", ID: 1<<64 - 1, Version: 7, Conn: Conn{"2001:db8::1", true}},
		Name:   "call", Conn: Conn{"2001:db8::1", true},
		Attributes: []Attribute{{"recvonly", ""}, {"tool", "x:y"}},
		Other:      []string{"i=about", "u=http://x", "e=a@b", "p=+1", "b=AS:64", "t=0 0", "r=7d 1h 0", "k=prompt"},
		Media: []Media{
			{
				Type: "audio", Port: 4000, Ports: 2, Proto: "RTP/AVP", Formats: []string{"0", "96"},
				Conn: Conn{Host: "224.2.1.1"}, Attributes: []Attribute{{"rtpmap", "96 L16/16000/2"}},
				Other: []string{"i=voice", "b=TIAS:64000"},
			},
			{Type: "video", Ports: 1, Proto: "RTP/AVP", Formats: []string{"31"}},
		},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

// TestParseForgives has the forms of SDP met in the wild. Each must still yield the one audio line of the plain body.
func TestParseForgives(t *testing.T) {
	change := func(old, repl string) string {
		if !strings.Contains(plain, old) {
			t.Fatalf("%q is not in the plain body", old)
		}
		return strings.Replace(plain, old, repl, 1)
	}
	tests := []struct {
		name, body string
		quirk      string // part of the only quirk; "": none
	}{
		{"as the RFC wants it", plain, ""},
		{"final line end missing", strings.TrimSuffix(plain, "\r\n"), "no end"},
		{"LF only", strings.ReplaceAll(plain, "\r\n", "\n"), "LF alone"},
		{"CR only", strings.ReplaceAll(plain, "\r\n", "\r"), "CR alone"},
		{"one LF among CRLF", change("s=-\r\n", "s=-\n"), "LF alone"},
		{"NUL tail", plain + "\x00\x00", "NUL"},
		{"blank line at the start", "\r\n" + plain, "empty line"},
		{"blank line at the end", plain + "\r\n", "empty line"},
		{"blank line between", change("m=", "\r\nm="), "empty line"},
		{"leading space", change("s=-", " s=-"), "white space before the type"},
		{"space before the equals sign", change("s=-", "s =-"), "white space before ="},
		{"no version", change("v=0\r\n", ""), "no v="},
		{"other version", change("v=0", "v=1"), "version"},
		{"no origin", change("o=alice 1 2 IN IP4 192.0.2.1\r\n", ""), "no o="},
		{"no session name", change("s=-\r\n", ""), "no s="},
		{"empty session name", change("s=-", "s="), "empty s="},
		{"no time", change("t=0 0\r\n", ""), "no t="},
		{"attribute before the time", change("t=0 0\r\n", "a=x\r\nt=0 0\r\n"), "t= after a="},
		{"connection after the time", change("c=IN IP4 192.0.2.1\r\nt=0 0\r\n", "t=0 0\r\nc=IN IP4 192.0.2.1\r\n"), "c= after t="},
		{"bandwidth before the connection", change("c=", "b=AS:64\r\nc="), "c= after b="},
		{"phone before mail", change("c=", "p=+1\r\ne=a@b\r\nc="), "e= after p="},
		{"media attribute before its connection", change("m=audio 4000 RTP/AVP 0 8 101\r\n", "m=audio 4000 RTP/AVP 0 8 101\r\na=x\r\nc=IN IP4 192.0.2.1\r\n"), "c= after a="},
		{"origin id not a number", change("alice 1 ", "alice abc "), "session id"},
		{"origin id too large", change("alice 1 ", "alice 99999999999999999999999 "), "session id"},
		{"origin with two fields missing", change("IN IP4 192.0.2.1\r\ns", "IN\r\ns"), "4 fields"},
		{"unknown line", change("t=0 0", "x=y\r\nt=0 0"), "unknown or misplaced"},
		{"line without equals sign", change("t=0 0", "hello\r\nt=0 0"), "not of the form"},
		{"tabs", change("m=audio 4000 RTP/AVP 0", "m=audio\t4000 RTP/AVP\t0"), "white space other"},
		{"two spaces", change("m=audio 4000", "m=audio  4000"), "white space other"},
		{"trailing space", change("0 8 101\r\n", "0 8 101 \r\n"), "white space other"},
		{"two times, each repeated", change("t=0 0\r\n", "t=0 0\r\nr=1 2 3\r\nt=4 5\r\nr=1 2 3\r\n"), ""},
		{"time after its zone", change("t=0 0\r\n", "z=0 0\r\nt=0 0\r\n"), "t= after z="},
		{"two connections", change("t=0 0\r\n", "c=IN IP4 192.0.2.2\r\nt=0 0\r\n"), "more than one c="},
		{"two LF among CRLF", change("s=-\r\nc=IN IP4 192.0.2.1\r\n", "s=-\nc=IN IP4 192.0.2.1\n"), "LF alone"},
		{"port count of one", change("4000", "4000/1"), ""},
		{"port count not a number", change("4000", "4000/x"), "number of ports"},
		{"port count", change("4000", "4000/2"), ""},
		{"port count zero", change("4000", "4000/0"), "number of ports"},
		{"host name", change("c=IN IP4 192.0.2.1", "c=IN IP4 media.example.com"), ""},
		{"bracketed IPv6", change("c=IN IP4 192.0.2.1", "c=IN IP6 [2001:db8::1]"), "written as"},
		{"zone in the address", change("c=IN IP4 192.0.2.1", "c=IN IP6 fe80::1%eth0"), "written as"},
		{"family does not fit", change("c=IN IP4 192.0.2.1", "c=IN IP4 2001:db8::1"), "written as"},
		{"unusable connection", change("t=0 0", "c=IN\r\nt=0 0"), "unusable c="},
		{"attribute without a name", change("a=sendrecv", "a=:x"), "without a name"},
		{"NUL inside", change("s=-", "s=\x00-"), "NUL inside"},
		{"profile unheard of", change("RTP/AVP", "FOO/BAR"), ""},
		{"type unheard of", change("m=audio", "m=weird"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustParse(t, tt.body)
			if len(s.Media) != 1 || s.Media[0].Port != 4000 || len(s.Media[0].Formats) != 3 || s.Media[0].Ports < 1 || s.Conn.Host == "192.0.2.2" {
				t.Errorf("media = %+v", s.Media)
			}
			got := fmt.Sprint(s.Quirks)
			if want := min(len(tt.quirk), 1); len(s.Quirks) != want || !strings.Contains(got, tt.quirk) {
				t.Errorf("quirks = %s, want %q", got, tt.quirk)
			}
		})
	}
}

func TestParseKeepsFaxLine(t *testing.T) {
	s := mustParse(t, plain+"m=image 5000 udptl t38\r\na=T38FaxVersion:0\r\n")
	if len(s.Quirks) != 0 || len(s.Media) != 2 || s.Media[1].Type != "image" || s.Media[1].Proto != "udptl" {
		t.Errorf("media = %+v, quirks = %v", s.Media, s.Quirks)
	}
}

func TestQuirksNameTheirLines(t *testing.T) {
	for body, want := range map[string]string{
		strings.Replace(plain, "t=0 0", "x=1\r\nt=0 0", 1):                      `[line 5: unknown or misplaced line type 'x' (RFC 8866 5)]`,
		strings.Replace(plain, "o=alice 1 2 IN IP4 192.0.2.1\r\n", "", 1):       `[no o= line (RFC 8866 5)]`,
		strings.Replace(plain, "c=IN IP4 192.0.2.1\r\n", "", 1):                 `[no c= for media line 1 (RFC 8866 5.7)]`,
		strings.Replace(plain, "c=IN IP4 192.0.2.1", "c=IN IP4 2001:db8::1", 1): `[line 4: 2001:db8::1 written as IP4 2001:db8::1 (RFC 8866 5.7)]`,
		strings.Replace(plain, "c=IN IP4", "c=ON IP4", 1):                       `[line 4: "ON IP4 192.0.2.1" instead of IN, a family and an address (RFC 8866 5.7)]`,
		strings.Replace(plain, "c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.1 x", 1): `[line 4: "IN IP4 192.0.2.1 x" instead of IN, a family and an address (RFC 8866 5.7)]`,
		"v=0\r\no=\r\ns=-\r\nt=0 0\r\n":                                         `[line 2: o= has 0 fields instead of 6 (RFC 8866 5.2)]`,
	} {
		if got := fmt.Sprint(mustParse(t, body).Quirks); got != want {
			t.Errorf("quirks = %s\nwant     %s", got, want)
		}
	}
}

// TestParseRepairs has what is understood although it is written wrongly.
func TestParseRepairs(t *testing.T) {
	for line, want := range map[string]Conn{
		"c=IN IP4 2001:db8::1": {"2001:db8::1", true}, "c=IN IP6 [2001:db8::1]": {"2001:db8::1", true}, "c=IN IP6 fe80::1%eth0": {"fe80::1", true},
		"c=IN IP6 ::ffff:192.0.2.1": {"192.0.2.1", false}, "c=IN IP4 224.2.1.1/127/3": {"224.2.1.1", false}, "c=in ip6 ::1": {"::1", true},
	} {
		if s := mustParse(t, "v=0\r\n"+line+"\r\n"); s.Conn != want {
			t.Errorf("%s is read as %+v, want %+v", line, s.Conn, want)
		}
	}
	for line, want := range map[string]Origin{
		"o=bob": {User: "bob"}, "o=bob 1": {User: "bob"}, "o=bob 1 2": {User: "bob", ID: 1, Version: 2}, "o=bob x 2 IN IP4 192.0.2.1": {User: "bob", Version: 2, Conn: Conn{Host: "192.0.2.1"}},
	} {
		if s := mustParse(t, "v=0\r\n"+line+"\r\n"); s.Origin != want {
			t.Errorf("%s is read as %+v, want %+v", line, s.Origin, want)
		}
	}
	for _, letter := range "azAZ" {
		if s := mustParse(t, "v=0\r\n"+string(letter)+"=1\r\n"); strings.Contains(fmt.Sprint(s.Quirks), "not of the form") {
			t.Errorf("%c= is no line: %v", letter, s.Quirks)
		}
	}
}

// TestParseAtItsLimits has what is just small enough, and one more of it.
func TestParseAtItsLimits(t *testing.T) {
	attributes := strings.Repeat("a=x\r\n", maxAttributes-4) // plain has four
	lines := strings.Repeat("m=audio 0 RTP/AVP 0\r\n", maxMedia-1)
	for name, body := range map[string]string{
		"attributes": plain + attributes, "media lines": plain + lines, "line": plain + "a=" + strings.Repeat("x", maxLine-2) + "\r\n",
		"body": plain + strings.Repeat("b=AS:64\r\n", (maxBody-len(plain))/9) + strings.Repeat("\x00", (maxBody-len(plain))%9),
	} {
		if _, err := Parse([]byte(body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, body := range map[string]string{
		"attributes": plain + attributes + "a=x\r\n", "media lines": plain + lines + "m=audio 0 RTP/AVP 0\r\n", "line": plain + "a=" + strings.Repeat("x", maxLine-1) + "\r\n",
		"body": plain + strings.Repeat("\x00", maxBody+1-len(plain)),
	} {
		if _, err := Parse([]byte(body)); !errors.Is(err, ErrBad) {
			t.Errorf("one more %s: %v", name, err)
		}
	}
	if maxBody != 65536 || maxLine != 8192 || maxMedia != 64 || maxAttributes != 1000 {
		t.Error("the doc of Parse names other limits")
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, body string }{
		{"nothing", ""},
		{"only NULs", "\x00\x00\x00"},
		{"prose", "hello\r\nworld\r\n"},
		{"media without port", "v=0\r\nm=audio\r\n"},
		{"media with a word for a port", "v=0\r\nm=audio x RTP/AVP 0\r\n"},
		{"media with a negative port", "v=0\r\nm=audio -1 RTP/AVP 0\r\n"},
		{"media with a port of 17 bits", "v=0\r\nm=audio 65536 RTP/AVP 0\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := Parse([]byte(tt.body)); !errors.Is(err, ErrBad) {
				t.Errorf("Parse = %+v, %v; want ErrBad", s, err)
			}
		})
	}
}

func TestMarshalPutsLinesInOrder(t *testing.T) {
	s := mustParse(t, "a=tool:x\r\nt=0 0\r\nq=odd\r\nb=AS:64\r\nc=IN IP4 192.0.2.1\r\np=+1\r\ne=a@b\r\nm=audio 4000/2 RTP/AVP 0\r\na=sendonly\r\nb=AS:64\r\nc=IN IP4 192.0.2.2\r\ni=voice\r\n")
	want := "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\np=+1\r\ne=a@b\r\nc=IN IP4 192.0.2.1\r\nb=AS:64\r\nt=0 0\r\nq=odd\r\na=tool:x\r\n" +
		"m=audio 4000/2 RTP/AVP 0\r\ni=voice\r\nc=IN IP4 192.0.2.2\r\nb=AS:64\r\na=sendonly\r\n"
	if got := string(s.Marshal()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	all := "v=0\r\no=- 1 2 IN IP6 ::1\r\ns=x\r\ni=a\r\nu=b\r\ne=c\r\np=d\r\nc=IN IP6 ::1\r\nb=AS:1\r\nt=1 2\r\nr=3 4 5\r\nt=6 7\r\nz=8 9\r\nk=clear:z\r\na=y\r\nm=audio 1 RTP/AVP 0\r\ni=e\r\nc=IN IP6 ::2\r\nb=AS:2\r\nk=clear:q\r\na=w\r\n"
	if s := mustParse(t, all); string(s.Marshal()) != all || len(s.Quirks) != 0 {
		t.Errorf("got\n%s\nwant\n%s\nquirks %v", s.Marshal(), all, s.Quirks)
	}
	if got := string(mustParse(t, plain).Marshal()); got != plain {
		t.Errorf("got\n%s\nwant\n%s", got, plain)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(plain))
	f.Add(bytes.ReplaceAll([]byte(plain), []byte("\r\n"), []byte("\n")))
	f.Add([]byte("v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nt=0 0\r\nt=1 2\r\nr=1 2 3\r\nz=0 0\r\nk=x\r\nm=audio 1 RTP/AVP 0\r\nc=IN IP6 ::1\r\nk=y\r\n"))
	f.Add([]byte("m=image 9 udptl t38\r\nc=IN IP4 x\r\nc=IN IP4 y\r\nx=1"))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := Parse(body)
		if err != nil {
			if !errors.Is(err, ErrBad) {
				t.Fatalf("error %v does not wrap ErrBad", err)
			}
			return
		}
		text := s.Marshal()
		again, err := Parse(text)
		if err != nil {
			if len(text) > maxBody-100 {
				return // required lines were added to a body at the limit
			}
			t.Fatalf("own output is refused: %v\n%q", err, text)
		}
		if third := again.Marshal(); !bytes.Equal(text, third) {
			t.Fatalf("not stable:\n%q\n%q", text, third)
		}
		if s.Name != "" && again.Name != s.Name || len(again.Media) != len(s.Media) || !reflect.DeepEqual(again.Attributes, s.Attributes) {
			t.Fatalf("changed:\n%+v\n%+v", s, again)
		}
	})
}
