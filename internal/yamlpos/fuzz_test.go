package yamlpos

import (
	"bytes"
	"reflect"
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// FuzzDecode holds what must be true of every input: no panic, no silence about a file that yaml.v3 refuses, every position inside the
// file, the same answer twice, and a good document still good (with the same values) after yaml.v3 has written it anew.
func FuzzDecode(f *testing.F) {
	for _, m := range mistakes {
		f.Add([]byte(m.doc))
	}
	f.Add([]byte("name: x\nsteps:\n- &b {do: a}\n- <<: *b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1024 {
			t.Skip("long inputs only make the search for a syntax error slow")
		}
		var first, second plan
		errs := Decode("f", data, &first)
		if again := Decode("f", data, &second); !reflect.DeepEqual(errs, again) || !reflect.DeepEqual(first, second) {
			t.Fatalf("%q: first %v, then %v", data, errs, again)
		}
		inside(t, data, errs)
		root, _, err := document(data)
		switch {
		case err != nil && len(errs) == 0:
			t.Fatalf("%q: yaml.v3 says %v, Decode nothing", data, err)
		case err == nil && root != nil && len(errs) == 0:
			rewritten(t, root, first)
		}
	})
}

// inside checks that every problem points at a character of the file, or just behind the last one of a line.
func inside(t *testing.T, data []byte, errs Errors) {
	lines := bytes.Split(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("\n"))
	for _, p := range errs {
		if p.Text == "" || p.Pos.Line < 1 || p.Pos.Line > len(lines) {
			t.Fatalf("%q: %v", data, p)
		}
		if width := utf8.RuneCount(lines[p.Pos.Line-1]); p.Pos.Column < 1 || p.Pos.Column > width+1 {
			t.Fatalf("%q: %v, but the line has %d characters", data, p, width)
		}
	}
}

// rewritten checks the round trip through yaml.v3's encoder.
func rewritten(t *testing.T, root *yaml.Node, want plan) {
	var out []byte
	spellNulls(root)
	func() {
		defer func() { _ = recover() }() // the encoder panics on documents with odd comments; that is no matter of ours
		out, _ = yaml.Marshal(root)
	}()
	if again, _, err := document(out); out == nil || err != nil || again == nil {
		return
	}
	var got plan
	if errs := Decode("f", out, &got); errs != nil {
		t.Fatalf("rewritten as %q: %v", out, errs)
	}
	if got.Name != want.Name || got.Count != want.Count || got.Wait != want.Wait || len(got.Steps) != len(want.Steps) || len(got.NAT) != len(want.NAT) {
		t.Fatalf("rewritten as %q:\n got %+v\nwant %+v", out, got, want)
	}
}

// spellNulls writes out the values that are left out, which yaml.v3's encoder turns into empty strings inside braces.
func spellNulls(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Value == "" {
		n.Value = "null"
	}
	for _, c := range n.Content {
		spellNulls(c)
	}
}
