package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gosipua/gosipua/config"
	"github.com/gosipua/gosipua/harness/demo"
	"github.com/gosipua/gosipua/ifwatch"
)

// demoLimit is when a demonstration has failed; a good one takes 5 s.
const demoLimit = 12 * time.Second

func demoCommand() command {
	return command{
		name: "demo", args: "[--messages]", short: "a registrar, two phones and a call inside this process",
		long: `Starts a registrar with digest authentication and two phones on free ports
of the loopback interface, lets one call the other through it, and checks
what each of them heard: the tone of the other, and how many packets were
lost. It prints every SIP message on the way. Exit code 0 if all of that was
right, 1 if not.`,
		setup: func(p *program, fs *flag.FlagSet) func([]string) error {
			whole := fs.Bool("messages", false, "print SIP messages whole, not just their first lines")
			var logs logFlags
			logs.declare(fs)
			return func(rest []string) error {
				if err := none("demo", rest); err != nil {
					return err
				}
				cfg := config.Default()
				cfg.LogLevel = slog.LevelWarn // what happens is printed, not logged
				log, err := logs.logger("demo", cfg, p.stderr)
				if err != nil {
					return err
				}
				return p.demo(*whole, log)
			}
		},
	}
}

// demo runs the demonstration and prints it.
func (p *program) demo(whole bool, log *slog.Logger) error {
	interrupted, stop := untilSignal(log, exitFailed)
	defer stop()
	ctx, cancel := context.WithTimeout(interrupted, demoLimit)
	defer cancel()
	links := ifwatch.New(ifwatch.Config{Log: log})
	watching, stopWatching := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stopWatching()
	watch.Go(func() { _ = links.Run(watching) }) // without it nothing is listened on, and that is reported

	show := scroll{program: p, begin: time.Now(), whole: whole}
	report, err := demo.Run(ctx, demo.Config{Links: links, Message: show.message, Step: show.step, Log: log})
	if err != nil {
		return &hintError{fmt.Errorf("the demonstration failed: %w", err), "gosipua addrs shows what may be used; --log-level debug what happened", exitFailed}
	}
	show.step(fmt.Sprintf("registered after %s, answered after %s, talked for %s",
		milliseconds(report.Registered), milliseconds(report.Answered), seconds(report.Talked)))
	for _, phone := range []demo.Phone{report.Alice, report.Bob} {
		s := phone.Statistics
		show.step(fmt.Sprintf("%s heard %.0f Hz at %.1f dBFS (%.0f Hz was sent): %d packets received, %d lost (%.1f %%), jitter %s, MOS %.1f",
			phone.Name, phone.Heard, phone.Level, phone.Expected, s.RxPackets, max(s.Lost, 0), 100*phone.Loss(), milliseconds(s.Jitter), s.MOS))
	}
	show.step("all good")
	return nil
}

// scroll prints what happens, a line at a time.
type scroll struct {
	program *program
	begin   time.Time
	whole   bool
	mu      sync.Mutex // messages and steps come from different goroutines
}

func (s *scroll) step(text string) { s.line(time.Now(), "* "+text) }

func (s *scroll) message(m demo.Message) {
	first, _, _ := bytes.Cut(m.Raw, []byte("\r\n"))
	text := fmt.Sprintf("  %9s -> %-9s  %s", m.From, m.To, first)
	if s.whole {
		text += "\n" + indent(m.Raw)
	}
	s.line(m.At, text)
}

func (s *scroll) line(at time.Time, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.program.stdout, "%6.3f %s\n", at.Sub(s.begin).Seconds(), text)
}

// indent sets a whole message apart.
func indent(raw []byte) string {
	text := bytes.ReplaceAll(bytes.TrimSpace(raw), []byte("\r\n"), []byte("\n"))
	return "        " + string(bytes.ReplaceAll(text, []byte("\n"), []byte("\n        "))) + "\n"
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }
