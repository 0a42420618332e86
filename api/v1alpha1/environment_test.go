package v1alpha1

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"drover.dev/fleet"
)

// stored is the value after the JSON that the API server keeps.
func stored[T any](t *testing.T, in T) T {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// proper makes of a random spec one that could be said: names from their lists, times that are times.
func proper(s *fleet.EnvironmentSpec, r *rand.Rand) {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	s.Archive = pick("", "file:///var/lib/drover", "s3://records/drover")
	s.Policy.Fights %= mostFights
	s.Policy.Shared, s.Policy.Parents = fleet.SharedRule(pick("", "own", "refuse")), fleet.ParentRule(pick("", "refuse", "ignore"))
	for i := range s.Workloads {
		properly(&s.Workloads[i])
	}
	for i := range s.Order {
		s.Order[i].Name = fmt.Sprint("tier-", i)
		for j := range s.Order[i].Workloads {
			properly(&s.Order[i].Workloads[j])
		}
	}
	for i := range s.Databases {
		d := &s.Databases[i]
		d.ID, d.Secret = fleet.DatabaseID(d.Lower != nil || r.IntN(2) == 0, fmt.Sprint("db-", i)), pick("", "shop/login")
		if d.Lower != nil {
			*d.Lower = float64(r.IntN(9)) / 2
		}
	}
	for i := range s.Rates {
		s.Rates[i].Subject, s.Rates[i].Source = "group "+fmt.Sprint(i), pick("given", "somebody")
	}
	if s.Schedule == nil {
		return
	}
	s.Schedule.Zone = "Asia/Taipei"
	if s.Schedule.On == nil {
		s.Schedule.On = []fleet.Window{{}}
	}
	for i := range s.Schedule.On {
		s.Schedule.On[i] = fleet.Window{Days: []time.Weekday{time.Friday, time.Saturday, time.Sunday}[r.IntN(3):], From: "08:00", To: pick("19:00", "24:00", "00:30")}
	}
	for i := range s.Schedule.Holidays {
		s.Schedule.Holidays[i] = pick("12-25", "2026-02-17", "02-29")
	}
	for i := range s.Schedule.Exceptions {
		s.Schedule.Exceptions[i].From, s.Schedule.Exceptions[i].To = "2026-12-24T12:00", "2026-12-27T00:00"
	}
}

func properly(s *fleet.Selection) {
	s.Name = "web"
	for i := range s.Labels {
		s.Labels[i] = fleet.Requirement{Key: "app", Operator: "In", Values: []string{"web", "api"}}
	}
}

func TestAnEnvironmentReadsBackExactly(t *testing.T) {
	for seed := range uint64(300) {
		var want fleet.EnvironmentSpec
		r := rand.New(rand.NewPCG(seed, seed))
		if seed > 0 { // the first is empty
			fill(reflect.ValueOf(&want).Elem(), r)
			proper(&want, r)
		}
		object := stored(t, FromEnvironmentSpec(want))
		got, bad := object.Spec()
		if len(bad) > 0 || !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: %v\n got %+v\nwant %+v", seed, bad, got, want)
		}
	}
}

func TestASleepReadsBackExactly(t *testing.T) {
	for seed := range uint64(300) {
		var want fleet.SleepRecord
		var over fleet.Sleep
		if seed > 0 {
			r := rand.New(rand.NewPCG(seed, seed))
			fill(reflect.ValueOf(&want).Elem(), r)
			fill(reflect.ValueOf(&over).Elem(), r)
			want.Environment = "staging"
			for i := range want.Parts {
				want.Parts[i].Owner = fleet.Owner{Kind: "Deployment", Namespace: "shop", Name: fmt.Sprint("web-", i)}
				if want.Parts[i].Absent {
					want.Parts[i].Value = ""
				}
			}
			for i := range want.Rates {
				want.Rates[i].Subject = "m5.large"
			}
		} else {
			want.Environment = "staging"
		}
		record := stored(t, FromSleepRecord(want))
		if got, err := record.Record("staging"); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: %v\n got %+v\nwant %+v", seed, err, got, want)
		}
		if got := stored(t, FromSleep(over)); !reflect.DeepEqual(got.Sleep(), over) {
			t.Fatalf("seed %d:\n got %+v\nwant %+v", seed, got.Sleep(), over)
		}
		again := stored(t, FromSleepRecord(want).After(&record))
		if !reflect.DeepEqual(again, record) {
			t.Fatalf("seed %d: written again:\n got %+v\nwant %+v", seed, again, record)
		}
	}
}

