package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

// Machine is one light node. It lives from Boot to Kill and is never revived.
type Machine struct {
	m      *Manager
	spec   Spec
	uid    types.UID // of the Node
	ctx    context.Context
	cancel context.CancelFunc

	mu         sync.Mutex
	dead       bool
	ready      metav1.Time // since when; zero before
	heartbeat  time.Time   // last status written
	addresses  *addresses
	images     map[string]time.Time // when each is on the disk
	pods       map[types.UID]*pod
	processes  map[*process]bool
	registered bool
}

func newMachine(m *Manager, spec Spec) (*Machine, error) {
	a, err := newAddresses(spec.NodeIP)
	if err != nil {
		return nil, err
	}
	mach := &Machine{
		m: m, spec: spec, addresses: a,
		images:    map[string]time.Time{},
		pods:      map[types.UID]*pod{},
		processes: map[*process]bool{},
	}
	mach.ctx, mach.cancel = context.WithCancel(m.ctx)
	return mach, nil
}

// Spec returns what the machine was booted with.
func (mach *Machine) Spec() Spec { return mach.spec }

// Alive is false from the moment of Kill.
func (mach *Machine) Alive() bool {
	mach.mu.Lock()
	defer mach.mu.Unlock()
	return !mach.dead
}

// die stops everything at once and returns when no process is left. They are killed under the lock that guards their start, so none
// can slip through.
func (mach *Machine) die() {
	mach.mu.Lock()
	mach.dead = true
	mach.cancel()
	var dying []*process
	for x := range mach.processes {
		x.kill()
		dying = append(dying, x)
	}
	mach.mu.Unlock()
	for _, x := range dying {
		<-x.ended
	}
}

// register creates the Node and its lease and takes on the pods that are bound already (a DaemonSet controller is quick).
func (mach *Machine) register() error {
	nodes := mach.m.Client.CoreV1().Nodes()
	want, err := mach.spec.node(metav1.Now())
	if err != nil {
		return err
	}
	if err := mach.serveStreams(&want.Status); err != nil {
		return fmt.Errorf("serve exec, port-forward and logs: %w", err)
	}
	node, err := nodes.Create(mach.ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		node, err = mach.adopt(want)
	}
	if err != nil {
		return fmt.Errorf("register the node: %w", err)
	}
	mach.uid = node.UID
	if err := mach.renewLease(); err != nil {
		return err
	}
	mach.mu.Lock()
	mach.registered, mach.heartbeat = true, time.Now()
	mach.mu.Unlock()
	bound, err := mach.m.pods.GetIndexer().ByIndex(byNode, mach.spec.Name)
	if err != nil {
		return fmt.Errorf("find pods already bound: %w", err)
	}
	for _, p := range bound {
		mach.seen(p.(*corev1.Pod))
	}
	return nil
}

