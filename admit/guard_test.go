package admit

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"drover.dev/fleet"
)

// house is a guard with one pod to look after, shop/orders-0.
type house struct {
	*Guard
	pod     *Pod
	asked   []fleet.Asked
	refs    []fleet.PodRef
	told    []Verdict
	lookups int
}

func newHouse() *house {
	h := &house{pod: &Pod{UID: "u-1", Mover: "sentinel", Store: "shop/orders", Bound: Bound{10 * time.Minute, Allow}}}
	h.Guard = &Guard{
		Pod: func(_ context.Context, e Eviction) (*Pod, error) {
			h.lookups++
			if e.Namespace+"/"+e.Name != "shop/orders-0" && e.Namespace != "kube-system" {
				return nil, nil
			}
			return h.pod, nil
		},
		Ask: func(_ context.Context, pod fleet.PodRef, by string, at time.Time) error {
			h.refs, h.asked = append(h.refs, pod), append(h.asked, fleet.Asked{At: at, By: by})
			return nil
		},
		Exempt: []string{"kube-system"}, RetryAfter: 5 * time.Second,
		Now: func() time.Time { return noon }, Tell: func(_ Eviction, d Decision) { h.told = append(h.told, d.Verdict) },
	}
	return h
}

const review = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"review-1","operation":"CREATE","namespace":"shop","name":"orders-0",
 "resource":{"group":"","version":"v1","resource":"pods"},"subResource":"eviction","userInfo":{"username":"alice"},"dryRun":false,
 "object":{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"orders-0","namespace":"shop"},"deleteOptions":{}}}}`

func (h *house) post(body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body)))
	return w
}

func (h *house) answer(t *testing.T, body string) *admissionv1.AdmissionResponse {
	t.Helper()
	w := h.post(body)
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s (%v)", w.Code, w.Body, err)
	}
	if out.APIVersion != "admission.k8s.io/v1" || out.Kind != "AdmissionReview" || out.Response == nil || out.Response.UID != "review-1" || out.Request != nil {
		t.Fatalf("answer %s", w.Body)
	}
	return out.Response
}

func with(old, now string) string {
	if !strings.Contains(review, old) {
		panic("the review has no " + old)
	}
	return strings.Replace(review, old, now, 1)
}

func TestEvictionIsHeld(t *testing.T) {
	h := newHouse()
	r := h.answer(t, review)
	if r.Allowed || r.Result == nil || r.Result.Code != 429 || r.Result.Reason != "TooManyRequests" || r.Result.Status != "Failure" || r.Result.Details.RetryAfterSeconds != 5 {
		t.Errorf("%+v", r)
	}
	if !strings.HasPrefix(r.Result.Message, "drover moves this pod: sentinel, store shop/orders: ") || len(r.Warnings) > 0 {
		t.Errorf("%q %v", r.Result.Message, r.Warnings)
	}
	if len(h.asked) != 1 || h.asked[0] != (fleet.Asked{At: noon, By: "alice (kubectl or the like)"}) || h.refs[0] != (fleet.PodRef{Namespace: "shop", Name: "orders-0", UID: "u-1"}) {
		t.Errorf("asked %v of %v", h.asked, h.refs)
	}
	h.pod.Asked = &h.asked[0]
	h.RetryAfter = 0
	if r := h.answer(t, review); r.Allowed || r.Result.Details != nil || len(h.asked) != 1 {
		t.Errorf("again: %+v, asked %d times", r.Result, len(h.asked))
	}
}

func TestAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		spoil      func(*house)
		verdict    Verdict
		asked      int
		warns      string
	}{
		{"drover's own", with(`"namespace":"shop"}`, `"namespace":"shop","annotations":{"drover.dev/run":"r-1"}}`), nil, Own, 0, ""},
		{"an empty run", with(`"namespace":"shop"}`, `"namespace":"shop","annotations":{"drover.dev/run":""}}`), nil, Held, 1, ""},
		{"a dry run of the request", with(`"dryRun":false`, `"dryRun":true`), nil, Held, 0, ""},
		{"a dry run of the object", with(`"deleteOptions":{}`, `"deleteOptions":{"dryRun":["All"]}`), nil, Held, 0, ""},
		{"a probe", strings.Replace(with(`"namespace":"shop"}`, `"namespace":"shop","annotations":{"drover.dev/run":"probe"}}`), `"dryRun":false`, `"dryRun":true`, 1), nil, Own, 0, Here},
		{"the old version", with(`policy/v1`, `policy/v1beta1`), nil, Held, 1, ""},
		{"this pod", with(`"deleteOptions":{}`, `"deleteOptions":{"preconditions":{"uid":"u-1"}}`), nil, Held, 1, ""},
		{"another pod", with(`"deleteOptions":{}`, `"deleteOptions":{"preconditions":{"uid":"u-0"}}`), func(h *house) { h.pod.Live = true }, Passed, 0, ""},
		{"another pod, as far as was seen", with(`"deleteOptions":{}`, `"deleteOptions":{"preconditions":{"uid":"u-0"}}`), nil, Failed, 0, "could not tell what pod shop/orders-0 with UID u-0 is"},
		{"no options", with(`,"deleteOptions":{}`, ``), nil, Held, 1, ""},
		{"no such pod", with(`"name":"orders-0",`, `"name":"orders-7",`), nil, Passed, 0, ""},
		{"named by the object alone", with(`"name":"orders-0",`, ``), nil, Held, 1, ""},
		{"an exempt namespace", with(`"namespace":"shop"`, `"namespace":"kube-system"`), nil, Passed, 0, ""},
		{"after the bound", review, func(h *house) { h.pod.Asked = &fleet.Asked{At: noon.Add(-time.Hour), By: "bob"} }, TimedOut, 0, "drover lets this pod be evicted"},
		{"the pod cannot be looked up", review, func(h *house) {
			h.Pod = func(context.Context, Eviction) (*Pod, error) { return nil, errors.New("pods: not seen for 1m") }
		}, Failed, 0, "could not look up the pod: pods: not seen for 1m"},
		{"the intent cannot be noted", review, func(h *house) {
			h.Ask = func(context.Context, fleet.PodRef, string, time.Time) error { return errors.New("forbidden") }
		}, Failed, 0, "could not note on the pod that it is to leave: forbidden"},
	} {
		h := newHouse()
		if tc.spoil != nil {
			tc.spoil(h)
		}
		r := h.answer(t, tc.body)
		if r.Allowed == (tc.verdict == Held) || len(h.told) != 1 || h.told[0] != tc.verdict || len(h.asked) != tc.asked {
			t.Errorf("%s: allowed %v, told %v, asked %v", tc.name, r.Allowed, h.told, h.asked)
		}
		if (tc.warns == "") != (len(r.Warnings) == 0) || !strings.Contains(strings.Join(r.Warnings, "\n"), tc.warns) {
			t.Errorf("%s: warns %q", tc.name, r.Warnings)
		}
	}
}

// Whoever asks for something else is told what is wrong, and nothing is done.
func TestWhatIsNoReview(t *testing.T) {
	for _, tc := range []struct {
		name, method, body string
		code               int
		says               string
	}{
		{"GET", http.MethodGet, "", 405, "want POST"},
		{"nothing", http.MethodPost, "", 400, "no AdmissionReview: EOF"},
		{"no JSON", http.MethodPost, "evict it", 400, "no AdmissionReview"},
		{"too much", http.MethodPost, `{"kind":"` + strings.Repeat("x", mostBody) + `"}`, 413, "more than 1048576 bytes"},
		{"another kind", http.MethodPost, `{"apiVersion":"v1","kind":"Pod"}`, 400, `"Pod" of "v1", want AdmissionReview of admission.k8s.io/v1`},
		{"another version", http.MethodPost, with("admission.k8s.io/v1", "admission.k8s.io/v1beta1"), 400, `of "admission.k8s.io/v1beta1"`},
		{"no request", http.MethodPost, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, 400, "no request"},
		{"no uid", http.MethodPost, with(`"uid":"review-1",`, ``), 400, "without uid"},
		{"another resource", http.MethodPost, with(`"resource":"pods"`, `"resource":"nodes"`), 400, "for CREATE of pods/eviction alone"},
		{"no subresource", http.MethodPost, with(`"subResource":"eviction",`, ``), 400, "AdmissionReview review-1: CREATE of pods/: "},
		{"another operation", http.MethodPost, with(`CREATE`, `DELETE`), 400, "DELETE of pods/eviction"},
		{"no object", http.MethodPost, with(`"object":`, `"was":`), 400, "object: no Eviction"},
		{"an object that is none", http.MethodPost, with(`"deleteOptions":{}`, `"deleteOptions":7`), 400, "object: no Eviction"},
		{"no namespace", http.MethodPost, with(`"namespace":"shop",`, ``), 400, `pod "orders-0" in namespace "": both have to be named`},
	} {
		h := newHouse()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tc.method, Path, strings.NewReader(tc.body)))
		if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.says) || strings.Count(w.Body.String(), "\n") != 1 || h.lookups+len(h.asked)+len(h.told) > 0 {
			t.Errorf("%s: %d %s", tc.name, w.Code, w.Body)
		}
	}
}

func TestWhoAsks(t *testing.T) {
	for user, want := range map[string]string{
		"alice": "alice (kubectl or the like)",
		"system:serviceaccount:kube-system:karpenter":                  "Karpenter (system:serviceaccount:kube-system:karpenter)",
		"system:serviceaccount:kube-system:aws-cluster-autoscaler-abc": "cluster-autoscaler (system:serviceaccount:kube-system:aws-cluster-autoscaler-abc)",
		"eks:node-manager":                        "EKS (eks:node-manager)",
		"system:serviceaccount:tools:descheduler": "descheduler (system:serviceaccount:tools:descheduler)",
		"system:serviceaccount:tools:roller":      "system:serviceaccount:tools:roller",
		"":                                        "somebody",
		"a\nb\x00":                                "a?b? (kubectl or the like)",
		strings.Repeat("ä", 200):                  strings.Repeat("ä", 128) + "... (kubectl or the like)",
	} {
		if got := who(user); got != want {
			t.Errorf("%q: %q, want %q", user, got, want)
		}
	}
}
