//go:build unix && !linux

package plane

import (
	"os/exec"
	"syscall"
)

// dieWithParent can do less here than on Linux: a child outlives a parent that
// was killed before it could call Stop.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// containKubelet is never reached: KubeletSupported and the kubelet itself refuse.
func containKubelet(*exec.Cmd) {}
