package raftstore

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// logger lets raft and raft-wal log into slog. Their warnings are about peers that
// are away, which is not for an operator to act on: Error is theirs alone.
type logger struct {
	hclog.Logger // what is not overridden below is never asked
	to           *slog.Logger
}

func newLogger(to *slog.Logger) hclog.Logger { return &logger{hclog.NewNullLogger(), to} }

// Log implements hclog.Logger.
func (l *logger) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch {
	case level >= hclog.Error:
		to = slog.LevelWarn
	case level >= hclog.Warn:
		to = slog.LevelInfo
	}
	if !l.to.Enabled(context.Background(), to) {
		return
	}
	l.to.Log(context.Background(), to, "raft", "detail", msg, "fields", fmt.Sprint(args...))
}

// Trace implements hclog.Logger.
func (l *logger) Trace(string, ...any) {}

// Debug implements hclog.Logger.
func (l *logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }

// Info implements hclog.Logger.
func (l *logger) Info(msg string, args ...any) { l.Log(hclog.Info, msg, args...) }

// Warn implements hclog.Logger.
func (l *logger) Warn(msg string, args ...any) { l.Log(hclog.Warn, msg, args...) }

// Error implements hclog.Logger.
func (l *logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

// With implements hclog.Logger.
func (l *logger) With(...any) hclog.Logger { return l }

// Named implements hclog.Logger.
func (l *logger) Named(string) hclog.Logger { return l }

// ResetNamed implements hclog.Logger.
func (l *logger) ResetNamed(string) hclog.Logger { return l }

// StandardLogger implements hclog.Logger.
func (l *logger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}
