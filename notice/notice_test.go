package notice

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"github.com/rogpeppe/go-internal/txtar"
)

// The bodies of testdata, and what they say. UPDATE=1 go test ./notice writes what they say.
func TestBodies(t *testing.T) {
	for name, a := range stories(t) {
		t.Run(name, func(t *testing.T) {
			ns, err := Parse(body(a))
			if err != nil {
				t.Fatal(err)
			}
			got := show(ns)
			if os.Getenv("UPDATE") != "" {
				a.Files[1].Data = []byte(got)
				if err := os.WriteFile(filepath.Join("testdata", name+".txtar"), txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(a.Files[1].Data); got != want {
				t.Errorf("%s\nsays:\n%s\nwant:\n%s", a.Comment, got, want)
			}
		})
	}
}

func stories(t testing.TB) map[string]*txtar.Archive {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no bodies in testdata: %v", err)
	}
	all := map[string]*txtar.Archive{}
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Files) != 2 || a.Files[0].Name != "body" || a.Files[1].Name != "want" {
			t.Fatalf("%s: want a body and what it says", p)
		}
		all[strings.TrimSuffix(filepath.Base(p), ".txtar")] = a
	}
	return all
}

func body(a *txtar.Archive) string { return string(a.Files[0].Data) }

// show prints notices, without what is empty.
func show(ns []fleet.Notice) string {
	var b strings.Builder
	for i, n := range ns {
		if i > 0 {
			b.WriteString("\n")
		}
		v := reflect.ValueOf(n)
		for f := range v.NumField() {
			field := v.Field(f).Interface()
			if at, ok := field.(time.Time); ok {
				field = at.Format(time.RFC3339Nano)
			}
			if !v.Field(f).IsZero() {
				fmt.Fprintf(&b, "%s: %v\n", v.Type().Field(f).Name, field)
			}
		}
	}
	if len(ns) == 0 {
		return "nobody goes\n"
	}
	return b.String()
}

// A signal has one ID, however it comes.
func TestOneSignalHasOneID(t *testing.T) {
	all := stories(t)
	for _, same := range [][]string{
		{"hook-terminate", "hook-terminate-old", "direct-terminate", "sns-direct"},
		{"hook-launch", "direct-launch"},
		{"spot-terminate", "sns-event"},
		{"direct-test", "sns-test"},
		{"capacity-block", "capacity-block-underscore"},
		{"health-reboot", "health-closed", "health-old"},
	} {
		var ids []string
		for _, name := range same {
			ns, err := Parse(body(all[name]))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			ids = append(ids, string(ns[0].Kind)+" "+ns[0].ID+" of "+ns[0].Instance)
		}
		for _, id := range ids {
			if id != ids[0] {
				t.Errorf("%v say %q", same, ids)
				break
			}
		}
	}
}

func TestIDs(t *testing.T) {
	for _, tc := range []struct {
		kind        fleet.NoticeKind
		which, want string
	}{
		{fleet.TerminateHook, "drover-terminate", "terminate-hook/drover-terminate"},
		{fleet.LaunchHook, "drover-launch", "launch-hook/drover-launch"},
		{fleet.ScheduledChange, "arn:x", "scheduled/arn:x"},
		{fleet.SpotInterruption, "", "spot"},
		{fleet.Rebalance, "", "rebalance"},
		{fleet.StateChange, "", "state"},
		{fleet.CapacityBlock, "", "capacity-block"},
		{fleet.CapacityReservation, "", "capacity-reservation"},
		{fleet.TestNotice, "", "test"},
	} {
		if got := ID(tc.kind, tc.which); got != tc.want {
			t.Errorf("%s of %q is %q, want %q", tc.kind, tc.which, got, tc.want)
		}
	}
}

func TestEffects(t *testing.T) {
	for code, want := range map[string]string{
		"instance-reboot": "reboot", "system-reboot": "reboot", "system-maintenance": "maintain", "instance-retirement": "retire", "instance-stop": "stop",
		"AWS_EC2_INSTANCE_REBOOT_FLEXIBLE_MAINTENANCE_SCHEDULED": "reboot",
		"AWS_EC2_INSTANCE_NETWORK_MAINTENANCE_SCHEDULED":         "maintain",
		"AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED":       "retire",
		"AWS_EC2_INSTANCE_TERMINATION_SCHEDULED":                 "terminate",
		"AWS_EC2_SOMETHING_NEW":                                  "",
	} {
		if got := Effect(code); got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
}

// Every way in which AWS writes one moment.
func TestMoments(t *testing.T) {
	want := time.Date(2026, 3, 5, 15, 10, 0, 0, time.UTC)
	for _, s := range []string{
		"2026-03-05T15:10:00Z", "2026-03-05T15:10:00.000Z", "2026-03-05T15:10:00.000000000Z", "2026-03-05T15:10Z", "2026-03-05T16:10:00+01:00",
		"2026-03-05T16:10:00+0100", "Thu, 05 Mar 2026 15:10:00 GMT", "Thu, 5 Mar 2026 15:10:00 GMT", "Sat, 5 Mar 2026 15:10:00 UTC",
		"Thu, 05 Mar 2026 16:10:00 +0100", "05 Mar 2026 15:10:00 GMT", "5 Mar 2026 15:10:00 GMT",
	} {
		if got, err := Moment(s); err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "now", "2026-03-05", "2026-03-05T15:10:00", "Thu, 05 Mar 2026 15:10:00 PST", "Thu, 31 Feb 2026 15:10:00 GMT", "1772723400", "20260-03-05T15:10:00Z"} {
		if got, err := Moment(s); err == nil {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}

// The canary that drover check sends is the one that is heard.
func TestCanary(t *testing.T) {
	ns, err := Parse(event(CanarySource, CanaryType, CanaryDetail("c-1", "shop \"x\"")))
	if err != nil || len(ns) != 1 || ns[0].ID != "c-1" || ns[0].Destination != `shop "x"` || ns[0].Kind != fleet.CanaryNotice {
		t.Errorf("%v, %v", ns, err)
	}
}
