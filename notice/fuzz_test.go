package notice

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"drover.dev/fleet"
)

// Whatever comes: no panic, an error that says where, or notices that can be acted on.
func FuzzParse(f *testing.F) {
	for _, a := range stories(f) {
		f.Add(body(a))
	}
	for _, s := range []string{"", "{}", "null", `"{}"`, "[[[[", "{\"detail-type\":null}", `{"TopicArn":"t","Message":"{}"}`, "\xff", `{"a":1,"a":2}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		ns, err := Parse(body)
		again, errAgain := Parse(body)
		if !reflect.DeepEqual(ns, again) || !reflect.DeepEqual(err, errAgain) {
			t.Errorf("read twice: %v, %v, then %v, %v", ns, err, again, errAgain)
		}
		if err != nil {
			located(t, err)
		}
		for _, n := range ns {
			usable(t, n)
		}
		twin(t, body)
	})
}

func located(t *testing.T, err error) {
	e := (*Error)(nil)
	if !errors.As(err, &e) || !strings.HasPrefix(e.Where, "$") || e.What == "" || e.Line < 1 || e.Offset < 0 || e.Offset > MaxBody || e.Kind != Malformed && e.Kind != Unsupported {
		t.Errorf("an error that does not say where and what: %#v", err)
	}
}

func usable(t *testing.T, n fleet.Notice) {
	if n.Kind == "" || n.ID == "" || n.Why == "" || n.Source == "" || n.At.IsZero() {
		t.Errorf("half a notice: %+v", n)
	}
	ofNobody := n.Kind == fleet.TestNotice || n.Kind == fleet.CanaryNotice || (n.Kind == fleet.CapacityBlock || n.Kind == fleet.DatabaseNotice) && n.Origin != ""
	if n.Instance == "" && !ofNobody || n.Instance != "" && !instanceID.MatchString(n.Instance) {
		t.Errorf("a notice about %q: %+v", n.Instance, n)
	}
	if n.Kind == fleet.SpotInterruption && !n.Deadline.IsZero() && n.Deadline.Before(n.At) {
		t.Errorf("too late when it was sent: %+v", n)
	}
}

// twin reads the same JSON the plain way. What both take, they take alike, and only for depth and for keys that are there twice does parse refuse more.
func twin(t *testing.T, body string) {
	var want any
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	plainly := json.Valid([]byte(body)) && d.Decode(&want) == nil
	n, bad := parse(body)
	switch {
	case bad == nil && !plainly:
		t.Errorf("read, though it is no JSON: %q", body)
	case bad != nil && plainly && !strings.Contains(bad.what, "nested") && !strings.Contains(bad.what, "twice"):
		t.Errorf("refused for %s, though it is JSON: %q", bad.what, body)
	case bad == nil && !reflect.DeepEqual(plain(body, n), want):
		t.Errorf("%q read as %v, want %v", body, plain(body, n), want)
	}
}

func plain(body string, n *node) any {
	switch n.kind {
	case object:
		m := map[string]any{}
		for k, v := range n.fields {
			m[k] = plain(body, v)
		}
		return m
	case list:
		l := []any{}
		for _, v := range n.items {
			l = append(l, plain(body, v))
		}
		return l
	case text:
		return n.text
	case number:
		return json.Number(n.text)
	case boolean:
		return strings.HasPrefix(body[n.at:], "true") // it also shows that places are right
	}
	return nil
}
