package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is one pod's life on a machine. Its goroutine, live, reads straight down from address to last status; containers have one
// each. They change state under mu and say touch; the manager's writers turn the state into API calls.
type pod struct {
	mach      *Machine
	namespace string
	name      string
	uid       types.UID
	spec      *corev1.PodSpec
	script    script
	refusal   error // why it may not run here
	past      bool  // it had ended before it was met here, in an earlier sandbox

	going context.Context // ends when the pod has to stop, or its machine died
	stop  context.CancelFunc
	grace context.Context // ends when its grace is over
	kill  context.CancelFunc

	mounts map[string]mounts // by container, once prepared
	files  *folder

	mu         sync.Mutex
	obj        *corev1.Pod // newest seen
	ip         string      // loopback form
	startTime  metav1.Time
	containers []*container // init containers first, in order
	conditions map[corev1.PodConditionType]corev1.PodCondition
	cause      string // status.reason when the pod was failed as a whole
	finished   bool   // nothing of it runs or will
	removed    bool   // its object is gone, or will be once its finalizers are
	deadline   time.Time
	killer     *time.Timer
	written    []byte // the last status sent
	version    uint64 // resourceVersion that this gave
}

func newPod(mach *Machine, obj *corev1.Pod) *pod {
	p := &pod{
		mach: mach, namespace: obj.Namespace, name: obj.Name, uid: obj.UID, spec: &obj.Spec, obj: obj,
		startTime:  metav1.Now(),
		conditions: map[corev1.PodConditionType]corev1.PodCondition{},
		mounts:     map[string]mounts{},
	}
	p.going, p.stop = context.WithCancel(mach.ctx)
	p.grace, p.kill = context.WithCancel(mach.ctx)
	for i := range obj.Spec.InitContainers {
		c := &obj.Spec.InitContainers[i]
		role := initial
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			role = sidecar
		}
		p.containers = append(p.containers, newContainer(p, c, role))
	}
	for i := range obj.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, &obj.Spec.Containers[i], ordinary))
	}
	p.past = obj.Status.Phase == corev1.PodSucceeded || obj.Status.Phase == corev1.PodFailed
	p.script, p.refusal = readScript(obj)
	if p.refusal == nil && p.script.process {
		p.refusal = p.unsupported()
	}
	return p
}

func (p *pod) String() string { return p.namespace + "/" + p.name }

// touch has the status written soon. Touches that come close together become one write.
func (p *pod) touch() { p.mach.m.writes.Add(p) }

// scaled is d in this pod's time: a process cannot be hurried.
func (p *pod) scaled(d time.Duration) time.Duration {
	if p.script.process {
		return d
	}
	return p.mach.m.scaled(d)
}

func (p *pod) live() {
	defer p.stop()
	defer p.kill()
	if !p.past && p.prepare() {
		p.limit()
		p.run()
	}
	if p.mach.Alive() {
		p.haltAll()
	}
	p.mu.Lock()
	p.finished = true
	ip := p.ip
	if p.killer != nil {
		p.killer.Stop()
	}
	p.mu.Unlock()
	p.discardFiles()
	p.mach.freeAddress(ip)
	p.touch()
}

// prepare gets the pod its address and its files. It keeps trying what may still come (a ConfigMap, a bound claim); false means the
// pod has to go without ever having run.
func (p *pod) prepare() bool {
	if p.refusal != nil {
		p.waitAll("NotSimulated", p.refusal.Error())
		<-p.going.Done()
		return false
	}
	for p.going.Err() == nil {
		err := p.settle()
		if err == nil {
			p.waitAll("ContainerCreating", "")
			return p.going.Err() == nil
		}
		p.waitAll("ContainerCreating", err.Error())
		pause(p.going, time.Second)
	}
	return false
}

func (p *pod) settle() error {
	p.mu.Lock()
	ip := p.ip
	p.mu.Unlock()
	if ip == "" {
		if p.spec.HostNetwork {
			ip = DialAddress(p.mach.spec.NodeIP)
		} else {
			var err error
			if ip, err = p.mach.takeAddress(); err != nil {
				return err
			}
		}
		p.mu.Lock()
		p.ip = ip
		p.mu.Unlock()
	}
	if !p.script.process {
		return nil
	}
	return p.makeFiles(p.going)
}

// waitAll gives every container the reason why it has not run yet.
func (p *pod) waitAll(reason, message string) {
	p.mu.Lock()
	initializing := len(p.spec.InitContainers) > 0
	for i, c := range p.containers {
		c.state = waiting(reason, message)
		if initializing && i > 0 && message == "" {
			c.state = waiting("PodInitializing", "")
		}
	}
	p.mu.Unlock()
	p.touch()
}

// limit arms activeDeadlineSeconds.
func (p *pod) limit() {
	seconds := p.spec.ActiveDeadlineSeconds
	if seconds == nil {
		return
	}
	limit := time.AfterFunc(p.scaled(time.Duration(*seconds)*time.Second), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cause = "DeadlineExceeded"
		p.retire(p.ownGrace())
	})
	context.AfterFunc(p.going, func() { limit.Stop() })
}