// What comes while the environment sleeps is kept beside the original, which stays as it was; marks are what was written last.
func TestARecordGrows(t *testing.T) {
	at := time.Date(2026, 11, 20, 19, 0, 0, 0, time.UTC)
	part := func(name string) fleet.PartRecord {
		return fleet.PartRecord{Turn: fleet.Scaled, Owner: fleet.Owner{Kind: "Deployment", Namespace: "shop", Name: name}, Value: "3"}
	}
	first := fleet.SleepRecord{Environment: "e", Run: "r", Parts: []fleet.PartRecord{part("a"), part("b")}, Marks: fleet.SleepMarks{Off: at, Starting: at, StartedBy: "ann"}}
	on := FromSleepRecord(first)
	second := first.Clone()
	second.Parts, second.Marks = []fleet.PartRecord{part("a"), part("new"), part("b")}, fleet.SleepMarks{Asleep: at}
	on2 := FromSleepRecord(second).After(&on)
	third := second.Clone()
	third.Parts = append(third.Parts, part("newer"))
	on3 := FromSleepRecord(third).After(&on2)
	if !reflect.DeepEqual(on3.Original, on.Original) {
		t.Errorf("the original changed:\n got %+v\nwant %+v", on3.Original, on.Original)
	}
	got, err := on3.Record("e")
	if err != nil {
		t.Fatal(err)
	}
	want := third.Clone()
	want.Parts, want.Marks = []fleet.PartRecord{part("a"), part("b"), part("new"), part("newer")}, fleet.SleepMarks{Asleep: at}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	less := first.Clone()
	less.Parts = less.Parts[:1]
	if on4 := FromSleepRecord(less).After(&on); reflect.DeepEqual(on4.Original, on.Original) {
		t.Error("that a part is missing does not show")
	}
}

func TestAWishReadsBackExactly(t *testing.T) {
	at := time.Date(2026, 11, 20, 19, 0, 0, 0, time.UTC)
	for _, want := range []fleet.Wish{
		{}, {On: true}, {On: true, By: "ann", At: at, Until: at.Add(3 * time.Hour), Forced: []string{"env-jobs", "env-sessions"}, Why: "the demo at=noon, by=bob; ünïcode  why=not"},
		{By: "Ann of the night shift at=9 50%", Why: "x"}, {By: "arn:aws:iam::1:role/x+y", Why: " leading"},
	} {
		line := FormatWish(want)
		got, err := ParseWish(line)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: %v\n got %+v\nwant %+v", line, err, got, want)
		}
	}
	for line, on := range map[string]bool{"off": false, "Off": false, " OFF ": false, "off\n": false, "on": true, "On": true, "\tON": true, " v1 On by=somebody": true} {
		if got, err := ParseWish(line); err != nil || !reflect.DeepEqual(*got, fleet.Wish{On: on, By: "somebody"}) {
			t.Errorf("in a hurry, %q: %+v, %v", line, got, err)
		}
	}
	for line, want := range map[string]string{
		"": "want on, off", "v1": "want on, off", "v2 on by=ann": "want on, off", "v1 maybe": "want on, off", "o n": "want on, off", "true": "want on, off", "v1 on till=noon": `unknown field "till"`, "v1 off until=noon": "field until",
	} {
		if got, err := ParseWish(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", line, got, err, want)
		}
	}
}

