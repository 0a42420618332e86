package controller_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"drover.dev/api/v1alpha1"
	"drover.dev/env"
	"drover.dev/fleet"
	"drover.dev/kube"
	"drover.dev/metrics"
)

func environmentsPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/environments.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// The example on the page is the file, and nothing is wrong with it.
func TestEnvironmentsExample(t *testing.T) {
	const file = "../../docs/examples/environment.yaml"
	example, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(environmentsPage(t), "```yaml\n"+string(example)+"```\n") {
		t.Errorf("the page shows another example than %s", file)
	}
	all, errs := v1alpha1.ParseEnvironments(example, file)
	if len(errs) > 0 || len(all) != 1 {
		t.Fatalf("%d environments, %v", len(all), errs)
	}
	if found := env.Check(&fleet.Snapshot{Environments: all}, all[0].Name); len(found) > 0 {
		t.Error(found)
	}
}

// The page tells of every field, of every code that a person may override and no other, and of metrics that there are.
func TestEnvironmentsPage(t *testing.T) {
	text := environmentsPage(t)
	for _, of := range []any{
		v1alpha1.EnvironmentSpec{}, v1alpha1.Selection{}, v1alpha1.Database{}, v1alpha1.SecretRef{}, v1alpha1.Tier{}, v1alpha1.Schedule{}, v1alpha1.Window{}, v1alpha1.Holidays{},
		v1alpha1.ConfigMapKey{}, v1alpha1.ScheduleException{}, v1alpha1.EnvironmentPolicy{}, v1alpha1.Price{},
	} {
		fields := reflect.TypeOf(of)
		for i := range fields.NumField() {
			name, _, _ := strings.Cut(fields.Field(i).Tag.Get("json"), ",")
			if !regexp.MustCompile("[`.]" + name + `(\[\])?` + "[`.]").MatchString(text) {
				t.Errorf("it does not tell of field %s of %s", name, fields.Name())
			}
		}
	}
	var told, may []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(env-[a-z-]+)` \\|").FindAllStringSubmatch(text, -1) {
		told = append(told, row[1])
	}
	codes := map[string]bool{}
	for _, r := range fleet.Rules {
		codes[r.Code] = true
		if strings.HasPrefix(r.Code, "env-") && r.Blocks == "sometimes" {
			may = append(may, r.Code)
		}
	}
	if !slices.Equal(told, may) {
		t.Errorf("it says that %v may be forced, those that may are %v", told, may)
	}
	for _, code := range regexp.MustCompile("`((?:env|iso)-[a-z-]+)`").FindAllStringSubmatch(text, -1) {
		if !codes[code[1]] {
			t.Errorf("there is no finding %s", code[1])
		}
	}
	for _, name := range regexp.MustCompile("`(drover_[a-z_]+)`").FindAllStringSubmatch(text, -1) {
		if !strings.Contains(metrics.Page(), "`"+name[1]+"`") {
			t.Errorf("there is no metric %s", name[1])
		}
	}
}

// The Role that people copy reads the one Secret and the one ConfigMap, and no others.
func TestEnvironmentsPageHasTheRole(t *testing.T) {
	_, block, found := strings.Cut(environmentsPage(t), "```yaml\napiVersion: rbac.authorization.k8s.io/v1\n")
	block, _, ends := strings.Cut(block, "\n---\n")
	var role rbacv1.Role
	if err := yaml.UnmarshalStrict([]byte(block), &role); err != nil || !found || !ends {
		t.Fatalf("no Role on the page: %v\n%s", err, block)
	}
	secret := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"stg-db-drover"}, Verbs: []string{"get"}}
	want := append([]rbacv1.PolicyRule{secret}, byNamespace(kube.CalendarRights("staging", "holidays"))[role.Namespace]...)
	if role.Kind != "Role" || !reflect.DeepEqual(role.Rules, want) {
		t.Errorf("%s\nwant %v", block, want)
	}
}
