package main

import (
	"flag"
	"io"
	"log/slog"

	"github.com/gosipua/gosipua/config"
)

// logFlags are the flags that override the log section of the configuration.
type logFlags struct{ level, format string }

func (l *logFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&l.level, "log-level", "", "log from `LEVEL` on: debug, info, warn or error (default log.level)")
	fs.StringVar(&l.format, "log-format", "", "log as `FORMAT`: text or json (default log.format)")
}

// logger makes the logger for one run.
func (l *logFlags) logger(command string, cfg *config.Config, w io.Writer) (*slog.Logger, error) {
	level, asJSON := cfg.LogLevel, cfg.LogJSON
	var err error
	if l.level != "" {
		if level, err = config.ParseLogLevel(l.level); err != nil {
			return nil, &usageError{command, "--log-level: " + err.Error()}
		}
	}
	if l.format != "" {
		if asJSON, err = config.ParseLogFormat(l.format); err != nil {
			return nil, &usageError{command, "--log-format: " + err.Error()}
		}
	}
	options := &slog.HandlerOptions{Level: level}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}