// When somebody wished what does not say it, the object does, as long as its writer wrote nothing else.
func TestWhenAWishWasWritten(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 11, 20, 19, 0, 0, 0, time.FixedZone("CET", 3600)))
	wish := `{"f:metadata":{"f:annotations":{".":{},"f:drover.dev/wish":{}}}}`
	by := func(fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: "kubectl-annotate", Operation: "Update", Time: &at, FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)}}
	}
	other := by(`{"f:spec":{"f:groups":{}},"f:metadata":{"f:annotations":{"f:team":{}}}}`)
	timeless := by(wish)
	timeless.Time = nil
	for what, tc := range map[string]struct {
		wish    string
		entries []metav1.ManagedFieldsEntry
		want    time.Time
	}{
		"nobody says":             {"off", nil, time.Time{}},
		"its writer":              {"off", []metav1.ManagedFieldsEntry{other, by(wish)}, at.UTC()},
		"without a dot":           {"off", []metav1.ManagedFieldsEntry{by(`{"f:metadata":{"f:annotations":{"f:drover.dev/wish":{}}}}`)}, at.UTC()},
		"it says so itself":       {"v1 off at=2026-11-01T00:00:00Z", []metav1.ManagedFieldsEntry{by(wish)}, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
		"somebody else":           {"off", []metav1.ManagedFieldsEntry{other}, time.Time{}},
		"with another annotation": {"off", []metav1.ManagedFieldsEntry{by(`{"f:metadata":{"f:annotations":{"f:drover.dev/wish":{},"f:team":{}}}}`)}, time.Time{}},
		"with a label":            {"off", []metav1.ManagedFieldsEntry{by(`{"f:metadata":{"f:annotations":{"f:drover.dev/wish":{}},"f:labels":{}}}`)}, time.Time{}},
		"with the spec":           {"off", []metav1.ManagedFieldsEntry{by(`{"f:spec":{},"f:metadata":{"f:annotations":{"f:drover.dev/wish":{}}}}`)}, time.Time{}},
		"two":                     {"off", []metav1.ManagedFieldsEntry{by(wish), by(wish)}, time.Time{}},
		"at no time":              {"off", []metav1.ManagedFieldsEntry{timeless}, time.Time{}},
		"of nothing":              {"off", []metav1.ManagedFieldsEntry{{}}, time.Time{}},
	} {
		u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
		u.SetAnnotations(map[string]string{WishKey: tc.wish})
		u.SetManagedFields(tc.entries)
		got, _ := ReadEnvironment(u, "s")
		if got.Wish == nil || got.Wish.On || !got.Wish.At.Equal(tc.want) || len(got.Trouble) > 0 {
			t.Errorf("%s: %+v, want %s", what, got.Wish, tc.want)
		}
	}
}

// RDS knows no capital letters: whoever writes them means the same database, and the same price.
func TestDatabasesHaveSmallLetters(t *testing.T) {
	spec := EnvironmentSpec{Databases: []Database{{Instance: "Stg-RDS"}, {Cluster: "STG"}}, Prices: []Price{{Subject: "instance Stg-RDS", Awake: "1"}, {Subject: "M5.large", Awake: "1"}}}
	got, bad := spec.Spec()
	if len(bad) > 0 || got.Databases[0].ID != "instance stg-rds" || got.Databases[1].ID != "cluster stg" || got.Rates[0].Subject != "instance stg-rds" || got.Rates[1].Subject != "M5.large" {
		t.Errorf("%v %+v", bad, got)
	}
}

