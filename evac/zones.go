package evac

import (
	"math"
	"slices"
	"strconv"

	"drover.dev/fleet"
)

// balance is how a group's instances and exits lie over its zones.
type balance struct {
	zones []zone          // the group's
	other []zone          // those that it has no more, with exits still
	back  int             // desired capacity in the end
	may   map[string]bool // what mayLose has said already
	surge int
}

// zone is one zone's part of a balance.
type zone struct {
	name  string
	count int // instances, those on their way out included: AWS counts them until they are closed
	going int // of these, on their way out of service
	exits int // and those that are to go later
	soon  int // of these, those that can be empty soon
}

// weight is what a tick has to know of a group before it lets nodes of it go. An exit that begins to leave changes it, and who has no room; see begin
// and reweigh.
type weight struct {
	back    int // desired capacity to return to
	working int // nodes that serve it: those that stay and have arrived, and exits in service
	need    int // of them
	balance *balance
	first   map[string]string // what zoneFirst says, by zone
}

func (v *tick) weigh(g *fleet.Group) *weight {
	if w := v.weights[g.Name]; w != nil {
		return w
	}
	back := v.backTo(g)
	w := &weight{back: back, need: back, first: map[string]string{}}
	for _, at := range v.staying(g) {
		if at.lame(g) {
			w.need--
		}
		if at.in.Counted() && notArrived(g, at.in, at.node) == "" {
			w.working++
		}
	}
	for i := range v.exits {
		if x := &v.exits[i]; x.Group == g.Name && v.inService(x) {
			w.working++
		}
	}
	v.weights[g.Name] = w
	return w
}

// reweigh forgets the balances: who has no room counts in them.
func (v *tick) reweigh() {
	for _, w := range v.weights {
		w.balance = nil
		clear(w.first)
	}
}

// begin notes that an exit leaves service in this tick.
func (v *tick) begin(e *exit) {
	if w := v.weights[e.Group]; w != nil && !v.outOfService(e) {
		if v.inService(e) {
			w.working--
		}
		if w.balance != nil {
			w.balance.leave(e.Zone, !v.noRoom[e.Instance])
		}
		clear(w.first)
	}
	v.begun[e.Instance] = true
}

func (v *tick) balance(g *fleet.Group) *balance {
	w := v.weigh(g)
	if w.balance != nil {
		return w.balance
	}
	b := &balance{back: w.back, surge: v.limit(g), may: map[string]bool{}}
	count := byZone(g)
	for _, name := range g.Zones {
		b.zones = append(b.zones, zone{name: name, count: count[name]})
	}
	for i := range v.exits {
		x := &v.exits[i]
		if x.Group != g.Name || x.in == nil {
			continue
		}
		z := b.zone(x.Zone)
		if z == nil {
			b.other = append(b.other, zone{name: x.Zone, count: count[x.Zone]})
			z = b.zone(x.Zone)
		}
		if v.outOfService(x) {
			z.going++
			continue
		}
		z.exits++
		if !v.noRoom[x.Instance] {
			z.soon++
		}
	}
	w.balance = b
	return b
}

// leave takes an exit out of service; soon tells whether it was one that could be empty soon.
func (b *balance) leave(name string, soon bool) {
	z := b.zone(name)
	z.exits--
	z.going++
	if soon {
		z.soon--
	}
	clear(b.may)
}

// mayLose tells whether a zone can lose an exit now without the zones ending uneven, whatever AWS does in a tie: it launches where there are
// fewest instances, and of several such zones nobody knows which.
//
// A zone can take a launch as long as it has more exits than instances above its share: those exits bring it back to its share in the end.
// A zone without too many gets the next launch itself, but that uses up an exit which ties may still need: its last one is kept until the
// zones with too many have none to give.
func (b *balance) mayLose(name string) bool {
	may, known := b.may[name]
	if !known {
		may = b.lets(b.zone(name))
		b.may[name] = may
	}
	return may
}

