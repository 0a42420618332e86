package kube

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// moved is a move of the test's store, and engaged the action that writes it.
func (w *world) moved(run, pod string) fleet.StoreMove {
	at := time.Date(2026, 11, 22, 6, 0, 0, 123456000, time.UTC)
	return fleet.StoreMove{
		Run: run, Pod: fleet.PodRef{Namespace: w.name, Name: pod, UID: "u-" + pod}, Node: "n1", Why: "n1 goes", Since: at, Home: true,
		Prior: []fleet.Setting{{Pod: "a-0", Fence: fleet.Fence{Replicas: 1, Lag: 10}, Priority: 100}},
	}
}

func (w *world) storeName() string { return w.name + "/orders" }

func (w *world) engaged(m fleet.StoreMove) error {
	return w.cluster.Act(w.Context(), fleet.Action{Verb: fleet.Engage, Run: m.Run, Store: w.storeName(), Pod: m.Pod, Move: &m})
}

// onMove reads the test's move live; nil when there is none.
func (w *world) onMove() *fleet.StoreMove {
	w.Helper()
	m, err := w.cluster.liveMove(w.Context(), w.storeName())
	w.ok(err)
	if m == nil {
		return nil
	}
	return new(m.Move())
}

// hold has somebody hold a lease; nobody, by "".
func (w *world) holds(name, by string) {
	w.Helper()
	leases := w.client.CoordinationV1().Leases(leaseNamespace)
	err := leases.Delete(w.Context(), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		w.Fatal(err)
	}
	if by == "" {
		return
	}
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: name}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &by}}
	_, err = leases.Create(w.Context(), l, metav1.CreateOptions{})
	w.ok(err)
	w.Cleanup(func() { leases.Delete(context.Background(), name, metav1.DeleteOptions{}) })
}

func TestEngage(t *testing.T) {
	w := newJournaled(t)
	first := w.moved("r-1", "a-0")
	for range 2 { // twice: already so is success
		w.ok(w.engaged(first))
		if got := w.onMove(); !reflect.DeepEqual(*got, first) {
			t.Fatalf("got %+v, want %+v", got, first)
		}
	}
	if own := w.cluster.wrote.moves.wrote[w.storeName()]; own.object == nil {
		t.Error("what was written is not remembered")
	}
	second := *first.Clone()
	second.Switched, second.Switches, second.Ghosts, second.Temp = first.Since.Add(time.Second), 1, []fleet.Ghost{{ID: "g", At: first.Since}}, "a-0-drover"
	second.Prior = []fleet.Setting{{Pod: "a-0", Priority: 5}, {Pod: "b-0", Priority: 7}} // read again, when it was changed already
	w.ok(w.engaged(second))
	want := *second.Clone()
	want.Prior = []fleet.Setting{first.Prior[0], {Pod: "b-0", Priority: 7}}
	if got := w.onMove(); !reflect.DeepEqual(*got, want) {
		t.Fatalf("brought up to date:\n got %+v\nwant %+v", got, want)
	}
	w.refused(w.engaged(w.moved("r-1", "b-0")), budgetWait, "pod "+w.name+"/a-0 of it is being moved already by this run")

	w.holds(leaseName, "one")
	other := w.moved("r-2", "a-0")
	err := w.engaged(other)
	w.refused(err, ownerWait, "store "+w.storeName()+": run r-1 moves pod "+w.name+"/a-0 of it since 2026-11-22T06:00:00Z")
	var refused *fleet.Refused
	if errors.As(err, &refused); !refused.Held {
		t.Error("not held")
	}
	w.refused(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Disengage, Run: "r-2", Store: w.storeName()}), ownerWait, "the move on file is of run r-1")

	// Who holds the lease of people knows that no other run of theirs acts.
	under := context.WithValue(t.Context(), fence{}, &lock{name: leaseName})
	other.Home, other.Why = false, "another reason"
	w.ok(w.cluster.Act(under, fleet.Action{Verb: fleet.Engage, Run: "r-2", Store: w.storeName(), Move: &other}))
	want.Run, want.Why = "r-2", "another reason"
	if got := w.onMove(); !reflect.DeepEqual(*got, want) {
		t.Fatalf("taken over:\n got %+v\nwant %+v", got, want)
	}
	third := w.moved("r-3", "b-0")
	third.Home = false
	w.holds(leaseName, "")
	w.ok(w.engaged(third))
	if got := w.onMove(); got.Pod != third.Pod || got.Home || got.Switches != 0 || got.Temp != "a-0-drover" || len(got.Ghosts) != 1 || !reflect.DeepEqual(got.Prior, want.Prior) {
		t.Fatalf("taken over for another pod: %+v", got)
	}
	fourth := *third.Clone() // of the same run: its move waits for nothing but ghosts, and another pod's takes its place
	fourth.Pod, fourth.Ghosts = fleet.PodRef{Namespace: w.name, Name: "c-0", UID: "u-c-0"}, second.Ghosts
	w.ok(w.engaged(fourth))
	if got := w.onMove(); got.Pod != fourth.Pod || len(got.Ghosts) != 1 || !reflect.DeepEqual(got.Prior, want.Prior) {
		t.Fatalf("the next pod: %+v", got)
	}
	for range 2 {
		w.ok(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Disengage, Run: "r-3", Store: w.storeName()}))
		if got := w.onMove(); got != nil {
			t.Fatalf("still there: %+v", got)
		}
	}
}