const staging = `
# the environment of the shop's people
apiVersion: drover.dev/v1alpha1
kind: Environment
metadata:
  name: staging
  annotations: {team: shop, drover.dev/wish: nonsense}
spec:
  workloads:
  - namespaces: [staging]
  - selector: {matchLabels: {env: stg, app: web}, matchExpressions: [{key: tier, operator: NotIn, values: [tools]}]}
    kind: Deployment
  groups: [stg-nodes]
  databases:
  - {instance: stg-rds, secret: {namespace: staging, name: login}, name: strapi}
  - {cluster: stg-aurora, lower: "0.5", shared: true}
  order:
  - {name: api, workloads: [{name: api}], needs: [db]}
  - {name: db, workloads: [{kind: StatefulSet, namespaces: [staging]}]}
  schedule:
    zone: Asia/Taipei
    awake: [{days: [Fri-Mon, Sun, Wed], from: 08:00, to: "24:00"}]
    holidays: {dates: [2026-12-25, 12-26], calendar: "BEGIN:VCALENDAR"}
    exceptions: [{from: 2026-12-24T12:00, to: 2026-12-24T18:00, state: Awake, why: release}]
  policy: {shared: Refuse, carry: [kube-system], fights: 2, within: 30m, parents: Ignore}
  archive: s3://drover-records/staging
  prices: [{subject: m5.large, awake: "0.0104", asleep: "0.001", currency: EUR}]
`

func TestParseEnvironments(t *testing.T) {
	got, errs := ParseEnvironments([]byte(staging+"---\n# nothing\n---\n"+strings.Replace(staging, "name: staging\n", "name: other\n", 1)), "file staging.yaml")
	if len(errs) > 0 || len(got) != 2 || got[1].Name != "other" {
		t.Fatalf("%v, %+v", errs, got)
	}
	in := func(key string, values ...string) fleet.Requirement {
		return fleet.Requirement{Key: key, Operator: "In", Values: values}
	}
	want := fleet.Environment{Name: "staging", Source: "file staging.yaml", Spec: fleet.EnvironmentSpec{
		Workloads: []fleet.Selection{{Namespaces: []string{"staging"}}, {Kind: "Deployment", Labels: fleet.Term{in("app", "web"), in("env", "stg"), {Key: "tier", Operator: "NotIn", Values: []string{"tools"}}}}},
		Groups:    []string{"stg-nodes"},
		Databases: []fleet.DatabaseSpec{{ID: "instance stg-rds", Secret: "staging/login", Name: "strapi"}, {ID: "cluster stg-aurora", Lower: new(0.5), Shared: true}},
		Order:     []fleet.Tier{{Name: "api", Workloads: []fleet.Selection{{Name: "api"}}, Needs: []string{"db"}}, {Name: "db", Workloads: []fleet.Selection{{Kind: "StatefulSet", Namespaces: []string{"staging"}}}}},
		Schedule: &fleet.Schedule{
			Zone: "Asia/Taipei", On: []fleet.Window{{Days: []time.Weekday{time.Friday, time.Saturday, time.Sunday, time.Monday, time.Wednesday}, From: "08:00", To: "24:00"}},
			Holidays: []string{"2026-12-25", "12-26"}, Calendar: "BEGIN:VCALENDAR", Exceptions: []fleet.Exception{{From: "2026-12-24T12:00", To: "2026-12-24T18:00", On: true, Why: "release"}},
		},
		Policy:  fleet.EnvironmentPolicy{Shared: fleet.SharedRefuse, Carry: []string{"kube-system"}, Fights: 2, Within: 30 * time.Minute, Parents: fleet.ParentIgnore},
		Archive: "s3://drover-records/staging",
		Rates:   []fleet.Rate{{Subject: "m5.large", On: 0.0104, Off: 0.001, Currency: "EUR", Source: "given"}},
	}}
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf(" got %+v\nwant %+v", got[0], want)
	}
}

