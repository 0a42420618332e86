package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/sandbox"
	rediskeys "drover.dev/sandbox/keys"
)

// The load of the demo: with two libraries and two stores 800 writes a second, and half as many reads.
const (
	redisWriters = 4
	redisPace    = 20 * time.Millisecond
	redisWarmUp  = 5 * time.Second
	redisAfter   = 10 * time.Second // of work when all nodes are new: damage shows late
)

type redisDemoFlags struct{ naive, guard bool }

func (a *app) demoRedisCommand() *cobra.Command {
	var f redisDemoFlags
	c := &cobra.Command{
		Use: "redis", Short: "Rotate the nodes under Redis Sentinel and Redis Cluster while applications write", Args: cobra.NoArgs,
		Long: `Start a sandbox with real Redis processes in its pods: a master and a replica in StatefulSets of their own, watched by three Sentinels, and a
cluster of six in two zones with a volume each. A pod that comes back has another address. Writers and readers use both through two client libraries, and
remember what was acknowledged. Then drover rotate replaces all six nodes. At the end every acknowledged write is looked for. Exits with 1 if a
single promise does not hold.

--guard does not rotate: the nodes are emptied by plain evictions, as kubectl drain does it, while drover controller --guard runs.
--naive does the same without drover, and counts what that costs. In both the master's node comes first, which is when it hurts most.

Needs redis-server on this machine (apt-get install redis-server).`,
		Example: "  drover sandbox demo redis\n  drover sandbox demo redis --guard\n  drover sandbox demo redis --naive",
		RunE:    func(c *cobra.Command, _ []string) error { return a.demoRedis(c.Context(), f) },
	}
	c.Flags().BoolVar(&f.naive, "naive", false, "without drover: plain evictions")
	c.Flags().BoolVar(&f.guard, "guard", false, "plain evictions, with drover's eviction guard")
	c.MarkFlagsMutuallyExclusive("naive", "guard")
	return c
}

func (a *app) demoRedis(ctx context.Context, f redisDemoFlags) error {
	if err := sandbox.RedisPrograms(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	dir, err := os.MkdirTemp("", "drover-demo-*")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer os.RemoveAll(dir)
	w, err := a.startWorld(ctx, dir, string(sandbox.Light), true)
	if err != nil {
		return err
	}
	defer w.Stop()
	names, err := w.StageRedis(ctx)
	if err != nil {
		return err
	}
	defer names.Close()
	d := &redisDemo{a: a, w: w, names: names, redisDemoFlags: f, stores: redisStores(names), began: time.Now()}
	if d.crew, err = rediskeys.Start(ctx, rediskeys.Options{Stores: d.stores, Dial: names.Dial, Writers: redisWriters, Pace: redisPace}); err != nil {
		return err
	}
	defer d.crew.Stop()
	return d.run(ctx)
}

// The two stores, as drover.dev/store in redis-*.yaml calls them.
const (
	sessionStore = "session" // behind Sentinels
	cacheStore   = "cache"   // the cluster
)

func redisStores(names *sandbox.Names) []rediskeys.Store {
	behind := func(name, port string) func() []string {
		return func() []string {
			hosts, _ := names.Hosts(name) // an error of the file is Dial's to tell
			for i := range hosts {
				hosts[i] = net.JoinHostPort(hosts[i], port)
			}
			return hosts
		}
	}
	return []rediskeys.Store{
		{Name: sessionStore, Master: sandbox.RedisMasterName, Seed: net.JoinHostPort(sandbox.RedisSentinel, sandbox.SentinelPort), Members: behind(sandbox.RedisSentinel, sandbox.SentinelPort)},
		{Name: cacheStore, Seed: net.JoinHostPort(sandbox.RedisCluster, sandbox.RedisPort), Members: behind(sandbox.RedisCluster, sandbox.RedisPort)},
	}
}

// redisDemo is the demo in a world that is ready. What it sees it tells as it comes.
type redisDemo struct {
	redisDemoFlags
	a      *app
	w      *sandbox.World
	names  *sandbox.Names
	stores []rediskeys.Store
	crew   *rediskeys.Crew
	watch  *rediskeys.Watch
	began  time.Time

	mu sync.Mutex // of what is told
}

// run replaces the nodes under load, and judges.
func (d *redisDemo) run(ctx context.Context) error {
	fmt.Fprintf(d.a.err, "Writing and reading through go-redis and rueidis: %d writers each for each of two stores\n", redisWriters)
	v := &redisVerdict{redisDemoFlags: d.redisDemoFlags}
	var err error
	if v.before, err = d.instances(); err != nil {
		return err
	}
	d.watch = rediskeys.StartWatch(d.stores, d.names.Dial, func(f rediskeys.Failover) {
		d.say("redis", yellow, "%s: the master is %s now, no more %s", f.Shard, f.To, f.From)
	})
	defer d.watch.Stop()
	temporary := d.countTemporary(ctx)
	defer temporary()
	if err := letWork(ctx, redisWarmUp); err != nil {
		return err
	}
	began := time.Now()
	if err := d.replace(ctx); err != nil {
		d.crew.Stop()
		return fmt.Errorf("%w\n%s", err, figures(d.crew.Report()))
	}
	v.took = time.Since(began)
	if err := letWork(ctx, redisAfter); err != nil {
		return err
	}
	v.work, v.failovers, v.temporary = d.crew.Stop(), d.watch.Stop(), temporary()
	if err := d.inspect(ctx, v); err != nil {
		return err
	}
	return v.print(d.a.out)
}

// replace has all nodes replaced, in one of the three ways.
func (d *redisDemo) replace(ctx context.Context) error {
	if d.naive {
		return d.w.DrainAll(ctx, sandbox.RedisGroup, drainFirst, d.drained)
	}
	if d.guard {
		return d.underGuard(ctx)
	}
	fmt.Fprintln(d.a.err, "Publishing a new image")
	if err := publish(ctx, d.w.Env(), sandbox.RedisGroup, d.a.err); err != nil {
		return err
	}
	_, err := d.a.runSelf(ctx, d.w, sandbox.RedisGroup, "--surge", "6")
	return err
}

// drainFirst is the order that hurts: nobody who drains nodes knows which one has the master.
var drainFirst = []string{sandbox.RedisMaster + "-0", sandbox.RedisReplica + "-0"}

func (d *redisDemo) drained(node, what string) { d.say("kubectl", "", "%s: %s", node, what) }

// say tells one thing, with the second at which it was seen and who it is about.
func (d *redisDemo) say(who, color, format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.a.err, "%5.1fs  %-9s %s\n", time.Since(d.began).Seconds(), who, d.a.paint(color, fmt.Sprintf(format, args...)))
}

