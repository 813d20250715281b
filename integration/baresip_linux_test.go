package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gosipua/gosipua/internal/netlab"
)

// baresip is a running baresip, driven by its ctrl_tcp module.
type baresip struct {
	*netlab.Process
	t      *testing.T
	at     *station
	dir    string
	ctl    net.Conn
	events chan baresipEvent // buffered for more than a test makes

	// The answers to commands. What a command causes is told before it is
	// answered, so the two must not wait for each other.
	answers chan baresipEvent
}

// Peers play tones of toneLevel dB, for longest seconds at most: baresip ends a
// call's sound with its file.
const (
	toneLevel = -12
	longest   = 60
)

// baresipConfig says what a baresip is to be like.
type baresipConfig struct {
	Listen  netip.Addr
	Account string  // "<sip:bob@...>;auth_pass=..."
	ToneHz  float64 // what it plays into its calls, at toneLevel
	Extra   string  // more lines of config
}

// baresipEvent is what ctrl_tcp says.
type baresipEvent struct {
	Type     string `json:"type"`
	Param    string `json:"param"`
	PeerURI  string `json:"peeruri"`
	Response bool   `json:"response"`
	OK       bool   `json:"ok"`
	Data     string `json:"data"`
}

// startBaresip starts a baresip, connects to it and waits until it is ready.
func startBaresip(t *testing.T, at *station, c baresipConfig) *baresip {
	t.Helper()
	need(t, "baresip")
	b := &baresip{t: t, at: at, dir: t.TempDir(), events: make(chan baresipEvent, 1024), answers: make(chan baresipEvent, 1)}
	b.write("accounts", c.Account+"\n")
	writeWAV(t, filepath.Join(b.dir, "tone.wav"), sine(c.ToneHz, toneLevel, longest))
	b.write("config", fmt.Sprintf(`sip_listen %s
module_path /usr/lib/baresip/modules
module account.so
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp uuid.so
module_app menu.so
module_app ctrl_tcp.so
module_app debug_cmd.so
ctrl_tcp_listen 127.0.0.1:4444
audio_source aufile,%s/tone.wav
audio_player aubridge,x
audio_alert aubridge,x
rtp_ports 20000-20100
snd_path %s
%s`, hostport(c.Listen, 5060), b.dir, b.dir, c.Extra))
	// It reads commands from a terminal if it can, and stops where there is none.
	b.Process = at.Start(netlab.Cmd{Path: "baresip", Args: []string{"-v", "-f", b.dir}, Env: []string{"HOME=" + b.dir}})
	b.WaitFor(`baresip is ready`)
	b.ctl = netlab.In(at.Host, func() (net.Conn, error) { return net.Dial("tcp", "127.0.0.1:4444") })
	go b.read()
	t.Cleanup(func() { b.ctl.Close() })
	return b
}

func (b *baresip) write(name, content string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// read takes events from the connection until it is closed.
func (b *baresip) read() {
	defer close(b.events)
	defer close(b.answers)
	for {
		payload, err := readNetstring(b.ctl)
		if err != nil {
			return
		}
		var e baresipEvent
		switch {
		case json.Unmarshal(payload, &e) != nil:
		case e.Response:
			b.answers <- e
		default:
			b.events <- e
		}
	}
}

// readNetstring reads "LENGTH:BYTES,".
func readNetstring(c net.Conn) ([]byte, error) {
	digits := ""
	one := make([]byte, 1)
	for {
		if _, err := c.Read(one); err != nil {
			return nil, err
		}
		if one[0] == ':' {
			break
		}
		digits += string(one)
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return nil, err
	}
	payload := make([]byte, n+1)
	for got := 0; got < len(payload); {
		m, err := c.Read(payload[got:])
		if err != nil {
			return nil, err
		}
		got += m
	}
	return payload[:n], nil
}

// do gives baresip a command and returns its answer.
func (b *baresip) do(command, params string) string {
	b.t.Helper()
	request, err := json.Marshal(map[string]string{"command": command, "params": params})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(b.ctl, "%d:%s,", len(request), request); err != nil {
		b.t.Fatal(err)
	}
	e := b.await(command, b.answers, func(baresipEvent) bool { return true })
	if !e.OK {
		b.t.Fatalf("baresip: %s %s: %s", command, params, e.Data)
	}
	return e.Data
}

// event waits for an event of a type and returns it; those before it are passed over.
func (b *baresip) event(kind string) baresipEvent {
	b.t.Helper()
	return b.await(kind, b.events, func(e baresipEvent) bool { return e.Type == kind })
}

func (b *baresip) await(what string, from <-chan baresipEvent, match func(baresipEvent) bool) baresipEvent {
	b.t.Helper()
	timeout := time.NewTimer(netlab.Patience)
	defer timeout.Stop()
	var seen []string
	for {
		select {
		case e, ok := <-from:
			switch {
			case !ok:
				b.t.Fatalf("baresip ended before %s, after %v", what, seen)
			case match(e):
				return e
			}
			seen = append(seen, e.Type)
		case <-timeout.C:
			b.t.Fatalf("baresip: no %s, only %v", what, seen)
		}
	}
}

// heard returns what baresip has heard in its last call, after that has ended.
func (b *baresip) heard() pcm {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(b.dir, "dump-*-dec.wav"))
	if err != nil || len(files) == 0 {
		b.t.Fatalf("baresip made no recording: %v %v", files, err)
	}
	last := files[0]
	for _, f := range files {
		if strings.Compare(f, last) > 0 {
			last = f
		}
	}
	return readWAV(b.t, last)
}
