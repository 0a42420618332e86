package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"drover.dev/sandbox/cloud"
)

// Deed is something that AWS or a person does to the region, for whoever rehearses.
type Deed struct {
	Name string
	Args string // as shown: NODE [stop]
	Does string
	do   func(w *World, args []string) (string, error)
}

// Deeds is the one table of them. NODE is a node's name or an instance's id.
var Deeds = []Deed{
	{"spot", "NODE [terminate|stop|hibernate]", "EC2 takes the instance back, as if it were a spot instance: two minutes' notice, then it goes", spot},
	{"recommend", "NODE", "EC2 recommends to leave the instance, as if it were a spot instance that it may take back soon", recommend},
	{"schedule", "NODE IN [CODE]", "EC2 announces maintenance (instance-retirement, instance-stop, instance-reboot, system-reboot) in, say, 2h", schedule},
	{"cancel", "EVENT-ARN", "EC2 takes scheduled maintenance back", cancelEvent},
	{"az-rebalance", "GROUP", "Auto Scaling evens out the group's zones: it launches in one and ends an instance in another", rebalance},
	{"scale", "GROUP N", "somebody sets the group's desired capacity; Auto Scaling chooses who goes", scale},
	{"terminate", "NODE", "somebody ends the instance through its Auto Scaling group, which replaces it", terminate},
	{"ec2-terminate", "NODE", "somebody ends the instance in EC2's console: no hook waits", ec2Terminate},
	{"lose", "QUEUE N", "the queue's next N messages are lost", lose},
}

// doPath is where a running sandbox takes deeds, beside AWS.
const doPath = "/_sandbox/do"

// Request is a deed as it is sent to a running sandbox.
type Request struct {
	Deed string   `json:"deed"`
	Args []string `json:"args"`
}

// Answer is what came of it.
type Answer struct {
	Said  string `json:"said,omitempty"`
	Error string `json:"error,omitempty"`
}

// DoURL is where the sandbox behind an AWS endpoint takes deeds.
func DoURL(endpoint string) string { return strings.TrimSuffix(endpoint, "/") + doPath }

// Do does something to the region, and says what.
func (w *World) Do(name string, args []string) (string, error) {
	i := slices.IndexFunc(Deeds, func(d Deed) bool { return d.Name == name })
	if i < 0 {
		return "", fmt.Errorf("%q: the sandbox cannot do that; drover sandbox do lists what it can", name)
	}
	d := &Deeds[i]
	need := 0
	for _, word := range strings.Fields(d.Args) {
		if !strings.HasPrefix(word, "[") {
			need++
		}
	}
	if len(args) < need || len(args) > len(strings.Fields(d.Args)) {
		return "", fmt.Errorf("%s takes: %s", name, d.Args)
	}
	said, err := d.do(w, args)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return said, nil
}

// takeDeeds answers deeds over HTTP. Anybody who reaches the loopback port may do them, as with AWS beside it.
func (w *World) takeDeeds(out http.ResponseWriter, r *http.Request) {
	var q Request
	var a Answer
	if err := json.NewDecoder(http.MaxBytesReader(out, r.Body, 1<<16)).Decode(&q); err != nil {
		a.Error = "request: " + err.Error()
	} else if said, err := w.Do(q.Deed, q.Args); err != nil {
		a.Error = err.Error()
	} else {
		a.Said = said
	}
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode(a) // whoever asked is gone
}

// instance finds an instance by its id or its node's name.
func (w *World) instance(name string) (*cloud.Instance, error) {
	all, err := w.Cloud.DescribeInstances(nil, nil)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if !all[i].Gone() && (all[i].ID == name || all[i].PrivateDNS == name) {
			return &all[i], nil
		}
	}
	return nil, fmt.Errorf("no instance or node of that name runs; kubectl get nodes lists nodes")
}

func spot(w *World, args []string) (string, error) {
	in, err := w.instance(args[0])
	if err != nil {
		return "", err
	}
	action := "terminate"
	if len(args) > 1 {
		action = args[1]
	}
	if err := w.Cloud.MakeSpot(in.ID); err != nil {
		return "", err
	}
	if err := w.Cloud.InterruptSpot(in.ID, action); err != nil {
		return "", err
	}
	return fmt.Sprintf("EC2 takes %s (%s) back: %s in two minutes", in.ID, in.PrivateDNS, action), nil
}

func recommend(w *World, args []string) (string, error) {
	in, err := w.instance(args[0])
	if err != nil {
		return "", err
	}
	if err := w.Cloud.MakeSpot(in.ID); err != nil {
		return "", err
	}
	return fmt.Sprintf("EC2 recommends to leave %s (%s)", in.ID, in.PrivateDNS), w.Cloud.RecommendRebalance(in.ID)
}

func schedule(w *World, args []string) (string, error) {
	in, err := w.instance(args[0])
	if err != nil {
		return "", err
	}
	after, err := time.ParseDuration(args[1])
	if err != nil {
		return "", fmt.Errorf("IN: %w; say 30m or 2h", err)
	}
	code := "instance-retirement"
	if len(args) > 2 {
		code = args[2]
	}
	at := time.Now().Add(after).Round(time.Second) // as EC2 says it
	arn, err := w.Cloud.ScheduleEvent(code, at, "a rehearsal", in.ID)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s of %s (%s) at %s: %s", code, in.ID, in.PrivateDNS, at.UTC().Format(time.RFC3339), arn), nil
}

func cancelEvent(w *World, args []string) (string, error) {
	return "EC2 takes it back", w.Cloud.CancelEvent(args[0])
}

func rebalance(w *World, args []string) (string, error) {
	return "Auto Scaling evens out the zones of group " + args[0], w.Cloud.RebalanceZones(args[0], "")
}

func scale(w *World, args []string) (string, error) {
	var n int
	if _, err := fmt.Sscanf(args[1], "%d", &n); err != nil {
		return "", fmt.Errorf("N: %q is not a number", args[1])
	}
	return fmt.Sprintf("desired capacity of group %s is %d", args[0], n), w.Cloud.SetDesiredCapacity(args[0], n, false)
}

func terminate(w *World, args []string) (string, error) {
	in, err := w.instance(args[0])
	if err != nil {
		return "", err
	}
	_, err = w.Cloud.TerminateInstanceInAutoScalingGroup(in.ID, false)
	return fmt.Sprintf("Auto Scaling ends %s (%s)", in.ID, in.PrivateDNS), err
}

func ec2Terminate(w *World, args []string) (string, error) {
	in, err := w.instance(args[0])
	if err != nil {
		return "", err
	}
	_, err = w.Cloud.TerminateInstances([]string{in.ID})
	return fmt.Sprintf("EC2 ends %s (%s)", in.ID, in.PrivateDNS), err
}

func lose(w *World, args []string) (string, error) {
	url, err := w.Cloud.GetQueueUrl(args[0])
	if err != nil {
		return "", err
	}
	var n int
	if _, err := fmt.Sscanf(args[1], "%d", &n); err != nil || n < 1 {
		return "", fmt.Errorf("N: %q is not a number of messages", args[1])
	}
	return fmt.Sprintf("the next %d messages of queue %s are lost", n, args[0]), w.Cloud.Misbehave(url, cloud.Lose, n)
}
