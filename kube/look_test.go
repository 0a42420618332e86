package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"drover.dev/fleet"
)

// A pod is as the API server has it, and its store as informers know who declares it.
func TestLookForStores(t *testing.T) {
	w := newJournaled(t)
	w.node()
	pods := map[string]map[string]string{
		"cache-0": {prefix + "mover": "rediscluster", prefix + "store": "cache"},
		"odd-0":   {prefix + "mover": "cluster", prefix + "store": "odd"},
		"none-0":  {prefix + "mover": "none"},
		"web-0":   nil,
	}
	for name, notes := range pods {
		p := aPod(w.name, name, w.name)
		p.UID, p.Annotations = "", notes
		w.create(p)
	}
	pg := aPod(w.name, "pg-1", w.name)
	pg.UID, pg.Labels = "", map[string]string{"cnpg.io/cluster": "pg", "cnpg.io/instanceRole": "primary"}
	w.create(pg)
	w.edit(func(n *corev1.Node) { n.Spec.Unschedulable = true })
	for name, want := range map[string]Look{
		"cache-0": {Store: w.name + "/cache", Mover: fleet.ClusterMover}, "odd-0": {Store: w.name + "/odd"}, "none-0": {}, "web-0": {}, "pg-1": {},
	} {
		got, err := w.cluster.Look(t.Context(), w.name, name)
		w.ok(err)
		if got == nil || got.Pod.Ref.Name != name || got.Pod.Ref.UID == "" || got.Store != want.Store || got.Mover != want.Mover || got.Node == nil || !got.Node.Cordoned {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		if c := got.Pod.Courted; (c != nil) != (name == "pg-1") || c != nil && (c.Signal != "" || c.Awaits == "") {
			t.Errorf("%s: courted %+v", name, c)
		}
	}
	if got, err := w.cluster.Look(t.Context(), w.name, "gone-0"); got != nil || err != nil {
		t.Errorf("of no pod: %+v, %v", got, err)
	}
	homeless := aPod(w.name, "lost-0", "no-such-node")
	homeless.UID = ""
	w.create(homeless)
	if got, err := w.cluster.Look(t.Context(), w.name, "lost-0"); err != nil || got == nil || got.Node != nil {
		t.Errorf("on a node that is gone: %+v, %v", got, err)
	}
}
