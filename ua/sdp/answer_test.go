package sdp

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	pcmu   = Codec{PT: 0, Name: "PCMU", Clock: 8000}
	pcma   = Codec{PT: 8, Name: "PCMA", Clock: 8000}
	events = Codec{PT: 101, Name: "telephone-event", Clock: 8000, Fmtp: "0-15"}
)

func local() Local {
	return Local{
		SessionID: 77, Version: 1, Addr: netip.MustParseAddr("192.0.2.9"), Port: 6000, RTCPPort: 6001,
		Codecs: []Codec{pcmu, pcma, events}, PTime: 20 * time.Millisecond,
	}
}

// offered makes a peer's offer: the head and the audio line of a plain call, then the lines given.
func offered(audio string, lines ...string) string {
	head := []string{"v=0", "o=bob 5 6 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"}
	return strings.Join(append(append(head, audio), lines...), "\r\n") + "\r\n"
}

func mustAnswer(t *testing.T, body string, l Local) (*Session, Agreed) {
	t.Helper()
	s, a, err := Answer(mustParse(t, body), l)
	if err != nil {
		t.Fatalf("Answer: %v", err)
	}
	return s, a
}

func TestOfferText(t *testing.T) {
	l := local()
	l.RTCPPort, l.Mux = 7777, true
	l.Codecs = append(l.Codecs, Codec{PT: 96, Name: "L16", Clock: 16000, Channels: 2})
	want := "v=0\r\no=- 77 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n" +
		"m=audio 6000 RTP/AVP 0 8 101 96\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n" +
		"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtpmap:96 L16/16000/2\r\na=ptime:20\r\na=sendrecv\r\n" +
		"a=rtcp:7777 IN IP4 192.0.2.9\r\na=rtcp-mux\r\n"
	got := string(Offer(l).Marshal())
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if s := mustParse(t, got); len(s.Quirks) != 0 {
		t.Errorf("our own offer has quirks: %v", s.Quirks)
	}
}

func TestOfferNeverCarriesAZone(t *testing.T) {
	l := local()
	l.Addr = netip.MustParseAddr("fe80::1%eth0")
	if got := string(Offer(l).Marshal()); strings.Contains(got, "%") || !strings.Contains(got, "c=IN IP6 fe80::1\r\n") {
		t.Errorf("offer\n%s", got)
	}
}

