package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"drover.dev/controlplane/enter"
)

// process is the body of a real container.
type process struct {
	spec   *enter.Spec
	signal syscall.Signal // that asks for the end
	log    *logFile

	mu   sync.Mutex
	cmd  *exec.Cmd     // nil until started
	gone chan struct{} // closed when the process was waited for
}

func newProcess(spec *enter.Spec, signal syscall.Signal, log *logFile) *process {
	return &process{spec: spec, signal: signal, log: log, gone: make(chan struct{})}
}

func (p *process) start(ended func(exit)) error {
	if len(p.spec.Args) == 0 {
		return errors.New("no command: images are not pulled here, so a container of a process pod must name its own")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd, err := enter.Start(p.spec, p.log.stream("stdout"), p.log.stream("stderr"))
	if err != nil {
		return err
	}
	p.cmd = cmd
	go func() {
		cmd.Wait()
		ended(exit{code: enter.ExitCode(cmd)})
		close(p.gone)
	}()
	return nil
}

// stop signals the container's first process alone, as container runtimes do: a shell that does not pass the signal on keeps it from its
// children, here as in production.
func (p *process) stop(ctx context.Context, grace time.Duration) error {
	pid, running := p.running()
	if !running {
		return nil
	}
	if grace > 0 {
		syscall.Kill(pid, p.signal)
		select {
		case <-p.gone:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(grace):
		}
	}
	// The first process of a PID namespace takes all others with it.
	syscall.Kill(pid, syscall.SIGKILL)
	<-p.gone
	return nil
}

// running tells the process id, which is ours to use until gone is closed.
func (p *process) running() (pid int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0, false
	}
	select {
	case <-p.gone:
		return 0, false
	default:
		return p.cmd.Process.Pid, true
	}
}

func (p *process) exec(args []string, timeout time.Duration, stdout, stderr *bytes.Buffer) (int, error) {
	pid, running := p.running()
	if !running {
		return 0, errors.New("the container has ended")
	}
	return enter.Exec(pid, p.spec, args, timeout, stdout, stderr)
}

// specOf says what the container's process has to become.
func (r *Runtime) specOf(c *container) *enter.Spec {
	pod, config := c.sandbox.config, c.config
	security := config.GetLinux().GetSecurityContext()
	spec := &enter.Spec{
		Hostname:     pod.GetHostname(),
		Scratch:      r.dir(c.id),
		Hidden:       r.opt.Hidden,
		Files:        filesOf(pod),
		ReadOnlyRoot: security.GetReadonlyRootfs(),
		Args:         commandOf(config),
		Cwd:          config.GetWorkingDir(),
		Path:         r.opt.Path,
		UID:          userOf(security),
		GID:          uint32(security.GetRunAsGroup().GetValue()),
	}
	if !c.sandbox.hostNet {
		spec.Netns = c.sandbox.net.netns()
	}
	for _, g := range security.GetSupplementalGroups() {
		spec.Groups = append(spec.Groups, uint32(g))
	}
	for _, m := range config.GetMounts() {
		spec.Mounts = append(spec.Mounts, enter.Mount{Source: m.HostPath, Target: m.ContainerPath, ReadOnly: m.Readonly})
	}
	if r.opt.Path != "" {
		spec.Mounts = append(spec.Mounts, enter.Mount{Source: r.opt.Path, Target: r.opt.Path, ReadOnly: true})
	}
	spec.Env = envOf(config, r.opt.Path)
	return spec
}

// commandOf is the command, or arguments that look like one: the entry point of
// many images runs such.
func commandOf(config *runtimeapi.ContainerConfig) []string {
	args := config.GetArgs()
	if len(config.GetCommand()) == 0 && len(args) > 0 && strings.HasPrefix(args[0], "-") {
		return nil
	}
	return slices.Concat(config.GetCommand(), args)
}

// envOf adds to the pod's variables what every container has. PATH begins with
// our folder, so that a shell in the container finds the same commands.
func envOf(config *runtimeapi.ContainerConfig, first string) []string {
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	env := []string{"HOME=/root"}
	for _, kv := range config.GetEnvs() {
		if kv.Key == "PATH" {
			path = string(kv.Value)
			continue
		}
		env = append(env, kv.Key+"="+string(kv.Value))
	}
	if first != "" {
		path = first + ":" + path
	}
	return append(env, "PATH="+path)
}

// userOf is root for a container that leaves its user to its image: see imageUser.
func userOf(security *runtimeapi.LinuxContainerSecurityContext) uint32 {
	if id := security.GetRunAsUser().GetValue(); id != imageUser {
		return uint32(id)
	}
	return 0
}

// filesOf are the files that a runtime, not the kubelet, writes.
func filesOf(pod *runtimeapi.PodSandboxConfig) []enter.File {
	files := []enter.File{{Name: "/etc/hostname", Text: pod.GetHostname() + "\n"}}
	dns := pod.GetDnsConfig()
	if dns == nil {
		return files
	}
	var text strings.Builder
	if len(dns.Searches) > 0 {
		fmt.Fprintf(&text, "search %s\n", strings.Join(dns.Searches, " "))
	}
	for _, server := range dns.Servers {
		fmt.Fprintf(&text, "nameserver %s\n", server)
	}
	if len(dns.Options) > 0 {
		fmt.Fprintf(&text, "options %s\n", strings.Join(dns.Options, " "))
	}
	return append(files, enter.File{Name: "/etc/resolv.conf", Text: text.String()})
}

// stopSignal is the one that the pod names, or SIGTERM.
func stopSignal(config *runtimeapi.ContainerConfig) syscall.Signal {
	if s := unix.SignalNum(config.GetStopSignal().String()); s != 0 {
		return s
	}
	return syscall.SIGTERM
}
