package kube

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// triesAtOnce is how many evictions are tried at the same time.
const triesAtOnce = 16

// TryEvict asks for each pod's eviction without meaning it, and returns, for those that would be refused, by whom and why. It goes through all
// of admission: webhooks that declare no dry run are refused by the API server, and say so here. A pod that is gone is no trouble. When ctx ends
// it returns what it knows by then; tried is how many were answered.
func (c *Cluster) TryEvict(ctx context.Context, pods []fleet.PodRef) (refused map[fleet.PodRef]string, tried int) {
	refused = map[fleet.PodRef]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan fleet.PodRef)
	for range min(triesAtOnce, len(pods)) {
		wg.Go(func() {
			for ref := range next {
				err := c.askEviction(ctx, ref, "dry-run", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
				if err != nil && ctx.Err() != nil {
					continue // no answer
				}
				mu.Lock()
				if tried++; err != nil {
					refused[ref] = err.Error()
				}
				mu.Unlock()
			}
		})
	}
	for _, ref := range pods {
		next <- ref
	}
	close(next)
	wg.Wait()
	return refused, tried
}
