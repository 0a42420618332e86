package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// story is one machine and one pod in virtual time. What the machine writes is told in lines, each with the second at which it came.
type story struct {
	t      *testing.T
	m      *Manager
	mach   *Machine
	client *fake.Clientset
	start  time.Time

	last  string
	mu    sync.Mutex
	lines []string
	final *corev1.Pod // as it was when the machine deleted it
}

func tell(t *testing.T, o Options, body func(s *story)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &story{t: t, client: fake.NewClientset()}
		s.client.PrependReactor("delete", "pods", s.deleteGracefully)
		s.client.PrependReactor("patch", "pods", s.noteStatus)
		o.Client = s.client
		var err error
		if s.m, err = New(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		s.mach, err = s.m.Boot(Spec{Name: "n1", InstanceID: "i-1", Zone: "a", InstanceType: "m5.large", NodeIP: "127.58.1.1"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // the node is ready
		s.start = time.Now()
		body(s)
		s.m.Close()
		time.Sleep(time.Minute) // timers of client-go
	})
}

// deleteGracefully does what the API server does and the fake does not: the first deletion of a bound pod only marks it.
func (s *story) deleteGracefully(a clienttesting.Action) (bool, runtime.Object, error) {
	d := a.(clienttesting.DeleteActionImpl)
	grace := d.DeleteOptions.GracePeriodSeconds
	o, err := s.client.Tracker().Get(d.Resource, d.Namespace, d.Name)
	if err != nil {
		return true, nil, err
	}
	p := o.(*corev1.Pod).DeepCopy()
	if grace != nil && *grace == 0 {
		s.line("deleted")
		s.mu.Lock()
		s.final = p
		s.mu.Unlock()
		return false, nil, nil
	}
	if grace == nil {
		grace = p.Spec.TerminationGracePeriodSeconds
	}
	now := metav1.Now()
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, grace
	s.line(fmt.Sprintf("delete within %ds", *grace))
	return true, p, s.client.Tracker().Update(d.Resource, p, d.Namespace)
}

func (s *story) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("%5.1f %s", time.Since(s.start).Seconds(), text))
}

// noteStatus tells of the status in a machine's patch, if it is a new one in the words of describe.
func (s *story) noteStatus(a clienttesting.Action) (bool, runtime.Object, error) {
	var p corev1.Pod
	if err := json.Unmarshal(a.(clienttesting.PatchActionImpl).Patch, &p); err != nil {
		return true, nil, err
	}
	if now := describe(&p); p.Status.Phase != "" && now != s.last {
		s.last = now
		s.line(now)
	}
	return false, nil, nil
}

// run creates the pod and lets the machine do what it does for d.
func (s *story) run(p *corev1.Pod, d time.Duration) {
	s.t.Helper()
	if _, err := s.client.CoreV1().Pods("default").Create(s.t.Context(), p, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.pass(d)
}

func (s *story) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *story) delete(o metav1.DeleteOptions) {
	s.t.Helper()
	if err := s.client.CoreV1().Pods("default").Delete(s.t.Context(), "p", o); err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) pod() *corev1.Pod {
	s.t.Helper()
	p, err := s.client.CoreV1().Pods("default").Get(s.t.Context(), "p", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *story) want(lines string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var want []string
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		want = append(want, strings.TrimSpace(line))
	}
	got := slices.Clone(s.lines)
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("told:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// describe is a pod's status in a line: phase, Ready, containers.
func describe(p *corev1.Pod) string {
	words := []string{string(p.Status.Phase)}
	if isReady(p) {
		words = append(words, "Ready")
	}
	if p.Status.Reason != "" {
		words = append(words, "("+p.Status.Reason+")")
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		state := ""
		switch {
		case c.State.Waiting != nil:
			state = c.State.Waiting.Reason
		case c.State.Running != nil:
			state = "running"
			if c.Ready {
				state = "ready"
			}
		case c.State.Terminated != nil:
			state = fmt.Sprintf("%s(%d)", c.State.Terminated.Reason, c.State.Terminated.ExitCode)
		}
		if c.RestartCount > 0 {
			state += fmt.Sprintf("+%d", c.RestartCount)
		}
		words = append(words, c.Name+"="+state)
	}
	return strings.Join(words, " ")
}

func aPod(annotations map[string]string, change func(*corev1.PodSpec)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default", UID: "u1", Annotations: annotations},
		Spec: corev1.PodSpec{
			NodeName: "n1", RestartPolicy: corev1.RestartPolicyAlways, TerminationGracePeriodSeconds: ptr(int64(30)),
			Containers: []corev1.Container{{Name: "c", Image: "img:1"}},
		},
	}
	if change != nil {
		change(&p.Spec)
	}
	return p
}

func sleepHook(seconds int64) *corev1.Lifecycle {
	return &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: seconds}}}
}

