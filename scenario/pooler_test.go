package scenario

import (
	"os/exec"
	"strings"
	"testing"
)

// AWS takes the node of a connection pooler. The pooler's own process sees preStop and SIGTERM, every connection is closed properly, no worker
// hangs, and the queue keeps draining.
func TestPoolerDemo(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), program(), "sandbox", "demo", "pgbouncer").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.Count(string(out), "\n  ok "); got != 6 {
		t.Errorf("%d of 6 promises\n%s", got, out)
	}
	t.Logf("%s", out[strings.Index(string(out), "\nReport"):])
}

// The same world shows the damage without drover: the process is told nothing, and the workers that used it hang.
func TestNaivePoolerDemoHangs(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), program(), "sandbox", "demo", "pgbouncer", "--naive").CombinedOutput()
	if err == nil {
		t.Errorf("exit code 0")
	}
	for _, damage := range []string{"no preStop, no SIGTERM", "connections through it: 0 closed properly, 0 broken, 8 hung", "BROKEN  workers that hang at the end, without an answer for 5s: 8 of 16"} {
		if !strings.Contains(string(out), damage) {
			t.Errorf("does not say %q\n%s", damage, out)
		}
	}
}
