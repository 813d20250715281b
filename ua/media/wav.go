package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Format codes of WAV files.
const (
	wavPCM        = 1
	wavALaw       = 6
	wavULaw       = 7
	wavExtensible = 0xfffe
)

// soundInfo says how samples lie in a file.
type soundInfo struct {
	code     uint16 // wavPCM (16 bits, little endian), wavALaw, wavULaw
	channels int    // 1 or 2
	rate     int    // Hz
	offset   int64  // of the first sample in the file
	size     int64  // bytes of samples; math.MaxInt64: up to the end of the file
}

// frame is the number of bytes of one sample of all channels.
func (i soundInfo) frame() int {
	if i.code == wavPCM {
		return 2 * i.channels
	}
	return i.channels
}

// parseWAV reads the header of a RIFF/WAVE file. A data size of 0 or all ones, which programs leave behind that were
// killed or could not seek, means: up to the end of the file.
func parseWAV(r io.ReadSeeker) (soundInfo, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return soundInfo{}, errors.New("not a WAV file")
	}
	var info soundInfo
	for at := int64(12); ; {
		var chunk [8]byte
		if _, err := io.ReadFull(r, chunk[:]); err != nil {
			return soundInfo{}, errors.New("WAV file without samples")
		}
		at += 8
		size := int64(binary.LittleEndian.Uint32(chunk[4:]))
		switch string(chunk[:4]) {
		case "fmt ":
			if err := info.parseFormat(r, size); err != nil {
				return soundInfo{}, err
			}
		case "data":
			if info.rate == 0 {
				return soundInfo{}, errors.New("WAV file with samples before their format")
			}
			info.offset, info.size = at, size
			if size == 0 || size == math.MaxUint32 {
				info.size = math.MaxInt64
			}
			return info, nil
		}
		at += size + size&1 // chunks are padded to an even length
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			return soundInfo{}, fmt.Errorf("WAV file: %w", err)
		}
	}
}

// parseFormat reads the fmt chunk.
func (i *soundInfo) parseFormat(r io.Reader, size int64) error {
	var b [26]byte
	if size < 16 {
		return errors.New("WAV file with a short format")
	}
	n, err := io.ReadFull(r, b[:min(size, int64(len(b)))])
	if err != nil {
		return errors.New("WAV file with a short format")
	}
	code := binary.LittleEndian.Uint16(b[0:])
	channels, rate := binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])
	depth := binary.LittleEndian.Uint16(b[14:])
	if code == wavExtensible && n == len(b) {
		code = binary.LittleEndian.Uint16(b[24:]) // the first field of the GUID
	}
	switch {
	case code == wavPCM && depth == 16, code == wavALaw && depth == 8, code == wavULaw && depth == 8:
	default:
		return fmt.Errorf("WAV format %d with %d bits is not supported: want 16-bit PCM, A-law or mu-law", code, depth)
	}
	if channels < 1 || channels > 2 {
		return fmt.Errorf("WAV file with %d channels is not supported: want 1 or 2", channels)
	}
	if rate < 8000 || rate > 48000 {
		return fmt.Errorf("WAV file with %d samples per second is not supported: want 8000 to 48000", rate)
	}
	i.code, i.channels, i.rate = code, int(channels), int(rate)
	return nil
}

// soundReader reads the samples of a file as one channel.
type soundReader struct {
	r    io.ReadSeeker
	info soundInfo
	left int64
	buf  []byte
}

// rewind goes to the first sample.
func (s *soundReader) rewind() error {
	s.left = s.info.size
	_, err := s.r.Seek(s.info.offset, io.SeekStart)
	return err
}

// read appends up to n samples to dst; two channels are averaged. At the end of the samples the error is io.EOF.
func (s *soundReader) read(dst []int16, n int) ([]int16, error) {
	frame := s.info.frame()
	want := min(int64(n*frame), s.left)
	if int64(cap(s.buf)) < want {
		s.buf = make([]byte, want)
	}
	got, err := io.ReadFull(s.r, s.buf[:want])
	s.left -= int64(got)
	if got < frame {
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		return dst, err
	}
	for b := s.buf[:got-got%frame]; len(b) > 0; b = b[frame:] {
		sample := s.info.sample(b)
		if s.info.channels == 2 {
			sample = (sample + s.info.sample(b[frame/2:])) / 2
		}
		dst = append(dst, int16(sample))
	}
	return dst, nil
}

// sample is the one at the start of b.
func (i soundInfo) sample(b []byte) int {
	switch i.code {
	case wavALaw:
		return int(alawDecode(b[0]))
	case wavULaw:
		return int(ulawDecode(b[0]))
	default:
		return int(int16(binary.LittleEndian.Uint16(b)))
	}
}

// wavHeaderSize is the length of what wavHeader makes.
const wavHeaderSize = 44

// wavHeader is the head of a file with one channel of 16-bit PCM that has data bytes of samples.
func wavHeader(rate int, data int64) []byte {
	size := uint32(min(data, math.MaxUint32-wavHeaderSize))
	b := make([]byte, 0, wavHeaderSize)
	b = append(b, "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, size+wavHeaderSize-8)
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, wavPCM)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(2*rate))
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 16)
	b = append(b, "data"...)
	return binary.LittleEndian.AppendUint32(b, size)
}
