package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// help prints the help of one command, or of the program.
func (p *program) help(args []string) error {
	if len(args) == 0 {
		fmt.Fprint(p.stdout, p.overview())
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			fmt.Fprint(p.stdout, p.helpText(c))
			return nil
		}
	}
	return &usageError{text: fmt.Sprintf("unknown command %q", args[0])}
}

// overview is the help of the program: its commands, and what gosipua -f does.
func (p *program) overview() string {
	var b strings.Builder
	b.WriteString("A SIP user agent that follows the usable addresses of this host.\n\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(t, "  %s\t%s\n", strings.TrimSpace("gosipua "+cmp.Or(c.name, c.args)), c.short)
	}
	fmt.Fprint(t, "  gosipua help\tthis; gosipua help COMMAND says more about one command\n")
	_ = t.Flush()
	fmt.Fprintf(&b, "\nNot yet supported: %s.\n", strings.Join(laterCommands(), ", "))
	b.WriteString("\nExit codes: 0 good, 1 what was asked for failed, 2 usage or configuration, 70 internal error.\n")
	b.WriteString("\n" + p.helpText(commands()[0]))
	return b.String()
}

// usageLine is how a command is called.
func usageLine(c command) string {
	return strings.Join(strings.Fields("gosipua "+c.name+" "+c.args), " ")
}

// helpText is the help of one command.
func (p *program) helpText(c command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s\n\n%s\n", usageLine(c), strings.TrimSpace(c.long))
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.setup(p, fs)
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			b.WriteString("\n")
		}
		first = false
		flagHelp(&b, f)
	})
	return b.String()
}

// flagHelp prints one flag and what it is for.
func flagHelp(w io.Writer, f *flag.Flag) {
	dashes := "--"
	if len(f.Name) == 1 {
		dashes = "-"
	}
	value, text := flag.UnquoteUsage(f)
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0s" {
		text += " (default " + f.DefValue + ")"
	}
	fmt.Fprintf(w, "  %-22s %s\n", strings.TrimSpace(dashes+f.Name+" "+value), text)
}
