package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"drover.dev/controlplane/node"
)

// Nodes need Linux; the rest does not.
func init() {
	components = append(components,
		component{"kubelet", "a node whose containers are processes of this host", command(node.Run)},
		component{"kubelet-clean", "remove what a killed node has left behind", command(node.Clean)},
	)
}

// command ends what it runs at a signal, and prints what went wrong.
func command(run func(context.Context, []string) error) func([]string) int {
	return func(args []string) int {
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer cancel()
		err := run(ctx, args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return 0
		case err != nil:
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
}
