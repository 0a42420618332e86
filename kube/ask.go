package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// Annotations of a pod that somebody wants to leave.
const (
	askedAt = prefix + "asked-at"
	askedBy = prefix + "asked-by"
)

// askedOf reads who wants the pod to leave; nil when nobody does. A moment that cannot be read makes the wish no less one.
func askedOf(m *metav1.ObjectMeta) *fleet.Asked {
	when, asked := m.Annotations[askedAt]
	if !asked {
		return nil
	}
	out := &fleet.Asked{By: m.Annotations[askedBy]}
	if out.By == "" {
		out.By = "somebody"
	}
	var err error
	if out.At, err = time.Parse(time.RFC3339, when); err != nil {
		out.By += fmt.Sprintf(" (annotation %s is %q: want a moment such as 2026-01-31T12:00:00Z)", askedAt, when)
	}
	return out
}

// Ask says on exactly this pod that somebody wants it to leave. Who asked first stays named. For a pod that is gone there is nothing to ask.
func (c *Cluster) Ask(ctx context.Context, pod fleet.PodRef, by string, at time.Time) error {
	return c.annotatePod(ctx, pod, func(p *corev1.Pod) map[string]any {
		if _, asked := p.Annotations[askedAt]; asked {
			return nil
		}
		return map[string]any{askedAt: at.UTC().Format(time.RFC3339), askedBy: by}
	})
}

// Unask takes that back, whoever asked.
func (c *Cluster) Unask(ctx context.Context, pod fleet.PodRef) error {
	return c.annotatePod(ctx, pod, func(p *corev1.Pod) map[string]any {
		if _, asked := p.Annotations[askedAt]; !asked {
			return nil
		}
		return map[string]any{askedAt: nil, askedBy: nil}
	})
}

// annotatePod changes annotations of exactly this pod, as it is now; nothing when decide returns nil, or the pod is gone. The kubelet writes pods, too,
// so it tries as often as fileTries.
func (c *Cluster) annotatePod(ctx context.Context, pod fleet.PodRef, decide func(*corev1.Pod) map[string]any) error {
	if pod.UID == "" {
		return fmt.Errorf("annotate pod %s: which of that name? want its UID", pod)
	}
	return insist(fileTries, func() error {
		p, err := c.livePod(ctx, pod)
		if err != nil || p == nil {
			return err
		}
		if values := decide(p); values != nil {
			return c.patchPod(ctx, p, values)
		}
		return nil
	})
}
