package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/user"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"

	"drover.dev/aws"
	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/kube"
	"drover.dev/redis"
)

// connection holds the flags that say which cluster and which account. Kubernetes' flags are kubectl's own.
type connection struct {
	kube    *genericclioptions.ConfigFlags
	profile string
	region  string
	pods    string
}

func (c *connection) flags(f *pflag.FlagSet) {
	c.kube = genericclioptions.NewConfigFlags(true)
	c.kube.Namespace = nil
	c.kube.AddFlags(f)
	f.StringVar(&c.profile, "profile", "", "AWS profile (otherwise AWS_PROFILE and the usual rules)")
	f.StringVar(&c.region, "region", "", "AWS region (otherwise AWS_REGION and the usual rules)")
	f.StringVar(&c.pods, "pods", reachDirect, "how the pods of stores are reached: direct, or forward (through the API server)")
}

// cloudEvery is how often AWS is asked while a run waits for it.
const cloudEvery = 2 * time.Second

// site is one cluster with its AWS account, connected.
type site struct {
	cluster  *kube.Cluster
	cloud    *aws.Cloud // nil where nothing is needed of AWS
	stores   *redis.Hand
	returned func(address string) string // by which the cluster knows a pod that is seen under an address
	place    string                      // for people: context, account, region
}

// connect opens both. It fails early and in one sentence: credentials, region, API server.
func (c *connection) connect(ctx context.Context) (*site, error) {
	cloud, where, err := c.connectAWS(ctx)
	if err != nil {
		return nil, err
	}
	s, err := c.connectStores(ctx)
	if err != nil {
		return nil, err
	}
	s.cloud, s.place = cloud, s.place+", "+where
	return s, nil
}

// connectStores opens the cluster and the way to its stores, for what needs nothing of AWS.
func (c *connection) connectStores(ctx context.Context) (*site, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	return c.open(ctx, cfg)
}

func (c *connection) open(ctx context.Context, cfg *rest.Config) (*site, error) {
	cluster, err := kube.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	stores, err := c.stores(cfg)
	if err != nil {
		return nil, err
	}
	if cluster.Reach, err = c.reach(cfg); err != nil {
		return nil, err
	}
	returned, err := kube.Returned(os.Getenv(podNetwork))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", podNetwork, err)
	}
	return &site{cluster: cluster, stores: stores, returned: returned, place: c.cluster()}, nil
}

// dial connects to the cluster alone, without informers: for what must work when AWS does not answer.
func (c *connection) dial(ctx context.Context) (*kube.Cluster, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	return kube.Dial(ctx, cfg)
}

func (c *connection) config() (*rest.Config, error) {
	cfg, err := c.kube.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w; check --kubeconfig, KUBECONFIG and --context", err)
	}
	return cfg, nil
}

// cluster names the cluster for people.
func (c *connection) cluster() string {
	if c.kube.Context != nil && *c.kube.Context != "" {
		return "cluster " + *c.kube.Context
	}
	if raw, err := c.kube.ToRawKubeConfigLoader().RawConfig(); err == nil && raw.CurrentContext != "" {
		return "cluster " + raw.CurrentContext
	}
	return "cluster in-cluster"
}

func (c *connection) connectAWS(ctx context.Context) (*aws.Cloud, string, error) {
	cfg, err := c.configAWS(ctx)
	if err != nil {
		return nil, "", err
	}
	cloud := aws.New(cfg)
	account, region, err := cloud.Account(ctx)
	if err != nil {
		return nil, "", err
	}
	return cloud, "account " + account + ", " + region, nil
}

func (c *connection) configAWS(ctx context.Context) (sdk.Config, error) {
	cfg, err := c.loadAWS(ctx)
	if err == nil && cfg.Region == "" {
		err = errors.New("AWS configuration: no region; set AWS_REGION or pass --region")
	}
	return cfg, err
}

func (c *connection) loadAWS(ctx context.Context) (sdk.Config, error) {
	options := []func(*config.LoadOptions) error{config.WithLogger(logging.Nop{})} // what matters comes back as an error
	if c.profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.profile))
	}
	if c.region != "" {
		options = append(options, config.WithRegion(c.region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cfg, fmt.Errorf("AWS configuration: %w; check --profile, AWS_PROFILE and ~/.aws/config", err)
	}
	return cfg, nil
}

// engine returns the loop over the named groups.
func (s *site) engine(groups []string, note func(engine.Note)) *engine.Engine {
	return &engine.Engine{Cloud: s.cloud, Cluster: s.cluster, Stores: s.stores, Groups: groups, Note: note, Now: time.Now, CloudEvery: cloudEvery, Fence: kube.Fence}
}

// observe returns the fleet with the named groups; observeAll with every group.
func (s *site) observe(ctx context.Context, groups []string) (fleet.Snapshot, error) {
	return s.engine(groups, nil).Observe(ctx)
}

func (s *site) observeAll(ctx context.Context) (fleet.Snapshot, error) {
	e := s.engine(nil, nil)
	e.AllGroups = true
	return e.Observe(ctx)
}

// observeNode returns the fleet with the group of one node, if it is in one.
func (s *site) observeNode(ctx context.Context, node string) (fleet.Snapshot, []string, error) {
	snapshot, err := s.observe(ctx, nil)
	if err != nil {
		return snapshot, nil, err
	}
	n := snapshot.Node(node)
	if n == nil {
		return snapshot, nil, fmt.Errorf("node %s: not found in the cluster; kubectl get nodes lists them", node)
	}
	if n.Instance == "" {
		return snapshot, nil, nil
	}
	group, err := s.cloud.GroupOf(ctx, n.Instance)
	if err != nil || group == "" {
		return snapshot, nil, err
	}
	snapshot, err = s.observe(ctx, []string{group})
	return snapshot, []string{group}, err
}

// requester names the person at this terminal, for the record.
func requester() string {
	name, host := "somebody", "unknown host"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// identity names this process on the lease. The digits tell it from another one of the same name: containers share pid 1.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, pid %d (%04x)", host, os.Getpid(), rand.IntN(1<<16))
}
