package kube

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"drover.dev/fleet"
)

// The lease that keeps two runs from acting on one cluster at once.
const (
	leaseNamespace = "kube-system"
	leaseName      = "drover"
)

// An old holder must have stopped before a new one begins. One that cannot renew tries again renewEvery after its last success and gives up
// after renewDeadline; the actions that it began just before then take at most the engine's actWithin, 8 s: 2 + 6 + 8 = 16 s, and the rest up
// to leaseDuration is for an answer that came late. No clock is compared with another machine's: a waiter counts leaseDuration from the
// moment at which it saw the holder's last renewal.
const (
	leaseDuration = 18 * time.Second
	renewDeadline = 6 * time.Second
	renewEvery    = 2 * time.Second
)

// Busy is the error of a run that found another one acting.
type Busy struct{ Holder string }

func (b *Busy) Error() string {
	return fmt.Sprintf("another drover is acting on this cluster: %s holds the lease %s/%s; wait for it, or stop it", b.Holder, leaseNamespace, leaseName)
}

// Alone runs act while holding the lease. act's context ends when the lease is lost, and act must return then. waiting is called once if a
// holder that looks dead has to be waited out; a holder that still renews, or that takes the lease first, is an error (Busy).
func (c *Cluster) Alone(ctx context.Context, identity string, waiting func(holder string, upTo time.Duration), act func(context.Context) error) error {
	if err := c.outlast(ctx, waiting); err != nil {
		return err
	}
	return c.hold(ctx, leaseName, identity, false, act)
}

// Lead runs act while leading: while holding the lease of that name, for which it waits as long as another has it, and waits out one that is silent.
// It returns when act has returned, and gives the lease back then and not before: the next one leads after two renewals at most, and no two act at
// once. act's context ends when the lease is lost, and act must return then. An act that returns context.Canceled though ctx goes on, of its own
// context or of Fence, is told as an error that the lease was lost.
func (c *Cluster) Lead(ctx context.Context, identity, name string, act func(context.Context) error) error {
	return c.hold(ctx, name, identity, true, act)
}

// hold runs act while holding the lease of that name. One that another holds is waited for, or is an error (Busy).
func (c *Cluster) hold(ctx context.Context, name, identity string, patient bool, act func(context.Context) error) error {
	// The elector outlives ctx, and never gives the lease back itself, which it would do as soon as a renewal fails: that is done below, when act has
	// returned, with nothing of it left that could still change the world.
	elect, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var result error
	turn := make(chan struct{}, 1) // whoever takes it decides whether act is called: once, or never
	turn <- struct{}{}
	ended := make(chan struct{})
	mine := &lock{name: name, stop: stop, patient: patient, Interface: &resourcelock.LeaseLock{
		LeaseMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: name},
		Client:    c.client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          mine,
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: renewEvery, Name: name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lead context.Context) {
				select {
				case <-turn:
				default:
					return // it is over already
				}
				defer close(ended)
				defer stop(nil)
				within, cancel := context.WithCancel(context.WithValue(ctx, fence{}, mine))
				defer cancel()
				defer context.AfterFunc(lead, cancel)()
				result = act(within)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("lease %s/%s: %w", leaseNamespace, name, err)
	}
	defer context.AfterFunc(ctx, func() {
		if len(turn) > 0 { // otherwise act has ctx itself
			stop(context.Cause(ctx))
		}
	})()
	elector.Run(elect)
	defer mine.release(ctx)
	select {
	case <-turn:
		return notAcquired(name, context.Cause(elect))
	default:
		<-ended
	}
	if ctx.Err() == nil && errors.Is(result, context.Canceled) {
		return fmt.Errorf("lease %s/%s: lost, so nothing more was done; %s", leaseNamespace, name, next(patient))
	}
	return result
}

// next is what to do about a lost lease.
func next(patient bool) string {
	if patient {
		return "the next one leads"
	}
	return "the same command goes on"
}

func notAcquired(name string, cause error) error {
	var busy *Busy
	if errors.As(cause, &busy) {
		return cause
	}
	return fmt.Errorf("lease %s/%s: not acquired: %w", leaseNamespace, name, cause)
}

// lock is the lease as the elector sees it. The elector tries again in silence whatever happens; lock stops it at what trying again does not
// mend: a right that is missing and, unless it is patient, another holder. Nor may the elector write over another holder; only who is patient and has
// not led yet may, to take over from one that it saw silent for the whole of leaseDuration.
type lock struct {
	resourcelock.Interface
	name    string
	stop    context.CancelCauseFunc
	patient bool
	busy    *Busy                     // another holder, when last read
	renewed atomic.Pointer[time.Time] // when the last renewal that went through was asked for; nil before the first
}

// fence is the key of the lease that a context acts under.
type fence struct{}