// A holder that was seen silent, and renews after all, keeps its move.
func TestEngageLooksAgain(t *testing.T) {
	w := newJournaled(t)
	w.ok(w.engaged(w.moved(fleet.NoticeRun, "a-0")))
	w.holds(ControllerName, "one")
	seen := func() bool {
		w.cluster.seen.Lock()
		defer w.cluster.seen.Unlock()
		return w.cluster.seen.leases[ControllerName].version != ""
	}
	began := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	w.eventually("the lease", func() bool { w.observeAt(began); return seen() })
	w.observeAt(began.Add(leaseDuration))
	leases := w.client.CoordinationV1().Leases(leaseNamespace)
	renewed := func() {
		l, err := leases.Get(t.Context(), ControllerName, metav1.GetOptions{})
		w.ok(err)
		l.Spec.LeaseTransitions = new(int32(9))
		_, err = leases.Update(t.Context(), l, metav1.UpdateOptions{})
		w.ok(err)
	}
	renewed()
	w.refused(w.engaged(w.moved("r-2", "a-0")), ownerWait, "run notices moves pod")
	w.eventually("the renewal", func() bool {
		w.observeAt(began.Add(2 * leaseDuration))
		l, err := leases.Get(t.Context(), ControllerName, metav1.GetOptions{})
		w.ok(err)
		w.cluster.seen.Lock()
		defer w.cluster.seen.Unlock()
		return w.cluster.seen.leases[ControllerName].version == l.ResourceVersion
	})
	w.refused(w.engaged(w.moved("r-2", "a-0")), ownerWait, "run notices moves pod")
	w.observeAt(began.Add(3 * leaseDuration))
	w.ok(w.engaged(w.moved("r-2", "a-0")))
}

