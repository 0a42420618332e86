package kube

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// ObserveEnvironments adds environments to a snapshot that Observe filled, what a stop may change, and what stands in its way. A kind that has not been
// seen for a while is an error, as with Observe. What is wrong with one environment is its own trouble.
func (c *Cluster) ObserveEnvironments(ctx context.Context, s *fleet.Snapshot) error {
	c.switches.Lock()
	defer c.switches.Unlock()
	in, err := c.watched()
	if err != nil {
		return err
	}
	c.observeSpecs(ctx, in, s)
	in.leadToCronJobs(s.Pods)
	if err := c.observeParts(in, s); err != nil {
		return err
	}
	if err := c.observeServices(in, s); err != nil {
		return err
	}
	c.observeBackends(in, s)
	s.Busy = append(s.Busy, in.runningJobs()...)
	return nil
}

// observeSpecs reads the environments.
func (c *Cluster) observeSpecs(ctx context.Context, in *informed, s *fleet.Snapshot) {
	if in.environments.unknown() || !in.environments.listed() {
		s.Unslept = unslept
		return
	}
	shown := map[string]*unstructured.Unstructured{}
	for _, u := range in.environments.list() {
		shown[keyOf(u)] = u
	}
	c.wrote.environments.Over(shown)
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		e, calendar := v1alpha1.ReadEnvironment(shown[name], sourceOf(name))
		if calendar != nil && e.Spec.Schedule != nil {
			var trouble string
			if e.Spec.Schedule.Calendar, trouble = c.calendar(ctx, *calendar, s.Now); trouble != "" {
				e.Trouble = append(e.Trouble, "spec.schedule.holidays.configMap: "+trouble)
			}
		}
		s.Environments = append(s.Environments, e)
	}
}

func sourceOf(name string) string { return "Environment " + name }

// seenCalendar is what an entry of a ConfigMap said.
type seenCalendar struct {
	text, trouble string
	at            time.Time
}

// calendarEvery is how often a calendar is read: nobody declares a holiday by the minute.
const calendarEvery = time.Minute

// calendar reads an iCalendar from a ConfigMap. What it said last counts while the API server does not answer.
func (c *Cluster) calendar(ctx context.Context, key v1alpha1.ConfigMapKey, now time.Time) (text, trouble string) {
	known, ok := c.switches.calendars[key]
	if age := now.Sub(known.at); ok && age >= 0 && age < calendarEvery {
		return known.text, known.trouble
	}
	m, err := c.client.CoreV1().ConfigMaps(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	fresh := seenCalendar{at: now}
	switch {
	case apierrors.IsNotFound(err):
		fresh.trouble = fmt.Sprintf("there is no configmap %s/%s", key.Namespace, key.Name)
	case err != nil && ok && known.trouble == "" && !lacksRight(err):
		fresh.text = known.text
	case err != nil:
		fresh.trouble = fmt.Sprintf("read configmap %s/%s: %v", key.Namespace, key.Name, err)
	default:
		var there bool
		if fresh.text, there = m.Data[key.Key]; !there {
			fresh.trouble = fmt.Sprintf("configmap %s/%s has no key %s", key.Namespace, key.Name, key.Key)
		}
	}
	if c.switches.calendars == nil {
		c.switches.calendars = map[v1alpha1.ConfigMapKey]seenCalendar{}
	}
	c.switches.calendars[key] = fresh
	return fresh.text, fresh.trouble
}

// blame adds trouble to the environments that a part belongs to, itself or through what it keeps: a mark that cannot be read is somebody's original.
func blame(s *fleet.Snapshot, part *fleet.Part, why string) {
	for i := range s.Environments {
		e := &s.Environments[i]
		its := func(p *fleet.Part) bool { return e.Spec.Has(p.Owner, p.Labels) }
		kept := slices.ContainsFunc(s.Parts, func(p fleet.Part) bool { return slices.Contains(p.Apps, part.Owner) && its(&p) })
		if kept || its(part) {
			e.Trouble = append(e.Trouble, why)
		}
	}
}

// hideOld takes marks of runs that are over out of sight. Deployments hand their annotations to their ReplicaSets, and kubectl rollout undo brings them
// back from there.
func hideOld(s *fleet.Snapshot) {
	for i := range s.Parts {
		m := s.Parts[i].Mark
		if m == nil {
			continue
		}
		e := s.Environment(m.Environment)
		if e == nil || e.Record != nil && e.Record.Run == m.Run {
			continue
		}
		over := slices.ContainsFunc(e.Sleeps, func(over fleet.Sleep) bool { return over.Run == m.Run })
		if over || e.Record == nil && !s.Parts[i].Off && forgotten(e, m.Run) {
			s.Parts[i].Mark = nil
		}
	}
}

// forgotten tells whether a run is older than any sleep that is kept. Runs of an environment are its name and the time, and so sort by it.
func forgotten(e *fleet.Environment, run string) bool {
	if len(e.Sleeps) == 0 {
		return false
	}
	oldest := e.Sleeps[0].Run
	return len(run) == len(oldest) && strings.HasPrefix(run, e.Name+"-") && strings.HasPrefix(oldest, e.Name+"-") && run < oldest
}

// sortServices orders services by namespace and name.
func sortServices(all []fleet.Service) {
	slices.SortFunc(all, func(a, b fleet.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}
