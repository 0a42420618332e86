package scenario

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A sandbox of one's own: up, looked at, used by a shell that knows nothing but its environment, and down without a trace.
func TestSandboxUpAndDown(t *testing.T) {
	home := t.TempDir()
	call := func(want int, script string, says ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+home, "DROVER="+program())
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Fatalf("%s: exit code %d, want %d\n%s", script, code, want, out)
		}
		for _, w := range says {
			if !strings.Contains(string(out), w) {
				t.Fatalf("%s: does not say %q\n%s", script, w, out)
			}
		}
		return string(out)
	}
	call(1, "$DROVER sandbox status", "no sandbox is running; start one with drover sandbox up")
	call(0, "$DROVER sandbox down", "No sandbox is running.")
	call(0, "$DROVER sandbox up --machines light", "Ready.")
	defer call(0, "$DROVER sandbox down")
	call(0, "$DROVER sandbox up", "running already")
	call(0, "$DROVER sandbox status", "light machines", "traffic     http://127.0.0.1:")
	call(0, `eval "$($DROVER sandbox env)" && $DROVER status`, "web", "tools")
	call(0, `eval "$($DROVER sandbox env)" && aws autoscaling describe-auto-scaling-groups --query 'AutoScalingGroups[].AutoScalingGroupName' --output text`, "tools", "web")
	call(0, "$DROVER sandbox publish", "version 2")
	call(0, `eval "$($DROVER sandbox env)" && $DROVER plan rotate web`, "Forecast: 14 pods move once each")
	call(0, `eval "$($DROVER sandbox env)" && $DROVER rotate tools --yes --color never`, "Done in")
	call(0, "$DROVER sandbox down", "Stopped.")
	call(1, `eval "$($DROVER sandbox env)"; $DROVER sandbox status`, "no sandbox is running")
}
