package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"drover.dev/fleet"
)

// A kind that is lost for longer than a restart of the server takes makes Observe an error that names it, until it is seen again.
func TestAKindThatStaysLostIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStock(t)
		var answer error
		k := &kind{name: "pods", fail: func(error) {}}
		lw := k.listen(&cache.ListWatch{
			ListWithContextFunc:  func(context.Context, metav1.ListOptions) (runtime.Object, error) { return &corev1.PodList{}, answer },
			WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), answer },
		})
		s.kinds = []*kind{k}
		observe := func() error { return s.Observe(t.Context(), &fleet.Snapshot{}) }
		list := func(err error) { answer = err; lw.ListWithContextFunc(t.Context(), metav1.ListOptions{}) }
		begin := func(err error) { answer = err; lw.WatchFuncWithContext(t.Context(), metav1.ListOptions{}) }

		list(nil)
		time.Sleep(time.Hour) // virtual, as all sleeps here
		if err := observe(); err != nil {
			t.Fatalf("a quiet hour: %v", err)
		}
		for range 2 {
			begin(errors.New("connection refused"))
			time.Sleep(patience - time.Second)
			list(errors.New("connection refused"))
			if err := observe(); err != nil {
				t.Fatalf("a restart: %v", err)
			}
			time.Sleep(2 * time.Second)
			if err := observe(); err == nil || !strings.Contains(err.Error(), "list pods: connection refused") || !strings.Contains(err.Error(), "for 1m1s") {
				t.Fatalf("lost for good: %v", err)
			}
			begin(nil)
			if err := observe(); err != nil {
				t.Fatalf("seen again: %v", err)
			}
		}
	})
}

func TestAMissingRightEndsTheWaitAndLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told error
		k := &kind{name: "pods", fail: func(err error) { told = err }}
		k.heard(apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New(`User "drover" cannot list resource "pods" in API group "" at the cluster scope`)))
		var fatal *fleet.Fatal
		if !errors.As(told, &fatal) {
			t.Errorf("told %v", told)
		}
		time.Sleep(patience)
		if err := k.lost(); !errors.As(err, &fatal) {
			t.Errorf("lost: %v", err)
		}
	})
}

func TestAKindThatMayLackIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kind{name: "rotations", mayLack: true, fail: func(error) {}}
		k.heard(&apierrors.StatusError{ErrStatus: metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound}})
		time.Sleep(2 * patience)
		if err := k.lost(); err != nil || !k.unknown() {
			t.Errorf("lost: %v, unknown: %v", err, k.unknown())
		}
		k.heard(nil)
		if k.unknown() {
			t.Error("unknown although it was listed")
		}
	})
}

// A kind that the server does not know is asked for again when the server may know others, and not before.
func TestKindsThatAreLackingAreNotAskedForAgainAndAgain(t *testing.T) {
	asked, known := 0, uint64(0)
	k := &kind{name: "scaledobjects", mayLack: true, fail: func(error) {}, served: func() uint64 { return known }}
	lw := k.listen(&cache.ListWatch{ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
		asked++
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: "keda.sh", Resource: "scaledobjects"}, "")
	}})
	for range 5 {
		if _, err := lw.ListWithContextFunc(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	if asked != 1 || !k.unknown() {
		t.Errorf("asked %d times", asked)
	}
	known++
	_, _ = lw.ListWithContextFunc(t.Context(), metav1.ListOptions{})
	if asked != 2 {
		t.Errorf("asked %d times, though the server may know it by now", asked)
	}
}
