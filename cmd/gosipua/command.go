package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gosipua/gosipua/config"
)

// The exit codes; others depend on them.
const (
	exitFailed   = 1   // what was asked for failed
	exitUsage    = 2   // usage or configuration
	exitInternal = 70  // a mistake in gosipua
	exitAgain    = 128 // plus the signal's number: a second signal, nothing was seen off
)

// program is one run of gosipua.
type program struct {
	stdout, stderr io.Writer
}

// command is one sub-command.
type command struct {
	name  string
	args  string // after the name in a usage line
	short string // one line
	long  string // what to know beyond the flags
	// setup declares the flags and gives what runs once they are set. rest is what is left of the arguments.
	setup func(p *program, fs *flag.FlagSet) func(rest []string) error
}

// commands lists the sub-commands in the order of the help. The first has no name: it is what gosipua does with -f alone.
func commands() []command {
	return []command{runCommand(), checkCommand(), addrsCommand(), callCommand(), demoCommand(), versionCommand()}
}

// laterCommands are known but belong to parts that are not built yet.
func laterCommands() []string { return []string{"route", "ctl", "test", "import-baresip"} }

// usageError is a mistake in the command line.
type usageError struct {
	command string // whose help to read
	text    string
}

func (e *usageError) Error() string { return e.text }

// hintError is an error with a next step for the user.
type hintError struct {
	err  error
	hint string
	code int
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// dispatch finds the command and runs it.
func (p *program) dispatch(args []string) error {
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	switch {
	case name == "help":
		return p.help(args)
	case name == "" && len(args) == 0:
		return &usageError{text: "no command and no -f FILE"}
	case name == "" && slices.Contains([]string{"--version", "-version"}, args[0]):
		name, args = "version", nil
	case slices.Contains(laterCommands(), name):
		return &hintError{fmt.Errorf("%s is not yet supported", name), "see the list of what is not built yet in README.md", exitUsage}
	}
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 {
		return &usageError{text: fmt.Sprintf("unknown command %q", name)}
	}
	return p.run(all[i], args)
}

// run parses the flags of a command, which may stand before and after other arguments, and runs it.
func (p *program) run(c command, args []string) error {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	start := c.setup(p, fs)
	var rest []string
	for {
		err := fs.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return p.help(strings.Fields(c.name))
		case err != nil:
			return &usageError{c.name, flagText(err)}
		}
		if args = fs.Args(); len(args) == 0 {
			return start(rest)
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}

// flagText writes flags as the help does: --json, not -json.
func flagText(err error) string {
	text := strings.Replace(err.Error(), "flag provided but not defined: -", "unknown flag: -", 1)
	if i := strings.LastIndex(text, " -"); i >= 0 {
		name, _, _ := strings.Cut(text[i+2:], " ")
		if len(strings.TrimSuffix(name, ":")) > 1 {
			text = text[:i] + " -" + text[i+1:]
		}
	}
	return text
}

// none refuses arguments that are not flags.
func none(command string, rest []string) error {
	if len(rest) > 0 {
		return &usageError{command, fmt.Sprintf("unexpected argument %q", rest[0])}
	}
	return nil
}

// exit reports an error and gives its exit code.
func (p *program) exit(err error) int {
	var usage *usageError
	var hinted *hintError
	problems := config.Problems(err)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		p.say(err.Error())
		p.hint("gosipua help " + usage.command)
		return exitUsage
	case len(problems) > 0:
		fmt.Fprintln(p.stderr, err)
		p.say(count(len(problems), "problem") + " in " + problems[0].Pos.File)
		return exitUsage
	case errors.As(err, &hinted):
		p.say(err.Error())
		p.hint(hinted.hint)
		return hinted.code
	default:
		p.say(err.Error())
		return exitFailed
	}
}

// say prints an error message.
func (p *program) say(text string) { fmt.Fprintf(p.stderr, "gosipua: %s\n", text) }

// hint prints what the user may do next.
func (p *program) hint(text string) {
	if text = strings.TrimSpace(text); text != "" {
		p.say("hint: " + text)
	}
}

// count writes "1 problem" or "2 problems".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
