package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// seenMoves are the moves on file, until a store takes them.
type seenMoves struct {
	unknown bool // the cluster does not know the kind
	moves   map[string]*fleet.StoreMove
	trouble map[string]string // of those that cannot be read
}

// observeMoves reads the moves on file, by store.
func (c *Cluster) observeMoves(ctx context.Context, now time.Time) *seenMoves {
	out := &seenMoves{unknown: c.moveKind.unknown(), moves: map[string]*fleet.StoreMove{}, trouble: map[string]string{}}
	silent := map[string]bool{leaseName: c.silent(leaseName, now), ControllerName: c.silent(ControllerName, now)}
	shown := map[string]*unstructured.Unstructured{}
	for _, o := range c.moves.List() {
		if u, ok := o.(*unstructured.Unstructured); ok {
			shown[keyOf(u)] = u
		}
	}
	c.wrote.moves.Over(shown)
	for store, u := range shown {
		m, err := moveOf(u)
		if err != nil {
			out.trouble[store] = err.Error()
			continue
		}
		move := m.Move()
		move.Idle = mine(ctx, move.Run) || silent[leaseOf(move.Run)]
		out.moves[store] = &move
	}
	return out
}

// attach gives a store its move.
func (m *seenMoves) attach(st *fleet.Store) {
	var trouble []string
	if st.Trouble != "" {
		trouble = append(trouble, st.Trouble)
	}
	if m.unknown {
		trouble = append(trouble, unmovable)
	}
	if why := m.trouble[st.Name]; why != "" {
		trouble = append(trouble, why)
	}
	st.Move, st.Trouble = m.moves[st.Name], strings.Join(trouble, "; ")
	delete(m.moves, st.Name)
	delete(m.trouble, st.Name)
}

// orphans are stores of which nothing is left but a move on file.
func (m *seenMoves) orphans() []fleet.Store {
	var out []fleet.Store
	for name, move := range m.moves {
		why := fmt.Sprintf("run %s began to move pod %s of it, and now no pod says that it is of this store: declare it again, or put its settings back by hand and delete move %s", move.Run, move.Pod, name)
		out = append(out, fleet.Store{Name: name, Source: "move on file", Confirmed: true, Move: move, Trouble: why})
	}
	for name, why := range m.trouble {
		out = append(out, fleet.Store{Name: name, Source: "move on file", Confirmed: true, Trouble: why})
	}
	return out
}

// moveOf reads the object, all of it: a field that this version does not know may be one that has to be put back.
func moveOf(u *unstructured.Unstructured) (*v1alpha1.Move, error) {
	var m v1alpha1.Move
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &m, true); err != nil {
		return nil, fmt.Errorf("move %s: unreadable: %w: written by another version of drover?", keyOf(u), err)
	}
	return &m, nil
}

// leaseOf is the lease under which a run acts.
func leaseOf(run string) string {
	if run == fleet.NoticeRun {
		return ControllerName
	}
	return leaseName
}

// mine tells whether whoever acts under ctx holds the lease under which the run would have to act: if that is not the same run, nobody acts for it.
func mine(ctx context.Context, run string) bool {
	l, ok := ctx.Value(fence{}).(*lock)
	return ok && l.name == leaseOf(run)
}

// seenLease is how a lease was when it was last seen to be renewed.
type seenLease struct {
	version string
	at      time.Time
	silent  bool // for all of leaseDuration since
}

// silent tells whether nobody acts under the lease: it is free, or was not renewed for leaseDuration while this process looked. c.seen is locked.
func (c *Cluster) silent(name string, now time.Time) bool {
	var l *coordinationv1.Lease
	if store := c.leases[name]; store != nil {
		o, _, _ := store.GetByKey(leaseNamespace + "/" + name)
		l, _ = o.(*coordinationv1.Lease)
	}
	if c.seen.leases == nil {
		c.seen.leases = map[string]seenLease{}
	}
	if holder(l) == "" {
		delete(c.seen.leases, name)
		return true
	}
	one := c.seen.leases[name]
	if one.version != l.ResourceVersion {
		one = seenLease{version: l.ResourceVersion, at: now}
	}
	one.silent = now.Sub(one.at) >= leaseDuration
	c.seen.leases[name] = one
	return one.silent
}

// stillSilent reads live whether nobody acts for the run: the informer may be behind.
func (c *Cluster) stillSilent(ctx context.Context, run string) (bool, error) {
	if mine(ctx, run) {
		return true, nil
	}
	name := leaseOf(run)
	l, err := c.lease(ctx, name)
	if err != nil || holder(l) == "" {
		return err == nil, err
	}
	c.seen.Lock()
	defer c.seen.Unlock()
	one := c.seen.leases[name]
	return one.silent && one.version == l.ResourceVersion, nil
}

// parted is a store's namespace and name.
func parted(store string) (namespace, name string, err error) {
	namespace, name, ok := strings.Cut(store, "/")
	if !ok || namespace == "" || name == "" {
		return "", "", fmt.Errorf("store %q: want namespace/name", store)
	}
	return namespace, name, nil
}

// liveMove reads the move of a store; nil when there is none. That the cluster does not know the kind shows when one is made.
func (c *Cluster) liveMove(ctx context.Context, store string) (*v1alpha1.Move, error) {
	namespace, name, err := parted(store)
	if err != nil {
		return nil, err
	}
	u, err := c.objects.Resource(v1alpha1.Moves).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, classify(fmt.Errorf("read move %s: %w", store, err))
	}
	return moveOf(u)
}

