package drover_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"drover.dev/fleet"
)

const module = "drover.dev"

// arrows says which packages of ours each package may import. A package that is not listed here is a new wall: add it with its arrows, and
// to ARCHITECTURE.md.
var arrows = map[string][]string{
	"fleet":             {},
	"depart":            {"fleet"},
	"evac":              {"fleet"},
	"admit":             {"fleet"},
	"notice":            {"fleet"},
	"pipeline":          {"fleet"},
	"schedule":          {"fleet"},
	"price":             {"fleet"},
	"env":               {"fleet", "evac", "schedule", "price"},
	"engine":            {"fleet", "depart", "evac", "env"},
	"api/v1alpha1":      {"fleet"},
	"deploy/crds":       {},
	"deploy/controller": {},
	"kube":              {"fleet", "api/v1alpha1", "deploy/crds"},
	"probe":             {},
	"aws":               {"fleet", "pipeline"},
	"imds":              {"fleet", "notice"},
	"redis":             {"fleet"},
	"postgres":          {"fleet"},
	"archive":           {"fleet"},
	"metrics":           {},
	"sandbox/cloud":     {},
	"sandbox/wire":      {"sandbox/cloud"},
	"sandbox/app":       {},
	"sandbox/database":  {"sandbox/cloud"},
	"sandbox/plane":     {},
	"sandbox/machine":   {},
	"sandbox/balancer":  {},
	"sandbox/witness":   {},
	"sandbox/jobs":      {},
	"sandbox/keys":      {},
	"sandbox/cluster":   {"fleet"},
	"sandbox/store":     {},
	"sandbox/fast":      {"fleet", "sandbox/cloud", "sandbox/cluster"},
	"sandbox":           {"sandbox/cloud", "sandbox/wire", "sandbox/plane", "sandbox/machine", "sandbox/balancer", "sandbox/database"},
	"cmd/drover":        {"*"},
	"scenario":          {"*"},
}

// bans are imports that a layer must not have, each with its reason. The prefix of a package path is enough on both sides.
var bans = []struct{ in, imports, why string }{
	{"fleet", "", "fleet is the leaf: the standard library only"},
	{"depart", "", "the mind thinks on snapshots: the standard library and fleet only"},
	{"evac", "", "the mind thinks on snapshots: the standard library and fleet only"},
	{"env", "", "the mind thinks on snapshots: the standard library, fleet and other minds only"},
	{"price", "", "what things cost depends on nothing but the lists: the standard library and fleet only"},
	{"engine", "k8s.io/", "the engine owns small interfaces; Kubernetes is kube's"},
	{"engine", "github.com/aws/", "the engine owns small interfaces; AWS is aws's"},
	{"notice", "", "what a message says depends on nothing but the message: the standard library and fleet only"},
	{"pipeline", "", "the mind thinks on what was found: the standard library and fleet only"},
	{"imds", "k8s.io/", "hands know nothing of each other"},
	{"admit", "k8s.io/client-go", "the guard answers; whoever composes it looks up and notes"},
	{"metrics", "k8s.io/", "what is counted is plain values"},
	{"metrics", "github.com/aws/", "what is counted is plain values"},
	{"kube", "github.com/aws/", "hands know nothing of each other"},
	{"aws", "k8s.io/", "hands know nothing of each other"},
	{"sandbox/cloud", "", "the simulated AWS is a state machine: the standard library only"},
	{"sandbox/store", "", "the simulated Redis is a state machine: the standard library only"},
	{"sandbox/cloud", "net/http", "the wire is sandbox/wire's"},
}

// pure packages decide; they must not be able to act, wait or look at a clock.
var pure = []string{"fleet", "depart", "evac", "env", "schedule", "price", "notice", "pipeline"}

var impure = []string{"context", "net", "net/http", "os", "os/exec", "sync", "log", "log/slog", "math/rand", "math/rand/v2"}

