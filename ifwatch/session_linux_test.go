package ifwatch

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A session is what a kernel said in the course of some seconds, as frames: the events with their bytes, each at the time at
// which it came, and what reading everything said right after them. A file of one has a line for each of these:
//
//	@ SECONDS                     a frame begins, so long after the first
//	note TEXT                     what somebody is about to do to the host
//	event HEX                     a datagram of the event socket
//	link INDEX HEX|-              from now on a dump has this message about a link, or none
//	addrs INDEX FAMILY HEX|-      from now on a dump of a link's addresses has these messages
//
// Lines that begin with # say what it is. The messages of dumps are those that changed only.
type frame struct {
	at     time.Duration
	notes  []string
	events [][]byte
	recording
}

// recording is what a kernel answers, or in a frame what has changed of that.
type recording struct {
	links map[int][]byte     // nil: the link is gone
	addrs map[addrsOf][]byte // messages one after the other
}

type addrsOf struct {
	link   int
	family Family
}

func newRecording() recording {
	return recording{links: map[int][]byte{}, addrs: map[addrsOf][]byte{}}
}

// update applies what has changed.
func (r *recording) update(by *recording) {
	maps.Copy(r.links, by.links)
	maps.Copy(r.addrs, by.addrs)
	maps.DeleteFunc(r.links, func(_ int, m []byte) bool { return m == nil })
	maps.DeleteFunc(r.addrs, func(_ addrsOf, m []byte) bool { return m == nil })
}

// answer returns the datagrams with which the kernel answered a request for a dump.
func (r *recording) answer(request message) [][]byte {
	var messages []byte
	if request.typ == unix.RTM_GETLINK {
		for _, index := range slices.Sorted(maps.Keys(r.links)) {
			messages = append(messages, r.links[index]...)
		}
	} else {
		of := addrsOf{int(binary.NativeEndian.Uint32(request.body[4:])), Inet}
		if request.body[0] == unix.AF_INET6 {
			of.family = Inet6
		}
		messages = r.addrs[of]
	}
	var datagrams [][]byte
	for m, rest, ok := nextMessage(messages); ok; m, rest, ok = nextMessage(rest) {
		datagrams = append(datagrams, appendRequest(nil, m.typ, unix.NLM_F_MULTI, request.seq, m.body))
	}
	return append(datagrams, done(request.seq, 0))
}

func formatSession(about string, frames []frame) []byte {
	var b bytes.Buffer
	for line := range strings.Lines(about) {
		fmt.Fprintf(&b, "# %s\n", strings.TrimSpace(line))
	}
	for i := range frames {
		f := &frames[i]
		fmt.Fprintf(&b, "@ %.6f\n", f.at.Seconds())
		for _, n := range f.notes {
			fmt.Fprintf(&b, "note %s\n", n)
		}
		for _, e := range f.events {
			fmt.Fprintf(&b, "event %x\n", e)
		}
		for _, index := range slices.Sorted(maps.Keys(f.links)) {
			fmt.Fprintf(&b, "link %d %s\n", index, hexOr(f.links[index]))
		}
		for _, of := range slices.SortedFunc(maps.Keys(f.addrs), func(a, b addrsOf) int {
			return cmp.Or(cmp.Compare(a.link, b.link), cmp.Compare(a.family, b.family))
		}) {
			fmt.Fprintf(&b, "addrs %d %s %s\n", of.link, of.family, hexOr(f.addrs[of]))
		}
	}
	return b.Bytes()
}

func hexOr(b []byte) string {
	if b == nil {
		return "-"
	}
	return hex.EncodeToString(b)
}

func parseSession(b []byte) (frames []frame, err error) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch {
		case word == "#":
		case word == "@":
			var at time.Duration
			at, err = time.ParseDuration(rest + "s")
			frames = append(frames, frame{at: at, recording: newRecording()})
		case len(frames) == 0:
			err = fmt.Errorf("%q before the first frame", word)
		default:
			err = frames[len(frames)-1].parse(word, rest)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return frames, lines.Err()
}

func (f *frame) parse(word, rest string) error {
	fields := strings.Fields(rest)
	last := ""
	if len(fields) > 0 {
		last = fields[len(fields)-1]
	}
	var b []byte
	var err error
	if last != "-" && word != "note" {
		if b, err = hex.DecodeString(last); err != nil {
			return err
		}
	}
	switch {
	case word == "note":
		f.notes = append(f.notes, rest)
		return nil
	case word == "event" && len(fields) == 1:
		f.events = append(f.events, b)
		return nil
	case word == "link" && len(fields) == 2, word == "addrs" && len(fields) == 3:
		index, err := strconv.Atoi(fields[0])
		if err != nil {
			return err
		}
		if word == "link" {
			f.links[index] = b
			return nil
		}
		family, err := ParseFamily(fields[1])
		f.addrs[addrsOf{index, family}] = b
		return err
	default:
		return fmt.Errorf("%q is nothing a session has", word+" "+rest)
	}
}

func TestSessionFormat(t *testing.T) {
	for _, path := range sessionFiles(t) {
		text := readFile(t, path)
		frames, err := parseSession(text)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		about := ""
		for line := range strings.Lines(string(text)) {
			if words, ok := strings.CutPrefix(line, "# "); ok {
				about += words
			}
		}
		if again := formatSession(about, frames); !bytes.Equal(again, text) {
			t.Errorf("%s changes when it is read and written", path)
		}
	}
	for _, bad := range []string{
		"event 00", "@ x", "@ 0\nevent 0", "@ 0\nlink 1", "@ 0\nlink x 00", "@ 0\naddrs 1 inet7 00", "@ 0\nsomething 00", "@ 0\nevent",
	} {
		if frames, err := parseSession([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, frames)
		}
	}
}

func sessionFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/sessions/*.session")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded sessions: %v", err)
	}
	return files
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
