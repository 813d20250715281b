package demo

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/ifwatch/ifwatchtest"
	"github.com/gosipua/gosipua/ua/media"
)

func TestPhoneCheck(t *testing.T) {
	good := Phone{Name: "alice", Expected: 440, Heard: 442, Level: -10, Statistics: media.Stats{RxPackets: 200, Expected: 200}}
	for _, c := range []struct {
		situation string
		change    func(*Phone)
		want      string
	}{
		{"all is well", func(*Phone) {}, ""},
		{"two packets in 200 are lost", func(p *Phone) { p.Statistics.Lost = 2 }, ""},
		{"three packets in 200 are lost", func(p *Phone) { p.Statistics.Lost = 3 }, "alice missed 1.5 % of the packets"},
		{"more came than were expected", func(p *Phone) { p.Statistics.Lost = -3 }, ""},
		{"nothing came", func(p *Phone) { p.Statistics = media.Stats{} }, "alice received nothing"},
		{"silence", func(p *Phone) { p.Heard = 0 }, "alice heard 0 Hz and not the 440 Hz that were sent"},
		{"another tone", func(p *Phone) { p.Heard = 1000 }, "alice heard 1000 Hz and not the 440 Hz that were sent"},
		{"a whisper", func(p *Phone) { p.Level = -60 }, "alice heard hardly anything: -60 dBFS"},
	} {
		p := good
		c.change(&p)
		got := ""
		if err := p.check(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.situation, got, c.want)
		}
	}
}

func TestToneOutlastsGaps(t *testing.T) {
	pcm := make([]int16, 3*sampleRate)
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*440*float64(i)/sampleRate))
	}
	clear(pcm[sampleRate : sampleRate+sampleRate/10])
	if hz, dbfs := tone(pcm); math.Abs(hz-440) > 1 || math.Abs(dbfs+12.2) > 0.5 {
		t.Errorf("with a gap: %.1f Hz at %.1f dBFS", hz, dbfs)
	}
	clear(pcm[sampleRate/2:])
	if hz, _ := tone(pcm); hz != 0 {
		t.Errorf("mostly silence: %.1f Hz", hz)
	}
	if hz, _ := tone(nil); hz != 0 {
		t.Errorf("nothing: %.1f Hz", hz)
	}
}

func TestRunWithoutLoopbackFailsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		links := ifwatchtest.NewSource()
		links.Set([]ifwatch.Link{ifwatchtest.Link(2, "eth0")}, nil)
		_, err := Run(t.Context(), Config{Links: links, Addr: netip.MustParseAddr("127.0.0.1")})
		if err == nil || !strings.HasPrefix(err.Error(), "registrar cannot listen on 127.0.0.1: ") || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