// What the definitions refuse, whoever asks.
func TestDefinitionsHoldTheLine(t *testing.T) {
	w := newJournaled(t)
	w.ok(w.engaged(w.moved("r-1", "a-0")))
	moves := w.cluster.objects.Resource(v1alpha1.Moves).Namespace(w.name)
	for patch, want := range map[string]string{
		`{"spec":{"prior":[{"pod":"a-0","priority":1}]}}`: "what a member was set to before the move does not change",
		`{"spec":{"prior":null}}`:                         "what a member was set to before the move stays on file",
		`{"spec":{"pod":{"name":"b-0"}}}`:                 "a run moves one pod of a store at a time",
		`{"spec":{"run":""}}`:                             "spec.run",
	} {
		_, err := moves.Patch(t.Context(), "orders", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", patch, err)
		}
	}
	policies := w.cluster.objects.Resource(v1alpha1.MoverPolicies)
	for what, tc := range map[string]struct {
		spec map[string]any
		want string
	}{
		"nothing":      {map[string]any{}, "want a mover, or a guard, or both"},
		"unknown":      {map[string]any{"mover": "sentinels"}, "Unsupported value"},
		"role":         {map[string]any{"mover": "script", "hooks": map[string]any{"ready": "exec: true"}, "role": "data"}, "are for the mover sentinel"},
		"no leader":    {map[string]any{"mover": "leader-last"}, "leader is for the mover leader-last, which needs it"},
		"no hooks":     {map[string]any{"mover": "script"}, "hooks are for the mover script"},
		"odd hook":     {map[string]any{"mover": "script", "hooks": map[string]any{"ready": "true"}}, "spec.hooks.ready"},
		"both stores":  {map[string]any{"mover": "sentinel", "store": "a", "storeLabel": "b"}, "want store or storeLabel, not both"},
		"both spaces":  {map[string]any{"mover": "sentinel", "namespaces": []any{"a"}, "namespaceSelector": map[string]any{}}, "want namespaces or namespaceSelector"},
		"linger":       {map[string]any{"mover": "sentinel", "linger": "-3s"}, "not negative"},
		"hold":         {map[string]any{"guard": map[string]any{"hold": "0s"}}, "above zero"},
		"port":         {map[string]any{"mover": "sentinel", "port": int64(70000)}, "spec.port"},
		"onTimeout":    {map[string]any{"guard": map[string]any{"hold": "1m", "onTimeout": "wait"}}, "Unsupported value"},
		"a script":     {map[string]any{"mover": "script", "hooks": map[string]any{"preMove": "http://:80/go"}, "hookTimeout": "7s"}, ""},
		"a long one":   {map[string]any{"mover": "script", "hooks": map[string]any{"preMove": "http://:80/go"}, "hookTimeout": "20s"}, "at most 7s"},
		"only a guard": {map[string]any{"guard": map[string]any{"hold": "5m"}, "namespaces": []any{w.name}}, ""},
	} {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "drover.dev/v1alpha1", "kind": "MoverPolicy", "metadata": map[string]any{"name": strings.ReplaceAll(strings.ToLower(what), " ", "-") + "." + w.name}, "spec": tc.spec}}
		_, err := policies.Create(t.Context(), u, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// made creates a StatefulSet that says something, and waits for its first pod.
func (w *world) set(name string, change func(*appsv1.StatefulSet)) *corev1.Pod {
	w.Helper()
	set := aSet(name, 1, 6379, said{"mover": "rediscluster", "store": "orders"}, nil)
	set.Namespace, set.UID = w.name, ""
	set.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	set.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(0))
	change(set)
	_, err := w.client.AppsV1().StatefulSets(w.name).Create(w.Context(), set, metav1.CreateOptions{})
	w.ok(err)
	var p *corev1.Pod
	w.eventually("the StatefulSet's pod, and both in the informers", func() bool {
		p, err = w.cluster.pods.Pods(w.name).Get(name + "-0")
		return err == nil && w.cluster.workloadBy(fleet.Owner{Kind: "StatefulSet", Namespace: w.name, Name: name}) != nil
	})
	return p
}

func refOf(p *corev1.Pod) fleet.PodRef {
	return fleet.PodRef{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)}
}

