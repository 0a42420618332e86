package sandbox

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"k8s.io/apimachinery/pkg/util/wait"
)

// clusterSlots is how many a cluster has.
const clusterSlots = 16384

// formCluster does what redis-cli --cluster create does: it deals the slots out among the masters, has all meet, and gives each master its
// replica. It returns when every one of them says that all is well.
func formCluster(ctx context.Context, names *Names, masters, replicas []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	f := &founding{names: names, conns: map[string]*redis.Client{}}
	defer f.close()
	all := slices.Concat(masters, replicas)
	if err := f.known(ctx, all); err != nil {
		return fmt.Errorf("stage: form the cluster: %w", err)
	}
	for i, master := range masters {
		if err := f.found(ctx, i, len(masters), master); err != nil {
			return fmt.Errorf("stage: form the cluster: %s: %w", master, err)
		}
	}
	for _, pod := range all[1:] {
		if err := f.meet(ctx, masters[0], pod); err != nil {
			return fmt.Errorf("stage: form the cluster: %s meets %s: %w", masters[0], pod, err)
		}
	}
	for i, replica := range replicas {
		if err := f.follow(ctx, replica, masters[i]); err != nil {
			return fmt.Errorf("stage: form the cluster: %s follows %s: %w", replica, masters[i], err)
		}
	}
	for _, pod := range all {
		if err := f.settled(ctx, pod, len(replicas)); err != nil {
			return fmt.Errorf("stage: the cluster as %s sees it: %w", pod, err)
		}
	}
	return nil
}

// founding is the conversation with the pods of a cluster that is to be.
type founding struct {
	names *Names
	conns map[string]*redis.Client
}

func (f *founding) close() {
	for _, c := range f.conns {
		c.Close()
	}
}

func (f *founding) to(pod string) *redis.Client {
	c := f.conns[pod]
	if c == nil {
		dial := func(ctx context.Context, _, address string) (net.Conn, error) { return f.names.Dial(ctx, address) }
		c = redis.NewClient(&redis.Options{Addr: net.JoinHostPort(pod, RedisPort), Dialer: dial, Protocol: 2, DisableIdentity: true})
		f.conns[pod] = c
	}
	return c
}

// known waits until all pods are: names come a moment after readiness.
func (f *founding) known(ctx context.Context, pods []string) error {
	for _, pod := range pods {
		err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(context.Context) (bool, error) {
			hosts, err := f.names.Hosts(pod)
			return len(hosts) == 1, err
		})
		if err != nil {
			return fmt.Errorf("address of %s: %w", pod, err)
		}
	}
	return nil
}

// found gives the n-th of several masters its slots, and an epoch of its own: masters with the same one would have to quarrel it out.
func (f *founding) found(ctx context.Context, n, of int, master string) error {
	if err := f.to(master).ClusterAddSlotsRange(ctx, clusterSlots*n/of, clusterSlots*(n+1)/of-1).Err(); err != nil {
		return err
	}
	return f.to(master).Do(ctx, "cluster", "set-config-epoch", n+1).Err()
}

func (f *founding) meet(ctx context.Context, first, pod string) error {
	hosts, err := f.names.Hosts(pod)
	if err != nil || len(hosts) != 1 {
		return fmt.Errorf("%d addresses: %w", len(hosts), err)
	}
	return f.to(first).ClusterMeet(ctx, hosts[0], RedisPort).Err()
}

// follow makes a pod the replica of a master, as soon as it has heard of it.
func (f *founding) follow(ctx context.Context, replica, master string) error {
	id, err := f.to(master).ClusterMyID(ctx).Result()
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = f.to(replica).ClusterReplicate(ctx, id).Err()
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}

// settled waits until a pod sees every slot served, every replica, and its own link to its master.
func (f *founding) settled(ctx context.Context, pod string, replicas int) error {
	var nodes string
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		info, err := f.to(pod).ClusterInfo(ctx).Result()
		if err != nil || !strings.Contains(info, "cluster_state:ok") {
			return false, err
		}
		if nodes, err = f.to(pod).ClusterNodes(ctx).Result(); err != nil || strings.Count(nodes, "slave ") != replicas {
			return false, err
		}
		link, err := f.to(pod).Info(ctx, "replication").Result()
		return !strings.Contains(link, "master_link_status:down"), err
	})
	if err != nil {
		return fmt.Errorf("%w:\n%s", err, nodes)
	}
	return nil
}
