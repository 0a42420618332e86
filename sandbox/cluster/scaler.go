package cluster

import "drover.dev/fleet"

// look lets the autoscaler look at a workload at its next turn, if there is something for it to do: turns at which it does nothing are left
// out, so that a cluster at rest has no events.
func (c *Cluster) look(w *workload) {
	if w.looks || w.wanted() == w.Replicas {
		return
	}
	w.looks = true
	period := max(c.timing.Scale, 1)
	c.after(period-c.now.Sub(c.began)%period, func() {
		w.looks = false
		if want := w.wanted(); !w.deleted && want != w.Replicas {
			if w.writer = "kube-controller-manager"; w.keda != nil {
				w.writer = "keda-operator"
			}
			c.scale(w, want)
		}
	})
}

// wanted is what the autoscaler would set replicas to. One that was switched off by 0 replicas stays off, as in Kubernetes, unless it is KEDA that
// asks.
func (w *workload) wanted() int {
	if w.keda != nil {
		if want, kept := w.keda.asks(w.Replicas); kept {
			return want
		}
	}
	if w.Scaler == nil || w.Replicas == 0 {
		return w.Replicas
	}
	want := w.Replicas
	if w.spec.Scaler != nil && w.spec.Scaler.Want > 0 {
		want = w.spec.Scaler.Want
	}
	return min(max(want, w.Scaler.Min), w.Scaler.Max)
}

// setBounds sets the autoscaler's bounds.
func (c *Cluster) setBounds(w *workload, least, most int) {
	s := *w.Scaler
	s.Min, s.Max = least, most
	w.Scaler = &s
	c.look(w)
	c.watchRepository(w)
}

// strayed tells whether a workload is not as its repository says. Where an autoscaler sets replicas, the repository says its bounds only.
func (w *workload) strayed() bool {
	switch {
	case w.spec.GitOps == nil || w.spec.GitOps.After <= 0:
		return false
	case w.Scaler != nil && w.spec.Scaler != nil:
		return w.Scaler.Min != w.spec.Scaler.Min || w.Scaler.Max != w.spec.Scaler.Max
	}
	return w.Replicas != w.spec.Replicas
}

// watchRepository takes a change back in a while, if it lasts.
func (c *Cluster) watchRepository(w *workload) {
	if w.reverts || !w.strayed() {
		return
	}
	w.reverts = true
	c.after(w.spec.GitOps.After, func() {
		w.reverts = false
		switch {
		case w.deleted || !w.strayed():
		case w.Scaler != nil:
			c.setBounds(w, w.spec.Scaler.Min, w.spec.Scaler.Max)
		default:
			w.writer = w.spec.GitOps.By
			c.scale(w, w.spec.Replicas)
		}
	})
}

// surgeMark is drover's mark on the workload or its autoscaler.
func (w *workload) surgeMark() *fleet.SurgeMark {
	if w.surging == nil {
		return nil
	}
	m := *w.surging
	return &m
}