// engage claims a store for the run, or brings what it has on file up to date.
func (c *Cluster) engage(ctx context.Context, a fleet.Action) error {
	namespace, name, err := parted(a.Store)
	if err != nil {
		return err
	}
	if a.Move == nil || a.Move.Run != a.Run {
		return fmt.Errorf("engage store %s: want a move of run %s", a.Store, a.Run)
	}
	return again(func() error {
		have, err := c.liveMove(ctx, a.Store)
		if err != nil {
			return err
		}
		want := *a.Move
		if have != nil {
			if want, err = c.succeed(ctx, a, have.Move()); err != nil {
				return err
			}
		}
		object, err := v1alpha1.FromMove(namespace, name, want)
		if err != nil {
			return err
		}
		if have == nil {
			return c.writeMove(object, func(o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
				how := metav1.CreateOptions{FieldManager: "drover", FieldValidation: metav1.FieldValidationStrict}
				return c.objects.Resource(v1alpha1.Moves).Namespace(namespace).Create(ctx, o, how)
			})
		}
		if have.DeletionTimestamp != nil {
			return &fleet.Refused{Reason: fmt.Sprintf("move %s is being deleted", a.Store), Wait: budgetWait}
		}
		if equality.Semantic.DeepEqual(have.Spec, object.Spec) {
			return nil
		}
		have.Spec = object.Spec
		have.TypeMeta = object.TypeMeta
		return c.writeMove(have, func(o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
			how := metav1.UpdateOptions{FieldManager: "drover", FieldValidation: metav1.FieldValidationStrict}
			return c.objects.Resource(v1alpha1.Moves).Namespace(namespace).Update(ctx, o, how)
		})
	})
}

// writeMove sends the object, and remembers the answer until the informer shows it. That somebody else was first shows as a conflict.
func (c *Cluster) writeMove(m *v1alpha1.Move, send func(*unstructured.Unstructured) (*unstructured.Unstructured, error)) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(m)
	if err != nil {
		return fmt.Errorf("move %s/%s: %w", m.Namespace, m.Name, err)
	}
	u, err := send(&unstructured.Unstructured{Object: content})
	switch {
	case apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err) && m.UID != "":
		return apierrors.NewConflict(v1alpha1.Moves.GroupResource(), m.Name, err)
	case apierrors.IsNotFound(err):
		return &fleet.Fatal{Err: errors.New(unmovable)}
	case err != nil:
		return changed(err)
	}
	if c.moves != nil {
		c.wrote.moves.Put(u)
	}
	c.bell.Ring()
	return nil
}

// succeed is the move as the run is to have it, after what is on file. What a member was set to before anything was changed is what is on file, as far as
// it is: whoever reads the members later reads what a move has changed.
func (c *Cluster) succeed(ctx context.Context, a fleet.Action, old fleet.StoreMove) (fleet.StoreMove, error) {
	want := *a.Move.Clone()
	same := old.Pod.Namespace == want.Pod.Namespace && old.Pod.Name == want.Pod.Name
	if old.Run == a.Run && !same && !atRest(old, want) {
		reason := fmt.Sprintf("store %s: pod %s of it is being moved already by this run; it moves one at a time", a.Store, old.Pod)
		return want, &fleet.Refused{Reason: reason, Wait: budgetWait}
	}
	want.Prior = before(old.Prior, want.Prior)
	if old.Run == a.Run {
		return want, nil
	}
	idle, err := c.stillSilent(ctx, old.Run)
	if err != nil {
		return want, err
	}
	if !idle {
		reason := fmt.Sprintf("store %s: run %s moves pod %s of it since %s", a.Store, old.Run, old.Pod, old.Since.Format(time.RFC3339))
		return want, &fleet.Refused{Reason: reason, Wait: ownerWait, Held: true}
	}
	if want.Temp == "" {
		want.Temp = old.Temp
	}
	for _, g := range old.Ghosts {
		if !slices.ContainsFunc(want.Ghosts, func(o fleet.Ghost) bool { return o.ID == g.ID }) {
			want.Ghosts = append(want.Ghosts, g)
		}
	}
	if same {
		want.ID, want.Home, want.Since, want.Switched, want.Switches, want.Hooked = old.ID, old.Home, old.Since, old.Switched, old.Switches, slices.Clone(old.Hooked)
	}
	return want, nil
}

// atRest tells whether a move only waits for what it had forgotten to stay so: then another pod's may take its place, knowing of that. Whoever has not
// seen the move on file does not know.
func atRest(old, next fleet.StoreMove) bool {
	return len(old.Ghosts) > 0 && !slices.ContainsFunc(old.Ghosts, func(g fleet.Ghost) bool {
		return !slices.ContainsFunc(next.Ghosts, func(o fleet.Ghost) bool { return o.ID == g.ID })
	})
}

// before joins what members were set to; the older word on each stands.
func before(older, newer []fleet.Setting) []fleet.Setting {
	out := slices.Clone(older)
	for _, s := range newer {
		if !slices.ContainsFunc(older, func(o fleet.Setting) bool { return o.Pod == s.Pod }) {
			out = append(out, s)
		}
	}
	return out
}

// disengage takes the run's move off file. The temporary pod, should there still be one, goes with it.
func (c *Cluster) disengage(ctx context.Context, a fleet.Action) error {
	return again(func() error {
		m, err := c.liveMove(ctx, a.Store)
		if err != nil || m == nil {
			return err
		}
		if m.Spec.Run != a.Run {
			return &fleet.Refused{Reason: fmt.Sprintf("store %s: the move on file is of run %s", a.Store, m.Spec.Run), Wait: ownerWait, Held: true}
		}
		how := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &m.UID, ResourceVersion: &m.ResourceVersion}}
		err = c.objects.Resource(v1alpha1.Moves).Namespace(m.Namespace).Delete(ctx, m.Name, how)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return changed(err)
	})
}
