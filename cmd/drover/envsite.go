package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // schedules' zones, on hosts that have none

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/api/v1alpha1"
	"drover.dev/archive"
	"drover.dev/engine"
	"drover.dev/env"
	"drover.dev/fleet"
	"drover.dev/kube"
)

// desk is what people's verbs about environments need of the cluster besides what the engine does.
type desk interface {
	engine.Switchboard
	Wish(ctx context.Context, environment string, w *fleet.Wish) error
	ApplyEnvironments(ctx context.Context, data []byte, source string, dry bool) ([]string, error)
	Alone(ctx context.Context, identity string, waiting func(holder string, upTo time.Duration), act func(context.Context) error) error
	Leading(ctx context.Context) (string, error)
}

// switchroom is one cluster's environments with all that it takes to switch them, connected.
type switchroom struct {
	*engine.Switcher
	desk  desk
	place string
	file  *envFile // nil without one

	// may asks whether who asks has a right; try tells why the archive could not be used; publish shows people how an environment is. Each may be nil.
	may     func(ctx context.Context, right authorizationv1.ResourceAttributes) (bool, error)
	try     func(ctx context.Context, url, environment string, write bool) error
	publish func(ctx context.Context, environment string, v kube.EnvironmentShown) error
}

// switcher returns the loop over environments. It observes every group: whose pods are where is what it is careful about.
func (s *site) switcher(note func(engine.Note)) *engine.Switcher {
	e := s.engine(nil, note)
	e.AllGroups = true
	return &engine.Switcher{Engine: e, Board: s.cluster, Databases: s.cloud, Asker: s.asker(), Archive: &archive.Archive{Bucket: s.cloud.Bucket()}}
}

// login reads the one Secret that an Environment names for a database.
func (s *site) login(ctx context.Context, namespace, name string) (map[string]string, error) {
	secret, err := s.cluster.Client().CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for key, value := range secret.Data {
		out[key] = string(value)
	}
	return out, nil
}

// addEnvironments adds to a snapshot what is known of environments, where the cluster knows them: whoever only looks does without.
func (s *site) addEnvironments(ctx context.Context, snapshot *fleet.Snapshot) error {
	there, err := served(s.cluster)
	if err != nil || !there[v1alpha1.Environments.Resource] {
		return err
	}
	if err := s.cluster.WatchEnvironments(ctx); err != nil {
		return err
	}
	return s.cluster.ObserveEnvironments(ctx, snapshot)
}

// switchroom connects.
func (a *app) switchroom(ctx context.Context, r *switching) (*switchroom, error) {
	book, err := bookOf(r.prices)
	if err != nil {
		return nil, err
	}
	cfg, err := a.conn.configAWS(ctx)
	if err != nil {
		return nil, err
	}
	s, err := a.conn.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.cluster.WatchEnvironments(ctx); err != nil {
		return nil, err
	}
	w := &switchroom{Switcher: s.switcher(nil), desk: s.cluster, place: s.place, may: s.may, publish: s.cluster.PublishEnvironment}
	w.try = (&archive.Archive{Bucket: s.cloud.Bucket()}).Try
	w.Options = env.Options{By: r.who(), Why: r.why, Forced: r.forced, Book: book, Region: cfg.Region}
	return w, nil
}

// declare has the Environments of a file count as if they were applied.
func (w *switchroom) declare(f *envFile) {
	w.file = f
	w.Board = declared{w.Board, f.environments}
}

// declared shows the Environments of a file in place of those in the cluster. What is on file there about their sleeps stays.
type declared struct {
	engine.Switchboard
	environments []fleet.Environment
}

func (d declared) ObserveEnvironments(ctx context.Context, s *fleet.Snapshot) error {
	if err := d.Switchboard.ObserveEnvironments(ctx, s); err != nil {
		return err
	}
	for _, e := range d.environments {
		have := s.Environment(e.Name)
		if have == nil {
			s.Environments = append(s.Environments, e)
			continue
		}
		other := slices.DeleteFunc(slices.Clone(have.Trouble), func(t string) bool { return strings.HasPrefix(t, "spec") })
		have.Source, have.Spec, have.Trouble = e.Source, e.Spec, append(slices.Clone(e.Trouble), other...)
	}
	slices.SortFunc(s.Environments, func(a, b fleet.Environment) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// plan plans to switch an environment, in the world of the snapshot.
func (w *switchroom) plan(s *fleet.Snapshot, name string, on bool) (env.Plan, []fleet.Finding) {
	if on {
		return env.Start(s, name, w.Options)
	}
	o := w.Options
	o.Run = engine.RunName(name, s.Now)
	return env.Stop(s, name, o)
}

// errNoEnvironment tells which environments there are.
func errNoEnvironment(s *fleet.Snapshot, name string) error {
	if s.Unslept != "" {
		return errors.New(s.Unslept)
	}
	if n := markedBy(s, name); n > 0 {
		return fmt.Errorf("environment %s: there is none of that name here, but %s of it; make it again: drover env repair %s -f FILE", name, counted(n, "object bears a mark", "objects bear marks"), name)
	}
	var have []string
	for i := range s.Environments {
		have = append(have, s.Environments[i].Name)
	}
	return fmt.Errorf("environment %s: there is none of that name here; there are: %s", name, orNone(have))
}

// markedBy is how many objects bear marks of an environment.
func markedBy(s *fleet.Snapshot, name string) int {
	n := 0
	for i := range s.Parts {
		if m := s.Parts[i].Mark; m != nil && m.Environment == name {
			n++
		}
	}
	for i := range s.Groups {
		if m := s.Groups[i].Sleep; m != nil && m.Environment == name {
			n++
		}
	}
	return n
}

// applyFile writes the Environment to the cluster, when it came in a file. The others of the file nobody has been shown.
func (w *switchroom) applyFile(ctx context.Context, name string) error {
	if w.file == nil {
		return nil
	}
	f, err := w.file.only(name)
	if err != nil {
		return err
	}
	_, err = w.desk.ApplyEnvironments(ctx, f.text, f.source, false)
	return err
}

// chosen reads the file, if one is named, and says which environment is meant.
func (r *switching) chosen(args []string) (*envFile, string, error) {
	if r.file == "" {
		if len(args) == 0 {
			return nil, "", usagef("which environment? Name it, or a file with --file; drover env list lists them")
		}
		return nil, args[0], nil
	}
	f, err := readEnvironments(r.file)
	if err != nil {
		return nil, "", err
	}
	name, err := f.named(args)
	if err != nil {
		return nil, "", err
	}
	f, err = f.only(name)
	return f, name, err
}
