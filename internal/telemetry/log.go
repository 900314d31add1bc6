package telemetry

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/caxton-run/caxton/events"
	"github.com/lmittmann/tint"
)

// LogConfig says what is logged and how.
type LogConfig struct {
	Level   string // debug, info, warn, error
	Format  string // text, json
	NoColor bool   // of text
}

// NewLogger returns the logger of a process. Errors are *events.InvalidError for
// "observability.log.level" and ".format".
func NewLogger(w io.Writer, c LogConfig) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, events.Invalidf("observability.log.level", "must be debug, info, warn or error, got %q", c.Level)
	}
	switch c.Format {
	case "text":
		return slog.New(tint.NewHandler(w, &tint.Options{Level: level, NoColor: c.NoColor, TimeFormat: "15:04:05.000"})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
	}
	return nil, fmt.Errorf("log: %w", events.Invalidf("observability.log.format", "must be text or json, got %q", c.Format))
}
