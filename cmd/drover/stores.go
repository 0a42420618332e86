package main

import (
	"context"
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"drover.dev/kube"
	"drover.dev/redis"
)

// podNetwork says under which other addresses pods are reached from here, such as 10.0.0.0/8=127.0.0.0/8: a VPN that translates, or the sandbox.
const podNetwork = "DROVER_POD_NETWORK"

// How drover reaches the pods of stores.
const (
	reachDirect  = "direct"
	reachForward = "forward"
)

// reach returns how drover's process reaches the ports of pods.
func (c *connection) reach(cfg *rest.Config) (kube.Reach, error) {
	switch c.pods {
	case reachForward:
		streams, err := kube.OpenStreams(cfg)
		if err != nil {
			return nil, err
		}
		return streams.Forward(), nil
	case reachDirect:
		reach, err := kube.Direct(os.Getenv(podNetwork))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", podNetwork, err)
		}
		return reach, nil
	}
	return nil, fmt.Errorf("--pods %q: want %s (from inside the cluster, or through a VPN) or %s (through the API server)", c.pods, reachDirect, reachForward)
}

// stores is the hand on what the pods of stores hold.
func (c *connection) stores(cfg *rest.Config) (*redis.Hand, error) {
	reach, err := c.reach(cfg)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return &redis.Hand{
		Connect: redis.Dialing(reach),
		Secrets: func(ctx context.Context, namespace, name string) (map[string][]byte, error) {
			secret, err := client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			return secret.Data, nil
		},
	}, nil
}
