package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The lease that keeps two runs from acting on one cluster at once.
const (
	leaseNamespace = "kube-system"
	leaseName      = "drover"
)

// How long a dead holder's lease lasts, when a holder that cannot renew stops acting, and how often it renews. The first two differ so that
// the old holder has stopped before a new one can begin.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	renewEvery    = 2 * time.Second
)

// Busy is the error of a run that found another one acting.
type Busy struct{ Holder string }

func (b *Busy) Error() string {
	return fmt.Sprintf("another drover is acting on this cluster: %s holds the lease %s/%s; wait for it, or stop it", b.Holder, leaseNamespace, leaseName)
}

// Alone runs act while holding the lease. act's context ends when the lease is lost, and act must return then. waiting is called once if a
// holder that looks dead has to be waited out; a holder that still renews is an error (Busy).
func (c *Cluster) Alone(ctx context.Context, identity string, waiting func(holder string, upTo time.Duration), act func(context.Context) error) error {
	if err := c.outlast(ctx, waiting); err != nil {
		return err
	}
	// The elector outlives ctx: the lease is given back only when act has returned, with nothing of it left that could still change the world.
	elect, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var result error
	started, ended := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: leaseName},
			Client:    c.client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: renewEvery, ReleaseOnCancel: true, Name: leaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lead context.Context) {
				close(started)
				defer close(ended)
				defer stop()
				within, cancel := context.WithCancel(ctx)
				defer cancel()
				defer context.AfterFunc(lead, cancel)()
				result = act(within)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("lease %s/%s: %w", leaseNamespace, leaseName, err)
	}
	defer context.AfterFunc(ctx, func() {
		select {
		case <-started: // act has ctx itself
		default:
			stop()
		}
	})()
	elector.Run(elect)
	select {
	case <-started:
		<-ended
		if ctx.Err() == nil && errors.Is(result, context.Canceled) {
			return fmt.Errorf("lease %s/%s: lost, so nothing more was done; the same command goes on", leaseNamespace, leaseName)
		}
		return result
	default:
		return fmt.Errorf("lease %s/%s: not acquired: %w", leaseNamespace, leaseName, context.Cause(ctx))
	}
}

// outlast returns when nobody holds the lease. A holder who renews while we look is alive.
func (c *Cluster) outlast(ctx context.Context, waiting func(string, time.Duration)) error {
	first, err := c.holder(ctx)
	if err != nil || first.name == "" {
		return err
	}
	began := time.Now()
	waiting(first.name, leaseDuration)
	tick := time.NewTicker(renewEvery / 2)
	defer tick.Stop()
	for time.Since(began) < leaseDuration {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now, err := c.holder(ctx)
		if err != nil || now.name == "" {
			return err
		}
		if now.renewed != first.renewed || now.name != first.name {
			return &Busy{Holder: now.name}
		}
	}
	return nil
}

// Acting says who holds the lease and renews it; "" when nobody does.
func (c *Cluster) Acting(ctx context.Context) (string, error) {
	h, err := c.holder(ctx)
	if err != nil || time.Since(h.at) > leaseDuration {
		return "", err
	}
	return h.name, nil
}

type holding struct {
	name    string
	renewed string
	at      time.Time
}

func (c *Cluster) holder(ctx context.Context) (holding, error) {
	l, err := c.client.CoordinationV1().Leases(leaseNamespace).Get(ctx, leaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return holding{}, nil
	}
	if err != nil {
		return holding{}, classify(fmt.Errorf("read lease %s/%s: %w", leaseNamespace, leaseName, err))
	}
	return holdingOf(l), nil
}

func holdingOf(l *coordinationv1.Lease) holding {
	var h holding
	if l.Spec.HolderIdentity != nil {
		h.name = *l.Spec.HolderIdentity
	}
	if l.Spec.RenewTime != nil {
		h.renewed, h.at = l.Spec.RenewTime.String(), l.Spec.RenewTime.Time
	}
	return h
}
