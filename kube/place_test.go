package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A pod that tolerates a dead node for half a minute does not tolerate it for ever afterwards.
func TestTolerationsKeepTheirSeconds(t *testing.T) {
	half := int64(30)
	got := tolerationsOf([]corev1.Toleration{{Key: "node.kubernetes.io/not-ready", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &half}})
	if len(got) != 1 || got[0].Seconds != "30" || !got[0].Exists {
		t.Errorf("%+v", got)
	}
}
