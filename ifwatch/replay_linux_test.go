package ifwatch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var golden = flag.Bool("golden", false, "write the verdicts on the recorded sessions anew")

// TestReplay gives what a kernel said in each of the recorded sessions to a Watcher, at the times at which it was said, and
// compares the verdicts on all addresses and their times with those in the golden file.
func TestReplay(t *testing.T) {
	for _, path := range sessionFiles(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".session")
		t.Run(name, func(t *testing.T) {
			frames, err := parseSession(readFile(t, path))
			if err != nil {
				t.Fatal(err)
			}
			h := &history{began: time.Time{}, at: map[time.Duration]map[string]string{}, notes: map[time.Duration][]string{}}
			synctest.Test(t, func(t *testing.T) { replay(t, frames, h) })
			checkGolden(t, filepath.Join("testdata", "sessions", name+".golden"), h.String())
			h.check(t, sessionVerdicts()[name])
		})
	}
}

// replay plays the frames to a Watcher, and records its verdicts.
func replay(t *testing.T, frames []frame, h *history) {
	state := newRecording()
	state.update(&frames[0].recording)
	k := newFakeKernel()
	k.recorded = &state
	h.began = time.Now()
	w := k.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	recorded := make(chan struct{})
	go func() { defer close(recorded); h.record(ctx, w) }()
	defer func() { cancel(); <-recorded }()
	for i := range frames {
		f := &frames[i]
		time.Sleep(f.at - time.Since(h.began))
		h.notes[f.at] = f.notes
		k.rig(func() {
			if i > 0 {
				state.update(&f.recording)
			}
			for _, e := range f.events {
				k.report(e)
			}
		})
		synctest.Wait()
	}
	time.Sleep(time.Second) // what is read again 200 ms after a change is read
	synctest.Wait()
	checkReplayed(t, k, w)
}

// checkReplayed compares the last snapshot with what the kernel said last.
func checkReplayed(t *testing.T, k *fakeKernel, w *Watcher) {
	t.Helper()
	s := w.Current()
	d := newDumper((*fakeDumps)(k))
	links, _, err := d.links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := &Snapshot{}
	for _, l := range links {
		if seen, ok := s.Link(l.Index); ok {
			l.Changed = seen.Changed // the watcher's own
		}
		want.Links = append(want.Links, l)
		for _, family := range [...]Family{Inet, Inet6} {
			addrs, _, err := d.addrs(t.Context(), l.Index, family)
			if err != nil {
				t.Fatal(err)
			}
			want.Addrs = append(want.Addrs, addrs...)
		}
	}
	for _, c := range Diff(s, want) {
		t.Errorf("at the end, snapshot -> kernel: %s", c)
	}
	for i := range min(len(s.Addrs), len(want.Addrs)) {
		if s.Addrs[i].Key != want.Addrs[i].Key {
			t.Errorf("at the end, address %d is %v, the kernel's is %v", i, s.Addrs[i].Key, want.Addrs[i].Key)
		}
	}
	if stats := w.Stats(); !s.Complete || stats.Corrections != 0 || stats.Overflows != 0 || stats.Resyncs != 1 {
		t.Errorf("complete %t, %+v", s.Complete, stats)
	}
}

// history has the verdicts on all addresses at each moment when any changed, by address and link.
type history struct {
	began time.Time
	at    map[time.Duration]map[string]string
	notes map[time.Duration][]string
}

// record judges every snapshot, and again when a verdict changes by itself. Of several snapshots of one moment only the last
// is sure to be seen, so it is that which counts.
func (h *history) record(ctx context.Context, w *Watcher) {
	var policy Policy
	for s, err := w.Wait(ctx, 0); err == nil; {
		now := time.Now()
		verdicts, due := map[string]string{}, time.Time{}
		for _, a := range slices.Concat(s.Addrs, s.Gone) {
			v := policy.Judge(s, a, now)
			link, _ := s.Link(a.Link)
			text := answer(v)
			if v.Reason != ReasonExpired { // which explains itself with the time of day
				text += " (" + s.Explain(a, v) + ")"
			}
			verdicts[a.Prefix().String()+" on "+link.Name] = text
			due = earliest(due, v.Next)
		}
		h.at[now.Sub(h.began)] = verdicts
		s, err = waitUntil(ctx, w, s, due)
	}
}

