package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gosipua/gosipua/internal/yamlpos"
)

// maxFile is one byte more than what yamlpos takes, so that a larger file is refused and not cut.
const maxFile = 1<<20 + 1

// read gives the first limit bytes of a file: it may be a device or a pipe that never ends.
func read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// Load reads the file at path. If it can be read but something in it is wrong, the error says all of it, one line for each
// of its [Problems].
// Names of files inside it are relative to its own folder.
func Load(path string) (*Config, error) {
	data, err := read(path, maxFile)
	if err != nil {
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			return nil, fmt.Errorf("%s is a folder, not a configuration file", path)
		}
		return nil, err
	}
	c := checker{file: path}
	if info, err := os.Stat(path); err == nil {
		c.mode = info.Mode()
	}
	return c.load(data)
}

// Default is the configuration of an empty file.
func Default() *Config {
	c := checker{}
	cfg, _ := c.load(nil) // a test holds that the defaults have no problem
	return cfg
}

// checker turns the keys of one file into a Config.
type checker struct {
	file     string
	mode     os.FileMode // of the file itself; 0 unknown
	keys     fileKeys
	cfg      Config
	problems yamlpos.Errors
}

func (c *checker) load(data []byte) (*Config, error) {
	c.keys = defaults()
	c.problems = yamlpos.Decode(c.file, data, &c.keys)
	c.net()
	c.sip()
	c.rtp()
	c.accounts()
	c.audio()
	c.log()
	if len(c.problems) > 0 {
		c.problems.Sort()
		return nil, c.problems
	}
	return &c.cfg, nil
}

// bad reports a problem of the key at pos.
func (c *checker) bad(pos yamlpos.Pos, key, format string, args ...any) {
	c.problems = append(c.problems, Problem{Pos: pos, Text: key + ": " + fmt.Sprintf(format, args...)})
}

// warn reports what is allowed but probably not meant.
func (c *checker) warn(pos yamlpos.Pos, key, format string, args ...any) {
	c.cfg.Warnings = append(c.cfg.Warnings, Problem{Pos: pos, Text: key + ": " + fmt.Sprintf(format, args...)})
}

// resolve makes a file name of the configuration relative to the working directory.
func (c *checker) resolve(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.file), name)
}

// parse reads a text with the parse function of the package that the value is for.
func parse[T any](c *checker, key string, text yamlpos.At[string], read func(string) (T, error)) T {
	v, err := read(text.Value)
	if err != nil {
		c.bad(text.Pos, key, "%v", err)
	}
	return v
}

// oneOf reads one of a few words.
func oneOf[T any](words ...word[T]) func(string) (T, error) {
	return func(s string) (T, error) {
		i := slices.IndexFunc(words, func(w word[T]) bool { return w.text == s })
		if i < 0 {
			names := make([]string, len(words))
			for i, w := range words {
				names[i] = w.text
			}
			var none T
			return none, fmt.Errorf("%q is not one of %s", s, strings.Join(names, ", "))
		}
		return words[i].value, nil
	}
}

// word is a word of the file and what it stands for.
type word[T any] struct {
	text  string
	value T
}
