package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/gosipua/gosipua/config"
	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua"
)

func runCommand() command {
	return command{
		name: "", args: "-f FILE", short: "run until SIGINT or SIGTERM",
		long: `Registers and answers as the configuration says, on every address of this
host that can be used. It prints one line per address: what it listens on
and where it can be called, or why not. After that every change is logged
to standard error with its reason.

SIGINT and SIGTERM hang up, unregister and end with exit code 0 within
3 seconds, answered or not. A second one ends at once, with 128 plus the
signal's number (130 for SIGINT). SIGHUP is noted, but reload is not yet
supported.`,
		setup: func(p *program, fs *flag.FlagSet) func([]string) error {
			file := fileFlag(fs)
			var logs logFlags
			logs.declare(fs)
			return func(rest []string) error {
				if err := none("", rest); err != nil {
					return err
				}
				cfg, err := p.load("", *file)
				if err != nil {
					return err
				}
				log, err := logs.logger("", cfg, p.stderr)
				if err != nil {
					return err
				}
				for _, w := range cfg.Warnings {
					log.Warn("configuration", slog.String("at", w.Pos.String()), slog.String("why", w.Text))
				}
				return p.serve(cfg, log)
			}
		},
	}
}

// serve runs an Agent until a signal comes.
func (p *program) serve(cfg *config.Config, log *slog.Logger) error {
	links := ifwatch.New(ifwatch.Config{Log: log})
	agent, err := ua.New(agentConfig(cfg, links, log))
	if err != nil {
		return &hintError{err, "", exitUsage}
	}
	ctx, stop := untilSignal(log, 0)
	defer stop()
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		p.report(ctx, cfg, agent.Transport(), log)
	}()
	err = runBoth(ctx, links, agent)
	stop()
	<-reported
	return err
}

// agentConfig turns a configuration into what an Agent needs.
func agentConfig(cfg *config.Config, links transport.Links, log *slog.Logger) ua.Config {
	rtpDSCP := cfg.RTPDSCP
	if rtpDSCP == 0 {
		rtpDSCP = -1 // the file's 0 means unmarked, media's 0 means its default
	}
	info, _ := debug.ReadBuildInfo()
	c := ua.Config{
		Transport: transport.Config{
			Links: links, Policy: cfg.Policy, Listen: cfg.Listen, Advertise: cfg.Advertise, DSCP: cfg.SIPDSCP, Log: log,
		},
		Accounts: cfg.Accounts, Source: cfg.Source, Player: cfg.Player, UserAgent: "gosipua/" + versionOf(info), Log: log,
	}
	c.Media.PortMin, c.Media.PortMax, c.Media.DSCP, c.Media.Log = cfg.RTPMin, cfg.RTPMax, rtpDSCP, log
	return c
}

// runBoth runs the agent until ctx ends and the watcher for as long as the agent, which needs it to take its leave.
func runBoth(ctx context.Context, links *ifwatch.Watcher, agent *ua.Agent) error {
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()
	working, stopWorking := context.WithCancel(ctx)
	defer stopWorking()
	watched, worked := make(chan error, 1), make(chan error, 1)
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() { watched <- links.Run(watching) })
	both.Go(func() { worked <- agent.Run(working) })
	select {
	case err := <-worked:
		stopWatching()
		return err
	case err := <-watched:
		stopWorking()
		return fmt.Errorf("watching the addresses of this host: %w", err)
	}
}
