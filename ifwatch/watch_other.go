//go:build !linux

package ifwatch

import (
	"context"
	"log/slog"
	"time"
)

// defaultReceiveBuffer is for the one system that has a socket to read from.
const defaultReceiveBuffer = 0

func (w *Watcher) watch(ctx context.Context) error {
	w.log.InfoContext(ctx, "watching network interfaces by polling", slog.Duration("every", w.cfg.Poll))
	f := feed{w: w}
	return f.poll(ctx, readSystem, time.Time{})
}

// readSystem reads what package net knows, and what else the system tells of it.
func readSystem(ctx context.Context) (reading, error) {
	r, err := readNet(ctx)
	if err == nil {
		describe(&r, time.Now())
	}
	return r, err
}
