package evac

import (
	"fmt"
	"maps"
	"math"

	"drover.dev/fleet"
)

// balance is how a group's instances and exits lie over its zones.
type balance struct {
	zones []string
	count map[string]int // instances, those on their way out included: AWS counts them until they are closed
	going map[string]int // of these, on their way out of service
	exits map[string]int // and those that are to go later
	back  int            // desired capacity in the end
	surge int
}

func (v *tick) balance(g *fleet.Group) balance {
	b := balance{zones: g.Zones, count: byZone(g), going: map[string]int{}, exits: map[string]int{}, back: reckon(g, v.left(g.Name)), surge: v.limit(g)}
	for i := range v.exits {
		x := &v.exits[i]
		switch {
		case x.Group != g.Name || x.in == nil:
		case v.outOfService(x):
			b.going[x.Zone]++
		default:
			b.exits[x.Zone]++
		}
	}
	return b
}

// mayLose tells whether a zone can lose an exit now without the zones ending uneven, whatever AWS does in a tie: it launches where there are
// fewest instances, and of several such zones nobody knows which.
//
// A zone can take a launch as long as it has more exits than instances above its share: those exits bring it back to its share in the end.
// A zone without too many gets the next launch itself, but that uses up an exit which ties may still need: its last one is kept until the
// zones with too many have none to give.
func (b balance) mayLose(zone string) bool {
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
func (b balance) moving() bool {
	for _, n := range b.going {
		if n > 0 {
			return true
		}
	}
	return false
}

// share is the most instances that a zone may have in the end.
func (b balance) share() int { return (b.back + len(b.zones) - 1) / len(b.zones) }

func (b balance) above(zone string) int { return max(0, b.count[zone]-b.going[zone]-b.share()) }

// slack is how many more launches a zone can take.
func (b balance) slack(zone string) int { return b.exits[zone] - b.above(zone) }

func (b balance) clone() balance {
	b.count, b.going, b.exits = maps.Clone(b.count), maps.Clone(b.going), maps.Clone(b.exits)
	return b
}

// foresight bounds how many machines on their way out are played through. Above it, ties are left to chance.
const foresight = 6

// withstands plays out every order of closings and every way in which ties may fall, and tells whether no zone gets a launch that it cannot
// take. known holds what has been played out already.
func (b balance) withstands(known map[string]bool) bool {
	key := fmt.Sprint(b.count, b.going)
	if ok, seen := known[key]; seen {
		return ok
	}
	known[key] = true
	have, going, left, fewest := 0, 0, 0, math.MaxInt
	for _, z := range b.zones {
		have += b.count[z]
		going += b.going[z]
		left += b.exits[z] + b.going[z]
		fewest = min(fewest, b.count[z])
	}
	if going > foresight {
		return true
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
