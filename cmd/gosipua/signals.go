package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// patience is how long taking leave may last after the first signal. The Agent gives up after 2 s by itself; this is
// what keeps the promise of 3 s on a machine that is too busy for that.
const patience = 2800 * time.Millisecond

// untilSignal gives a context that ends with the first SIGINT or SIGTERM. The second ends the process at once. SIGHUP, which would
// end it by default, is only noted. If the process is still there after [patience], it exits with the code late.
func untilSignal(log *slog.Logger, late int) (ctx context.Context, stop context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		leaving := false
		for s := range signals {
			switch {
			case s == syscall.SIGHUP:
				log.WarnContext(ctx, "reload is not yet supported: restart to use a changed configuration")
			case leaving:
				os.Exit(exitAgain + number(s))
			default:
				leaving = true
				log.InfoContext(ctx, "stopping", slog.String("why", s.String()))
				time.AfterFunc(patience, func() {
					log.WarnContext(ctx, "stopped without waiting any longer")
					os.Exit(late)
				})
				cancel()
			}
		}
	}()
	return ctx, cancel
}

// number is the signal's number, as exit codes have it.
func number(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return int(n)
	}
	return 0
}
