package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/gosipua/gosipua/internal/netlab"
)

// Alice is gosipua, bob is another phone; both are registered with a kamailio
// that asks for passwords, and call each other through it.
func TestCallsThroughKamailio(t *testing.T) {
	farEnds := map[string]func(farConfig, *registrar) farEnd{"baresip": newFarBaresip, "sipp": newFarSIPp}
	for name, newFar := range farEnds {
		for _, family := range []string{"inet", "inet6"} {
			for _, proto := range []string{"udp", "tcp"} {
				t.Run(fmt.Sprintf("%s %s %s", name, family, proto), func(t *testing.T) {
					t.Parallel()
					need(t, "kamailio", name)
					testCalls(t, family, proto, newFar)
				})
			}
		}
	}
}

func testCalls(t *testing.T, family, proto string, newFar func(farConfig, *registrar) farEnd) {
	s := newSite(t)
	server, host, at := s.host("kamailio"), s.host("host"), s.host("far")
	k := startRegistrar(t, server, registrarConfig{Users: passwords()})
	proxy := netip.AddrPortFrom(server.addr(family), 5060)
	far := newFar(farConfig{t: t, at: at, family: family, proto: proto, proxy: proxy}, k)
	c := talk{t: t, far: far, wire: at.link.Capture(), at: at, family: family}

	alice := newProgram(t, host.Host, accountOf("alice", proxy, proto, 10*time.Minute, ""))
	c.made(alice, true)
	c.made(alice, false)
	alice.run()
	contact := k.saved("alice")
	if want := fmt.Sprintf("<sip:alice@%s", netip.AddrPortFrom(host.addr(family), 5060)); len(contact) < len(want) || contact[:len(want)] != want {
		t.Errorf("registered as %s, want %s...", contact, want)
	}
	c.taken(alice, true)
	c.taken(alice, false)
	k.Next(`saved alice contact .*expires=0`)
}

// talk is calls between alice and a far end, one after another.
type talk struct {
	t      *testing.T
	far    farEnd
	wire   *netlab.Capture // on the far end's link
	at     *station        // the far end's
	family string
	heard  [2]int // packets of sound before the present call: to the far end, from it
}

// made is a call that alice makes, for one of the two to hang up.
func (c *talk) made(alice *program, farHangsUp bool) {
	c.t.Helper()
	c.far.expect(farHangsUp)
	p := c.start(alice, "call", "-f", alice.config, "--json", "--player", "aufile,made.wav", "sip:bob@lab.test")
	c.sound()
	c.far.talked()
	if !farHangsUp {
		p.Signal(syscall.SIGINT)
	}
	if code := p.Wait(); code != 0 {
		c.t.Errorf("gosipua call ended with %d", code)
	}
	c.far.over()
	c.judge()
	wantTone(c.t, "recording of gosipua call", readWAV(c.t, filepath.Join(alice.dir, "made.wav")), farToneHz, toneLevel, 2)
	var quality struct {
		Answered bool     `json:"answered"`
		EndedBy  string   `json:"ended_by"`
		Lost     int      `json:"lost"`
		Level    *float64 `json:"level_dbfs"`
	}
	if err := json.Unmarshal([]byte(p.Stdout.String()), &quality); err != nil {
		c.t.Fatalf("gosipua call --json: %v\n%s", err, p.Output)
	}
	endedBy := map[bool]string{true: "remote", false: "local"}[farHangsUp]
	if !quality.Answered || quality.EndedBy != endedBy || quality.Lost != 0 || quality.Level == nil {
		c.t.Errorf("gosipua call says %+v, want it to be ended by %s", quality, endedBy)
	}
}

func (c *talk) start(alice *program, args ...string) *netlab.Process {
	c.t.Helper()
	return alice.at.Start(alice.command(args...))
}

// taken is a call that alice takes, for one of the two to hang up: alice by
// being stopped.
func (c *talk) taken(alice *program, farHangsUp bool) {
	c.t.Helper()
	c.far.call(farHangsUp)
	c.sound()
	c.far.talked()
	if farHangsUp {
		alice.Next(`msg="call ended"`)
	} else {
		alice.stop()
	}
	c.far.over()
	c.judge()
	wantTone(c.t, "recording of gosipua", readWAV(c.t, filepath.Join(alice.dir, "heard.wav")), farToneHz, toneLevel, 2)
}

// sound waits for three seconds of it in both directions.
func (c *talk) sound() {
	c.t.Helper()
	c.wire.WaitFor("three seconds of sound", func(netlab.Packet) bool {
		return span(c.passed(0)) >= 3*time.Second && span(c.passed(1)) >= 3*time.Second
	})
}

// span returns how much time packets of one source cover, by their time stamps.
func span(packets []rtpPacket) time.Duration {
	if len(packets) == 0 {
		return 0
	}
	samples := packets[len(packets)-1].time - packets[0].time
	return time.Duration(samples) * time.Second / sampleRate
}

// passed returns the packets of the present call to the far end (0) or from it (1).
func (c *talk) passed(direction int) []rtpPacket {
	match := to(c.at)
	if direction == 1 {
		match = from(c.at)
	}
	packets := rtp(c.wire, match)[c.heard[direction]:]
	if len(packets) == 0 {
		return nil
	}
	// The last packets of the call before may have passed after it was judged.
	ssrc := packets[len(packets)-1].ssrc
	return slices.DeleteFunc(packets, func(p rtpPacket) bool { return p.ssrc != ssrc })
}

// judge looks at what passed on the wire in the call that has ended.
func (c *talk) judge() {
	c.t.Helper()
	for direction, hz := range []float64{nearToneHz, farToneHz} {
		passed := c.passed(direction)
		c.heard[direction] += len(passed)
		who := []string{"wire to the far end", "wire from the far end"}[direction]
		if err := sound(passed).checkTone(hz, toneLevel, 2); err != nil {
			c.t.Errorf("%s: %v\n%s", who, err, irregular(passed))
		}
	}
	if n := c.wire.Lost(); n != 0 {
		c.t.Errorf("%d packets were not captured", n)
	}
}
