package kube

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func version(name, v string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: v}}
}

// Whoever wrote reads what was written, until the informer shows that or something newer.
func TestOwnWritesAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o own[*corev1.Node]
		sees := func(what string, shown *corev1.Node, want string) {
			t.Helper()
			got := ""
			if n, ok := o.Get("n1", shown, shown != nil); ok {
				got = n.ResourceVersion
			}
			if got != want {
				t.Errorf("%s: version %q, want %q", what, got, want)
			}
		}
		sees("nothing at all", nil, "")
		sees("another's", version("n1", "5"), "5")
		o.Put(version("n1", "9"))
		o.Put(version("n1", "8")) // an answer that came late
		sees("an informer behind", version("n1", "5"), "9")
		sees("an informer without it", nil, "9")
		sees("numbers, not words", version("n1", "10"), "10")
		sees("after the informer came up", version("n1", "5"), "5") // cannot be: informers do not go back

		o.Put(version("n1", "11"))
		o.Drop(version("n1", "10")) // the one before was deleted, and this one made anew
		sees("made anew", nil, "11")
		o.Drop(version("n1", "12"))
		sees("deleted", nil, "")

		o.Put(version("n1", "13"))
		time.Sleep(patience + time.Second) // virtual
		sees("written and deleted unseen", nil, "")

		o.Put(version("n1", "20"))
		o.Put(version("n2", "21"))
		shown := map[string]*corev1.Node{"n1": version("n1", "30"), "n3": version("n3", "2")}
		o.Over(shown)
		if got := slices.Sorted(maps.Keys(shown)); !slices.Equal(got, []string{"n1", "n2", "n3"}) || shown["n1"].ResourceVersion != "30" {
			t.Errorf("over: %v", got)
		}
	})
}
