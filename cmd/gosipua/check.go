package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/gosipua/gosipua/config"
)

func checkCommand() command {
	return command{
		name: "check", args: "-f FILE", short: "check a configuration without starting anything",
		long: `Reports every problem of the configuration as FILE:LINE:COL: message, all in
one run, and warnings likewise. Exit code 0 if there is no problem (warnings
do not count), 2 if there is one.`,
		setup: func(p *program, fs *flag.FlagSet) func([]string) error {
			file := fileFlag(fs)
			return func(rest []string) error {
				if err := none("check", rest); err != nil {
					return err
				}
				cfg, err := p.load("check", *file)
				if err != nil {
					return err
				}
				p.warnings(cfg)
				fmt.Fprintf(p.stdout, "%s: no problem, %s, %s\n", *file, count(len(cfg.Warnings), "warning"), count(len(cfg.Accounts), "account"))
				return nil
			}
		},
	}
}

// fileFlag declares -f.
func fileFlag(fs *flag.FlagSet) *string {
	return fs.String("f", "", "the configuration, a YAML `FILE`")
}

// load reads the configuration that a command cannot do without.
func (p *program) load(command, file string) (*config.Config, error) {
	if file == "" {
		return nil, &usageError{command, "the configuration is missing: -f FILE"}
	}
	cfg, err := config.Load(file)
	switch {
	case err == nil || len(config.Problems(err)) > 0:
		return cfg, err
	case errors.Is(err, os.ErrNotExist):
		return nil, &hintError{err, "start from a copy of config.example.yaml", exitUsage}
	default:
		return nil, &hintError{err, "", exitUsage}
	}
}

// loadOrDefault reads the configuration of a command that can do without one.
func (p *program) loadOrDefault(command, file string) (*config.Config, error) {
	if file == "" {
		return config.Default(), nil
	}
	return p.load(command, file)
}

// warnings prints what is allowed but probably not meant.
func (p *program) warnings(cfg *config.Config) {
	for _, w := range cfg.Warnings {
		fmt.Fprintf(p.stderr, "%s: warning: %s\n", w.Pos, w.Text)
	}
}
