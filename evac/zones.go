package evac

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"drover.dev/fleet"
)

// balance is how a group's instances and exits lie over its zones.
type balance struct {
	zones []string
	count map[string]int  // instances, those on their way out included: AWS counts them until they are closed
	going map[string]int  // of these, on their way out of service
	exits map[string]int  // and those that are to go later
	soon  map[string]int  // of these, those that can be empty soon
	back  int             // desired capacity in the end
	may   map[string]bool // what mayLose has said already
	surge int
}

// scales is what one tick has weighed of its groups already. It holds as long as no further exit begins to leave.
type scales struct {
	begunThen int
	balances  map[string]balance
	workings  map[string]int
}

func (v *tick) weigh() {
	if v.balances == nil || v.begunThen != len(v.begun) {
		v.scales = scales{begunThen: len(v.begun), balances: map[string]balance{}, workings: map[string]int{}}
	}
}

func (v *tick) balance(g *fleet.Group) balance {
	v.weigh()
	if b, ok := v.balances[g.Name]; ok {
		return b
	}
	b := balance{
		zones: g.Zones, count: byZone(g), going: map[string]int{}, exits: map[string]int{}, soon: map[string]int{}, back: reckon(g, v.left(g.Name)), surge: v.limit(g),
		may: map[string]bool{},
	}
	for i := range v.exits {
		x := &v.exits[i]
		switch {
		case x.Group != g.Name || x.in == nil:
		case v.outOfService(x):
			b.going[x.Zone]++
		default:
			b.exits[x.Zone]++
			if !v.noRoom[x.Instance] {
				b.soon[x.Zone]++
			}
		}
	}
	v.balances[g.Name] = b
	return b
}

// working counts the nodes that serve a group: those that stay and have arrived, and exits in service.
func (v *tick) working(g *fleet.Group) int {
	v.weigh()
	if n, ok := v.workings[g.Name]; ok {
		return n
	}
	n := 0
	for i := range g.Instances {
		if in := &g.Instances[i]; !v.isExit[in.ID] && in.Counted() && notArrived(g, in, v.ix.nodeOf[in.ID]) == "" {
			n++
		}
	}
	for i := range v.exits {
		if x := &v.exits[i]; x.Group == g.Name && v.inService(x) {
			n++
		}
	}
	v.workings[g.Name] = n
	return n
}

// mayLose tells whether a zone can lose an exit now without the zones ending uneven, whatever AWS does in a tie: it launches where there are
// fewest instances, and of several such zones nobody knows which.
//
// A zone can take a launch as long as it has more exits than instances above its share: those exits bring it back to its share in the end.
// A zone without too many gets the next launch itself, but that uses up an exit which ties may still need: its last one is kept until the
// zones with too many have none to give.
func (b balance) mayLose(zone string) bool {
	may, known := b.may[zone]
	if !known {
		may = b.lets(zone)
		b.may[zone] = may
	}
	return may
}

func (b balance) lets(zone string) bool {
	if b.leaving() >= foresight || b.hopeless() {
		return b.fullest(zone)
	}
	if b.above(zone) == 0 && b.slack(zone) <= 1 {
		for _, z := range b.zones {
			if b.above(z) > 0 && b.slack(z) > 0 {
				return false
			}
		}
	}
	after := b.clone()
	after.exits[zone]--
	after.going[zone]++
	return after.withstands(map[string]bool{})
}

// moving tells whether machines are on their way out: what may go next is clearer when they are gone.
func (b balance) moving() bool { return b.leaving() > 0 }

// share is the most instances that a zone may have in the end.
func (b balance) share() int { return (b.back + len(b.zones) - 1) / len(b.zones) }

func (b balance) above(zone string) int { return max(0, b.count[zone]-b.going[zone]-b.share()) }

// slack is how many more launches a zone can take.
func (b balance) slack(zone string) int { return b.exits[zone] - b.above(zone) }

func (b balance) clone() balance {
	b.count, b.going, b.exits = maps.Clone(b.count), maps.Clone(b.going), maps.Clone(b.exits)
	return b
}

// foresight bounds how many machines on their way out are played through. Above it, the fullest zone goes first.
const foresight = 6

// leaving counts the machines on their way out.
func (b balance) leaving() int {
	n := 0
	for _, going := range b.going {
		n += going
	}
	return n
}

// hopeless tells whether some zone has fewer exits than it has instances too many: it ends above its share whatever goes next.
func (b balance) hopeless() bool {
	return slices.ContainsFunc(b.zones, func(z string) bool { return b.slack(z) < 0 })
}

// fullest tells whether no zone that can lose an exit soon has more instances than this one.
func (b balance) fullest(zone string) bool {
	return !slices.ContainsFunc(b.zones, func(z string) bool { return b.soon[z] > 0 && b.count[z]-b.going[z] > b.count[zone]-b.going[zone] })
}

// withstands plays out every order of closings and every way in which ties may fall, and tells whether no zone gets a launch that it cannot
// take. known holds what has been played out already.
func (b balance) withstands(known map[string]bool) bool {
	key := fmt.Sprint(b.count, b.going)
	if ok, seen := known[key]; seen {
		return ok
	}
	known[key] = true
	have, left, fewest := 0, 0, math.MaxInt
	for _, z := range b.zones {
		have += b.count[z]
		left += b.exits[z] + b.going[z]
		fewest = min(fewest, b.count[z])
	}
	launching := have < b.back+min(b.surge, left)
	for _, z := range b.zones {
		if b.going[z] > 0 && !b.closed(z).withstands(known) || launching && b.count[z] == fewest && !b.launched(z).copes(z, known) {
			known[key] = false
			return false
		}
	}
	return true
}

func (b balance) copes(zone string, known map[string]bool) bool {
	return b.slack(zone) >= 0 && b.withstands(known)
}

func (b balance) closed(zone string) balance {
	c := b.clone()
	c.count[zone]--
	c.going[zone]--
	return c
}

func (b balance) launched(zone string) balance {
	c := b.clone()
	c.count[zone]++
	return c
}

func byZone(g *fleet.Group) map[string]int {
	count := map[string]int{}
	for i := range g.Instances {
		if g.Instances[i].Counted() {
			count[g.Instances[i].Zone]++
		}
	}
	return count
}

// lopsided tells whether AZRebalance would act: zones that differ by more than one instance.
func lopsided(g *fleet.Group) bool {
	count := byZone(g)
	least, most := math.MaxInt, 0
	for _, z := range g.Zones {
		least, most = min(least, count[z]), max(most, count[z])
	}
	return most-least > 1
}
