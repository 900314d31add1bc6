package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"syscall"

	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/internal/config"
	"github.com/caxton-run/caxton/internal/telemetry"
	"github.com/caxton-run/caxton/internal/version"
	"github.com/caxton-run/caxton/wasmhost"
)

// serve runs a node until ctx ends.
func serve(ctx context.Context, opts serveOptions, stdout, _ io.Writer) (err error) {
	cfg, err := opts.configuration()
	if err != nil {
		return err
	}
	log, err := telemetry.NewLogger(stdout, telemetry.LogConfig{
		Level: cfg.Observability.Log.Level, Format: cfg.Observability.Log.Format, NoColor: !isTerminal(stdout),
	})
	if err != nil {
		return err
	}
	api, err := listen(ctx, "the REST API", cfg.Server.APIAddr(), "--api-addr")
	if err != nil {
		return err
	}
	metrics, err := listen(ctx, "the metrics", cfg.Server.MetricsAddr(), "--metrics-addr")
	if err != nil {
		return errors.Join(err, api.Close())
	}
	n, err := openNode(ctx, cfg, log, opts.bootstrap)
	if err != nil {
		return errors.Join(err, api.Close(), metrics.Close())
	}
	defer func() { err = errors.Join(err, n.close(ctx)) }()
	n.address = api.Addr().String()
	ctx, n.shutdown = context.WithCancel(ctx)
	defer n.shutdown()
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(stdout, "caxton: "+format+"\n", args...) }
	line("version %s, node %s, data in %s", version.Release, cfg.Node.ID, n.dir)
	line("REST API on http://%s", api.Addr())
	line("metrics on http://%s/metrics", metrics.Addr())
	if cfg.Security.API.AllowUnauthenticated {
		log.Warn("anyone who can reach this node can command it (security.api.allow_unauthenticated)")
	}
	warnOfMissing(log, wasmhost.MissingProtections())
	stages := []stage{
		{"projections", n.runner.Run},
		{"agents", n.system.Run},
		{"scavenges", n.scavenge},
		{"memory", n.watchMemory},
		{"metrics", func(ctx context.Context) error {
			return caxtonhttp.NewMetricsServer(n.metrics.Gatherer()).Serve(ctx, metrics)
		}},
		{"REST API", func(ctx context.Context) error { return n.api.Serve(ctx, api) }},
	}
	if opts.demo {
		stages = append(stages, stage{"demo", func(ctx context.Context) error { return demo(ctx, n.runner.Ready(), api.Addr(), stdout) }})
	}
	err = runStages(ctx, stages)
	if err == nil {
		line("stopped")
	}
	return err
}

// warnOfMissing tells the operator, once, what this system does not give to keep
// compilers' processes in.
func warnOfMissing(log *slog.Logger, list []wasmhost.MissingProtection) {
	if len(list) == 0 {
		return
	}
	say := func(field func(wasmhost.MissingProtection) string) string { return wasmhost.TellMissing(list, field) }
	log.Warn("the processes that compile modules lack a protection",
		slog.String("missing", say(func(m wasmhost.MissingProtection) string { return m.Name })),
		slog.String("risk", say(func(m wasmhost.MissingProtection) string { return m.Risk })),
		slog.String("advice", say(func(m wasmhost.MissingProtection) string { return m.Advice })),
		slog.String("err", say(func(m wasmhost.MissingProtection) string { return m.Err.Error() })))
}

// configuration reads what the options leave open.
func (o serveOptions) configuration() (config.Config, error) {
	flags := make(map[string]string)
	for key, v := range map[string]string{
		"node.data_dir": o.dataDir, "node.id": o.nodeID,
		"observability.log.level": o.logLevel, "observability.log.format": o.logFormat,
	} {
		if v != "" {
			flags[key] = v
		}
	}
	if o.apiAddr != "" {
		host, port, err := splitAddr("--api-addr", o.apiAddr)
		if err != nil {
			return config.Config{}, err
		}
		flags["server.host"], flags["server.port"] = host, port
	}
	if o.metricsAddr != "" {
		host, port, err := splitAddr("--metrics-addr", o.metricsAddr)
		if err != nil {
			return config.Config{}, err
		}
		flags["server.metrics_host"], flags["server.metrics_port"] = host, port
	}
	return config.Load(config.Sources{File: o.configFile, Environ: os.Environ(), Flags: flags})
}

func splitAddr(flag, addr string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(addr)
	if err != nil || host == "" {
		return "", "", usagef("%s must be HOST:PORT such as 127.0.0.1:8080, got %q", flag, addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", usagef("%s must end with a port of 0 to 65535, got %q", flag, addr)
	}
	return host, port, nil
}

// listen opens a port, and says what to do when another process has it.
func listen(ctx context.Context, what, addr, flag string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s cannot listen on %s: the port is in use; caxton doctor says by whom, %s chooses another", what, addr, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot listen: %w", what, err)
	}
	return ln, nil
}
