package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// write puts a file into a directory of the test's own, and returns that.
func write(t testing.TB, name string, b []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// littleEndian is samples as they lie in a file.
func littleEndian(pcm []int16) []byte {
	var b []byte
	for _, s := range pcm {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return b
}

// mono16 is a WAV file.
func mono16(rate int, pcm []int16) []byte {
	b := littleEndian(pcm)
	return append(wavHeader(rate, int64(len(b))), b...)
}

// pull reads n samples in frames of 160, as turns do. It gives the source's goroutine its time between them.
func pull(t testing.TB, s Source, n int) (pcm []int16, err error) {
	t.Helper()
	for len(pcm) < n {
		frame := make([]int16, 160)
		m, err := s.Read(frame)
		if err != nil {
			return append(pcm, frame[:m]...), err
		}
		pcm = append(pcm, frame[:m]...)
		time.Sleep(20 * time.Millisecond)
	}
	return pcm, nil
}

func TestFileSourcePlaysEveryFormat(t *testing.T) {
	code := func(pcm []int16, f func(int16) byte) (b []byte) {
		for _, s := range pcm {
			b = append(b, f(s))
		}
		return b
	}
	stereo := func(rate int) []byte {
		var both []int16
		for _, s := range tone(rate, rate, 1000, -10) {
			both = append(both, s, s)
		}
		return wavFile{1, 2, uint32(rate), 16, nil, "", littleEndian(both), trueSize}.bytes()
	}
	second := tone(8000, 8000, 1000, -10)
	for name, file := range map[string][]byte{
		"8k.wav": mono16(8000, second), "16k.wav": mono16(16000, tone(16000, 16000, 1000, -10)),
		"44k stereo.wav": stereo(44100), "48k stereo.WAV": stereo(48000),
		"alaw.wav": wavFile{6, 1, 8000, 8, nil, "", code(second, alawEncode), trueSize}.bytes(),
		"ulaw.wav": wavFile{7, 1, 8000, 8, nil, "", code(second, ulawEncode), trueSize}.bytes(),
		"x.raw":    littleEndian(second), "x.sln": littleEndian(second), "x.ul": code(second, ulawEncode), "x.alaw": code(second, alawEncode),
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, name, file)
			synctest.Test(t, func(t *testing.T) {
				s, err := ParseSource("aufile,"+name, Options{Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if err := s.Open(8000); err != nil {
					t.Fatal(err)
				}
				pcm, err := pull(t, s, 20000) // it goes round twice
				if err != nil || len(pcm) < 20000 {
					t.Fatalf("%d samples, %v", len(pcm), err)
				}
				checkTone(t, name, pcm, 1000, -10)
			})
		})
	}
}

func TestFileSourceEndsIfAsked(t *testing.T) {
	pcm := tone(1000, 8000, 440, -10)
	dir := write(t, "short.wav", mono16(8000, pcm))
	synctest.Test(t, func(t *testing.T) {
		s, err := ParseSource("aufile,short.wav", Options{Dir: dir, Once: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Open(8000); err != nil {
			t.Fatal(err)
		}
		got, err := pull(t, s, 2000)
		if !errors.Is(err, io.EOF) || !slices.Equal(got, pcm) {
			t.Errorf("%d samples, %v; want all 1000 and io.EOF", len(got), err)
		}
	})
}

func TestFileSourceGoesOnAtAnotherRate(t *testing.T) {
	dir := write(t, "x.wav", mono16(8000, tone(80000, 8000, 1000, -10)))
	synctest.Test(t, func(t *testing.T) {
		s, err := ParseSource("aufile,x.wav", Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, rate := range []int{8000, 16000, 8000} {
			if err := s.Open(rate); err != nil {
				t.Fatal(err)
			}
			pcm, err := pull(t, s, 8000)
			hz, _, ok := Tone(pcm, rate)
			if err != nil || !ok || math.Abs(hz-1000) > 5 {
				t.Errorf("at %d Hz: %v Hz, %v, %v", rate, hz, ok, err)
			}
		}
	})
}

func TestRecordingIsRead(t *testing.T) {
	dir := t.TempDir()
	pcm := tone(20000, 8000, 440, -10)
	sink, err := ParseSink("aufile,out.wav", Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Open(8000); err != nil {
		t.Fatal(err)
	}
	for frame := range slices.Chunk(pcm, 160) {
		if err := sink.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readSound(t, filepath.Join(dir, "out.wav")); !slices.Equal(got, pcm) {
		t.Errorf("%d samples are read of %d written", len(got), len(pcm))
	}
}

// TestRecordingSurvivesAKill: what the file looks like while it is written is a complete file of all but the last second.
func TestRecordingSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		sink, err := ParseSink("aufile,"+filepath.Join(dir, "out.wav"), Options{Dir: "/nowhere"})
		if err != nil {
			t.Fatal(err)
		}
		defer sink.Close()
		if err := errors.Join(sink.Open(8000), sink.Open(8000)); err != nil {
			t.Fatal(err)
		}
		for range 100 { // 2 s
			if err := sink.Write(tone(160, 8000, 440, -10)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		synctest.Wait()
		b, err := os.ReadFile(filepath.Join(dir, "out.wav"))
		if err != nil {
			t.Fatal(err)
		}
		pcm, info, err := readAll(b)
		if err != nil || len(pcm) < 8000 || info.size != int64(2*len(pcm)) {
			t.Errorf("after 2 s the file has %d samples, header %+v, %v", len(pcm), info, err)
		}
		if err := sink.Open(16000); err == nil {
			t.Error("the rate of a file can change")
		}
	})
}

// TestRecordingOfNothing: a sink that is only tried out, as at the start of a program, leaves things as they were.
func TestRecordingOfNothing(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.wav")
	if err := os.WriteFile(old, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old.wav", "new.wav"} {
		sink, err := ParseSink("aufile,"+name, Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(old); err != nil || string(b) != "precious" {
		t.Errorf("the old file holds %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "new.wav")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file without recording is left: %v", err)
	}
}

func TestTwoRecordingsToOneFile(t *testing.T) {
	dir := t.TempDir()
	var sinks [2]Sink
	for i := range sinks {
		s, err := ParseSink("aufile,out.wav", Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		sinks[i] = s
	}
	if err := sinks[0].Open(8000); err != nil {
		t.Fatal(err)
	}
	if err := sinks[1].Open(8000); err == nil || !strings.Contains(err.Error(), "another call") {
		t.Errorf("a second call records to the same file: %v", err)
	}
}

// TestRecordingOfNothingSparesAnother: the call that made the file records nothing, the other one does.
func TestRecordingOfNothingSparesAnother(t *testing.T) {
	dir := t.TempDir()
	first, err := ParseSink("aufile,out.wav", Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	second, err := ParseSink("aufile,out.wav", Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(second.Open(8000), second.Write(make([]int16, 160)), first.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	if pcm := readSound(t, filepath.Join(dir, "out.wav")); len(pcm) != 160 {
		t.Errorf("%d samples are left, want 160", len(pcm))
	}
}

// TestRecordingTellsOfAFullDisk uses a file that is closed under the writer's feet.
func TestRecordingTellsOfAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := createRecording(filepath.Join(t.TempDir(), "out.wav"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Open(8000), r.f.Close()); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if err = r.Write(make([]int16, 160)); err != nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Write = %v", err)
		}
		if err := r.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Close = %v", err)
		}
	})
}

func TestRecordingIsBounded(t *testing.T) {
	r := &recording{rate: 8000, f: os.Stderr, wake: make(chan struct{}, 1)} // nobody writes
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = r.Write(make([]int16, 160))
	}
	if err == nil || n < 500 || n > 505 {
		t.Errorf("%d frames wait, %v; want 10 s", n, err)
	}
}

func TestSpecsAreRefusedWithTheReason(t *testing.T) {
	dir := write(t, "prose.wav", []byte("hello"))
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "empty.raw"), nil, 0o600), os.WriteFile(filepath.Join(dir, "empty.wav"), wavHeader(8000, 0), 0o600)); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]string{
		"": "aufile,FILE; ausine,HZ", "alsa,default": "aunull; echo", "aufile": "needs a file", "aufile,": "needs a file", "aufile,missing.wav": "missing.wav",
		"aufile,prose.wav": "not a WAV", "aufile,empty.raw": "no samples", "aufile,empty.wav": "no samples", "aufile,.": "not a regular file",
		"ausine": "want a frequency", "ausine,": "want a frequency", "ausine,x": "want a frequency", "ausine,440,x": "want a frequency", "ausine,440,3": "want a frequency",
		"ausine,-5": "want a frequency", "ausine,NaN": "want a frequency", "ausine,440,NaN": "want a frequency", "ausine,30000": "want a frequency",
	} {
		if s, err := ParseSource(spec, Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSource(%q) = %v, %v; want %q", spec, s, err, want)
		}
	}
	for spec, want := range map[string]string{
		"": "aufile,FILE; aunull", "echo": "aufile,FILE; aunull", "ausine,440": "aunull", "aufile": "needs a file", "aufile,no/such/dir.wav": "no/such/dir.wav",
	} {
		if s, err := ParseSink(spec, Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSink(%q) = %v, %v; want %q", spec, s, err, want)
		}
	}
	if _, err := ParseSource("aufile,missing.wav", Options{Dir: dir}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestSine(t *testing.T) {
	for spec, want := range map[string][2]float64{"ausine,440": {440, -10}, "ausine, 1000.5 , -3": {1000.5, -3}, "ausine,3999,0": {3999, 0}} {
		s := source(t, spec)
		if err := s.Open(8000); err != nil {
			t.Fatal(err)
		}
		pcm := make([]int16, 32000)
		for frame := range slices.Chunk(pcm, 160) {
			if n, err := s.Read(frame); n != 160 || err != nil {
				t.Fatal(n, err)
			}
		}
		if hz, dbfs, ok := Tone(pcm, 8000); !ok || math.Abs(hz-want[0]) > 0.5 || math.Abs(dbfs-want[1]) > 0.2 {
			t.Errorf("%s: %v Hz at %v dBFS, %v", spec, hz, dbfs, ok)
		}
	}
	if err := source(t, "ausine,5000").Open(8000); err == nil {
		t.Error("5 kHz at 8000 samples a second")
	}
}

func TestNullIsSilence(t *testing.T) {
	s := source(t, "aunull")
	pcm := tone(160, 8000, 440, 0)
	n, err := s.Read(pcm)
	if err := errors.Join(err, s.Open(8000), s.Close()); n != 160 || err != nil || slices.ContainsFunc(pcm, func(v int16) bool { return v != 0 }) {
		t.Errorf("%d samples, %v, %v", n, pcm, err)
	}
	sink, err := ParseSink("aunull", Options{})
	if err := errors.Join(err, sink.Open(8000), sink.Write(pcm), sink.Close()); err != nil {
		t.Error(err)
	}
}

func TestSoundReaderStopsAtAnError(t *testing.T) {
	s := soundReader{r: bytes.NewReader(nil), info: soundInfo{code: wavPCM, channels: 1, rate: 8000, offset: -1, size: 9}}
	if err := s.rewind(); err == nil {
		t.Error("sought before the file")
	}
}