func TestLend(t *testing.T) {
	w := newJournaled(t)
	p := w.set("cache", func(*appsv1.StatefulSet) {})
	lend := fleet.Action{Verb: fleet.Lend, Run: "r-1", Store: w.storeName(), Pod: refOf(p), Peer: fleet.PodRef{Namespace: w.name, Name: "cache-0-drover"}, Avoid: []string{"n1"}}
	w.refused(w.cluster.Act(t.Context(), lend), budgetWait, "run r-1 has no move of it on file")
	w.ok(w.engaged(w.moved("r-1", "cache-0")))
	for range 2 {
		w.ok(w.cluster.Act(t.Context(), lend))
	}
	var st *fleet.Store
	w.eventually("the temporary pod as a member", func() bool {
		s := w.observe()
		st = s.Store(w.storeName())
		return st != nil && len(st.Members) == 2 && st.Move != nil
	})
	temp := st.Members[1]
	if st.Members[0].Temp || !temp.Temp || temp.Pod.Name != "cache-0-drover" || st.Move.Run != "r-1" || st.Trouble != "" || st.Spec.Replicas != 1 {
		t.Errorf("got %+v", st)
	}
	w.refused(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Unlend, Run: "r-1", Store: w.storeName(), Pod: refOf(p)}), brokenWait, "is no temporary pod of drover's")
	for range 2 {
		w.ok(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Unlend, Run: "r-1", Store: w.storeName(), Pod: temp.Pod}))
	}
	w.eventually("no temporary pod", func() bool {
		_, err := w.client.CoreV1().Pods(w.name).Get(t.Context(), temp.Pod.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if !w.there(p) {
		t.Error("the StatefulSet's own pod went, too")
	}
	w.node()
	stranger := aPod(w.name, "cache-0-drover", w.name)
	stranger.UID = ""
	w.create(stranger)
	w.refused(w.cluster.Act(t.Context(), lend), brokenWait, "pod "+w.name+"/cache-0-drover is there already, and is none of move "+w.storeName())
}

// Of a template that no second pod can be made from it says what is wrong.
func TestLendRefuses(t *testing.T) {
	w := newJournaled(t)
	w.ok(w.engaged(w.moved("r-1", "cache-0")))
	lend := func(pod fleet.PodRef) error {
		return w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Lend, Run: "r-1", Store: w.storeName(), Pod: pod, Peer: fleet.PodRef{Namespace: w.name, Name: "t"}})
	}
	silent := w.set("silent", func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Ports = nil })
	w.refused(lend(refOf(silent)), brokenWait, "StatefulSet "+w.name+"/silent: its pod template has no container port 6379, and it does not say drover.dev/port")
	says := w.set("says", func(s *appsv1.StatefulSet) {
		s.Spec.Template.Spec.Containers[0].Ports = nil
		s.Spec.Template.Annotations[prefix+"port"] = "7000"
	})
	w.ok(lend(refOf(says)))
	direct := w.set("direct", func(s *appsv1.StatefulSet) {
		s.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "disk"}}}}
	})
	w.refused(lend(refOf(direct)), brokenWait, "volume data of its pod template is the claim disk itself")
	bare := w.pod("bare")
	w.refused(lend(refOf(bare)), brokenWait, "pod "+w.name+"/bare is of nobody: a temporary pod is made from a StatefulSet's template only")
}

// A temporary pod takes a right that is granted where the store is. Without it that store's move is refused, and nobody's run ends.
func TestStoreRights(t *testing.T) {
	w := newJournaled(t)
	p := w.set("cache", func(*appsv1.StatefulSet) {})
	w.ok(w.engaged(w.moved("r-1", "cache-0")))
	as := func(lists ...[]Right) *Cluster {
		t.Helper()
		cfg := w.grant(fmt.Sprintf("stores-%d-%s", len(lists), w.name), lists...)
		var c *Cluster
		w.eventually("the rights", func() (ok bool) {
			var err error
			c, err = Open(t.Context(), cfg)
			return err == nil
		})
		return c
	}
	lend := fleet.Action{Verb: fleet.Lend, Run: "r-1", Store: w.storeName(), Pod: refOf(p), Peer: fleet.PodRef{Namespace: w.name, Name: "cache-0-drover"}}
	temp := func() fleet.PodRef {
		t.Helper()
		now, err := w.client.CoreV1().Pods(w.name).Get(t.Context(), lend.Peer.Name, metav1.GetOptions{})
		w.ok(err)
		return refOf(now)
	}
	denied := func(err error, lacks string) {
		t.Helper()
		w.refused(err, brokenWait, lacks, "grant drover that right in namespace "+w.name+" (docs/stores.md has a Role to copy)")
		var refused *fleet.Refused
		var fatal *fleet.Fatal
		if !errors.As(err, &refused) || !refused.Denied || errors.As(err, &fatal) {
			t.Errorf("%T %v", err, err)
		}
	}
	without := as(Rights)
	denied(without.Act(t.Context(), lend), `cannot create resource "pods"`)
	with := as(Rights, StoreRights(w.name, "cache-drover"))
	w.eventually("the Role", func() bool { return with.Act(t.Context(), lend) == nil })
	unlend := fleet.Action{Verb: fleet.Unlend, Run: "r-1", Store: w.storeName(), Pod: temp()}
	denied(without.Act(t.Context(), unlend), `cannot delete resource "pods"`)
	w.ok(with.Act(t.Context(), unlend))
}

