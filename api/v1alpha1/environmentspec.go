package v1alpha1

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// troubles are what is wrong with a spec, each located.
type troubles []string

func (t *troubles) add(at, format string, args ...any) {
	*t = append(*t, at+": "+fmt.Sprintf(format, args...))
}

// What the definition in the cluster asks of a text, asked of one in a file, too. A database's name is as RDS takes it, once its letters are small.
var (
	archives      = regexp.MustCompile(`^(file:///.*|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?)$`)
	databaseNames = regexp.MustCompile(`^(instance|cluster) [a-z]([a-z0-9]|-[a-z0-9])*$`)
)

// Spec is what the object declares, and what is wrong with its form. Whether it makes sense (that a zone exists, that tiers need one another in no circle)
// the mind tells. A calendar in a ConfigMap is for the caller to read.
func (s *EnvironmentSpec) Spec() (fleet.EnvironmentSpec, []string) {
	var bad troubles
	out := fleet.EnvironmentSpec{Protected: s.Protected, Groups: slices.Clone(s.Groups), Policy: s.Policy.policy(&bad), Archive: s.Archive}
	if s.Archive != "" && !archives.MatchString(s.Archive) {
		bad.add("spec.archive", "%q: want file:///folder or s3://bucket/prefix", s.Archive)
	}
	out.Workloads = selections(s.Workloads, "spec.workloads", &bad)
	for i := range s.Databases {
		out.Databases = append(out.Databases, s.Databases[i].spec(fmt.Sprintf("spec.databases[%d]", i), &bad))
	}
	for i, t := range s.Order {
		at := fmt.Sprintf("spec.order[%d]", i)
		if t.Name == "" {
			bad.add(at+".name", "want a name")
		}
		out.Order = append(out.Order, fleet.Tier{Name: t.Name, Workloads: selections(t.Workloads, at+".workloads", &bad), Needs: slices.Clone(t.Needs)})
	}
	if s.Schedule != nil {
		out.Schedule = s.Schedule.schedule(&bad)
	}
	for i := range s.Prices {
		r := s.Prices[i].rate(fmt.Sprintf("spec.prices[%d]", i), &bad)
		r.Source = cmp.Or(r.Source, given)
		r.Subject = subjectOf(r.Subject)
		out.Rates = append(out.Rates, r)
	}
	return out, bad
}

// given is the source of a price in a spec, where nothing else is said.
const given = "given"

// subjectOf is what a price is of, a database as it is called elsewhere.
func subjectOf(subject string) string {
	for _, cluster := range []bool{true, false} {
		if name, ok := strings.CutPrefix(subject, fleet.DatabaseID(cluster, "")); ok {
			return fleet.DatabaseID(cluster, name)
		}
	}
	return subject
}

func selections(list []Selection, at string, bad *troubles) []fleet.Selection {
	var out []fleet.Selection
	for i, s := range list {
		here := fmt.Sprintf("%s[%d]", at, i)
		one := fleet.Selection{Namespaces: slices.Clone(s.Namespaces), Kind: s.Kind, Name: s.Name, Labels: termOf(s.Selector)}
		if s.Selector != nil {
			if _, err := metav1.LabelSelectorAsSelector(s.Selector); err != nil {
				bad.add(here+".selector", "%v", err)
			}
		}
		if len(one.Namespaces) == 0 && len(one.Labels) == 0 && one.Name == "" {
			bad.add(here, "want namespaces, selector or name: this chooses nothing")
		}
		out = append(out, one)
	}
	return out
}

// termOf is the selector's requirements, labels first, by key.
func termOf(s *metav1.LabelSelector) fleet.Term {
	if s == nil {
		return nil
	}
	var out fleet.Term
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		out = append(out, fleet.Requirement{Key: key, Operator: string(metav1.LabelSelectorOpIn), Values: []string{s.MatchLabels[key]}})
	}
	for _, e := range s.MatchExpressions {
		out = append(out, fleet.Requirement{Key: e.Key, Operator: string(e.Operator), Values: slices.Clone(e.Values)})
	}
	return out
}

func (d *Database) spec(at string, bad *troubles) fleet.DatabaseSpec {
	out := fleet.DatabaseSpec{ID: fleet.DatabaseID(d.Cluster != "", cmp.Or(d.Cluster, d.Instance)), Name: d.Name, Shared: d.Shared}
	if (d.Instance == "") == (d.Cluster == "") {
		bad.add(at, "want instance or cluster, one of them")
	} else if !databaseNames.MatchString(out.ID) {
		bad.add(at, "%q: want a name as RDS has them: letters, digits and single hyphens, a letter first", cmp.Or(d.Cluster, d.Instance))
	}
	if d.Secret != nil {
		out.Secret = d.Secret.Namespace + "/" + d.Secret.Name
		if d.Secret.Namespace == "" || d.Secret.Name == "" {
			bad.add(at+".secret", "want namespace and name")
		}
	}
	if d.Lower == "" {
		return out
	}
	units, err := strconv.ParseFloat(d.Lower, 64)
	if err != nil || units < 0 || units != float64(int(units*2))/2 {
		bad.add(at+".lower", "%q: want capacity units in steps of 0.5, such as 0.5", d.Lower)
	}
	if d.Cluster == "" {
		bad.add(at+".lower", "is for clusters with Serverless v2")
	}
	out.Lower = &units
	return out
}

