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

// installing is what drover install is asked for.
type installing struct {
	controller bool
	metadata   bool
	guard      bool
	switches   bool // environments
	image      string
	cluster    string
	queue      string
	role       string
	print      bool
	yes        bool
}

func (a *app) installCommand() *cobra.Command {
	var o installing
	c := &cobra.Command{
		Use: "install", Short: "Install drover's kinds in a cluster, and its controller if wanted",
		Long: `Install drover's custom resource definitions: Rotation, the durable record of a run, Departure, one node that goes, and Environment, what is
switched off and on together, among them. Doing it again brings them up to date. Rotations, drains and environments need nothing else in the cluster.

--controller also installs drover controller, with its namespace, roles, network policy and two replicas. Its image is yours: deploy/controller/Dockerfile
says how it is built. Its rights in AWS come from EKS Pod Identity for the service account drover-system/drover-controller, or from --role-arn.
--environments gives it the rights to switch environments, and has it do so.
--guard turns its eviction guard on: kubectl drain and whoever else evicts pods wait while drover moves those that hold data (docs/guard.md).
--imds adds the DaemonSet for clusters that cannot have a queue.

The plan is shown first; what is as it is to be is left alone. --print writes the manifests instead, for a repository, and asks no cluster.`,
		Example: `  drover install
  drover install --yes --context production
  drover install --controller --image registry.example.com/drover:1.0 --cluster-name prod --queue drover-prod
  drover install --controller --image registry.example.com/drover:1.0 --print > drover.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.install(c.Context(), &o) },
	}
	f := c.Flags()
	f.BoolVar(&o.controller, "controller", false, "also install the controller")
	f.BoolVar(&o.metadata, "imds", false, "also install the DaemonSet that asks the instance metadata")
	f.BoolVar(&o.guard, "guard", false, "with --controller: also have it guard evictions")
	f.BoolVar(&o.switches, "environments", false, "with --controller: also have it switch environments as their schedules and people's wishes say")
	f.StringVar(&o.image, "image", "", "image of drover, with its tag or digest")
	f.StringVar(&o.cluster, "cluster-name", "", "for the controller: name of the cluster in AWS (otherwise as most of its groups are tagged)")
	f.StringVar(&o.queue, "queue", "", "for the controller: name or URL of the queue that drover setup made (otherwise AWS is asked instead)")
	f.StringVar(&o.role, "role-arn", "", "for the controller: IAM role to take by IRSA (otherwise EKS Pod Identity says which)")
	f.BoolVar(&o.print, "print", false, "write the manifests to standard output, and do nothing")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	c.MarkFlagsMutuallyExclusive("print", "yes")
	return c
}

func (a *app) install(ctx context.Context, o *installing) error {
	if err := o.check(); err != nil {
		return err
	}
	wanted, err := a.manifests(ctx, o)
	if err != nil {
		return err
	}
	if o.print {
		return printManifests(a.out, wanted)
	}
	cluster, err := a.conn.dial(ctx)
	if err != nil {
		return err
	}
	there, err := served(cluster)
	if err != nil {
		return err
	}
	kinds, err := definitions()
	if err != nil {
		return err
	}
	cfg, err := a.conn.config()
	if err != nil {
		return err
	}
	hand, err := newApplier(cfg)
	if err != nil {
		return err
	}
	steps, err := hand.plan(ctx, wanted)
	if err != nil {
		return err
	}
	installTable(a.err, a.conn.cluster(), kinds, there, steps)
	if err := a.approve(ctx, "Install these?", o.yes); err != nil {
		return err
	}
	if err := kube.Install(ctx, cfg); err != nil {
		return err
	}
	if err := hand.carryOut(ctx, steps); err != nil {
		return err
	}
	fmt.Fprintln(a.err, o.done())
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

func installTable(w io.Writer, place string, kinds []definition, there map[string]bool, steps []step) {
	what := "Custom resource definitions"
	if len(steps) > 0 {
		what += " and manifests"
	}
	fmt.Fprintf(w, "%s for %s\n\n", what, place)
	var rows [][]string
	for _, d := range kinds {
		what := "created"
		if there[d.Spec.Names.Plural] {
			what = "there already; brought up to date"
		}
		rows = append(rows, []string{d.Metadata.Name, d.Spec.Names.Kind, what})
	}
	for _, s := range steps {
		rows = append(rows, []string{nameOf(s.object), s.object.GetKind(), s.what})
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
