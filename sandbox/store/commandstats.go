package store

import (
	"fmt"
	"maps"
	"slices"
)

// tally is how often a command was carried out, and how often it was refused before.
type tally struct{ calls, rejected, failed int }

// tally returns that of a command, by its name in small letters. What a master sends is counted on its replicas, too; what is loaded is not.
func (p *process) tally(command string) *tally {
	if p.tallies[command] == nil {
		p.tallies[command] = &tally{}
	}
	return p.tallies[command]
}

// carried counts a command that was carried out, whatever came of it.
func (p *process) carried(command string, answer any) {
	t := p.tally(command)
	t.calls++
	if _, bad := answer.(Reply); bad {
		t.failed++
	}
}

func (p *process) infoCommands() [][2]string {
	var out [][2]string
	for _, name := range slices.Sorted(maps.Keys(p.tallies)) {
		t := p.tallies[name]
		out = append(out, [2]string{"cmdstat_" + name, fmt.Sprintf("calls=%d,usec=%d,usec_per_call=1.00,rejected_calls=%d,failed_calls=%d", t.calls, t.calls, t.rejected, t.failed)})
	}
	return out
}
