package machine

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// refused is an error with the Waiting reason to show for it.
type refused struct{ reason, message string }

func (r *refused) Error() string { return r.message }

const notSimulated = "NotSimulated"

// unsupported says what a process pod asks for that this package would have to pretend. nil means all of it is real.
func (p *pod) unsupported() error {
	if p.mach.m.Dir == "" {
		return fmt.Errorf("process pods need a folder, and this sandbox has none (machine.Options.Dir)")
	}
	for i := range p.spec.Volumes {
		if err := volumeSupported(&p.spec.Volumes[i]); err != nil {
			return fmt.Errorf("volume %s: %w", p.spec.Volumes[i].Name, err)
		}
	}
	for _, c := range p.containers {
		if err := c.supported(); err != nil {
			return fmt.Errorf("container %s: %w", c.spec.Name, err)
		}
	}
	return nil
}

func volumeSupported(v *corev1.Volume) error {
	fields := func(items []corev1.DownwardAPIVolumeFile) error {
		for _, item := range items {
			if item.FieldRef == nil {
				return fmt.Errorf("downward API file %s is not a fieldRef", item.Path)
			}
		}
		return nil
	}
	switch {
	case v.EmptyDir != nil, v.ConfigMap != nil, v.Secret != nil, v.PersistentVolumeClaim != nil:
		return nil
	case v.DownwardAPI != nil:
		return fields(v.DownwardAPI.Items)
	case v.HostPath != nil:
		if t := v.HostPath.Type; t != nil {
			switch *t {
			case corev1.HostPathSocket, corev1.HostPathCharDev, corev1.HostPathBlockDev:
				return fmt.Errorf("a hostPath of type %s does not exist on a light machine", *t)
			}
		}
		return nil
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			if s.DownwardAPI != nil {
				if err := fields(s.DownwardAPI.Items); err != nil {
					return err
				}
			}
			if s.ClusterTrustBundle != nil || s.PodCertificate != nil {
				return fmt.Errorf("projected cluster trust bundles and pod certificates are not simulated")
			}
		}
		return nil
	}
	return fmt.Errorf("this kind of volume is not simulated")
}

func (c *container) supported() error {
	if len(c.spec.Command) == 0 {
		return fmt.Errorf("it has no command, and images have no entrypoint here")
	}
	for _, m := range c.spec.VolumeMounts {
		if m.MountPath == "/" {
			return fmt.Errorf("a volume mounted at / cannot be simulated without a mount namespace")
		}
		if m.SubPathExpr != "" {
			return fmt.Errorf("subPathExpr is not simulated")
		}
	}
	if len(c.spec.VolumeDevices) > 0 {
		return fmt.Errorf("block devices are not simulated")
	}
	for _, e := range c.spec.Env {
		if f := e.ValueFrom; f != nil && f.FieldRef == nil && f.ConfigMapKeyRef == nil && f.SecretKeyRef == nil {
			return fmt.Errorf("variable %s: its source is not simulated", e.Name)
		}
	}
	if l := c.spec.Lifecycle; l != nil {
		for _, h := range []*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
			if h != nil && h.Exec == nil && h.HTTPGet == nil && h.Sleep == nil {
				return fmt.Errorf("this kind of lifecycle hook is not simulated")
			}
		}
		if l.StopSignal != nil {
			return fmt.Errorf("a stop signal other than SIGTERM is not simulated")
		}
	}
	for name, probe := range map[string]*corev1.Probe{"startup": c.spec.StartupProbe, "liveness": c.spec.LivenessProbe, "readiness": c.spec.ReadinessProbe} {
		if probe != nil && probe.Exec == nil && probe.HTTPGet == nil && probe.TCPSocket == nil {
			return fmt.Errorf("its %s probe is of a kind (gRPC?) that is not simulated", name)
		}
	}
	return nil
}
