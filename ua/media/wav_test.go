package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// wavFile builds a WAV file by hand: the fmt fields, chunks before the data, and the data with the size it claims.
type wavFile struct {
	code, channels uint16
	rate           uint32
	bits           uint16
	extra          []byte // behind the 16 bytes of fmt
	before         string // chunks between fmt and data
	data           []byte
	size           uint32 // 0xfffffffe: the true one
}

func (w wavFile) bytes() []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt ")
	b = binary.LittleEndian.AppendUint32(b, uint32(16+len(w.extra)))
	b = binary.LittleEndian.AppendUint16(b, w.code)
	b = binary.LittleEndian.AppendUint16(b, w.channels)
	b = binary.LittleEndian.AppendUint32(b, w.rate)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint16(b, w.bits)
	b = append(append(append(b, w.extra...), w.before...), "data"...)
	size := w.size
	if size == 0xfffffffe {
		size = uint32(len(w.data))
	}
	return append(binary.LittleEndian.AppendUint32(b, size), w.data...)
}

const trueSize = 0xfffffffe

// readAll reads a sound file as one channel.
func readAll(b []byte) ([]int16, soundInfo, error) {
	r := bytes.NewReader(b)
	info, err := parseWAV(r)
	if err != nil {
		return nil, info, err
	}
	s := soundReader{r: r, info: info}
	if err := s.rewind(); err != nil {
		return nil, info, err
	}
	var pcm []int16
	for {
		if pcm, err = s.read(pcm, 100); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return pcm, info, err
		}
	}
}

func TestWAVIsRead(t *testing.T) {
	guid := append([]byte{22, 0, 16, 0, 3, 0, 0, 0}, "\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"...)
	pcm := []byte{1, 0, 0xff, 0xff, 0, 0x80, 0xff, 0x7f}
	tests := []struct {
		name string
		file wavFile
		want []int16
	}{
		{"16 bits, one channel", wavFile{1, 1, 8000, 16, nil, "", pcm, trueSize}, []int16{1, -1, -32768, 32767}},
		{"16 bits, two channels are averaged", wavFile{1, 2, 44100, 16, nil, "", pcm, trueSize}, []int16{0, 0}},
		{"A-law", wavFile{6, 1, 8000, 8, []byte{0, 0}, "", []byte{0xd5, 0x55, 0x2a}, trueSize}, []int16{8, -8, -32256}},
		{"mu-law", wavFile{7, 1, 8000, 8, []byte{0, 0}, "", []byte{0xff, 0x80, 0}, trueSize}, []int16{0, 32124, -32124}},
		{"extensible", wavFile{0xfffe, 1, 48000, 16, guid, "", pcm, trueSize}, []int16{1, -1, -32768, 32767}},
		{"chunks between, one of odd length", wavFile{1, 1, 8000, 16, nil, "LIST\x03\x00\x00\x00abc\x00fact\x00\x00\x00\x00", pcm, trueSize}, []int16{1, -1, -32768, 32767}},
		{"size 0, from a program that was killed", wavFile{1, 1, 8000, 16, nil, "", pcm, 0}, []int16{1, -1, -32768, 32767}},
		{"size all ones, from a pipe", wavFile{1, 1, 8000, 16, nil, "", pcm, math.MaxUint32}, []int16{1, -1, -32768, 32767}},
		{"size beyond the end", wavFile{1, 1, 8000, 16, nil, "", pcm, 100}, []int16{1, -1, -32768, 32767}},
		{"something behind the data", wavFile{1, 1, 8000, 16, nil, "", append(pcm[:4:4], "junk"...), 4}, []int16{1, -1}},
		{"half a sample at the end", wavFile{1, 1, 8000, 16, nil, "", pcm[:5], trueSize}, []int16{1, -1}},
		{"no samples", wavFile{1, 1, 8000, 16, nil, "", nil, trueSize}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, info, err := readAll(tt.file.bytes())
			if err != nil || !slices.Equal(got, tt.want) || info.rate != int(tt.file.rate) {
				t.Errorf("got %v at %d Hz, %v; want %v", got, info.rate, err, tt.want)
			}
		})
	}
}

func TestWAVIsRefused(t *testing.T) {
	good := wavFile{1, 1, 8000, 16, nil, "", []byte{1, 0}, trueSize}
	change := func(f func(*wavFile)) []byte {
		w := good
		f(&w)
		return w.bytes()
	}
	tests := []struct {
		name string
		file []byte
		why  string
	}{
		{"empty", nil, "not a WAV"},
		{"prose", []byte("this is no sound file at all"), "not a WAV"},
		{"only the head", good.bytes()[:12], "without samples"},
		{"no data", good.bytes()[:36], "without samples"},
		{"data before fmt", append([]byte("RIFF\x00\x00\x00\x00WAVE"), "data\x00\x00\x00\x00"...), "before their format"},
		{"short fmt", []byte("RIFF\x00\x00\x00\x00WAVEfmt \x02\x00\x00\x00\x01\x00"), "short format"},
		{"fmt cut off", good.bytes()[:30], "short format"},
		{"8 bits", change(func(w *wavFile) { w.bits = 8 }), "format 1 with 8 bits"},
		{"24 bits", change(func(w *wavFile) { w.bits = 24 }), "want 16-bit PCM, A-law or mu-law"},
		{"floating point", change(func(w *wavFile) { w.code, w.bits = 3, 32 }), "format 3 with 32 bits"},
		{"extensible without the extension", change(func(w *wavFile) { w.code = 0xfffe }), "format 65534"},
		{"no channel", change(func(w *wavFile) { w.channels = 0 }), "0 channels"},
		{"six channels", change(func(w *wavFile) { w.channels = 6 }), "6 channels"},
		{"slow", change(func(w *wavFile) { w.rate = 4000 }), "4000 samples"},
		{"fast", change(func(w *wavFile) { w.rate = 96000 }), "96000 samples"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := readAll(tt.file); err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("error = %v, want %q", err, tt.why)
			}
		})
	}
}

func TestWAVHeaderIsReadBack(t *testing.T) {
	pcm := tone(1000, 8000, 440, -3)
	var data []byte
	for _, s := range pcm {
		data = binary.LittleEndian.AppendUint16(data, uint16(s))
	}
	got, info, err := readAll(append(wavHeader(16000, int64(len(data))), data...))
	if err != nil || !slices.Equal(got, pcm) || info != (soundInfo{wavPCM, 1, 16000, wavHeaderSize, int64(len(data))}) {
		t.Errorf("%d samples, %+v, %v", len(got), info, err)
	}
}

func FuzzWAV(f *testing.F) {
	f.Add(wavFile{1, 1, 8000, 16, nil, "", []byte{1, 0, 2, 0}, trueSize}.bytes())
	f.Add(wavFile{6, 2, 44100, 8, []byte{0, 0}, "LIST\x03\x00\x00\x00abc\x00", []byte{1, 2, 3}, 0}.bytes())
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEjunk\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pcm, info, err := readAll(b)
		if err != nil {
			return
		}
		if info.channels < 1 || info.channels > 2 || info.rate < 8000 || info.rate > 48000 || len(pcm) > len(b) {
			t.Fatalf("%d samples from %d bytes, %+v", len(pcm), len(b), info)
		}
	})
}
