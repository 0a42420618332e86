package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"drover.dev/api/v1alpha1"
	"drover.dev/deploy/crds"
	"drover.dev/kube"
)

func (a *app) installCommand() *cobra.Command {
	yes := false
	c := &cobra.Command{
		Use: "install", Short: "Install the custom resource definitions that hold the record of runs",
		Long: `Install drover's custom resource definitions: Rotation, the durable record of a run, and Departure, one node that goes. Nothing else is
installed. Doing it again brings them up to date.`,
		Example: "  drover install\n  drover install --yes --context production", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.install(c.Context(), yes) },
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (a *app) install(ctx context.Context, yes bool) error {
	cluster, err := a.conn.dial(ctx)
	if err != nil {
		return err
	}
	there, err := served(cluster)
	if err != nil {
		return err
	}
	wanted, err := definitions()
	if err != nil {
		return err
	}
	installTable(a.err, a.conn.cluster(), wanted, there)
	if err := a.approve(ctx, "Install these?", yes); err != nil {
		return err
	}
	cfg, err := a.conn.config()
	if err != nil {
		return err
	}
	if err := kube.Install(ctx, cfg); err != nil {
		return err
	}
	fmt.Fprintln(a.err, "Installed. The cluster can hold the record of a rotation now.")
	return nil
}

// definition is what people see of a custom resource definition.
type definition struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Names struct {
			Kind   string `json:"kind"`
			Plural string `json:"plural"`
		} `json:"names"`
	} `json:"spec"`
}

func definitions() ([]definition, error) {
	files, err := crds.Files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("custom resource definitions: %w", err)
	}
	var out []definition
	for _, f := range files {
		text, err := crds.Files.ReadFile(f.Name())
		if err != nil {
			return nil, fmt.Errorf("custom resource definitions: %w", err)
		}
		var d definition
		if err := yaml.Unmarshal(text, &d); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		out = append(out, d)
	}
	return out, nil
}

// served names the kinds of drover's that the cluster serves already, by plural.
func served(cluster *kube.Cluster) (map[string]bool, error) {
	version := v1alpha1.GroupVersion.String()
	list, err := cluster.Client().Discovery().ServerResourcesForGroupVersion(version)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask which kinds of %s the cluster serves: %w", version, err)
	}
	out := map[string]bool{}
	for _, r := range list.APIResources {
		if !strings.Contains(r.Name, "/") {
			out[r.Name] = true
		}
	}
	return out, nil
}

func installTable(w io.Writer, place string, wanted []definition, there map[string]bool) {
	fmt.Fprintf(w, "Custom resource definitions for %s\n\n", place)
	var rows [][]string
	for _, d := range wanted {
		what := "created"
		if there[d.Spec.Names.Plural] {
			what = "there already; brought up to date"
		}
		rows = append(rows, []string{d.Metadata.Name, d.Spec.Names.Kind, what})
	}
	columns(w, "NAME KIND WHAT", rows)
}

// installInto installs into the cluster of a kubeconfig file.
func installInto(ctx context.Context, kubeconfig string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	return kube.Install(ctx, cfg)
}
