package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/fleet"
)

func (a *app) explainCommand() *cobra.Command {
	c := &cobra.Command{Use: "explain", Short: "Say why something is as it is", Example: "  drover explain node ip-10-0-1-7.eu-west-1.compute.internal\n  drover explain pod shop/api-6d5f-x2x7q\n  drover explain workload staging/web"}
	family(c)
	c.AddCommand(a.explainNodeCommand(), a.explainPodCommand(), a.explainWorkloadCommand(), a.explainDepartureCommand())
	return c
}

// explanation is what explain prints.
type explanation struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Subject    string   `json:"subject"`
	Node       string   `json:"node,omitempty"`
	Instance   string   `json:"instance,omitempty"`
	Group      string   `json:"group,omitempty"`
	Leaving    string   `json:"leavingWithRun,omitempty"`
	Store      string   `json:"store,omitempty"`
	Mover      string   `json:"mover,omitempty"` // of a pod whose budgets alone do not decide
	Sentences  []string `json:"sentences"`
}

func explain(subject string, args ...any) *explanation {
	return &explanation{APIVersion: "drover.dev/v1alpha1", Kind: "Explanation", Subject: fmt.Sprintf(subject, args...), Sentences: []string{}}
}

func (e *explanation) say(format string, args ...any) {
	e.Sentences = append(e.Sentences, fmt.Sprintf(format, args...))
}

func (e *explanation) print(w io.Writer) {
	fmt.Fprintln(w, e.Subject)
	for _, line := range e.Sentences {
		fmt.Fprintln(w, "  "+line)
	}
}

// explainer is what an explanation is made from: what there is, and what was.
type explainer struct {
	*fleet.Snapshot
	records []fleet.RotationRecord // all runs, those that are over too; empty where the cluster keeps none
	blind   bool                   // AWS was not asked: groups and instances are not known
}

// explained connects, looks, and prints what about says.
func (a *app) explained(ctx context.Context, about func(*explainer) (*explanation, error)) error {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return err
	}
	return a.explainedOf(ctx, s, about)
}

// explainedOf looks, at the cluster alone where there is no way to AWS, and prints what about says.
func (a *app) explainedOf(ctx context.Context, s *site, about func(*explainer) (*explanation, error)) error {
	look := s.observeAll
	if s.cloud == nil {
		look = func(ctx context.Context) (fleet.Snapshot, error) { return s.observe(ctx, nil) }
	}
	snapshot, err := look(ctx)
	if err != nil {
		return err
	}
	if err := s.addEnvironments(ctx, &snapshot); err != nil {
		fmt.Fprintln(a.err, "Environments are not told of:", err)
	}
	x := &explainer{Snapshot: &snapshot, blind: s.cloud == nil}
	if snapshot.Unjournaled == "" {
		var unreadable int
		if x.records, unreadable, err = s.cluster.Records(ctx); err != nil {
			fmt.Fprintln(a.err, "What is over is not told:", err)
		}
		if unreadable > 0 {
			fmt.Fprintf(a.err, "%s that are over were written by another version of drover, and are not told.\n", counted(unreadable, "run", "runs"))
		}
	}
	e, err := about(x)
	if err != nil {
		return err
	}
	return a.print(e, e.print)
}

// went finds the last run that is over and took a node or an instance away, or gave it back.
func (x *explainer) went(name string) (*fleet.RotationRecord, fleet.Departure, bool) {
	for i, r := range slices.Backward(x.records) {
		if r.Marks.Ended.IsZero() {
			continue
		}
		for _, d := range r.Exits {
			if d.Node == name || d.Instance == name {
				return &x.records[i], d, true
			}
		}
	}
	return nil, fleet.Departure{}, false
}

// past says how a run that is over dealt with a departure.
func (e *explanation) past(r *fleet.RotationRecord, d fleet.Departure) {
	began, ended := moment(r.At), moment(r.Marks.Ended)
	if r.Intent == fleet.Back {
		e.say("Run %s was to take it away, because it %s; %s asked for that at %s.", r.Run, d.Why, orSomebody(r.Requester), began)
		e.say("The run was taken back, which ended at %s: if it was still there then, it returned to service.", ended)
		return
	}
	e.say("It went with run %s, because it %s.", r.Run, d.Why)
	e.say("%s asked for that run, which began at %s and ended at %s.", orSomebody(r.Requester), began, ended)
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ago is how long ago a moment was.
func (x *explainer) ago(t time.Time) string { return x.Now.Sub(t).Round(time.Second).String() + " ago" }

// holdAbout returns the reason of the hold on a subject.
func (st *standing) holdAbout(subject string) string {
	for _, h := range st.step.Holds {
		if h.Subject == subject {
			return h.Reason
		}
	}
	return ""
}

// general are holds on the run as a whole, not on one node, pod or lane.
func (st *standing) general() []string {
	var out []string
	for _, h := range st.step.Holds {
		if strings.HasPrefix(h.Subject, "run ") || strings.HasPrefix(h.Subject, "group ") || strings.HasPrefix(h.Subject, "managed node group ") {
			out = append(out, h.String())
		}
	}
	return out
}
