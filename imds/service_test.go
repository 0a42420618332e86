package imds

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

const itself = "i-0a1b2c3d4e5f60718"

// service is a metadata service that wants tokens, as EC2's does when version 1 is switched off.
type service struct {
	mu       sync.Mutex
	items    map[string]string // below meta-data; what is missing is 404
	identity string
	tokens   map[string]time.Time // until when each is good
	made     int
	asked    int
	down     bool
	far      bool // more hops away than the answer to a token's request lives
}

func newService() *service {
	return &service{
		items: map[string]string{}, tokens: map[string]time.Time{},
		identity: `{"instanceId": "` + itself + `", "region": "eu-west-1", "accountId": "210987654321"}`,
	}
}

func (s *service) set(path, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items[path] = body; body == "" {
		delete(s.items, path)
	}
}

func (s *service) reach(near bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.far = !near
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, isItem := strings.CutPrefix(r.URL.Path, "/latest/meta-data/")
	switch {
	case s.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		s.token(w, r)
	case r.Method != http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case !time.Now().Before(s.tokens[r.Header.Get("X-aws-ec2-metadata-token")]):
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/latest/dynamic/instance-identity/document":
		fmt.Fprint(w, s.identity)
	case isItem && s.items[path] != "":
		s.asked++
		fmt.Fprint(w, s.items[path])
	default:
		s.asked++
		w.WriteHeader(http.StatusNotFound)
	}
}

func (s *service) token(w http.ResponseWriter, r *http.Request) {
	const header = "X-aws-ec2-metadata-token-ttl-seconds"
	seconds, err := strconv.Atoi(r.Header.Get(header))
	if err != nil || seconds < 1 || seconds > 21600 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.made++
	token := fmt.Sprintf("token-%d", s.made)
	s.tokens[token] = time.Now().Add(time.Duration(seconds) * time.Second)
	w.Header().Set(header, strconv.Itoa(seconds))
	fmt.Fprint(w, token)
}

// Do answers without a network, so that a test's clock is the service's too.
func (s *service) Do(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	lost := s.far && r.Method == http.MethodPut
	s.mu.Unlock()
	if lost {
		return nil, errors.New("no answer: the hop limit is 1")
	}
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func (s *service) client() *imds.Client {
	return Client(aws.Config{}, func(o *imds.Options) { o.HTTPClient, o.ClientEnableState = s, imds.ClientEnabled })
}

// Over a real connection, once.
func TestIdentity(t *testing.T) {
	s := newService()
	server := httptest.NewServer(s)
	defer server.Close()
	c := Client(aws.Config{}, func(o *imds.Options) { o.Endpoint, o.ClientEnableState = server.URL, imds.ClientEnabled })
	got, err := Identity(t.Context(), c)
	if want := (Self{itself, "eu-west-1", "210987654321"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if body, err := ask(t.Context(), c, "spot/instance-action"); err != nil || body != "" {
		t.Errorf("what is not there reads as %q, %v", body, err)
	}
	s.set("tags/instance/x", strings.Repeat("x", longest+1))
	if _, err := ask(t.Context(), c, "tags/instance/x"); err == nil || !strings.Contains(err.Error(), "more than 65536 bytes") {
		t.Errorf("a long answer: %v", err)
	}
}

func TestIdentityRefused(t *testing.T) {
	s := newService()
	s.identity = `{"instanceId": "` + itself + `"}`
	if _, err := Identity(t.Context(), s.client()); err == nil || !strings.Contains(err.Error(), `in region ""`) {
		t.Errorf("half an identity: %v", err)
	}
}

// Without tokens nothing is asked: the service of version 1 would answer anybody's request.
func TestNoAnswerWithoutTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it asks several times, and waits between
		s := newService()
		s.far = true
		if got, err := Identity(t.Context(), s.client()); err == nil || !strings.Contains(err.Error(), "hop limit") || s.asked > 0 {
			t.Errorf("%+v, %v after %d requests", got, err, s.asked)
		}
	})
}
