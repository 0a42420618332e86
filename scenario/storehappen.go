package scenario

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover.dev/fleet"
)

// mishaps are what happens to the pods of stores and to the processes in them.
var mishaps = map[string]event{
	"crash":      {"crash STORE POD: its process is killed, and its kubelet starts it again; POD may be master, replica, temp or sentinel", onPod((*Stage).crashPod)},
	"strike":     {"strike STORE POD: somebody deletes it by force", onPod((*Stage).strikePod)},
	"freeze":     {"freeze STORE POD for=10s: its process stands still", onPod((*Stage).freezePod)},
	"say":        {"say STORE POD COMMAND...: somebody says that to its process", onPod((*Stage).sayTo)},
	"ask":        {"ask STORE POD by=alice: somebody wants it off its node, as the guard of evictions notes it", onPod((*Stage).askPod)},
	"lose-disk":  {"lose-disk STORE POD: when it comes back its volume is empty", onPod((*Stage).loseDisk)},
	"mistrust":   {"mistrust STORE: processes that start from now have another's password for their master", func(s *Stage, w *words) error { return s.trust(w, true) }},
	"trust":      {"trust STORE: and now they have the right one", func(s *Stage, w *words) error { return s.trust(w, false) }},
	"hook-fails": {"hook-fails HOOK 3: so many calls of a store's hook fail", (*Stage).failHook},
}

// onPod makes an event of what is done to a pod of a store.
func onPod(do func(s *Stage, store string, pod fleet.PodRef, w *words) error) func(*Stage, *words) error {
	return func(s *Stage, w *words) error {
		pod, err := s.who(w)
		if err != nil {
			return err
		}
		return do(s, "default/"+w.names[0], pod, w)
	}
}

// crashPod kills a process that comes back in the same place. A master without a volume is back, empty, before any Sentinel misses it, and its replicas
// take that over: Redis' own documentation warns of it.
func (s *Stage) crashPod(store string, pod fleet.PodRef, _ *words) error {
	if slices.Contains(s.stores.world.Masters(store), s.stores.at[pod.UID]) && s.stores.layout[store].mover == fleet.SentinelMover {
		s.watch.orphans[store] = true
	}
	return s.w.Cluster.Crash(pod)
}

func (s *Stage) strikePod(_ string, pod fleet.PodRef, _ *words) error {
	s.watch.excused[pod.Name[:strings.LastIndex(pod.Name, "-")]] = true // its successor may have to move again
	return s.w.Cluster.Strike(pod)
}

func (s *Stage) freezePod(store string, pod fleet.PodRef, w *words) error {
	s.watch.hit(store)
	return s.stores.world.Freeze(s.stores.at[pod.UID], w.duration("for", 10*time.Second))
}

func (s *Stage) askPod(_ string, pod fleet.PodRef, w *words) error {
	return s.w.Cluster.Ask(pod, w.text("by", "kubectl drain by alice"))
}

// sayTo is a person with redis-cli. HOST of a pod stands for its address.
func (s *Stage) sayTo(store string, pod fleet.PodRef, w *words) error {
	s.watch.hit(store)
	conn, err := s.stores.world.Connect(context.Background(), s.stores.at[pod.UID])
	if err != nil {
		return err
	}
	var args []any
	for _, word := range w.names[2:] {
		if name, ok := strings.CutPrefix(word, "@"); ok {
			for addr, p := range s.stores.pods() {
				if p == name {
					word, _, _ = net.SplitHostPort(addr)
				}
			}
		}
		args = append(args, word)
	}
	_, err = conn.Do(context.Background(), args...)
	_ = conn.Close()
	return err
}

func (s *Stage) loseDisk(store string, pod fleet.PodRef, _ *words) error {
	s.watch.hit(store)
	s.stores.lost[pod.Name] = true
	return nil
}

func (s *Stage) trust(w *words, wrong bool) error {
	l := s.stores.layout["default/"+w.name()]
	if l == nil {
		return fmt.Errorf("there is no store %s", w.name())
	}
	l.wrong = wrong
	return nil
}

func (s *Stage) failHook(w *words) error {
	if len(w.names) != 2 {
		return fmt.Errorf("want a hook and a number, have %q", w.names)
	}
	left, err := strconv.Atoi(w.names[1])
	s.w.Cluster.Answer(func(_, hook string, pod fleet.PodRef) error {
		if hook != w.names[0] || left == 0 {
			return nil
		}
		left--
		return &fleet.Refused{Reason: fmt.Sprintf("hook %s in pod %s: exit code 1: still rebalancing", hook, pod), Wait: 2 * time.Second}
	})
	return err
}
