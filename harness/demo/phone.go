package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/gosipua/gosipua/ua"
	"github.com/gosipua/gosipua/ua/media"
)

// The tones that the phones send, in Hz: no harmonics of each other.
const (
	aliceTone = 1000
	bobTone   = 440
)

// What a good call has at most: a tone is found to a few Hz, and nothing gets lost on loopback unless the machine is overloaded.
const (
	maxError = 10   // Hz
	maxLoss  = 0.01 // of the packets
	minLevel = -40  // dBFS
)

// Phone is what one end of the call had of it.
type Phone struct {
	Name       string
	Sent       float64 // Hz
	Heard      float64 // Hz; 0: no tone
	Expected   float64 // Hz
	Level      float64 // dBFS, of what was heard
	Statistics media.Stats
}

// Loss is the part of the expected packets that did not come, 0 to 1.
func (p Phone) Loss() float64 {
	if p.Statistics.Expected == 0 {
		return 0
	}
	return float64(max(p.Statistics.Lost, 0)) / float64(p.Statistics.Expected)
}

// check says what was wrong with the call.
func (p Phone) check() error {
	switch {
	case p.Statistics.RxPackets == 0:
		return fmt.Errorf("%s received nothing", p.Name)
	case math.Abs(p.Heard-p.Expected) > maxError:
		return fmt.Errorf("%s heard %.0f Hz and not the %.0f Hz that were sent", p.Name, p.Heard, p.Expected)
	case p.Level < minLevel:
		return fmt.Errorf("%s heard hardly anything: %.0f dBFS", p.Name, p.Level)
	case p.Loss() > maxLoss:
		return fmt.Errorf("%s missed %.1f %% of the packets", p.Name, 100*p.Loss())
	}
	return nil
}

// maxEvents is far more than a demonstration has.
const maxEvents = 256

// phone is one user agent with one account.
type phone struct {
	name   string
	tone   float64
	record string // the WAV file of what it hears
	agent  *ua.Agent
	events chan ua.Event
}

// newPhone makes a phone that registers at the registrar and sends a tone in its calls.
func (d *demo) newPhone(name string, at netip.AddrPort, password string, tone float64, answer ua.AnswerPolicy) (*phone, error) {
	p := &phone{name: name, tone: tone, record: filepath.Join(d.folder, name+".wav"), events: make(chan ua.Event, maxEvents)}
	var err error
	p.agent, err = ua.New(ua.Config{
		Transport: d.transport(),
		// The ports that no service is assigned to (RFC 6335 section 6), so that a gosipua that runs here keeps its own.
		Media:    media.Config{PortMin: 49152, PortMax: 65535, Log: d.cfg.Log},
		Accounts: []ua.Account{{AOR: "sip:" + name + "@" + at.String(), Register: true, AuthPass: password, Answer: answer}},
		Source:   fmt.Sprintf("ausine,%g", tone),
		Player:   "aufile," + p.record,
		Event:    p.event,
		Log:      d.cfg.Log,
	})
	return p, err
}

// event keeps what await waits for.
func (p *phone) event(e ua.Event) {
	select {
	case p.events <- e:
	default: // a demonstration that has gone so wrong ends by its deadline
	}
}

// await waits for an event of that kind, or one after which it cannot come.
func (p *phone) await(ctx context.Context, kind ua.EventKind) (ua.Event, error) {
	for {
		select {
		case e := <-p.events:
			switch e.Kind {
			case kind:
				return e, nil
			case ua.RegisterFailed:
				return e, e.Err
			case ua.CallEnded:
				return e, errors.Join(errors.New("it ended"), e.Err)
			default:
			}
		case <-ctx.Done():
			return ua.Event{}, context.Cause(ctx)
		}
	}
}

// report says what the phone had of the call, which has ended.
func (p *phone) report(call *ua.Call, expected float64) (Phone, error) {
	r := Phone{Name: p.name, Sent: p.tone, Expected: expected, Statistics: call.Stats()}
	pcm, err := readWAV(p.record)
	if err != nil {
		return r, fmt.Errorf("the recording of %s: %w", p.name, err)
	}
	r.Heard, r.Level = tone(pcm)
	return r, nil
}

// window is how many samples are judged at a time, a quarter of a second.
const window = 2048

// tone gives frequency and level of the tone that most of the recording consists of; 0 if there is none. Of its windows the median
// counts, so that a gap on a busy machine spoils one or two and not the verdict.
func tone(pcm []int16) (hz, dbfs float64) {
	var frequencies, levels []float64
	silent := 0
	for part := range slices.Chunk(pcm, window) {
		switch f, l, ok := media.Tone(part, sampleRate); {
		case len(part) < window: // the last one
		case !ok:
			silent++
		default:
			frequencies, levels = append(frequencies, f), append(levels, l)
		}
	}
	if len(frequencies) <= silent {
		return 0, 0
	}
	slices.Sort(frequencies)
	slices.Sort(levels)
	return frequencies[len(frequencies)/2], levels[len(levels)/2]
}

// sampleRate is the rate at which recordings are looked at, in Hz.
const sampleRate = 8000

// readWAV reads a recording, all but its first half second, in which the jitter buffer fills.
func readWAV(path string) ([]int16, error) {
	src, err := media.ParseSource("aufile,"+path, media.Options{Once: true})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if err := src.Open(sampleRate); err != nil {
		return nil, err
	}
	var pcm []int16
	for frame := make([]int16, sampleRate/50); ; {
		n, err := src.Read(frame)
		pcm = append(pcm, frame[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return pcm[min(len(pcm), sampleRate/2):], nil
		case err != nil:
			return nil, err
		}
	}
}
