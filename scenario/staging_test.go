package scenario

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"drover.dev/api/v1alpha1"
	"drover.dev/sandbox"
	"drover.dev/sandbox/cloud"
)

// Staging is switched off and on beside production, on shared nodes and on its own, with real databases: every promise is checked by others than drover.
func TestStagingDemo(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), program(), "sandbox", "demo", "staging").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.Count(string(out), "\n  ok "); got != 10 {
		t.Errorf("%d of 10 promises\n%s", got, out)
	}
	t.Logf("%s", out[strings.Index(string(out), "\nReport"):])
}

// The same world shows what a script does: AWS chooses, by its rules, a node of production's.
func TestNaiveStagingDemoTakesProduction(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), program(), "sandbox", "demo", "staging", "--naive").CombinedOutput()
	if err == nil {
		t.Errorf("exit code 0")
	}
	for _, damage := range []string{"in it the oldest. It carried production/api-", "BROKEN  staging's own nodes that run on", "BROKEN  production: 2 of 4 pods had to go", "BROKEN  staging has 0 deployments"} {
		if !strings.Contains(string(out), damage) {
			t.Errorf("does not say %q\n%s", damage, out)
		}
	}
	if !strings.Contains(string(out), "requests sent, ") || strings.Contains(string(out), " sent, 0 failed") {
		t.Errorf("no request was lost:\n%s", out)
	}
}

// tenants is a world of its own, with production and staging in it.
type tenants struct {
	*story
	archive string
	dynamic dynamic.Interface
}

func withTenants(t *testing.T) *tenants {
	t.Helper()
	program()
	dir, err := os.MkdirTemp("", "drover-tenants-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	timing := fast
	timing.Databases = cloud.DatabaseTiming{Create: time.Second, Stop: 2 * time.Second, Start: 2 * time.Second}
	w, err := sandbox.Start(t.Context(), sandbox.Options{Dir: dir, Progress: os.Stderr, Timing: timing, Machines: sandbox.Light, Program: home})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	s := &tenants{story: &story{t, w, t.Context()}, archive: filepath.Join(dir, "records")}
	s.want(s.drover("install", "--yes"), 0)
	s.ok(w.StageTenants(s.ctx))
	s.dynamic, err = dynamic.NewForConfig(w.Plane.Config())
	s.ok(err)
	file := filepath.Join(dir, "staging.yaml")
	s.ok(os.WriteFile(file, fmt.Appendf(nil, tenantEnvironment, s.archive), 0o644))
	s.want(s.drover("env", "apply", "-f", file), 0)
	return s
}

const tenantEnvironment = `apiVersion: drover.dev/v1alpha1
kind: Environment
metadata: {name: staging}
spec:
  workloads:
  - namespaces: [staging]
  order:
  - {name: api, workloads: [{kind: Deployment, name: api}]}
  - {name: web, workloads: [{kind: Deployment, name: web}], needs: [api]}
  groups: [workers]
  databases:
  - instance: staging
    secret: {namespace: staging, name: database}
  archive: file://%s
`

// Killed at many moments of a stop and of the start after it, and once half way into a stop that is taken back: the next one goes on, how everything was is
// never lost, and the end is the same. Production's pods stay where they are.
func TestEnvironmentKilledAtManyMoments(t *testing.T) {
	s := withTenants(t)
	s.ask(http.MethodPost, "a row of before")
	before, production := s.settings(), s.podsOf(sandbox.Production)

	kills := s.killing(before, "env", "stop", "staging", "--yes")
	if kills < 5 {
		t.Errorf("the stop was killed at %d moments, want at least 5", kills)
	}
	s.asleep()
	more := s.killing(before, "env", "start", "staging", "--yes")
	if more < 4 {
		t.Errorf("the start was killed at %d moments, want at least 4", more)
	}
	s.awake(before)

	cmd, lines := s.start("env", "stop", "staging", "--yes")
	if !s.killAfter(cmd, lines, 8) {
		t.Error("the stop ended before it could be taken back half way")
	}
	s.dropLease()
	s.onFile(before)
	s.want(s.drover("env", "start", "staging", "--yes", "--timeout", "2m"), 0)
	s.awake(before)
	if now := s.podsOf(sandbox.Production); !maps.Equal(now, production) {
		t.Errorf("production's pods were %v, are %v", production, now)
	}
	t.Logf("killed at %d moments of the stop, and %d of the start", kills, more)
}

// killing runs drover again and again, each time a little further before it is killed, until one comes to its end.
func (s *tenants) killing(before map[string]string, args ...string) int {
	s.Helper()
	for kills := 0; kills < 60; kills++ {
		cmd, lines := s.start(args...)
		if !s.killAfter(cmd, lines, 1+kills%3) {
			s.want(s.drover(args...), 0) // it has nothing left to do, and says so
			return kills
		}
		s.dropLease()
		s.onFile(before)
	}
	s.Fatalf("drover %v does not come to an end", args)
	return 0
}

// killAfter kills the program after so many actions, and logs what it said; false when it came to its end before.
func (s *tenants) killAfter(cmd *exec.Cmd, lines *bufio.Scanner, actions int) bool {
	s.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), "  done ") || strings.Contains(lines.Text(), "drover: ") {
			s.Log(lines.Text())
		}
		if !strings.Contains(lines.Text(), "  done ") {
			continue
		}
		if actions--; actions == 0 {
			s.ok(cmd.Process.Kill())
			for lines.Scan() { // until it is gone
			}
			return true
		}
	}
	return false
}

