package machine

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// status is the pod's status as of now; only fields and conditions that are a kubelet's to write. Callers hold mu.
func (p *pod) status() corev1.PodStatus {
	s := corev1.PodStatus{
		ObservedGeneration: p.obj.Generation,
		Phase:              p.phase(),
		Reason:             p.cause,
		StartTime:          &p.startTime,
		HostIP:             ClusterAddress(p.mach.spec.NodeIP),
		QOSClass:           p.obj.Status.QOSClass, // the API server's own; immutable
	}
	s.HostIPs = []corev1.HostIP{{IP: s.HostIP}}
	if p.ip != "" {
		s.PodIP = ClusterAddress(p.ip)
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	}
	initialized, ready := true, true
	for _, c := range p.containers {
		cs := c.status()
		switch c.role {
		case initial:
			s.InitContainerStatuses = append(s.InitContainerStatuses, cs)
			initialized = initialized && cs.State.Terminated != nil && cs.State.Terminated.ExitCode == 0
		case sidecar:
			s.InitContainerStatuses = append(s.InitContainerStatuses, cs)
			initialized = initialized && c.hasBeenUp()
			ready = ready && cs.Ready
		case ordinary:
			s.ContainerStatuses = append(s.ContainerStatuses, cs)
			ready = ready && cs.Ready
		}
	}
	s.Conditions = p.conditionsFor(s.Phase, initialized, ready)
	return s
}

func (p *pod) phase() corev1.PodPhase {
	if p.cause != "" && p.finished {
		return corev1.PodFailed
	}
	running, again, failed, waiting := false, false, false, false
	for _, c := range p.containers {
		t := c.state.Terminated
		switch {
		case c.role == sidecar:
		case c.role == initial && t != nil && t.ExitCode != 0 && c.given:
			return corev1.PodFailed
		case c.role == initial:
			waiting = waiting || t == nil || t.ExitCode != 0
		case c.state.Running != nil:
			running = true
		case t != nil:
			failed = failed || t.ExitCode != 0
			again = again || !c.given && !p.finished
		case c.last != nil: // between two attempts
			again = true
		default:
			waiting = true
		}
	}
	switch {
	case p.finished && (waiting || failed || again):
		return corev1.PodFailed
	case waiting:
		return corev1.PodPending
	case running || again:
		return corev1.PodRunning
	case failed:
		return corev1.PodFailed
	}
	return corev1.PodSucceeded
}

func (p *pod) conditionsFor(phase corev1.PodPhase, initialized, ready bool) []corev1.PodCondition {
	done := phase == corev1.PodSucceeded || phase == corev1.PodFailed
	containers := fact(corev1.ContainersReady, ready && !done, "ContainersNotReady", "containers are not ready")
	if phase == corev1.PodSucceeded {
		initialized = true
	}
	if phase == corev1.PodSucceeded {
		containers.Reason, containers.Message = "PodCompleted", ""
	} else if phase == corev1.PodFailed {
		containers.Reason, containers.Message = "PodFailed", ""
	}
	whole := containers
	whole.Type = corev1.PodReady
	if whole.Status == corev1.ConditionTrue {
		for _, gate := range p.spec.ReadinessGates {
			if c := condition(p.obj, gate.ConditionType); c == nil || c.Status != corev1.ConditionTrue {
				whole = fact(corev1.PodReady, false, "ReadinessGatesNotReady", "the readiness gate "+string(gate.ConditionType)+" is not True")
				break
			}
		}
	}
	out := []corev1.PodCondition{
		fact(corev1.PodReadyToStartContainers, p.ip != "" && !done, "", ""),
		fact(corev1.PodInitialized, initialized, "ContainersNotInitialized", "init containers are not complete"),
		whole,
		containers,
	}
	if condition(p.obj, corev1.PodScheduled) == nil { // bound by hand; otherwise it is the scheduler's
		out = append(out, fact(corev1.PodScheduled, true, "", ""))
	}
	for i := range out {
		out[i] = p.since(out[i])
	}
	return out
}

func fact(t corev1.PodConditionType, holds bool, otherwise, message string) corev1.PodCondition {
	if holds {
		return corev1.PodCondition{Type: t, Status: corev1.ConditionTrue}
	}
	return corev1.PodCondition{Type: t, Status: corev1.ConditionFalse, Reason: otherwise, Message: message}
}

// since gives a condition the time of its last change.
func (p *pod) since(c corev1.PodCondition) corev1.PodCondition {
	c.ObservedGeneration = p.obj.Generation
	c.LastTransitionTime = metav1.Now()
	if old, ok := p.conditions[c.Type]; ok && old.Status == c.Status {
		c.LastTransitionTime = old.LastTransitionTime
	}
	p.conditions[c.Type] = c
	return c
}

func condition(p *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == t {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}
