package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/gosipua/gosipua/config"
	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua"
)

func callCommand() command {
	return command{
		name: "call", args: "[-f FILE] [--account AOR] [--duration D] [--source S] [--player P] [--json] URI",
		short: "make one call and say how good it was",
		long: `Calls URI (sip:USER@HOST, or USER in the account's domain), prints its
progress, and how good the audio was when the call has ended. Exit code 0 if
it was answered, 1 if not.

The account is the first of the configuration, or the one that --account
names; without a configuration the call is anonymous. The call uses ports of
its own and registers nothing, so that it can be made beside a running
instance with the same configuration. Without --duration it lasts until the
peer or SIGINT ends it.`,
		setup: func(p *program, fs *flag.FlagSet) func([]string) error {
			c := call{program: p}
			file := fileFlag(fs)
			fs.StringVar(&c.account, "account", "", "call from the account with this `AOR`")
			fs.DurationVar(&c.duration, "duration", 0, "hang up this long after the answer (`D` is like 10s)")
			fs.StringVar(&c.source, "source", "", "send `S`: aunull, ausine,440 or aufile,hello.wav (default audio.source)")
			fs.StringVar(&c.player, "player", "", "put what is heard into `P`: aunull or aufile,call.wav (default audio.player)")
			fs.BoolVar(&c.json, "json", false, "print the result as JSON, and progress to standard error")
			var logs logFlags
			logs.declare(fs)
			return func(rest []string) error { return c.start(*file, &logs, rest) }
		},
	}
}

// call is one run of the command.
type call struct {
	program         *program
	account         string
	duration        time.Duration
	source, player  string
	json            bool
	uri             string
	events          chan ua.Event
	begun, answered time.Time
	local           bool   // this side hung up
	reason          string // why it ended
}

// start checks the arguments and runs an Agent for the call.
func (c *call) start(file string, logs *logFlags, rest []string) error {
	switch {
	case len(rest) == 0:
		return &usageError{"call", "the URI to call is missing"}
	case len(rest) > 1:
		return &usageError{"call", fmt.Sprintf("unexpected argument %q", rest[1])}
	case c.duration < 0:
		return &usageError{"call", "--duration is negative"}
	}
	c.uri = rest[0]
	if err := ua.ParseURI(c.uri); err != nil {
		return &usageError{"call", err.Error()}
	}
	cfg, err := c.program.loadOrDefault("call", file)
	if err != nil {
		return err
	}
	if logs.level == "" {
		cfg.LogLevel = slog.LevelWarn // progress is printed, not logged
	}
	log, err := logs.logger("call", cfg, c.program.stderr)
	if err != nil {
		return err
	}
	if err := c.prepare(cfg); err != nil {
		return err
	}
	return c.work(cfg, log)
}

// prepare reduces a configuration to what one call may use: one account that does not register, and free ports.
func (c *call) prepare(cfg *config.Config) error {
	account := ua.Account{AOR: "sip:anonymous@anonymous.invalid"} // RFC 3323 section 4.1.1.3
	if len(cfg.Accounts) > 0 {
		account = cfg.Accounts[0]
	}
	if c.account != "" {
		i := slices.IndexFunc(cfg.Accounts, func(a ua.Account) bool { return a.AOR == c.account || a.AOR == "sip:"+c.account })
		if i < 0 {
			return &hintError{fmt.Errorf("there is no account %s", c.account), "see accounts in the configuration (-f FILE)", exitUsage}
		}
		account = cfg.Accounts[i]
	}
	account.Register = false
	account.Answer = ua.AnswerBusy
	cfg.Accounts = []ua.Account{account}
	var listen []transport.Listen
	for _, l := range cfg.Listen {
		l.Port = 0
		if !slices.Contains(listen, l) {
			listen = append(listen, l)
		}
	}
	cfg.Listen = listen
	if c.source != "" {
		cfg.Source = c.source
	}
	if c.player != "" {
		cfg.Player = c.player
	}
	return nil
}

// work runs the Agent for as long as the call lasts.
func (c *call) work(cfg *config.Config, log *slog.Logger) error {
	links := ifwatch.New(ifwatch.Config{Log: log})
	settings := agentConfig(cfg, links, log)
	c.events = make(chan ua.Event, 64)
	ended := make(chan struct{})
	settings.Event = func(e ua.Event) {
		select {
		case c.events <- e:
		case <-ended:
		}
	}
	agent, err := ua.New(settings)
	if err != nil {
		return &hintError{err, "", exitUsage}
	}
	interrupted, stop := untilSignal(log, exitFailed)
	defer stop()
	working, stopWorking := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		defer stopWorking()
		defer close(ended)
		result <- c.dial(interrupted, agent)
	}()
	if err := runBoth(working, links, agent); err != nil {
		return err
	}
	return <-result
}

// dial makes the call and follows it to its end.
func (c *call) dial(interrupted context.Context, agent *ua.Agent) error {
	if firstSettled(interrupted, agent.Transport()) == nil {
		return errors.New("interrupted")
	}
	c.begun = time.Now()
	made, err := agent.Dial(interrupted, "", c.uri, ua.CallOptions{})
	if err != nil {
		return err
	}
	c.progress("calling %s", made.Peer())
	err = c.follow(interrupted, made)
	if reportErr := c.report(made, err); reportErr != nil {
		return reportErr
	}
	return err
}

// follow prints progress until the call has ended, which it sees to when it is time. The error says why nobody answered.
func (c *call) follow(interrupted context.Context, made *ua.Call) error {
	var enough <-chan time.Time // nil until the answer, or without a duration
	stop := interrupted.Done()
	for {
		select {
		case <-enough:
			c.local = true
			made.Hangup()
		case <-stop:
			stop, c.local = nil, true
			made.Hangup()
		case e := <-c.events:
			if e.Call != made {
				continue
			}
			if e.Kind == ua.CallAnswered && c.duration > 0 {
				enough = time.After(c.duration)
			}
			if c.event(e) {
				return c.outcome(e)
			}
		}
	}
}

// event prints one event of the call and tells whether it was the last.
func (c *call) event(e ua.Event) (last bool) {
	switch e.Kind {
	case ua.CallProgress:
		c.progress("%d %s after %s", e.Code, e.Reason, seconds(time.Since(c.begun)))
	case ua.CallAnswered:
		if c.answered.IsZero() {
			c.answered = time.Now()
			c.progress("answered after %s", seconds(c.answered.Sub(c.begun)))
		}
	case ua.CallMoved:
		c.progress("moved to %s", e.Call.Stats().Local)
	case ua.CallDTMF:
		c.progress("the peer pressed %c", e.Digit)
	case ua.CallEnded:
		c.reason = e.Reason
		return true
	default:
	}
	return false
}

// outcome is the error of a call that has ended.
func (c *call) outcome(e ua.Event) error {
	switch {
	case !c.answered.IsZero():
		return nil
	case e.Err != nil:
		return fmt.Errorf("%s did not answer: %w", c.uri, e.Err)
	default:
		return fmt.Errorf("%s did not answer", c.uri)
	}
}

// progress prints a line about what happens.
func (c *call) progress(format string, args ...any) {
	w := c.program.stdout
	if c.json {
		w = c.program.stderr
	}
	fmt.Fprintf(w, format+"\n", args...)
}

// seconds writes a length of time as people say it.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
