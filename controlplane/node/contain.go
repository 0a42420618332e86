package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"drover.dev/controlplane/container"
)

// inside is where the node's folder is seen in its own mount namespace. Sockets
// of the kubelet lie below, and a socket's path has room for a hundred letters.
const inside = "/run/drover"

// contain runs the same command once more as the first process of a new PID
// namespace, with mounts of its own, and cleans up after it. Who starts many
// nodes may do so itself and pass --contained: that saves a process each.
func contain(ctx context.Context, args []string, data string) error {
	runtime.LockOSThread() // the parent-death signal is about this thread
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"kubelet", "--contained"}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true,
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		err = nil // that was us
	}
	if cleaned := container.Clean(context.WithoutCancel(ctx), networkFile(data)); err == nil {
		err = cleaned
	}
	return err
}

// settleIn makes the new mount namespace fit the new PID namespace.
func settleIn(data string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := os.MkdirAll(inside, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount(data, inside, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", data, inside, err)
	}
	for _, dir := range []string{"kubelet", "containers", "logs", "pki"} {
		if err := os.MkdirAll(filepath.Join(inside, dir), 0o700); err != nil {
			return err
		}
	}
	return nil
}
