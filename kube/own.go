package kube

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// own remembers what this process wrote until the informer shows it. An informer is a moment behind, and who has just written must not decide by
// what was before. The zero value is ready.
type own[T metav1.Object] struct {
	mu    sync.Mutex
	wrote map[string]written[T] // by keyOf
}

type written[T metav1.Object] struct {
	object T
	at     time.Time
}

// Put remembers an object as the API server answered it.
func (o *own[T]) Put(object T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wrote == nil {
		o.wrote = map[string]written[T]{}
	}
	if have, ok := o.wrote[keyOf(object)]; !ok || newer(object, have.object) {
		o.wrote[keyOf(object)] = written[T]{object, time.Now()}
	}
}

// keyOf names an object among those of its kind: its name, or namespace/name.
func keyOf(o metav1.Object) string {
	if namespace := o.GetNamespace(); namespace != "" {
		return namespace + "/" + o.GetName()
	}
	return o.GetName()
}

// Get returns the newer of what the informer shows, if it shows anything, and of what was written.
func (o *own[T]) Get(key string, shown T, there bool) (T, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.get(key, shown, there)
}

// get forgets what it needs no more. An informer that is more than patience behind is lost anyway; what it does not show by then is gone.
func (o *own[T]) get(key string, shown T, there bool) (T, bool) {
	w, ok := o.wrote[key]
	if !ok {
		return shown, there
	}
	if there && !newer(w.object, shown) || time.Since(w.at) > patience {
		delete(o.wrote, key)
		return shown, there
	}
	return w.object, true
}

// Over lays what was written over what the informer shows, by keyOf.
func (o *own[T]) Over(shown map[string]T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.wrote {
		seen, there := shown[key]
		if got, ok := o.get(key, seen, there); ok {
			shown[key] = got
		}
	}
}

// Drop forgets an object that is gone. One that was made anew since has a higher version than last had, and stays.
func (o *own[T]) Drop(last T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if w, ok := o.wrote[keyOf(last)]; ok && !newer(w.object, last) {
		delete(o.wrote, keyOf(last))
	}
}

// newer tells whether a is a later version than b of the same kind.
func newer(a, b metav1.Object) bool {
	order, err := resourceversion.CompareResourceVersion(a.GetResourceVersion(), b.GetResourceVersion())
	return err == nil && order > 0
}
