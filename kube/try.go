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
// of admission: webhooks that declare no dry run are refused by the API server, and say so here. A pod that is gone is no trouble.
func (c *Cluster) TryEvict(ctx context.Context, pods []fleet.PodRef) map[fleet.PodRef]string {
	out := map[fleet.PodRef]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan fleet.PodRef)
	for range min(triesAtOnce, len(pods)) {
		wg.Go(func() {
			for ref := range next {
				if err := c.askEviction(ctx, ref, metav1.DryRunAll); err != nil {
					mu.Lock()
					out[ref] = err.Error()
					mu.Unlock()
				}
			}
		})
	}
	for _, ref := range pods {
		next <- ref
	}
	close(next)
	wg.Wait()
	return out
}