// waitUntil waits for a newer snapshot, until due unless that is zero.
func waitUntil(ctx context.Context, w *Watcher, s *Snapshot, due time.Time) (*Snapshot, error) {
	if due.IsZero() {
		return w.Wait(ctx, s.Gen)
	}
	limited, cancel := context.WithDeadline(ctx, due)
	defer cancel()
	newer, err := w.Wait(limited, s.Gen)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return s, nil
	}
	return newer, err
}

// answer writes the answers of a verdict as four letters, and the reasons.
func answer(v Verdict) string {
	letters := []byte("----")
	for i, yes := range []bool{v.Bind, v.Keep, v.Advertise, v.NewFlows} {
		if yes {
			letters[i] = "BKAF"[i]
		}
	}
	text := string(letters)
	for _, r := range v.Reasons {
		text += " " + string(r)
	}
	return text
}

// String writes one line for each verdict that changed, and one for each note.
func (h *history) String() string {
	var b strings.Builder
	b.WriteString("# seconds: address on link: Bind Keep Advertise newFlows, reasons (explained)\n")
	moments := map[time.Duration]bool{}
	for at := range h.at {
		moments[at] = true
	}
	for at := range h.notes {
		moments[at] = true
	}
	last := map[string]string{}
	for _, at := range slices.Sorted(maps.Keys(moments)) {
		for _, n := range h.notes[at] {
			fmt.Fprintf(&b, "%9.6f: -- %s\n", at.Seconds(), n)
		}
		verdicts, judged := h.at[at]
		if !judged {
			continue
		}
		for _, addr := range slices.Sorted(maps.Keys(verdicts)) {
			if v := verdicts[addr]; v != last[addr] {
				fmt.Fprintf(&b, "%9.6f: %s: %s\n", at.Seconds(), addr, v)
			}
		}
		for _, addr := range slices.Sorted(maps.Keys(last)) {
			if _, there := verdicts[addr]; !there {
				fmt.Fprintf(&b, "%9.6f: %s: deleted\n", at.Seconds(), addr)
			}
		}
		last = verdicts
	}
	return b.String()
}

// of returns the answers and reasons, without times, for the addresses whose line begins with addr. It leaves out that a
// lifetime has ended a moment before the kernel says so.
func (h *history) of(addr string) (seen []string) {
	for line := range strings.Lines(h.String()) {
		_, event, _ := strings.Cut(line, ": ")
		prefix, verdict, ok := strings.Cut(strings.TrimSpace(event), ": ")
		if ok && strings.HasPrefix(prefix, addr) && !strings.HasPrefix(verdict, "---- expired") {
			verdict, _, _ = strings.Cut(verdict, " (")
			seen = append(seen, verdict)
		}
	}
	return seen
}

// check compares with what must have happened, whenever the session was recorded.
func (h *history) check(t *testing.T, want map[string][]string) {
	t.Helper()
	if len(want) == 0 {
		t.Error("nobody says what this session has to show")
	}
	for addr, verdicts := range want {
		seen := h.of(addr)
		rest := seen
		for _, v := range verdicts {
			word, optional := strings.CutPrefix(v, "?")
			switch {
			case len(rest) > 0 && rest[0] == word:
				rest = rest[1:]
			case !optional:
				t.Errorf("%s was judged %q, want %q", addr, seen, verdicts)
				return
			}
		}
		if len(rest) > 0 {
			t.Errorf("%s was judged %q, want %q", addr, seen, verdicts)
		}
	}
}

func checkGolden(t *testing.T, path, got string) {
	t.Helper()
	if *golden {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(readFile(t, path)); got != want {
		t.Errorf("the verdicts differ from %s, got\n%swant\n%s", path, got, want)
	}
}
