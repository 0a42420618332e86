package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"drover.dev/fleet"
)

// advice is what AWS says of versions, asked once for each Groups.
type advice struct {
	clusters map[string]string   // Kubernetes version by cluster
	releases map[string]newest   // by parameter
	template map[string]versions // by id
}

type newest struct {
	release string
	why     string // it is not known
}

func newAdvice() *advice {
	return &advice{map[string]string{}, map[string]newest{}, map[string]versions{}}
}

// managedEvery is how old EKS's word on a node group may be that is as it should be, where nobody waits for it.
const managedEvery = time.Minute

// managedNews is what EKS said of a node group.
type managedNews struct {
	at, seen time.Time
	told     fleet.Managed
}

// manage fills in what EKS says of a group. What cannot be read is the group's trouble.
func (c *Cloud) manage(ctx context.Context, g *fleet.Group, f *found, known *advice) {
	m, err := c.askEKS(ctx, f, known)
	if err != nil {
		trouble(g, err.Error())
	}
	g.Managed = &m
	if f.bare == nil || f.bare.ScalingConfig == nil {
		return
	}
	s := f.bare.ScalingConfig
	g.Min, g.Max, g.Desired = int(sdk.ToInt32(s.MinSize)), int(sdk.ToInt32(s.MaxSize)), int(sdk.ToInt32(s.DesiredSize))
}

// managedAs is a node group of which only Auto Scaling has told.
func managedAs(f *found) fleet.Managed {
	return fleet.Managed{Cluster: f.cluster, Scaling: sdk.ToString(f.raw.AutoScalingGroupName)}
}

// askEKS returns what EKS says, as far as it does.
func (c *Cloud) askEKS(ctx context.Context, f *found, known *advice) (fleet.Managed, error) {
	m := managedAs(f)
	n, err := c.nodegroupUnder(ctx, f)
	if err != nil {
		return m, doing("describe node group "+f.nodegroup+" of cluster "+f.cluster, err)
	}
	if n == nil { // EKS has forgotten it already, Auto Scaling has not
		m.Status = string(ekstypes.NodegroupStatusDeleting)
		return m, nil
	}
	m.Status, m.CopyOf, m.Run = string(n.Status), n.Tags[copyTag], n.Tags[runTag]
	m.Trouble = issues(n)
	m.Version = kubeVersion(n, sdk.ToString(n.Version), sdk.ToString(n.ReleaseVersion), templateVersion(n))
	m.Latest, _, err = c.latest(ctx, n, known)
	return m, err
}

// learnManaged asks EKS about node groups, each once in a while, or always while something happens to one. What EKS said last stands.
func (c *Cloud) learnManaged(ctx context.Context, groups []found) error {
	now, byName, names := c.now(), map[string]*found{}, []string(nil)
	c.mu.Lock()
	for i := range groups {
		if f := &groups[i]; f.nodegroup != "" && f.bare == nil {
			byName[f.full()], names = f, append(names, f.full())
			if m, ok := c.managed[f.full()]; ok {
				m.seen = now
				c.managed[f.full()] = m
			}
		}
	}
	asked := due(names, now, managedEvery, func(name string) time.Time {
		if m := c.managed[name]; !strings.HasSuffix(m.told.Status, "ING") { // CREATING, UPDATING, DELETING
			return m.at
		}
		return time.Time{}
	})
	c.mu.Unlock()
	_, err := c.aside(ctx, "what EKS says of node groups", "eks:DescribeNodegroup and eks:DescribeCluster", func(ctx context.Context) error {
		known := newAdvice()
		var troubles []error
		for _, name := range asked {
			m, err := c.askEKS(ctx, byName[name], known)
			if stops(err) && !isDenied(err) { // a right may be limited to some of them
				return err
			}
			troubles = append(troubles, err)
			if err == nil || m.Status != "" {
				c.rememberManaged(name, m)
			}
		}
		return errors.Join(troubles...)
	})
	return err
}

