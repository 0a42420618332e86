package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/kube"
)

type promotion struct {
	namespace       string
	force, takeover bool
	yes             bool
}

// effect is how the slots are taken, in Redis' words; "" with the master's consent.
func (p *promotion) effect() string {
	switch {
	case p.force:
		return fleet.Force
	case p.takeover:
		return fleet.Takeover
	}
	return ""
}

func (a *app) promoteCommand() *cobra.Command {
	var p promotion
	c := &cobra.Command{
		Use: "promote POD", Short: "Have a replica of a Redis Cluster take its master's slots now",
		Long: `Have the replica in a pod become the master of its shard: CLUSTER FAILOVER, in which the master hands over and no acknowledged write is lost.

Where the master does not answer, --force has the other masters elect the replica without it, and --takeover asks nobody at all. Both lose every write
that only the old master had. Drover never does either by itself: the store's state and what would be lost are shown, and the pod's name has to be typed.
Where the master answers, neither is needed, and the flag's name has to be typed, too.`,
		Example: "  drover promote shop/cache-b-1\n  drover promote cache-b-1 -n shop --takeover",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.promote(c.Context(), args[0], &p) },
	}
	c.Flags().StringVarP(&p.namespace, "namespace", "n", "", "the pod's namespace (otherwise the one that has a pod of that name)")
	c.Flags().BoolVar(&p.force, "force", false, "without the master's consent: a majority of the other masters has to agree")
	c.Flags().BoolVar(&p.takeover, "takeover", false, "without anybody's consent: for when no majority of masters is left")
	c.Flags().BoolVarP(&p.yes, "yes", "y", false, "do not ask")
	return c
}

func (a *app) promote(ctx context.Context, pod string, p *promotion) error {
	if p.force && p.takeover {
		return usagef("--force or --takeover, not both")
	}
	name, err := inNamespace(pod, p.namespace)
	if err != nil {
		return err
	}
	s, err := a.conn.connectStores(ctx)
	if err != nil {
		return err
	}
	snapshot, err := s.observe(ctx, nil)
	if err != nil {
		return err
	}
	ref, action, err := promoted(&snapshot, name, p.effect())
	if err != nil {
		return err
	}
	d := storeOf(&snapshot, snapshot.Store(action.Store))
	d.print(a.err)
	fmt.Fprintln(a.err)
	for _, line := range lossOf(snapshot.Store(action.Store), action) {
		fmt.Fprintln(a.err, line)
	}
	if err := a.approveNames(ctx, p.yes, toType(snapshot.Store(action.Store), action)...); err != nil {
		return err
	}
	err = s.cluster.Alone(ctx, identity(), a.tellWaiting, func(ctx context.Context) error { return s.takeSlots(ctx, name, action) })
	var busy *kube.Busy
	var refused *fleet.Refused
	switch {
	case errors.As(err, &busy):
		return &exit{exitBlocked, fmt.Errorf("%w; stop that first (Ctrl-C): it goes on afterwards from what it finds", err)}
	case errors.As(err, &refused):
		return &exit{exitBlocked, fmt.Errorf("%s: %w", action, err)}
	case err != nil:
		return err
	}
	fmt.Fprintf(a.err, "%s: pod %s has the slots, in every member's view.\n", a.paint(green, "Done"), ref)
	return nil
}

// promoted is the pod of that name, and what it takes for it to have the slots.
func promoted(s *fleet.Snapshot, name, effect string) (fleet.PodRef, fleet.Action, error) {
	pod, err := (&explainer{Snapshot: s}).findPod(name)
	if err != nil {
		return fleet.PodRef{}, fleet.Action{}, err
	}
	action, err := evac.Promote(s, pod.Ref, effect)
	if err != nil {
		err = &exit{exitBlocked, err}
	}
	return pod.Ref, action, err
}

// takeSlots acts, under the lease, on what was approved: when that is not what would be done now, nothing is.
func (s *site) takeSlots(ctx context.Context, name string, approved fleet.Action) error {
	now, err := s.observe(ctx, nil)
	if err != nil {
		return err
	}
	_, action, err := promoted(&now, name, approved.Effect)
	if err != nil {
		return err
	}
	if action.Pod != approved.Pod || action.Peer != approved.Peer {
		return &exit{exitBlocked, fmt.Errorf("while you were asked, store %s changed: it would now be %s; nothing was done: look again", action.Store, action)}
	}
	if err := kube.Fence(ctx); err != nil {
		return err
	}
	return s.stores.Act(ctx, *now.Store(action.Store), action)
}

