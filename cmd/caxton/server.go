package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

// serveOptions is what the flags of "server start" say. Empty strings leave the
// choice to the configuration file and its defaults.
type serveOptions struct {
	configFile  string
	dataDir     string
	apiAddr     string // host:port; port 0 lets the system choose
	metricsAddr string
	nodeID      string
	bootstrap   bool // make the log a group of this node, for good
	demo        bool // deploy the bundled agents and start a conversation
	logLevel    string
	logFormat   string
}

// serveFunc runs a node until ctx ends and returns when its last goroutine is
// gone. It prints one line per listener on stdout once that listens.
type serveFunc func(ctx context.Context, opts serveOptions, stdout, stderr io.Writer) error

func (a *app) serverCommand() *cobra.Command {
	cmd := a.noun("server", "Run a node", nil, "caxton server start --data-dir /var/lib/caxton")
	var opts serveOptions
	start := &cobra.Command{
		Use:   "start",
		Short: "Start a node and serve until interrupted",
		Long: "Start a node and serve until interrupted. Prints one line per listener.\n" +
			"A bare \"caxton\" does the same with defaults.",
		Example: "  caxton server start\n  caxton server start --data-dir /var/lib/caxton --api-addr 127.0.0.1:8080 --demo",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.configFile = a.config
			return a.serve(cmd.Context(), opts, a.stdout, a.stderr)
		},
	}
	f := start.Flags()
	f.StringVar(&opts.dataDir, "data-dir", "", "directory of the log (default ./caxton-data)")
	f.StringVar(&opts.apiAddr, "api-addr", "", "address of the REST API (default 127.0.0.1:8080)")
	f.StringVar(&opts.metricsAddr, "metrics-addr", "", "address of the metrics (default 127.0.0.1:9090)")
	f.StringVar(&opts.nodeID, "node-id", "", "name of this node (default the host's)")
	f.BoolVar(&opts.bootstrap, "bootstrap", false, "make the log a replicated one with this node as its only member, for good; ignored where it is one")
	f.BoolVar(&opts.demo, "demo", false, "deploy the bundled agents and send a conversation")
	f.StringVar(&opts.logLevel, "log-level", "", "debug, info, warn or error (default info)")
	f.StringVar(&opts.logFormat, "log-format", "", "text or json (default text)")
	cmd.AddCommand(start)
	return cmd
}