// settings are what a stop changes, and what it may not: a line for each thing, by its name. Marks are among them.
func (s *tenants) settings() map[string]string {
	s.Helper()
	out := map[string]string{}
	for _, namespace := range []string{sandbox.Staging, sandbox.Production} {
		deployments, err := s.Client().AppsV1().Deployments(namespace).List(s.ctx, metav1.ListOptions{})
		s.ok(err)
		for _, d := range deployments.Items {
			out["deployment "+namespace+"/"+d.Name] = fmt.Sprintf("%d %v", *d.Spec.Replicas, d.Annotations)
		}
		jobs, err := s.Client().BatchV1().CronJobs(namespace).List(s.ctx, metav1.ListOptions{})
		s.ok(err)
		for _, j := range jobs.Items {
			out["cronjob "+namespace+"/"+j.Name] = fmt.Sprintf("%t %v", *j.Spec.Suspend, j.Annotations)
		}
		found, err := s.Cloud.DescribeDBInstances(namespace, nil)
		s.ok(err)
		out["database "+namespace] = fmt.Sprintf("%s %v", found[0].Status, found[0].Tags)
	}
	groups, err := s.Cloud.DescribeAutoScalingGroups(nil, nil)
	s.ok(err)
	for _, g := range groups {
		protected := 0
		for _, m := range g.Members {
			if m.Protected {
				protected++
			}
		}
		out["group "+g.Name] = fmt.Sprintf("min %d max %d desired %d, %d members, %d protected, suspended %v, tags %v", g.Min, g.Max, g.Desired, len(g.Members), protected, g.Suspended, g.Tags)
	}
	return out
}

// record is what the Environment has on file of how everything was; nil when it has nothing.
func (s *tenants) record() map[string]any {
	s.Helper()
	e, err := s.dynamic.Resource(v1alpha1.Environments).Get(s.ctx, sandbox.Staging, metav1.GetOptions{})
	s.ok(err)
	status, _ := e.Object["status"].(map[string]any)
	record, _ := status["record"].(map[string]any)
	return record
}

// onFile fails when something is not as it was at first, and no record says how it was.
func (s *tenants) onFile(before map[string]string) {
	s.Helper()
	record := s.record()
	if record == nil {
		for name, now := range s.settings() {
			if now != before[name] {
				s.Fatalf("nothing is on file, and %s was %s, is %s", name, before[name], now)
			}
		}
		return
	}
	text, err := json.Marshal(record["original"])
	s.ok(err)
	for _, want := range []string{`"nightly"`, `"api"`, `"web"`, `"workers"`, `"instance staging"`} {
		if !strings.Contains(string(text), want) {
			s.Fatalf("the record has lost %s: %s", want, text)
		}
	}
}

// asleep checks that all of it is off.
func (s *tenants) asleep() {
	s.Helper()
	now := s.settings()
	for name, want := range map[string]string{"deployment staging/web": "0 ", "deployment staging/api": "0 ", "cronjob staging/nightly": "true ", "database staging": "stopped ", "database production": "available "} {
		if !strings.HasPrefix(now[name], want) {
			s.Errorf("%s is %s, want %s", name, now[name], want)
		}
	}
	if n := len(s.nodes("workers")); n != 2 {
		s.Errorf("%d nodes, want production's two", n)
	}
	if files, err := filepath.Glob(filepath.Join(s.archive, "staging", "*.yaml")); err != nil || len(files) == 0 {
		s.Errorf("no record outside of the cluster: %v", err)
	}
}

// awake checks that everything is as it was, that nothing is on file any more, and that the application has its data.
func (s *tenants) awake(before map[string]string) {
	s.Helper()
	s.until("everything is as it was", func() string {
		now := s.settings()
		for name, was := range before {
			if now[name] != was {
				return fmt.Sprintf("%s was %s, is %s", name, was, now[name])
			}
		}
		return ""
	})
	if r := s.record(); r != nil {
		s.Errorf("still on file: %v", r)
	}
	if got := s.ask(http.MethodGet, ""); !strings.Contains(got, "a row of before") {
		s.Errorf("staging has forgotten: %q", got)
	}
}

// podsOf are an environment's pods, by id, with their nodes.
func (s *tenants) podsOf(namespace string) map[string]string {
	s.Helper()
	list, err := s.Client().CoreV1().Pods(namespace).List(s.ctx, metav1.ListOptions{})
	s.ok(err)
	out := map[string]string{}
	for _, p := range list.Items {
		out[string(p.UID)] = p.Spec.NodeName
	}
	return out
}

// ask asks staging's application for its notes, or gives it one.
func (s *tenants) ask(method, body string) string {
	s.Helper()
	front := s.Front(sandbox.Staging)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return front.Dial(ctx) },
	}}
	r, err := http.NewRequestWithContext(s.ctx, method, "http://staging/notes", strings.NewReader(body))
	s.ok(err)
	answer, err := client.Do(r)
	s.ok(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	s.ok(err)
	if answer.StatusCode != http.StatusOK {
		s.Fatalf("staging says %d: %s", answer.StatusCode, text)
	}
	return string(text)
}