const mostFights = 100 // as the definition has it

var (
	sharedRules = map[string]fleet.SharedRule{"": "", "Own": fleet.SharedOwn, "Refuse": fleet.SharedRefuse}
	parentRules = map[string]fleet.ParentRule{"": "", "Refuse": fleet.ParentRefuse, "Ignore": fleet.ParentIgnore}
	days        = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"} // as time.Weekday counts them
)

func (p *EnvironmentPolicy) policy(bad *troubles) fleet.EnvironmentPolicy {
	shared, ok := sharedRules[p.Shared]
	if !ok {
		bad.add("spec.policy.shared", "%q: want Own or Refuse", p.Shared)
	}
	parents, ok := parentRules[p.Parents]
	if !ok {
		bad.add("spec.policy.parents", "%q: want Refuse or Ignore", p.Parents)
	}
	if p.Fights < 0 || p.Fights > mostFights {
		bad.add("spec.policy.fights", "%d: want 1 to %d", p.Fights, mostFights)
	}
	if length(p.Within) < 0 {
		bad.add("spec.policy.within", "%s: want a duration such as 1h", length(p.Within))
	}
	return fleet.EnvironmentPolicy{Shared: shared, Carry: slices.Clone(p.Carry), Fights: int(p.Fights), Within: length(p.Within), Parents: parents}
}

func (s *Schedule) schedule(bad *troubles) *fleet.Schedule {
	out := &fleet.Schedule{Zone: s.Zone}
	if s.Zone == "" {
		bad.add("spec.schedule.zone", "want the IANA name of a time zone, such as Europe/Berlin")
	}
	if len(s.Awake) == 0 {
		bad.add("spec.schedule.awake", "want a window at least")
	}
	for i, w := range s.Awake {
		out.On = append(out.On, w.window(fmt.Sprintf("spec.schedule.awake[%d]", i), bad))
	}
	if h := s.Holidays; h != nil {
		out.Holidays, out.Calendar = slices.Clone(h.Dates), h.Calendar
		for i, d := range h.Dates {
			if !isDate(d) {
				bad.add(fmt.Sprintf("spec.schedule.holidays.dates[%d]", i), "%q: want a date as 2026-12-25, or as 12-25 for every year", d)
			}
		}
		if h.Calendar != "" && h.ConfigMap != nil {
			bad.add("spec.schedule.holidays", "want calendar or configMap, not both")
		}
	}
	for i, e := range s.Exceptions {
		out.Exceptions = append(out.Exceptions, e.exception(fmt.Sprintf("spec.schedule.exceptions[%d]", i), bad))
	}
	return out
}

func (w *Window) window(at string, bad *troubles) fleet.Window {
	out := fleet.Window{From: w.From, To: w.To}
	if len(w.Days) == 0 {
		bad.add(at+".days", "want a day at least")
	}
	for i, d := range w.Days {
		some, ok := daysOf(d)
		if !ok {
			bad.add(fmt.Sprintf("%s.days[%d]", at, i), "%q: want a day as Mon, or a range as Mon-Fri", d)
		}
		for _, day := range some {
			if !slices.Contains(out.Days, day) {
				out.Days = append(out.Days, day)
			}
		}
	}
	if !isClock(w.From) {
		bad.add(at+".from", "%q: want a time as 08:00", w.From)
	}
	if !isClock(w.To) && w.To != "24:00" {
		bad.add(at+".to", "%q: want a time as 19:00, or 24:00", w.To)
	}
	return out
}

// daysOf reads a day, or a range, which may go round the end of the week.
func daysOf(s string) ([]time.Weekday, bool) {
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	first, last := slices.Index(days, from), slices.Index(days, to)
	if first < 0 || last < 0 {
		return nil, false
	}
	out := []time.Weekday{time.Weekday(first)}
	for d := first; d != last; {
		d = (d + 1) % len(days)
		out = append(out, time.Weekday(d))
	}
	return out, true
}

func isClock(s string) bool {
	_, err := time.Parse("15:04", s)
	return err == nil && len(s) == len("15:04")
}

