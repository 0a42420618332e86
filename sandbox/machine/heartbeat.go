package machine

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The kubelet's rhythm. It is not scaled: the node controller that listens lives in real time.
const (
	leaseEvery  = leaseSeconds * time.Second / 4
	statusEvery = 5 * time.Minute // of an unchanged status
	beaters     = 8
)

// beat renews the leases of all machines in one loop, a few at a time.
func (m *Manager) beat() {
	for pause(m.ctx, leaseEvery) {
		m.proxies.retry()
		queue := make(chan *Machine)
		var done sync.WaitGroup
		for range beaters {
			done.Go(func() {
				for mach := range queue {
					mach.beat()
				}
			})
		}
		for _, mach := range m.Machines() {
			queue <- mach
		}
		close(queue)
		done.Wait()
	}
}

func (mach *Machine) beat() {
	mach.mu.Lock()
	alive := !mach.dead && mach.registered
	ready, due := mach.ready, time.Since(mach.heartbeat) >= statusEvery
	mach.mu.Unlock()
	if !alive {
		return
	}
	if err := mach.renewLease(); err != nil && mach.ctx.Err() == nil {
		mach.m.Log.Warn("heartbeat", "node", mach.spec.Name, "error", err)
	}
	if !due || ready.IsZero() {
		return
	}
	now := metav1.Now()
	if err := mach.patchConditions(nodeConditions(true, now, ready)); err != nil {
		if mach.ctx.Err() == nil {
			mach.m.Log.Warn("heartbeat", "node", mach.spec.Name, "error", err)
		}
		return
	}
	mach.mu.Lock()
	mach.heartbeat = now.Time
	mach.mu.Unlock()
}