// run returns when the pod has to stop or all its ordinary containers ended for good.
func (p *pod) run() {
	sides, stopSides := context.WithCancel(p.going)
	var keepers, mains sync.WaitGroup
	defer keepers.Wait()
	defer stopSides()
	for _, c := range p.containers {
		switch c.role {
		case initial:
			if !c.keep(p.going) {
				return
			}
		case sidecar:
			keepers.Go(func() { c.keep(sides) })
			select {
			case <-c.up:
			case <-p.going.Done():
				return
			}
		case ordinary:
			mains.Go(func() { c.keep(p.going) })
		}
	}
	mains.Wait()
}

// haltAll ends what still runs: ordinary containers together, then the sidecars from last to first. All preStop hooks start at
// once; a sidecar's SIGTERM waits for its turn.
func (p *pod) haltAll() {
	p.mu.Lock()
	if p.killer == nil {
		p.retire(p.ownGrace())
	}
	p.mu.Unlock()
	var mains, sides sync.WaitGroup
	for _, c := range p.containers {
		if c.role != sidecar {
			mains.Go(func() { c.halt(p.grace, nil) })
		}
	}
	mainsDone := make(chan struct{})
	turn := mainsDone
	for _, c := range slices.Backward(p.containers) {
		if c.role != sidecar {
			continue
		}
		mine, next := turn, make(chan struct{})
		sides.Go(func() { c.halt(p.grace, mine); close(next) })
		turn = next
	}
	mains.Wait()
	close(mainsDone)
	sides.Wait()
}

// update takes in a newer version of the object, the first one included.
func (p *pod) update(obj *corev1.Pod) {
	p.mu.Lock()
	if version(obj) < version(p.obj) { // Boot looks at the pods while the informer reports them
		p.mu.Unlock()
		return
	}
	p.obj = obj
	write := obj.DeletionTimestamp != nil || len(p.spec.ReadinessGates) > 0
	if obj.DeletionTimestamp != nil {
		grace := time.Duration(0)
		if obj.DeletionGracePeriodSeconds != nil {
			grace = time.Duration(*obj.DeletionGracePeriodSeconds) * time.Second
		}
		p.retire(grace)
	}
	// Somebody else, the node controller most likely, wrote over what is ours.
	if p.written != nil && version(obj) > p.version {
		if mine, theirs := p.conditions[corev1.PodReady], condition(obj, corev1.PodReady); theirs != nil && theirs.Status != mine.Status {
			p.written, write = nil, true
		}
	}
	p.mu.Unlock()
	if write {
		p.touch()
	}
}

// orphan hears that the object is gone: nothing is written any more, and what runs stops as its grace allows.
func (p *pod) orphan() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed = true
	if p.killer == nil {
		p.retire(p.ownGrace())
	}
}

func (p *pod) ownGrace() time.Duration {
	if s := p.spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 30 * time.Second
}

// retire tells the pod to stop within grace. Said again it can only shorten the time, as the API has it. Callers hold mu.
func (p *pod) retire(grace time.Duration) {
	grace = p.scaled(max(grace, time.Second)) // the kubelet's least
	at := time.Now().Add(grace)
	switch {
	case p.killer == nil:
		p.deadline, p.killer = at, time.AfterFunc(grace, p.kill)
	case at.Before(p.deadline) && !p.finished:
		p.deadline = at
		p.killer.Reset(grace)
	}
	p.stop()
}

// write brings the API server up to date: the status if it changed, and the end of the object once the pod stopped. A dead machine
// writes nothing.
func (p *pod) write() error {
	if !p.mach.Alive() {
		return nil
	}
	p.mu.Lock()
	if p.removed {
		p.mu.Unlock()
		return nil
	}
	status := p.status()
	over := p.finished && p.obj.DeletionTimestamp != nil
	before := p.written
	p.mu.Unlock()

	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.uid}, "status": status})
	if err != nil {
		return err
	}
	pods := p.mach.m.Client.CoreV1().Pods(p.namespace)
	if !p.past && !bytes.Equal(body, before) {
		got, err := pods.Patch(p.mach.ctx, p.name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
		switch {
		case err != nil && p.vanished(err):
			p.orphan()
			return nil
		case err != nil:
			return fmt.Errorf("patch its status: %w", err)
		}
		p.mu.Lock()
		p.written = body
		p.version = version(got)
		p.mu.Unlock()
	}
	if !over {
		return nil
	}
	now := int64(0)
	err = pods.Delete(p.mach.ctx, p.name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.uid}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete the stopped pod: %w", err)
	}
	p.mu.Lock()
	p.removed = true
	p.mu.Unlock()
	return nil
}

// vanished tells whether a call failed because the pod's object is gone, or a namesake has taken its place.
func (p *pod) vanished(err error) bool {
	if apierrors.IsConflict(err) {
		var now *corev1.Pod
		if now, err = p.mach.m.Client.CoreV1().Pods(p.namespace).Get(p.mach.ctx, p.name, metav1.GetOptions{}); err == nil {
			return now.UID != p.uid
		}
	}
	return apierrors.IsNotFound(err)
}

// version orders the states of an object; 0 if it cannot be told.
func version(p *corev1.Pod) uint64 {
	v, _ := strconv.ParseUint(p.ResourceVersion, 10, 64)
	return v
}

// discardFiles drops the volumes; the logs stay for whoever wonders.
func (p *pod) discardFiles() {
	if p.files == nil {
		return
	}
	err := errors.Join(os.RemoveAll(filepath.Join(p.files.dir, "volumes")), os.RemoveAll(filepath.Join(p.files.dir, "work")))
	if err != nil {
		p.mach.m.Log.Warn("discard volumes", "pod", p.String(), "error", err)
	}
}