func TestPodLives(t *testing.T) {
	tell(t, Options{}, func(s *story) {
		s.run(aPod(map[string]string{AnnotationPull: "1s", AnnotationReady: "2s", AnnotationStop: "500ms"}, func(spec *corev1.PodSpec) {
			spec.InitContainers = []corev1.Container{{Name: "i", Image: "init:1"}}
			spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "nginx -s quit; sleep 3"}}}}
		}), 10*time.Second)
		p := s.pod()
		if p.Status.PodIP != "10.58.1.2" || p.Status.HostIP != "10.58.1.1" {
			t.Errorf("addresses %s on %s", p.Status.PodIP, p.Status.HostIP)
		}
		if got := condition(p, corev1.PodReady).LastTransitionTime.Sub(s.start); got.Round(time.Second) != 4*time.Second {
			t.Errorf("ready since %v, want 4s", got)
		}
		s.delete(metav1.DeleteOptions{})
		s.pass(10 * time.Second)
		// The init container takes no time; its run may be seen or not.
		s.lines = slices.DeleteFunc(s.lines, func(l string) bool { return strings.Contains(l, "i=running") })
		s.want(`
			0.0 Pending i=ContainerCreating c=PodInitializing
			1.0 Pending i=Completed(0) c=PodInitializing
			2.0 Running i=Completed(0) c=running
			4.0 Running Ready i=Completed(0) c=ready
			10.0 delete within 30s
			13.5 Succeeded i=Completed(0) c=Completed(0)
			13.5 deleted`)
	})
}

func TestGraceIsEnforced(t *testing.T) {
	for _, c := range []struct {
		name, stop, want string
		preStop          int64
		speed            float64
	}{
		{"obeys", "300ms", "10.3 Succeeded c=Completed(0)", 0, 1},
		{"ignores SIGTERM", "never", "15.0 Failed c=Error(137)", 0, 1},
		{"slower than its grace", "20s", "15.0 Failed c=Error(137)", 0, 1},
		{"preStop uses part of the grace", "never", "15.0 Failed c=Error(137)", 2, 1},
		{"preStop leaves less than two seconds", "never", "16.0 Failed c=Error(137)", 4, 1},
		{"preStop overruns, SIGTERM still comes", "300ms", "15.3 Succeeded c=Completed(0)", 60, 1},
		{"preStop overruns, and two seconds later SIGKILL", "never", "17.0 Failed c=Error(137)", 60, 1},
		{"ten times as fast", "never", "10.5 Failed c=Error(137)", 0, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			tell(t, Options{Speed: c.speed}, func(s *story) {
				s.run(aPod(map[string]string{AnnotationStop: c.stop}, func(spec *corev1.PodSpec) {
					spec.TerminationGracePeriodSeconds = ptr(int64(5))
					if c.preStop > 0 {
						spec.Containers[0].Lifecycle = sleepHook(c.preStop)
					}
				}), 10*time.Second)
				s.mu.Lock()
				s.lines = nil
				s.mu.Unlock()
				s.delete(metav1.DeleteOptions{})
				s.pass(time.Minute)
				s.want("10.0 delete within 5s\n" + c.want + "\n" + c.want[:4] + " deleted")
			})
		})
	}
}

func TestASecondDeletionShortensTheGrace(t *testing.T) {
	tell(t, Options{}, func(s *story) {
		s.run(aPod(map[string]string{AnnotationStop: "never"}, nil), 10*time.Second)
		s.delete(metav1.DeleteOptions{})
		s.pass(2 * time.Second)
		s.delete(metav1.DeleteOptions{GracePeriodSeconds: ptr(int64(3))})
		s.pass(10 * time.Second)
		s.want(`
			0.0 Pending c=ContainerCreating
			0.5 Running c=running
			1.5 Running Ready c=ready
			10.0 delete within 30s
			12.0 delete within 3s
			15.0 Failed c=Error(137)
			15.0 deleted`)
	})
}

func TestRestartPolicies(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy corev1.RestartPolicy
		exit   string
		want   string
	}{
		{"never, success", corev1.RestartPolicyNever, "0", "6.5 Succeeded c=Completed(0)"},
		{"never, failure", corev1.RestartPolicyNever, "3", "6.5 Failed c=Error(3)"},
		{"on failure, success", corev1.RestartPolicyOnFailure, "0", "6.5 Succeeded c=Completed(0)"},
		{"on failure, failure", corev1.RestartPolicyOnFailure, "3", "6.5 Running c=CrashLoopBackOff\n7.5 Running c=running+1\n8.5 Running Ready c=ready+1"},
		{"always, success", corev1.RestartPolicyAlways, "0", "6.5 Running c=CrashLoopBackOff\n7.5 Running c=running+1\n8.5 Running Ready c=ready+1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tell(t, Options{}, func(s *story) {
				s.run(aPod(map[string]string{AnnotationRun: "6s", AnnotationExit: c.exit}, func(spec *corev1.PodSpec) { spec.RestartPolicy = c.policy }), 9*time.Second)
				s.mu.Lock()
				s.lines = s.lines[3:] // up to ready they are all alike
				// The restart count is raised just before the new run.
				s.lines = slices.DeleteFunc(s.lines, func(l string) bool { return strings.HasSuffix(l, "CrashLoopBackOff+1") })
				s.mu.Unlock()
				s.want(c.want)
			})
		})
	}
}