// Fence tells whether whoever acts under ctx still holds the lease, as far as this process can know without asking: renewed so lately that no other
// may have begun. A process that was stopped for a while, or whose machine was, acts no more. Its error is a context.Canceled, because the context
// ends for the same reason, if later: Lead and Alone tell an act that returns it that the lease was lost.
func Fence(ctx context.Context) error {
	l, ok := ctx.Value(fence{}).(*lock)
	if !ok {
		return nil
	}
	at := l.renewed.Load()
	if at == nil || max(time.Since(*at), time.Now().Round(0).Sub(at.Round(0))) > renewEvery+renewDeadline { // by the wall clock too: it goes on while a machine sleeps
		return fmt.Errorf("the lease was not renewed for over %s: %w", renewEvery+renewDeadline, context.Canceled)
	}
	return nil
}

func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	r, raw, err := l.Interface.Get(ctx)
	l.busy = nil
	if err == nil && r.HolderIdentity != "" && r.HolderIdentity != l.Identity() {
		l.busy = &Busy{Holder: r.HolderIdentity}
		if !l.takesOver() {
			l.stop(l.busy)
		}
	}
	return r, raw, l.judge(err)
}

func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.judge(l.renew(func() error { return l.Interface.Create(ctx, r) }))
}

// renew notes when a renewal was asked for that went through.
func (l *lock) renew(write func() error) error {
	at := time.Now()
	err := write()
	if err == nil {
		l.renewed.Store(&at)
	}
	return err
}

func (l *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if l.busy != nil && !l.takesOver() {
		return l.busy
	}
	return l.judge(l.renew(func() error { return l.Interface.Update(ctx, r) }))
}

// takesOver tells whether another holder may be waited out.
func (l *lock) takesOver() bool { return l.patient && l.renewed.Load() == nil }

// release gives the lease back if it is still this one's. Should that fail, others wait leaseDuration.
func (l *lock) release(ctx context.Context) {
	if l.renewed.Load() == nil {
		return // it was never held
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewDeadline)
	defer cancel()
	r, _, err := l.Interface.Get(ctx)
	if err != nil || r.HolderIdentity != l.Identity() {
		return
	}
	now := metav1.Now()
	_ = l.Interface.Update(ctx, resourcelock.LeaderElectionRecord{LeaderTransitions: r.LeaderTransitions, LeaseDurationSeconds: 1, AcquireTime: now, RenewTime: now})
}

func (l *lock) judge(err error) error {
	var fatal *fleet.Fatal
	if errors.As(classify(err), &fatal) {
		l.stop(fatal)
	}
	return err
}

// outlast returns when nobody holds the lease. A holder who renews while we look is alive; the lease of one who does not is given back in
// its name, because the elector would begin to look all over again.
func (c *Cluster) outlast(ctx context.Context, waiting func(string, time.Duration)) error {
	first, err := c.lease(ctx, leaseName)
	if err != nil || holder(first) == "" {
		return err
	}
	began := time.Now()
	waiting(holder(first), leaseDuration)
	for time.Since(began) < leaseDuration {
		if err := pause(ctx, renewEvery/2); err != nil {
			return err
		}
		now, err := c.lease(ctx, leaseName)
		if err != nil || holder(now) == "" {
			return err
		}
		if renewed(first, now) {
			return &Busy{Holder: holder(now)}
		}
	}
	return c.giveBack(ctx, first)
}

// giveBack releases a lease that its holder will not release any more, unless anybody touched it since it was read.
func (c *Cluster) giveBack(ctx context.Context, l *coordinationv1.Lease) error {
	l = l.DeepCopy()
	l.Spec.HolderIdentity = new(string)
	_, err := c.client.CoordinationV1().Leases(leaseNamespace).Update(ctx, l, metav1.UpdateOptions{FieldManager: "drover"})
	if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return classify(wrapLease("release", err))
	}
	now, err := c.lease(ctx, leaseName) // another waiter was first
	if err == nil && holder(now) != "" {
		return &Busy{Holder: holder(now)}
	}
	return err
}

// Acting says who holds the lease and renews it; "" when nobody does. To tell a holder from what a dead one left, it looks until the next
// renewal is due, and only if there is a holder.
func (c *Cluster) Acting(ctx context.Context) (string, error) { return c.acting(ctx, leaseName) }

// Leading says who leads as the controller, as Acting does of runs.
func (c *Cluster) Leading(ctx context.Context) (string, error) { return c.acting(ctx, ControllerName) }

func (c *Cluster) acting(ctx context.Context, name string) (string, error) {
	first, err := c.lease(ctx, name)
	if err != nil || holder(first) == "" {
		return "", err
	}
	for range 3 {
		if err := pause(ctx, renewEvery/2); err != nil {
			return "", err
		}
		now, err := c.lease(ctx, name)
		if err != nil || renewed(first, now) {
			return holder(now), err
		}
	}
	return "", nil
}

// lease reads the lease; nil when there is none.
func (c *Cluster) lease(ctx context.Context, name string) (*coordinationv1.Lease, error) {
	l, err := c.client.CoordinationV1().Leases(leaseNamespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(wrapLease("read", err))
	}
	return l, nil
}

func wrapLease(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s lease %s/%s: %w", doing, leaseNamespace, leaseName, err)
}

func holder(l *coordinationv1.Lease) string {
	if l == nil || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// renewed tells whether anybody wrote the lease between two readings.
func renewed(before, now *coordinationv1.Lease) bool {
	return now == nil || before.ResourceVersion != now.ResourceVersion
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
