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
// A run's record shows its probes to whoever may read it, so that addresses with credentials or queries of their own are refused.
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
	if strings.ContainsAny(s, "?#") {
		return nil, fmt.Errorf("probe %q: put no secrets in a probe's URL: queries are refused; use a path", shown(s))
	}
	return &Probe{name: u.String(), url: u.String(), judge: answersWell}, nil
}

func parseQuery(s, rest string) (*Probe, error) {
	base, query, ok := strings.Cut(rest, "?query=")
	if query = strings.TrimSpace(query); !ok || query == "" {
		return nil, fmt.Errorf("probe %q: says no query; write it as prometheus=http://HOST:9090?query=EXPRESSION", shown(s))
	}
	u, err := address(s, base)
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" {
		return nil, fmt.Errorf("probe %q: the address may have no other parameter than query", shown(s))
	}
	u = u.JoinPath("api/v1/query")
	u.RawQuery = url.Values{"query": {query}}.Encode()
	return &Probe{name: "prometheus " + query, url: u.String(), judge: nothingFires}, nil
}

func address(s, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "@") && (err != nil || u.User != nil || u.Host == ""):
		return nil, fmt.Errorf("probe %q: carries credentials, which the run's record would show; use an address that needs none", shown(s))
	case err != nil:
		return nil, fmt.Errorf("probe %q: not an address: %w", shown(s), cause(err))
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("probe %q: want http://..., https://... or prometheus=http://HOST:9090?query=EXPRESSION", shown(s))
	case u.Host == "":
		return nil, fmt.Errorf("probe %q: names no host", shown(s))
	}
	return u, nil
}

// shown is a probe as an error may show it: without what may be credentials, wherever a mistake has put them.
func shown(s string) string {
	s, _, _ = strings.Cut(s, "?")
	s, _, _ = strings.Cut(s, "#")
	at := strings.LastIndex(s, "@")
	if at < 0 {
		return s
	}
	scheme := ""
	if i := strings.Index(s, "//"); i >= 0 && i < at {
		scheme = s[:i+2]
	}
	return scheme + "xxxxx" + s[at:]
}

// cause leaves out the address that url.Parse repeats.
func cause(err error) error {
	if e, ok := err.(*url.Error); ok {
		return e.Err
	}
	return err
}
