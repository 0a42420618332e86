package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
	"drover.dev/redis"
)

// manifest is a pod with one container.
func manifest(ref fleet.PodRef, image string, ports ...int) corev1.Pod {
	c := corev1.Container{Image: image}
	for _, p := range ports {
		c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: int32(p)})
	}
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name, UID: types.UID(ref.UID)}, Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
}

func TestSuspects(t *testing.T) {
	s := shop()
	addOrders(&s) // declared: not asked again
	var raw []corev1.Pod
	for _, st := range s.Stores[0].Members {
		raw = append(raw, manifest(st.Pod, "redis:7", 6379))
	}
	raw = append(raw, manifest(s.Pods[0].Ref, "redis:7", 6379)) // of a Deployment
	raw = append(raw, manifest(set(&s, "plain", 1, 0)[0], "registry:5000/bitnami/valkey:8@sha256:00"))
	raw = append(raw, manifest(set(&s, "watch", 1, 0)[0], "mirror/other", 26379))
	raw = append(raw, manifest(set(&s, "db", 1, 0)[0], "redis.example.com/postgres:17", 5432))
	courted := set(&s, "kafka", 1, 0)[0]
	s.Pods[len(s.Pods)-1].Courted = &fleet.Courted{Operator: "its operator"}
	raw = append(raw, manifest(courted, "redis:7", 6379))
	var got []string
	for _, x := range suspects(&s, raw) {
		got = append(got, fmt.Sprint(x.ref.Name, x.ports))
	}
	if want := []string{"plain-0[6379 26379]", "watch-0[26379]"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// respond answers as the Redis at an address would, by command; where nothing is, there is no connection.
type respond map[string]map[string]any

func (r respond) connect(_ context.Context, ep redis.Endpoint) (redis.Conn, error) {
	said, ok := r[fmt.Sprintf("%s:%d", ep.Host, ep.Port)]
	if !ok {
		return nil, errors.New("connection refused")
	}
	return &responder{said}, nil
}

type responder struct{ said map[string]any }

func (r *responder) Close() error { return nil }

func (r *responder) Do(_ context.Context, args ...any) (any, error) {
	command := strings.TrimSuffix(fmt.Sprintln(args...), "\n")
	v, ok := r.said[command]
	if err, is := v.(error); is {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%q: %w", command, io.EOF)
	}
	return v, nil
}

func plainInfo(role string, replicas ...string) string {
	text := "redis_version:7.0.15\r\nredis_mode:standalone\r\nrole:" + role + "\r\n"
	for i, r := range replicas {
		text += fmt.Sprintf("slave%d:ip=%s,port=6379,state=online,offset=1,lag=0\r\n", i, r)
	}
	return text
}

// field is a list as Redis answers one: name, value, name, value.
func field(all ...any) []any { return all }

func TestProbe(t *testing.T) {
	s := shop()
	master, replica, watch := set(&s, "db-master", 1, 0)[0], set(&s, "db-replica", 1, 1)[0], set(&s, "db-watch", 1, 2)[0]
	locked, alone, deaf := set(&s, "locked", 1, 0)[0], set(&s, "alone", 1, 0)[0], set(&s, "deaf", 1, 0)[0]
	host := map[string]string{}
	for _, p := range s.Pods {
		host[p.Ref.Name] = p.IP
	}
	answers := respond{
		host["db-master-0"] + ":6379":  {"INFO": plainInfo("master", host["db-replica-0"])},
		host["db-replica-0"] + ":6379": {"INFO": plainInfo("slave") + "master_host:" + host["db-master-0"] + "\r\nmaster_port:6379\r\n"},
		host["db-watch-0"] + ":26379": {
			"INFO":                        "redis_version:7.0.15\r\nredis_mode:sentinel\r\n",
			"SENTINEL MASTERS":            []any{field("name", "mymaster", "ip", host["db-master-0"], "port", "6379")},
			"SENTINEL REPLICAS mymaster":  []any{field("ip", host["db-replica-0"], "port", "6379")},
			"SENTINEL SENTINELS mymaster": []any{},
		},
		host["locked-0"] + ":6379": {"INFO": redis.Reply("NOAUTH Authentication required.")},
		host["alone-0"] + ":6379":  {"INFO": plainInfo("master")},
	}
	raw := []corev1.Pod{
		manifest(master, "redis:7", 6379), manifest(replica, "redis:7", 6379), manifest(watch, "redis:7", 26379), manifest(locked, "redis:7", 6379),
		manifest(alone, "redis:7", 6379), manifest(deaf, "redis:7", 6379),
	}
	all := suspects(&s, raw)
	hand := &redis.Hand{Connect: answers.connect, Parallel: 1}
	for i := range all {
		all[i].ask(t.Context(), hand)
	}
	var b strings.Builder
	probedTable(&b, judged(all))
	golden(t, "testdata/stores-probe.txt", b.String())
}

func TestProbeOfWhatIsInOnePod(t *testing.T) {
	o := fleet.Owner{Kind: "StatefulSet", Namespace: "shop", Name: "node"}
	x := suspect{ref: fleet.PodRef{Namespace: "shop", Name: "node-0"}, host: "10.0.0.1", owner: o, instance: "shop", ports: []int{6379, 26379}, answers: []answer{
		{Port: 6379, redis: redis.Found{Kind: redis.Plain}}, {Port: 26379, redis: redis.Found{Kind: redis.Watcher}}}}
	got := judged([]suspect{x})
	if len(got) != 1 || len(got[0].Confirm) > 0 || !strings.Contains(got[0].Mind, "a Redis and a Sentinel each") {
		t.Errorf("got %+v", got)
	}
}

// A chart's pods name their store by their instance: nothing more has to be said.
func TestProbedStoresAreNamed(t *testing.T) {
	node := func(set, instance, host string, peers ...string) suspect {
		return suspect{ref: fleet.PodRef{Namespace: "shop", Name: set + "-0"}, host: host, owner: fleet.Owner{Kind: "StatefulSet", Namespace: "shop", Name: set}, instance: instance, ports: []int{6379},
			answers: []answer{{Port: 6379, redis: redis.Found{Kind: redis.ClusterNode, Peers: peers}}}}
	}
	for _, tc := range []struct {
		all  []suspect
		want []string
	}{
		{[]suspect{node("ring", "cache", "10.0.0.1")}, []string{"drover.dev/mover=rediscluster"}},
		{[]suspect{node("a", "cache", "10.0.0.1", "10.0.0.2:6379"), node("b", "cache", "10.0.0.2")}, []string{"drover.dev/mover=rediscluster", "drover.dev/mover=rediscluster"}},
		{[]suspect{node("a", "", "10.0.0.1", "10.0.0.2:6379"), node("b", "", "10.0.0.2")}, []string{"drover.dev/store=a", "drover.dev/store=a"}},
		{[]suspect{node("a", "", "fd00::1", "b-0.b.shop.svc.cluster.local:6379"), node("b", "", "fd00::2")}, []string{"drover.dev/store=a", "drover.dev/store=a"}},
		{[]suspect{node("a", "", "fd00::1", "[fd00::2]:6379"), node("b", "", "fd00::2")}, []string{"drover.dev/store=a", "drover.dev/store=a"}},
		{[]suspect{node("a", "x", "10.0.0.1"), node("b", "y", "10.0.0.2", "10.0.0.1:6379")}, []string{"drover.dev/store=", "drover.dev/store="}},
	} {
		got := judged(tc.all)
		if len(got) != len(tc.want) {
			t.Errorf("got %+v", got)
			continue
		}
		for i, want := range tc.want {
			if !strings.Contains(got[i].Confirm[0], want) || strings.HasPrefix(want, "drover.dev/mover") && strings.Contains(got[i].Confirm[0], "drover.dev/store") {
				t.Errorf("got %q, want %s", got[i].Confirm, want)
			}
		}
	}
}

// What a server says goes into a command that people paste, and to their terminal: nobody trusts it yet.
func TestProbeTrustsNobody(t *testing.T) {
	suspected := func(set, host string, a answer) suspect {
		return suspect{ref: fleet.PodRef{Namespace: "shop", Name: set + "-0"}, host: host, owner: fleet.Owner{Kind: "StatefulSet", Namespace: "shop", Name: set}, answers: []answer{a}}
	}
	for called, want := range map[string]string{"MyMaster": "mymaster", "my_master": "watch", "x; rm -rf ~": "watch", "$(id)": "watch", strings.Repeat("a", 64): "watch", "": "watch"} {
		all := []suspect{
			suspected("db", "10.0.0.1", answer{redis: redis.Found{Kind: redis.Plain}}),
			suspected("watch", "10.0.0.2", answer{redis: redis.Found{Kind: redis.Watcher, Masters: []string{called}, Peers: []string{"10.0.0.1:6379"}}}),
		}
		for _, p := range judged(all) {
			if len(p.Confirm) != 1 || !strings.HasSuffix(p.Confirm[0], " drover.dev/mover=sentinel drover.dev/store="+want) {
				t.Errorf("master %q: %q", called, p.Confirm)
			}
		}
	}
	x := suspect{host: "10.0.0.1", ports: []int{6379}}
	x.ask(t.Context(), &redis.Hand{Parallel: 1, Connect: respond{"10.0.0.1:6379": {"INFO": redis.Reply("ERR \x1b[2J\r\nall is well" + strings.Repeat("!", 999))}}.connect})
	if got := x.answers[0].Found; !strings.HasPrefix(got, "a Redis that says: ERR [2J all is well!") || len([]rune(got)) > longestSaid {
		t.Errorf("got %q", got)
	}
}