// Each mistake is found, said where it is, and hides nothing else.
func TestEnvironmentsWithMistakes(t *testing.T) {
	for _, tc := range []struct{ was, is, trouble string }{
		{"groups: [", "gruops: [", "spec.gruops: unknown field"},
		{"awake: [{days", "on: [{days", "spec.schedule.true: unknown field: YAML reads on and off as true and false"},
		{"state: Awake", "state: On", "spec.schedule.exceptions.state: is a bool: want text; put it in quotes"},
		{"state: Awake", "state: Up", `spec.schedule.exceptions[0].state: "Up": want Awake or Asleep`},
		{`lower: "0.5"`, "lower: 0.5", "spec.databases.lower: is a number: want text; put it in quotes"},
		{`lower: "0.5"`, `lower: "0.7"`, `spec.databases[1].lower: "0.7": want capacity units in steps of 0.5`},
		{"cluster: stg-aurora, ", "", "spec.databases[1]: want instance or cluster"},
		{"groups: [stg-nodes]", "groups: stg-nodes", "spec.groups: is a string: want a list"},
		{"from: 08:00", "from: 8:00", `spec.schedule.awake[0].from: "8:00": want a time as 08:00`},
		{`to: "24:00"`, `to: "25:00"`, `spec.schedule.awake[0].to: "25:00": want a time`},
		{"Fri-Mon", "Weekdays", `spec.schedule.awake[0].days[0]: "Weekdays": want a day as Mon`},
		{"12-26]", "2026-02-30]", `spec.schedule.holidays.dates[1]: "2026-02-30": want a date`},
		{"T18:00", "T11:00", "spec.schedule.exceptions[0]: ends at 2026-12-24T11:00, which is not after its begin at 2026-12-24T12:00"},
		{"zone: Asia/Taipei", "zone: ''", "spec.schedule.zone: want the IANA name"},
		{"  - namespaces: [staging]\n", "  - kind: Deployment\n", "spec.workloads[0]: want namespaces, selector or name: this chooses nothing"},
		{"operator: NotIn", "operator: notin", `spec.workloads[1].selector: "notin" is not a valid label selector operator`},
		{"shared: Refuse", "shared: Mine", `spec.policy.shared: "Mine": want Own or Refuse`},
		{"s3://drover", "s4://drover", "spec.archive: "},
		{"s3://drover-records/staging", "s3://", `spec.archive: "s3://": want file:///folder`},
		{"instance: stg-rds", "instance: no_such db!", `spec.databases[0]: "no_such db!": want a name as RDS has them`},
		{"fights: 2", "fights: 101", "spec.policy.fights: 101: want 1 to 100"},
		{"fights: 2", "fights: 4294967297", "spec.policy.fights"},
		{"fights: 2", "fights: 9223372036854775808", "spec.policy.fights"},
		{`awake: "0.0104"`, `awake: "cheap"`, `spec.prices[0].awake: "cheap": want a price`},
		{`calendar: "BEGIN:VCALENDAR"`, "configMap: {namespace: a, name: b, key: c}", "spec.schedule.holidays.configMap: is read of Environments in the cluster only"},
		{"spec:\n", "specification:\n", "spec: is missing"},
	} {
		if !strings.Contains(staging, tc.was) {
			t.Fatalf("nothing to change: %q", tc.was)
		}
		text := strings.Replace(staging, tc.was, tc.is, 1)
		got, errs := ParseEnvironments([]byte(text+"---"+strings.Replace(staging, "name: staging\n", "name: other\n", 1)), "file f")
		if len(errs) > 0 || len(got) != 2 {
			t.Errorf("%s: %v, %d environments", tc.is, errs, len(got))
			continue
		}
		if !slices.ContainsFunc(got[0].Trouble, func(s string) bool { return strings.HasPrefix(s, tc.trouble) }) {
			t.Errorf("%s: trouble %q, want %q", tc.is, got[0].Trouble, tc.trouble)
		}
		if len(got[1].Trouble) > 0 {
			t.Errorf("%s: it spoils the other: %q", tc.is, got[1].Trouble)
		}
	}
}