// adopt takes over a Node that an earlier sandbox registered for the same instance; labels and taints that others gave it stay.
func (mach *Machine) adopt(want *corev1.Node) (*corev1.Node, error) {
	nodes := mach.m.Client.CoreV1().Nodes()
	have, err := nodes.Get(mach.ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if have.Spec.ProviderID != want.Spec.ProviderID {
		return nil, fmt.Errorf("a node of that name belongs to %s, not %s", have.Spec.ProviderID, want.Spec.ProviderID)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": want.Labels}})
	if err != nil {
		return nil, err
	}
	if _, err := nodes.Patch(mach.ctx, want.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return nil, err
	}
	return have, mach.patchStatus(want.Status)
}

// becomeReady makes the node ready after Options.Ready and takes off what kept pods away until then.
func (mach *Machine) becomeReady() {
	if !pause(mach.ctx, mach.m.scaled(mach.m.Ready)) {
		return
	}
	since := metav1.Now()
	mach.insist("mark the node ready", func() error {
		return mach.patchConditions(nodeConditions(true, since, since))
	})
	mach.mu.Lock()
	mach.ready, mach.heartbeat = since, since.Time
	mach.mu.Unlock()
	mach.insist("take off the start-up taints", func() error {
		// The node controller is at the same list at this moment.
		return retry.RetryOnConflict(retry.DefaultBackoff, mach.dropStartupTaints)
	})
}

// dropStartupTaints replaces the taint list, which the API only has as a whole; the resourceVersion keeps it from undoing
// what somebody else did to the list meanwhile.
func (mach *Machine) dropStartupTaints() error {
	nodes := mach.m.Client.CoreV1().Nodes()
	node, err := nodes.Get(mach.ctx, mach.spec.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	starting := append([]corev1.Taint{notReadyTaint}, mach.spec.StartupTaints...)
	kept := slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(t corev1.Taint) bool {
		return slices.ContainsFunc(starting, func(s corev1.Taint) bool { return s.MatchTaint(&t) })
	})
	if len(kept) == len(node.Spec.Taints) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": node.ResourceVersion},
		"spec":     map[string]any{"taints": kept},
	})
	if err != nil {
		return err
	}
	_, err = nodes.Patch(mach.ctx, mach.spec.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func (mach *Machine) patchConditions(c []corev1.NodeCondition) error {
	return mach.patchStatus(map[string]any{"conditions": c})
}

// patchStatus merges by condition type, so conditions that others own stay. A partial status has to be a map: a NodeStatus
// marshals its empty NodeInfo and would erase the real one.
func (mach *Machine) patchStatus(status any) error {
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = mach.m.Client.CoreV1().Nodes().Patch(mach.ctx, mach.spec.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// insist repeats what the machine has to get done until it is done, the node is gone or the machine dead.
func (mach *Machine) insist(what string, do func() error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := do()
		if err == nil || mach.ctx.Err() != nil {
			return
		}
		mach.m.Log.Warn(what, "node", mach.spec.Name, "error", err)
		if apierrors.IsNotFound(err) || !pause(mach.ctx, wait) {
			return
		}
	}
}

const leaseSeconds = 40 // the kubelet's; it renews four times as often

func (mach *Machine) renewLease() error {
	leases := mach.m.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NewMicroTime(time.Now())
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"renewTime": now, "holderIdentity": mach.spec.Name}})
	if err != nil {
		return err
	}
	_, err = leases.Patch(mach.ctx, mach.spec.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		seconds := int32(leaseSeconds)
		_, err = leases.Create(mach.ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{
				Name: mach.spec.Name, Namespace: corev1.NamespaceNodeLease,
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: mach.spec.Name, UID: mach.uid}},
			},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &mach.spec.Name, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renew the node's lease: %w", err)
	}
	return nil
}

// seen takes a pod bound to this machine in: a new one starts, a known one may have been told to go.
func (mach *Machine) seen(obj *corev1.Pod) {
	mach.mu.Lock()
	if mach.dead || !mach.registered {
		mach.mu.Unlock()
		return
	}
	p, known := mach.pods[obj.UID]
	if !known {
		if ended(obj) {
			mach.mu.Unlock()
			return
		}
		p = newPod(mach, obj)
		mach.pods[obj.UID] = p
		mach.m.lives.Go(p.live)
	}
	mach.mu.Unlock()
	p.update(obj)
}

// gone hears that a pod's object was removed. What still runs has to stop, with nobody left to tell.
func (mach *Machine) gone(obj *corev1.Pod) {
	mach.mu.Lock()
	p := mach.pods[obj.UID]
	delete(mach.pods, obj.UID)
	mach.mu.Unlock()
	if p != nil {
		p.orphan()
	}
}

func ended(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && (p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed)
}

var errNoAddress = errors.New("the machine has no pod address left")

func (mach *Machine) takeAddress() (string, error) {
	mach.mu.Lock()
	defer mach.mu.Unlock()
	ip, ok := mach.addresses.take()
	if !ok {
		return "", errNoAddress
	}
	return ip, nil
}

func (mach *Machine) freeAddress(ip string) {
	mach.mu.Lock()
	defer mach.mu.Unlock()
	mach.addresses.free(ip)
}

// pull says when image is on the machine, which takes cost for the first that asks and nothing later.
func (mach *Machine) pull(image string, cost time.Duration) time.Time {
	mach.mu.Lock()
	defer mach.mu.Unlock()
	at, known := mach.images[image]
	if !known {
		at = time.Now().Add(cost)
		mach.images[image] = at
	}
	return at
}

// pause waits for d; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
