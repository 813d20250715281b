package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gosipua/gosipua/internal/yamlpos"
)

// audio reads the audio section.
func (c *checker) audio() {
	c.cfg.Source = c.device("audio.source", c.keys.Audio.Source, sources)
	c.cfg.Player = c.device("audio.player", c.keys.Audio.Player, players)
}

// driver checks the argument of a "driver,argument" string and gives it as the media package takes it.
type driver struct {
	name  string
	check func(c *checker, arg string) (string, error)
}

// The drivers by key, in the order in which a message lists them.
func sources() []driver {
	return []driver{{"aufile", (*checker).readable}, {"ausine", (*checker).tone}, {"aunull", (*checker).none}, {"echo", (*checker).none}}
}

func players() []driver {
	return []driver{{"aufile", (*checker).writable}, {"aunull", (*checker).none}}
}

// device checks one "driver,argument" string.
func (c *checker) device(key string, text yamlpos.At[string], drivers func() []driver) string {
	name, arg, _ := strings.Cut(text.Value, ",")
	var known []string
	for _, d := range drivers() {
		known = append(known, d.name)
		if d.name != name {
			continue
		}
		arg, err := d.check(c, arg)
		if err != nil {
			c.bad(text.Pos, key, "%s: %v", name, err)
		}
		return strings.TrimSuffix(name+","+arg, ",")
	}
	if slices.Contains(strings.Fields("alsa pulse pipewire jack portaudio coreaudio oss sndio wasapi gst avformat aubridge"), name) {
		c.bad(text.Pos, key, "the driver %s is not yet supported: expected one of %s", name, strings.Join(known, ", "))
	} else {
		c.bad(text.Pos, key, "unknown driver %q: expected one of %s", name, strings.Join(known, ", "))
	}
	return ""
}

// readable takes a WAV file that exists.
func (c *checker) readable(name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("expected a file: aufile,hello.wav")
	}
	path := c.resolve(name)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fmt.Errorf("%s is a folder: expected a WAV file", path)
	case !info.Mode().IsRegular(): // opening a pipe would wait for its writer
		return path, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	f.Close()
	return path, nil
}

// writable takes a WAV file in a folder that exists.
func (c *checker) writable(name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("expected a file: aufile,call.wav")
	}
	path := c.resolve(name)
	if info, err := os.Stat(filepath.Dir(path)); err != nil {
		return "", err
	} else if !info.IsDir() {
		return "", fmt.Errorf("%s is not a folder", filepath.Dir(path))
	}
	return path, nil
}

// maxTone is the highest tone that can be sent, in Hz, and minLevel the faintest, in dBFS; a level of 0 is the loudest.
const (
	maxTone  = 20000
	minLevel = -96
)

// tone takes a frequency in Hz, and a level in dBFS after it if there is one.
func (c *checker) tone(arg string) (string, error) {
	hertz, level, given := strings.Cut(arg, ",")
	hz, err := strconv.ParseFloat(hertz, 64)
	if err != nil || !(hz > 0 && hz <= maxTone) {
		return "", fmt.Errorf("expected a frequency of up to %d Hz, such as ausine,440, found %q", maxTone, hertz)
	}
	if dbfs, err := strconv.ParseFloat(level, 64); given && (err != nil || !(dbfs >= minLevel && dbfs <= 0)) {
		return "", fmt.Errorf("expected a level of %d to 0 dBFS, such as ausine,440,-10, found %q", minLevel, level)
	}
	return arg, nil
}

func (c *checker) none(string) (string, error) { return "", nil }
