package scenario

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// All nodes under a Redis with Sentinels and a Redis Cluster are replaced while applications write: nothing that was acknowledged is lost, and nothing
// of the moves is left behind.
func TestRedisDemo(t *testing.T) { redisDemo(t) }

// The same when people drain the nodes with plain evictions, and the guard sees to it.
func TestRedisDemoUnderGuard(t *testing.T) { redisDemo(t, "--guard") }

func redisDemo(t *testing.T, flags ...string) {
	out, err := exec.CommandContext(t.Context(), program(), append([]string{"sandbox", "demo", "redis"}, flags...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.Count(string(out), "\n  ok "); got != 8 {
		t.Errorf("%d of 8 promises\n%s", got, out)
	}
	t.Logf("%s", out[strings.Index(string(out), "\nReport"):])
}

// The same evictions without drover: the rebuilt master is empty, Sentinels that are moved find it by its name, and what was written before is lost.
func TestNaiveRedisDemoLoses(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), program(), "sandbox", "demo", "redis", "--naive").CombinedOutput()
	if err == nil {
		t.Errorf("exit code 0")
	}
	if !regexp.MustCompile(`BROKEN  session: [1-9]\d* of \d+ acknowledged writes are lost`).Match(out) {
		t.Errorf("nothing is lost\n%s", out)
	}
	for _, line := range []string{`session +go-redis`, `session +rueidis`, `cache +go-redis`, `cache +rueidis`} {
		if !regexp.MustCompile(`(?m)^` + line + ` +\d+ +[1-9]\d* `).Match(out) {
			t.Errorf("no failed writes of %s\n%s", line, out)
		}
	}
	t.Logf("%s", out[max(strings.Index(string(out), "\nReport"), 0):])
}
