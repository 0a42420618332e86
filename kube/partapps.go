package kube

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"drover.dev/fleet"
)

const (
	argoTracking = "argocd.argoproj.io/tracking-id"
	fluxKustom   = "kustomize.toolkit.fluxcd.io/"
	fluxHelm     = "helm.toolkit.fluxcd.io/"
)

// keepers are the GitOps objects that can be seen, and what they say they keep.
type keepers struct {
	seen map[fleet.Owner]*seenPart
	kept map[fleet.Owner][]fleet.Owner // by what is kept
}

func keepersOf(all []*seenPart) *keepers {
	k := &keepers{seen: map[fleet.Owner]*seenPart{}, kept: map[fleet.Owner][]fleet.Owner{}}
	for _, one := range all {
		if one.part.Turn != fleet.Unsynced {
			continue
		}
		k.seen[one.part.Owner] = one
		if one.part.Kind != "Application" || !deploysHere(one.content) {
			continue
		}
		resources, _, _ := unstructured.NestedSlice(one.content, "status", "resources")
		for _, raw := range resources {
			r, _ := raw.(map[string]any)
			text := func(key string) string { s, _ := r[key].(string); return s }
			w := switchableOf(text("kind"))
			if w == nil || w.resource.Group != text("group") {
				continue
			}
			what := fleet.Owner{Kind: w.kind, Namespace: text("namespace"), Name: text("name")}
			k.kept[what] = append(k.kept[what], one.part.Owner)
		}
	}
	for _, apps := range k.kept {
		slices.SortFunc(apps, func(a, b fleet.Owner) int { return strings.Compare(a.String(), b.String()) })
	}
	return k
}

// deploysHere tells whether an Application deploys into the cluster that it is in: what others list has the names of other objects.
func deploysHere(content map[string]any) bool {
	server, _, _ := unstructured.NestedString(content, "spec", "destination", "server")
	name, _, _ := unstructured.NestedString(content, "spec", "destination", "name")
	return server == "https://kubernetes.default.svc" || name == "in-cluster"
}

// chain are the GitOps objects that keep a part, and those that keep them, nearest first.
func (k *keepers) chain(one *seenPart) []fleet.Owner {
	out := k.direct(one)
	for i := 0; i < len(out); i++ {
		up := k.seen[out[i]]
		if up == nil {
			continue
		}
		for _, o := range k.direct(up) {
			if !slices.Contains(out, o) && o != one.part.Owner {
				out = append(out, o)
			}
		}
	}
	return out
}

