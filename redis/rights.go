package redis

import (
	"context"
	"strings"

	"drover.dev/fleet"
)

// rightError is that an ACL user lacks rights.
type rightError struct{ lacks []string }

func (e *rightError) Error() string    { return "no right to use " + e.commands() }
func (e *rightError) commands() string { return strings.Join(e.lacks, ", ") }

// mend is what to add to the user's ACL.
func (e *rightError) mend() string {
	var rules []string
	for _, c := range e.lacks {
		rules = append(rules, "+"+strings.ToLower(strings.ReplaceAll(c, " ", "|")))
	}
	return "add " + strings.Join(rules, " ") + " to its ACL"
}

// What the verbs need, as they are said. The arguments only have to be as many as Redis wants.
var (
	sentinelActs = [][]any{{"SENTINEL", "FAILOVER", "m"}, {"SENTINEL", "RESET", "m"}}
	replicaActs  = [][]any{{"CONFIG", "SET", setPriority, "1"}, {"CLIENT", "PAUSE", "1", "WRITE"}, {"CLIENT", "UNPAUSE"}, {"CLIENT", "KILL", "TYPE", "normal"}, {"REPLICAOF", "h", "1"}}
	clusterActs  = [][]any{
		{"CONFIG", "SET", setPriority, "1"}, {"CLUSTER", "MEET", "h", "1"}, {"CLUSTER", "REPLICATE", "i"}, {"CLUSTER", "FAILOVER"}, {"CLUSTER", "RESET", "HARD"}, {"CLUSTER", "FORGET", "i"},
	}
)

// mayAct finds out before it matters whether an ACL user may do all that verbs need. Redis before 7.0 cannot be asked, and a user may lack the right to
// ask; then it shows when it matters. Once a user is seen to have all rights the connection does not ask again.
func (l *line) mayAct(ctx context.Context, mover fleet.Mover, of ...string) error {
	if l.ep.Username == "" || l.isAllowed() {
		return nil
	}
	acts := replicaActs
	if mover == fleet.ClusterMover {
		acts = clusterActs
	}
	if len(of) > 0 {
		acts = sentinelActs
	}
	var lacks []string
	for _, act := range acts {
		v, err := l.do(ctx, append([]any{"ACL", "DRYRUN", l.ep.Username}, act...)...)
		if _, answered := said(err); answered {
			return nil
		}
		if err != nil {
			return err
		}
		if v != "OK" {
			lacks = append(lacks, named(act))
		}
	}
	if len(lacks) > 0 {
		return &rightError{lacks}
	}
	l.allow()
	return nil
}

func (l *line) isAllowed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.allowed
}

func (l *line) allow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed = true
}
