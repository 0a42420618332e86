package sandbox

import (
	"context"
	"errors"

	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/machine"
	"drover.dev/sandbox/plane"
)

func (w *World) startKubelet(ctx context.Context, in cloud.Instance, spec machine.Spec) (*plane.Kubelet, error) {
	return nil, errors.New("later")
}
