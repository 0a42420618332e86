package v1alpha1

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// FormatWish prints a wish to one line that ParseWish reads back, moments to the second.
func FormatWish(w fleet.Wish) string {
	fields := []string{"v1", "off"}
	if w.On {
		fields[1] = "on"
	}
	if w.By != "" {
		fields = append(fields, "by="+url.PathEscape(w.By))
	}
	if !w.At.IsZero() {
		fields = append(fields, "at="+w.At.UTC().Format(time.RFC3339))
	}
	if !w.Until.IsZero() {
		fields = append(fields, "until="+w.Until.UTC().Format(time.RFC3339))
	}
	if len(w.Forced) > 0 {
		fields = append(fields, "forced="+strings.Join(w.Forced, "+"))
	}
	if w.Why != "" {
		fields = append(fields, "why="+w.Why)
	}
	return strings.Join(fields, " ")
}

// ParseWish reads what FormatWish printed, or a bare on or off, as somebody in a hurry annotates it, in small letters or large ones. Anything else is an
// error to show: somebody wants something, and nobody knows what.
func ParseWish(s string) (*fleet.Wish, error) {
	if word := strings.ToLower(strings.TrimSpace(s)); word == "on" || word == "off" {
		return &fleet.Wish{On: word == "on", By: "somebody"}, nil
	}
	head, why, _ := strings.Cut(s, " why=")
	fields := strings.Fields(head)
	if len(fields) < 2 || fields[0] != "v1" || !strings.EqualFold(fields[1], "on") && !strings.EqualFold(fields[1], "off") {
		return nil, fmt.Errorf("wish %q: want on, off, or what drover env start writes: v1 on by=... at=...", s)
	}
	w := &fleet.Wish{On: strings.EqualFold(fields[1], "on"), Why: why}
	for _, field := range fields[2:] {
		key, value, _ := strings.Cut(field, "=")
		var err error
		switch key {
		case "by":
			w.By, err = url.PathUnescape(value)
		case "at":
			w.At, err = time.Parse(time.RFC3339, value)
		case "until":
			w.Until, err = time.Parse(time.RFC3339, value)
		case "forced":
			w.Forced = strings.Split(value, "+")
		default:
			return nil, fmt.Errorf("wish %q: unknown field %q", s, key)
		}
		if err != nil {
			return nil, fmt.Errorf("wish %q: field %s: %w", s, key, err)
		}
	}
	return w, nil
}

// readWish reads the wish that an object bears, if any. One that does not say when it was wished was so when the API server says; where that cannot be
// told it stays zero.
func readWish(o metav1.Object, out *fleet.Environment) {
	text, ok := o.GetAnnotations()[WishKey]
	if !ok {
		return
	}
	w, err := ParseWish(text)
	if err != nil {
		out.WishTrouble = fmt.Sprintf("metadata.annotations[%s]: %v", WishKey, err)
		return
	}
	if w.At.IsZero() {
		w.At = wishedAt(o)
	}
	out.Wish = w
}

// wishedAt is when the wish was written. Only a writer who has written nothing else tells: the moment of others is that of the last thing that they
// wrote, and a wish that was served long ago would hold anew from then.
func wishedAt(o metav1.Object) time.Time {
	var at time.Time
	for _, e := range o.GetManagedFields() {
		fields := writtenBy(&e)
		metadata := inner(fields, "f:metadata")
		annotations := inner(metadata, "f:annotations")
		if _, wrote := annotations["f:"+WishKey]; !wrote {
			continue
		}
		delete(annotations, ".") // that there are annotations at all
		if e.Time == nil || !at.IsZero() || len(fields) > 1 || len(metadata) > 1 || len(annotations) > 1 {
			return time.Time{}
		}
		at = e.Time.UTC()
	}
	return at
}

func writtenBy(e *metav1.ManagedFieldsEntry) map[string]any {
	var fields map[string]any
	if e.FieldsV1 == nil || json.Unmarshal(e.FieldsV1.Raw, &fields) != nil {
		return nil
	}
	return fields
}

func inner(fields map[string]any, key string) map[string]any {
	in, _ := fields[key].(map[string]any)
	return in
}
