package machine

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Spec is what the cloud knows of an instance when it boots.
type Spec struct {
	Name         string // of the Node
	InstanceID   string
	ProviderID   string // "" means aws:///<zone>/<instance>
	Zone, Region string
	InstanceType string
	Group        string // the Auto Scaling group; for the log only
	NodeIP       string // 127.20.N.1; pods get the other addresses of its /24

	Labels map[string]string
	Taints []corev1.Taint
	// StartupTaints are there from registration until the node is ready, like a network plugin's.
	StartupTaints []corev1.Taint

	// Capacity. What is left empty comes from the instance type; an unknown type has to give all three.
	CPU, Memory string
	Pods        int
}

type shape struct {
	cpu  int // vCPUs
	gib  int
	pods int // the VPC CNI's limit of addresses
}

// shapes lists the types that the sandbox's stories use; figures from EC2 and eni-max-pods.txt.
var shapes = map[string]shape{
	"t3.small":   {2, 2, 11},
	"t3.medium":  {2, 4, 17},
	"t3.large":   {2, 8, 35},
	"t3.xlarge":  {4, 16, 58},
	"m5.large":   {2, 8, 29},
	"m5.xlarge":  {4, 16, 58},
	"m5.2xlarge": {8, 32, 58},
	"m5.4xlarge": {16, 64, 234},
	"m5a.large":  {2, 8, 29},
	"m6i.large":  {2, 8, 29},
	"m6i.xlarge": {4, 16, 58},
	"m6g.large":  {2, 8, 29},
	"m7i.large":  {2, 8, 29},
	"m7g.large":  {2, 8, 29},
	"c5.large":   {2, 4, 29},
	"c5.xlarge":  {4, 8, 58},
	"c6i.large":  {2, 4, 29},
	"c6i.xlarge": {4, 8, 58},
	"r5.large":   {2, 16, 29},
	"r5.xlarge":  {4, 32, 58},
	"r6i.large":  {2, 16, 29},
}

func (s Spec) capacity() (corev1.ResourceList, error) {
	sh, known := shapes[s.InstanceType]
	if !known && (s.CPU == "" || s.Memory == "" || s.Pods == 0) {
		return nil, fmt.Errorf("instance type %q is not in the table; give CPU, Memory and Pods", s.InstanceType)
	}
	cpu, memory := *resource.NewQuantity(int64(sh.cpu), resource.DecimalSI), *resource.NewQuantity(int64(sh.gib)<<30, resource.BinarySI)
	var err error
	if s.CPU != "" {
		if cpu, err = resource.ParseQuantity(s.CPU); err != nil {
			return nil, fmt.Errorf("CPU %q: %w", s.CPU, err)
		}
	}
	if s.Memory != "" {
		if memory, err = resource.ParseQuantity(s.Memory); err != nil {
			return nil, fmt.Errorf("memory %q: %w", s.Memory, err)
		}
	}
	pods := sh.pods
	if s.Pods != 0 {
		pods = s.Pods
	}
	return corev1.ResourceList{
		corev1.ResourceCPU:              cpu,
		corev1.ResourceMemory:           memory,
		corev1.ResourcePods:             *resource.NewQuantity(int64(pods), resource.DecimalSI),
		corev1.ResourceEphemeralStorage: resource.MustParse("20Gi"),
	}, nil
}

// allocatable is capacity less what EKS's bootstrap reserves: CPU by core (6 %, 1 %, twice 0.5 %, then 0.25 %), memory
// 255 MiB + 11 MiB a pod, and 100 MiB hard eviction. Machines of 1 GiB or less are left whole: they exist only in tests.
func allocatable(capacity corev1.ResourceList) corev1.ResourceList {
	out := capacity.DeepCopy()
	cores := capacity.Cpu().MilliValue()
	var reserved float64
	for core, left := 0, cores; left > 0; core, left = core+1, left-1000 {
		part := 0.0025
		switch {
		case core == 0:
			part = 0.06
		case core == 1:
			part = 0.01
		case core < 4:
			part = 0.005
		}
		reserved += part * float64(min(left, 1000))
	}
	out[corev1.ResourceCPU] = *resource.NewMilliQuantity(cores-int64(reserved), resource.DecimalSI)
	if capacity.Memory().Value() > 1<<30 {
		kept := (255 + 11*capacity.Pods().Value() + 100) << 20
		out[corev1.ResourceMemory] = *resource.NewQuantity(capacity.Memory().Value()-kept, resource.BinarySI)
	}
	return out
}

func (s Spec) providerID() string {
	if s.ProviderID != "" {
		return s.ProviderID
	}
	return "aws:///" + s.Zone + "/" + s.InstanceID
}

func (s Spec) arch() string {
	family, _, _ := strings.Cut(s.InstanceType, ".")
	// Graviton families carry a g after the generation: m6g, c7gd, t4g.
	if i := strings.IndexAny(family, "0123456789"); i > 0 && strings.HasPrefix(family[i+1:], "g") {
		return "arm64"
	}
	return "amd64"
}

func (s Spec) labels() map[string]string {
	out := map[string]string{
		corev1.LabelHostname:           s.Name,
		corev1.LabelOSStable:           "linux",
		corev1.LabelArchStable:         s.arch(),
		corev1.LabelTopologyZone:       s.Zone,
		corev1.LabelTopologyRegion:     s.Region,
		corev1.LabelInstanceTypeStable: s.InstanceType,
	}
	maps.Copy(out, s.Labels)
	return out
}

// node is the Node as a kubelet registers it: not ready yet, and tainted so that nothing lands on it before.
func (s Spec) node(now metav1.Time) (*corev1.Node, error) {
	if s.Name == "" || s.InstanceID == "" && s.ProviderID == "" {
		return nil, fmt.Errorf("a machine needs a name and an instance id; got name %q, instance %q", s.Name, s.InstanceID)
	}
	capacity, err := s.capacity()
	if err != nil {
		return nil, err
	}
	taints := append([]corev1.Taint{notReadyTaint}, s.StartupTaints...)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name, Labels: s.labels()},
		Spec:       corev1.NodeSpec{ProviderID: s.providerID(), Taints: append(taints, s.Taints...)},
		Status: corev1.NodeStatus{
			Capacity:    capacity,
			Allocatable: allocatable(capacity),
			Conditions:  nodeConditions(false, now, now),
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: ClusterAddress(s.NodeIP)},
				{Type: corev1.NodeHostName, Address: s.Name},
			},
			NodeInfo: corev1.NodeSystemInfo{
				MachineID:               s.InstanceID,
				SystemUUID:              s.InstanceID,
				BootID:                  s.InstanceID,
				KernelVersion:           "sandbox",
				OSImage:                 "drover sandbox machine",
				OperatingSystem:         "linux",
				Architecture:            s.arch(),
				ContainerRuntimeVersion: "sandbox://1",
				KubeletVersion:          "v1.36.3",
			},
		},
	}, nil
}

// notReadyTaint is the one the API server's own admission adds to a node that registers; the node controller takes it away.
var notReadyTaint = corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}

func nodeConditions(ready bool, heartbeat, since metav1.Time) []corev1.NodeCondition {
	condition := func(t corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: t, Status: status, Reason: reason, Message: message, LastHeartbeatTime: heartbeat, LastTransitionTime: since}
	}
	state := condition(corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "the machine is starting")
	if ready {
		state = condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "the machine is ready")
	}
	return []corev1.NodeCondition{
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "memory is not simulated"),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "disk is not simulated"),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "PIDs are not simulated"),
		state,
	}
}
