package sandbox

import (
	"context"
	"fmt"
	"net"

	"drover.dev/sandbox/balancer"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/machine"
)

// balanced shows the cloud to the load balancer, in the load balancer's words.
type balanced struct{ cloud *cloud.Cloud }

func (b balanced) TargetGroups() []balancer.TargetGroup {
	var out []balancer.TargetGroup
	for _, g := range b.cloud.TargetGroups() {
		c := g.HealthCheck
		out = append(out, balancer.TargetGroup{
			ARN: g.ARN, Name: g.Name, Protocol: g.Protocol, Instances: g.TargetType == "instance",
			Check: balancer.Check{
				Protocol: c.Protocol, Port: c.Port, Path: c.Path, Matcher: c.Matcher, Interval: c.Interval, Timeout: c.Timeout,
				Healthy: c.HealthyThreshold, Unhealthy: c.UnhealthyThreshold,
			},
		})
	}
	return out
}

func (b balanced) Targets(arn string) []balancer.Target {
	var out []balancer.Target
	for _, t := range b.cloud.Targets(arn) {
		out = append(out, balancer.Target{ID: t.ID, Port: t.Port, State: balancer.State(t.State)})
	}
	return out
}

func (b balanced) Address(instance string) (string, bool) {
	in, ok := b.cloud.Instance(instance)
	return in.PrivateIP, ok && !in.Gone()
}

func (b balanced) ReportTargetHealth(arn, id string, port int, healthy bool, reason string) error {
	return b.cloud.ReportTargetHealth(arn, id, port, healthy, reason)
}

func (b balanced) ReportTargetDrained(arn, id string, port int) error {
	return b.cloud.ReportTargetDrained(arn, id, port)
}

// dial reaches a node or a pod by the address that the cluster knows.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(machine.DialAddress(host), port))
}

// URL is where the load balancer of a target group listens.
func (w *World) URL(targetGroup string) (string, error) {
	for _, g := range w.Cloud.TargetGroups() {
		if g.Name == targetGroup {
			w.Balancer.Refresh()
			addr, err := w.Balancer.Listener(g.ARN)
			if err != nil {
				return "", fmt.Errorf("load balancer of %s: %w", targetGroup, err)
			}
			return "http://" + addr.String() + "/", nil
		}
	}
	return "", fmt.Errorf("load balancer of %s: there is no such target group", targetGroup)
}