type pkg struct {
	ImportPath string
	Imports    []string
	GoFiles    []string
	Dir        string
	Doc        string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles,Dir,Doc", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestArrows(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if name == "" {
			continue // this test's own package
		}
		allowed, listed := arrows[name]
		if !listed {
			t.Errorf("package %s is not in the list of arrows", name)
			continue
		}
		for _, i := range p.Imports {
			ours, ok := strings.CutPrefix(i, module+"/")
			if ok && !contains(allowed, "*") && !contains(allowed, ours) {
				t.Errorf("%s imports %s: there is no such arrow", name, ours)
			}
		}
		for _, b := range bans {
			if name != b.in {
				continue
			}
			for _, i := range p.Imports {
				foreign := strings.Contains(strings.SplitN(i, "/", 2)[0], ".") && !strings.HasPrefix(i, module)
				if b.imports == "" && foreign || b.imports != "" && strings.HasPrefix(i, b.imports) {
					t.Errorf("%s imports %s: %s", name, i, b.why)
				}
			}
		}
	}
}

func TestMindIsPure(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if !contains(pure, name) {
			continue
		}
		for _, i := range p.Imports {
			if contains(impure, i) {
				t.Errorf("%s imports %s: a decision must be repeatable from a snapshot alone", name, i)
			}
		}
		out, err := exec.Command("grep", "-rnE", `time\.(Now|Since|Until|Sleep|After|NewTimer|NewTicker)\b`, "--include=*.go", "--exclude=*_test.go", p.Dir).CombinedOutput()
		if err == nil {
			t.Errorf("%s reads the clock; Now is a field of Snapshot:\n%s", name, out)
		}
	}
}

func TestEveryPackageSaysItsJob(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// The architecture page shows the arrows as they are held here. UPDATE=1 go test . writes them.
func TestArchitecturePage(t *testing.T) {
	const page, begin, end = "ARCHITECTURE.md", "<!-- arrows -->\n", "<!-- /arrows -->"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	i, j := strings.Index(text, begin), strings.Index(text, end)
	if i < 0 || j < i {
		t.Fatalf("%s: no place for the arrows between %q and %q", page, begin, end)
	}
	var b strings.Builder
	b.WriteString("| | imports of ours |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(arrows)) {
		to := strings.Join(arrows[name], ", ")
		if to == "*" {
			to = "all"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, to)
	}
	want := text[:i+len(begin)] + b.String() + text[j:]
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != text {
		t.Errorf("%s shows other arrows than arch_test.go; UPDATE=1 go test . -run ArchitecturePage writes them", page)
	}
	for _, p := range packages(t) {
		top, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/"), "/")
		if top != "" && !strings.Contains(text, "`"+top) {
			t.Errorf("%s does not say what %s is for", page, top)
		}
	}
}

// The page of findings says what the table says, and every code that a check gives is in it. UPDATE=1 go test . writes it.
func TestFindingsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Findings\n\nWhat `drover plan` may find before a run. A finding's code never changes. One that blocks must be mended first (exit code 3).\n\n| code | blocks | |\n|---|---|---|\n")
	known := map[string]bool{}
	for _, r := range fleet.Rules {
		known[r.Code] = true
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Code, r.Blocks, r.Means)
	}
	const page = "docs/findings.md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(page); err != nil || string(have) != b.String() {
		t.Errorf("%s is not what fleet.Rules says (%v); UPDATE=1 go test . -run FindingsPage writes it", page, err)
	}
	out, err := exec.Command("grep", "-rhoE", `(Code: |code[A-Z][A-Za-z]+ += )"[a-z-]+"`, "--include=*.go", "--exclude=*_test.go", "aws", "cmd", "evac", "kube").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"([a-z-]+)"`).FindAllStringSubmatch(string(out), -1) {
		if !known[m[1]] {
			t.Errorf("finding %s is not in fleet.Rules", m[1])
		}
	}
}

// A promise of the README is held by a test that exists.
func TestPromisesAreTested(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`([a-z/]+)` ((?:Test[A-Za-z]+(?:, )?)+)").FindAllStringSubmatch(string(readme), -1) {
		for _, name := range strings.Split(m[2], ", ") {
			if err := exec.Command("grep", "-rq", "^func "+name+"(", m[1]).Run(); err != nil {
				t.Errorf("README.md promises by %s of %s, which does not exist", name, m[1])
			}
		}
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
