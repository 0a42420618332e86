package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"drover.dev/engine"
	"drover.dev/env"
	"drover.dev/evac"
	"drover.dev/fleet"
)

// isolating is what the flags of isolate ask for.
type isolating struct {
	switching
	from, group, label, value string
	max                       int
	write                     string
	apply, groupOnly          bool
}

func (a *app) isolateCommand() *cobra.Command {
	var r isolating
	c := &cobra.Command{
		Use: "isolate ENVIRONMENT", Short: "Give an environment nodes of its own, and carry its pods over",
		Long: `Separate an environment from those it shares nodes with: a node group of its own, made like the shared one with the environment's label and taint and a
minimum of 0, a nodeSelector and a toleration for its workloads, and budgets for those of several pods that have none. Without --write and --apply it
shows that, and does nothing.

--write DIR writes the patches as files, for a repository: commit them when the group is there. --group-only makes the group and the budgets, and places
nothing. --apply does everything, workload by workload: the next one when the last one works on its new nodes. What a GitOps controller keeps has to be
committed, because it would take a patch back.`,
		Example: "  drover isolate staging\n  drover isolate staging --write patches/\n  drover isolate staging --group-only\n  drover isolate staging --apply --max 4",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeEnvironments,
		RunE: func(c *cobra.Command, args []string) error { return a.isolate(c.Context(), args, &r) },
	}
	f := c.Flags()
	f.StringVarP(&r.file, "file", "f", "", "YAML file with the Environment: it counts instead of the one in the cluster")
	f.StringVar(&r.from, "from", "", "group to take for a pattern (otherwise the one that it shares)")
	f.StringVar(&r.group, "group", "", "name of the new group (otherwise FROM-ENVIRONMENT)")
	f.StringVar(&r.label, "label", "env", "key of the nodes' label and taint")
	f.StringVar(&r.value, "value", "", "its value (otherwise the environment's name)")
	f.IntVar(&r.max, "max", 0, "most nodes of the new group (otherwise twice what the pods need)")
	f.StringVar(&r.write, "write", "", "write the patches and budgets into this folder, for a repository")
	f.BoolVar(&r.apply, "apply", false, "do it all")
	f.BoolVar(&r.groupOnly, "group-only", false, "make the group and the budgets, and place nothing")
	r.run.flags(c)
	f.Lookup("wait").Hidden = true // it is a person's work, looked at until it is over
	a.outputFlag(c)
	c.MarkFlagsMutuallyExclusive("apply", "group-only")
	return c
}

// isolationDocument is what isolate prints.
type isolationDocument struct {
	APIVersion  string       `json:"apiVersion"`
	Kind        string       `json:"kind"`
	Place       string       `json:"place"`
	Environment string       `json:"environment"`
	Group       newGroupDoc  `json:"group"`
	Workloads   []string     `json:"workloads"`
	Budgets     []string     `json:"budgets"`
	Moves       []string     `json:"moves"`           // pods that run on other nodes now
	Stays       []string     `json:"stays,omitempty"` // what is not carried over, and why
	Findings    []findingDoc `json:"findings"`
}

type newGroupDoc struct {
	Name   string            `json:"name"`
	From   string            `json:"from"`
	Labels map[string]string `json:"labels"`
	Taints []string          `json:"taints"`
	Nodes  int               `json:"nodes"` // that its pods need
	Max    int               `json:"max"`
}

func (a *app) isolate(ctx context.Context, args []string, r *isolating) error {
	if r.max < 0 {
		return usagef("--max %d: must be positive", r.max)
	}
	file, name, err := r.chosen(args)
	if err != nil {
		return err
	}
	room, err := a.switchroom(ctx, &r.switching)
	if err != nil {
		return err
	}
	if file != nil {
		room.declare(file)
	}
	s, err := room.Observe(ctx)
	if err != nil {
		return err
	}
	if s.Environment(name) == nil {
		return errNoEnvironment(&s, name)
	}
	i, findings := env.Isolate(&s, name, r.options(name, s.Now))
	d := isolationOf(&i, findings, room.place)
	if err := a.print(d, func(w io.Writer) { isolationTable(w, &d) }); err != nil {
		return err
	}
	if r.write != "" {
		if err := a.writePatches(r.write, &s, &i); err != nil {
			return err
		}
	}
	switch {
	case evac.Blocked(findings):
		return &exit{code: exitBlocked, err: errors.New("blocked; nothing was changed")}
	case r.apply || r.groupOnly:
		return a.separate(ctx, room, i, r)
	}
	return nil
}

