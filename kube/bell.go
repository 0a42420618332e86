package kube

import (
	"sync"
	"time"
)

// calm is the least time between two wakes. A cluster under way changes hundreds of times a second, and each wake costs a look at all of it.
const calm = 100 * time.Millisecond

// bell wakes a listener: at the first change at once, at those that follow within calm once more when it is over. The last change is
// always followed by a wake.
type bell struct {
	C chan struct{}

	mu    sync.Mutex
	rang  time.Time
	armed bool // a timer will ring
}

func newBell() *bell { return &bell{C: make(chan struct{}, 1)} }

// Ring tells of a change.
func (b *bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.armed {
		return
	}
	if rest := calm - time.Since(b.rang); rest > 0 {
		b.armed = true
		time.AfterFunc(rest, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.armed = false
			b.ring()
		})
		return
	}
	b.ring()
}

func (b *bell) ring() {
	b.rang = time.Now()
	select {
	case b.C <- struct{}{}:
	default: // not heard yet
	}
}
