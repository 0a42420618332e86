package aws

import "testing"

func TestClusterOf(t *testing.T) {
	for name, c := range map[string]struct {
		tags map[string]string
		want string
	}{
		"none":                  {nil, ""},
		"others":                {map[string]string{"Name": "web", "kubernetes.io/cluster/": "owned"}, ""},
		"owned":                 {map[string]string{"kubernetes.io/cluster/blue": "owned"}, "blue"},
		"shared":                {map[string]string{"kubernetes.io/cluster/blue": "shared"}, "blue"},
		"owned, not shared":     {map[string]string{"kubernetes.io/cluster/blue": "shared", "kubernetes.io/cluster/green": "owned"}, "green"},
		"EKS's own":             {map[string]string{"eks:cluster-name": "blue", "kubernetes.io/cluster/green": "owned"}, "blue"},
		"EKS's own on machines": {map[string]string{"aws:eks:cluster-name": "blue"}, "blue"},
	} {
		if got := clusterOf(c.tags); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
