package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// The canaries that came through: a ConfigMap, id by id, so that drover check sees from another process that its message arrived.
const (
	canaryNamespace = "kube-system"
	canaryName      = "drover-check"
	keepCanaries    = 10
)

// WriteCanary notes that a message of drover check came through, and when. The oldest notes go.
func (c *Cluster) WriteCanary(ctx context.Context, id string, at time.Time) error {
	api := c.client.CoreV1().ConfigMaps(canaryNamespace)
	stamp := at.UTC().Format(time.RFC3339Nano)
	err := again(func() error {
		m, err := api.Get(ctx, canaryName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			m = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: canaryNamespace, Name: canaryName}, Data: map[string]string{id: stamp}}
			_, err = api.Create(ctx, m, metav1.CreateOptions{FieldManager: "drover"})
			if apierrors.IsAlreadyExists(err) {
				return apierrors.NewConflict(corev1.Resource("configmaps"), canaryName, err)
			}
			return classify(err)
		}
		if err != nil {
			return classify(err)
		}
		have, err := canariesOf(m)
		if err != nil {
			return err
		}
		if was, ok := have[id]; ok && !was.Before(at) {
			return nil
		}
		have[id] = at
		m.Data = latest(have)
		_, err = api.Update(ctx, m, metav1.UpdateOptions{FieldManager: "drover"})
		return changed(err)
	})
	if err != nil {
		return fmt.Errorf("note canary %q in configmap %s/%s: %w", id, canaryNamespace, canaryName, err)
	}
	return nil
}

// ReadCanaries tells which messages of drover check came through last, and when.
func (c *Cluster) ReadCanaries(ctx context.Context) (map[string]time.Time, error) {
	m, err := c.client.CoreV1().ConfigMaps(canaryNamespace).Get(ctx, canaryName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return map[string]time.Time{}, nil
	}
	if err != nil {
		return nil, classify(fmt.Errorf("read configmap %s/%s: %w", canaryNamespace, canaryName, err))
	}
	return canariesOf(m)
}

func canariesOf(m *corev1.ConfigMap) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	for id, stamp := range m.Data {
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			return nil, fmt.Errorf("configmap %s/%s: %s: %w; remove it by hand", m.Namespace, m.Name, id, err)
		}
		out[id] = at
	}
	return out, nil
}

// latest are the newest canaries, as they are written.
func latest(all map[string]time.Time) map[string]string {
	var notes []fleet.Entry
	for id, at := range all {
		notes = append(notes, fleet.Entry{At: at, What: id})
	}
	fleet.SortEntries(notes)
	out := map[string]string{}
	for _, n := range notes[max(0, len(notes)-keepCanaries):] {
		out[n.What] = n.At.UTC().Format(time.RFC3339Nano)
	}
	return out
}
