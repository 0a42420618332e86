package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// folder is a process pod on the disk.
type folder struct {
	dir     string            // <Options.Dir>/pods/<namespace>_<name>_<uid>
	volumes map[string]string // real directory, by volume name
}

// makeFiles makes the pod's volumes and each container's view of them. It may be called again after an error.
func (p *pod) makeFiles(ctx context.Context) error {
	f := &folder{dir: p.mach.m.podDir(p.namespace, p.name, p.uid), volumes: map[string]string{}}
	for i := range p.spec.Volumes {
		v := &p.spec.Volumes[i]
		dir := filepath.Join(f.dir, "volumes", v.Name)
		dir, err := p.makeVolume(ctx, v, dir)
		if err != nil {
			return fmt.Errorf("volume %s: %w", v.Name, err)
		}
		f.volumes[v.Name] = dir
	}
	for _, c := range p.containers {
		work := filepath.Join(f.dir, "work", c.spec.Name)
		if err := p.makeDir(work, c.spec); err != nil {
			return err
		}
		var ms mounts
		for _, m := range c.spec.VolumeMounts {
			real := filepath.Join(f.volumes[m.Name], filepath.Clean("/"+m.SubPath))
			if _, err := os.Stat(real); err != nil {
				if err := p.makeDir(real, c.spec); err != nil {
					return err
				}
			}
			ms = append(ms, mount{at: filepath.Clean(m.MountPath), real: real})
		}
		p.mounts[c.spec.Name] = ms.sorted()
	}
	p.files = f
	return nil
}

// makeVolume fills a volume and returns where it is: below the pod's folder unless it outlives the pod.
func (p *pod) makeVolume(ctx context.Context, v *corev1.Volume, dir string) (string, error) {
	switch {
	case v.EmptyDir != nil:
		if err := p.makeDir(dir, nil); err != nil {
			return "", err
		}
		return dir, os.Chmod(dir, 0o777) // as the kubelet: containers of a pod may have different users
	case v.HostPath != nil:
		dir = filepath.Join(p.mach.m.Dir, "hosts", p.mach.spec.Name, filepath.Clean("/"+v.HostPath.Path))
		if t := v.HostPath.Type; t != nil && (*t == corev1.HostPathFile || *t == corev1.HostPathFileOrCreate) {
			if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
				return "", err
			}
			file, err := os.OpenFile(dir, os.O_CREATE, 0o644)
			if err != nil {
				return "", err
			}
			return dir, file.Close()
		}
		return dir, p.makeDir(dir, nil)
	case v.PersistentVolumeClaim != nil:
		claim, err := p.mach.m.Client.CoreV1().PersistentVolumeClaims(p.namespace).Get(ctx, v.PersistentVolumeClaim.ClaimName, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if claim.Spec.VolumeName == "" {
			return "", fmt.Errorf("claim %s is not bound", claim.Name)
		}
		dir = filepath.Join(p.mach.m.Dir, "persistent", claim.Spec.VolumeName)
		return dir, p.makeDir(dir, nil)
	}
	sources := []corev1.VolumeProjection{}
	switch {
	case v.ConfigMap != nil:
		sources = append(sources, corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: v.ConfigMap.LocalObjectReference, Items: v.ConfigMap.Items, Optional: v.ConfigMap.Optional}})
	case v.Secret != nil:
		sources = append(sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: v.Secret.SecretName}, Items: v.Secret.Items, Optional: v.Secret.Optional}})
	case v.DownwardAPI != nil:
		sources = append(sources, corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: v.DownwardAPI.Items}})
	case v.Projected != nil:
		sources = v.Projected.Sources
	}
	if err := p.makeDir(dir, nil); err != nil {
		return "", err
	}
	for _, s := range sources {
		files, err := p.project(ctx, s)
		if err != nil {
			return "", err
		}
		for name, content := range files {
			if err := p.makeFile(filepath.Join(dir, filepath.Clean("/"+name)), content, fileMode(v)); err != nil {
				return "", err
			}
		}
	}
	return dir, nil
}

func fileMode(v *corev1.Volume) os.FileMode {
	var mode *int32
	switch {
	case v.ConfigMap != nil:
		mode = v.ConfigMap.DefaultMode
	case v.Secret != nil:
		mode = v.Secret.DefaultMode
	case v.DownwardAPI != nil:
		mode = v.DownwardAPI.DefaultMode
	case v.Projected != nil:
		mode = v.Projected.DefaultMode
	}
	if mode == nil {
		return 0o644
	}
	return os.FileMode(*mode) & os.ModePerm
}

