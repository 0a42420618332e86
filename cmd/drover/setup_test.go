package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"drover.dev/aws"
	"drover.dev/fleet"
	"drover.dev/notice"
	"drover.dev/pipeline"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/wire"
)

// plant is a small AWS: what is laid is there, for those who read after a while.
type plant struct {
	found  pipeline.Found
	before []pipeline.Found // what readers see first
	fails  string           // the change that fails, once
	laid   []string
}

func (p *plant) Pipeline(context.Context, pipeline.Wanted) (pipeline.Found, error) {
	if len(p.before) > 0 {
		seen := p.before[0]
		p.before = p.before[1:]
		return seen, nil
	}
	return p.found, nil
}

func (p *plant) Lay(_ context.Context, c pipeline.Change) error {
	if c.Subject() == p.fails {
		p.fails = ""
		return fmt.Errorf("%s %s: AWS is busy", c.Verb, c.Subject())
	}
	p.laid = append(p.laid, c.String())
	p.found = p.found.After([]pipeline.Change{c})
	return nil
}

// yard is a shop in a cluster that AWS calls prod, with nothing set up.
func yard() *ground {
	s := shop()
	s.Groups[0].Cluster = "prod"
	w, err := want(&s, nil, &layout{drainFor: time.Hour})
	if err != nil {
		panic(err)
	}
	w.Account, w.Region = "111122223333", "eu-west-1"
	return &ground{place: "cluster shop, account 111122223333, eu-west-1", fleet: s, wanted: w, found: pipeline.Found{Rules: map[string]pipeline.Rule{}, Groups: map[string]pipeline.Scaling{"web": {}}}}
}

// said runs a setup on the plant, and returns what a person reads.
func said(t *testing.T, p *plant, g *ground, o *setup) (string, error) {
	t.Helper()
	var errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: io.Discard, err: &errs, color: "never"}
	g.found = p.found
	err := a.lay(t.Context(), p, g, o.plan(true), o)
	return errs.String(), err
}

func TestSetupIsToldAndDoneOnce(t *testing.T) {
	g := yard()
	p := &plant{found: g.found}
	text, err := said(t, p, g, &setup{yes: true})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/setup.txt", text)
	if text, err = said(t, p, g, &setup{yes: true}); err != nil || !strings.Contains(text, "Nothing to do") || strings.Contains(text, "CHANGE") {
		t.Errorf("a second time: %v\n%s", err, text)
	}
	if text, err = said(t, p, g, &setup{yes: true, remove: true}); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/setup-remove.txt", text)
	if p.found.Queue != nil || p.found.Dead != nil || len(p.found.Rules) > 0 || len(p.found.Groups["web"].Hooks) > 0 {
		t.Errorf("removed, but there is %+v", p.found)
	}
}

func TestSetupAsksFirst(t *testing.T) {
	g := yard()
	p := &plant{found: g.found}
	var coded *exit
	if _, err := said(t, p, g, &setup{}); !errors.As(err, &coded) || coded.code != exitRefused || len(p.laid) > 0 {
		t.Errorf("nobody to answer: %v, laid %v", err, p.laid)
	}
	p.found.Queue = &pipeline.Queue{Name: "drover-prod", Owner: "staging"}
	if text, err := said(t, p, g, &setup{yes: true}); !errors.As(err, &coded) || coded.code != exitBlocked || len(p.laid) > 0 || !strings.Contains(text, "name-taken") {
		t.Errorf("another cluster's queue: %v, laid %v\n%s", err, p.laid, text)
	}
}

// Deleting a hook ends the instances that it holds: a person has to say that it may.
func TestSetupRemovesNoHookThatHolds(t *testing.T) {
	g := yard()
	p := &plant{found: g.found}
	if _, err := said(t, p, g, &setup{yes: true}); err != nil {
		t.Fatal(err)
	}
	s := p.found.Groups["web"]
	s.Waiting = []string{"i-1"}
	p.found.Groups["web"] = s
	laid := len(p.laid)
	var coded *exit
	text, err := said(t, p, g, &setup{yes: true, remove: true})
	if !errors.As(err, &coded) || coded.code != exitBlocked || len(p.laid) > laid || !strings.Contains(text, "i-1 wait for a hook now") || !strings.Contains(text, "--force") {
		t.Errorf("%v, laid %v\n%s", err, p.laid[laid:], text)
	}
	g.wanted.Force = true
	if text, err := said(t, p, g, &setup{yes: true, remove: true, force: true}); err != nil || len(p.found.Groups["web"].Hooks) > 0 || !strings.Contains(text, "i-1 wait for a hook now") {
		t.Errorf("forced: %v\n%s", err, text)
	}
}

