package plane

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// controllers are those that a cluster on AWS has and drover's world needs. Left
// out: what wants a cloud, gives out node networks, signs certificate requests or
// mirrors endpoints.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"cronjob-controller",
	"daemonset-controller",
	"deployment-controller",
	"disruption-controller",
	"endpoints-controller",
	"endpointslice-controller",
	"ephemeral-volume-controller",
	"garbage-collector-controller",
	"horizontal-pod-autoscaler-controller",
	"job-controller",
	"namespace-controller",
	"node-lifecycle-controller",
	"persistentvolume-attach-detach-controller", // for CSI it only writes VolumeAttachments
	"persistentvolume-binder-controller",
	"persistentvolume-protection-controller",
	"persistentvolumeclaim-protection-controller",
	"pod-garbage-collector-controller",
	"replicaset-controller",
	"replicationcontroller-controller",
	"resourcequota-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"statefulset-controller",
	"taint-eviction-controller",
	"ttl-after-finished-controller",
}

const (
	serviceCIDR = "10.96.0.0/16"

	// clientQPS is far above what the components need here: on one machine the
	// API is no shared resource to protect, and their defaults would make a
	// rehearsal slower than the cluster it rehearses for.
	clientQPS   = 1000
	clientBurst = 2000
)

// settings is what the components must agree on.
type settings struct {
	etcdPort, peerPort, apiPort, controllerPort, schedulerPort int

	caFile        string
	server        keyPair // of etcd and the API server
	admin         keyPair // of every client of ours
	streams       keyPair // of the API server as a client of kubelets and machines
	serviceKey    string
	kubeconfig    string
	dataDir       string
	schedulerFile string
}

// etcd keeps no promise about a power cut: a sandbox has no data worth an fsync.
func (s *settings) etcd() []string {
	client := fmt.Sprintf("https://127.0.0.1:%d", s.etcdPort)
	peer := fmt.Sprintf("https://127.0.0.1:%d", s.peerPort)
	return []string{
		"--name=sandbox",
		"--data-dir=" + s.dataDir,
		"--unsafe-no-fsync",
		"--log-level=warn",
		"--socket-reuse-port",
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=sandbox=" + peer,
		// The leader of one is elected after this time, so it is a part of every start.
		"--heartbeat-interval=50",
		"--election-timeout=250",
		"--client-cert-auth", "--trusted-ca-file=" + s.caFile,
		"--cert-file=" + s.server.cert, "--key-file=" + s.server.key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + s.caFile,
		"--peer-cert-file=" + s.server.cert, "--peer-key-file=" + s.server.key,
	}
}

func (s *settings) apiServer() []string {
	return []string{
		fmt.Sprintf("--etcd-servers=https://127.0.0.1:%d", s.etcdPort),
		"--etcd-cafile=" + s.caFile,
		"--etcd-certfile=" + s.admin.cert,
		"--etcd-keyfile=" + s.admin.key,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", s.apiPort),
		"--permit-port-sharing",
		"--tls-cert-file=" + s.server.cert,
		"--tls-private-key-file=" + s.server.key,
		"--client-ca-file=" + s.caFile,
		"--kubelet-certificate-authority=" + s.caFile,
		"--kubelet-client-certificate=" + s.streams.cert,
		"--kubelet-client-key=" + s.streams.key,
		// Light machines are on the loopback network, which they call their ExternalIP: InternalIP is where only the cluster believes them to be.
		"--kubelet-preferred-address-types=ExternalIP,InternalIP",
		"--service-account-key-file=" + s.serviceKey,
		"--service-account-signing-key-file=" + s.serviceKey,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=" + serviceCIDR,
		"--authorization-mode=Node,RBAC",
		"--anonymous-auth=false",
		"--allow-privileged",
		"--endpoint-reconciler-type=none",
		// Service addresses lead nowhere on this host; pod addresses may.
		"--enable-aggregator-routing",
		"--profiling=false",
	}
}

func (s *settings) controllerManager() []string {
	return append(s.client(s.controllerPort),
		"--kubeconfig="+s.kubeconfig,
		"--leader-elect=false",
		"--controllers="+strings.Join(controllers, ","),
		"--service-account-private-key-file="+s.serviceKey,
		"--root-ca-file="+s.caFile,
		"--use-service-account-credentials=false",
		"--allocate-node-cidrs=false",
		fmt.Sprintf("--kube-api-qps=%d", clientQPS),
		fmt.Sprintf("--kube-api-burst=%d", clientBurst),
		// The defaults of Kubernetes, named because stories count on them.
		"--node-monitor-period=5s",
		"--node-monitor-grace-period=40s",
	)
}

func (s *settings) scheduler() []string {
	return append(s.client(s.schedulerPort), "--config="+s.schedulerFile)
}

// client holds the flags of a component that serves little and asks much.
func (s *settings) client(port int) []string {
	return []string{
		"--authentication-kubeconfig=" + s.kubeconfig,
		"--authorization-kubeconfig=" + s.kubeconfig,
		"--authentication-skip-lookup",
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--permit-port-sharing",
		"--tls-cert-file=" + s.server.cert,
		"--tls-private-key-file=" + s.server.key,
		"--profiling=false",
	}
}

// writeSchedulerFile writes the configuration whose flags Kubernetes has given up.
func (s *settings) writeSchedulerFile() error {
	data, err := json.MarshalIndent(map[string]any{
		"apiVersion":       "kubescheduler.config.k8s.io/v1",
		"kind":             "KubeSchedulerConfiguration",
		"clientConnection": map[string]any{"kubeconfig": s.kubeconfig, "qps": clientQPS, "burst": clientBurst},
		"leaderElection":   map[string]any{"leaderElect": false},
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(s.schedulerFile, data, 0o600)
}
