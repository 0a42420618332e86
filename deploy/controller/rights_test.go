package controller_test

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"drover.dev/aws"
	"drover.dev/deploy/controller"
	"drover.dev/kube"
	"drover.dev/pipeline"
)

// The controller's roles are the lists of rights, no more and no less. UPDATE=1 go test ./deploy/controller writes them.
func TestRolesAreTheRights(t *testing.T) {
	for _, r := range []struct {
		folder, name, list string
		rights             []kube.Right
	}{
		{controller.Base, "drover-controller", "kube.ControllerRights", kube.ControllerRights()},
		{controller.Environments, "drover-environments", "kube.EnvironmentRights", kube.EnvironmentRights},
	} {
		if written(t, r.folder+"/rbac.yaml", rolesText(r.name, r.list, r.rights)) {
			continue // what is embedded is what was there before
		}
		granted := map[string][]rbacv1.PolicyRule{}
		for _, o := range decoded(t, r.folder) {
			switch r := o.(type) {
			case *rbacv1.ClusterRole:
				granted[""] = append(granted[""], r.Rules...)
			case *rbacv1.Role:
				granted[r.Namespace] = append(granted[r.Namespace], r.Rules...)
			}
		}
		if want := byNamespace(r.rights); !reflect.DeepEqual(granted, want) {
			t.Errorf("%s: granted\n%v\nwant\n%v", r.folder, granted, want)
		}
	}
}

// No role of the cluster's reads Secrets or ConfigMaps: who has those names them, in a namespace.
func TestSecretsByNameOnly(t *testing.T) {
	for _, folder := range []string{controller.Base, controller.Guard, controller.Environments, controller.Metadata} {
		for _, o := range decoded(t, folder) {
			role, ok := o.(*rbacv1.ClusterRole)
			if !ok {
				continue
			}
			for _, rule := range role.Rules {
				if slices.ContainsFunc(rule.Resources, func(r string) bool { return r == "secrets" || r == "configmaps" || r == "*" }) {
					t.Errorf("%s: ClusterRole %s has %v", folder, role.Name, rule)
				}
			}
		}
	}
}

// Every role is bound to the one ServiceAccount of its folder, which exists, and nothing else is.
func TestRolesAreBound(t *testing.T) {
	for folder, account := range map[string]rbacv1.Subject{
		"base":         {Kind: "ServiceAccount", Namespace: "drover-system", Name: "drover-controller"},
		"guard":        {Kind: "ServiceAccount", Namespace: "drover-system", Name: "drover-controller"},
		"environments": {Kind: "ServiceAccount", Namespace: "drover-system", Name: "drover-controller"},
		"imds":         {Kind: "ServiceAccount", Namespace: "drover-imds", Name: "drover-imds"},
	} {
		roles, bound := map[string]bool{}, map[string]bool{}
		bind := func(namespace string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
			bound[ref.Kind+" "+namespace+"/"+ref.Name] = true
			if !reflect.DeepEqual(subjects, []rbacv1.Subject{account}) {
				t.Errorf("%s: %s is bound to %v", folder, ref.Name, subjects)
			}
		}
		for _, o := range decoded(t, folder) {
			switch r := o.(type) {
			case *rbacv1.ClusterRole:
				roles["ClusterRole /"+r.Name] = true
			case *rbacv1.Role:
				roles["Role "+r.Namespace+"/"+r.Name] = true
			case *rbacv1.ClusterRoleBinding:
				bind("", r.RoleRef, r.Subjects)
			case *rbacv1.RoleBinding:
				bind(r.Namespace, r.RoleRef, r.Subjects)
			}
		}
		if len(roles) == 0 || !reflect.DeepEqual(roles, bound) {
			t.Errorf("%s: roles %v, bound %v", folder, roles, bound)
		}
		if folder == controller.Guard || folder == controller.Environments {
			continue // their account is base's
		}
		accounts := objects[serviceAccount](t, folder)
		if len(accounts) != 1 || accounts[0].Name != account.Name || accounts[0].Namespace != account.Namespace {
			t.Errorf("%s: service accounts %v", folder, accounts)
		}
	}
}

// The page of permissions says what the lists say.
func TestPermissionsPage(t *testing.T) {
	written(t, "../../docs/permissions.md", permissionsText(t))
}

