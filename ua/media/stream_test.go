package media

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/gosipua/gosipua/ua/sdp"
)

// checkTone fails unless pcm is that tone, to 5 Hz and 1 dB.
func checkTone(t testing.TB, who string, pcm []int16, hz, dbfs float64) {
	t.Helper()
	got, level, ok := Tone(pcm, 8000)
	if !ok || math.Abs(got-hz) > 5 || math.Abs(level-dbfs) > 1 {
		t.Errorf("%s hears %.1f Hz at %.1f dBFS, %v; want %v Hz at %v", who, got, level, ok, hz, dbfs)
	}
}

// TestToneReachesTheOthersRecording is the whole line: source, codec, packets, jitter buffer, file.
func TestToneReachesTheOthersRecording(t *testing.T) {
	for _, codec := range []string{"PCMU", "PCMA"} {
		t.Run(codec, func(t *testing.T) {
			dir := t.TempDir()
			inCall(t, func(c *call) {
				record := func(s *Stream, name, tone string) {
					sink, err := ParseSink("aufile,"+name, Options{Dir: dir})
					if err != nil {
						t.Fatal(err)
					}
					if err := s.SetSink(sink); err != nil {
						t.Fatal(err)
					}
					if err := s.SetSource(source(t, tone)); err != nil {
						t.Fatal(err)
					}
				}
				record(c.a, "a.wav", "ausine,1000,-10")
				record(c.b, "b.wav", "ausine,440,-20")
				agree(t, c.a, c.b, func(l *sdp.Local) {
					if codec == "PCMA" {
						l.Codecs = l.Codecs[1:]
					}
				})
				time.Sleep(5 * time.Second)
				if st := c.a.Stats(); st.Codec != codec || st.Lost != 0 || st.Concealed > 40*time.Millisecond || st.RxPackets < 249 || st.MOS < 4.3 {
					t.Errorf("stats %+v", st)
				}
				if err := c.a.Close(); err != nil {
					t.Error(err)
				}
				if err := c.b.Close(); err != nil {
					t.Error(err)
				}
			})
			for name, hz := range map[string][2]float64{"a.wav": {440, -20}, "b.wav": {1000, -10}} {
				pcm := readSound(t, filepath.Join(dir, name))
				if math.Abs(float64(len(pcm))-40000) > 400 {
					t.Errorf("%s has %d samples, want 5 s", name, len(pcm))
				}
				checkTone(t, name, pcm[4000:36000], hz[0], hz[1])
			}
		})
	}
}

// readSound reads a sound file at 8 kHz.
func readSound(t testing.TB, path string) []int16 {
	t.Helper()
	s, err := openSoundFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var pcm []int16
	for {
		if pcm, err = s.r.read(pcm, 1000); err != nil {
			return pcm
		}
	}
}
