package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// broken panics when it is written to.
type broken struct{}

func (broken) Write([]byte) (int, error) { panic("no more ink") }

func TestAPanicIsAnInternalError(t *testing.T) {
	var out bytes.Buffer
	p := &program{stdout: broken{}, stderr: &out}
	if code := p.main([]string{"version"}); code != 70 {
		t.Errorf("exit code %d", code)
	}
	if text := out.String(); !strings.HasPrefix(text, "gosipua: internal error: no more ink\n") || !strings.Contains(text, "\ngosipua: hint: please report") {
		t.Errorf("standard error:\n%s", text)
	}
}

func TestFlagText(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"flag provided but not defined: -jsno", "unknown flag: --jsno"},
		{"flag provided but not defined: -x", "unknown flag: -x"},
		{"flag needs an argument: -f", "flag needs an argument: -f"},
		{"flag needs an argument: -log-level", "flag needs an argument: --log-level"},
		{`invalid value "x" for flag -duration: parse error`, `invalid value "x" for flag --duration: parse error`},
		{`invalid boolean value "a -b" for -json: parse error`, `invalid boolean value "a -b" for --json: parse error`},
	} {
		if got := flagText(errors.New(c.text)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}
