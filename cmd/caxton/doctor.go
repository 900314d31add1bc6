package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/internal/config"
	"github.com/caxton-run/caxton/wasmhost"
)

// How a check of the doctor ends.
const (
	checkOK   = "ok"
	checkWarn = "warn" // a node runs, and not as well or as safely as it could
	checkFail = "fail" // a node does not run, or loses what it should keep
)

// finding is what one check came to.
type finding struct {
	Check    string `json:"check"`
	Status   string `json:"status"`
	Measured string `json:"measured"`
	Advice   string `json:"advice,omitempty"` // what to do; absent when all is well
}

// worse gives a finding a status, unless it has a graver one, with what to do.
func (f *finding) worse(status, advice string) {
	if f.Status == checkFail || f.Status == status {
		return
	}
	f.Status, f.Advice = status, advice
}

// doctor examines this machine for one node's configuration. It changes nothing,
// but for small files in the data directory that it writes and removes again.
type doctor struct {
	cfg    config.Config
	dir    string // of the log, absolute
	now    func() time.Time
	system fs.FS // the root of the system's files, for what it tells in them
	began  time.Time

	missing func() []wasmhost.MissingProtection // of compilers' processes

	served bool      // a running server has the log open
	last   time.Time // when the log's last event was recorded; zero when nobody knows
}

// diagnosis is the structured form of "doctor".
type diagnosis struct {
	Healthy bool      `json:"healthy"` // no check failed
	DataDir string    `json:"data_dir"`
	Checks  []finding `json:"checks"`
}

func (a *app) doctorCommand() *cobra.Command {
	var opts serveOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether this machine is fit to run a node",
		Long: "Look whether this machine is fit to run a node: ports, data directory, speed and room of its disk, limits of\n" +
			"the system, the compiler and what keeps it in, the clock. It needs no server, and harms none that runs: what it writes to measure\n" +
			"the disk is small, and removed again. Give it the flags and the environment that the server has.\n\n" +
			"Exits 1 when a check fails.",
		Example: "  caxton doctor\n  caxton doctor --config /etc/caxton/config.yaml --data-dir /var/lib/caxton",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.configFile = a.config
			return a.examineMachine(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.dataDir, "data-dir", "", "directory of the log (default ./caxton-data)")
	f.StringVar(&opts.apiAddr, "api-addr", "", "address of the REST API (default 127.0.0.1:8080)")
	f.StringVar(&opts.metricsAddr, "metrics-addr", "", "address of the metrics (default 127.0.0.1:9090)")
	return cmd
}

func (a *app) examineMachine(ctx context.Context, opts serveOptions) error {
	cfg, err := opts.configuration()
	if err != nil {
		return err // it names the key, the value and the bound
	}
	d := doctor{cfg: cfg, now: a.now, system: os.DirFS("/"), began: a.now(), missing: wasmhost.MissingProtections}
	if d.dir, err = filepath.Abs(cfg.Node.DataDir); err != nil {
		return fmt.Errorf("node.data_dir: %w", err)
	}
	out := diagnosis{Healthy: true, DataDir: d.dir}
	for _, check := range []func(context.Context) finding{
		d.apiPort, d.metricsPort, d.directory, d.syncSpeed, d.space, d.files, d.memory, d.compiler, d.confinement, d.clock,
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := check(ctx)
		out.Healthy = out.Healthy && f.Status != checkFail
		out.Checks = append(out.Checks, f)
	}
	return a.tellDiagnosis(out)
}

func (a *app) tellDiagnosis(out diagnosis) error {
	done, err := a.structured(out)
	if err != nil {
		return err
	}
	failed := 0
	rows := make([][]string, len(out.Checks))
	for i, f := range out.Checks {
		rows[i] = []string{f.Check, a.status(f.Status), oneLine(f.Measured), oneLine(f.Advice)}
		if f.Status == checkFail {
			failed++
		}
	}
	if !done {
		a.grid([]string{"CHECK", "STATUS", "MEASURED", "WHAT TO DO"}, rows)
	}
	if failed > 0 {
		return &failure{text: fmt.Sprintf("%d of %s failed", failed, count(len(out.Checks), "check"))}
	}
	return nil
}
