package kube

import (
	"context"
	"fmt"
	"slices"

	"drover.dev/fleet"
)

// call calls a hook of a store's owner in a pod, and writes down that it has succeeded. A process that is killed in between calls it again.
func (c *Cluster) call(ctx context.Context, a fleet.Action) error {
	hook, err := ParseHook(a.Effect)
	if err != nil {
		return fmt.Errorf("hook %s of store %s: %w", a.Hook, a.Store, err)
	}
	reach := c.Reach
	if reach == nil {
		reach = c.Forward()
	}
	if err := c.CallHook(ctx, reach, a.Pod, hook, a.Grace); err != nil {
		return fmt.Errorf("hook %s of store %s: %w", a.Hook, a.Store, err)
	}
	noted := a
	noted.Move = a.Move.Clone()
	if !slices.Contains(noted.Move.Hooked, a.Hook) {
		noted.Move.Hooked = append(noted.Move.Hooked, a.Hook)
	}
	return c.engage(ctx, noted)
}