// No second pod is made that might write where the first one does.
func TestLendVolumes(t *testing.T) {
	yes := true
	mount := func(readOnly bool) []corev1.VolumeMount {
		return []corev1.VolumeMount{{Name: "data", MountPath: "/data", ReadOnly: readOnly}}
	}
	for _, tc := range []struct {
		what    string
		volume  corev1.VolumeSource
		mounts  []corev1.VolumeMount
		refuses string // "" when it may be lent
	}{
		{"a directory of the node", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/mnt/redis"}}, mount(false), "volume data of its pod template is the node's own /mnt/redis"},
		{"one that nobody mounts", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/mnt/redis"}}, nil, "/mnt/redis"},
		{"one mounted to be read, and to be written", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/mnt/redis"}}, append(mount(true), mount(false)...), "/mnt/redis"},
		{"one that is only read", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/etc/localtime"}}, mount(true), ""},
		{"an NFS export", corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "x", Path: "/redis"}}, mount(false), "the NFS export x:/redis"},
		{"an NFS export that is only read", corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "x", Path: "/redis", ReadOnly: true}}, mount(false), ""},
		{"an inline volume", corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "efs.csi.aws.com"}}, mount(false), "an inline volume of efs.csi.aws.com"},
		{"secrets by CSI", corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets-store.csi.k8s.io", ReadOnly: &yes}}, mount(false), ""},
		{"a claim", corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "disk"}}, mount(false), "the claim disk itself"},
		{"a kind of old", corev1.VolumeSource{Glusterfs: &corev1.GlusterfsVolumeSource{}}, mount(false), "of a kind that pods may share"},
		{"an empty directory", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, mount(false), ""},
		{"a claim of the pod's own", corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}, mount(false), ""},
		{"settings", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}, mount(false), ""},
	} {
		s := newStock(t)
		set := aSet("cache", 1, 6379, said{"mover": "rediscluster"}, nil)
		set.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: tc.volume}}
		set.Spec.Template.Spec.Containers[0].VolumeMounts = tc.mounts
		err := s.mayLend(set)
		if (err == nil) != (tc.refuses == "") || err != nil && !strings.Contains(err.Error(), tc.refuses) {
			t.Errorf("%s: %v, want %q", tc.what, err, tc.refuses)
		}
	}
	s := newStock(t)
	set := aSet("cache", 1, 6379, said{"mover": "rediscluster"}, nil)
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "disk"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeMode: new(corev1.PersistentVolumeBlock)}}}
	if err := s.mayLend(set); err == nil || !strings.Contains(err.Error(), "volumeClaimTemplate disk is a block device") {
		t.Errorf("a device: %v", err)
	}
}

