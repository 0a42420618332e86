package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	cadvisorapi "github.com/google/cadvisor/info/v1"
	cadvisorapiv2 "github.com/google/cadvisor/info/v2"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	cadvisortest "k8s.io/kubernetes/pkg/kubelet/cadvisor/testing"
	"k8s.io/kubernetes/pkg/kubelet/cm"
)

// diskBytes is the root volume of an EKS node unless somebody asks for another.
const diskBytes = 20 << 30

// machine tells the kubelet what it runs on: the flags' word, not the host's.
type machine struct {
	cadvisortest.Fake
	info cadvisorapi.MachineInfo
}

func newMachine(o Options) *machine {
	var boot [16]byte
	rand.Read(boot[:])
	return &machine{info: cadvisorapi.MachineInfo{
		NumCores:       o.CPU,
		MemoryCapacity: uint64(o.Memory.Value()),
		MachineID:      o.Name,
		SystemUUID:     o.Name,
		BootID:         hex.EncodeToString(boot[:]),
		InstanceID:     cadvisorapi.InstanceID(o.ProviderID),
	}}
}

func (m *machine) MachineInfo() (*cadvisorapi.MachineInfo, error) {
	info := m.info
	return &info, nil
}

func (m *machine) VersionInfo() (*cadvisorapi.VersionInfo, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	return &cadvisorapi.VersionInfo{
		KernelVersion:      unix.ByteSliceToString(u.Release[:]),
		ContainerOsVersion: "drover sandbox",
	}, nil
}

func (m *machine) RootFsInfo() (cadvisorapiv2.FsInfo, error)                     { return disk(), nil }
func (m *machine) ImagesFsInfo(context.Context) (cadvisorapiv2.FsInfo, error)    { return disk(), nil }
func (m *machine) ContainerFsInfo(context.Context) (cadvisorapiv2.FsInfo, error) { return disk(), nil }
func (m *machine) GetDirFsInfo(string) (cadvisorapiv2.FsInfo, error)             { return disk(), nil }

// disk is always empty: the host's own is not the node's.
func disk() cadvisorapiv2.FsInfo {
	inodes := uint64(diskBytes / 16384)
	return cadvisorapiv2.FsInfo{
		Device: "drover", Mountpoint: "/",
		Capacity: diskBytes, Available: diskBytes,
		Inodes: &inodes, InodesFree: &inodes,
	}
}

// containerManager is one without cgroups that has room for what pods request.
type containerManager struct{ cm.ContainerManager }

func newContainerManager() containerManager { return containerManager{cm.NewStubContainerManager()} }

func (containerManager) GetCapacity(bool) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceEphemeralStorage: *resource.NewQuantity(diskBytes, resource.BinarySI)}
}

func (containerManager) NewPodContainerManager() cm.PodContainerManager {
	return podCgroups{cm.NewStubContainerManager().NewPodContainerManager()}
}

// podCgroups knows of no limits, where the stub has an error for each look at a pod.
type podCgroups struct{ cm.PodContainerManager }

func (podCgroups) GetPodCgroupConfig(*corev1.Pod, corev1.ResourceName) (*cm.ResourceConfig, error) {
	return nil, nil
}