// The Role that people copy from the page of stores is what stores need, no more and no less.
func TestStoresPageHasTheRole(t *testing.T) {
	page, err := os.ReadFile("../../docs/stores.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(page), "```yaml\napiVersion: rbac.authorization.k8s.io/v1\n")
	block, _, ends := strings.Cut(block, "\n---\n")
	var role rbacv1.Role
	if err := yaml.UnmarshalStrict([]byte(block), &role); err != nil || !found || !ends {
		t.Fatalf("no Role on the page: %v\n%s", err, block)
	}
	want := byNamespace(kube.StoreRights("shop", "cache-drover"))[role.Namespace]
	if role.Kind != "Role" || !reflect.DeepEqual(role.Rules, want) {
		t.Errorf("%s\nwant %v", block, want)
	}
}

// written compares a generated file with what it is to be, or writes it, and tells whether it did.
func written(t *testing.T, file, want string) bool {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not what the lists of rights say (%v); UPDATE=1 go test ./deploy/controller writes it", file, err)
	}
	return false
}

func byNamespace(rights []kube.Right) map[string][]rbacv1.PolicyRule {
	out := map[string][]rbacv1.PolicyRule{}
	for _, r := range rights {
		out[r.Namespace] = append(out[r.Namespace], r.Rule)
	}
	return out
}

// rolesText is a role of that name, and its binding, for each namespace and for the cluster.
func rolesText(name, list string, rights []kube.Right) string {
	namespaces := []string{}
	for _, r := range rights {
		namespaces = append(namespaces, r.Namespace)
	}
	slices.Sort(namespaces) // the cluster's first
	var b strings.Builder
	fmt.Fprintf(&b, "# Generated from %s by UPDATE=1 go test ./deploy/controller; do not edit.\n", list)
	for i, namespace := range slices.Compact(namespaces) {
		if i > 0 {
			b.WriteString("---\n")
		}
		kind := "Role"
		if namespace == "" {
			kind = "ClusterRole"
		}
		heading(&b, kind, name, namespace)
		b.WriteString("rules:\n")
		for _, r := range rights {
			if r.Namespace == namespace {
				ruleText(&b, r)
			}
		}
		b.WriteString("---\n")
		heading(&b, kind+"Binding", name, namespace)
		fmt.Fprintf(&b, "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: %s\n  name: %s\n", kind, name)
		b.WriteString("subjects:\n  - kind: ServiceAccount\n    name: drover-controller\n    namespace: drover-system\n")
	}
	return b.String()
}

func heading(b *strings.Builder, kind, name, namespace string) {
	fmt.Fprintf(b, "apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata:\n  name: %s\n", kind, name)
	if namespace != "" {
		fmt.Fprintf(b, "  namespace: %s\n", namespace)
	}
	b.WriteString("  labels:\n    app.kubernetes.io/part-of: drover\n")
}

func ruleText(b *strings.Builder, r kube.Right) {
	groups := make([]string, len(r.Rule.APIGroups))
	for i, g := range r.Rule.APIGroups {
		if groups[i] = g; g == "" {
			groups[i] = `""`
		}
	}
	fmt.Fprintf(b, "  - apiGroups: [%s] # %s\n    resources: [%s]\n", strings.Join(groups, ", "), r.For, strings.Join(r.Rule.Resources, ", "))
	if len(r.Rule.ResourceNames) > 0 {
		fmt.Fprintf(b, "    resourceNames: [%s]\n", strings.Join(r.Rule.ResourceNames, ", "))
	}
	fmt.Fprintf(b, "    verbs: [%s]\n", strings.Join(r.Rule.Verbs, ", "))
}

func permissionsText(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Permissions\n\nWhat each part of drover has to be allowed, and what for. Generated from the lists that the code keeps (`kube/rights.go`, `aws/rights.go`) by\n`UPDATE=1 go test ./deploy/controller`; do not edit.\n")
	for _, part := range []struct {
		title, about string
		rights       []kube.Right
	}{
		{"A run: rotate, drain, abort", "`kube.Rights`. `pause` and `resume` of one run need no more.", kube.Rights},
		{"The controller", "`kube.ControllerRights`: those of a run, because it begins runs, and these. They are in `deploy/controller/base/rbac.yaml`.", beyond(kube.ControllerRights(), kube.Rights)},
		{"People's commands besides", "`kube.PersonRights`.", kube.PersonRights},
		{"Environments", "`kube.EnvironmentRights`, besides those of a run: for people who use `drover env` and `drover isolate`, and, in `deploy/controller/environments/rbac.yaml`, for a controller that switches environments. A controller that only takes notices has none of them. " +
			"Secrets and ConfigMaps are in no role: [environments.md](environments.md#rights) has one to copy that names them.", kube.EnvironmentRights},
		{"An environment's ConfigMap of holidays", "`kube.CalendarRights`. The Secret of a database: the same for that one Secret, get.", kube.CalendarRights("the ConfigMap's", "NAME")},
		{"Stores", "`kube.StoreRights`, for the controller and for people, each as far as the stores of a namespace need it. No role that drover installs has them: [stores.md](stores.md#rights) has one to copy.", kube.StoreRights("the store's")},
		{"drover history node", "`kube.HistoryRights`.", kube.HistoryRights},
		{"drover install", "`kube.InstallRights`. `drover install --controller` wants more: to create a namespace and roles one has to be an administrator.", kube.InstallRights},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| API group | resources | verbs | where | for |\n|---|---|---|---|---|\n", part.title, part.about)
		for _, r := range part.rights {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", groupName(r), things(r), strings.Join(r.Rule.Verbs, ", "), place(r), r.For)
		}
	}
	b.WriteString("\n## The eviction guard\n\n`deploy/controller/guard/rbac.yaml`, for the controller's service account: get and patch Secret `drover-system/drover-guard` and ")
	b.WriteString("ValidatingWebhookConfiguration `drover-guard`. Nothing when the guard is not installed.\n")
	b.WriteString("\n## drover imds\n\n`deploy/controller/imds/rbac.yaml`: get, create and patch `departures` of drover.dev. Nothing in AWS.\n")
	for _, part := range []struct {
		title, about string
		actions      []aws.Right
	}{
		{"The controller in AWS", "`aws.NoticeActions`. `drover setup --policy` prints them as a policy that is limited to the cluster's own groups and queues.", aws.NoticeActions},
		{"Environments in AWS: groups", "`aws.SwitchActions`: of those of the controller what is about groups, instances and load balancers, and these.", furtherActions(aws.SwitchActions, aws.NoticeActions...)},
		{"Environments in AWS: databases", "`aws.DatabaseActions`. Only environments with databases need them. *marked*: RDS allows it on databases that carry the tag `drover:environment` of the environment, which drover puts there first.", aws.DatabaseActions},
		{"Environments in AWS: records in a bucket", "`aws.ArchiveActions`. Only environments with `archive: s3://...` need them.", aws.ArchiveActions},
		{"drover isolate in AWS", "`aws.IsolateActions`, for the person who runs it; the controller never does. Besides them what environments' groups need.", furtherActions(aws.IsolateActions, slices.Concat(aws.NoticeActions, aws.SwitchActions)...)},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| action | on | for |\n|---|---|---|\n", part.title, part.about)
		for _, r := range part.actions {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Action, r.On, r.For)
		}
	}
	b.WriteString("\n## A policy for environments\n\nFor account 111122223333, cluster `prod` in eu-west-1 with its groups tagged, environment `staging` with instance `stg`, and `archive: s3://example-records/staging`. ")
	fmt.Fprintf(&b, "It goes beside the one that `drover setup --policy` prints.\n\n```json\n%s```\n", policyText(t))
	return b.String()
}

