// Command caxton is the whole product: the server, and the client of its REST
// interface.
//
// Nothing is decided here. A command reads its flags, calls the client (or, for
// "server start", the wiring in serve.go) and prints. exit.go is the only table
// from an error to an exit code.
//
// Test it with "go test ./cmd/caxton"; the scripts in testdata/script run the
// commands as people do.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/caxton-run/caxton/wasmhost"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == wasmhost.WorkerArg { // started by a node, for one module
		os.Exit(wasmhost.WorkerMain(os.Args[2:], os.Stdin, os.Stdout))
	}
	roomForSyncs()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without its process: it returns the exit code. A server
// that it starts ends with ctx.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return runWith(ctx, newApp(stdin, stdout, stderr, serve), args)
}

func runWith(ctx context.Context, a *app, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	a.close()
	a.complain(err)
	return exitCode(err)
}
