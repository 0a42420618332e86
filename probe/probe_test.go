package probe

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ text, name, url, err string }{
		{text: "https://shop.example.com/healthz", name: "https://shop.example.com/healthz", url: "https://shop.example.com/healthz"},
		{text: "http://10.0.0.1:8080/ready?token=s3cret", err: `probe "http://10.0.0.1:8080/ready": put no secrets in a probe's URL: queries are refused; use a path`},
		{text: "http://10.0.0.1:8080/ready#s3cret", err: "queries are refused"},
		{text: "prometheus=http://prom:9090?query=rate(errors[1m]) > 0.5", name: "prometheus rate(errors[1m]) > 0.5", url: "http://prom:9090/api/v1/query?query=rate%28errors%5B1m%5D%29+%3E+0.5"},
		{text: "prometheus=http://prom/prefix/?query=a % 2 + b", name: "prometheus a % 2 + b", url: "http://prom/prefix/api/v1/query?query=a+%25+2+%2B+b"},
		{text: "", err: `probe "": want http://`},
		{text: "shop.example.com", err: "want http://"},
		{text: "ftp://x", err: "want http://"},
		{text: "https:///healthz", err: "names no host"},
		{text: "https://[::1", err: "not an address: missing ']' in host"},
		{text: "https://user:secret@shop/", err: `probe "https://xxxxx@shop/": carries credentials`},
		{text: "ftp://user:secret@shop/", err: "carries credentials"},
		{text: "https://user:secret/secret@shop/", err: "carries credentials"},
		{text: "https://user:secret@[::1", err: "carries credentials"},
		{text: "user:secret@shop/", err: "carries credentials"},
		{text: "shop/?token=s3cret", err: "want http://"},
		{text: "prometheus=http://user:secret@prom:9090?query=up", err: `probe "prometheus=http://xxxxx@prom:9090": carries credentials`},
		{text: "prometheus=http://user:secret@prom:9090", err: "says no query"},
		{text: "prometheus=http://prom:9090?x=s3cret?query=up", err: "no other parameter than query"},
		{text: "prometheus=http://prom:9090", err: "says no query"},
		{text: "prometheus=http://prom:9090?query= ", err: "says no query"},
		{text: "prometheus=up == 0", err: "says no query"},
		{text: "prometheus=prom:9090?query=up", err: "want http://"},
	} {
		p, err := Parse(tc.text)
		switch {
		case tc.err != "":
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%q: got %v, want %s", tc.text, err, tc.err)
			}
			if err != nil && (strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "secret/") || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("%q: the error tells the password: %v", tc.text, err)
			}
		case err != nil:
			t.Errorf("%q: %v", tc.text, err)
		case p.Name() != tc.name || p.url != tc.url:
			t.Errorf("%q: got %s at %s, want %s at %s", tc.text, p.Name(), p.url, tc.name, tc.url)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, tc := range []struct {
		status  int
		healthy bool
		why     string
	}{
		{200, true, "answers 200"},
		{204, true, "answers 204"},
		{302, false, "answers 302 to /login, want 2xx"},
		{404, false, "answers 404 Not Found, want 2xx"},
		{503, false, "answers 503 Service Unavailable, want 2xx"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tc.status == 302 {
				w.Header().Set("Location", "/login?token=secret")
			}
			w.WriteHeader(tc.status)
		}))
		expect(t, s.URL+"/healthz", tc.healthy, tc.why)
		s.Close()
	}
}

func expect(t *testing.T, text string, healthy bool, why string) {
	t.Helper()
	p, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if ok, said := p.Ask(t.Context()); ok != healthy || said != why {
		t.Errorf("%s: got %v, %q; want %v, %q", text, ok, said, healthy, why)
	}
}

func TestQuery(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		healthy    bool
		why        string
	}{
		{"empty", `{"status":"success","data":{"resultType":"vector","result":[]}}`, true, "the query returns nothing"},
		{"fires", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"web","az":"a"},"value":[1,"0"]}]}}`, false, `the query returns up{az="a",job="web"} 0`},
		{"many", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]},{"metric":{},"value":[1,"2"]},{"metric":{},"value":[1,"3"]},{"metric":{},"value":[1,"4"]}]}}`, false, "the query returns {} 1, {} 2, 2 more"},
		{"scalar", `{"status":"success","data":{"resultType":"scalar","result":[1,"0"]}}`, false, "the query's result is a scalar; it has to be an instant vector that is empty while all is well, as a comparison makes"},
		{"refused", `{"status":"error","error":"parse error: unexpected end"}`, false, "Prometheus answers 200: parse error: unexpected end"},
		{"long", `{"status":"error","error":"one\nline\u001b[31m ` + strings.Repeat("é", 300) + `"}`, false, "Prometheus answers 200: one line [31m " + strings.Repeat("é", 161) + "…"},
		{"a proxy", `<html>`, false, "answers 200 with something that is not Prometheus's: invalid character '<' looking for beginning of value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/api/v1/query" || r.FormValue("query") != `up{job="web"} == 0` {
					t.Errorf("asked %s", r.URL)
				}
				w.Write([]byte(tc.body))
			}))
			defer s.Close()
			expect(t, "prometheus="+s.URL+`?query=up{job="web"} == 0`, tc.healthy, tc.why)
		})
	}
}

func TestNoAnswerIsBad(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	address := s.URL
	s.Close()
	p, err := Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if ok, why := p.Ask(t.Context()); ok || !strings.Contains(why, "connection refused") || strings.Contains(why, "Get ") {
		t.Errorf("got %v, %q", ok, why)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, why := p.Ask(ended); ok || why != "context canceled" {
		t.Errorf("after the end: %v, %q", ok, why)
	}
}
