package wire

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"drover.dev/sandbox/cloud"
)

// imdsPath begins the path of every instance's own metadata: /imds/i-0123.../latest/...
const imdsPath = "/imds/"

// whoseMetadata finds the instance that asks about itself, by path or, for SDKs that keep nothing of an endpoint but its host, by the name of the
// user in it: http://i-0123...@HOST:PORT. The path is without the instance.
func whoseMetadata(r *http.Request) (instance, path string, ok bool) {
	if rest, ok := strings.CutPrefix(r.URL.Path, imdsPath); ok {
		instance, path, _ := strings.Cut(rest, "/")
		return instance, path, true
	}
	user, _, basic := r.BasicAuth()
	return user, strings.TrimPrefix(r.URL.Path, "/"), basic && strings.HasPrefix(r.URL.Path, "/latest/")
}

const (
	tokenHeader = "X-aws-ec2-metadata-token"
	ttlHeader   = "X-aws-ec2-metadata-token-ttl-seconds"
	longestTTL  = 21600
)

// metadata is the instance metadata service, version 2: it answers whoever shows a token that it gave for that instance, and nobody else.
type metadata struct {
	cloud *cloud.Cloud

	mu     sync.Mutex
	tokens map[string]token
}

type token struct {
	instance string
	until    time.Time
}

func (s *metadata) serve(w http.ResponseWriter, r *http.Request, instance, path string) {
	m, ok := s.cloud.Metadata(instance)
	switch {
	case !ok:
		http.Error(w, "there is no machine "+instance+" that could ask", http.StatusNotFound)
	case path == "latest/api/token" && r.Method == http.MethodPut:
		s.giveToken(w, r, instance)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case !s.admits(instance, r.Header.Get(tokenHeader)):
		w.WriteHeader(http.StatusUnauthorized)
	default:
		s.answer(w, m, path)
	}
}

func (s *metadata) giveToken(w http.ResponseWriter, r *http.Request, instance string) {
	ttl, err := strconv.Atoi(r.Header.Get(ttlHeader))
	if err != nil || ttl < 1 || ttl > longestTTL {
		http.Error(w, "400 - Bad Request", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cloud.Now()
	maps.DeleteFunc(s.tokens, func(_ string, t token) bool { return !now.Before(t.until) })
	text := rand.Text()
	s.tokens[text] = token{instance, now.Add(time.Duration(ttl) * time.Second)}
	w.Header().Set(ttlHeader, strconv.Itoa(ttl))
	_, _ = io.WriteString(w, text) // whoever hung up does not want to hear about it
}

func (s *metadata) admits(instance, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[text]
	return ok && t.instance == instance && s.cloud.Now().Before(t.until)
}

func (s *metadata) answer(w http.ResponseWriter, m cloud.Metadata, path string) {
	body, kind, ok := "", "text/plain", false
	switch {
	case path == "latest/dynamic/instance-identity/document":
		body, ok = s.identity(m), true
	case path == "latest/user-data":
		body, ok = m.Instance.UserData, m.Instance.UserData != ""
	default:
		if name, below := strings.CutPrefix(path, "latest/meta-data"); below {
			body, ok = lookUp(s.items(m), strings.TrimPrefix(name, "/"))
		}
	}
	if !ok {
		http.Error(w, "404 - Not Found", http.StatusNotFound)
		return
	}
	if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	_, _ = io.WriteString(w, body) // as above
}

// lookUp finds an item, or lists what is below a path as the metadata service does: one name a line, with a slash where more is below.
func lookUp(items map[string]string, path string) (string, bool) {
	if body, ok := items[path]; ok {
		return body, true
	}
	folder := strings.TrimSuffix(path, "/")
	if folder != "" {
		folder += "/"
	}
	names := map[string]bool{}
	for item := range items {
		if rest, ok := strings.CutPrefix(item, folder); ok {
			name, _, more := strings.Cut(rest, "/")
			if more {
				name += "/"
			}
			names[name] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), "\n"), len(names) > 0
}

// items is everything an instance can ask for; what has not happened is not there.
func (s *metadata) items(m cloud.Metadata) map[string]string {
	i := m.Instance
	out := map[string]string{
		"instance-id": i.ID, "instance-type": i.Type, "ami-id": i.ImageID, "local-ipv4": i.PrivateIP, "local-hostname": i.PrivateDNS, "hostname": i.PrivateDNS,
		"reservation-id": i.Reservation, "instance-life-cycle": "on-demand", "placement/region": s.cloud.Region(), "placement/availability-zone": i.Zone,
		"placement/availability-zone-id": m.ZoneID, "services/domain": "amazonaws.com", "services/partition": "aws",
		"events/maintenance/scheduled": maintenance(m.Events, false), "events/maintenance/history": maintenance(m.Events, true),
	}
	if i.Spot {
		out["instance-life-cycle"] = "spot"
	}
	if i.Interruption != nil {
		at := i.Interruption.At.UTC().Format(time.RFC3339)
		out["spot/instance-action"] = text(map[string]string{"action": i.Interruption.Action, "time": at})
		if i.Interruption.Action == "terminate" {
			out["spot/termination-time"] = at
		}
	}
	if !i.Recommended.IsZero() {
		out["events/recommendations/rebalance"] = text(map[string]string{"noticeTime": i.Recommended.UTC().Format(time.RFC3339)})
	}
	if m.Target != "" {
		out["autoscaling/target-lifecycle-state"] = m.Target
	}
	return out
}

// maintenance shows what is scheduled, or what has been.
func maintenance(events []cloud.ScheduledEvent, over bool) string {
	out := []map[string]string{}
	for _, e := range events {
		state := map[bool]string{true: "completed", false: "active"}[strings.HasPrefix(e.Words, "[Completed]")]
		if strings.HasPrefix(e.Words, "[Canceled]") {
			state = "canceled"
		}
		if over == (state != "active") {
			const form = "2 Jan 2006 15:04:05 GMT"
			out = append(out, map[string]string{
				"NotBefore": e.NotBefore.UTC().Format(form), "NotAfter": e.NotAfter.UTC().Format(form), "Code": e.Code, "Description": e.Words, "EventId": e.ID, "State": state,
			})
		}
	}
	return text(out)
}

// identity is the document by which SDKs find their region.
func (s *metadata) identity(m cloud.Metadata) string {
	i := m.Instance
	return text(map[string]any{
		"accountId": s.cloud.Account(), "region": s.cloud.Region(), "availabilityZone": i.Zone, "instanceId": i.ID, "instanceType": i.Type, "imageId": i.ImageID,
		"privateIp": i.PrivateIP, "architecture": "x86_64", "pendingTime": i.LaunchTime.UTC().Format(time.RFC3339), "version": "2017-09-30",
	})
}

func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("metadata %v: %v", v, err)) // it is made of what JSON can say
	}
	return string(out)
}
