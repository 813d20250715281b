package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// How a recording is written: a second at a time, so that a killed process loses no more than that, and what waits for
// a slow disk is bounded.
const (
	recordEvery = time.Second
	recordMax   = 10 * time.Second
)

// recording is a Sink that writes a WAV file. A goroutine writes; Write only appends to what waits.
type recording struct {
	f    *os.File
	made bool          // it did not exist before
	rate int           // 0 before Open
	wake chan struct{} // holds a token when a second is waiting; closed by Close
	ends sync.WaitGroup

	mu      sync.Mutex
	pending []byte
	err     error

	// The writer's.
	writing []byte
	size    int64 // bytes of samples in the file
}

// createRecording opens the file at once, so that a path that cannot be written is found before the call. What the file
// holds is only lost when the recording begins: see Open.
func createRecording(path string) (*recording, error) {
	if path == "" {
		return nil, errors.New("media: aufile needs a file: aufile,FILE")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	made := err == nil
	if errors.Is(err, fs.ErrExist) {
		f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	return &recording{f: f, made: made}, nil
}

// Open takes the file for this recording, empties it and writes the header. It fails if another recording, of any process, is
// being written to it: two calls at a time would make noise of each other. The rate of a WAV file cannot change any more.
func (r *recording) Open(rate int) error {
	switch r.rate {
	case rate:
		return nil
	case 0:
	default:
		return fmt.Errorf("%s is recorded at %d Hz, and cannot go on at %d Hz", r.f.Name(), r.rate, rate)
	}
	if err := lockFile(r.f); err != nil {
		return fmt.Errorf("%s is being recorded to by another call: %w", r.f.Name(), err)
	}
	if err := r.f.Truncate(0); err != nil {
		return err
	}
	if _, err := r.f.WriteAt(wavHeader(rate, 0), 0); err != nil {
		return err
	}
	r.rate, r.wake = rate, make(chan struct{}, 1)
	r.ends.Go(r.run)
	return nil
}

// Write queues samples. An error is that of the disk, or that it has fallen ten seconds behind.
func (r *recording) Write(pcm []int16) error {
	second := 2 * r.rate * int(recordEvery/time.Second)
	r.mu.Lock()
	if r.err == nil && len(r.pending) > second*int(recordMax/recordEvery) {
		r.err = fmt.Errorf("media: %s cannot be written fast enough", r.f.Name())
	}
	err := r.err
	if err == nil {
		for _, s := range pcm {
			r.pending = binary.LittleEndian.AppendUint16(r.pending, uint16(s))
		}
	}
	due := len(r.pending) >= second
	r.mu.Unlock()
	if due {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	return err
}

func (r *recording) run() {
	for range r.wake {
		r.flush()
	}
	r.flush()
}

// flush writes what is pending, and then the header anew: whenever the process dies, the file is complete up to here.
func (r *recording) flush() {
	r.mu.Lock()
	r.writing, r.pending = r.pending, r.writing[:0]
	err := r.err
	r.mu.Unlock()
	if err != nil || len(r.writing) == 0 {
		return
	}
	_, err = r.f.WriteAt(r.writing, wavHeaderSize+r.size)
	if err == nil {
		r.size += int64(len(r.writing))
		_, err = r.f.WriteAt(wavHeader(r.rate, r.size), 0)
	}
	if err != nil {
		r.mu.Lock()
		r.err = fmt.Errorf("media: %w", err)
		r.mu.Unlock()
	}
}

// Close completes the file; one that was made for a recording that never began is removed.
func (r *recording) Close() error {
	if r.rate == 0 {
		return r.discard()
	}
	close(r.wake)
	r.ends.Wait()
	r.mu.Lock()
	err := r.err
	r.mu.Unlock()
	return errors.Join(err, r.f.Close())
}

// discard leaves things as they were before createRecording. A file that another call records to meanwhile stays.
func (r *recording) discard() error {
	st, err := r.f.Stat()
	if r.made && err == nil && st.Size() == 0 && lockFile(r.f) == nil {
		err = os.Remove(r.f.Name())
	}
	return errors.Join(err, r.f.Close())
}
