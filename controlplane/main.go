// Controlplane is a Kubernetes control plane in one file: etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler, linked from their own modules and
// unchanged, plus a kubelet whose containers are processes of this host.
//
// The component is chosen by the name the file is called by, or by the first
// argument:
//
//	controlplane etcd --data-dir ...
//	ln controlplane kube-apiserver; ./kube-apiserver --etcd-servers ...
//
// It is a Go module of its own so that drover itself never links, or even
// downloads, Kubernetes. Package drover.dev/sandbox/plane builds and runs it.
//
// It is for sandboxes only: it does not harden, upgrade or back up anything.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// component is one program of the binary. Run takes the arguments after the
// component's name and returns the exit code; most never return.
type component struct {
	name string
	help string
	run  func(args []string) int
}

var components = []component{
	{"etcd", "the store", runEtcd},
	{"kube-apiserver", "the API", runAPIServer},
	{"kube-controller-manager", "the controllers", runControllerManager},
	{"kube-scheduler", "the scheduler", runScheduler},
	{"version", "print what is linked here", runVersion},
}

func main() {
	c, args, err := choose(os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(c.run(args))
}

// choose finds the component that argv asks for.
func choose(argv []string) (component, []string, error) {
	for n := 0; n < len(argv) && n < 2; n++ {
		name := filepath.Base(argv[n])
		if i := slices.IndexFunc(components, func(c component) bool { return c.name == name }); i >= 0 {
			return components[i], argv[n+1:], nil
		}
	}
	var usage strings.Builder
	fmt.Fprintf(&usage, "usage: controlplane COMPONENT [FLAGS]\n\n")
	for _, c := range components {
		fmt.Fprintf(&usage, "  %-24s %s\n", c.name, c.help)
	}
	return component{}, nil, fmt.Errorf("%s", usage.String())
}
