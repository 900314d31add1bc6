package pebblestore

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(brokenDirEnv); dir != "" {
		os.Exit(brokenDisk(dir, os.Getenv(brokenAtEnv)))
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) events.Store { return open(t, t.TempDir(), DefaultOptions()) })
}
