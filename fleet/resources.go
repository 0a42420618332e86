package fleet

import (
	"fmt"
	"strings"
)

// Resources is room on a node or a pod's requests. CPU is in thousandths of a core, Memory in bytes.
type Resources struct {
	CPU, Memory, Pods int64
	Other             map[string]int64 // extended resources by name
}

// Add returns the sum.
func (r Resources) Add(o Resources) Resources { return r.combine(o, 1) }

// Sub returns the difference; it may be negative.
func (r Resources) Sub(o Resources) Resources { return r.combine(o, -1) }

func (r Resources) combine(o Resources, sign int64) Resources {
	r.CPU += sign * o.CPU
	r.Memory += sign * o.Memory
	r.Pods += sign * o.Pods
	if len(o.Other) > 0 {
		sum := make(map[string]int64, len(r.Other)+len(o.Other))
		for k, v := range r.Other {
			sum[k] = v
		}
		for k, v := range o.Other {
			sum[k] += sign * v
		}
		r.Other = sum
	}
	return r
}

// Lacks names what is missing in r for o, in figures; "" when nothing is. A resource that o does not ask for may be overdrawn.
func (r Resources) Lacks(o Resources) string {
	var out []string
	if o.CPU > 0 && o.CPU > r.CPU {
		out = append(out, fmt.Sprintf("cpu %dm of %dm", max(r.CPU, 0), o.CPU))
	}
	if o.Memory > 0 && o.Memory > r.Memory {
		out = append(out, fmt.Sprintf("memory %dMi of %dMi", max(r.Memory, 0)>>20, o.Memory>>20))
	}
	if o.Pods > 0 && o.Pods > r.Pods {
		out = append(out, "no pod slot")
	}
	for k, v := range o.Other {
		if v > 0 && v > r.Other[k] {
			out = append(out, fmt.Sprintf("%s %d of %d", k, max(r.Other[k], 0), v))
		}
	}
	return strings.Join(out, ", ")
}