func isDate(s string) bool {
	if len(s) == len("12-25") {
		s = "2000-" + s // a leap year: 02-29 is a day of some
	}
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

// minutely is how exceptions write a moment.
const minutely = "2006-01-02T15:04"

func (e *ScheduleException) exception(at string, bad *troubles) fleet.Exception {
	from, err := time.Parse(minutely, e.From)
	if err != nil {
		bad.add(at+".from", "%q: want a moment as 2026-12-24T12:00", e.From)
	}
	to, err2 := time.Parse(minutely, e.To)
	if err2 != nil {
		bad.add(at+".to", "%q: want a moment as 2026-12-24T12:00", e.To)
	}
	if err == nil && err2 == nil && !from.Before(to) {
		bad.add(at, "ends at %s, which is not after its begin at %s", e.To, e.From)
	}
	if e.State != StateAwake && e.State != StateAsleep {
		bad.add(at+".state", "%q: want %s or %s", e.State, StateAwake, StateAsleep)
	}
	return fleet.Exception{From: e.From, To: e.To, On: e.State == StateAwake, Why: e.Why}
}

func (p *Price) rate(at string, bad *troubles) fleet.Rate {
	out := fleet.Rate{Subject: p.Subject, Currency: p.Currency, Source: p.Source}
	for _, f := range []struct {
		field, text string
		to          *float64
	}{{"awake", p.Awake, &out.On}, {"asleep", p.Asleep, &out.Off}} {
		if f.text == "" {
			continue
		}
		n, err := strconv.ParseFloat(f.text, 64)
		if err != nil || n < 0 {
			bad.add(at+"."+f.field, "%q: want a price as 0.0104", f.text)
		}
		*f.to = n
	}
	if p.Subject == "" {
		bad.add(at+".subject", "want what the price is of")
	}
	return out
}

// FromEnvironmentSpec is the object's form of a spec.
func FromEnvironmentSpec(s fleet.EnvironmentSpec) EnvironmentSpec {
	out := EnvironmentSpec{Protected: s.Protected, Groups: slices.Clone(s.Groups), Workloads: fromSelections(s.Workloads), Archive: s.Archive, Policy: EnvironmentPolicy{
		Shared: wordOf(sharedRules, s.Policy.Shared), Carry: slices.Clone(s.Policy.Carry), Fights: int64(s.Policy.Fights), Within: durationOf(s.Policy.Within),
		Parents: wordOf(parentRules, s.Policy.Parents),
	}}
	for _, d := range s.Databases {
		out.Databases = append(out.Databases, fromDatabase(d))
	}
	for _, t := range s.Order {
		out.Order = append(out.Order, Tier{Name: t.Name, Workloads: fromSelections(t.Workloads), Needs: slices.Clone(t.Needs)})
	}
	if s.Schedule != nil {
		out.Schedule = fromSchedule(s.Schedule)
	}
	for _, r := range s.Rates {
		p := fromRate(r)
		if p.Source == given {
			p.Source = ""
		}
		out.Prices = append(out.Prices, p)
	}
	return out
}

func wordOf[T comparable](words map[string]T, value T) string {
	for word, is := range words {
		if is == value {
			return word
		}
	}
	return ""
}

func fromSelections(list []fleet.Selection) []Selection {
	var out []Selection
	for _, s := range list {
		one := Selection{Namespaces: slices.Clone(s.Namespaces), Kind: s.Kind, Name: s.Name}
		if len(s.Labels) > 0 {
			one.Selector = &metav1.LabelSelector{}
		}
		for _, q := range s.Labels {
			e := metav1.LabelSelectorRequirement{Key: q.Key, Operator: metav1.LabelSelectorOperator(q.Operator), Values: slices.Clone(q.Values)}
			one.Selector.MatchExpressions = append(one.Selector.MatchExpressions, e)
		}
		out = append(out, one)
	}
	return out
}

func fromDatabase(d fleet.DatabaseSpec) Database {
	out := Database{Name: d.Name, Shared: d.Shared}
	if name, cluster := strings.CutPrefix(d.ID, fleet.DatabaseID(true, "")); cluster {
		out.Cluster = name
	} else {
		out.Instance = strings.TrimPrefix(d.ID, fleet.DatabaseID(false, ""))
	}
	if d.Lower != nil {
		out.Lower = decimal(*d.Lower)
	}
	if namespace, name, ok := strings.Cut(d.Secret, "/"); ok {
		out.Secret = &SecretRef{Namespace: namespace, Name: name}
	}
	return out
}

func fromSchedule(s *fleet.Schedule) *Schedule {
	out := &Schedule{Zone: s.Zone}
	for _, w := range s.On {
		one := Window{From: w.From, To: w.To}
		for _, d := range w.Days {
			one.Days = append(one.Days, d.String()[:3])
		}
		out.Awake = append(out.Awake, one)
	}
	if len(s.Holidays) > 0 || s.Calendar != "" {
		out.Holidays = &Holidays{Dates: slices.Clone(s.Holidays), Calendar: s.Calendar}
	}
	for _, e := range s.Exceptions {
		one := ScheduleException{From: e.From, To: e.To, State: StateAsleep, Why: e.Why}
		if e.On {
			one.State = StateAwake
		}
		out.Exceptions = append(out.Exceptions, one)
	}
	return out
}

func fromRate(r fleet.Rate) Price {
	return Price{Subject: r.Subject, Awake: decimal(r.On), Asleep: decimal(r.Off), Currency: r.Currency, Source: r.Source}
}

// decimal is a number that reads back exactly.
func decimal(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
