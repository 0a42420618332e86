package machine

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// place works out where and with what environment the container's processes run. ConfigMaps and Secrets are read at each start.
func (c *container) place(ctx context.Context) (place, error) {
	p := c.p
	pl := place{p: p, spec: c.spec, mounts: p.mounts[c.spec.Name], dir: filepath.Join(p.files.dir, "work", c.spec.Name)}
	pl.path = append(slices.Clone(p.mach.m.Path), filepath.SplitList(os.Getenv("PATH"))...)

	vars := map[string]string{
		"PATH":     strings.Join(pl.path, ":"),
		"HOSTNAME": p.name,
		"HOME":     pl.dir,
	}
	for name, dir := range p.files.volumes {
		vars["SANDBOX_MOUNT_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = dir
	}
	for _, from := range c.spec.EnvFrom {
		got, err := p.envFrom(ctx, from)
		if err != nil {
			return pl, &refused{"CreateContainerConfigError", err.Error()}
		}
		for k, v := range got {
			vars[from.Prefix+k] = pl.mounts.rewrite(v)
		}
	}
	known := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	for _, e := range c.spec.Env {
		value, given, err := expand(e.Value, known), true, error(nil)
		if e.ValueFrom != nil {
			value, given, err = p.valueFrom(ctx, e.ValueFrom)
		}
		if err != nil {
			return pl, &refused{"CreateContainerConfigError", fmt.Sprintf("variable %s: %v", e.Name, err)}
		}
		if given {
			vars[e.Name] = pl.mounts.rewrite(value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		pl.env = append(pl.env, name+"="+vars[name])
	}
	if dir := c.spec.WorkingDir; dir != "" {
		pl.dir = pl.mounts.rewrite(dir)
		if _, err := os.Stat(pl.dir); err != nil {
			return pl, &refused{notSimulated, fmt.Sprintf("working directory %s is in no volume, and images have no files here", dir)}
		}
	}
	return pl, nil
}

func (p *pod) envFrom(ctx context.Context, from corev1.EnvFromSource) (map[string]string, error) {
	switch {
	case from.ConfigMapRef != nil:
		files, err := p.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		return asText(files), err
	case from.SecretRef != nil:
		files, err := p.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
		return asText(files), err
	}
	return nil, nil
}

// valueFrom returns false when the source is optional and absent.
func (p *pod) valueFrom(ctx context.Context, from *corev1.EnvVarSource) (string, bool, error) {
	var files map[string][]byte
	var err error
	var key, where string
	var optional *bool
	switch {
	case from.FieldRef != nil:
		value, err := p.field(from.FieldRef.FieldPath)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		key, where, optional = r.Key, "ConfigMap "+r.Name, r.Optional
		files, err = p.configMap(ctx, r.Name, r.Optional)
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		key, where, optional = r.Key, "Secret "+r.Name, r.Optional
		files, err = p.secret(ctx, r.Name, r.Optional)
	default:
		return "", false, fmt.Errorf("its source is not simulated") // unsupported() has refused these
	}
	if err != nil {
		return "", false, err
	}
	value, ok := files[key]
	if !ok && !isTrue(optional) {
		return "", false, fmt.Errorf("%s has no key %s", where, key)
	}
	return string(value), ok, nil
}

var keyedField = regexp.MustCompile(`^metadata\.(labels|annotations)\['(.+)'\]$`)

// field reads a field as a process on this machine has to see it: addresses are the ones it can bind.
func (p *pod) field(path string) (string, error) {
	p.mu.Lock()
	obj, ip := p.obj, p.ip
	p.mu.Unlock()
	switch path {
	case "metadata.name":
		return p.name, nil
	case "metadata.namespace":
		return p.namespace, nil
	case "metadata.uid":
		return string(p.uid), nil
	case "spec.nodeName":
		return p.mach.spec.Name, nil
	case "spec.serviceAccountName":
		return p.spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return ip, nil
	case "status.hostIP", "status.hostIPs":
		return DialAddress(p.mach.spec.NodeIP), nil
	case "metadata.labels":
		return fieldMap(obj.Labels), nil
	case "metadata.annotations":
		return fieldMap(obj.Annotations), nil
	}
	if m := keyedField.FindStringSubmatch(path); m != nil {
		if m[1] == "labels" {
			return obj.Labels[m[2]], nil
		}
		return obj.Annotations[m[2]], nil
	}
	return "", fmt.Errorf("field %s is not simulated", path)
}

// fieldMap is the downward API's form of a map.
func fieldMap(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%q\n", k, m[k])
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (p *pod) configMap(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	cm, err := p.mach.m.Client.CoreV1().ConfigMaps(p.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && isTrue(optional) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %s: %w", name, err)
	}
	files := map[string][]byte{}
	for k, v := range cm.Data {
		files[k] = []byte(v)
	}
	maps.Copy(files, cm.BinaryData)
	return files, nil
}

func (p *pod) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	s, err := p.mach.m.Client.CoreV1().Secrets(p.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && isTrue(optional) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("Secret %s: %w", name, err)
	}
	return s.Data, nil
}

func asText(files map[string][]byte) map[string]string {
	out := make(map[string]string, len(files))
	for k, v := range files {
		out[k] = string(v)
	}
	return out
}

func isTrue(b *bool) bool { return b != nil && *b }

// expand replaces $(NAME) by the variable's value; an unknown name stays as it is, and $$ is a plain $, as the kubelet has it.
func expand(s string, lookup func(string) (string, bool)) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(s[i:], ')')
			if end < 0 {
				b.WriteString("$(")
				i++
				continue
			}
			reference := s[i : i+end+1]
			if v, ok := lookup(reference[2 : len(reference)-1]); ok {
				b.WriteString(v)
			} else {
				b.WriteString(reference)
			}
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}
