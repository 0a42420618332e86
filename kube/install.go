package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"drover.dev/deploy/crds"
)

// establishWithin bounds how long the API server may take to serve a new kind; it takes a second or two.
const establishWithin = time.Minute

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// Install applies drover's custom resource definitions, and returns when the cluster serves them. Doing it again brings them up to date.
func Install(ctx context.Context, cfg *rest.Config) error {
	ctx, cancel := context.WithTimeoutCause(ctx, establishWithin, fmt.Errorf("not served after %s", establishWithin))
	defer cancel()
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("kubernetes client: %w", err)
	}
	files, err := crds.Files.ReadDir(".")
	if err != nil {
		return fmt.Errorf("custom resource definitions: %w", err)
	}
	for _, f := range files {
		text, err := crds.Files.ReadFile(f.Name())
		if err != nil {
			return fmt.Errorf("custom resource definitions: %w", err)
		}
		if err := install(ctx, client, text); err != nil {
			return fmt.Errorf("install %s: %w", f.Name(), err)
		}
	}
	return nil
}

func install(ctx context.Context, client dynamic.Interface, text []byte) error {
	var want unstructured.Unstructured
	if err := yaml.Unmarshal(text, &want.Object); err != nil {
		return err
	}
	body, err := json.Marshal(want.Object)
	if err != nil {
		return err
	}
	how := metav1.PatchOptions{FieldManager: "drover", Force: new(true)}
	if _, err := client.Resource(definitions).Patch(ctx, want.GetName(), types.ApplyPatchType, body, how); err != nil {
		return classify(err)
	}
	for {
		ok, err := served(ctx, client, &want)
		if ok || err != nil {
			return err
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return context.Cause(ctx)
		}
	}
}

// served tells whether the kind can be listed: that it is established is not yet that every part of the API server knows.
func served(ctx context.Context, client dynamic.Interface, want *unstructured.Unstructured) (bool, error) {
	live, err := client.Resource(definitions).Get(ctx, want.GetName(), metav1.GetOptions{})
	if err != nil {
		return false, classify(err)
	}
	if !established(live) {
		return false, nil
	}
	group, _, _ := unstructured.NestedString(want.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(want.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(want.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)["name"].(string)
		_, err := client.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: plural}).List(ctx, metav1.ListOptions{Limit: 1})
		if apierrors.IsNotFound(err) || apierrors.IsServiceUnavailable(err) {
			return false, nil
		}
		if err != nil {
			return false, classify(err)
		}
	}
	return true, nil
}

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, v := range conditions {
		if cond, ok := v.(map[string]any); ok && cond["type"] == "Established" {
			return cond["status"] == "True"
		}
	}
	return false
}
