package controller_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"

	"drover.dev/depart"
	"drover.dev/fleet"
	"drover.dev/kube"
)

// What drover imds does with the API server is what its role allows, and all of that: a case is opened, heard of again, taken back, and opened again
// after the controller ended it.
func TestMetadataRightsAreExact(t *testing.T) {
	api := &departures{objects: map[string]map[string]any{}, used: map[string]bool{}}
	server := httptest.NewServer(api)
	defer server.Close()
	cluster, err := kube.Dial(t.Context(), &rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	const id = "i-0123456789abcdef0"
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	hear := func(n fleet.Notice) {
		t.Helper()
		n.Instance, n.Source = id, fleet.FromMetadata
		here := fleet.Snapshot{Now: at, Nodes: []fleet.Node{{Name: "n-1", Instance: id}}}
		err := cluster.File(t.Context(), id, func(have fleet.Case) (fleet.Case, bool) { return depart.Hear(&here, have, n, fleet.UsualPolicy) })
		if err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Minute)
	}
	spot := fleet.Notice{Kind: fleet.SpotInterruption, ID: "spot", Effect: "terminate", At: at, Deadline: at.Add(2 * time.Minute), Why: "EC2 takes the spot instance back"}
	hear(spot)
	hear(spot)
	hear(fleet.Notice{Kind: fleet.Rebalance, ID: "rebalance", At: at, Why: "EC2 may take it back soon"})
	spot.Over = true
	hear(spot)
	api.as(func() { // the controller's doing
		err = cluster.File(context.Background(), id, func(have fleet.Case) (fleet.Case, bool) {
			have.Marks.Ended, have.Marks.End = at, "back in service"
			return have, true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	at = at.Add(time.Minute)
	spot.Over, spot.At, spot.Deadline = false, at, at.Add(2*time.Minute)
	hear(spot)
	var last fleet.Case
	err = cluster.File(t.Context(), id, func(have fleet.Case) (fleet.Case, bool) { last = have; return have, false })
	if err != nil || !last.Open() || last.Holds(fleet.SpotInterruption) == nil || last.Node != "n-1" {
		t.Errorf("on file: %+v (%v)", last, err)
	}
	granted := map[string]bool{}
	for _, r := range one[rbacv1.ClusterRole](t, "imds").Rules {
		for _, verb := range r.Verbs {
			for _, resource := range r.Resources {
				granted[fmt.Sprint(verb, " ", resource, ".", r.APIGroups[0])] = true
			}
		}
	}
	for right := range granted {
		if !api.used[right] {
			t.Errorf("granted and not used: %s", right)
		}
	}
	for right := range api.used {
		if !granted[right] {
			t.Errorf("used and not granted: %s", right)
		}
	}
}

// departures is an API server of one kind. It writes down which rights would have been needed.
type departures struct {
	mu      sync.Mutex
	silent  bool
	version int
	objects map[string]map[string]any
	used    map[string]bool
}

// as does something that somebody with other rights does.
func (d *departures) as(do func()) {
	set := func(silent bool) { d.mu.Lock(); d.silent = silent; d.mu.Unlock() }
	set(true)
	do()
	set(false)
}

func (d *departures) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/api/v1" { // who may log in may ask this
		fmt.Fprintln(w, `{"kind":"APIResourceList"}`)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	rest, ok := strings.CutPrefix(r.URL.Path, "/apis/drover.dev/v1alpha1/departures")
	verb := map[string]string{http.MethodGet: "get", http.MethodPost: "create", http.MethodPatch: "patch"}[r.Method]
	if !ok || verb == "" {
		http.Error(w, "no such thing here", http.StatusNotImplemented)
		return
	}
	name, sub, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	if resource := "departures"; !d.silent {
		if sub != "" {
			resource += "/" + sub
		}
		d.used[verb+" "+resource+".drover.dev"] = true
	}
	var body map[string]any
	if verb != "get" {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	d.answer(w, verb, name, sub, body)
}

func (d *departures) answer(w http.ResponseWriter, verb, name, sub string, body map[string]any) {
	switch have := d.objects[name]; {
	case verb == "create":
		name = body["metadata"].(map[string]any)["name"].(string)
		d.objects[name] = body
	case have == nil:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		return
	case verb == "patch":
		if sub == "" {
			delete(body, "status") // as the API server does where the status is a subresource
		}
		d.objects[name] = merged(have, body)
	}
	if verb != "get" {
		d.version++
		d.objects[name]["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(d.version)
	}
	if err := json.NewEncoder(w).Encode(d.objects[name]); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// merged is a JSON merge patch (RFC 7386).
func merged(into, patch map[string]any) map[string]any {
	if into == nil {
		into = map[string]any{}
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(into, k)
		case map[string]any:
			was, _ := into[k].(map[string]any)
			into[k] = merged(was, v)
		default:
			into[k] = v
		}
	}
	return into
}
