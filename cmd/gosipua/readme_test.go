package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReadmeHasTheHelpOfEveryCommand(t *testing.T) {
	text := readme(t)
	topics := []string{""}
	for _, c := range commands() {
		if c.name != "" {
			topics = append(topics, c.name)
		}
	}
	for _, topic := range topics {
		var out bytes.Buffer
		p := &program{stdout: &out, stderr: &out}
		if code := p.main(append([]string{"help"}, strings.Fields(topic)...)); code != 0 {
			t.Errorf("help %s exits with %d", topic, code)
		}
		if !strings.Contains(text, "```\n"+out.String()+"```\n") {
			t.Errorf("the README has another text than gosipua help %s:\n%s", topic, out.String())
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 100 {
				t.Errorf("gosipua help %s: too long for a terminal: %s", topic, line)
			}
		}
	}
}

func TestReadmeHasTheExample(t *testing.T) {
	source, err := os.ReadFile("../../ua/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "\nfunc Example() {\n")
	body, _, ok := strings.Cut(body, "\n}\n")
	if !ok {
		t.Fatal("ua/example_test.go has no Example")
	}
	lines := strings.Split(body, "\n")
	if len(lines) > 15 {
		t.Errorf("the example has %d lines", len(lines))
	}
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "\t")
	}
	if !strings.Contains(readme(t), "```go\n"+strings.Join(lines, "\n")+"\n```\n") {
		t.Error("the README shows another example than ua/example_test.go")
	}
}

func TestReadmeBeginsWithTheQuickStart(t *testing.T) {
	head, rest, _ := strings.Cut(readme(t), "## Quick start\n")
	if n := strings.Count(head, "\n"); n > 4 {
		t.Errorf("%d lines stand above the quick start", n)
	}
	start, _, _ := strings.Cut(rest, "\n## ")
	if n := strings.Count(strings.TrimSpace(start), "\n") + 1; n > 10 {
		t.Errorf("the quick start has %d lines", n)
	}
	for _, command := range []string{"go run ./cmd/gosipua -f config.example.yaml", "make test"} {
		if !strings.Contains(start, "\n"+command) {
			t.Errorf("the quick start has no %q", command)
		}
	}
}
