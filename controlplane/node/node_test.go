package node

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestParse(t *testing.T) {
	need := []string{"--kubeconfig=k", "--node-name=n", "--data=d", "--pod-cidr=10.210.7.0/24"}
	o, err := Parse(append(need, "--labels=a=1,b/c=", "--taints=spot=true:NoSchedule,new=:NoExecute", "--memory=8Gi"))
	if err != nil {
		t.Fatal(err)
	}
	if o.Labels["a"] != "1" || len(o.Labels) != 2 || o.Memory.String() != "8Gi" || o.IP.String() != "10.210.7.1" {
		t.Errorf("options %+v", o)
	}
	want := []corev1.Taint{{Key: "spot", Value: "true", Effect: "NoSchedule"}, {Key: "new", Effect: "NoExecute"}}
	if !slices.Equal(o.Taints, want) {
		t.Errorf("taints %+v, want %+v", o.Taints, want)
	}
	for flag, says := range map[string]string{
		"--labels=a":           "want key=value",
		"--taints=a=b":         "want key=value:Effect",
		"--node-ip=127.0.0.1":  "not loopback",
		"--memory=much":        "memory",
		"--node-name=":         "--node-name is missing",
		"--pod-cidr=somewhere": "pod-cidr",
	} {
		if _, err := Parse(append(need, flag)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", flag, err, says)
		}
	}
}

func TestDescribe(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	http := func(port intstr.IntOrString) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: port}}}
	}
	d := describe(&corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "migrate"}, {Name: "mesh", RestartPolicy: &always}},
		Containers: []corev1.Container{{
			Name:          "api",
			Ports:         []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			LivenessProbe: http(intstr.FromString("http")), ReadinessProbe: http(intstr.FromInt32(9090)),
		}},
	})
	if !d.Init["migrate"] || d.Init["mesh"] || !slices.Equal(d.Probed["api"], []int{8080, 9090}) {
		t.Errorf("%+v", d)
	}
}