// While the pod is away its name tells which StatefulSet makes it.
func TestLendForAPodThatIsAway(t *testing.T) {
	w := newJournaled(t)
	p := w.set("cache", func(*appsv1.StatefulSet) {})
	set, err := w.cluster.setOfPod(t.Context(), fleet.PodRef{Namespace: w.name, Name: "cache-7"})
	w.ok(err)
	if set.Name != "cache" || set.UID != metav1.GetControllerOf(p).UID {
		t.Errorf("got %s", set.Name)
	}
}

func TestAsk(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("web-0")
	at := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	asked := func() *fleet.Asked {
		now, err := w.client.CoreV1().Pods(w.name).Get(t.Context(), p.Name, metav1.GetOptions{})
		w.ok(err)
		out := w.cluster.podOf(now)
		return out.Asked
	}
	w.ok(w.cluster.Ask(t.Context(), refOf(p), "ann", at))
	w.ok(w.cluster.Ask(t.Context(), refOf(p), "bob", at.Add(time.Hour)))
	if got := asked(); got == nil || *got != (fleet.Asked{At: at, By: "ann"}) {
		t.Errorf("got %+v", got)
	}
	reborn := refOf(p)
	reborn.UID = "another"
	w.ok(w.cluster.Unask(t.Context(), reborn))
	if asked() == nil {
		t.Error("taken back of another pod")
	}
	for range 2 {
		w.ok(w.cluster.Unask(t.Context(), refOf(p)))
	}
	if got := asked(); got != nil {
		t.Errorf("got %+v", got)
	}
	w.ok(w.cluster.Ask(t.Context(), reborn, "ann", at))
	if got := asked(); got != nil {
		t.Errorf("asked of another pod: %+v", got)
	}
	w.ok(w.cluster.Ask(t.Context(), fleet.PodRef{Namespace: w.name, Name: "gone", UID: "u"}, "ann", at))
	if err := w.cluster.Ask(t.Context(), fleet.PodRef{Namespace: w.name, Name: p.Name}, "ann", at); err == nil || asked() != nil {
		t.Errorf("asked of whichever pod has the name: %v", err)
	}
}

func TestAskedInAHurry(t *testing.T) {
	got := askedOf(&metav1.ObjectMeta{Annotations: map[string]string{askedAt: "now"}})
	if got == nil || !got.At.IsZero() || !strings.Contains(got.By, `somebody (annotation drover.dev/asked-at is "now": want a moment`) {
		t.Errorf("got %+v", got)
	}
}

