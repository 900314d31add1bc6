package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/events/raftstore"
)

// recovery is the structured form of what "cluster recover" did.
type recovery struct {
	DataDir  string `json:"data_dir"`
	Cluster  string `json:"cluster_id"`
	Was      string `json:"was_cluster_id"`
	Next     uint64 `json:"next_position"` // what the gone members held from here on is lost
	Unsure   uint64 `json:"unsure_from"`   // next_position when there is nothing
	UnsureOf uint64 `json:"unsure_events"` // kept from there on
	Root     string `json:"root"`          // of what is kept
}

func (a *app) recoverCommand() *cobra.Command {
	var dir string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Go on with one member when the quorum of a cluster is gone for good",
		Long: "Make the stopped member in a data directory a cluster of its own, for when the quorum of its cluster\n" +
			"is gone for good. What its log holds is kept; what only the other members held is lost. It prints from\n" +
			"which position on events may be lost, and which of those that are kept nobody may have been told of.\n\n" +
			"The cluster gets a new id, so that no old member can come back and vote: wipe their directories, and\n" +
			"have them join as new ones. Of several, recover the one whose last raft record has the highest term, and\n" +
			"among those the highest number (caxton log stat); copy its directory before. Start it with: caxton server\n" +
			"start. Ended in the middle, call it again.",
		Example: "  caxton cluster recover --data-dir /var/lib/caxton",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.logDir(dir)
			if err != nil {
				return err
			}
			return a.recoverMember(dir, yes)
		},
	}
	dataDirFlag(cmd, &dir)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) recoverMember(dir string, yes bool) error {
	_, isGroup, err := raftstore.LogDir(dir)
	if err != nil {
		return err
	}
	if !isGroup {
		return &failure{exit: exitNotFound, text: fmt.Sprintf("%s holds no member of a cluster", dir), next: "name the member's data directory with --data-dir"}
	}
	if !yes {
		if err := a.confirm(fmt.Sprintf("make the member in %s a cluster of its own, without what only the others hold", dir)); err != nil {
			return err
		}
	}
	o := raftstore.DefaultOptions()
	o.Log = a.stoppedLog()
	r, err := raftstore.Recover(dir, o.Alone())
	var invalid *events.InvalidError
	switch {
	case errors.Is(err, pebblestore.ErrInUse):
		return &failure{text: fmt.Sprintf("%s is in use by a running server", dir), next: "stop the server first"}
	case errors.As(err, &invalid):
		return &failure{text: dir + " " + strings.TrimPrefix(invalid.Error(), "dir "), next: "name the data directory of another member"}
	case err != nil:
		return err
	}
	return a.tellRecovery(recovery{
		DataDir: dir, Cluster: r.Cluster.String(), Was: r.Was.String(), Root: fmt.Sprintf("%x", r.End.Hash),
		Next: uint64(r.End.Next), Unsure: uint64(r.Unsure), UnsureOf: uint64(r.End.Next - r.Unsure),
	})
}

func (a *app) tellRecovery(r recovery) error {
	if done, err := a.structured(r); done || err != nil {
		return err
	}
	a.printf("Directory:  %s\nCluster:    %s, of this member alone\nWas:        %s; its other members are refused from here on\n", oneLine(r.DataDir), r.Cluster, r.Was)
	a.printf("Kept:       %s, root %s\n", count(r.Next, "event"), r.Root)
	if r.UnsureOf > 0 {
		a.printf("Unsure:     positions %d to %d are kept, and nobody may have been told that they were taken\n", r.Unsure, r.Next-1)
	}
	a.printf("Lost:       position %d and beyond, if the members that are gone took any\n", r.Next)
	return nil
}