func TestSetupGoesOnWhereItFailed(t *testing.T) {
	whole := &plant{found: yard().found}
	if _, err := said(t, whole, yard(), &setup{yes: true}); err != nil {
		t.Fatal(err)
	}
	g := yard()
	p := &plant{found: g.found, fails: "drover-prod-health"}
	if _, err := said(t, p, g, &setup{yes: true}); err == nil || !strings.Contains(err.Error(), "create rule drover-prod-health: AWS is busy; 6 of 12 changes are made, and the same command goes on") {
		t.Fatal(err)
	}
	if _, err := said(t, p, g, &setup{yes: true}); err != nil || strings.Join(p.laid, "\n") != strings.Join(whole.laid, "\n") {
		t.Errorf("went on: %v\n%s", err, strings.Join(p.laid, "\n"))
	}
}

// notYet is a plant that does not take one change at first.
type notYet struct {
	*plant
	subject string
	times   int
}

func (p *notYet) Lay(ctx context.Context, c pipeline.Change) error {
	if c.Subject() == p.subject && p.times > 0 {
		p.times--
		return fmt.Errorf("%s %s: %w", c.Verb, c.Subject(), &fleet.Refused{Reason: "AWS makes no other within a minute", Wait: time.Minute})
	}
	return p.plant.Lay(ctx, c)
}

func TestSetupWaitsForWhatAWSDoesNotTakeYet(t *testing.T) {
	for times, ok := range map[int]bool{1: true, layTries: false} {
		synctest.Test(t, func(t *testing.T) {
			g, began := yard(), time.Now()
			p := &notYet{&plant{found: g.found}, "drover-prod", times}
			var errs bytes.Buffer
			a := &app{in: strings.NewReader(""), out: io.Discard, err: &errs, color: "never"}
			o := &setup{yes: true}
			err := a.lay(t.Context(), p, g, o.plan(true), o)
			if (err == nil) != ok || ok && time.Since(began) != time.Minute || !strings.Contains(errs.String(), "not yet  create queue drover-prod: AWS makes no other within a minute; again in 1m") {
				t.Errorf("%d times: after %s: %v\n%s", times, time.Since(began), err, errs.String())
			}
		})
	}
}

// SQS may show a change a minute late.
func TestSetupReadsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := yard()
		p := &plant{found: g.found, before: []pipeline.Found{g.found, g.found, g.found}}
		began := time.Now()
		if text, err := said(t, p, g, &setup{yes: true}); err != nil || !strings.Contains(text, "Read again: everything is as it is to be.") || time.Since(began) != 3*verifyEvery {
			t.Errorf("after %s: %v\n%s", time.Since(began), err, text)
		}
		g = yard()
		p = &plant{found: g.found}
		for range 100 {
			p.before = append(p.before, g.found)
		}
		if _, err := said(t, p, g, &setup{yes: true}); err == nil || !strings.Contains(err.Error(), "AWS does not show it after 1m30s: create queue drover-prod-dead, create queue drover-prod") {
			t.Errorf("never shown: %v", err)
		}
	})
}

// brisk is AWS on a virtual clock, which moves on when something was sent.
type brisk struct {
	*aws.Cloud
	clock *cloud.VirtualClock
}

func (b brisk) SendCanary(ctx context.Context, c pipeline.Canary) error {
	defer b.clock.Advance(5 * time.Second)
	return b.Cloud.SendCanary(ctx, c)
}

// The commands with the real hand, against the simulated AWS.
func TestSetupAndCheckOverTheWire(t *testing.T) {
	clock := cloud.NewVirtualClock(noon)
	sim := cloud.New(cloud.Config{Clock: clock})
	server := httptest.NewServer(wire.Handler(sim, wire.Options{}))
	defer server.Close()
	hand := aws.New(sdk.Config{Region: sim.Region(), BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "secret", "")})
	lt, err := sim.CreateLaunchTemplate("web", "", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.CreateAutoScalingGroup(cloud.Group{Name: "web", Max: 6, Zones: sim.Zones(), Source: cloud.Source{Template: cloud.TemplateSpec{ID: lt.ID, Version: "$Latest"}}}); err != nil {
		t.Fatal(err)
	}
	g := yard()
	if g.wanted.Account, g.wanted.Region, err = hand.Account(t.Context()); err != nil {
		t.Fatal(err)
	}
	read := func() {
		if g.found, err = hand.Pipeline(t.Context(), g.wanted); err != nil {
			t.Fatal(err)
		}
	}
	var errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: io.Discard, err: &errs, color: "never"}
	o := &setup{yes: true}
	for _, says := range []string{"Read again: everything is as it is to be.", "Nothing to do"} {
		errs.Reset()
		read()
		if err := a.lay(t.Context(), hand, g, o.plan(true), o); err != nil || !strings.Contains(errs.String(), says) {
			t.Fatalf("%v\n%s", err, errs.String())
		}
	}
	read()
	if text, err := reported(t, g, courier{line: brisk{hand, clock}}); err != nil || !strings.Contains(text, "received by this process") {
		t.Errorf("check: %v\n%s", err, text)
	}
}

