package node

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	nooptrace "go.opentelemetry.io/otel/trace/noop"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletutil "k8s.io/kubernetes/pkg/kubelet/util"
	"k8s.io/kubernetes/pkg/util/oom"
	"k8s.io/kubernetes/pkg/volume"
	"k8s.io/kubernetes/pkg/volume/configmap"
	"k8s.io/kubernetes/pkg/volume/downwardapi"
	"k8s.io/kubernetes/pkg/volume/emptydir"
	"k8s.io/kubernetes/pkg/volume/hostpath"
	"k8s.io/kubernetes/pkg/volume/projected"
	"k8s.io/kubernetes/pkg/volume/secret"
	"k8s.io/kubernetes/pkg/volume/util/hostutil"
	"k8s.io/kubernetes/pkg/volume/util/subpath"
	"k8s.io/mount-utils"

	"drover.dev/controlplane/container"
)

const (
	// kubeletPort is the usual one: every node has an address of its own.
	kubeletPort = 10250

	// clusterDNS is where EKS has its DNS service. Nothing answers here; a kubelet
	// that knows none complains about every pod.
	clusterDNS = "10.96.0.10"
)

// runKubelet runs until the context ends. What runs then is for the kernel to
// end, with the PID namespace.
func runKubelet(ctx context.Context, o Options) error {
	if err := settleIn(o.Data); err != nil {
		return err
	}
	if err := utilfeature.DefaultMutableFeatureGate.Set("KubeletInUserNamespace=true"); err != nil { // no /dev/kmsg, no sysctl: no error
		return err
	}
	network, err := container.OpenNetwork(ctx, networkFile(inside), o.PodCIDR, o.IP)
	if err != nil {
		return err
	}
	server, err := configure(o)
	if err != nil {
		return err
	}
	deps, err := dependencies(ctx, o, server, network)
	if err != nil {
		return err
	}
	if err := kubeletapp.RunKubelet(ctx, server, deps); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// configure starts from the defaults of Kubernetes and then does as the machine
// images of EKS do, without what needs cgroups or a disk to watch.
func configure(o Options) (*options.KubeletServer, error) {
	flags := options.NewKubeletFlags()
	flags.KubeConfig = o.Kubeconfig
	flags.HostnameOverride = o.Name
	flags.NodeIP = o.IP.String()
	flags.NodeLabels = o.Labels
	flags.RootDirectory = filepath.Join(inside, "kubelet")
	flags.CertDirectory = filepath.Join(inside, "pki")

	c, err := options.NewKubeletConfiguration()
	if err != nil {
		return nil, fmt.Errorf("kubelet defaults: %w", err)
	}
	c.ProviderID = o.ProviderID
	c.RegisterWithTaints = o.Taints
	c.MaxPods = int32(o.Pods)
	c.PodLogsDir = filepath.Join(inside, "logs")
	c.ClusterDNS, c.ClusterDomain = []string{clusterDNS}, "cluster.local"
	c.SerializeImagePulls = false
	c.RegistryPullQPS = 0
	c.EnableControllerAttachDetach = false // none of its volumes is ever attached

	c.CgroupsPerQOS, c.EnforceNodeAllocatable, c.CPUCFSQuota = false, nil, false
	c.FailSwapOn = false
	c.EvictionHard, c.EvictionSoft, c.LocalStorageCapacityIsolation = nil, nil, false
	c.ImageGCHighThresholdPercent = 100

	c.EnableServer, c.Address, c.Port, c.HealthzPort = true, o.IP.String(), kubeletPort, 0
	c.Authentication.X509.ClientCAFile = o.ClientCA
	c.TLSCertFile, c.TLSPrivateKeyFile = o.ServingCert, o.ServingKey
	return &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *c}, nil
}

func dependencies(ctx context.Context, o Options, server *options.KubeletServer, network *container.Network) (*kubelet.Dependencies, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	deps := &kubelet.Dependencies{
		CAdvisorInterface:         newMachine(o),
		ContainerManager:          newContainerManager(),
		OOMAdjuster:               oom.NewFakeOOMAdjuster(),
		VolumePlugins:             volumePlugins(),
		HostUtil:                  hostutil.NewHostUtil(),
		Mounter:                   mount.New(""), // into our own mount namespace
		PodStartupLatencyTracker:  kubeletutil.NewPodStartupLatencyTracker(),
		NodeStartupLatencyTracker: kubeletutil.NewNodeStartupLatencyTracker(),
		TracerProvider:            nooptrace.NewTracerProvider(),
		RemoteImageService:        container.NewImages(o.PullTime),
	}
	deps.Subpather = subpath.New(deps.Mounter)
	if err := addClients(deps, config, &server.KubeletConfiguration); err != nil {
		return nil, err
	}
	if err := addServer(ctx, deps, server); err != nil {
		return nil, err
	}
	deps.RemoteRuntimeService, err = container.New(container.Options{
		Dir:      filepath.Join(inside, "containers"),
		Hidden:   []string{o.Data},
		Path:     o.Path,
		Network:  network,
		Describe: describer(deps.KubeClient),
	})
	return deps, err
}

// addClients makes the kubelet's three: a heartbeat must not wait behind others.
func addClients(deps *kubelet.Dependencies, config *rest.Config, c *kubeletconfig.KubeletConfiguration) error {
	config.QPS, config.Burst = float32(c.KubeAPIQPS), int(c.KubeAPIBurst)
	var err error
	if deps.KubeClient, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	events := rest.CopyConfig(config)
	events.QPS, events.Burst = float32(c.EventRecordQPS), int(c.EventBurst)
	if deps.EventClient, err = corev1client.NewForConfig(events); err != nil {
		return fmt.Errorf("client for events: %w", err)
	}
	heartbeat := rest.CopyConfig(config)
	heartbeat.QPS = -1
	heartbeat.Timeout = min(c.NodeStatusUpdateFrequency.Duration, time.Duration(c.NodeLeaseDurationSeconds)*time.Second)
	if deps.HeartbeatClient, err = kubernetes.NewForConfig(heartbeat); err != nil {
		return fmt.Errorf("client for heartbeats: %w", err)
	}
	return nil
}

// addServer secures the kubelet's own API: it can read every log and run commands,
// and any process of this host can reach its address.
func addServer(ctx context.Context, deps *kubelet.Dependencies, server *options.KubeletServer) error {
	var err error
	if deps.TLSOptions, err = kubeletapp.InitializeTLS(ctx, &server.KubeletFlags, &server.KubeletConfiguration); err != nil {
		return fmt.Errorf("kubelet server: %w", err)
	}
	auth, runReload, err := kubeletapp.BuildAuth(types.NodeName(server.HostnameOverride), deps.KubeClient, server.KubeletConfiguration)
	if err != nil {
		return fmt.Errorf("kubelet server: %w", err)
	}
	deps.Auth = auth
	runReload(ctx.Done())
	return nil
}

func volumePlugins() []volume.VolumePlugin {
	var all []volume.VolumePlugin
	for _, probe := range []func() []volume.VolumePlugin{
		emptydir.ProbeVolumePlugins,
		secret.ProbeVolumePlugins,
		configmap.ProbeVolumePlugins,
		projected.ProbeVolumePlugins,
		downwardapi.ProbeVolumePlugins,
		func() []volume.VolumePlugin { return hostpath.ProbeVolumePlugins(volume.VolumeConfig{}) },
	} {
		all = append(all, probe()...)
	}
	return all
}
