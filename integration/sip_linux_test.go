package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gosipua/gosipua/internal/netlab"
)

// message is a SIP message as these tests read it: from the program or from a
// peer, so nobody tries to deceive.
type message struct {
	start  string // the first line
	header textproto.MIMEHeader
	body   string
}

// readMessage reads one message. A datagram ends where its reader ends.
func readMessage(r *bufio.Reader) (message, error) {
	var m message
	for m.start == "" { // empty lines may come between messages of a stream
		line, err := r.ReadString('\n')
		if err != nil {
			return m, err
		}
		m.start = strings.TrimRight(line, "\r\n")
	}
	var err error
	if m.header, err = textproto.NewReader(r).ReadMIMEHeader(); err != nil {
		return m, fmt.Errorf("%s: %w", m.start, err)
	}
	n, err := strconv.Atoi(m.header.Get("Content-Length"))
	if err != nil {
		return m, fmt.Errorf("%s: Content-Length: %w", m.start, err)
	}
	body := make([]byte, n)
	_, err = io.ReadFull(r, body)
	m.body = string(body)
	return m, err
}

func parseMessage(b []byte) (message, error) {
	return readMessage(bufio.NewReader(bytes.NewReader(b)))
}

// status returns the code of a response, 0 for a request.
func (m message) status() int {
	rest, ok := strings.CutPrefix(m.start, "SIP/2.0 ")
	if !ok {
		return 0
	}
	code, _ := strconv.Atoi(strings.Fields(rest)[0])
	return code
}

// method returns the method of a request, or of the request that a response is for.
func (m message) method() string {
	if m.status() == 0 {
		return strings.Fields(m.start)[0]
	}
	return strings.Fields(m.header.Get("Cseq"))[1]
}

// messages returns the SIP messages among captured packets that match: first
// those of datagrams, then those of streams.
func messages(c *netlab.Capture, match func(netlab.Packet) bool) []message {
	var found []message
	packets := c.Select(match)
	for _, p := range packets {
		if p.Proto == unix.IPPROTO_UDP && bytes.Contains(p.Payload, []byte("SIP/2.0")) {
			if m, err := parseMessage(p.Payload); err == nil {
				found = append(found, m)
			}
		}
	}
	for _, stream := range netlab.Streams(packets) {
		for r := bufio.NewReader(bytes.NewReader(stream)); ; {
			m, err := readMessage(r)
			if err != nil { // the end, or no SIP
				break
			}
			found = append(found, m)
		}
	}
	return found
}

// dialogID is what makes requests of these tests differ from one another.
type dialogID struct {
	via    string // "UDP" or "TCP"
	local  netip.AddrPort
	target string // Request-URI
	number int
}

// request returns a request outside of a dialog. The same number gives the same
// Call-ID, tag and branch, as a CANCEL needs.
func (d dialogID) request(method, body string) []byte {
	text := method + " " + d.target + " SIP/2.0\r\n" +
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK-it-%d;rport\r\n", d.via, d.local, d.number) +
		fmt.Sprintf("From: <sip:tester@%s>;tag=it%d\r\n", d.local, d.number) +
		"To: <" + d.target + ">\r\n" +
		fmt.Sprintf("Call-ID: it-%d@lab.test\r\n", d.number) +
		"CSeq: 1 " + method + "\r\n" +
		fmt.Sprintf("Contact: <sip:tester@%s;transport=%s>\r\n", d.local, strings.ToLower(d.via)) +
		"Max-Forwards: 70\r\n"
	if body != "" {
		text += "Content-Type: application/sdp\r\n"
	}
	return fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", text, len(body), body)
}

// ack returns the ACK for a final response that is not a success.
func (d dialogID) ack(res message) []byte {
	to := "To: " + res.header.Get("To") + "\r\n"
	return bytes.Replace(d.request("ACK", ""), []byte("To: <"+d.target+">\r\n"), []byte(to), 1)
}

// offer is an SDP that offers G.711 at an address where nobody needs to be.
func offer(at netip.Addr) string {
	family := "IP4"
	if at.Is6() {
		family = "IP6"
	}
	return fmt.Sprintf("v=0\r\no=- 1 1 IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n", family, at, family, at)
}

// answersOptions fails the test unless an OPTIONS to user at addr, over UDP and
// TCP on port 5060, is answered 200 to a peer on link.
func answersOptions(t *testing.T, from *netlab.Host, link *netlab.Link, user, addr string) {
	t.Helper()
	to := netip.AddrPortFrom(netip.MustParseAddr(addr), 5060)
	if to.Addr().Is6() {
		link.LinkLocal() // there is a source address
	}
	for _, network := range []string{"udp", "tcp"} {
		if err := from.Do(func() error { return askOptions(network, user, to) }); err != nil {
			t.Errorf("OPTIONS over %s to %v: %v", network, to, err)
		}
	}
}

// askOptions sends an OPTIONS, to nobody in particular if user is empty, and waits for its 200.
func askOptions(network, user string, to netip.AddrPort) error {
	c, err := net.DialTimeout(network, to.String(), netlab.Patience)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(netlab.Patience))
	uri := "sip:" + to.String()
	if user != "" {
		uri = "sip:" + user + "@" + to.String()
	}
	d := dialogID{strings.ToUpper(network), netip.MustParseAddrPort(c.LocalAddr().String()), uri, int(time.Now().UnixNano())}
	if _, err := c.Write(d.request("OPTIONS", "")); err != nil {
		return err
	}
	m, err := readMessage(bufio.NewReader(c))
	if err != nil {
		return err
	}
	if m.status() != 200 {
		return fmt.Errorf("answered %s", m.start)
	}
	return nil
}
