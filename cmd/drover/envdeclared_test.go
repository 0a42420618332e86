package main

import (
	"fmt"
	"strings"
	"testing"

	"drover.dev/env"
	"drover.dev/fleet"
)

func fileOf(t *testing.T, specs ...string) *envFile {
	t.Helper()
	var text strings.Builder
	for i, spec := range specs {
		fmt.Fprintf(&text, "---\napiVersion: drover.dev/v1alpha1\nkind: Environment\nmetadata: {name: %c}\nspec: {%s}\n", 'a'+i, spec)
	}
	all, wrong := parsed(text.String())
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	return &envFile{source: "file f.yaml", text: []byte(text.String()), environments: all}
}

// Two environments of a file that choose the same workloads by what they say are told so before there is a cluster.
func TestEnvCheckFindsSelectionsThatOverlap(t *testing.T) {
	labels := func(requirements string) string { return "{namespaces: [stg], selector: {" + requirements + "}}" }
	for _, tc := range []struct {
		a, b string
		both bool
	}{
		{"{namespaces: [stg]}", "{namespaces: [stg]}", true},
		{"{namespaces: [stg, x]}", "{namespaces: [z, stg]}", true},
		{"{namespaces: [stg]}", "{namespaces: [qa]}", false},
		{"{namespaces: [stg]}", "{namespaces: [stg], kind: Deployment, name: web}", true},
		{"{namespaces: [stg], kind: StatefulSet}", "{namespaces: [stg], kind: Deployment}", false},
		{"{namespaces: [stg], name: api}", "{namespaces: [stg], name: web}", false},
		{"{namespaces: [stg]}", labels("matchLabels: {env: qa}"), true},
		{labels("matchLabels: {env: qa}"), labels("matchLabels: {env: stg}"), false},
		{labels("matchLabels: {env: qa}"), labels("matchLabels: {tier: web}"), false}, // who has both was made so: that is seen in a cluster
		{labels("matchExpressions: [{key: env, operator: In, values: [x, qa]}]"), labels("matchExpressions: [{key: env, operator: In, values: [qa, z]}]"), true},
		{labels("matchExpressions: [{key: env, operator: NotIn, values: [qa]}]"), labels("matchLabels: {env: qa}"), false},
		{labels("matchExpressions: [{key: env, operator: Exists}]"), labels("matchLabels: {env: qa}"), true},
		{labels("matchExpressions: [{key: env, operator: DoesNotExist}]"), labels("matchLabels: {env: qa}"), false},
		{labels("matchLabels: {env: qa}"), "{selector: {matchLabels: {env: qa}}}", true},
		{"{selector: {matchLabels: {env: qa}}}", "{selector: {matchLabels: {env: qa, tier: web}}}", true},
	} {
		for _, f := range []*envFile{fileOf(t, "workloads: ["+tc.a+"]", "workloads: ["+tc.b+"]"), fileOf(t, "workloads: ["+tc.b+"]", "workloads: ["+tc.a+"]")} {
			found := f.troubles(fleet.Snapshot{}, inCluster)
			switch {
			case !tc.both && len(found) > 0:
				t.Errorf("%s and %s: %v", tc.a, tc.b, found)
			case tc.both && (len(found) != 2 || !strings.Contains(found[0], "environment a: spec.workloads[0]: chooses what spec.workloads[0] of environment b chooses")):
				t.Errorf("%s and %s: %v", tc.a, tc.b, found)
			}
		}
	}
}

// A file is compared with what the cluster has: other environments by what they say, and workloads that are both's. The environment itself is replaced.
func TestEnvApplyComparesWithTheCluster(t *testing.T) {
	there := fleet.Snapshot{
		Environments: []fleet.Environment{
			{Name: "a", Spec: fleet.EnvironmentSpec{Groups: []string{"g"}}},
			{Name: "qa", Spec: fleet.EnvironmentSpec{Groups: []string{"stg"}, Workloads: []fleet.Selection{{Namespaces: []string{"stg"}, Labels: fleet.Term{{Key: "tier", Operator: "In", Values: []string{"web"}}}}}}},
		},
		Parts: []fleet.Part{{Turn: fleet.Scaled, Owner: fleet.Owner{Kind: "Deployment", Namespace: "stg", Name: "web"}, Labels: map[string]string{"tier": "web", "env": "a"}}},
	}
	f := fileOf(t, "groups: [g, stg], workloads: [{namespaces: [stg], selector: {matchLabels: {env: a}}}]")
	found := f.troubles(there, inCluster)
	if len(found) != 2 || !strings.Contains(found[0], "group stg: belongs to environment a and to environment qa") || !strings.Contains(found[1], "Deployment stg/web: belongs to") {
		t.Errorf("%q", found)
	}
	if err := f.refused(there); err == nil || !strings.Contains(err.Error(), "nothing was written") {
		t.Error(err)
	}
	if err := f.refused(fleet.Snapshot{}); err != nil {
		t.Error(err)
	}
	if there.Environments[0].Spec.Groups[0] != "g" || len(there.Environments) != 2 {
		t.Error("the cluster's own were changed")
	}
}

// What the archive would not take is told where it is declared, and nothing is told twice.
func TestEnvCheckReadsTheArchive(t *testing.T) {
	f := fileOf(t, "groups: [g], archive: 's3://records/../x'", "groups: [h], archive: 'file:///'")
	found := f.troubles(fleet.Snapshot{}, inCluster)
	if len(found) != 2 || !strings.Contains(found[0], "environment a: spec.archive: archive") || !strings.Contains(found[0], "by ..") || !strings.Contains(found[1], "environment b: spec.archive: archive") {
		t.Errorf("%q", found)
	}
	f.environments[0].Trouble = []string{"spec.order: x", "spec.order: x"}
	if found := f.troubles(fleet.Snapshot{}, inCluster); len(found) != 3 {
		t.Errorf("%q", found)
	}
}

func TestOnlyOneOfAFile(t *testing.T) {
	f := fileOf(t, "groups: [g]", "groups: [h], protected: true")
	one, err := f.only("b")
	if err != nil || len(one.environments) != 1 || one.environments[0].Name != "b" || strings.Contains(string(one.text), "[g]") || !strings.Contains(string(one.text), "protected: true") {
		t.Errorf("%v\n%s", err, one.text)
	}
	if _, err := f.only("c"); err == nil {
		t.Error("it has no c")
	}
}

// Who gets a folder of patches is told how it is used, and where it cannot be.
func TestIsolateSaysHowPatchesAreUsed(t *testing.T) {
	s := stagingSnapshot()
	for i := range s.Parts {
		s.Parts[i].Apps = nil
	}
	web := s.Part(fleet.Owner{Kind: "Deployment", Namespace: "staging", Name: "web"})
	web.Apps = []fleet.Owner{{Kind: "HelmRelease", Namespace: "flux-system", Name: "shop"}}
	i := &env.Isolation{Environment: "staging", Placements: []fleet.Placement{{Owner: web.Owner, APIVersion: "apps/v1"}}}
	var said strings.Builder
	a := &app{err: &said}
	if err := a.writePatches(t.TempDir(), s, i); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"name it under components:", "A HelmRelease keeps Deployment staging/web: put the patches into its spec.postRenderers."} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("no %q in\n%s", want, said.String())
		}
	}
	web.Apps = nil
	if ofHelm(s, i) != "" {
		t.Error("nothing keeps it")
	}
}