// direct are the GitOps objects that keep a part themselves, by what the object says and by what they say.
func (k *keepers) direct(one *seenPart) []fleet.Owner {
	var out []fleet.Owner
	add := func(o fleet.Owner) {
		if o.Name != "" && o != one.part.Owner && !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	have := one.raw.GetLabels()
	add(fleet.Owner{Kind: "HelmRelease", Namespace: have[fluxHelm+"namespace"], Name: have[fluxHelm+"name"]})
	add(fleet.Owner{Kind: "Kustomization", Namespace: have[fluxKustom+"namespace"], Name: have[fluxKustom+"name"]})
	for _, o := range k.kept[one.part.Owner] {
		add(o)
	}
	add(k.tracked(one, out))
	return out
}

// tracked is the Application that an object's tracking annotation names: APP:GROUP/KIND:NAMESPACE/NAME. One that names another object was copied. The
// Application may be out of sight, in another cluster.
func (k *keepers) tracked(one *seenPart, known []fleet.Owner) fleet.Owner {
	app, what, _ := strings.Cut(one.raw.GetAnnotations()[argoTracking], ":")
	w := switchableOf(one.part.Kind)
	if what != fmt.Sprintf("%s/%s:%s/%s", w.resource.Group, w.kind, one.part.Namespace, one.part.Name) {
		return fleet.Owner{}
	}
	out := fleet.Owner{Kind: "Application", Name: app}
	if namespace, name, ok := strings.Cut(app, "_"); ok {
		out.Namespace, out.Name = namespace, name
		return out
	}
	same := func(o fleet.Owner) bool { return o.Kind == out.Kind && o.Name == out.Name }
	if i := slices.IndexFunc(known, same); i >= 0 {
		return known[i]
	}
	for o, seen := range k.seen {
		if same(o) && deploysHere(seen.content) && (out.Namespace == "" || o.Namespace < out.Namespace) {
			out.Namespace = o.Namespace
		}
	}
	return out
}

// reverts tells who would take a pause of a GitOps object back, and what to commit so that nobody does.
func (k *keepers) reverts(in *informed, one *seenPart, apps []fleet.Owner) (why, patch string) {
	w := switchableOf(one.part.Kind)
	if by := declares(one.raw, w.field); by != "" {
		return fmt.Sprintf("%s applies it with a %s of its own", by, fieldName(w)), withoutField(one, w)
	}
	if one.part.Kind != "Application" {
		return "", ""
	}
	if ref := metav1.GetControllerOf(one.raw); ref != nil && ref.Kind == "ApplicationSet" {
		return in.setReverts(one.part.Namespace, ref.Name)
	}
	for _, o := range apps {
		parent := k.seen[o]
		if o.Kind == "Application" && parent != nil && heals(parent.content) && !ignores(parent.content) {
			return fmt.Sprintf("%s keeps it as its repository says (automated, selfHeal)", o), parentPatch(o)
		}
	}
	return "", ""
}

func fieldName(w *switchable) string {
	if w.field[0] == "metadata" {
		return "annotation " + w.field[len(w.field)-1]
	}
	return strings.Join(w.field, ".")
}

// withoutField is the manifest's change, as a JSON patch of Kustomize, that leaves the field to whoever pauses.
func withoutField(one *seenPart, w *switchable) string {
	var pointer strings.Builder
	for _, name := range w.field {
		pointer.WriteString("/" + pointed(name))
	}
	return fmt.Sprintf("# in the repository, to the manifest of %s\n- op: remove\n  path: %s\n", one.part.ID(), pointer.String())
}

// pointed is a name in a JSON pointer.
func pointed(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// setReverts tells whether an ApplicationSet would take a pause of an Application of its back.
func (in *informed) setReverts(namespace, name string) (why, patch string) {
	i := slices.IndexFunc(in.sets.list(), func(u *unstructured.Unstructured) bool { return u.GetNamespace() == namespace && u.GetName() == name })
	subject := "ApplicationSet " + namespace + "/" + name
	patch = fmt.Sprintf("# in the repository, to %s\nspec:\n  preservedFields:\n    annotations:\n    - %s\n", subject, argoSkipped)
	if i < 0 {
		return subject + " generated it, and cannot be seen", patch
	}
	spec := in.sets.list()[i].Object
	if kept, _, _ := unstructured.NestedStringSlice(spec, "spec", "preservedFields", "annotations"); slices.Contains(kept, argoSkipped) {
		return "", ""
	}
	if policy, _, _ := unstructured.NestedString(spec, "spec", "syncPolicy", "applicationsSync"); policy == "create-only" || policy == "create-delete" {
		return "", ""
	}
	if rules, _, _ := unstructured.NestedSlice(spec, "spec", "ignoreApplicationDifferences"); slices.ContainsFunc(rules, overlooks) {
		return "", ""
	}
	return subject + " generated it, and sets its annotations anew", patch
}

// heals tells whether an Application puts back by itself what somebody changes.
func heals(content map[string]any) bool {
	heal, _, _ := unstructured.NestedBool(content, "spec", "syncPolicy", "automated", "selfHeal")
	enabled, said, _ := unstructured.NestedBool(content, "spec", "syncPolicy", "automated", "enabled")
	return heal && (enabled || !said)
}

// ignores tells whether an Application overlooks the annotation of those that it keeps, when it compares and when it syncs.
func ignores(content map[string]any) bool {
	rules, _, _ := unstructured.NestedSlice(content, "spec", "ignoreDifferences")
	options, _, _ := unstructured.NestedStringSlice(content, "spec", "syncPolicy", "syncOptions")
	return slices.Contains(options, "RespectIgnoreDifferences=true") && slices.ContainsFunc(rules, func(raw any) bool {
		rule, _ := raw.(map[string]any)
		kind, _ := rule["kind"].(string)
		return (kind == "Application" || kind == "*") && overlooks(raw)
	})
}

// overlooks tells whether a rule of differences that are ignored has the annotation in it.
func overlooks(rule any) bool {
	body, err := json.Marshal(rule)
	text := string(body)
	return err == nil && (strings.Contains(text, `"/metadata/annotations"`) || strings.Contains(text, "skip-reconcile") || strings.Contains(text, `".metadata.annotations"`))
}

func parentPatch(parent fleet.Owner) string {
	return fmt.Sprintf(`# in the repository, to %s
spec:
  ignoreDifferences:
  - group: argoproj.io
    kind: Application
    jsonPointers:
    - /metadata/annotations/%s
  syncPolicy:
    syncOptions:
    - RespectIgnoreDifferences=true
`, parent, pointed(argoSkipped))
}