func (r *isolating) options(name string, now time.Time) env.IsolateOptions {
	return env.IsolateOptions{Run: engine.RunName(name, now), From: r.from, Name: r.group, Label: r.label, Value: r.value, Max: r.max, Apply: r.apply}
}

// errEnough ends a separation that is to make the group only.
var errEnough = errors.New("the group is there")

// separate asks, and goes, under the lease.
func (a *app) separate(ctx context.Context, room *switchroom, i env.Isolation, r *isolating) error {
	question := fmt.Sprintf("Separate environment %s?", i.Environment)
	if r.groupOnly {
		question = fmt.Sprintf("Make group %s?", i.Group.Name)
	}
	if err := a.approve(ctx, question, r.run.yes); err != nil {
		return err
	}
	within := ctx
	if r.run.timeout > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, r.run.timeout)
		defer cancel()
	}
	within, enough := context.WithCancelCause(within)
	defer enough(nil)
	began := room.Now()
	room.Note = a.teller(began)
	room.See = func(v engine.EnvironmentView) {
		if r.groupOnly && (v.Step.Done || v.Step.Phase == env.Placing || v.Step.Phase == env.Carrying) {
			enough(errEnough)
		}
	}
	err := room.desk.Alone(within, identity(), a.tellWaiting, func(ctx context.Context) error { return room.Isolate(ctx, i) })
	took := room.Now().Sub(began).Round(time.Second)
	switch {
	case err == nil, errors.Is(context.Cause(within), errEnough):
		fmt.Fprintf(a.err, "%s in %s: group %s is there%s. Name it in spec.groups of environment %s, and take %s out when no pod of the environment runs there any more.\n",
			a.paint(green, "Done"), took, i.Group.Name, map[bool]string{true: "", false: ", and the environment's pods are on it"}[r.groupOnly], i.Environment, i.Group.From)
		return nil
	case ctx.Err() != nil:
		return &exit{exitInterrupted, fmt.Errorf("stopped after %s; the same command goes on from here", took)}
	case within.Err() != nil:
		return &exit{exitTimeout, fmt.Errorf("not done within %s; the same command goes on from here", r.run.timeout)}
	}
	return err
}

func isolationOf(i *env.Isolation, findings []fleet.Finding, place string) isolationDocument {
	d := isolationDocument{
		APIVersion: "drover.dev/v1alpha1", Kind: "Isolation", Place: place, Environment: i.Environment, Stays: i.Stays, Findings: describeFindings(findings),
		Group:     newGroupDoc{Name: i.Group.Name, From: i.Group.From, Labels: i.Group.Labels, Taints: []string{}, Nodes: i.Size, Max: i.Group.Max},
		Workloads: []string{}, Budgets: []string{}, Moves: []string{},
	}
	for _, t := range i.Group.Taints {
		d.Group.Taints = append(d.Group.Taints, fmt.Sprintf("%s=%s:%s", t.Key, t.Value, t.Effect))
	}
	for _, p := range i.Placements {
		d.Workloads = append(d.Workloads, p.Owner.String())
	}
	for _, b := range i.Budgets {
		d.Budgets = append(d.Budgets, b.Namespace+"/"+b.Name)
	}
	for _, m := range i.Moves {
		d.Moves = append(d.Moves, m.String())
	}
	return d
}

func isolationTable(w io.Writer, d *isolationDocument) {
	fmt.Fprintf(w, "Separation of environment %s\n%s\n", d.Environment, d.Place)
	if g := &d.Group; g.Name != "" {
		fmt.Fprintf(w, "\nGroup %s, like %s: %s, minimum 0, maximum %d\n", g.Name, g.From, counted(g.Nodes, "node", "nodes"), g.Max)
		for _, k := range slices.Sorted(maps.Keys(g.Labels)) {
			fmt.Fprintf(w, "  label  %s=%s\n", k, g.Labels[k])
		}
		for _, t := range g.Taints {
			fmt.Fprintln(w, "  taint  "+t)
		}
	}
	part := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(w, "\n%s\n  %s\n", title, strings.Join(lines, "\n  "))
		}
	}
	part("Placed there, one after the other:", d.Workloads)
	part("Budgets that are missing, and made:", d.Budgets)
	part("Pods that run beside others now:", d.Moves)
	part("Not carried over:", d.Stays)
	fmt.Fprintln(w)
	findingsTable(w, d.Findings)
}