// rememberManaged keeps what EKS said. Where it is not known what a group made now would run, that is what was known of it, or what this one runs: a node
// is not outdated for want of an answer.
func (c *Cloud) rememberManaged(name string, m fleet.Managed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.Latest = cmp.Or(m.Latest, c.managed[name].told.Latest, m.Version)
	c.managed[name] = managedNews{c.now(), c.now(), m}
}

// lastManaged is what EKS last said of a node group.
func (c *Cloud) lastManaged(f *found) *fleet.Managed {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := managedAs(f)
	if last, ok := c.managed[f.full()]; ok {
		last.told.Scaling = m.Scaling
		m = last.told
	}
	return &m
}

// issues is what EKS finds wrong with a node group, in a sentence.
func issues(n *ekstypes.Nodegroup) string {
	if n.Health == nil {
		return ""
	}
	var out []string
	for _, issue := range n.Health.Issues {
		out = append(out, fmt.Sprintf("%s: %s", issue.Code, sdk.ToString(issue.Message)))
	}
	return strings.Join(out, "; ")
}

// kubeVersion prints what nodes run: Kubernetes' version; the release of the AMI unless it is the user's own; the launch template's version
// if the user gave one.
func kubeVersion(n *ekstypes.Nodegroup, version, release, template string) string {
	out := version
	if n.AmiType != ekstypes.AMITypesCustom && release != "" {
		out += " / " + release
	}
	if n.LaunchTemplate != nil {
		out += " / " + cmp.Or(sdk.ToString(n.LaunchTemplate.Name), sdk.ToString(n.LaunchTemplate.Id)) + ":" + template
	}
	return out
}

func templateVersion(n *ekstypes.Nodegroup) string {
	if n.LaunchTemplate == nil {
		return ""
	}
	return sdk.ToString(n.LaunchTemplate.Version)
}

// latest is what a node group made now would run. Three things decide:
//   - Kubernetes: the cluster's version, which is the only one that EKS takes for a new node group. A custom AMI carries its own; there it is
//     the node group's, since nobody can tell what is in the image.
//   - The AMI release: what AWS publishes as the recommended one, in a public parameter of Systems Manager; EKS itself does not tell. Where it
//     cannot be known (no right, an AMI type without such a parameter) the node group's own release stands for it within its Kubernetes
//     version, so that a new release goes unnoticed; unknown says why, and Limits tells people.
//   - The user's launch template: see nextVersion. EKS resolves $Default and $Latest when it is told and remembers the number alone, so what
//     the user meant by it is not to be had.
func (c *Cloud) latest(ctx context.Context, n *ekstypes.Nodegroup, known *advice) (latest, unknown string, err error) {
	version, release, template := sdk.ToString(n.Version), sdk.ToString(n.ReleaseVersion), templateVersion(n)
	if template != "" {
		if template, err = c.nextTemplate(ctx, n, known); err != nil {
			return "", "", err
		}
	}
	if n.AmiType == ekstypes.AMITypesCustom {
		return kubeVersion(n, version, "", template), "", nil
	}
	current, err := c.clusterVersion(ctx, sdk.ToString(n.ClusterName), known)
	if err != nil {
		return "", "", err
	}
	published := c.newestRelease(ctx, current, n.AmiType, known)
	if published.release == "" && current != version {
		release = ""
	}
	return kubeVersion(n, current, cmp.Or(published.release, release), template), published.why, nil
}

func (c *Cloud) clusterVersion(ctx context.Context, cluster string, known *advice) (string, error) {
	if v, ok := known.clusters[cluster]; ok {
		return v, nil
	}
	out, err := c.eks.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &cluster})
	if err != nil {
		return "", doing("describe cluster "+cluster, err)
	}
	if out.Cluster == nil || out.Cluster.Version == nil {
		return "", fmt.Errorf("describe cluster %s: AWS answers without its version", cluster)
	}
	known.clusters[cluster] = *out.Cluster.Version
	return *out.Cluster.Version, nil
}

