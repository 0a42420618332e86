package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// switchable is a kind of objects that a stop changes, and the one field of them that it does.
type switchable struct {
	kind     string
	resource schema.GroupVersionResource
	turn     fleet.Turn
	field    []string
	off      string // its value when the object is switched off
	loose    bool   // no typed client knows it, and a cluster need not
}

// Annotations of others by which their controllers stand still.
const (
	kedaPaused  = "autoscaling.keda.sh/paused-replicas"
	kedaStopped = "autoscaling.keda.sh/paused" // no new Jobs of a ScaledJob, which has no replicas
	argoSkipped = "argocd.argoproj.io/skip-reconcile"
)

var (
	ofReplicas = []string{"spec", "replicas"}
	ofSuspend  = []string{"spec", "suspend"}
)

var switchables = []switchable{
	{"Deployment", resourceOf("apps", "v1", "deployments"), fleet.Scaled, ofReplicas, "0", false},
	{"StatefulSet", resourceOf("apps", "v1", "statefulsets"), fleet.Scaled, ofReplicas, "0", false},
	{"ReplicaSet", resourceOf("apps", "v1", "replicasets"), fleet.Scaled, ofReplicas, "0", false},
	{"CronJob", resourceOf("batch", "v1", "cronjobs"), fleet.Suspended, ofSuspend, "true", false},
	{"Job", resourceOf("batch", "v1", "jobs"), fleet.Suspended, ofSuspend, "true", false},
	{"Rollout", resourceOf("argoproj.io", "v1alpha1", "rollouts"), fleet.Scaled, ofReplicas, "0", true},
	{"ScaledObject", resourceOf("keda.sh", "v1alpha1", "scaledobjects"), fleet.Held, []string{"metadata", "annotations", kedaPaused}, "0", true},
	{"ScaledJob", resourceOf("keda.sh", "v1alpha1", "scaledjobs"), fleet.Suspended, []string{"metadata", "annotations", kedaStopped}, "true", true},
	{"Application", resourceOf("argoproj.io", "v1alpha1", "applications"), fleet.Unsynced, []string{"metadata", "annotations", argoSkipped}, "true", true},
	{"Kustomization", resourceOf("kustomize.toolkit.fluxcd.io", "v1", "kustomizations"), fleet.Unsynced, ofSuspend, "true", true},
	{"HelmRelease", resourceOf("helm.toolkit.fluxcd.io", "v2", "helmreleases"), fleet.Unsynced, ofSuspend, "true", true},
}

func resourceOf(group, version, name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: name}
}

// switchableOf is the kind of that name; nil when a stop changes none of its objects.
func switchableOf(kind string) *switchable {
	i := slices.IndexFunc(switchables, func(w switchable) bool { return w.kind == kind })
	if i < 0 {
		return nil
	}
	return &switchables[i]
}

func (w *switchable) apiVersion() string { return w.resource.GroupVersion().String() }

// value reads the field; absent when it is not there.
func (w *switchable) value(content map[string]any) (value string, absent bool, err error) {
	raw, there, err := unstructured.NestedFieldNoCopy(content, w.field...)
	switch v := raw.(type) {
	case nil:
		return "", true, err
	case int64:
		return strconv.FormatInt(v, 10), false, nil
	case bool:
		return strconv.FormatBool(v), false, nil
	case string:
		return v, false, nil
	}
	return "", !there, fmt.Errorf("%v is a %T", w.field, raw)
}

// raw is the value as the object has it; nil, which removes the field, when it was absent.
func (w *switchable) raw(value string, absent bool) (any, error) {
	switch {
	case absent:
		return nil, nil
	case w.field[0] == "metadata":
		return value, nil
	case w.turn == fleet.Scaled:
		n, err := strconv.ParseInt(value, 10, 32)
		return n, err
	}
	b, err := strconv.ParseBool(value)
	return b, err
}

// isOff tells whether such a value means that the object is switched off.
func (w *switchable) isOff(value string, absent bool) bool { return !absent && value == w.off }

// says is the value in words.
func (w *switchable) says(value string, absent bool) string {
	name := w.field[len(w.field)-1]
	switch {
	case absent:
		return "no " + name
	case w.turn == fleet.Scaled:
		return value + " " + name
	}
	return name + " " + strconv.Quote(value)
}

// partOf is all of a part that its own object says.
func partOf(w *switchable, o metav1.Object, value string, absent bool) (fleet.Part, error) {
	out := fleet.Part{
		Turn: w.turn, APIVersion: w.apiVersion(), Owner: fleet.Owner{Kind: w.kind, Namespace: o.GetNamespace(), Name: o.GetName()}, UID: string(o.GetUID()),
		Labels: o.GetLabels(), Value: value, Absent: absent, Off: w.isOff(value, absent), By: writerOf(o, w.field),
	}
	mark, err := partMarkOf(o)
	if err != nil {
		return out, fmt.Errorf("%s: %w", out.ID(), err)
	}
	out.Mark = mark
	return out, nil
}

// partMarkOf reads the mark; nil when there is none.
func partMarkOf(o metav1.Object) (*fleet.PartMark, error) {
	text, ok := o.GetAnnotations()[v1alpha1.MarkKey]
	if !ok {
		return nil, nil
	}
	mark, err := fleet.ParsePartMark(text)
	if err != nil {
		return nil, fmt.Errorf("annotation %s: %w", v1alpha1.MarkKey, err)
	}
	return mark, nil
}

// writerOf names the field manager that wrote a field last; "" when nobody says.
func writerOf(o metav1.Object, field []string) string {
	writer, at := "", metav1.Time{}
	for _, e := range o.GetManagedFields() {
		if !writes(&e, field) || writer != "" && (e.Time == nil || e.Time.Before(&at)) {
			continue
		}
		if writer = e.Manager; e.Time != nil {
			at = *e.Time
		}
	}
	return writer
}

// writes tells whether a manager has the field.
func writes(e *metav1.ManagedFieldsEntry, field []string) bool {
	if e.FieldsV1 == nil || !bytes.Contains(e.FieldsV1.Raw, []byte("f:"+field[len(field)-1])) {
		return false
	}
	var all map[string]any
	if json.Unmarshal(e.FieldsV1.Raw, &all) != nil {
		return false
	}
	path := make([]string, len(field))
	for i, name := range field {
		path[i] = "f:" + name
	}
	_, there, err := unstructured.NestedFieldNoCopy(all, path...)
	return there && err == nil
}

// declares tells who has the field in a manifest, and so would put it back; "" when nobody does.
func declares(o metav1.Object, field []string) string {
	for _, e := range o.GetManagedFields() {
		if e.Operation == metav1.ManagedFieldsOperationApply && e.Manager != manager && writes(&e, field) {
			return e.Manager
		}
	}
	return ""
}

// manager is what drover calls itself as a writer of fields.
const manager = "drover"
