package integration

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gosipua/gosipua/internal/netlab"
)

// One peer asks two addresses of a host in turn, 10,000 times, with up to 50
// questions open: every answer must come from the address that was asked.
func TestAnswersLeaveFromTheAddressAsked(t *testing.T) {
	for _, family := range []string{"inet", "inet6"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			host, peer := s.host("host"), s.host("peer")
			v4, v6 := s.addrs(77)
			host.link.Add(v4.String()+"/24", v6.String()+"/64")
			host.link.AwaitUsable(v6.String())
			asked := []netip.AddrPort{netip.AddrPortFrom(host.addr(family), 5060), netip.AddrPortFrom(s.addr(77, family), 5060)}
			p := startProgram(t, host.Host, echoConfig)
			c := listenUDP(peer.Host, netip.AddrPortFrom(peer.addr(family), 5060))
			wrong, err := askInTurn(c, asked, 10000, 50)
			if err != nil {
				t.Fatal(err)
			}
			if wrong != 0 {
				t.Errorf("%d of 10,000 answers left from the other address", wrong)
			}
			p.stop()
		})
	}
}

func listenUDP(h *netlab.Host, local netip.AddrPort) *net.UDPConn {
	return netlab.In(h, func() (*net.UDPConn, error) { return net.ListenUDP("udp", net.UDPAddrFromAddrPort(local)) })
}

// askInTurn sends n OPTIONS, with at most open unanswered, and counts the
// answers that came from another address than was asked.
func askInTurn(c *net.UDPConn, asked []netip.AddrPort, n, open int) (wrong int, err error) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * netlab.Patience))
	local := c.LocalAddr().(*net.UDPAddr).AddrPort()
	answered := make([]bool, n)
	buf := make([]byte, 1<<16)
	for sent, received := 0, 0; received < n; {
		for ; sent < n && sent-received < open; sent++ {
			to := asked[sent%len(asked)]
			d := dialogID{"UDP", local, "sip:echo@" + to.String(), sent}
			if _, err := c.WriteToUDPAddrPort(d.request("OPTIONS", ""), to); err != nil {
				return wrong, err
			}
		}
		size, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return wrong, fmt.Errorf("after %d of %d answers: %w", received, n, err)
		}
		m, err := parseMessage(buf[:size])
		if err != nil {
			return wrong, err
		}
		var number int
		if _, err := fmt.Sscanf(m.header.Get("Call-Id"), "it-%d@", &number); err != nil || m.status() != 200 || answered[number] {
			return wrong, fmt.Errorf("answer %s to %s: %w", m.start, m.header.Get("Call-Id"), err)
		}
		answered[number] = true
		received++
		if from != asked[number%len(asked)] {
			wrong++
		}
	}
	return wrong, nil
}

// ringConfig is a phone that rings until the caller gives up.
const ringConfig = `
accounts:
  - {aor: "sip:echo@localhost", register: false, answer: manual, max_calls: 2000}
`

// A CANCEL in the same segment as its INVITE, or in the datagram behind it, must
// find the transaction: CANCEL 200, INVITE 487, never 481.
func TestCancelNeverOvertakesItsInvite(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			host, peer := s.host("host"), s.host("peer")
			p := startProgram(t, host.Host, ringConfig)
			to := netip.AddrPortFrom(host.v4, 5060)
			c := netlab.In(peer.Host, func() (net.Conn, error) { return net.Dial(network, to.String()) })
			defer c.Close()
			if err := inviteAndCancel(c, 1000); err != nil {
				t.Error(err)
			}
			p.stop()
		})
	}
}

// inviteAndCancel makes n calls and cancels each with the same write over TCP,
// and with the very next datagram over UDP.
func inviteAndCancel(c net.Conn, n int) error {
	_ = c.SetDeadline(time.Now().Add(2 * netlab.Patience))
	local := netip.MustParseAddrPort(c.LocalAddr().String())
	via := strings.ToUpper(c.LocalAddr().Network())
	read := messageReader(c)
	for i := range n {
		d := dialogID{via, local, "sip:echo@" + c.RemoteAddr().String(), i}
		invite, cancel := d.request("INVITE", offer(local.Addr())), d.request("CANCEL", "")
		var err error
		if via == "TCP" {
			_, err = c.Write(slices.Concat(invite, cancel))
		} else {
			_, err1 := c.Write(invite)
			_, err2 := c.Write(cancel)
			err = errors.Join(err1, err2)
		}
		if err != nil {
			return err
		}
		if err := awaitCancelled(c, d, read); err != nil {
			return fmt.Errorf("pair %d: %w", i, err)
		}
	}
	return nil
}

// messageReader returns a function that reads the next message from c.
func messageReader(c net.Conn) func() (message, error) {
	if c.LocalAddr().Network() == "tcp" {
		r := bufio.NewReader(c)
		return func() (message, error) { return readMessage(r) }
	}
	buf := make([]byte, 1<<16)
	return func() (message, error) {
		n, err := c.Read(buf)
		if err != nil {
			return message{}, err
		}
		return parseMessage(buf[:n])
	}
}

// awaitCancelled reads until the INVITE of d has got its 487 and the CANCEL its 200.
func awaitCancelled(c net.Conn, d dialogID, read func() (message, error)) error {
	ours := fmt.Sprintf("it-%d@lab.test", d.number)
	ended, cancelled := false, false
	for !ended || !cancelled {
		m, err := read()
		if err != nil {
			return fmt.Errorf("INVITE ended %v, CANCEL answered %v: %w", ended, cancelled, err)
		}
		if m.header.Get("Call-Id") != ours {
			continue // a response to an earlier one, sent again because the ACK was under way
		}
		switch what := fmt.Sprintf("%s %d", m.method(), m.status()); what {
		case "INVITE 100", "INVITE 180":
		case "INVITE 487":
			ended = true
			if _, err := c.Write(d.ack(m)); err != nil {
				return err
			}
		case "CANCEL 200":
			cancelled = true
		default:
			return fmt.Errorf("answered %s", what)
		}
	}
	return nil
}
