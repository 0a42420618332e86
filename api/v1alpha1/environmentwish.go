package v1alpha1

import (
	"fmt"
	"net/url"
	"strings"
	"time"

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

// ParseWish reads what FormatWish printed, or a bare on or off, as somebody in a hurry annotates it. Anything else is an error to show: it may be the wish
// that keeps an environment on.
func ParseWish(s string) (*fleet.Wish, error) {
	if s == "on" || s == "off" {
		return &fleet.Wish{On: s == "on", By: "somebody"}, nil
	}
	head, why, _ := strings.Cut(s, " why=")
	fields := strings.Fields(head)
	if len(fields) < 2 || fields[0] != "v1" || fields[1] != "on" && fields[1] != "off" {
		return nil, fmt.Errorf("wish %q: want on, off, or what drover env start writes: v1 on by=... at=...", s)
	}
	w := &fleet.Wish{On: fields[1] == "on", Why: why}
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
