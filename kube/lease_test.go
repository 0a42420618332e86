package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

// spell is a cluster whose API server is away for a while, and how many act under the lease.
type spell struct {
	t        *testing.T
	began    time.Time
	client   *fake.Clientset
	acting   atomic.Int32
	acted    sync.Map // who acted
	released atomic.Int32
}

// newSpell is away from one moment to the other, and for the first calls of that other moment: the elector's last attempt fails, the next call does not.
func newSpell(t *testing.T, from, to time.Duration) *spell {
	s := &spell{t: t, began: time.Now(), client: fake.NewClientset()}
	var last atomic.Int32
	s.client.PrependReactor("*", "leases", func(a k8stesting.Action) (bool, runtime.Object, error) {
		if at := time.Since(s.began); at > from && at < to || at == to && last.Add(1) <= 2 {
			return true, nil, errors.New("etcdserver: request timed out")
		}
		u, ok := a.(k8stesting.UpdateAction)
		if !ok {
			return false, nil, nil
		}
		if l := u.GetObject().(*coordinationv1.Lease); holder(l) == "" {
			s.released.Add(1)
			if s.acting.Load() > 0 {
				t.Errorf("%s: the lease is given back, and its holder still acts", time.Since(s.began))
			}
		}
		return false, nil, nil
	})
	return s
}

// act goes on until its context ends, and then for as long as an action may take that it began just before.
func (s *spell) act(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		if s.acting.Add(1) > 1 {
			s.t.Errorf("%s: %s begins to act while another still does", time.Since(s.began), name)
		}
		defer s.acting.Add(-1)
		s.acted.Store(name, true)
		<-ctx.Done()
		time.Sleep(8 * time.Second)
		return ctx.Err()
	}
}

// A lease that is lost while its holder acts is given back when it has stopped, and the next one begins then.
func TestALostLeaseIsKeptWhileItsHolderActs(t *testing.T) {
	for name, hold := range map[string]func(c *Cluster, ctx context.Context, identity string, act func(context.Context) error) error{
		"Lead": func(c *Cluster, ctx context.Context, identity string, act func(context.Context) error) error {
			return c.Lead(ctx, identity, ControllerName, act)
		},
		"Alone": func(c *Cluster, ctx context.Context, identity string, act func(context.Context) error) error {
			return c.Alone(ctx, identity, func(string, time.Duration) {}, act)
		},
	} {
		for _, back := range []time.Duration{12 * time.Second, 16 * time.Second, 19 * time.Second, 40 * time.Second} {
			t.Run(fmt.Sprint(name, " ", back), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSpell(t, 5*time.Second, back)
					ctx, stop := context.WithCancel(t.Context())
					var both sync.WaitGroup
					for i, identity := range []string{"old", "new"} {
						both.Go(func() {
							time.Sleep(time.Duration(i) * 500 * time.Millisecond)
							for ctx.Err() == nil { // a run that finds another one acting is tried again
								_ = hold(&Cluster{client: s.client, bell: newBell()}, ctx, identity, s.act(identity))
								time.Sleep(time.Second)
								if _, acted := s.acted.Load(identity); acted {
									return
								}
							}
						})
					}
					time.Sleep(90 * time.Second)
					stop()
					both.Wait()
					for _, identity := range []string{"old", "new"} {
						if _, acted := s.acted.Load(identity); !acted {
							t.Errorf("%s never acted", identity)
						}
					}
					if s.released.Load() == 0 {
						t.Error("the lease was never given back")
					}
				})
			})
		}
	}
}

// An act that ends because the lease is lost is told so, whichever way it heard of it; its own errors stay what they are.
func TestALostLeaseIsTold(t *testing.T) {
	own := errors.New("its own")
	for name, tc := range map[string]struct {
		act  func(context.Context) error
		lost bool
	}{
		"by its context": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, true},
		"by the fence": {func(ctx context.Context) error {
			for Fence(ctx) == nil {
				time.Sleep(time.Second)
			}
			return Fence(ctx)
		}, true},
		"its own error": {func(ctx context.Context) error { <-ctx.Done(); return own }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSpell(t, 5*time.Second, time.Minute)
			err := (&Cluster{client: s.client, bell: newBell()}).Lead(t.Context(), "one", ControllerName, tc.act)
			if tc.lost && (err == nil || errors.Is(err, own) || err.Error() != "lease kube-system/drover-controller: lost, so nothing more was done; the next one leads") || !tc.lost && err != own {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}