func TestSidecarsStartFirstAndStopLast(t *testing.T) {
	tell(t, Options{}, func(s *story) {
		s.run(aPod(map[string]string{AnnotationPull: "0s", AnnotationStop: "1s"}, func(spec *corev1.PodSpec) {
			always := corev1.ContainerRestartPolicyAlways
			spec.InitContainers = []corev1.Container{{Name: "mesh", Image: "a", RestartPolicy: &always}, {Name: "log", Image: "b", RestartPolicy: &always}}
		}), 5*time.Second)
		s.delete(metav1.DeleteOptions{})
		s.pass(10 * time.Second)
		s.mu.Lock()
		// Up to ready, some states come within the same instant in any order.
		s.lines = slices.DeleteFunc(s.lines, func(l string) bool {
			return strings.HasPrefix(l, "  0.0") || strings.HasPrefix(l, "  1.0") && !strings.Contains(l, "Ready mesh=ready log=ready c=ready")
		})
		s.mu.Unlock()
		s.want(`
			1.0 Running Ready mesh=ready log=ready c=ready
			5.0 delete within 30s
			6.0 Running mesh=ready log=ready c=Completed(0)
			7.0 Running mesh=ready log=Completed(0) c=Completed(0)
			8.0 Succeeded mesh=Completed(0) log=Completed(0) c=Completed(0)
			8.0 deleted`)
	})
}

func TestReadinessGate(t *testing.T) {
	tell(t, Options{}, func(s *story) {
		const gate = "target-health.elbv2.k8s.aws/web"
		s.run(aPod(nil, func(spec *corev1.PodSpec) { spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: gate}} }), 5*time.Second)
		if p := s.pod(); isReady(p) || condition(p, corev1.ContainersReady).Status != corev1.ConditionTrue {
			t.Errorf("with the gate closed: %v", p.Status.Conditions)
		}
		_, err := s.client.CoreV1().Pods("default").Patch(t.Context(), "p", types.StrategicMergePatchType,
			[]byte(`{"status":{"conditions":[{"type":"`+gate+`","status":"True"}]}}`), metav1.PatchOptions{}, "status")
		if err != nil {
			t.Fatal(err)
		}
		s.pass(time.Second)
		if p := s.pod(); !isReady(p) || condition(p, gate) == nil {
			t.Errorf("with the gate open: %v", p.Status.Conditions)
		}
	})
}

func TestActiveDeadlineFailsThePod(t *testing.T) {
	tell(t, Options{}, func(s *story) {
		s.run(aPod(nil, func(spec *corev1.PodSpec) { spec.ActiveDeadlineSeconds = ptr(int64(4)) }), 10*time.Second)
		if got := describe(s.pod()); got != "Failed (DeadlineExceeded) c=Completed(0)" {
			t.Errorf("after the deadline: %s", got)
		}
	})
}

func TestWhatIsNotSimulatedSaysSo(t *testing.T) {
	for _, c := range []struct {
		name        string
		annotations map[string]string
		change      func(*corev1.PodSpec)
		want        string
	}{
		{"a bad annotation", map[string]string{AnnotationReady: "soon"}, nil, `annotation sandbox.drover.dev/ready is "soon", want a duration like 2s`},
		{"no command", map[string]string{AnnotationProcess: "true"}, nil, "container c: it has no command, and images have no entrypoint here"},
		{"a gRPC probe", map[string]string{AnnotationProcess: "true"}, func(spec *corev1.PodSpec) {
			spec.Containers[0].Command = []string{"true"}
			spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{}}}
		}, "container c: its liveness probe is of a kind (gRPC?) that is not simulated"},
		{"an NFS volume", map[string]string{AnnotationProcess: "true"}, func(spec *corev1.PodSpec) {
			spec.Containers[0].Command = []string{"true"}
			spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}}}
		}, "volume v: this kind of volume is not simulated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tell(t, Options{Dir: t.TempDir()}, func(s *story) {
				s.run(aPod(c.annotations, c.change), time.Minute)
				w := s.pod().Status.ContainerStatuses[0].State.Waiting
				if w == nil || w.Reason != "NotSimulated" || w.Message != c.want {
					t.Errorf("waiting %+v, want NotSimulated: %s", w, c.want)
				}
				s.delete(metav1.DeleteOptions{})
				s.pass(time.Second)
				if _, err := s.client.CoreV1().Pods("default").Get(t.Context(), "p", metav1.GetOptions{}); err == nil {
					t.Error("it cannot even be deleted")
				}
			})
		})
	}
}

