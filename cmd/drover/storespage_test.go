package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"drover.dev/api/v1alpha1"
	"drover.dev/metrics"
)

// The page about stores names every field of a policy, and every metric and command that it tells of exists.
func TestStoresPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/stores.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for prefix, of := range map[string]any{"": v1alpha1.MoverPolicySpec{}, "hooks.": v1alpha1.Hooks{}, "guard.": v1alpha1.Guard{}} {
		fields := reflect.TypeOf(of)
		for i := range fields.NumField() {
			name, _, _ := strings.Cut(fields.Field(i).Tag.Get("json"), ",")
			if name != "hooks" && name != "guard" && !strings.Contains(text, "`"+prefix+name+"`") {
				t.Errorf("it does not tell of field spec.%s%s of a MoverPolicy", prefix, name)
			}
		}
	}
	for _, name := range regexp.MustCompile("`(drover_[a-z_]+)`").FindAllStringSubmatch(text, -1) {
		if !strings.Contains(metrics.Page(), "`"+name[1]+"`") {
			t.Errorf("there is no metric %s", name[1])
		}
	}
	for _, called := range regexp.MustCompile(`(?m)(?:^|\x60)drover ([a-z]+)`).FindAllStringSubmatch(text, -1) {
		if c, _, err := testRoot().Find([]string{called[1]}); err != nil || c.Name() != called[1] {
			t.Errorf("there is no command drover %s", called[1])
		}
	}
}