func (c *Cloud) newestRelease(ctx context.Context, version string, kind ekstypes.AMITypes, known *advice) newest {
	name := releaseParameter(version, kind)
	if name == "" {
		return newest{why: fmt.Sprintf("the newest release of AMI type %s is not known to drover", kind)}
	}
	if n, ok := known.releases[name]; ok {
		return n
	}
	n := newest{}
	switch out, err := c.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: &name}); {
	case err != nil:
		n.why = fmt.Sprintf("the newest AMI release is not known: %s", doing("read parameter "+name, err))
	case out.Parameter == nil || sdk.ToString(out.Parameter.Value) == "":
		n.why = fmt.Sprintf("the newest AMI release is not known: parameter %s has no value", name)
	default:
		n.release = *out.Parameter.Value
	}
	known.releases[name] = n
	return n
}

// releaseParameter is the public parameter that tells the newest release of an AMI type; "" for a type without one.
func releaseParameter(version string, kind ekstypes.AMITypes) string {
	optimized := map[ekstypes.AMITypes]string{
		ekstypes.AMITypesAl2X8664: "amazon-linux-2", ekstypes.AMITypesAl2X8664Gpu: "amazon-linux-2-gpu", ekstypes.AMITypesAl2Arm64: "amazon-linux-2-arm64",
		ekstypes.AMITypesAl2023X8664Standard: "amazon-linux-2023/x86_64/standard", ekstypes.AMITypesAl2023Arm64Standard: "amazon-linux-2023/arm64/standard",
		ekstypes.AMITypesAl2023X8664Nvidia: "amazon-linux-2023/x86_64/nvidia", ekstypes.AMITypesAl2023Arm64Nvidia: "amazon-linux-2023/arm64/nvidia",
		ekstypes.AMITypesAl2023X8664Neuron: "amazon-linux-2023/x86_64/neuron",
	}
	bottlerocket := map[ekstypes.AMITypes]string{
		ekstypes.AMITypesBottlerocketX8664: "/x86_64", ekstypes.AMITypesBottlerocketArm64: "/arm64",
		ekstypes.AMITypesBottlerocketX8664Nvidia: "-nvidia/x86_64", ekstypes.AMITypesBottlerocketArm64Nvidia: "-nvidia/arm64",
	}
	switch {
	case optimized[kind] != "":
		return "/aws/service/eks/optimized-ami/" + version + "/" + optimized[kind] + "/recommended/release_version"
	case bottlerocket[kind] != "":
		return "/aws/service/bottlerocket/aws-k8s-" + version + bottlerocket[kind] + "/latest/image_version"
	}
	return ""
}

func (c *Cloud) nextTemplate(ctx context.Context, n *ekstypes.Nodegroup, known *advice) (string, error) {
	id := sdk.ToString(n.LaunchTemplate.Id)
	if _, asked := known.template[id]; !asked {
		known.template[id] = versions{}
		if err := c.describeTemplates(ctx, []string{id}, known.template); err != nil {
			return "", err
		}
	}
	v := known.template[id]
	if v.latest == 0 {
		return "", fmt.Errorf("launch template %s, from which it launches, does not exist any more", cmp.Or(sdk.ToString(n.LaunchTemplate.Name), id))
	}
	running, err := strconv.ParseInt(templateVersion(n), 10, 64)
	if err != nil {
		return "", fmt.Errorf("launch template version %q: %w", templateVersion(n), err)
	}
	return strconv.FormatInt(v.next(running), 10), nil
}

// next is the version that a group on a running version is to have. A default that somebody moved off version 1 is meant to be used, unless the
// group is past it already; otherwise it is the newest.
func (v versions) next(running int64) int64 {
	if v.current > 1 && v.current >= running {
		return v.current
	}
	return v.latest
}