// After Kill not one call reaches the API, whatever was about to happen.
func TestKillIsSilent(t *testing.T) {
	for _, at := range []time.Duration{0, 200 * time.Millisecond, time.Second, 5 * time.Second, 11 * time.Second} {
		t.Run(at.String(), func(t *testing.T) {
			tell(t, Options{}, func(s *story) {
				s.run(aPod(map[string]string{AnnotationStop: "5s"}, func(spec *corev1.PodSpec) { spec.Containers[0].Lifecycle = sleepHook(3) }), min(at, 10*time.Second))
				if at > 10*time.Second {
					s.delete(metav1.DeleteOptions{})
					s.pass(at - 10*time.Second)
				}
				s.m.Kill("n1")
				s.client.ClearActions()
				s.pass(10 * time.Minute)
				if a := s.client.Actions(); len(a) > 0 {
					t.Errorf("a dead machine called %s %s", a[0].GetVerb(), a[0].GetResource().Resource)
				}
			})
		})
	}
}

func TestLeaseAndStatusAreRenewed(t *testing.T) {
	tell(t, Options{}, func(s *story) {
		s.client.ClearActions()
		s.pass(11*time.Minute + time.Second)
		leases, statuses := 0, 0
		for _, a := range s.client.Actions() {
			switch {
			case a.Matches("patch", "leases"):
				leases++
			case a.Matches("patch", "nodes"):
				statuses++
			}
		}
		if leases != 66 || statuses != 2 {
			t.Errorf("in eleven minutes %d lease renewals and %d statuses, want 66 and 2", leases, statuses)
		}
	})
}

func TestNodeControllersVerdictIsCorrected(t *testing.T) {
	tell(t, Options{}, func(s *story) {
		s.run(aPod(nil, nil), 5*time.Second)
		_, err := s.client.CoreV1().Pods("default").Patch(t.Context(), "p", types.StrategicMergePatchType,
			[]byte(`{"metadata":{"resourceVersion":"999"},"status":{"conditions":[{"type":"Ready","status":"False"}]}}`), metav1.PatchOptions{}, "status")
		if err != nil {
			t.Fatal(err)
		}
		s.pass(time.Second)
		if !isReady(s.pod()) {
			t.Error("the pod stays not ready although its machine is well")
		}
	})
}

func TestImagesArePulledOncePerMachine(t *testing.T) {
	tell(t, Options{}, func(s *story) {
		if d := time.Until(s.mach.pull("a:1", time.Second)); d != time.Second {
			t.Errorf("first pull takes %v", d)
		}
		s.pass(400 * time.Millisecond)
		if d := time.Until(s.mach.pull("a:1", time.Second)); d != 600*time.Millisecond {
			t.Errorf("a second pod waits %v for the pull under way, want 600ms", d)
		}
		s.pass(time.Second)
		if d := time.Until(s.mach.pull("a:1", time.Second)); d > 0 {
			t.Errorf("a present image takes %v", d)
		}
	})
}

func TestAddressesComeBackLast(t *testing.T) {
	a, err := newAddresses("127.20.3.1")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	first, _ := a.take()
	for ip, ok := first, true; ok; ip, ok = a.take() {
		if seen[ip] {
			t.Fatalf("%s was given twice", ip)
		}
		seen[ip] = true
		a.free(first) // free from the start, and yet the last to come back
		if len(seen) == 253 {
			break
		}
	}
	if first != "127.20.3.2" || len(seen) != 253 || seen["127.20.3.1"] {
		t.Errorf("first %s, %d addresses, the node's own among them: %v", first, len(seen), seen["127.20.3.1"])
	}
	if again, ok := a.take(); again != first || !ok {
		t.Errorf("after all others came %s, %v; want %s", again, ok, first)
	}
	if _, ok := a.take(); ok {
		t.Error("an address beyond the last")
	}
}

func TestDialAddress(t *testing.T) {
	for in, want := range map[string]string{
		"10.20.3.5": "127.20.3.5", "10.59.255.255": "127.59.255.255", "10.210.1.2": "10.210.1.2", "10.19.0.1": "10.19.0.1",
		"127.20.3.5": "127.20.3.5", "192.168.1.1": "192.168.1.1", "::1": "::1", "name": "name",
	} {
		if got := DialAddress(in); got != want {
			t.Errorf("DialAddress(%s) = %s, want %s", in, got, want)
		}
	}
	if got := ClusterAddress("127.20.3.5"); got != "10.20.3.5" {
		t.Errorf("ClusterAddress = %s", got)
	}
}
