package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"drover.dev/fleet"
)

// patience is how long a kind may be neither listed nor watched before its last known state counts as too old to act on. A server that
// restarts takes less; a right that was taken away, or a kind that is served no more, lasts.
const patience = time.Minute

// kind is one kind of object that is watched.
type kind struct {
	name     string
	informer cache.SharedIndexInformer
	listed   func() bool
	fail     context.CancelCauseFunc // ends the wait for the first listings
	mayLack  bool                    // the server need not know the kind
	quiet    bool                    // its changes wake nobody

	mu    sync.Mutex
	err   error     // of the last listing or watch; nil when it went well
	since time.Time // when the first of those that went wrong in a row did

	served     func() uint64 // counts the changes of which kinds the server knows; nil where nobody counts them
	lacks      error         // the server's word that it does not know the kind; nil when it never said so
	lacksSince uint64        // served when it said so
	lackedOn   time.Time     // when
}

// newKind is a kind with an informer that nobody runs yet.
func newKind(name string, lw *cache.ListWatch, example runtime.Object, fail context.CancelCauseFunc) *kind {
	k := &kind{name: name, fail: fail}
	k.informer = cache.NewSharedIndexInformer(k.listen(lw), example, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	k.listed = k.informer.HasSynced
	return k
}

// listen lets the kind hear how every listing, and every beginning of a watch, went.
func (k *kind) listen(lw *cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			if err := k.lacking(); err != nil {
				return nil, err
			}
			out, err := lw.ListWithContextFunc(ctx, o)
			k.heard(err)
			return out, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			if err := k.lacking(); err != nil {
				return nil, err
			}
			out, err := lw.WatchFuncWithContext(ctx, o)
			k.heard(err)
			return out, err
		},
	}
}

// heard notes how it went. What no retry mends ends the wait for the first listings.
func (k *kind) heard(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.err, k.since = nil, time.Time{}
		return
	}
	if k.since.IsZero() {
		k.since = time.Now()
	}
	if k.served != nil && apierrors.IsNotFound(err) {
		k.lacks, k.lacksSince, k.lackedOn = err, k.served(), time.Now()
	}
	k.err = classify(fmt.Errorf("list %s: %w", k.name, err))
	var fatal *fleet.Fatal
	if errors.As(k.err, &fatal) {
		k.fail(k.err)
	}
}

// lacking is the server's last word on a kind that it does not know, as long as nothing says that it knows others by now: it is not asked again and again.
func (k *kind) lacking() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil || k.lacks == nil || k.served() != k.lacksSince || time.Since(k.lackedOn) > lackingFor {
		return nil
	}
	return k.lacks
}

// lackingFor is for how long a server's word on a kind that it does not know is good, should nobody hear of a change.
const lackingFor = 10 * time.Minute

// lost tells what keeps the kind from being seen, once that lasts; nil while it is seen.
func (k *kind) lost() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil || time.Since(k.since) < patience || k.mayLack && apierrors.IsNotFound(k.err) {
		return nil
	}
	return fmt.Errorf("%w (for %s by now, so what is known of them is too old to act on)", k.err, time.Since(k.since).Round(time.Second))
}

// unknown tells whether the server does not know the kind.
func (k *kind) unknown() bool { return k.mayLack && apierrors.IsNotFound(k.last()) }

func (k *kind) last() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// wait returns when the kind has been listed, or need not be.
func (k *kind) wait(within context.Context) error {
	if cache.WaitForCacheSync(within.Done(), func() bool { return k.listed() || k.unknown() }) {
		return nil
	}
	cause := context.Cause(within)
	var fatal *fleet.Fatal
	if errors.As(cause, &fatal) {
		return cause
	}
	if err := k.last(); err != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return fmt.Errorf("list %s: %w", k.name, cause)
}
