package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	caxtonhttp "github.com/caxton-run/caxton/http"
)

// defaultTimeout is for one call of the API, beside the wait it asks for.
const defaultTimeout = 30 * time.Second

// app is one run of the program.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	serve  serveFunc
	getenv func(string) string
	now    func() time.Time
	exit   func(code int) // does not return: for what must not go on

	api     string
	token   string
	config  string // path of a YAML file
	output  string
	noColor bool
	timeout time.Duration

	client *caxtonhttp.Client // made on first use
}

func newApp(stdin io.Reader, stdout, stderr io.Writer, serve serveFunc) *app {
	return &app{stdin: stdin, stdout: stdout, stderr: stderr, serve: serve, getenv: os.Getenv, now: time.Now, exit: os.Exit}
}

func (a *app) close() {
	if a.client != nil {
		a.client.Close()
	}
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "caxton",
		Short: "Run WebAssembly agents as durable, supervised actors",
		Long: "Run WebAssembly agents as durable, supervised actors.\n\n" +
			"Without arguments it starts a server with defaults, as \"caxton server start\" does.",
		Example: "  caxton server start --demo\n  caxton agent deploy counter.wasm --name counter\n" +
			"  caxton message send --to counter --content '{\"op\":\"add\"}' --wait 5s",
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.serve(cmd.Context(), serveOptions{configFile: a.config}, a.stdout, a.stderr)
		},
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkGlobals() },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{text: err.Error(), next: meantFlag(cmd, err)}
	})
	f := root.PersistentFlags()
	f.StringVar(&a.api, "api", "", "URL of the server (default $CAXTON_API, or "+caxtonhttp.DefaultURL+")")
	f.StringVar(&a.token, "token", "", "bearer token (default $CAXTON_TOKEN)")
	f.StringVar(&a.config, "config", "", "configuration file (YAML) of the server, from which a client takes its address")
	f.StringVarP(&a.output, "output", "o", "table", "table, wide, json or yaml")
	f.BoolVar(&a.noColor, "no-color", false, "print without colours (also $NO_COLOR)")
	f.DurationVar(&a.timeout, "timeout", defaultTimeout, "for a call to be answered")
	root.AddCommand(a.agentCommand(), a.messageCommand(), a.letterCommand(), a.conversationCommand(), a.serverCommand(), a.logCommand(), a.doctorCommand(), a.benchmarkCommand(), a.versionCommand())
	root.AddCommand(a.queueCommand(), a.memoryCommand(), a.resourcesCommand(), a.clusterCommand(), a.emergencyCommand(), a.breakerCommand())
	return root
}

// noun is a command that only holds others.
func (a *app) noun(name, short string, aliases []string, example string) *cobra.Command {
	return &cobra.Command{
		Use: name, Aliases: aliases, Short: short, Example: "  " + example,
		SuggestionsMinimumDistance: 2,
		Args:                       unknownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}

// exactly makes cobra refuse any other number of arguments than these, and empty ones:
// they are a variable that was not set.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		next := "see: " + cmd.CommandPath() + " --help"
		if len(args) == len(names) {
			if i := slices.Index(args, ""); i >= 0 {
				return &usageError{text: names[i] + " must not be empty", next: next}
			}
			return nil
		}
		if len(args) > len(names) {
			return &usageError{text: fmt.Sprintf("unexpected argument %q", args[len(names)]), next: next}
		}
		return &usageError{text: "missing argument " + names[len(args)], next: next}
	}
}

func (a *app) checkGlobals() error {
	switch a.output {
	case "table", "wide", "json", "yaml":
	default:
		return usagef("--output must be table, wide, json or yaml, not %q", a.output)
	}
	if a.timeout <= 0 {
		return usagef("--timeout must be greater than 0, not %s", a.timeout)
	}
	return nil
}

// server returns the client of the API that the flags name.
func (a *app) server() (*caxtonhttp.Client, error) {
	if a.client != nil {
		return a.client, nil
	}
	url, err := a.apiURL()
	if err != nil {
		return nil, err
	}
	c, err := caxtonhttp.NewClient(caxtonhttp.ClientOptions{
		URL:     url,
		Token:   first(a.token, a.getenv("CAXTON_TOKEN")),
		Timeout: a.timeout,
	})
	if err != nil {
		return nil, err
	}
	a.client = c
	return c, nil
}

// apiURL is where the server is, or empty where nothing says so.
func (a *app) apiURL() (string, error) {
	if url := first(a.api, a.getenv("CAXTON_API")); url != "" || a.config == "" {
		return url, nil
	}
	cfg, err := serveOptions{configFile: a.config}.configuration()
	if err != nil {
		return "", err
	}
	// A server that listens on every address of its machine is found on this one.
	if ip := net.ParseIP(cfg.Server.Host); ip != nil && ip.IsUnspecified() {
		cfg.Server.Host = "localhost"
	}
	return "http://" + cfg.Server.APIAddr(), nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// completeAgents offers agents' names and ids to a shell. It asks the server
// and offers nothing when there is none.
func (a *app) completeAgents(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const patience = 2 * time.Second // someone is waiting at a prompt
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.server()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, patience)
	defer cancel()
	page, err := c.AgentPage(ctx, "", caxtonhttp.MaxPageAgents)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var words []string
	for _, v := range page.Agents {
		words = append(words, v.ID.String()+"\t"+v.Name)
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