// lossOf says what is done, and which acknowledged writes that would lose.
func lossOf(st *fleet.Store, a fleet.Action) []string {
	out := []string{"Would " + a.String() + "."}
	if a.Peer.Name == "" {
		out[0] = fmt.Sprintf("Would have %s take the slots of its master, which no pod answers as (%s).", a.Pod, a.Effect)
	}
	me := st.Member(a.Pod.Name)
	master := st.Member(a.Peer.Name)
	switch {
	case a.Effect == "":
		return append(out, fmt.Sprintf("Master %s is asked, and stops writes until the replica has them all: nothing that was acknowledged is lost.", a.Peer.Name))
	case master == nil || master.Trouble != "":
		out = append(out, fmt.Sprintf("Lost is every write that its master acknowledged and %s has not: how many is not known, as the master does not answer; %s is at offset %d.", a.Pod.Name, a.Pod.Name, me.Offset))
	case master.Offset > me.Offset:
		out = append(out, fmt.Sprintf("Lost is what its master %s has and %s has not: %d bytes of its writes now (offset %d and %d), and those until then.", master.Pod.Name, a.Pod.Name, master.Offset-me.Offset, master.Offset, me.Offset))
	default:
		out = append(out, fmt.Sprintf("Lost are the writes that its master %s acknowledges until it hears of this; it is not ahead now.", master.Pod.Name))
	}
	if answers(master) {
		out = append(out, fmt.Sprintf("Master %s answers: without --%s it hands over, and nothing is lost.", master.Pod.Name, flagOf(a.Effect)))
	}
	if a.Effect == fleet.Takeover {
		out = append(out, "No other master is asked: where the old one still serves clients, both take writes until they meet, and those of the old one are lost.")
	}
	return out
}

func flagOf(effect string) string {
	if effect == fleet.Force {
		return "force"
	}
	return "takeover"
}

// answers tells whether a master is there to hand over.
func answers(master *fleet.Member) bool { return master != nil && master.Trouble == "" }

// toType are the words that a person has to type: the pod's name, and, to lose writes that need not be lost, the flag that does it.
func toType(st *fleet.Store, a fleet.Action) []string {
	if a.Effect != "" && answers(st.Member(a.Peer.Name)) {
		return []string{a.Pod.Name, flagOf(a.Effect)}
	}
	return []string{a.Pod.Name}
}

// approveNames has each of the names typed, and refuses to guess without a terminal.
func (a *app) approveNames(ctx context.Context, yes bool, names ...string) error {
	if yes {
		return nil
	}
	if !terminal(a.in) {
		return &exit{exitRefused, errors.New("nobody is there to answer; pass --yes to go ahead")}
	}
	fmt.Fprintln(a.err)
	return typedNames(ctx, a.in, a.err, names...)
}

// typedNames asks for each of the names, and waits for exactly that.
func typedNames(ctx context.Context, in io.Reader, out io.Writer, names ...string) error {
	lines := bufio.NewReader(in) // one for all: it may read ahead
	for _, name := range names {
		fmt.Fprintf(out, "Type %s to go ahead: ", name)
		said, err := readLine(ctx, lines)
		if err != nil {
			return err
		}
		if said != name {
			return &exit{exitRefused, fmt.Errorf("that is not %s; nothing was done", name)}
		}
	}
	return nil
}

// readLine reads one. Ctrl-C need not wait for its end, and what ends without one was not meant.
func readLine(ctx context.Context, in *bufio.Reader) (string, error) {
	answer := make(chan string, 1)
	go func() { // ends with the process at the latest: a read from a terminal cannot be called off
		text, err := in.ReadString('\n')
		if err != nil {
			text = ""
		}
		answer <- text
	}()
	select {
	case <-ctx.Done():
		return "", &exit{exitInterrupted, errors.New("interrupted; nothing was done")}
	case said := <-answer:
		return strings.TrimSpace(said), nil
	}
}
