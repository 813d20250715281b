package media

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// readAhead is how much of a file is kept ready, so that a slow disk does not reach the pacer.
const readAhead = 400 * time.Millisecond

// soundFile is a Source that plays a file. A goroutine reads it; Read only takes what is ready.
type soundFile struct {
	f    *os.File
	r    soundReader
	once bool
	stop chan struct{} // closed to end the goroutine; nil: none runs
	more chan struct{} // holds a token when there is room again
	ends sync.WaitGroup

	mu    sync.Mutex
	ready []int16
	err   error // why there will be no more
}

// openSoundFile opens a file and reads its header.
func openSoundFile(path string, once bool) (*soundFile, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	info, err := soundFormat(path, f)
	if err == nil {
		s := &soundFile{f: f, r: soundReader{r: f, info: info}, once: once}
		if err = s.r.rewind(); err == nil {
			var some []int16
			if some, err = s.r.read(nil, 1); err == nil && len(some) == 1 {
				return s, s.r.rewind()
			}
			err = errors.New("no samples in it")
		}
	}
	return nil, errors.Join(fmt.Errorf("media: %s: %w", path, err), f.Close())
}

// soundFormat finds out how samples lie in a file: by its header, or by the name if it has none.
func soundFormat(path string, r io.ReadSeeker) (soundInfo, error) {
	raw := soundInfo{code: wavPCM, channels: 1, rate: 8000, size: math.MaxInt64}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".raw", ".pcm", ".sln":
		return raw, nil
	case ".ul", ".ulaw", ".pcmu":
		raw.code = wavULaw
		return raw, nil
	case ".al", ".alaw", ".pcma":
		raw.code = wavALaw
		return raw, nil
	}
	return parseWAV(r)
}

// Open begins to read ahead at a rate, from where the file is.
func (s *soundFile) Open(rate int) error {
	s.halt()
	room := int(readAhead * time.Duration(rate) / time.Second)
	s.mu.Lock()
	s.ready = make([]int16, 0, room)
	s.mu.Unlock()
	s.stop, s.more = make(chan struct{}), make(chan struct{}, 1)
	fill := &fileFiller{s: s, resample: newResampler(s.r.info.rate, rate), room: room}
	if err := fill.step(); err != nil { // the first turn finds audio
		s.finish(err)
		return nil
	}
	s.ends.Go(func() { fill.run(s.stop, s.more) })
	return nil
}

// halt ends the goroutine.
func (s *soundFile) halt() {
	if s.stop != nil {
		close(s.stop)
		s.ends.Wait()
		s.stop = nil
	}
}

func (s *soundFile) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Read takes what is ready.
func (s *soundFile) Read(pcm []int16) (int, error) {
	s.mu.Lock()
	n := copy(pcm, s.ready)
	s.ready = append(s.ready[:0], s.ready[n:]...)
	left, err := len(s.ready), s.err
	s.mu.Unlock()
	if left == 0 && err != nil {
		return n, err
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
	return n, nil
}

func (s *soundFile) Close() error {
	s.halt()
	return s.f.Close()
}

// fileFiller keeps a soundFile filled.
type fileFiller struct {
	s        *soundFile
	resample *resampler
	room     int
	raw      []int16 // as in the file
	pcm      []int16 // at the rate that is wanted
}

func (f *fileFiller) run(stop, more <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-more:
		}
		if err := f.step(); err != nil {
			f.s.finish(err)
			return
		}
	}
}

// step reads until there is no more room, or the file has ended for good.
func (f *fileFiller) step() error {
	for {
		f.s.mu.Lock()
		space := f.room - len(f.s.ready) - len(f.pcm)
		f.s.mu.Unlock()
		if space <= 0 {
			return nil
		}
		var err error
		if f.raw, err = f.s.r.read(f.raw[:0], f.room/4); err != nil {
			if !errors.Is(err, io.EOF) || f.s.once {
				return err
			}
			if err = f.s.r.rewind(); err != nil {
				return err
			}
			if f.raw, err = f.s.r.read(f.raw[:0], f.room/4); err != nil {
				return err // it has been emptied meanwhile
			}
		}
		f.pcm = f.resample.push(f.pcm[:0], f.raw)
		f.s.mu.Lock()
		f.s.ready = append(f.s.ready, f.pcm...)
		f.s.mu.Unlock()
		f.pcm = f.pcm[:0]
	}
}
