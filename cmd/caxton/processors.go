package main

import (
	"os"
	"runtime"
)

// roomForSyncs lets Go run one thread more than there are processors, unless whoever
// starts the process says how many with $GOMAXPROCS. The thread that syncs the log keeps
// its place among those that run until Go's monitor takes it away, which may be 10 ms
// later: on few processors, or beside guests that compute, messages wait for that. The
// system's own scheduler shares the processors better.
func roomForSyncs() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}