func TestWhichClusterIsMeant(t *testing.T) {
	two := shop()
	two.Groups[0].Cluster = "prod"
	two.Groups = append(two.Groups, fleet.Group{Name: "jobs", Cluster: "batch", Instances: []fleet.Instance{{ID: two.Nodes[0].Instance}}}, fleet.Group{Name: "other", Cluster: "staging"})
	none := shop()
	for _, tc := range []struct {
		name   string
		s      fleet.Snapshot
		groups []string
		l      layout
		code   int
		says   string
	}{
		{"by name", none, nil, layout{cluster: "prod"}, 0, "prod [web]"},
		{"by nothing", none, nil, layout{}, exitUsage, "pass --cluster-name"},
		{"by two tags", two, nil, layout{}, exitUsage, "batch and prod"},
		{"the cluster's groups", two, nil, layout{cluster: "staging"}, 0, "staging [web jobs other]"},
		{"one group", two, []string{"jobs"}, layout{cluster: "batch"}, 0, "batch [jobs]"},
		{"a group of another", two, []string{"other"}, layout{cluster: "prod"}, exitBlocked, "group other: no instance of it is a node of this cluster"},
	} {
		w, err := want(&tc.s, tc.groups, &tc.l)
		var names []string
		for _, g := range w.Groups {
			names = append(names, g.Name)
		}
		text, code := fmt.Sprint(w.Cluster, " ", names), 0
		var coded *exit
		if errors.As(err, &coded) {
			text, code = err.Error(), coded.code
		}
		if code != tc.code || !strings.Contains(text, tc.says) {
			t.Errorf("%s: %d %s", tc.name, code, text)
		}
	}
}

// The policy grants every right that the controller has a use for, and none besides.
func TestPolicyGrantsWhatTheControllerDoes(t *testing.T) {
	var out bytes.Buffer
	if err := writeRights(&out, yard()); err != nil {
		t.Fatal(err)
	}
	var d struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	granted := map[string]bool{}
	for _, s := range d.Statement {
		for _, a := range s.Action {
			granted[a] = true
		}
	}
	for _, r := range aws.NoticeActions {
		if !granted[r.Action] {
			t.Errorf("%s is not granted", r.Action)
		}
		delete(granted, r.Action)
	}
	if len(granted) > 0 {
		t.Errorf("granted for nothing: %v", granted)
	}
}

// The controller's parser reads the test message as one.
func TestCanaryIsANotice(t *testing.T) {
	c := pipeline.Canary{ID: "canary-1", Cluster: "prod"}
	body := fmt.Sprintf(`{"version":"0","id":"e-1","detail-type":%q,"source":%q,"account":"111122223333","time":"2026-11-21T12:00:00Z","region":"eu-west-1","resources":[],"detail":%s}`,
		pipeline.CanaryType, pipeline.CanarySource, c.Detail())
	got, err := notice.Parse(body)
	if err != nil || len(got) != 1 || got[0].Kind != fleet.CanaryNotice || got[0].ID != c.ID || got[0].Destination != c.Cluster {
		t.Errorf("%v %+v", err, got)
	}
}

func TestSetupUsage(t *testing.T) {
	for args, says := range map[string]string{
		"setup --heartbeat 5s":             "--heartbeat 5s: Auto Scaling takes whole seconds",
		"setup --queue notices.fifo":       "--queue",
		"setup --drain-for -1s":            "--drain-for",
		"setup --force":                    "--force goes with --remove",
		"setup --remove --policy":          "if any flags in the group [remove policy]",
		"check --within 1h":                "--within 1h0m0s",
		"check --queue https://sqs/1/name": "--queue",
		"check -o xml":                     "not a format",
	} {
		var out, errs bytes.Buffer
		if code := run(strings.Fields(args), strings.NewReader(""), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), says) {
			t.Errorf("drover %s: exit code %d:\n%s", args, code, errs.String())
		}
	}
}