func TestFilesThatAreNoEnvironments(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"a: b: c", "file f, document 1: "},
		{staging + "---" + staging, "file f, document 2: environment staging is there twice"},
		{staging + "---\nkind: Deployment\napiVersion: apps/v1\n", `file f, document 2: is "Deployment" of "apps/v1": want Environment of drover.dev/v1alpha1`},
		{"- a\n- b\n", "file f, document 1: want an Environment: "},
		{strings.Replace(staging, "name: staging\n", "", 1), `file f, document 1: metadata.name: "": want small letters`},
		{strings.Replace(staging, "name: staging\n", "name: 5\n", 1), `file f, document 1: metadata.name: `},
		{strings.Replace(staging, "team: shop", "team: 5", 1), "file f, document 1: metadata.annotations: "},
		{strings.Replace(staging, "groups: [stg-nodes]", "groups: [stg-nodes]\n  groups: []", 1), `key "groups" already set in map`},
	} {
		got, errs := ParseEnvironments([]byte(tc.text), "file f")
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), tc.want) {
			t.Errorf("%v, want %q; environments %+v", errs, tc.want, got)
		}
	}
}

// A spec that cannot be understood does not hide the record, and the other way round.
func TestEveryPartOfAnEnvironmentIsReadApart(t *testing.T) {
	object := func() *unstructured.Unstructured {
		e := Environment{Spec: FromEnvironmentSpec(fleet.EnvironmentSpec{Groups: []string{"web"}})}
		record := FromSleepRecord(fleet.SleepRecord{Run: "r-1", Databases: []fleet.SleepDatabase{{ID: "instance a", MinACU: 2}}})
		e.Status = EnvironmentStatus{Record: &record, Sleeps: []Sleep{{Run: "r-0"}}}
		e.Name, e.Annotations = "staging", map[string]string{WishKey: "on"}
		var u unstructured.Unstructured
		body, err := json.Marshal(e)
		if err == nil {
			err = json.Unmarshal(body, &u.Object)
		}
		if err != nil {
			t.Fatal(err)
		}
		return &u
	}
	whole, _ := ReadEnvironment(object(), "s")
	if len(whole.Trouble) > 0 || whole.Record == nil || whole.Record.Environment != "staging" || len(whole.Sleeps) != 1 || whole.Wish == nil || len(whole.Spec.Groups) != 1 {
		t.Fatalf("%+v", whole)
	}
	unclear := object()
	unclear.SetAnnotations(map[string]string{WishKey: "perhaps"})
	if got, _ := ReadEnvironment(unclear, "s"); got.Wish != nil || len(got.Trouble) > 0 || got.Record == nil ||
		!strings.HasPrefix(got.WishTrouble, `metadata.annotations[drover.dev/wish]: wish "perhaps": want on, off`) {
		t.Errorf("%+v", got)
	}
	for _, tc := range []struct {
		path    string
		value   any
		trouble string
		lost    func(*fleet.Environment) // takes away what is not to be read
	}{
		{"spec.groups", "web", "spec.groups: is a string", func(e *fleet.Environment) { e.Spec = fleet.EnvironmentSpec{} }},
		{"spec.new", "web", "spec.new: unknown field", func(*fleet.Environment) {}},
		{"status.record.original.parts", "web", "status.record.original.parts: is a string", func(e *fleet.Environment) { e.Record = nil }},
		{"status.record.original.prior", "x", "status.record.original.prior: unknown field", func(e *fleet.Environment) { e.Record = nil }},
		{"status.record.original.databases", []any{map[string]any{"id": "a", "minACU": "two"}}, `status.record.original.databases[0].minACU: "two"`, nil},
		{"status.record", "none", "status.record: is missing", func(e *fleet.Environment) { e.Record = nil }},
		{"status.sleeps", "many", "status.sleeps: is a string", func(e *fleet.Environment) { e.Sleeps = nil }},
	} {
		u := object()
		if err := unstructured.SetNestedField(u.Object, tc.value, strings.Split(tc.path, ".")...); err != nil {
			t.Fatal(err)
		}
		got, _ := ReadEnvironment(u, "s")
		if !slices.ContainsFunc(got.Trouble, func(s string) bool { return strings.HasPrefix(s, tc.trouble) }) {
			t.Errorf("%s: trouble %q, want %q", tc.path, got.Trouble, tc.trouble)
		}
		if tc.lost == nil {
			continue
		}
		want := whole.Clone()
		tc.lost(&want)
		want.Trouble, got.Trouble = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tc.path, got, want)
		}
	}
}
