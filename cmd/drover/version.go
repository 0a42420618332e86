package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker in releases.
var version = "dev"

func (a *app) versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs, Example: "  drover version\n  drover version -o json",
		RunE: func(*cobra.Command, []string) error {
			d := map[string]string{"version": version, "go": runtime.Version(), "kubernetes": libraryVersion("k8s.io/client-go"), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			return a.print(d, func(w io.Writer) {
				fmt.Fprintf(w, "drover %s (%s, %s, client-go %s)\n", d["version"], d["go"], d["platform"], d["kubernetes"])
			})
		},
	}
	a.outputFlag(c)
	return c
}

func libraryVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "unknown"
}