func TestAnswerText(t *testing.T) {
	s, a := mustAnswer(t, strings.Replace(offered("m=video 5000 RTP/AVP 31", "m=audio 4000 RTP/AVP 18 96 8 0", "a=rtpmap:96 telephone-event/8000",
		"a=ptime:30", "m=image 5002 udptl t38"), "t=0 0", "t=5 9", 1), local())
	want := "v=0\r\no=- 77 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=5 9\r\n" +
		"m=video 0 RTP/AVP 31\r\n" +
		"m=audio 6000 RTP/AVP 96 8 0\r\na=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n" +
		"m=image 0 udptl t38\r\n"
	if got := string(s.Marshal()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	ev := events
	ev.PT = 96
	wantAgreed := Agreed{
		Index: 1, Remote: netip.MustParseAddrPort("192.0.2.1:4000"), RemoteRTCP: netip.MustParseAddrPort("192.0.2.1:4001"),
		Send: pcma, Recv: []Codec{ev, pcma, pcmu}, EventPT: 96, PTime: 30 * time.Millisecond,
	}
	if !reflect.DeepEqual(a, wantAgreed) {
		t.Errorf("got  %+v\nwant %+v", a, wantAgreed)
	}
}

func TestAnswerToEachSituation(t *testing.T) {
	tests := []struct {
		name, body string
		change     func(*Local)
		want       string // see summary
	}{
		{"static types without rtpmap", offered("m=audio 4000 RTP/AVP 8 0"), nil, "PCMA/8 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"port count of layered coding", offered("m=audio 4000/2 RTP/AVP 0"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"rtpmap in lower case", offered("m=audio 4000 RTP/AVP 100", "a=rtpmap:100 pcma/8000"), nil, "pcma/100 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"rtpmap without clock rate", offered("m=audio 4000 RTP/AVP 100", "a=rtpmap:100 PCMA"), nil, "PCMA/100 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"rtpmap redefines a static type", offered("m=audio 4000 RTP/AVP 0", "a=rtpmap:0 PCMA/8000"), nil, "PCMA/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"events at the codec's clock rate", offered("m=audio 4000 RTP/AVP 0 100 101", "a=rtpmap:100 telephone-event/48000", "a=rtpmap:101 telephone-event/8000"), nil, "PCMU/0 ev101 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"events only at another clock rate", offered("m=audio 4000 RTP/AVP 0 100", "a=rtpmap:100 telephone-event/48000"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"feedback profile", offered("m=audio 4000 RTP/AVPF 0"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"secure line first", offered("m=audio 4002 RTP/SAVP 0", "m=audio 4000 RTP/AVP 0"), nil, "line 1 PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"no audio port in the first line", offered("m=audio 0 RTP/AVP 0", "m=audio 4000 RTP/AVP 0"), nil, "line 1 PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},

		{"address at the media line", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 192.0.2.2"), nil, "PCMU/0 ev-1 192.0.2.2:4000 rtcp 4001 20ms sendrecv"},
		{"IPv6", strings.ReplaceAll(offered("m=audio 4000 RTP/AVP 0"), "IP4 192.0.2.1", "IP6 2001:db8::1"), func(l *Local) { l.Addr = netip.MustParseAddr("2001:db8::9") }, "PCMU/0 ev-1 [2001:db8::1]:4000 rtcp 4001 20ms sendrecv"},
		{"loopback to loopback", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 127.0.0.1"), func(l *Local) { l.Addr = netip.MustParseAddr("127.0.0.1") }, "PCMU/0 ev-1 127.0.0.1:4000 rtcp 4001 20ms sendrecv"},
		{"rtcp on another port", offered("m=audio 4000 RTP/AVP 0", "a=rtcp:5005"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 5005 20ms sendrecv"},
		{"rtcp at another address", offered("m=audio 4000 RTP/AVP 0", "a=rtcp:5005 IN IP4 192.0.2.7"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 192.0.2.7:5005 20ms sendrecv"},
		{"rtcp at a loopback address", offered("m=audio 4000 RTP/AVP 0", "a=rtcp:5005 IN IP4 127.0.0.1"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"rtcp at an address of the other family", offered("m=audio 4000 RTP/AVP 0", "a=rtcp:5005 IN IP6 2001:db8::1"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"rtcp at no address", offered("m=audio 4000 RTP/AVP 0", "a=rtcp:5005 IN IP4 0.0.0.0"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"rtcp at a group", offered("m=audio 4000 RTP/AVP 0", "a=rtcp:5005 IN IP4 224.0.0.9"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"rtcp without a port", offered("m=audio 4000 RTP/AVP 0", "a=rtcp"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"rtcp port zero", offered("m=audio 4000 RTP/AVP 0", "a=rtcp:0"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"rtcp port not a number", offered("m=audio 4000 RTP/AVP 0", "a=rtcp:x"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"no port after the last", offered("m=audio 65535 RTP/AVP 0"), nil, "PCMU/0 ev-1 192.0.2.1:65535 rtcp none 20ms sendrecv"},
		{"rtcp on the same port", offered("m=audio 4000 RTP/AVP 0", "a=rtcp-mux", "a=rtcp:5005"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp mux 20ms sendrecv"},

		{"packet time with a fraction", offered("m=audio 4000 RTP/AVP 0", "a=ptime:40.0"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 40ms sendrecv"},
		{"packet time beyond the maximum", offered("m=audio 4000 RTP/AVP 0", "a=ptime:60", "a=maxptime:40"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 40ms sendrecv"},
		{"packet time zero", offered("m=audio 4000 RTP/AVP 0", "a=ptime:0"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"packet time of a second", offered("m=audio 4000 RTP/AVP 0", "a=ptime:1000"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 120ms sendrecv"},
		{"packet time too large for 16 bits", offered("m=audio 4000 RTP/AVP 0", "a=ptime:65537"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"packet time of the smallest kind", offered("m=audio 4000 RTP/AVP 0", "a=ptime:5"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 5ms sendrecv"},
		{"packet time below that", offered("m=audio 4000 RTP/AVP 0", "a=ptime:4"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"packet time not a number", offered("m=audio 4000 RTP/AVP 0", "a=ptime:x"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},

		{"peer holds", offered("m=audio 4000 RTP/AVP 0", "a=sendonly"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms recvonly"},
		{"peer only listens", offered("m=audio 4000 RTP/AVP 0", "a=recvonly"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendonly"},
		{"peer is inactive", offered("m=audio 4000 RTP/AVP 0", "a=inactive"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms inactive"},
		{"direction of the session", strings.Replace(offered("m=audio 4000 RTP/AVP 0"), "t=0 0", "t=0 0\r\na=sendonly", 1), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms recvonly"},
		{"direction of the line beats the session's", strings.Replace(offered("m=audio 4000 RTP/AVP 0", "a=sendrecv"), "t=0 0", "t=0 0\r\na=sendonly", 1), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv"},
		{"peer holds as in RFC 2543", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"), nil, "PCMU/0 ev-1 nowhere 20ms recvonly"},
		{"peer holds as in RFC 2543 and only listens", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0", "a=recvonly"), nil, "PCMU/0 ev-1 nowhere 20ms inactive"},
		{"peer has no address yet", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 host.invalid"), nil, "PCMU/0 ev-1 nowhere 20ms recvonly"},
		{"unspecified IPv6 address to our IPv4", offered("m=audio 4000 RTP/AVP 0", "c=IN IP6 ::"), nil, "PCMU/0 ev-1 nowhere 20ms recvonly"},
		{"we hold, peer sends", offered("m=audio 4000 RTP/AVP 0"), func(l *Local) { l.Direction = SendOnly }, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendonly"},
		{"both hold", offered("m=audio 4000 RTP/AVP 0", "a=sendonly"), func(l *Local) { l.Direction = SendOnly }, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms inactive"},
		{"line switched off", offered("m=audio 0 RTP/AVP 0"), nil, "off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := local()
			if tt.change != nil {
				tt.change(&l)
			}
			offer := mustParse(t, tt.body)
			s, a := mustAnswer(t, tt.body, l)
			if got := summary(a); got != tt.want {
				t.Errorf("agreed %s\nwant   %s", got, tt.want)
			}
			checkAnswer(t, offer, s, a)
		})
	}
}

// checkAnswer checks what holds for every answer: the lines of the offer in their order, one of them served at most,
// and our direction and multiplexing written as agreed.
func checkAnswer(t *testing.T, offer, s *Session, a Agreed) {
	t.Helper()
	if len(s.Media) != len(offer.Media) {
		t.Fatalf("%d lines answer %d", len(s.Media), len(offer.Media))
	}
	for i, m := range s.Media {
		served := i == a.Index && a.Send.Name != ""
		if m.Type != offer.Media[i].Type || m.Proto != offer.Media[i].Proto || (m.Port != 0) != served {
			t.Errorf("line %d: %+v answers %+v", i, m, offer.Media[i])
		}
		if !served {
			continue
		}
		if d := direction(s, &m); d != a.Direction {
			t.Errorf("the answer says %v, agreed is %v", d, a.Direction)
		}
		if _, mux := attr(m.Attributes, "rtcp-mux"); mux != a.Mux {
			t.Errorf("the answer says mux %v, agreed is %v", mux, a.Mux)
		}
	}
	if again := mustParse(t, string(s.Marshal())); len(again.Quirks) != 0 {
		t.Errorf("the answer has quirks: %v", again.Quirks)
	}
}

// summary is an Agreed in one line.
func summary(a Agreed) string {
	if a.Send.Name == "" {
		return "off"
	}
	var b strings.Builder
	if a.Index > 0 {
		fmt.Fprintf(&b, "line %d ", a.Index)
	}
	fmt.Fprintf(&b, "%s/%d ev%d ", a.Send.Name, a.Send.PT, a.EventPT)
	rtcp := a.RemoteRTCP.String()
	switch {
	case !a.Remote.IsValid():
		b.WriteString("nowhere")
	case a.Mux && a.RemoteRTCP == a.Remote:
		rtcp = "mux"
	case !a.RemoteRTCP.IsValid():
		rtcp = "none"
	case a.Remote.Addr() == a.RemoteRTCP.Addr():
		rtcp = fmt.Sprint(a.RemoteRTCP.Port())
	}
	if a.Remote.IsValid() {
		fmt.Fprintf(&b, "%s rtcp %s", a.Remote, rtcp)
	}
	fmt.Fprintf(&b, " %s %s", a.PTime, a.Direction)
	return b.String()
}

func TestStaticPayloadTypes(t *testing.T) {
	m := Media{Formats: []string{"0", "3", "4", "8", "9", "10", "11", "13", "15", "18", "1", "96", "128", "-1", "x", "0"}}
	list, unknown := m.codecs()
	want := []Codec{
		pcmu,
		{3, "GSM", 8000, 0, ""},
		{4, "G723", 8000, 0, ""},
		pcma,
		{9, "G722", 8000, 0, ""},
		{10, "L16", 44100, 2, ""},
		{11, "L16", 44100, 0, ""},
		{13, "CN", 8000, 0, ""},
		{15, "G728", 8000, 0, ""},
		{18, "G729", 8000, 0, ""},
	}
	if !reflect.DeepEqual(list, want) || !reflect.DeepEqual(unknown, []uint8{1, 96}) {
		t.Errorf("got %+v and %v", list, unknown)
	}
}

func TestRtpmapsThatMeanNothing(t *testing.T) {
	for _, value := range []string{"96", "96 ", "96 /8000", "96 PCMU/0", "96 PCMU/-8000", "96 PCMU/x", "96 PCMU/8000/-1", "x PCMU/8000", "97 PCMU/8000", "352 PCMU/8000"} {
		m := Media{Formats: []string{"96"}, Attributes: []Attribute{{"rtpmap", value}}}
		if list, unknown := m.codecs(); len(list) != 0 || len(unknown) != 1 {
			t.Errorf("rtpmap:%s means %+v", value, list)
		}
	}
}

func TestOfferWithoutWishes(t *testing.T) {
	l := local()
	l.PTime, l.RTCPPort, l.Addr = 0, 0, netip.Addr{}
	l.Codecs = []Codec{{PT: 0, Name: "PCMU", Clock: 8000, Channels: 1}}
	want := "v=0\r\no=- 77 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
	if got := string(Offer(l).Marshal()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAnswerRefuses(t *testing.T) {
	tests := []struct{ name, body, why string }{
		{"no line at all", "v=0\r\n", "no media line"},
		{"only video", offered("m=video 4000 RTP/AVP 31"), "video is not supported"},
		{"only fax", offered("m=image 4000 udptl t38"), "image is not supported"},
		{"secure profile", offered("m=audio 4000 RTP/SAVP 0"), "profile RTP/SAVP"},
		{"profile unheard of", offered("m=audio 4000 FOO 0"), "profile FOO"},
		{"no codec in common", offered("m=audio 4000 RTP/AVP 18 4"), "no codec of 18 4"},
		{"events alone", offered("m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"), "no codec"},
		{"dynamic type without rtpmap", offered("m=audio 4000 RTP/AVP 96"), "no codec"},
		{"other clock rate", offered("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/16000"), "no codec"},
		{"stereo", offered("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/8000/2"), "no codec"},
		{"no formats", offered("m=audio 4000 RTP/AVP"), "no codec"},
		{"no address", "v=0\r\nm=audio 4000 RTP/AVP 0\r\n", "no c= line"},
		{"host name", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 media.example.com"), "names the host"},
		{"other family", offered("m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::1"), "address family"},
		{"multicast", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 224.2.1.1/127"), "no unicast address"},
		{"broadcast", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 255.255.255.255"), "no unicast address"},
		{"our own loopback", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 127.0.0.1"), "loopback"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, a, err := Answer(mustParse(t, tt.body), local())
			if !errors.Is(err, ErrNoCommonCodec) || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("error = %v, want %q", err, tt.why)
			}
			if s != nil || a.EventPT != -1 {
				t.Errorf("answer %v, agreed %+v", s, a)
			}
		})
	}
}

func TestAcceptEachAnswer(t *testing.T) {
	tests := []struct {
		name, answer string
		change       func(*Local)
		want, quirk  string
	}{
		{"one codec chosen", offered("m=audio 4000 RTP/AVP 8"), nil, "PCMA/8 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv", ""},
		{"other number for the events", offered("m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 telephone-event/8000"), nil, "PCMU/0 ev96 192.0.2.1:4000 rtcp 4001 20ms sendrecv", ""},
		{"peer will only listen", offered("m=audio 4000 RTP/AVP 0", "a=recvonly"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendonly", ""},
		{"our hold accepted", offered("m=audio 4000 RTP/AVP 0", "a=recvonly"), func(l *Local) { l.Direction = SendOnly }, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendonly", ""},
		{"our hold ignored", offered("m=audio 4000 RTP/AVP 0", "a=sendrecv"), func(l *Local) { l.Direction = SendOnly }, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendonly", ""},
		{"peer takes nothing", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"), nil, "PCMU/0 ev-1 nowhere 20ms recvonly", ""},
		{"multiplexing accepted", offered("m=audio 4000 RTP/AVP 0", "a=rtcp-mux"), func(l *Local) { l.Mux = true }, "PCMU/0 ev-1 192.0.2.1:4000 rtcp mux 20ms sendrecv", ""},
		{"multiplexing not accepted", offered("m=audio 4000 RTP/AVP 0"), func(l *Local) { l.Mux = true }, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv", ""},

		{"multiplexing never offered", offered("m=audio 4000 RTP/AVP 0", "a=rtcp-mux"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv", "rtcp-mux"},
		{"codec never offered", offered("m=audio 4000 RTP/AVP 18 0"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv", "G729/8000 was not offered"},
		{"no rtpmap for the events", offered("m=audio 4000 RTP/AVP 0 101"), nil, "PCMU/0 ev101 192.0.2.1:4000 rtcp 4001 20ms sendrecv", "no rtpmap"},
		{"feedback profile answered", offered("m=audio 4000 RTP/AVPF 0"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv", "RTP/AVPF answers"},
		{"no rtpmap for the only codec", offered("m=audio 4000 RTP/AVP 96"), func(l *Local) { l.Codecs = []Codec{{PT: 96, Name: "PCMA", Clock: 8000}} }, "PCMA/96 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv", "no rtpmap"},
		{"one line too many", offered("m=audio 4000 RTP/AVP 0", "m=video 0 RTP/AVP 31"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv", "2 media lines answer 1"},
		{"audio in another line", offered("m=video 0 RTP/AVP 31", "m=audio 4000 RTP/AVP 0"), nil, "PCMU/0 ev-1 192.0.2.1:4000 rtcp 4001 20ms sendrecv", "in line 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := local()
			if tt.change != nil {
				tt.change(&l)
			}
			a, err := Accept(Offer(l), mustParse(t, tt.answer))
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(a); got != tt.want {
				t.Errorf("agreed %s\nwant   %s", got, tt.want)
			}
			if got := fmt.Sprint(a.Quirks); (tt.quirk == "") != (len(a.Quirks) == 0) || !strings.Contains(got, tt.quirk) {
				t.Errorf("quirks = %s, want %q", got, tt.quirk)
			}
			if !reflect.DeepEqual(a.Recv, l.Codecs) {
				t.Errorf("receives %+v, want all that was offered", a.Recv)
			}
		})
	}
}

func TestAcceptRefuses(t *testing.T) {
	tests := []struct {
		name, answer string
		want         error
	}{
		{"audio refused", offered("m=audio 0 RTP/AVP 0"), ErrNoCommonCodec},
		{"no line", "v=0\r\n", ErrNoCommonCodec},
		{"video instead", offered("m=video 4000 RTP/AVP 31"), ErrNoCommonCodec},
		{"codecs of its own only", offered("m=audio 4000 RTP/AVP 18"), ErrNoCommonCodec},
		{"secure profile", offered("m=audio 4000 RTP/SAVP 0"), ErrBad},
		{"multicast", offered("m=audio 4000 RTP/AVP 0", "c=IN IP4 224.0.0.1"), ErrBad},
		{"other family", offered("m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::1"), ErrBad},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := Accept(Offer(local()), mustParse(t, tt.answer))
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if summary(a) != "off" || a.Direction != Inactive || a.EventPT != -1 || a.PTime == 0 {
				t.Errorf("agreed %+v, want nothing to flow", a)
			}
		})
	}
}

func TestSecondRoundKeepsLinesAndNumbers(t *testing.T) {
	first, _ := mustAnswer(t, offered("m=video 5000 RTP/AVP 31", "m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 telephone-event/8000", "m=audio 4002 RTP/AVP 0"), local())
	l := local()
	l.Previous = first
	l.Codecs = append(l.Codecs, Codec{PT: 96, Name: "L16", Clock: 16000})
	l.Addr, l.Direction = netip.MustParseAddr("192.0.2.10"), SendOnly
	again := Offer(l)
	want := "v=0\r\no=- 77 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=video 0 RTP/AVP 31\r\n" +
		"m=audio 6000 RTP/AVP 0 8 96 97\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n" +
		"a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na=rtpmap:97 L16/16000\r\na=ptime:20\r\na=sendonly\r\nm=audio 0 RTP/AVP 0\r\n"
	if got := string(again.Marshal()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestVersionGrowsOnlyWithAChange(t *testing.T) {
	offer := offered("m=audio 4000 RTP/AVP 0")
	l := local()
	first, _ := mustAnswer(t, offer, l)
	l.Previous, l.Version = first, 55 // not used from now on
	same, _ := mustAnswer(t, offer, l)
	if same.Origin != first.Origin {
		t.Errorf("origin %+v after no change, was %+v", same.Origin, first.Origin)
	}
	l.Previous, l.Port = same, 6002
	moved, _ := mustAnswer(t, offer, l)
	if want := first.Origin.Version + 1; moved.Origin.Version != want || moved.Origin.ID != first.Origin.ID {
		t.Errorf("origin %+v after a change, want version %d", moved.Origin, want)
	}
	l.Previous = moved
	if again := Offer(l); again.Origin.Version != moved.Origin.Version+1 {
		// The answer had one codec, the offer has all.
		t.Errorf("origin %+v, want version %d", again.Origin, moved.Origin.Version+1)
	}
}

func TestSecondRoundStaysWithItsLine(t *testing.T) {
	first, _ := mustAnswer(t, offered("m=audio 4000 RTP/SAVP 0", "m=audio 4002 RTP/AVP 0"), local())
	l := local()
	l.Previous = first
	_, a := mustAnswer(t, offered("m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 0"), l)
	if a.Index != 1 {
		t.Errorf("line %d is served, want the one that was in use", a.Index)
	}
	off, a := mustAnswer(t, offered("m=audio 0 RTP/SAVP 0", "m=audio 0 RTP/AVP 0"), l)
	if summary(a) != "off" {
		t.Errorf("agreed %+v after the peer switched its audio off", a)
	}
	l.Previous = off
	if on := Offer(l); len(on.Media) != 2 || on.Media[1].Port == 0 || on.Media[0].Port != 0 {
		t.Errorf("offer after that: %+v", on.Media)
	}
}

func TestOfferAfterOnlyRefusedLinesAddsOne(t *testing.T) {
	l := local()
	l.Previous = mustParse(t, offered("m=video 0 RTP/AVP 31"))
	s := Offer(l)
	if len(s.Media) != 2 || s.Media[0].Port != 0 || s.Media[1].Port != 6000 {
		t.Errorf("media = %+v", s.Media)
	}
	if a, err := Accept(mustParse(t, offered("m=audio 0 RTP/AVP 0")), s); err != nil || summary(a) != "off" {
		t.Errorf("an offer of nothing: %+v, %v", a, err)
	}
}

func TestDirectionAlgebra(t *testing.T) {
	for d := SendRecv; d <= Inactive; d++ {
		if got, ok := parseDirection(strings.ToUpper(d.String())); !ok || got != d {
			t.Errorf("%v is read as %v", d, got)
		}
		if d.reverse().reverse() != d || d.both(SendRecv) != d || d.both(Inactive) != Inactive || d.Sends() != d.reverse().Receives() {
			t.Errorf("algebra of %v", d)
		}
	}
	if _, ok := parseDirection("sideways"); ok {
		t.Error("sideways is a direction")
	}
}

// FuzzOfferAnswer has two of us agree, with a description from anywhere as the one and the other side.
func FuzzOfferAnswer(f *testing.F) {
	f.Add([]byte(plain))
	f.Add([]byte(offered("m=video 5000 RTP/AVP 31", "m=audio 4000/2 RTP/AVP 18 96 8 0", "a=rtpmap:96 telephone-event/8000", "a=ptime:30")))
	f.Add([]byte(offered("m=audio 4000 RTP/AVP 0 0 200 x 96", "c=IN IP4 0.0.0.0", "a=rtpmap:96", "a=rtpmap:96 /", "a=rtcp:1 IN IP4", "a=fmtp:0")))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := Parse(body)
		if err != nil {
			return
		}
		answer, a, err := Answer(s, local())
		if err == nil {
			checkAgreed(t, a)
			if len(answer.Media) != len(s.Media) {
				t.Fatalf("%d lines answer %d", len(answer.Media), len(s.Media))
			}
			l := local()
			l.Previous = answer
			if again := Offer(l); len(again.Media) < len(answer.Media) || again.Origin.ID != answer.Origin.ID {
				t.Fatalf("second round %+v after %+v", again, answer)
			}
		}
		if a, err := Accept(Offer(local()), s); err == nil {
			checkAgreed(t, a)
		}
	})
}

func checkAgreed(t *testing.T, a Agreed) {
	t.Helper()
	if a.PTime < minPTime || a.PTime > maxPTime || a.EventPT > 127 || a.Send.PT > 127 {
		t.Fatalf("agreed %+v", a)
	}
	if a.Remote.IsValid() && (a.Remote.Addr().IsMulticast() || a.Remote.Addr().IsUnspecified() || a.Remote.Addr().IsLoopback()) {
		t.Fatalf("would send to %v", a.Remote)
	}
	if a.Send.Name == "" && a.Direction != Inactive {
		t.Fatalf("%v without a codec", a.Direction)
	}
}
