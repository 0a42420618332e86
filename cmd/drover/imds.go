package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/depart"
	"drover.dev/fleet"
	"drover.dev/imds"
)

// imdsEvery is how often an instance asks about itself. AWS says that what it tells changes every five seconds at most.
const imdsEvery = 5 * time.Second

func (a *app) imdsCommand() *cobra.Command {
	var node string
	c := &cobra.Command{
		Use: "imds", Short: "Stay on a node, and file what its own instance metadata says about its end", Args: cobra.NoArgs,
		Long: `For clusters that cannot have a queue: run on every node (as a DaemonSet) and file spot interruptions, rebalance recommendations, scheduled
maintenance and the group's intentions as the instance's own metadata tells them. It needs no AWS credentials. Emptying the node is the controller's.`,
		Example: "  drover imds --node $(NODE_NAME)",
		RunE:    func(c *cobra.Command, _ []string) error { return a.watchMetadata(c.Context(), node) },
	}
	c.Flags().StringVar(&node, "node", os.Getenv("NODE_NAME"), "name of this node (otherwise NODE_NAME)")
	return c
}

func (a *app) watchMetadata(ctx context.Context, node string) error {
	if node == "" {
		return usagef("which node is this? Pass --node, or set NODE_NAME from spec.nodeName")
	}
	cfg, err := a.conn.loadAWS(ctx)
	if err != nil {
		return err
	}
	metadata := imds.Client(cfg)
	self, err := imds.Identity(ctx, metadata)
	if err != nil {
		return err
	}
	cluster, err := a.conn.dial(ctx)
	if err != nil {
		return err
	}
	patient := fleet.UsualPolicy
	patient.DrainFor = 48 * time.Hour // how long a hook waits is the controller's to decide
	fmt.Fprintf(a.err, "drover imds on node %s, instance %s in %s\n", node, self.Instance, self.Region)
	return imds.Watch(ctx, metadata, imdsEvery, func(n fleet.Notice) error {
		here := fleet.Snapshot{Now: time.Now(), Nodes: []fleet.Node{{Name: node, Instance: self.Instance}}}
		news := false
		err := cluster.File(ctx, self.Instance, func(have fleet.Case) (want fleet.Case, differs bool) {
			want, news = depart.Hear(&here, have, n, patient)
			return want, news
		})
		if err == nil && news {
			fmt.Fprintf(a.err, "%s  heard    %s: %s\n", time.Now().UTC().Format(time.RFC3339), n.Kind, n.Why)
		}
		return err
	}, func(err error) {
		fmt.Fprintf(a.err, "%s  trouble  %v\n", time.Now().UTC().Format(time.RFC3339), err)
	})
}
