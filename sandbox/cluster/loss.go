package cluster

import (
	"fmt"
	"slices"

	"drover.dev/fleet"
)

// LoseRecord deletes a run's record, as a person does who deletes its object.
func (c *Cluster) LoseRecord(run string) error {
	return c.do(func() error {
		i := slices.IndexFunc(c.records, func(r fleet.RotationRecord) bool { return r.Run == run })
		if i < 0 {
			return fmt.Errorf("rotation %s: there is no such run in this cluster", run)
		}
		c.records = slices.Delete(c.records, i, i+1)
		return nil
	})
}