// zone finds the part of a zone; nil when neither instances nor exits are there.
func (b *balance) zone(name string) *zone {
	for _, zones := range [][]zone{b.zones, b.other} {
		for i := range zones {
			if zones[i].name == name {
				return &zones[i]
			}
		}
	}
	return nil
}

func (b *balance) lets(z *zone) bool {
	if b.leaving() >= foresight || b.hopeless() {
		return b.fullest(z)
	}
	if b.above(z) == 0 && b.slack(z) <= 1 {
		for i := range b.zones {
			if o := &b.zones[i]; b.above(o) > 0 && b.slack(o) > 0 {
				return false
			}
		}
	}
	z.exits, z.going = z.exits-1, z.going+1
	may := b.withstands(map[string]bool{})
	z.exits, z.going = z.exits+1, z.going-1
	return may
}

// moving tells whether machines are on their way out: what may go next is clearer when they are gone.
func (b *balance) moving() bool { return b.leaving() > 0 }

// share is the most instances that a zone may have in the end.
func (b *balance) share() int { return (b.back + len(b.zones) - 1) / len(b.zones) }

func (b *balance) above(z *zone) int { return max(0, z.count-z.going-b.share()) }

// slack is how many more launches a zone can take.
func (b *balance) slack(z *zone) int { return z.exits - b.above(z) }

// foresight bounds how many machines on their way out are played through. Above it, the fullest zone goes first.
const foresight = 6

// leaving counts the machines on their way out.
func (b *balance) leaving() int {
	n := 0
	for _, zones := range [][]zone{b.zones, b.other} {
		for i := range zones {
			n += zones[i].going
		}
	}
	return n
}

// hopeless tells whether some zone has fewer exits than it has instances too many: it ends above its share whatever goes next.
func (b *balance) hopeless() bool {
	return slices.ContainsFunc(b.zones, func(z zone) bool { return b.slack(&z) < 0 })
}

// fullest tells whether no zone that can lose an exit soon has more instances than this one.
func (b *balance) fullest(z *zone) bool {
	return !slices.ContainsFunc(b.zones, func(o zone) bool { return o.soon > 0 && o.count-o.going > z.count-z.going })
}

// withstands plays out every order of closings and every way in which ties may fall, and tells whether no zone gets a launch that it cannot
// take. known holds what has been played out already.
func (b *balance) withstands(known map[string]bool) bool {
	key := b.key()
	if ok, seen := known[key]; seen {
		return ok
	}
	known[key] = true
	have, left, fewest := 0, 0, math.MaxInt
	for _, z := range b.zones {
		have += z.count
		left += z.exits + z.going
		fewest = min(fewest, z.count)
	}
	launching := have < b.back+min(b.surge, left)
	for i := range b.zones {
		z := &b.zones[i]
		if z.going > 0 && !b.closed(z, known) || launching && z.count == fewest && !b.launched(z, known) {
			known[key] = false
			return false
		}
	}
	return true
}

// closed tells whether the balance withstands all that may follow when a machine of a zone is closed next.
func (b *balance) closed(z *zone, known map[string]bool) bool {
	z.count, z.going = z.count-1, z.going-1
	ok := b.withstands(known)
	z.count, z.going = z.count+1, z.going+1
	return ok
}

// launched tells the same of a launch in a zone.
func (b *balance) launched(z *zone, known map[string]bool) bool {
	z.count++
	ok := b.slack(z) >= 0 && b.withstands(known)
	z.count--
	return ok
}

// key tells one outcome from another: exits change only with the others.
func (b *balance) key() string {
	out := make([]byte, 0, 8*len(b.zones))
	for _, z := range b.zones {
		out = append(strconv.AppendInt(append(strconv.AppendInt(out, int64(z.count), 10), ' '), int64(z.going), 10), ' ')
	}
	return string(out)
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

// Lopsided tells whether AZRebalance would act: zones that differ by more than one instance.
func Lopsided(g *fleet.Group) bool {
	count := byZone(g)
	least, most := math.MaxInt, 0
	for _, z := range g.Zones {
		least, most = min(least, count[z]), max(most, count[z])
	}
	return most-least > 1
}
