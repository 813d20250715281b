package yamlpos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

const (
	// maxSize is far above any file a person writes, and keeps the parser's worst cases short.
	maxSize = 1 << 20
	// lineBudget and columnBudget bound the bytes that are parsed again to find the line and the column of a syntax error: enough
	// for a bracket left open at the top of a file of 700 common lines, and for a line of 1,000 characters.
	lineBudget   = 8 << 20
	columnBudget = 512 << 10
)

// parsed is a document, or the part of it before a syntax error.
type parsed struct {
	root   *yaml.Node // nil: an empty document
	cut    bool       // root holds only the lines before a syntax error
	errors []Problem
}

// parse reads data. After a syntax error the lines before it are kept, so that their mistakes are still reported.
func parse(file string, data []byte) parsed {
	at := func(off int) Pos { return position(file, data, off) }
	if len(data) > maxSize {
		return parsed{errors: []Problem{{Pos{File: file}, fmt.Sprintf("the file has %d bytes, more than %d", len(data), maxSize)}}}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // a byte order mark is not a column
	if off, text := badText(data); off >= 0 {
		return parsed{errors: []Problem{{at(off), text}}}
	}
	root, rest, err := document(data)
	switch {
	case err != nil:
		return recoverPrefix(file, data, err)
	case rest != nil:
		return parsed{root: root, errors: []Problem{{Pos{file, rest.Line, rest.Column}, "a second document: a file holds one"}}}
	}
	return parsed{root: root}
}

// recoverPrefix places a syntax error and keeps what was written in the lines before it.
func recoverPrefix(file string, data []byte, cause error) parsed {
	off, text := explain(data, locate(data), cause)
	p := parsed{cut: true, errors: []Problem{{position(file, data, off), text}}}
	start := bytes.LastIndexByte(data[:off], '\n') + 1
	if root, rest, err := document(data[:start]); err == nil && rest == nil {
		p.root = root
	}
	return p
}

// document parses the first document; rest is the beginning of a second one.
func document(data []byte) (root, rest *yaml.Node, err error) {
	// yaml.v3 panics on a few malformed inputs ("please report"); for us these are syntax errors like any other.
	defer func() {
		if r := recover(); r != nil {
			root, rest, err = nil, nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := dec.Decode(&first); errors.Is(err, io.EOF) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
		return first.Content[0], nil, nil
	case err != nil:
		return nil, nil, err
	}
	return first.Content[0], &second, nil
}

// locate finds the offset of a syntax error: one past the longest part of the file that is good YAML by itself, first by lines, then
// within the line. yaml.v3 tells no column, and its line is missing or wrong for about half of the mistakes people make.
// For a quote or bracket that is never closed the result is the place where it was opened.
func locate(data []byte) int {
	budget := lineBudget
	good := func(n int) bool {
		budget -= n
		_, rest, err := document(data[:n])
		return err == nil && rest == nil
	}
	start := 0
	for end := len(data); end > 0 && budget > 0; end = start {
		start = bytes.LastIndexByte(data[:end-1], '\n') + 1
		if good(start) {
			break
		}
	}
	end := len(data)
	if i := bytes.IndexByte(data[start:], '\n'); i >= 0 {
		end = start + i
	}
	budget = columnBudget
	for n := end; n > start && budget > 0; n-- {
		if utf8.RuneStart(data[n-1]) && good(n) {
			return skipBlanks(data, n, end)
		}
	}
	return skipBlanks(data, start, end)
}

// skipBlanks moves off to the next character of the line that can be seen; at the line's end it stays.
func skipBlanks(data []byte, off, end int) int {
	for i := off; i < end; i++ {
		if data[i] != ' ' && data[i] != '\t' && data[i] != '\r' {
			return i
		}
	}
	return min(off, max(end, 0))
}

// badText finds the first byte that cannot be in a YAML file, or gives -1.
func badText(data []byte) (int, string) {
	for off := 0; off < len(data); {
		r, n := utf8.DecodeRune(data[off:])
		switch {
		case r == utf8.RuneError && n == 1:
			return off, fmt.Sprintf("the byte 0x%02x is not UTF-8 text", data[off])
		case r == '\r' && !bytes.HasPrefix(data[off+1:], []byte("\n")), r == 0x85, r == 0x2028, r == 0x2029:
			// A line break to YAML 1.1 but to no editor: every line number after it would be wrong.
			return off, fmt.Sprintf("the line break U+%04X is not allowed", r)
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return off, fmt.Sprintf("the control character 0x%02x is not allowed", r)
		}
		off += n
	}
	return -1, ""
}

// position turns an offset into line and column.
func position(file string, data []byte, off int) Pos {
	start := bytes.LastIndexByte(data[:off], '\n') + 1
	return Pos{file, bytes.Count(data[:off], []byte("\n")) + 1, utf8.RuneCount(data[start:off]) + 1}
}

// explain says in a reader's words what yaml.v3 means, and where exactly; off is what locate found.
func explain(data []byte, off int, cause error) (int, string) {
	if tab := tabIndent(data, off); tab >= 0 {
		return tab, "a tab cannot be used for indentation: use spaces"
	}
	said := message(cause)
	for _, m := range meanings {
		if !strings.Contains(said, m.said) {
			continue
		}
		at := off
		if m.exact {
			at = firstWith(data, off, m.said)
		}
		line, _, _ := bytes.Cut(data[at:], []byte("\n"))
		start, _ := utf8.DecodeRune(line)
		if m.start == "" || len(line) > 0 && strings.ContainsRune(m.start, start) {
			return at, strings.ReplaceAll(m.text, "%c", string(start)) + unquoted(line)
		}
	}
	return off, "not YAML: " + said
}

// message is what yaml.v3 says, without its line number: that is often wrong, and locate finds the right one.
func message(err error) string {
	said := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(said, "line "); ok {
		if _, text, ok := strings.Cut(rest, ": "); ok {
			return text
		}
	}
	return said
}

// tabIndent finds a tab in the indentation before off, or gives -1.
func tabIndent(data []byte, off int) int {
	start := bytes.LastIndexByte(data[:off], '\n') + 1
	indent := data[start:off]
	if len(bytes.Trim(indent, " \t")) > 0 {
		return -1
	}
	if i := bytes.IndexByte(indent, '\t'); i >= 0 {
		return start + i
	}
	return -1
}

// firstWith finds the character after off from which on yaml.v3 says the given words. Inside brackets locate finds the opening one,
// because no part of an open list is good by itself; but a bad character is bad from where it stands.
func firstWith(data []byte, off int, words string) int {
	n := sort.Search(len(data)-off, func(i int) bool {
		_, _, err := document(data[:off+i+1])
		return err != nil && strings.Contains(err.Error(), words)
	})
	at := min(off+n, len(data)-1)
	for at > off && !utf8.RuneStart(data[at]) {
		at--
	}
	return max(at, off)
}

// unquoted adds the reason behind most lists that seem not to be closed: [eth0, !virbr*] without quotes.
func unquoted(line []byte) string {
	for _, mark := range []string{" !", "[!", ",!", " *", "[*", ",*"} {
		if bytes.Contains(line, []byte(mark)) {
			return fmt.Sprintf(`; a value that begins with %s needs quotes: "%[1]s..."`, mark[1:])
		}
	}
	return ""
}

// meanings maps what yaml.v3 says, about a character out of start (empty: any), to what it means. The first that fits is used.
var meanings = []struct {
	said, start, text string
	exact             bool // said of a single character, wherever it stands
}{
	{said: "cannot start any token", text: "a value cannot begin with %c: put it in quotes", exact: true},
	{said: "unknown escape", text: `unknown escape: inside "..." write \\ for a backslash, or use '...'`, exact: true},
	{said: "tab character", text: "a tab cannot be used for indentation: use spaces"},
	{said: "alphabetic or numeric character", start: "*&", text: "a value cannot begin with %c: put it in quotes"},
	{said: "unknown anchor", start: "*", text: "no such anchor: * refers to a value marked with &; a text that begins with * needs quotes"},
	{start: "[", text: "this list is not closed: expected , or ]"},
	{start: "{", text: "these braces are not closed: expected , or }"},
	{start: `"'`, text: "this quote is not closed, or text follows it"},
	{said: "mapping values are not allowed", text: `unexpected ":": wrong indentation, or a value with ": " in it that needs quotes`},
	{said: "could not find expected ':'", text: `expected "key: value"`},
	{said: "did not find expected key", text: "unexpected text here: wrong indentation, or something after the end of a value"},
	{said: "expected '-' indicator", text: `expected "- " as in the lines before: a list and keys cannot be mixed`},
	{said: "incompatible YAML document", text: "only YAML 1.1 and 1.2 are known"},
}
