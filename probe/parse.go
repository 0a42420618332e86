package probe

import (
	"fmt"
	"net/url"
	"strings"
)

const prometheus = "prometheus="

// Parse reads a probe as it is typed:
//
//	https://shop.example.com/healthz                       healthy while GET answers 2xx within 2 s
//	prometheus=http://prometheus:9090?query=EXPRESSION     healthy while the query's result is empty
//
// The expression is everything after the first ?query=, as it is: nothing in it is escaped or decoded.
func Parse(s string) (*Probe, error) {
	if rest, ok := strings.CutPrefix(s, prometheus); ok {
		return parseQuery(s, rest)
	}
	u, err := address(s, s)
	if err != nil {
		return nil, err
	}
	shown := *u
	shown.RawQuery, shown.Fragment = "", ""
	return &Probe{name: shown.String(), url: u.String(), judge: answersWell}, nil
}

func parseQuery(s, rest string) (*Probe, error) {
	base, query, ok := strings.Cut(rest, "?query=")
	if query = strings.TrimSpace(query); !ok || query == "" {
		return nil, fmt.Errorf("probe %q: says no query; write it as prometheus=http://HOST:9090?query=EXPRESSION", s)
	}
	u, err := address(s, base)
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" {
		return nil, fmt.Errorf("probe %q: ?%s: the address may have no other parameter than query", s, u.RawQuery)
	}
	u = u.JoinPath("api/v1/query")
	u.RawQuery = url.Values{"query": {query}}.Encode()
	return &Probe{name: "prometheus " + query, url: u.String(), judge: nothingFires}, nil
}

func address(s, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("probe %q: not an address: %w", s, cause(err))
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("probe %q: want http://..., https://... or prometheus=http://HOST:9090?query=EXPRESSION", s)
	case u.Host == "":
		return nil, fmt.Errorf("probe %q: names no host", s)
	case u.User != nil:
		return nil, fmt.Errorf("probe %s: carries credentials, which the run's record would show; use an address that needs none", u.Redacted())
	}
	return u, nil
}

// cause leaves out the address that url.Parse repeats.
func cause(err error) error {
	if e, ok := err.(*url.Error); ok {
		return e.Err
	}
	return err
}
