package cluster

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"drover.dev/fleet"
)

// CronSpec is a CronJob: every so often a Job of one pod, unless the one before still runs.
type CronSpec struct {
	Owner   fleet.Owner // of kind CronJob
	Labels  map[string]string
	Every   time.Duration
	Runs    time.Duration // of each pod, Ready to finished
	Suspend *bool
	Needs   []string
	Pod     Spec // what its pods are like; Owner, Replicas and Runs are the Job's own
}

// cron is a CronJob with its latest Job.
type cron struct {
	object
	spec    CronSpec
	suspend *bool
	turn    int       // counts suspensions, to tell one from an earlier one
	next    time.Time // when it fires next, suspended or not
	latest  fleet.Owner
}

// ApplyCron makes a CronJob.
func (c *Cluster) ApplyCron(s CronSpec) error {
	return c.do(func() error {
		if s.Owner.Kind != "CronJob" || s.Owner.Name == "" || s.Owner.Namespace == "" || s.Every <= 0 {
			return fmt.Errorf("apply %s: want a CronJob with a namespace, a name and how often it fires", s.Owner)
		}
		if c.things[s.Owner] != nil {
			return fmt.Errorf("apply %s: it is there already", s.Owner)
		}
		j := &cron{object: c.newObject(s.Labels, "kubectl"), spec: s, suspend: s.Suspend, next: c.now.Add(s.Every)}
		if job := j.job(); c.check(&job) != nil {
			return fmt.Errorf("apply %s: its pods: %w", s.Owner, c.check(&job))
		}
		c.things[s.Owner] = j
		c.await(j)
		return nil
	})
}

func (j *cron) named() fleet.Owner { return j.spec.Owner }

func (j *cron) part() fleet.Part {
	p := fleet.Part{Turn: fleet.Suspended, APIVersion: "batch/v1", Absent: j.suspend == nil, Off: j.asleep()}
	if j.suspend != nil {
		p.Value = strconv.FormatBool(*j.suspend)
	}
	return p
}

func (j *cron) asleep() bool { return j.suspend != nil && *j.suspend }

func (j *cron) said() (string, bool, bool) {
	if j.spec.Suspend == nil {
		return "", true, true
	}
	return strconv.FormatBool(*j.spec.Suspend), false, true
}

// set suspends the CronJob, or lets it go on. What it missed meanwhile it makes up for by one Job, at once, as Kubernetes does for one that says no
// deadline.
func (j *cron) set(c *Cluster, value string, absent bool) error {
	was := j.asleep()
	if absent {
		j.suspend = nil
	} else {
		on, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("suspend %s: %w", j.spec.Owner, err)
		}
		j.suspend = &on
	}
	if j.asleep() == was {
		return nil
	}
	j.turn++
	c.await(j)
	return nil
}

// await has a CronJob fire when its time comes; at once when that is over.
func (c *Cluster) await(j *cron) {
	if j.asleep() {
		return
	}
	turn := j.turn
	c.after(j.next.Sub(c.now), func() {
		if j.turn != turn || c.things[j.spec.Owner] != switched(j) {
			return
		}
		c.fire(j)
		for !j.next.After(c.now) {
			j.next = j.next.Add(j.spec.Every)
		}
		c.await(j)
	})
}

// fire makes a Job, and removes the one before.
func (c *Cluster) fire(j *cron) {
	if w := c.workload[j.latest]; w != nil {
		if len(w.live()) > 0 {
			return
		}
		c.erase(w)
	}
	job := j.job()
	j.latest = job.Owner
	_ = c.apply(job) // was checked when the CronJob was made
	if w := c.workload[job.Owner]; w != nil {
		w.maker = j
	}
}

// job is the Job that the CronJob makes next.
func (j *cron) job() Spec {
	s := j.spec.Pod
	s.Owner = fleet.Owner{Kind: "Job", Namespace: j.spec.Owner.Namespace, Name: fmt.Sprintf("%s-%d", j.spec.Owner.Name, j.next.Unix()/60)}
	s.Replicas, s.Runs, s.Needs, s.Own = 1, j.spec.Runs, j.spec.Needs, maps.Clone(j.spec.Labels)
	return s
}

// cronOf is the CronJob that made a Job; nil when none did.
func (c *Cluster) cronOf(o fleet.Owner) *cron {
	w := c.workload[o]
	if w == nil {
		return nil
	}
	return w.maker
}
