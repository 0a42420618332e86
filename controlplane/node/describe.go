package node

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"drover.dev/controlplane/container"
)

// describer asks the API, as network plugins do: the runtime interface carries
// neither probes nor which containers are init containers.
func describer(client kubernetes.Interface) func(context.Context, string, string) (container.Description, error) {
	return func(ctx context.Context, namespace, name string) (container.Description, error) {
		pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return container.Description{}, err
		}
		return describe(&pod.Spec), nil
	}
}

func describe(spec *corev1.PodSpec) container.Description {
	d := container.Description{Init: map[string]bool{}, Probed: map[string][]int{}}
	for _, c := range spec.InitContainers {
		// One that is always restarted is a sidecar, and stays up.
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			d.Init[c.Name] = true
		}
		d.Probed[c.Name] = probedPorts(&c)
	}
	for _, c := range spec.Containers {
		d.Probed[c.Name] = probedPorts(&c)
	}
	return d
}

// probedPorts may name a port twice. HTTPS and gRPC probes are not answered.
func probedPorts(c *corev1.Container) (ports []int) {
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		switch {
		case probe == nil:
		case probe.HTTPGet != nil && probe.HTTPGet.Scheme != corev1.URISchemeHTTPS:
			ports = appendPort(ports, c, probe.HTTPGet.Port)
		case probe.TCPSocket != nil:
			ports = appendPort(ports, c, probe.TCPSocket.Port)
		}
	}
	return ports
}

func appendPort(ports []int, c *corev1.Container, port intstr.IntOrString) []int {
	if port.Type == intstr.Int {
		return append(ports, port.IntValue())
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return append(ports, int(p.ContainerPort))
		}
	}
	return ports
}