// writePatches writes a patch for each workload, a manifest for each budget, and a kustomization that names them.
func (a *app) writePatches(dir string, s *fleet.Snapshot, i *env.Isolation) error {
	files, err := patchFiles(s, i)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("folder for patches: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o644); err != nil {
			return fmt.Errorf("write a patch: %w", err)
		}
	}
	fmt.Fprintf(a.err, "%s written to %s. Commit them when group %s is there (drover isolate %s --group-only): before that, their pods would have nowhere to run.\nThe folder is a component of kustomize: name it under components: in the kustomization.yaml that has these workloads.%s\n",
		counted(len(files), "file is", "files are"), dir, i.Group.Name, i.Environment, ofHelm(s, i))
	return nil
}

// ofHelm names the workloads whose manifests are in no repository as they are, so that no patch beside them is read.
func ofHelm(s *fleet.Snapshot, i *env.Isolation) string {
	var kept []string
	for j := range i.Placements {
		p := s.Part(i.Placements[j].Owner)
		if p != nil && slices.ContainsFunc(p.Apps, func(o fleet.Owner) bool { return o.Kind == "HelmRelease" }) {
			kept = append(kept, p.ID())
		}
	}
	if len(kept) == 0 {
		return ""
	}
	return fmt.Sprintf("\nA HelmRelease keeps %s: put the patches into its spec.postRenderers.", strings.Join(kept, ", "))
}

// kustomization names the files of a folder.
type kustomization struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Resources  []string     `json:"resources,omitempty"`
	Patches    []kustomPath `json:"patches,omitempty"`
}

type kustomPath struct {
	Path string `json:"path"`
}

// patchFiles are the files by name.
func patchFiles(s *fleet.Snapshot, i *env.Isolation) (map[string][]byte, error) {
	out := map[string][]byte{}
	k := kustomization{APIVersion: "kustomize.config.k8s.io/v1alpha1", Kind: "Component"}
	add := func(name string, content any) error {
		text, err := yaml.Marshal(content)
		if err != nil {
			return fmt.Errorf("print %s: %w", name, err)
		}
		out[name] = text
		return nil
	}
	for j := range i.Placements {
		name := fileName(i.Placements[j].Owner)
		k.Patches = append(k.Patches, kustomPath{name})
		if err := add(name, patchOf(s, &i.Placements[j])); err != nil {
			return nil, err
		}
	}
	for j := range i.Budgets {
		b := &i.Budgets[j]
		name := fileName(fleet.Owner{Kind: "PodDisruptionBudget", Namespace: b.Namespace, Name: b.Name})
		k.Resources = append(k.Resources, name)
		if err := add(name, budgetOf(b)); err != nil {
			return nil, err
		}
	}
	return out, add("kustomization.yaml", k)
}

func fileName(o fleet.Owner) string {
	return strings.ToLower(fmt.Sprintf("%s-%s-%s.yaml", o.Namespace, o.Kind, o.Name))
}

// patchOf is what a workload's template needs to have its pods run on the environment's nodes. A merge replaces the whole list of tolerations, so those
// that are there are in it too.
func patchOf(s *fleet.Snapshot, p *fleet.Placement) map[string]any {
	selector := map[string]any{}
	for key, value := range p.Labels {
		selector[key] = value
	}
	tolerations := []any{}
	if part := s.Part(p.Owner); part != nil {
		for _, t := range part.Tolerations {
			if t != p.Toleration {
				tolerations = append(tolerations, tolerationOf(t))
			}
		}
	}
	tolerations = append(tolerations, tolerationOf(p.Toleration))
	return map[string]any{
		"apiVersion": p.APIVersion, "kind": p.Kind, "metadata": map[string]any{"namespace": p.Namespace, "name": p.Name},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"nodeSelector": selector, "tolerations": tolerations}}},
	}
}

func tolerationOf(t fleet.Toleration) map[string]any {
	out := map[string]any{"operator": "Equal", "value": t.Value}
	if t.Exists {
		out = map[string]any{"operator": "Exists"}
	}
	if t.Key != "" {
		out["key"] = t.Key
	}
	if t.Effect != "" {
		out["effect"] = t.Effect
	}
	if n, err := strconv.ParseInt(t.Seconds, 10, 64); err == nil {
		out["tolerationSeconds"] = n
	}
	return out
}

func budgetOf(b *fleet.NewBudget) map[string]any {
	match := map[string]any{}
	for key, value := range b.Match {
		match[key] = value
	}
	return map[string]any{
		"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": map[string]any{"namespace": b.Namespace, "name": b.Name},
		"spec": map[string]any{"maxUnavailable": b.MaxUnavailable, "selector": map[string]any{"matchLabels": match}},
	}
}
