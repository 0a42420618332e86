package wire

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"drover.dev/sandbox/cloud"
)

// curl asks a path with headers, and returns status and body.
func (r *rig) curl(method, path string, headers ...string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for n := 0; n < len(headers); n += 2 {
		req.Header.Set(headers[n], headers[n+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestMetadataService(t *testing.T) {
	r := newRig(t)
	r.fleet()
	id := r.spot()
	base := "/imds/" + id + "/latest/"
	status, token := r.curl("PUT", base+"api/token", ttlHeader, "60")
	if status != 200 || token == "" {
		t.Fatalf("token: %d %q", status, token)
	}
	get := func(path string) (int, string) { return r.curl("GET", base+path, tokenHeader, token) }
	expect := func(path string, status int, want string) {
		t.Helper()
		if got, body := get(path); got != status || !strings.Contains(body, want) {
			t.Fatalf("%s: got %d %q, want %d %q", path, got, body, status, want)
		}
	}
	expect("meta-data/instance-id", 200, id)
	expect("meta-data/placement/region", 200, "eu-west-1")
	expect("meta-data/placement/availability-zone", 200, "eu-west-1a")
	expect("meta-data/", 200, "events/\nhostname\ninstance-id\ninstance-life-cycle\n")
	expect("meta-data/events/maintenance", 200, "history\nscheduled")
	expect("meta-data/instance-life-cycle", 200, "spot")
	expect("meta-data/autoscaling/target-lifecycle-state", 200, "InService")
	expect("meta-data/spot/instance-action", 404, "")
	expect("meta-data/spot", 404, "")
	expect("meta-data/events/recommendations/rebalance", 404, "")
	expect("meta-data/events/maintenance/scheduled", 200, "[]")
	expect("dynamic/instance-identity/document", 200, `"region":"eu-west-1"`)
	expect("user-data", 404, "")

	if _, err := r.cloud.ScheduleEvent("instance-stop", r.clock.Now().Add(time.Hour), "words", id); err != nil {
		t.Fatal(err)
	}
	if err := r.cloud.RecommendRebalance(id); err != nil {
		t.Fatal(err)
	}
	if err := r.cloud.InterruptSpot(id, "terminate"); err != nil {
		t.Fatal(err)
	}
	now := r.clock.Now()
	expect("meta-data/spot/instance-action", 200, `{"action":"terminate","time":"`+now.Add(cloud.SpotNotice).Format(time.RFC3339)+`"}`)
	expect("meta-data/events/recommendations/rebalance", 200, `{"noticeTime":"`+now.Format(time.RFC3339)+`"}`)
	expect("meta-data/events/maintenance/scheduled", 200, `"Code":"instance-stop","Description":"words"`)
	r.clock.Advance(time.Minute)
	expect("meta-data/instance-id", 401, "") // the token's minute is over
	if _, err := r.cloud.TerminateInstanceInAutoScalingGroup(id, true); err != nil {
		t.Fatal(err)
	}
	_, token = r.curl("PUT", base+"api/token", ttlHeader, "60")
	expect("meta-data/autoscaling/target-lifecycle-state", 200, "Terminated")
	r.settle()
	expect("meta-data/instance-id", 404, "")
}

func TestMetadataNeedsAToken(t *testing.T) {
	r := newRig(t)
	r.fleet()
	a, b := *r.members()[0].InstanceId, *r.members()[1].InstanceId
	_, token := r.curl("PUT", "/imds/"+a+"/latest/api/token", ttlHeader, "60")
	for _, c := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"GET", a + "/latest/meta-data/instance-id", nil, 401},
		{"GET", a + "/latest/meta-data/instance-id", []string{tokenHeader, "x"}, 401},
		{"GET", b + "/latest/meta-data/instance-id", []string{tokenHeader, token}, 401},
		{"PUT", a + "/latest/api/token", nil, 400},
		{"PUT", a + "/latest/api/token", []string{ttlHeader, "21601"}, 400},
		{"POST", a + "/latest/meta-data/instance-id", []string{tokenHeader, token}, 405},
		{"GET", "i-00000000000000000/latest/meta-data/", []string{tokenHeader, token}, 404},
	} {
		if got, body := r.curl(c.method, "/imds/"+c.path, c.headers...); got != c.want {
			t.Errorf("%s %s: got %d %q, want %d", c.method, c.path, got, body, c.want)
		}
	}
}
