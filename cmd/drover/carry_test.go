package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericclioptions"

	"drover.dev/depart"
	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/kube"
)

func blocked(t *testing.T, err error, says string) {
	t.Helper()
	var coded *exit
	if !errors.As(err, &coded) || coded.code != exitBlocked || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want exit code %d with %q", err, exitBlocked, says)
	}
}

func TestRunsThatBeginOrEndWhileSomebodyIsAsked(t *testing.T) {
	s := shop()
	fresh, _ := planned(t, &s, evac.Options{})
	if err := overtaken(&s, &fresh); err != nil {
		t.Errorf("nothing happened: %v", err)
	}
	moved := shop()
	moved.Pods = append(moved.Pods[1:], pod("api-7", moved.Nodes[1].Name))
	moved.Groups[0].Desired++
	if err := overtaken(&moved, &fresh); err != nil {
		t.Errorf("the world moved a little: %v", err)
	}
	other := shop()
	other.Rotations = []fleet.RotationRecord{{Run: "r-other", Groups: []fleet.GroupRecord{{Name: "web"}}}}
	blocked(t, overtaken(&other, &fresh), "while you were asked, run r-other began on group web; nothing was done")

	now := during(t, evac.Options{}, 10)
	rest, _ := evac.Resume(&now, &now.Rotations[0])
	if err := overtaken(&now, &rest); err != nil {
		t.Errorf("it goes on: %v", err)
	}
	blocked(t, overtaken(&s, &rest), "run "+rest.Run+" ended")
	blocked(t, overtaken(&other, &rest), "run r-other began")
	now.Rotations = nil
	blocked(t, overtaken(&now, &rest), "somebody deleted its record")
}

func TestDrainLeavesTheNodesOfARun(t *testing.T) {
	s := during(t, evac.Options{}, 10)
	node := &s.Nodes[0]
	if node.Mark() == nil {
		t.Fatal("the run has not marked its nodes")
	}
	drain := evac.Plan{Run: "r-drain", Exits: []evac.Exit{{Departure: fleet.Departure{Node: node.Name}}}}
	s.Groups[0].Mark = nil // as of a managed group: the record alone tells
	_, err := drainedNode(&s, node.Name)
	blocked(t, err, "of group web is taking it away")
	blocked(t, overtaken(&s, &drain), "began to take node "+node.Name)

	s.Rotations = nil // over: what is left is a person's drain
	if n, err := drainedNode(&s, node.Name); err != nil || n != node {
		t.Errorf("got %v, %v", n, err)
	}
	if err := overtaken(&s, &drain); err != nil {
		t.Errorf("a drain is taken over: %v", err)
	}
	node.Taints = nil
	if n, err := drainedNode(&s, node.Name); n != nil || err != nil {
		t.Errorf("nothing to undo: got %v, %v", n, err)
	}
}

func TestExpectedPlan(t *testing.T) {
	s := shop()
	p, _ := planned(t, &s, evac.Options{})
	approved, hash := p.Bound(), p.Hash()
	for i := range s.Pods {
		s.Pods[i].Ref.UID += "-reborn"
	}
	later, _ := planned(t, &s, evac.Options{})
	if later.Hash() == hash {
		t.Error("other pods, and yet the same hash")
	}
	detached := running{expect: hash, bound: approved}
	if err := detached.expected(&later, later.Hash()); err != nil {
		t.Errorf("the same groups and nodes: %v", err)
	}
	later.Exits = later.Exits[1:]
	blocked(t, detached.expected(&later, later.Hash()), "are not those that were approved")
	typed := running{expect: hash}
	blocked(t, typed.expected(&later, later.Hash()), "--expect-plan says "+hash)
	if err := typed.expected(&p, hash); err != nil {
		t.Error(err)
	}
}

func TestARunThatIsTurnedRoundIsNotRefused(t *testing.T) {
	err := turned("r-1", &kube.Busy{Holder: "another"})
	var coded *exit
	if !errors.As(err, &coded) || coded.code != exitTimeout || !strings.Contains(err.Error(), "run r-1 is turned round; the same command goes on") {
		t.Errorf("got %v", err)
	}
}

func TestNothingToDoIsADocumentToo(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, output: "json"}
	if err := a.print(nothingToDo(fmt.Errorf("%w: all run web:2", depart.ErrNothing), "cluster shop"), nil); err != nil {
		t.Fatal(err)
	}
	var d planDocument
	if err := json.Unmarshal(out.Bytes(), &d); err != nil || d.Kind != "Plan" || len(d.Exits) != 0 || len(d.Notes) != 1 || strings.Contains(out.String(), "null") {
		t.Errorf("%v:\n%s", err, out.String())
	}
}

func TestWhoseStopStands(t *testing.T) {
	var errs bytes.Buffer
	a := app{err: &errs}
	a.conn.kube = genericclioptions.NewConfigFlags(true)
	mine := &fleet.Pause{By: "ada@example", At: noon}
	a.tellStop(mine, mine)
	a.tellStop(&fleet.Pause{By: "grace@example", Why: "incident", At: noon}, mine)
	lines := strings.Split(errs.String(), "\n")
	if !strings.Contains(lines[0], "is stopped") || !strings.Contains(lines[1], "is already paused by grace@example: incident, since ") {
		t.Errorf("says:\n%s", errs.String())
	}
}
