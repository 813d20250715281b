package media

import (
	"errors"
	"fmt"
	"math"
	"math/cmplx"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Source gives the audio that a stream sends. A Source belongs to one stream at a time, which calls its methods one at
// a time, from different goroutines.
type Source interface {
	// Open says at which rate, in Hz, samples will be read. It is called before the first Read, and again if the rate
	// changes.
	Open(rate int) error
	// Read fills pcm with the next samples. It never blocks: what it leaves out at the end is sent as silence. io.EOF
	// says that there is no more, any other error that something broke; Read is not called again then.
	Read(pcm []int16) (int, error)
	Close() error
}

// Sink takes the audio that a stream receives. A Sink belongs to one stream at a time, which calls its methods one at a
// time, from different goroutines.
type Sink interface {
	// Open says at which rate, in Hz, samples will be written. It is called before the first Write, and again if the
	// rate changes.
	Open(rate int) error
	// Write takes samples, which it must copy. It never blocks. After an error it is not called again.
	Write(pcm []int16) error
	Close() error
}

// Options are for ParseSource and ParseSink. The zero value works.
type Options struct {
	Dir  string // relative paths start here; "": the working directory
	Once bool   // a file is played once and then silence; false: again and again, as baresip does
}

// The names of the drivers, for errors.
const (
	sourceDrivers = "aufile,FILE; ausine,HZ[,DBFS]; aunull; echo"
	sinkDrivers   = "aufile,FILE; aunull"
)

// ParseSource opens the source that a "driver,argument" string of baresip's kind names:
//
//	aufile,FILE       a WAV file (16-bit PCM, A-law, mu-law; one or two channels; 8 to 48 kHz), or without a header and
//	                  8 kHz mono: .raw .pcm .sln (16-bit little-endian), .ul .ulaw .pcmu, .al .alaw .pcma
//	ausine,HZ[,DBFS]  a sine, by default at -10 dBFS
//	aunull            silence
//	echo              what the stream receives
//
// An unknown driver gives an error that names these; a missing or unreadable file is an error now, not in the call.
func ParseSource(spec string, o Options) (Source, error) {
	driver, arg, _ := strings.Cut(spec, ",")
	switch strings.TrimSpace(driver) {
	case "aufile":
		return openSoundFile(o.path(arg), o.Once)
	case "ausine":
		return parseSine(arg)
	case "aunull":
		return null{}, nil
	case "echo":
		return &echo{}, nil
	}
	return nil, fmt.Errorf("media: unknown audio source %q: want one of %s", spec, sourceDrivers)
}

// ParseSink opens the sink that a "driver,argument" string names:
//
//	aufile,FILE   records to a WAV file, 16-bit PCM, one channel, at the codec's rate; an existing file is overwritten when
//	              the recording begins, unless another one is being written to it
//	aunull        discards
//
// An unknown driver gives an error that names these; a file that cannot be created is an error now.
func ParseSink(spec string, o Options) (Sink, error) {
	driver, arg, _ := strings.Cut(spec, ",")
	switch strings.TrimSpace(driver) {
	case "aufile":
		return createRecording(o.path(arg))
	case "aunull":
		return null{}, nil
	}
	return nil, fmt.Errorf("media: unknown audio player %q: want one of %s", spec, sinkDrivers)
}

// path is the file that an argument names.
func (o Options) path(arg string) string {
	arg = strings.TrimSpace(arg)
	if arg == "" || filepath.IsAbs(arg) {
		return arg
	}
	return filepath.Join(o.Dir, arg)
}

// null is silence, and a place to put it.
type null struct{}

func (null) Open(int) error { return nil }
func (null) Close() error   { return nil }

func (null) Read(pcm []int16) (int, error) {
	clear(pcm)
	return len(pcm), nil
}

func (null) Write([]int16) error { return nil }

// echo gives back what has been played in the same turn.
type echo struct{ heard []int16 }

func (e *echo) Open(rate int) error {
	e.heard = make([]int16, 0, rate/8)
	return nil
}

func (*echo) Close() error { return nil }

func (e *echo) hear(pcm []int16) { e.heard = append(e.heard[:0], pcm...) }

func (e *echo) Read(pcm []int16) (int, error) { return copy(pcm, e.heard), nil }

// sine is a pure tone: a pointer that turns by one step a sample.
type sine struct {
	hz, amplitude float64
	turn, step    complex128
}

const defaultSineLevel = -10.0 // dBFS

func parseSine(arg string) (*sine, error) {
	hertz, level, given := strings.Cut(arg, ",")
	s := &sine{turn: 1}
	dbfs := defaultSineLevel
	var err, err2 error
	s.hz, err = strconv.ParseFloat(strings.TrimSpace(hertz), 64)
	if given {
		dbfs, err2 = strconv.ParseFloat(strings.TrimSpace(level), 64)
	}
	if errors.Join(err, err2) != nil || !(s.hz > 0 && s.hz <= 20000) || !(dbfs <= 0 && dbfs >= silence) {
		return nil, fmt.Errorf("media: ausine,%s: want a frequency of up to 20000 Hz, and perhaps a level of %v to 0 dBFS: ausine,440,-10", arg, silence)
	}
	s.amplitude = math.MaxInt16 * math.Pow(10, dbfs/20)
	return s, nil
}

func (s *sine) Open(rate int) error {
	if s.hz >= float64(rate)/2 {
		return fmt.Errorf("a sine of %v Hz needs more than %d samples a second", s.hz, rate)
	}
	s.step = cmplx.Rect(1, 2*math.Pi*s.hz/float64(rate))
	return nil
}

func (*sine) Close() error { return nil }

func (s *sine) Read(pcm []int16) (int, error) {
	for i := range pcm {
		pcm[i] = int16(math.RoundToEven(s.amplitude * imag(s.turn)))
		s.turn *= s.step
	}
	s.turn /= complex(cmplx.Abs(s.turn), 0) // rounding must not let it grow or fade
	return len(pcm), nil
}

// openFile opens a file for reading; directories and devices that could block are refused.
func openFile(path string) (*os.File, error) {
	if path == "" {
		return nil, errors.New("media: aufile needs a file: aufile,FILE")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("media: %w", err), f.Close())
	}
	return f, nil
}
