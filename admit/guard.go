// Package admit is the eviction guard: an admission webhook on pods/eviction, by which those who evict pods without knowing what they hold (kubectl
// drain, Karpenter, cluster-autoscaler, a node group's own roll) go through drover's movers.
//
// An eviction of a pod that a mover has to move first is noted on the pod and answered with 429 and the reason, as a disruption budget would; whoever
// drains tries again. Decide says what becomes of one, Guard answers the API server, Keeper has the certificate that it answers with.
//
// It refuses to hold anybody for ever, unless it is told to: after a bound evictions go through, and so they do when the guard itself is in trouble. It
// knows of no Kubernetes client; what it has to know and to note is done by functions of whoever composes it.
package admit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	admissionv1 "k8s.io/api/admission/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// mostBody bounds a request: an Eviction is small, and so is what admission says of it.
const mostBody = 1 << 20

// answerWithin is less than the five seconds that the API server is told to wait: who is late answers nothing.
const answerWithin = 4 * time.Second

// Guard answers admission reviews of evictions.
type Guard struct {
	// Pod says what is known of the pod that an eviction names; nil when there is none. It is asked at every review, and reads live what is Doubtful.
	Pod func(ctx context.Context, e Eviction) (*Pod, error)

	// Ask notes on exactly this pod that it is to leave, so that its mover begins. What was noted there before is of no use.
	Ask func(ctx context.Context, pod fleet.PodRef, by string, at time.Time) error

	// Exempt are namespaces whose evictions are none of the guard's business, whatever the webhook's selector says.
	Exempt []string

	// RetryAfter is told to whoever is held; zero to tell nothing. It is no mere hint: client-go waits that long and asks again by itself, ten times,
	// before its caller hears the reason. With 5 s, kubectl drain is silent for 50 s, past its own --timeout.
	RetryAfter time.Duration

	Now  func() time.Time
	Tell func(e Eviction, d Decision) // every decision; nil to tell nobody
}

// ServeHTTP answers one AdmissionReview of admission.k8s.io/v1.
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, e, code, err := read(w, r)
	if err != nil {
		http.Error(w, err.Error(), code)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	d := g.decide(ctx, e)
	if g.Tell != nil {
		g.Tell(e, d)
	}
	answer := admissionv1.AdmissionReview{TypeMeta: reviewType, Response: g.response(d)}
	answer.Response.UID = request.UID
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // whoever asked has gone, and goes by the failure policy
}

// decide looks the pod up, decides, and notes what is asked for. Whatever goes wrong lets the eviction through, as no guard at all would.
func (g *Guard) decide(ctx context.Context, e Eviction) Decision {
	if slices.Contains(g.Exempt, e.Namespace) {
		return Decision{Verdict: Passed}
	}
	var p *Pod
	if e.Run == "" {
		var err error
		if p, err = g.Pod(ctx, e); err != nil {
			return failed("look up the pod", err)
		}
	}
	d := Decide(e, p, g.Now())
	if d.Ask {
		if err := g.Ask(ctx, fleet.PodRef{Namespace: e.Namespace, Name: e.Name, UID: p.UID}, e.By, d.At); err != nil {
			return failed("note on the pod that it is to leave", err)
		}
	}
	return d
}

func failed(doing string, err error) Decision {
	return Decision{Verdict: Failed, Says: fmt.Sprintf("drover's guard lets this eviction through, because it could not %s: %v", doing, err)}
}

func (g *Guard) response(d Decision) *admissionv1.AdmissionResponse {
	if d.Verdict == Moved { // as the API server answers for a pod that is gone: whoever drains takes it for that
		return &admissionv1.AdmissionResponse{Result: &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: d.Says}}
	}
	if d.Verdict != Held {
		out := &admissionv1.AdmissionResponse{Allowed: true}
		if d.Says != "" {
			out.Warnings = []string{d.Says}
		}
		return out
	}
	status := &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusTooManyRequests, Reason: metav1.StatusReasonTooManyRequests, Message: d.Says}
	if g.RetryAfter > 0 {
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: int32(max(1, g.RetryAfter/time.Second))}
	}
	return &admissionv1.AdmissionResponse{Result: status}
}