// project returns the files of one source, by path below the volume.
func (p *pod) project(ctx context.Context, s corev1.VolumeProjection) (map[string][]byte, error) {
	switch {
	case s.ConfigMap != nil:
		all, err := p.configMap(ctx, s.ConfigMap.Name, s.ConfigMap.Optional)
		if err != nil {
			return nil, err
		}
		return items("ConfigMap "+s.ConfigMap.Name, all, s.ConfigMap.Items, s.ConfigMap.Optional)
	case s.Secret != nil:
		all, err := p.secret(ctx, s.Secret.Name, s.Secret.Optional)
		if err != nil {
			return nil, err
		}
		return items("Secret "+s.Secret.Name, all, s.Secret.Items, s.Secret.Optional)
	case s.DownwardAPI != nil:
		files := map[string][]byte{}
		for _, item := range s.DownwardAPI.Items {
			value, err := p.field(item.FieldRef.FieldPath)
			if err != nil {
				return nil, err
			}
			files[item.Path] = []byte(value)
		}
		return files, nil
	case s.ServiceAccountToken != nil:
		t := s.ServiceAccountToken
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: t.ExpirationSeconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.name, UID: p.uid},
		}}
		if t.Audience != "" {
			request.Spec.Audiences = []string{t.Audience}
		}
		got, err := p.mach.m.Client.CoreV1().ServiceAccounts(p.namespace).CreateToken(ctx, p.spec.ServiceAccountName, request, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("token of service account %s: %w", p.spec.ServiceAccountName, err)
		}
		return map[string][]byte{t.Path: []byte(got.Status.Token)}, nil
	}
	return nil, nil
}

func items(of string, all map[string][]byte, chosen []corev1.KeyToPath, optional *bool) (map[string][]byte, error) {
	if len(chosen) == 0 {
		return all, nil
	}
	out := map[string][]byte{}
	for _, item := range chosen {
		content, ok := all[item.Key]
		if !ok && !isTrue(optional) {
			return nil, fmt.Errorf("%s has no key %s", of, item.Key)
		}
		if ok {
			out[item.Path] = content
		}
	}
	return out, nil
}

func (p *pod) makeDir(dir string, owner *corev1.Container) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	uid, gid := p.identity(owner)
	if uid < 0 && gid < 0 {
		return nil
	}
	if owner == nil && gid >= 0 { // a volume of the pod's fsGroup
		if err := os.Chmod(dir, 0o775|os.ModeSetgid); err != nil {
			return err
		}
	}
	return os.Chown(dir, uid, gid)
}

func (p *pod) makeFile(name string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, content, mode); err != nil {
		return err
	}
	uid, gid := p.identity(nil)
	if uid < 0 && gid < 0 {
		return nil
	}
	return os.Chown(name, uid, gid)
}

// identity is the user and group that a container (or, for nil, a volume) is meant for; -1 where nothing was asked for, and
// everywhere when the sandbox is not root and therefore runs all as itself. A volume belongs to fsGroup and to the pod's user.
func (p *pod) identity(c *corev1.Container) (uid, gid int) {
	uid, gid = -1, -1
	if os.Geteuid() != 0 {
		return
	}
	if sc := p.spec.SecurityContext; sc != nil {
		uid, gid = or(sc.RunAsUser, uid), or(sc.RunAsGroup, gid)
		if c == nil {
			gid = or(sc.FSGroup, gid)
		}
	}
	if c == nil {
		if uid < 0 && len(p.spec.Containers) == 1 {
			uid, _ = p.identity(&p.spec.Containers[0])
		}
		return
	}
	if sc := c.SecurityContext; sc != nil {
		uid, gid = or(sc.RunAsUser, uid), or(sc.RunAsGroup, gid)
	}
	return
}

func or(v *int64, otherwise int) int {
	if v == nil {
		return otherwise
	}
	return int(*v)
}

// become has cmd run as the container's user, where one is asked for.
func (p *pod) become(cmd *exec.Cmd, c *corev1.Container) {
	uid, gid := p.identity(c)
	if uid < 0 && gid < 0 {
		return
	}
	credential := &syscall.Credential{Uid: uint32(max(uid, 0)), Gid: uint32(max(gid, 0))}
	if sc := p.spec.SecurityContext; sc != nil {
		for _, g := range sc.SupplementalGroups {
			credential.Groups = append(credential.Groups, uint32(g))
		}
		if sc.FSGroup != nil {
			credential.Groups = append(credential.Groups, uint32(*sc.FSGroup))
		}
	}
	cmd.SysProcAttr.Credential = credential
}

// mount is one volumeMount: the path the container believes in, and the real one.
type mount struct{ at, real string }

type mounts []mount

// sorted puts the longest first, so that /data/wal is tried before /data.
func (ms mounts) sorted() mounts {
	slices.SortFunc(ms, func(a, b mount) int { return len(b.at) - len(a.at) })
	return ms
}

const (
	beforePath = " \t\n=:,;\"'`([{<>|&"
	insidePath = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
)

// rewrite replaces each mount path that begins a path in s; see the package doc.
func (ms mounts) rewrite(s string) string {
	var b strings.Builder
next:
	for i := 0; i < len(s); {
		if i == 0 || strings.IndexByte(beforePath, s[i-1]) >= 0 {
			for _, m := range ms {
				end := i + len(m.at)
				if strings.HasPrefix(s[i:], m.at) && (end == len(s) || strings.IndexByte(insidePath, s[end]) < 0) {
					b.WriteString(m.real)
					i = end
					continue next
				}
			}
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// port finds a container port by number or name.
func portNumber(c *corev1.Container, name string) (int, error) {
	if n, err := strconv.Atoi(name); err == nil {
		return n, nil
	}
	for _, p := range c.Ports {
		if p.Name == name {
			return int(p.ContainerPort), nil
		}
	}
	return 0, fmt.Errorf("container %s has no port named %q", c.Name, name)
}
