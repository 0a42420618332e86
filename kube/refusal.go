package kube

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// How long to leave the API server alone after a refusal. A budget changes with its pods' readiness, so it is asked again soon; what people
// or other controllers hold changes seldom.
const (
	budgetWait = 2 * time.Second
	busyWait   = 5 * time.Second
	ownerWait  = 10 * time.Second
	brokenWait = 30 * time.Second // two budgets over one pod: somebody has to edit one
)

// twoBudgets is how the API server begins its answer to the eviction of a pod that several budgets cover: a 500 without any reason.
const twoBudgets = "This pod has more than one PodDisruptionBudget"

// classify tells what no retry will mend (fleet.Fatal: no credentials, no right) and what somebody holds for now (fleet.Refused, naming
// them) from the rest. Who says no matters, not the code: an admission webhook may answer with any, 401 and 403 included.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if holder, says := heldBy(err); holder != "" {
		return &fleet.Refused{Reason: fmt.Sprintf("held by its owner: %s says: %s", holder, says), Wait: ownerWait, Held: true}
	}
	switch {
	case apierrors.IsUnauthorized(err):
		return &fleet.Fatal{Err: fmt.Errorf("%w; log in again", err)}
	case lacksRight(err):
		return &fleet.Fatal{Err: fmt.Errorf("%w; grant drover that right", err)}
	case apierrors.IsForbidden(err):
		return &fleet.Refused{Reason: "the API server forbids it for now: " + causes(err), Wait: ownerWait, Held: true}
	case strings.Contains(message(err), twoBudgets):
		return &fleet.Refused{Reason: "the API server refuses: more than one PodDisruptionBudget covers the pod; leave one of them", Wait: brokenWait, Held: true}
	case strings.Contains(message(err), "failed calling webhook"):
		return &fleet.Refused{Reason: "an admission webhook that has to be asked does not answer: " + message(err), Wait: ownerWait, Held: true}
	case apierrors.IsTooManyRequests(err):
		return tooMany(err)
	}
	return err
}

// tooMany tells a budget's refusal from the API server's own: both are 429.
func tooMany(err error) error {
	seconds, _ := apierrors.SuggestsClientDelay(err)
	wait := time.Duration(seconds) * time.Second
	switch {
	case !apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause):
		return &fleet.Refused{Reason: "the API server is busy: " + message(err), Wait: max(wait, busyWait)}
	case strings.Contains(causes(err), "still being processed"):
		return &fleet.Refused{Reason: "the budget is being counted anew: " + causes(err), Wait: max(wait, ownerWait)}
	}
	return &fleet.Refused{Reason: "the budget does not allow it now: " + causes(err), Wait: max(wait, budgetWait)}
}

// lacksRight recognises the authorizer's refusal. Admission answers 403 as well; only the authorizer says that a user cannot do something.
func lacksRight(err error) bool {
	m := message(err)
	return apierrors.IsForbidden(err) && strings.Contains(m, ` forbidden: User "`) && strings.Contains(m, `" cannot `)
}

// ofStore makes a right that is missing where a store is a refusal: it is granted there, by StoreRights, and stores elsewhere go on without it.
func ofStore(err error, namespace string) error {
	if !lacksRight(err) {
		return err
	}
	return &fleet.Refused{Reason: fmt.Sprintf("%v in namespace %s (docs/stores.md has a Role to copy)", err, namespace), Wait: brokenWait, Held: true, Denied: true}
}

// denial is how the API server tells of an admission webhook or a ValidatingAdmissionPolicy that said no.
var denial = regexp.MustCompile(`(?s)(admission webhook|ValidatingAdmissionPolicy) ["']([^"']+)["'](?: with binding '[^']+')? denied (?:the )?request:? ?(.*)`)

// heldBy names who in admission denied the request, and their words; "" when nobody did.
func heldBy(err error) (holder, says string) {
	m := denial.FindStringSubmatch(message(err))
	if m == nil {
		return "", ""
	}
	return m[1] + " " + m[2], m[3]
}

// message is the API server's own text, "" when err is not its answer.
func message(err error) string { return statusOf(err).Message }

// causes are the details of the API server's answer, else all of it.
func causes(err error) string {
	var out []string
	if d := statusOf(err).Details; d != nil {
		for _, cause := range d.Causes {
			out = append(out, cause.Message)
		}
	}
	if len(out) == 0 {
		return err.Error()
	}
	return strings.Join(out, "; ")
}

func statusOf(err error) metav1.Status {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return metav1.Status{}
	}
	return status.Status()
}
