package env

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
	"drover.dev/price"
)

// rates puts down what everything that goes off costs, while it is on and while it is off, and finds what has no price.
func (v *view) rates(p *Plan, o *Options) []fleet.Finding {
	book := o.Book
	if book == nil {
		book = price.Table()
	}
	book = book.With(v.e.Spec.Rates)
	for _, g := range p.Groups {
		if rate, ok := v.groupRate(book, o, &g); ok {
			p.Record.Rates = append(p.Record.Rates, rate...)
		} else if len(g.Exits) > 0 {
			p.Money.Unknown = append(p.Money.Unknown, "group "+g.Name)
		}
	}
	for _, d := range p.Record.Databases {
		rate, known, matters := v.databaseRate(book, o, &d)
		switch {
		case !matters:
		case known:
			p.Record.Rates = append(p.Record.Rates, rate)
		default:
			p.Money.Unknown = append(p.Money.Unknown, "database "+d.ID)
		}
	}
	for _, r := range p.Record.Rates {
		p.Money.Saved = price.Sum(p.Money.Saved).Plus(price.Money{Amount: r.On - r.Off, Currency: r.Currency})
		if r.Off > 0 {
			p.Money.Still = price.Sum(p.Money.Still).Plus(price.Money{Amount: r.Off, Currency: r.Currency})
		}
	}
	if len(p.Money.Unknown) == 0 {
		return nil
	}
	return []fleet.Finding{fleet.Found("env-prices", v.e.Source, "no price is known of %s", list(p.Money.Unknown)).Then("name one in spec.prices, or pass --prices with a price list of AWS")}
}

// groupRate is what the nodes of a group that go cost together, by instance type.
func (v *view) groupRate(book *price.Book, o *Options, g *Group) ([]fleet.Rate, bool) {
	count := map[string]int{}
	for _, d := range g.Exits {
		if _, in := v.s.Instance(d.Instance); in != nil {
			count[in.Type]++
		}
	}
	var out []fleet.Rate
	for kind, n := range count {
		r, ok := book.Given("group " + g.Name)
		if !ok {
			r, ok = book.Instance(o.Region, kind)
		}
		if !ok {
			return nil, false
		}
		r.Subject = fmt.Sprintf("group %s: %d x %s", g.Name, n, kind)
		r.On, r.Off = r.On*float64(n), r.Off*float64(n)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b fleet.Rate) int { return strings.Compare(a.Subject, b.Subject) })
	return out, len(out) > 0
}

// databaseRate is what a database costs. One that was off before costs what it cost, and a lowered one is not reckoned.
func (v *view) databaseRate(book *price.Book, o *Options, rec *fleet.SleepDatabase) (rate fleet.Rate, known, matters bool) {
	if rec.Status == fleet.DatabaseStopped {
		return rate, false, false
	}
	if rate, known = book.Given(rec.ID); known || rec.Lower {
		return rate, known, true
	}
	db := v.s.Database(rec.ID)
	rate, known = book.Database(o.Region, db.Class, db.Engine, db.MultiAZ, db.Storage, db.Disk)
	rate.Subject = fmt.Sprintf("database %s: %s %s", rec.ID, db.Class, db.Engine)
	return rate, known, true
}

// Saved is what a sleep has saved: price times the hours in which everything was really off, less what still billed.
func Saved(r *fleet.SleepRecord, now time.Time) price.Sum {
	var sum price.Sum
	if r.Marks.Asleep.IsZero() {
		return sum
	}
	until := now
	if !r.Marks.Starting.IsZero() {
		until = r.Marks.Starting
	}
	off := until.Sub(r.Marks.Asleep)
	if off <= 0 {
		return sum
	}
	for _, rate := range r.Rates {
		sum = sum.Plus(price.Saved(rate, 1, off))
	}
	return sum
}
