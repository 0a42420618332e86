package cloud

import (
	"cmp"
	"fmt"
	"time"
)

// Cluster is an EKS cluster: no more than what its node groups need to know.
type Cluster struct {
	Name, ARN, Version string
	Created            time.Time
}

// AddCluster makes an EKS cluster of a Kubernetes version such as 1.33, at once. It is the sandbox's own: CreateCluster is not simulated.
func (c *Cloud) AddCluster(name, version string) Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &Cluster{Name: name, ARN: c.arn("eks", "cluster/"+name), Version: version, Created: c.now()}
	c.w.clusters[name] = k
	c.commit()
	return *k
}

// SetClusterVersion upgrades the control plane of a cluster, at once. Its node groups stay as they are.
func (c *Cloud) SetClusterVersion(name, version string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, err := c.w.findCluster(name)
	if err != nil {
		return err
	}
	k.Version = version
	c.commit()
	return nil
}

// PublishRelease makes an AMI release, such as 1.33.4-20261101, the newest one for a Kubernetes version.
func (c *Cloud) PublishRelease(version, release string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w.releases[version] = release
	c.commit()
}

// LatestRelease is the newest AMI release for a Kubernetes version. AWS tells it as a public parameter of Systems Manager.
func (c *Cloud) LatestRelease(version string) (string, error) {
	return read(c, "ssm:GetParameter", func(w *world) (string, error) { return w.release(version), nil })
}

func (w *world) release(version string) string {
	return cmp.Or(w.releases[version], version+".0-20260101")
}

// image is the AMI of a release: the same release is always the same image.
func image(release string) string {
	sum := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(release) {
		sum = (sum ^ uint64(b)) * 1099511628211
	}
	return fmt.Sprintf("ami-0%016x", sum)
}

// DescribeCluster returns a cluster.
func (c *Cloud) DescribeCluster(name string) (Cluster, error) {
	return read(c, "eks:DescribeCluster", func(w *world) (Cluster, error) {
		k, err := w.findCluster(name)
		if err != nil {
			return Cluster{}, err
		}
		return *k, nil
	})
}

func (w *world) findCluster(name string) (*Cluster, error) {
	if k, ok := w.clusters[name]; ok {
		return k, nil
	}
	return nil, notFound("No cluster found for name: %s.", name)
}

// EKS's errors.
func notFound(format string, args ...any) error {
	return &Error{"ResourceNotFoundException", fmt.Sprintf(format, args...), 404}
}
func inUse(format string, args ...any) error {
	return &Error{"ResourceInUseException", fmt.Sprintf(format, args...), 409}
}
func badParameter(format string, args ...any) error {
	return &Error{"InvalidParameterException", fmt.Sprintf(format, args...), 400}
}
