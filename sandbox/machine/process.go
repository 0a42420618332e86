package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// process is a local process in a group of its own, and a task when it is a container's first one.
type process struct {
	mach  *Machine
	place place
	cmd   *exec.Cmd
	ended chan struct{}
	alive context.Context // ends with the process

	mu   sync.Mutex
	gone bool // reaped: the number may be somebody else's by now
	end  exit
}

// place is where a container's processes run: the same for its command, hooks and probes.
type place struct {
	p      *pod
	spec   *corev1.Container
	mounts mounts
	env    []string
	dir    string
	path   []string // where programs are looked up
}

var errDead = errors.New("the machine is dead")

// onThread runs f on one OS thread that lives as long as the manager. Linux sends a process its death signal when the *thread*
// that started it ends, and Go ends threads when it likes.
func (m *Manager) onThread(f func()) error {
	m.mu.Lock()
	if !m.threaded {
		m.threaded = true
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			for f := range m.thread {
				f()
			}
		}()
	}
	m.mu.Unlock()
	done := make(chan struct{})
	select {
	case m.thread <- func() { f(); close(done) }:
		<-done
		return nil
	case <-m.ctx.Done():
		return errDead
	}
}

// stdio is what a process reads and where it writes; nil is nothing, and nowhere.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// start runs argv. The machine knows the process before anybody else does, so Kill cannot miss it.
func (pl place) start(argv []string, std stdio) (*process, error) {
	program, err := pl.lookup(argv[0])
	if err != nil {
		return nil, err
	}
	mach := pl.p.mach
	cmd := &exec.Cmd{Path: program, Args: argv, Env: pl.env, Dir: pl.dir, Stdin: std.in, Stdout: std.out, Stderr: std.err, SysProcAttr: ownGroup()}
	// A child that outlives the first process keeps a pipe open; its output is lost rather than waited for. So is input that nobody reads.
	cmd.WaitDelay = time.Second
	pl.p.become(cmd, pl.spec)
	x := &process{mach: mach, place: pl, cmd: cmd, ended: make(chan struct{})}
	var cancel context.CancelFunc
	x.alive, cancel = context.WithCancel(mach.ctx)
	startErr := errDead
	err = mach.m.onThread(func() {
		mach.mu.Lock()
		defer mach.mu.Unlock()
		if mach.dead {
			return
		}
		if startErr = cmd.Start(); startErr == nil {
			mach.processes[x] = true
		}
	})
	if err := errors.Join(err, startErr); err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", program, startErr)
	}
	mach.m.lives.Go(func() {
		defer cancel()
		x.reap()
	})
	return x, nil
}

func (pl place) lookup(program string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	for _, dir := range pl.path {
		file := filepath.Join(dir, program)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", &refused{"StartError", fmt.Sprintf("program %q is in none of %s", program, strings.Join(pl.path, ":"))}
}

// reap waits for the process and notes how it ended.
func (x *process) reap() {
	x.await()
	x.end = exit{at: time.Now(), code: int32(x.cmd.ProcessState.ExitCode())}
	if ws, ok := x.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		x.end.signal = int32(ws.Signal())
		x.end.code = 128 + x.end.signal
	}
	x.mach.mu.Lock()
	delete(x.mach.processes, x)
	x.mach.mu.Unlock()
	close(x.ended)
}

func (x *process) signal(s syscall.Signal) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.gone {
		_ = syscall.Kill(-x.cmd.Process.Pid, s) // ESRCH: it is a zombie already
	}
}

func (x *process) done() <-chan struct{} { return x.ended }
func (x *process) exit() exit            { return x.end }
func (x *process) kill()                 { x.signal(syscall.SIGKILL) }

// term signals the first process only, as a container runtime does; passing it on is that one's job.
func (x *process) term() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.gone {
		_ = syscall.Kill(x.cmd.Process.Pid, syscall.SIGTERM)
	}
}

// startProcess runs a container's command, its output appended to the container's log.
func (c *container) startProcess(ctx context.Context) (task, error) {
	pl, err := c.place(ctx)
	if err != nil {
		return nil, err
	}
	var argv []string
	for _, a := range append(append([]string{}, c.spec.Command...), c.spec.Args...) {
		argv = append(argv, pl.mounts.rewrite(expand(a, pl.lookupEnv)))
	}
	name := c.p.mach.m.LogFile(c.p.namespace, c.p.name, c.p.uid, c.spec.Name)
	log, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	x, err := pl.start(argv, stdio{out: log, err: log})
	if err != nil {
		return nil, err
	}
	return x, nil
}

func (pl place) lookupEnv(name string) (string, bool) {
	for i := len(pl.env) - 1; i >= 0; i-- {
		if k, v, _ := strings.Cut(pl.env[i], "="); k == name {
			return v, true
		}
	}
	return "", false
}

// beside runs argv beside the container's process until it ends, or ctx or the container does; then it is killed.
func (x *process) beside(ctx context.Context, argv []string, std stdio) (exit, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(x.alive, cancel)()
	args := make([]string, len(argv))
	for i, a := range argv {
		args[i] = x.place.mounts.rewrite(a)
	}
	y, err := x.place.start(args, std)
	if err != nil {
		return exit{}, err
	}
	select {
	case <-y.ended:
	case <-ctx.Done():
		y.kill()
		<-y.ended
		return exit{}, fmt.Errorf("%s: stopped: %w", strings.Join(argv, " "), context.Cause(ctx))
	}
	return y.end, nil
}

// command is beside for probes and hooks: an exit code other than 0 is an error that quotes the output.
func (x *process) command(ctx context.Context, argv []string) error {
	out := &tail{}
	end, err := x.beside(ctx, argv, stdio{out: out, err: out})
	if err != nil {
		return err
	}
	if end.code != 0 {
		return fmt.Errorf("%s: exit code %d: %s", strings.Join(argv, " "), end.code, out)
	}
	return nil
}

func (x *process) hook(ctx context.Context, h *corev1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		return x.command(ctx, h.Exec.Command)
	case h.HTTPGet != nil:
		return x.place.get(ctx, h.HTTPGet)
	case h.Sleep != nil:
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(x.alive, cancel)()
		pause(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
	}
	return nil
}

// tail keeps the end of what is written to it, for an error message.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if n := len(t.buf) - 500; n > 0 {
		t.buf = t.buf[n:]
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
