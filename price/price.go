// Package price knows what things cost in an hour while they are on, and what of that still bills while they are off: given by the environment's
// owner, read from a price list of AWS's that the user has, or from a small table of its own. A Book never changes; With and Merge make another. It reads
// no files and asks nobody: the caller opens the list. What it does not know it says so, rather than guess from a neighbour's price; and sums of different
// currencies are kept apart.
//
// Prices are those that AWS lists on demand, for Linux with shared tenancy. What somebody really pays after savings plans, reservations and credits is
// known to their bill only.
package price

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// Book is what is known of prices. Its zero value knows none.
type Book struct {
	prices map[key]cost
	given  map[string]fleet.Rate
}

// kind is what a price is of.
type kind string

const (
	instances kind = "instance"         // of EC2, by type
	databases kind = "database"         // of RDS, by class
	storages  kind = "database storage" // of RDS, by disk
	volumes   kind = "volume"           // of EBS, by disk
	addresses kind = "address"          // public IPv4
)

// key is what has one price.
type key struct {
	kind    kind
	region  string
	name    string // m5.large, db.m5.large, gp3
	engine  string // of a database, as RDS's API calls it; of a storage "" when it is any's
	multiAZ bool
}

// cost is by the hour, of a storage and a volume for one GiB.
type cost struct {
	amount           float64
	currency, source string
}

// hoursOfMonth is what AWS divides prices by the month by.
const hoursOfMonth = 730

// With is the book with prices that the environment's owner gives; these go before all others.
func (b *Book) With(given []fleet.Rate) *Book {
	out := &Book{prices: b.prices, given: maps.Clone(b.given)}
	if out.given == nil {
		out.given = map[string]fleet.Rate{}
	}
	for _, r := range given {
		if r.Currency == "" {
			r.Currency = "USD" // as AWS bills where nothing else is said
		}
		if r.Source == "" {
			r.Source = "given"
		}
		out.given[r.Subject] = r
	}
	return out
}

// Merge is the book with another over it, whose prices go before.
func (b *Book) Merge(over *Book) *Book {
	out := &Book{prices: maps.Clone(b.prices), given: maps.Clone(b.given)}
	if out.prices == nil {
		out.prices = map[key]cost{}
	}
	if out.given == nil {
		out.given = map[string]fleet.Rate{}
	}
	maps.Copy(out.prices, over.prices)
	maps.Copy(out.given, over.given)
	return out
}

// Faults are what is wrong with given prices, each with its place.
func Faults(given []fleet.Rate) []error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen := map[string]int{}
	for i, r := range given {
		if first, twice := seen[r.Subject]; r.Subject == "" {
			fault("rates[%d].subject: empty; name what it is the price of, such as m5.large or group web", i)
		} else if twice {
			fault("rates[%d].subject %q: has a price already, rates[%d]", i, r.Subject, first)
		} else {
			seen[r.Subject] = i
		}
		if !isPrice(r.On) {
			fault("rates[%d].on %v: no price", i, r.On)
		}
		if !isPrice(r.Off) {
			fault("rates[%d].off %v: no price", i, r.Off)
		}
		if isPrice(r.On) && r.Off > r.On {
			fault("rates[%d].off %v: more than %v while it is on", i, r.Off, r.On)
		}
	}
	return errs
}

func isPrice(f float64) bool { return f >= 0 && !math.IsInf(f, 1) }

// Given is the price that the environment's owner gives of something: "group web", "instance stg", "m5.large".
func (b *Book) Given(subject string) (fleet.Rate, bool) {
	r, ok := b.given[subject]
	return r, ok
}

// Instance is the rate of an EC2 instance. Nothing of it bills once it is ended; volumes and addresses have prices of their own.
func (b *Book) Instance(region, instanceType string) (fleet.Rate, bool) {
	if r, ok := b.given[instanceType]; ok {
		return r, true
	}
	return b.rate(key{kind: instances, region: region, name: instanceType}, instanceType, 1)
}

// Volume is the rate of an EBS volume that goes with its instance. One that stays bills all of it all the time. Throughput and IOPS beyond what is
// included are not in it.
func (b *Book) Volume(region, disk string, gib int) (fleet.Rate, bool) {
	return b.rate(key{kind: volumes, region: region, name: disk}, fmt.Sprintf("%d GiB %s", gib, disk), float64(gib))
}

// Address is the rate of a public IPv4 address that goes with its instance.
func (b *Book) Address(region string) (fleet.Rate, bool) {
	return b.rate(key{kind: addresses, region: region}, "public IPv4 address", 1)
}

// Database is the rate of an RDS instance: on, it and its storage; off, the storage. Backups, and IOPS and throughput beyond what is included, are not in
// it. Where only the storage's price is not known the rate is without it on both sides, and its source says so: what a stop saves is right all the same.
// Storage of 0 GiB, as of a member of an Aurora cluster, bills nothing here. A given price is of all: "db.t3.micro postgres", "db.m5.large mysql multi-AZ".
func (b *Book) Database(region, class, engine string, multiAZ bool, storageGiB int, disk string) (fleet.Rate, bool) {
	subject := class + " " + engine
	if multiAZ {
		subject += " multi-AZ"
	}
	if r, ok := b.given[subject]; ok {
		return r, true
	}
	r, ok := b.rate(key{databases, region, class, engine, multiAZ}, subject, 1)
	if !ok || storageGiB <= 0 {
		return r, ok
	}
	storage, ok := b.rate(key{storages, region, disk, engine, multiAZ}, subject, float64(storageGiB))
	if !ok {
		storage, ok = b.rate(key{storages, region, disk, "", multiAZ}, subject, float64(storageGiB))
	}
	if !ok || storage.Currency != r.Currency {
		r.Source += ", without its " + strings.TrimSpace(disk+" storage")
		return r, true
	}
	if storage.Source != r.Source {
		r.Source += ", storage: " + storage.Source
	}
	r.On, r.Off = r.On+storage.On, storage.On
	return r, true
}

// rate is of n of what the key names, which bills nothing while it is off.
func (b *Book) rate(k key, subject string, n float64) (fleet.Rate, bool) {
	c, ok := b.prices[k]
	if !ok {
		return fleet.Rate{}, false
	}
	return fleet.Rate{Subject: subject, On: n * c.amount, Currency: c.currency, Source: c.source}, true
}

// Money is an amount of one currency.
type Money struct {
	Amount   float64
	Currency string
}

func (m Money) String() string { return fmt.Sprintf("%.2f %s", m.Amount, m.Currency) }

// Saved is what n things cost less for having been off.
func Saved(r fleet.Rate, n int, off time.Duration) Money {
	return Money{(r.On - r.Off) * float64(n) * off.Hours(), r.Currency}
}

// Sum is money of several currencies, one entry each, by their names. They are never added to one another.
type Sum []Money

// Plus is the sum with some more.
func (s Sum) Plus(m Money) Sum {
	out := slices.Clone(s)
	i, found := slices.BinarySearchFunc(out, m.Currency, func(have Money, name string) int { return strings.Compare(have.Currency, name) })
	if !found {
		return slices.Insert(out, i, m)
	}
	out[i].Amount += m.Amount
	return out
}

// String prints "1.20 EUR + 3.00 USD"; "" when there is nothing in it.
func (s Sum) String() string {
	var words []string
	for _, m := range s {
		words = append(words, m.String())
	}
	return strings.Join(words, " + ")
}
