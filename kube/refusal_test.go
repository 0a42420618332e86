package kube

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"drover.dev/fleet"
)

// What kube_test.go cannot make a real API server say in good time.
func TestClassify(t *testing.T) {
	budget := func(message string, seconds int) error {
		err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", seconds)
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: message}}
		return err
	}
	pods := schema.GroupResource{Resource: "pods"}
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"nothing", nil, nil},
		{"a budget", budget("The disruption budget web needs 2 healthy pods and has 2 currently", 0),
			&fleet.Refused{Reason: "the budget does not allow it now: The disruption budget web needs 2 healthy pods and has 2 currently", Wait: budgetWait}},
		{"a budget not counted yet", budget("The disruption budget web is still being processed by the server.", 10),
			&fleet.Refused{Reason: "the budget is being counted anew: The disruption budget web is still being processed by the server.", Wait: 10 * time.Second}},
		{"priority and fairness", apierrors.NewTooManyRequests("the server has received too many requests and has asked us to try again later", 1),
			&fleet.Refused{Reason: "the API server is busy: the server has received too many requests and has asked us to try again later", Wait: busyWait}},
		{"pending disruptions", apierrors.NewForbidden(schema.GroupResource{Group: "policy", Resource: "poddisruptionbudget"}, "web", errors.New("DisruptedPods map too big - too many evictions not confirmed by PDB controller")),
			&fleet.Refused{Reason: `the API server forbids it for now: poddisruptionbudget.policy "web" is forbidden: DisruptedPods map too big - too many evictions not confirmed by PDB controller`, Wait: ownerWait, Held: true}},
		{"a webhook without words", &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 400, Message: `admission webhook "a.b.c" denied the request without explanation`}},
			&fleet.Refused{Reason: "held by its owner: admission webhook a.b.c says: without explanation", Wait: ownerWait, Held: true}},
		{"another 500", apierrors.NewInternalError(errors.New("etcd has no leader")), apierrors.NewInternalError(errors.New("etcd has no leader"))},
		{"a broken connection", context.DeadlineExceeded, context.DeadlineExceeded},
	} {
		if got := classify(c.err); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %T %v, want %T %v", c.what, got, got, c.want, c.want)
		}
	}
	for _, err := range []error{
		apierrors.NewUnauthorized("Unauthorized"),
		apierrors.NewForbidden(pods, "web-0", errors.New(`User "drover" cannot create resource "pods/eviction" in API group "" in the namespace "shop"`)),
	} {
		var fatal *fleet.Fatal
		if got := classify(fmt.Errorf("list pods: %w", err)); !errors.As(got, &fatal) || !errors.Is(got, err) {
			t.Errorf("got %T %v, want it to be fatal", got, got)
		}
	}
}
