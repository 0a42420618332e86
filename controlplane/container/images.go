package container

import (
	"context"
	"sync"
	"time"

	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// imageUser is the user that every image claims to run as. The kubelet refuses
	// a pod with runAsNonRoot whose image is root's or does not say, and here no
	// image says; with this number we know our own answer again.
	imageUser = 64999

	// imageBytes is what every image claims to take.
	imageBytes = 100 << 20
)

// Images is the ImageManagerService of a node. It holds names only: a pull takes
// its time and brings nothing.
type Images struct {
	pull time.Duration

	mu   sync.Mutex
	have map[string]bool
}

var _ internalapi.ImageManagerService = (*Images)(nil)

// NewImages makes a node without images, each of which takes that long to pull.
func NewImages(pull time.Duration) *Images {
	return &Images{pull: pull, have: map[string]bool{}}
}

func (i *Images) PullImage(ctx context.Context, image *runtimeapi.ImageSpec, _ *runtimeapi.AuthConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	select {
	case <-time.After(i.pull):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.have[image.Image] = true
	return image.Image, nil
}

func (i *Images) ImageStatus(_ context.Context, image *runtimeapi.ImageSpec, _ bool) (*runtimeapi.ImageStatusResponse, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.have[image.Image] {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	return &runtimeapi.ImageStatusResponse{Image: describeImage(image.Image)}, nil
}

func (i *Images) ListImages(_ context.Context, filter *runtimeapi.ImageFilter) ([]*runtimeapi.Image, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var list []*runtimeapi.Image
	for name := range i.have {
		if only := filter.GetImage().GetImage(); only == "" || only == name {
			list = append(list, describeImage(name))
		}
	}
	return list, nil
}

func (i *Images) RemoveImage(_ context.Context, image *runtimeapi.ImageSpec) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.have, image.Image)
	return nil
}

func (i *Images) ImageFsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	usage := []*runtimeapi.FilesystemUsage{{
		Timestamp:  time.Now().UnixNano(),
		FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: "/"},
		UsedBytes:  &runtimeapi.UInt64Value{Value: uint64(len(i.have)) * imageBytes},
		InodesUsed: &runtimeapi.UInt64Value{Value: uint64(len(i.have))},
	}}
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: usage, ContainerFilesystems: usage}, nil
}

func (i *Images) Close(context.Context) error { return nil }

func describeImage(name string) *runtimeapi.Image {
	return &runtimeapi.Image{
		Id:       name,
		RepoTags: []string{name},
		Size:     imageBytes,
		Uid:      &runtimeapi.Int64Value{Value: imageUser},
		Spec:     &runtimeapi.ImageSpec{Image: name},
	}
}
