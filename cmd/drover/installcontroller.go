package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"drover.dev/deploy/controller"
	"drover.dev/deploy/crds"
)

// roleAnnotation is how IRSA knows which role a service account may take.
const roleAnnotation = "eks.amazonaws.com/role-arn"

var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[^ ]+$`)

func (o *installing) check() error {
	switch {
	case (o.controller || o.metadata) && o.image == "":
		return usagef("--image: which image of drover? No registry has one; deploy/controller/Dockerfile says how to build it")
	case !o.controller && !o.metadata && o.image != "":
		return usagef("--image: for --controller and --imds only")
	case !o.controller && (o.cluster != "" || o.queue != "" || o.role != ""):
		return usagef("--cluster-name, --queue and --role-arn are for --controller only")
	case o.guard && !o.controller:
		return usagef("--guard: for --controller only, which answers for the guard")
	case o.switches && !o.controller:
		return usagef("--environments: for --controller only, which switches them")
	case o.role != "" && !roleARN.MatchString(o.role):
		return usagef("--role-arn %q: want arn:aws:iam::ACCOUNT:role/NAME", o.role)
	}
	return nil
}

// done says what was installed, and what comes next.
func (o *installing) done() string {
	switch {
	case o.controller:
		return "Installed. See it start with: kubectl -n drover-system rollout status deployment/drover-controller; then prove that notices reach it: drover check"
	case o.metadata:
		return "Installed. See it start with: kubectl -n drover-imds rollout status daemonset/drover-imds"
	}
	return "Installed. The cluster can hold the records of runs and of notices now."
}

// manifests are the objects besides the custom resource definitions, filled in, in the order in which they are applied.
func (a *app) manifests(ctx context.Context, o *installing) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	if o.controller {
		cfg, err := a.conn.configAWS(ctx)
		if err != nil {
			return nil, err
		}
		objects, err := filled(controller.Base, o.image, o.role, map[string]string{
			"AWS_REGION": cfg.Region, "DROVER_CLUSTER": o.cluster, "DROVER_QUEUE": o.queue, "DROVER_GUARD": strconv.FormatBool(o.guard),
			"DROVER_ENVIRONMENTS": strconv.FormatBool(o.switches),
		})
		if err != nil {
			return nil, err
		}
		out = objects
	}
	if o.guard {
		objects, err := filled(controller.Guard, "", "", nil)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	if o.switches {
		objects, err := filled(controller.Environments, "", "", nil)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	if o.metadata {
		objects, err := filled(controller.Metadata, o.image, "", nil)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// filled are a folder's objects with what differs from cluster to cluster.
func filled(folder, image, role string, env map[string]string) ([]*unstructured.Unstructured, error) {
	objects, err := controller.Objects(folder)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, o := range objects {
		u := &unstructured.Unstructured{Object: o}
		switch u.GetKind() {
		case "ServiceAccount":
			if role != "" {
				u.SetAnnotations(map[string]string{roleAnnotation: role})
			}
		case "Deployment", "DaemonSet":
			if err := fill(u, image, env); err != nil {
				return nil, fmt.Errorf("manifest of %s: %w", nameOf(u), err)
			}
		}
		out = append(out, u)
	}
	return out, nil
}

// fill puts the image and the values of the environment in.
func fill(u *unstructured.Unstructured, image string, env map[string]string) error {
	path := []string{"spec", "template", "spec", "containers"}
	containers, _, err := unstructured.NestedSlice(u.Object, path...)
	if err != nil {
		return err
	}
	for _, one := range containers {
		c, ok := one.(map[string]any)
		if !ok {
			return errors.New("a container that is no object")
		}
		c["image"] = image
		variables, _, err := unstructured.NestedSlice(c, "env")
		if err != nil {
			return err
		}
		for _, v := range variables {
			if variable, ok := v.(map[string]any); ok {
				if value, known := env[fmt.Sprint(variable["name"])]; known {
					variable["value"] = value
				}
			}
		}
		c["env"] = variables
	}
	return unstructured.SetNestedSlice(u.Object, containers, path...)
}

// printManifests writes the custom resource definitions and the objects, as kubectl apply -f - takes them.
func printManifests(w io.Writer, objects []*unstructured.Unstructured) error {
	files, err := crds.Files.ReadDir(".")
	if err != nil {
		return fmt.Errorf("custom resource definitions: %w", err)
	}
	for _, f := range files {
		text, err := crds.Files.ReadFile(f.Name()) // each begins with ---
		if err != nil {
			return fmt.Errorf("custom resource definitions: %w", err)
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	for _, u := range objects {
		text, err := yaml.Marshal(u.Object)
		if err != nil {
			return fmt.Errorf("print %s: %w", nameOf(u), err)
		}
		if _, err := fmt.Fprintf(w, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}

func nameOf(u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return u.GetName()
	}
	return u.GetNamespace() + "/" + u.GetName()
}

// What is done about an object.
const (
	stepCreate = "created"
	stepChange = "changed"
	stepNone   = "as it is to be"
)

// step is one object, and what is done about it.
type step struct {
	object *unstructured.Unstructured
	what   string
}

// applier applies objects on the server's side: fields of others stay.
type applier struct{ client dynamic.Interface }

func newApplier(cfg *rest.Config) (applier, error) {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return applier{}, fmt.Errorf("kubernetes client: %w", err)
	}
	return applier{client}, nil
}

func (p applier) at(u *unstructured.Unstructured) dynamic.ResourceInterface {
	resource, _ := meta.UnsafeGuessKindToResource(u.GroupVersionKind()) // a test holds the guess right for every kind there is
	if u.GetNamespace() == "" {
		return p.client.Resource(resource)
	}
	return p.client.Resource(resource).Namespace(u.GetNamespace())
}

func (p applier) apply(ctx context.Context, u *unstructured.Unstructured, dry ...string) (*unstructured.Unstructured, error) {
	out, err := p.at(u).Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: "drover", Force: true, DryRun: dry})
	if err != nil {
		return nil, fmt.Errorf("apply %s %s: %w", u.GetKind(), nameOf(u), err)
	}
	return out, nil
}

// plan says what would be done, by having the server try it.
func (p applier) plan(ctx context.Context, objects []*unstructured.Unstructured) ([]step, error) {
	var out []step
	for _, u := range objects {
		live, err := p.at(u).Get(ctx, u.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			out = append(out, step{u, stepCreate})
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s %s: %w", u.GetKind(), nameOf(u), err)
		}
		would, err := p.apply(ctx, u, metav1.DryRunAll)
		if err != nil {
			return nil, err
		}
		what := stepChange
		if equality.Semantic.DeepEqual(bare(live), bare(would)) {
			what = stepNone
		}
		out = append(out, step{u, what})
	}
	return out, nil
}

// bare is an object without what changes at every write, or without one.
func bare(u *unstructured.Unstructured) map[string]any {
	u = u.DeepCopy()
	delete(u.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	return u.Object
}

// carryOut applies what is not as it is to be.
func (p applier) carryOut(ctx context.Context, steps []step) error {
	for i, s := range steps {
		if s.what == stepNone {
			continue
		}
		if _, err := p.apply(ctx, s.object); err != nil {
			return fmt.Errorf("%w; %d of %d manifests are applied, and the same command goes on from there", err, i, len(steps))
		}
	}
	return nil
}