// policyText is an IAM policy with which an environment can be switched.
func policyText(t *testing.T) string {
	t.Helper()
	actions := map[pipeline.Scope][]string{}
	for _, r := range slices.Concat(aws.SwitchActions, aws.DatabaseActions, aws.ArchiveActions) {
		actions[pipeline.Scope(r.On)] = append(actions[pipeline.Scope(r.On)], r.Action)
	}
	w := pipeline.Wanted{Cluster: "prod", Account: "111122223333", Region: "eu-west-1"}
	mark, value := aws.MarkedCondition("staging")
	w.Environments = pipeline.Environments{Databases: []string{"instance stg"}, MarkKey: mark, Marks: []string{value}, Archives: []string{"example-records/staging"}}
	tag, owned := aws.GroupCondition(w.Cluster)
	text, err := w.Rights(pipeline.Found{}, actions, tag, owned)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// furtherActions are those of a list that others do not have.
func furtherActions(list []aws.Right, than ...aws.Right) []aws.Right {
	return slices.DeleteFunc(slices.Clone(list), func(r aws.Right) bool {
		return slices.ContainsFunc(than, func(o aws.Right) bool { return o.Action == r.Action })
	})
}

// beyond is what a list has more than another.
func beyond(all, less []kube.Right) []kube.Right {
	return slices.DeleteFunc(slices.Clone(all), func(r kube.Right) bool {
		return slices.ContainsFunc(less, func(l kube.Right) bool { return reflect.DeepEqual(r, l) })
	})
}

func groupName(r kube.Right) string {
	if g := strings.Join(r.Rule.APIGroups, ", "); g != "" {
		return g
	}
	return "core"
}

func things(r kube.Right) string {
	what := strings.Join(r.Rule.Resources, ", ")
	if len(r.Rule.ResourceNames) > 0 {
		what += " named " + strings.Join(r.Rule.ResourceNames, ", ")
	}
	return what
}

func place(r kube.Right) string {
	if r.Namespace == "" {
		return "cluster"
	}
	return r.Namespace
}
