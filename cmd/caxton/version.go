package main

import (
	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/internal/version"
)

func (a *app) versionCommand() *cobra.Command {
	var remote bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print which caxton this is, or which one the server is",
		Example: "  caxton version\n  caxton version --server -o json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			build := version.Current()
			if remote {
				c, err := a.server()
				if err != nil {
					return err
				}
				if build, err = c.Version(cmd.Context()); err != nil {
					return err
				}
			}
			if done, err := a.structured(build); done {
				return err
			}
			a.printf("%s\n", build)
			return nil
		},
	}
	cmd.Flags().BoolVar(&remote, "server", false, "ask the server")
	return cmd
}