// A policy's guard counts for a pod whoever says how it is moved.
func TestGuardOf(t *testing.T) {
	s := newStock(t)
	s.run(aSet("cache", 1, 6379, said{"mover": "rediscluster"}, nil))
	ref := fleet.PodRef{Namespace: "shop", Name: "cache-0"}
	if _, there, err := s.GuardOf(ref); there || err != nil {
		t.Errorf("there %v, %v", there, err)
	}
	policy := func(name string, spec v1alpha1.MoverPolicySpec) {
		s.keep(&v1alpha1.MoverPolicy{TypeMeta: metav1.TypeMeta{Kind: "MoverPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec})
	}
	long, short := metav1.Duration{Duration: time.Hour}, metav1.Duration{Duration: time.Minute}
	policy("all", v1alpha1.MoverPolicySpec{Guard: &v1alpha1.Guard{Hold: long}})
	policy("shop", v1alpha1.MoverPolicySpec{Namespaces: []string{"shop"}, Guard: &v1alpha1.Guard{Hold: short, OnTimeout: "block"}})
	policy("exact", v1alpha1.MoverPolicySpec{Namespaces: []string{"shop"}, PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "cache"}}, Mover: "none"})
	if got, there, err := s.GuardOf(ref); err != nil || !there || got != (Guard{Policy: "shop", Hold: time.Minute, Block: true}) {
		t.Errorf("got %+v, %v, %v", got, there, err)
	}
	if _, _, err := s.GuardOf(fleet.PodRef{Namespace: "shop", Name: "none"}); err == nil {
		t.Error("a guard of no pod")
	}
}

// A broken policy may be the one that keeps a pod where it is: what it may be about does not move, and everything else does.
func TestBrokenPolicyStopsOnlyItsOwn(t *testing.T) {
	near := []metav1.LabelSelectorRequirement{{Key: "app", Operator: "in", Values: []string{"cache"}}}
	shop := []string{"shop"}
	for _, tc := range []struct {
		what    string
		spec    v1alpha1.MoverPolicySpec
		trouble []string // stores that are in trouble for it
	}{
		{"of a namespace", v1alpha1.MoverPolicySpec{Namespaces: shop, PodSelector: &metav1.LabelSelector{MatchExpressions: near}, Mover: "rediscluster"}, []string{"shop/cache"}},
		{"of another", v1alpha1.MoverPolicySpec{Namespaces: []string{"stage"}, PodSelector: &metav1.LabelSelector{MatchExpressions: near}, Mover: "rediscluster"}, nil},
		{"of all", v1alpha1.MoverPolicySpec{PodSelector: &metav1.LabelSelector{MatchExpressions: near}, Mover: "none"}, []string{"shop/cache"}},
		{"that is about others", v1alpha1.MoverPolicySpec{PodSelector: &metav1.LabelSelector{MatchExpressions: near, MatchLabels: map[string]string{"app": "web"}}, Mover: "rediscluster"}, nil},
		{"of another port", v1alpha1.MoverPolicySpec{PodSelector: &metav1.LabelSelector{MatchExpressions: near}, Mover: "rediscluster", Port: 8080}, []string{"shop/web"}},
		{"of a script", v1alpha1.MoverPolicySpec{Namespaces: shop, PodSelector: &metav1.LabelSelector{MatchExpressions: near}, Mover: "script"}, []string{"shop/cache", "shop/web"}},
		{"of scripts anywhere", v1alpha1.MoverPolicySpec{PodSelector: &metav1.LabelSelector{MatchExpressions: near}, Mover: "script"}, []string{"shop/cache"}},
		{"of namespaces", v1alpha1.MoverPolicySpec{NamespaceSelector: &metav1.LabelSelector{MatchExpressions: near}, Mover: "rediscluster"}, []string{"shop/cache"}},
		{"that only guards", v1alpha1.MoverPolicySpec{PodSelector: &metav1.LabelSelector{MatchExpressions: near}, Guard: &v1alpha1.Guard{OnTimeout: "block"}}, nil},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := newStock(t)
			s.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
			s.run(aSet("cache", 1, 6379, nil, nil), aSet("orders", 1, 6379, said{"mover": "rediscluster"}, nil), aSet("web", 1, 8080, nil, nil))
			s.keep(&v1alpha1.MoverPolicy{TypeMeta: metav1.TypeMeta{Kind: "MoverPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: "typo"}, Spec: tc.spec})
			seen := s.observe()
			var stores, trouble []string
			for _, st := range seen.Stores {
				stores = append(stores, st.Name)
				if st.Trouble != "" {
					trouble = append(trouble, st.Name)
					if !st.Confirmed || st.Mover != "" || !strings.HasPrefix(st.Trouble, "MoverPolicy typo is broken: spec.") || !strings.Contains(st.Trouble, `"in" is not a valid label selector operator`) {
						t.Errorf("%+v", st)
					}
				}
			}
			if !slices.Equal(trouble, tc.trouble) || !slices.Contains(stores, "shop/orders") || len(stores) != len(tc.trouble)+1 {
				t.Errorf("stores %v, in trouble %v, want %v", stores, trouble, tc.trouble)
			}
		})
	}
}

// One that was written for another version is broken, and goes by what this one understands.
func TestPolicyOfAnotherVersion(t *testing.T) {
	s := newStock(t)
	s.run(aSet("cache", 1, 6379, nil, nil))
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "drover.dev/v1alpha1", "kind": "MoverPolicy", "metadata": map[string]any{"name": "new"},
		"spec": map[string]any{"namespaces": []any{"shop"}, "mover": "rediscluster", "fancy": true}}}
	if err := s.policies.Add(u); err != nil {
		t.Fatal(err)
	}
	s.note(nil, u)
	if st := s.store("shop/cache"); !strings.Contains(st.Trouble, `MoverPolicy new is broken: unreadable: `) || !strings.Contains(st.Trouble, "fancy") {
		t.Errorf("trouble %q", st.Trouble)
	}
}

