package probe

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// answersWell judges a plain address: any 2xx.
func answersWell(status int, location string, _ []byte) (bool, string) {
	switch {
	case status/100 == 2:
		return true, fmt.Sprintf("answers %d", status)
	case location != "":
		place, _, _ := strings.Cut(location, "?") // logins carry tokens in it
		return false, fmt.Sprintf("answers %d to %s, want 2xx", status, place)
	}
	return false, fmt.Sprintf("answers %d %s, want 2xx", status, http.StatusText(status))
}

// answer is what Prometheus says to an instant query.
type answer struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Data   struct {
		Type   string          `json:"resultType"`
		Result json.RawMessage `json:"result"`
	} `json:"data"`
}

type sample struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"` // moment and figure, the latter as text
}

// nothingFires judges a query by the convention of alerts: whatever it returns is trouble, and an empty result is health. So a comparison, such
// as rate(errors[1m]) > 1, is the usual form.
func nothingFires(status int, _ string, body []byte) (bool, string) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return false, fmt.Sprintf("answers %d with something that is not Prometheus's: %v", status, err)
	}
	switch {
	case a.Status != "success":
		return false, fmt.Sprintf("Prometheus answers %d: %s", status, a.Error)
	case a.Data.Type != "vector":
		return false, fmt.Sprintf("the query's result is a %s; it has to be an instant vector that is empty while all is well, as a comparison makes", a.Data.Type)
	}
	var samples []sample
	if err := json.Unmarshal(a.Data.Result, &samples); err != nil {
		return false, fmt.Sprintf("the query's result is unreadable: %v", err)
	}
	if len(samples) == 0 {
		return true, "the query returns nothing"
	}
	return false, "the query returns " + first(samples)
}

// most is how many samples are told: a sentence, not a page.
const most = 2

func first(samples []sample) string {
	var out []string
	for i, s := range samples {
		if i == most {
			out = append(out, fmt.Sprintf("%d more", len(samples)-most))
			break
		}
		out = append(out, s.String())
	}
	return strings.Join(out, ", ")
}

func (s sample) String() string {
	var labels []string
	for k, v := range s.Metric {
		if k != "__name__" {
			labels = append(labels, fmt.Sprintf("%s=%q", k, v))
		}
	}
	slices.Sort(labels)
	return fmt.Sprintf("%s{%s} %v", s.Metric["__name__"], strings.Join(labels, ","), s.Value[1])
}