// instances are the group's that live, by id.
func (d *redisDemo) instances() (map[string]bool, error) {
	groups, err := d.w.Cloud.DescribeAutoScalingGroups([]string{sandbox.RedisGroup}, nil)
	if err != nil || len(groups) != 1 {
		return nil, fmt.Errorf("group %s: %d found: %w", sandbox.RedisGroup, len(groups), err)
	}
	out := map[string]bool{}
	for _, m := range groups[0].Members {
		out[m.InstanceID] = true
	}
	return out, nil
}

// inspect finds out what has become of everything.
func (d *redisDemo) inspect(ctx context.Context, v *redisVerdict) error {
	var err error
	if v.after, err = d.instances(); err != nil {
		return err
	}
	v.lost = d.crew.Lost(ctx)
	if v.strangers, err = d.strangers(ctx); err != nil {
		return err
	}
	alive, err := d.alive()
	if err != nil {
		return err
	}
	v.stale = rediskeys.Stale(d.stores[0].Look(ctx, d.names.Dial), alive)
	members := d.stores[1].Look(ctx, d.names.Dial)
	v.covered, v.members = rediskeys.Covered(members), len(members)
	v.same, v.differ = rediskeys.Same(members)
	v.stale = append(v.stale, rediskeys.Stale(members, alive)...)
	return nil
}

// strangers are the pods that no StatefulSet has made, by name.
func (d *redisDemo) strangers(ctx context.Context) ([]string, error) {
	pods, err := d.w.Client().CoreV1().Pods(sandbox.RedisNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the pods: %w", err)
	}
	var out []string
	for i := range pods.Items {
		if owner := metav1.GetControllerOf(&pods.Items[i]); owner == nil || owner.Kind != "StatefulSet" {
			out = append(out, pods.Items[i].Name)
		}
	}
	return out, nil
}

// countTemporary begins to look for temporary pods. The function that it returns ends that, and tells how many there
// have been; it may be called again.
func (d *redisDemo) countTemporary(ctx context.Context) func() int {
	ctx, cancel := context.WithCancel(ctx)
	seen := map[string]bool{}
	var work sync.WaitGroup
	work.Go(func() {
		for letWork(ctx, time.Second) == nil { // they live for ten seconds and more
			now, err := d.strangers(ctx)
			if err != nil && ctx.Err() == nil {
				d.say("demo", red, "%v", err)
			}
			for _, name := range now {
				seen[name] = true
			}
		}
	})
	return func() int {
		cancel()
		work.Wait()
		return len(seen)
	}
}

// alive are the addresses of all that is ready.
func (d *redisDemo) alive() ([]string, error) {
	var out []string
	for name, port := range map[string]string{
		sandbox.RedisMaster: sandbox.RedisPort, sandbox.RedisReplica: sandbox.RedisPort, sandbox.RedisSentinel: sandbox.SentinelPort, sandbox.RedisCluster: sandbox.RedisPort,
	} {
		hosts, err := d.names.Hosts(name)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			out = append(out, net.JoinHostPort(h, port))
		}
	}
	return out, nil
}

// letWork lets the work go on for a while.
func letWork(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// failoversOf are those of a store's shards, by shard.
func failoversOf(all map[string]int, store string) map[string]int {
	out := map[string]int{}
	for shard, n := range all {
		if shard == store || strings.HasPrefix(shard, store+" ") {
			out[shard] = n
		}
	}
	return out
}