// A more specific policy, and what annotations say, go before a broken one as before any other.
func TestBrokenPolicyIsOneOfThem(t *testing.T) {
	s := newStock(t)
	s.run(aSet("cache", 1, 6379, nil, nil))
	policy := func(name string, spec v1alpha1.MoverPolicySpec) {
		s.keep(&v1alpha1.MoverPolicy{TypeMeta: metav1.TypeMeta{Kind: "MoverPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec})
	}
	near := []metav1.LabelSelectorRequirement{{Key: "app", Operator: "in", Values: []string{"cache"}}}
	policy("typo", v1alpha1.MoverPolicySpec{PodSelector: &metav1.LabelSelector{MatchExpressions: near}, Mover: "none", Guard: &v1alpha1.Guard{Hold: metav1.Duration{Duration: time.Minute}, OnTimeout: "block"}})
	policy("exact", v1alpha1.MoverPolicySpec{Namespaces: []string{"shop"}, Mover: "rediscluster"})
	if st := s.store("shop/cache"); st.Trouble != "" || st.Mover != fleet.ClusterMover {
		t.Errorf("%+v", st)
	}
	got, there, err := s.GuardOf(fleet.PodRef{Namespace: "shop", Name: "cache-0"})
	if err != nil || !there || got != (Guard{Policy: "typo", Hold: time.Minute, Block: true}) {
		t.Errorf("got %+v, %v, %v", got, there, err)
	}
}

func TestAPolicySaysWhatAnnotationsSay(t *testing.T) {
	five, seven := &metav1.Duration{Duration: 5 * time.Second}, &metav1.Duration{Duration: 7 * time.Second}
	spec := &v1alpha1.MoverPolicySpec{
		Mover: "script", Store: "s", Role: "data", Port: 1, SentinelPort: 2, Master: "m", TLS: true, ServerName: "n", Secret: "x", SentinelSecret: "y", Failback: "never", Floor: 3,
		Linger: five, Leader: "a=b", Hooks: &v1alpha1.Hooks{PreMove: "exec: 1", Ready: "exec: 2", PostMove: "exec: 3"}, HookTimeout: seven,
	}
	says := saysOf(spec)
	var missing []string
	for _, key := range storeKeys {
		if says[key] == "" {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 || len(says) != len(storeKeys) {
		t.Errorf("says %v, misses %v", says, missing)
	}
	got := plain()
	for _, term := range terms {
		if want := term.read(&got, says[term.key]); want != "" {
			t.Errorf("%s: want %s", term.key, want)
		}
	}
	want := fleet.StoreSpec{
		Master: "m", Port: 1, SentinelPort: 2, TLS: true, ServerName: "n", Secret: "x", SentinelSecret: "y", Failback: fleet.FailbackNever, Floor: 3, Linger: 5 * time.Second,
		Leader: fleet.Requirement{Key: "a", Operator: "In", Values: []string{"b"}}, HookTimeout: 7 * time.Second,
		Hooks: map[string]string{fleet.HookPre: "exec: 1", fleet.HookReady: "exec: 2", fleet.HookPost: "exec: 3"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, term := range terms { // the fields are there under the names that troubles give
		if _, there, _ := unstructured.NestedFieldNoCopy(content, strings.Split(term.field, ".")...); !there {
			t.Errorf("no field %s", term.field)
		}
	}
	if !slices.IsSorted([]int{edits("floor", "floor"), edits("flor", "floor"), edits("foolr", "floor")}) || edits("", "abc") != 3 || edits("kitten", "sitting") != 3 {
		t.Error("edits are miscounted")
	}
}