var reviewType = metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"}

// read takes a request in. One that is no review of an eviction is an error, with the code to answer.
func read(w http.ResponseWriter, r *http.Request) (*admissionv1.AdmissionRequest, Eviction, int, error) {
	var none Eviction
	if r.Method != http.MethodPost {
		return nil, none, http.StatusMethodNotAllowed, fmt.Errorf("method %s: want POST of an AdmissionReview", r.Method)
	}
	var review admissionv1.AdmissionReview
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody)).Decode(&review)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, none, http.StatusRequestEntityTooLarge, fmt.Errorf("body: more than %d bytes", large.Limit)
	case err != nil:
		return nil, none, http.StatusBadRequest, fmt.Errorf("body: no AdmissionReview: %w", err)
	case review.TypeMeta != reviewType:
		return nil, none, http.StatusBadRequest, fmt.Errorf("body: %q of %q, want AdmissionReview of %s", review.Kind, review.APIVersion, reviewType.APIVersion)
	case review.Request == nil || review.Request.UID == "":
		return nil, none, http.StatusBadRequest, errors.New("AdmissionReview: no request, or one without uid")
	}
	e, err := evictionOf(review.Request)
	if err != nil {
		return nil, none, http.StatusBadRequest, fmt.Errorf("AdmissionReview %s: %w", review.Request.UID, err)
	}
	return review.Request, e, 0, nil
}

// evictionOf reads the eviction that is asked for. Its two versions are alike. Besides the request itself, the object may say that it is a dry run.
func evictionOf(r *admissionv1.AdmissionRequest) (Eviction, error) {
	if r.Resource.Group != "" || r.Resource.Resource != "pods" || r.SubResource != "eviction" || r.Operation != admissionv1.Create {
		return Eviction{}, fmt.Errorf("%s of %s/%s: the webhook is for CREATE of pods/eviction alone", r.Operation, r.Resource.Resource, r.SubResource)
	}
	var o policyv1.Eviction
	if err := json.Unmarshal(r.Object.Raw, &o); err != nil {
		return Eviction{}, fmt.Errorf("object: no Eviction: %w", err)
	}
	e := Eviction{Namespace: r.Namespace, Name: r.Name, Run: o.Annotations[RunKey], DryRun: r.DryRun != nil && *r.DryRun, By: who(r.UserInfo.Username)}
	if e.Name == "" {
		e.Name = o.Name
	}
	if e.Namespace == "" || e.Name == "" {
		return Eviction{}, fmt.Errorf("pod %q in namespace %q: both have to be named", e.Name, e.Namespace)
	}
	if how := o.DeleteOptions; how != nil {
		e.DryRun = e.DryRun || len(how.DryRun) > 0
		if how.Preconditions != nil && how.Preconditions.UID != nil {
			e.UID = string(*how.Preconditions.UID)
		}
	}
	return e, nil
}

// evictors tell by a part of the user's name who usually evicts under it. Admission is not told which program asks.
var evictors = []struct{ part, name string }{
	{"karpenter", "Karpenter"},
	{"cluster-autoscaler", "cluster-autoscaler"},
	{"descheduler", "descheduler"},
	{"eks:", "EKS"},
}

// mostName bounds what is written of a user's name: it ends in an annotation.
const mostName = 128

// who names the user for people.
func who(user string) string {
	user = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, user)
	if runes := []rune(user); len(runes) > mostName {
		user = string(runes[:mostName]) + "..."
	}
	for _, e := range evictors {
		if strings.Contains(user, e.part) {
			return e.name + " (" + user + ")"
		}
	}
	switch {
	case user == "":
		return "somebody"
	case strings.HasPrefix(user, "system:"):
		return user
	}
	return user + " (kubectl or the like)"
}
