package scenario

import (
	"context"
	"fmt"
	"os"

	"drover.dev/fleet"
)

func init() {
	if os.Getenv("STDEBUG") != "" {
		debugStore = func(h *storeHand, st *fleet.Store) {
			fmt.Println(h.w.Now().Sub(h.diary.start), st.Name)
			for _, m := range st.Members {
				fmt.Println("  ", m.Pod.Name, m.Known, m.Role, m.Master, m.Link, m.Trouble, m.Fence, m.Priority, "leaving", m.Leaving, "ready", m.Ready, "off", m.Offset)
				for _, p := range m.View {
					fmt.Println("       ", p)
				}
			}
			for _, m := range st.Sentinels {
				fmt.Println("  ", m.Pod.Name, m.Known, m.Master, m.Replicas, m.Peers, m.Trouble, m.NoQuorum, m.Failover)
			}
			fmt.Println("  move", st.Move)
		}
	}
}

var _ = context.Background
