package scenario

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Random makes a story of its seed: a fleet, what runs on it, a rotation and perhaps trouble on the way. The fleet has room for everything with a
// node less, so the rotation has to come to its end.
func Random(seed uint64) string {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 11))}
	g.say("# Seed %d: a fleet at random.", seed)
	g.say("world seed=%d%s", g.IntN(1000), g.maybe(3, " pack"))
	zones := []string{"a", "a,b", "a,b,c"}[g.IntN(3)]
	if g.IntN(2) == 0 {
		g.say("target-group front delay=%ds", 30*g.IntN(3))
		g.target = " targets=front"
	}
	for i := range 1 + g.IntN(2) {
		nodes := 1 + g.IntN(5)
		g.nodes += nodes
		g.groups = append(g.groups, fmt.Sprintf("g%d", i))
		g.sizes = append(g.sizes, nodes)
		g.say("group g%d nodes=%d max=%d zones=%s%s", i, nodes, nodes+4, zones, g.target)
	}
	g.workloads()
	if g.IntN(4) == 0 {
		g.say("probe front")
		g.probe = true
	}
	g.say("settle")
	for _, name := range g.groups {
		g.say("publish %s", name)
	}
	back := g.IntN(4) == 0
	g.trouble(back)
	g.journey(back)
	return g.text.String()
}

type generator struct {
	*rand.Rand
	text   strings.Builder
	target string
	groups []string
	sizes  []int
	nodes  int
	apps   []string
	probe  bool
}

func (g *generator) say(format string, args ...any) { fmt.Fprintf(&g.text, format+"\n", args...) }

// maybe returns the word once in so many times.
func (g *generator) maybe(often int, word string) string {
	if g.IntN(often) == 0 {
		return word
	}
	return ""
}

// roomOfNode is what pods get of an m5.large, in thousandths of a core, with some left for what fits nowhere else.
const roomOfNode = 1500

// workloads fills at most two thirds of the fleet.
func (g *generator) workloads() {
	room := g.nodes * roomOfNode * 2 / 3
	for i := range 1 + g.IntN(4) {
		replicas, cpu := 1+g.IntN(8), 50*(1+g.IntN(6))
		if room -= replicas * cpu; room < 0 {
			break
		}
		name := fmt.Sprintf("app%d", i)
		g.apps = append(g.apps, name)
		common := fmt.Sprintf("%s replicas=%d cpu=%dm start=%ds prestop=%ds", name, replicas, cpu, 1+g.IntN(40), g.IntN(20))
		switch g.IntN(5) {
		case 0:
			g.say("statefulset %s unavailable=1%s", common, g.maybe(2, " parallel"))
		case 1:
			g.say("deployment %s", common)
		case 2:
			g.say("deployment %s unavailable=%d%%", common, 10+g.IntN(40))
		default:
			g.say("deployment %s budget=%d", common, max(1, replicas-1-g.IntN(2)))
		}
	}
	if g.IntN(3) == 0 {
		g.say("daemonset agent cpu=20m")
	}
	if g.IntN(5) == 0 {
		g.say("job batch runs=%dm cpu=50m", 1+g.IntN(20))
	}
}

// trouble is what others do meanwhile. Nobody pauses a run that is taken back: a person would have to resume it first.
func (g *generator) trouble(back bool) {
	group := g.IntN(len(g.groups))
	name, node := g.groups[group], 1+g.IntN(g.sizes[group]+1)
	switch g.IntN(10) {
	case 0:
		g.say("at %ds kill %s/%d", 100+g.IntN(400), name, min(node, g.sizes[group]))
	case 1:
		g.say("at %ds silence %s/%d", 100+g.IntN(400), name, min(node, g.sizes[group]))
	case 2:
		g.say("at %ds drought a", g.IntN(300))
		g.say("at %ds rain a", 400+g.IntN(3000))
	case 3:
		if !back {
			g.say("when moved:%d pause for=%ds", 1+g.IntN(3), 60+g.IntN(1200))
		}
	case 4:
		g.say("when moved:1 expel %s", g.app())
	case 5:
		if g.probe {
			g.say("when moved:1 ail front")
			g.say("at %ds heal front", 300+g.IntN(600))
		}
	case 6:
		g.say("when moved:2 desired %s +1", name)
	}
}

func (g *generator) app() string {
	if len(g.apps) == 0 {
		return "agent"
	}
	return g.apps[g.IntN(len(g.apps))]
}

// journey is a rotation, and perhaps the way back.
func (g *generator) journey(back bool) {
	rotate := fmt.Sprintf("rotate %s surge=%d or=blocked", strings.Join(g.groups, " "), 1+g.IntN(3))
	if g.IntN(4) == 0 {
		rotate += fmt.Sprintf(" bake=%dm", 1+g.IntN(60))
	}
	if g.IntN(3) == 0 {
		rotate += fmt.Sprintf(" canary=%dm", 1+g.IntN(10))
	}
	if !back {
		g.say("%s", rotate)
		return
	}
	g.say("%s until=%s", rotate, []string{"moving", "moved:1", "moved:4", "closed:1"}[g.IntN(4)])
	g.say("abort %s or=nothing", g.groups[0])
}
