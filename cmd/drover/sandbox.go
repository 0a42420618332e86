package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/sandbox"
	"drover.dev/sandbox/balancer"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/plane"
)

// sandboxFlags are shared by the commands that start a world.
type sandboxFlags struct {
	dir      string
	machines string
	empty    bool
}

func (a *app) sandboxCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "sandbox", Short: "A rehearsal on this machine: a real control plane, simulated AWS, traffic",
		Long: `A whole region on this machine: a real kube-apiserver, scheduler and controller-manager, AWS in its own protocols, nodes that register
and run pods, and a load balancer that carries traffic. Nothing leaves the machine and nothing costs money.`,
		Example: "  drover sandbox up\n  eval \"$(drover sandbox env)\"\n  drover sandbox down",
	}
	family(c)
	var f sandboxFlags
	c.PersistentFlags().StringVar(&f.dir, "dir", defaultDir(), "folder of the sandbox")
	c.AddCommand(a.sandboxUp(&f), a.sandboxDown(&f), a.sandboxStatus(&f), a.sandboxEnv(&f), a.sandboxPublish(&f), a.sandboxDo(&f), a.sandboxServe(&f), a.sandboxBuild(), a.serveHTTP(), a.serveApp(), a.demoCommand())
	return c
}

func defaultDir() string {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = os.TempDir()
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "drover", "sandbox")
}

// worldFile is what a running sandbox says about itself, in its folder.
type worldFile struct {
	PID      int      `json:"pid"`
	Started  string   `json:"started"` // the process's start time, to tell it from a later one with the same pid
	Endpoint string   `json:"endpoint"`
	Kube     string   `json:"kubeconfig"`
	Traffic  string   `json:"traffic"`
	Machines string   `json:"machines"`
	Env      []string `json:"env"`
}

func (f *sandboxFlags) path() string { return filepath.Join(f.dir, "sandbox.json") }

// read returns the running sandbox of the folder, or nil.
func (f *sandboxFlags) read() (*worldFile, error) {
	b, err := os.ReadFile(f.path())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	var w worldFile
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it if no sandbox is running", f.path(), err)
	}
	if started, err := startOf(w.PID); err != nil || started != w.Started {
		return nil, nil // it has ended without saying so
	}
	return &w, nil
}

// running returns the running sandbox; that there is none is an error.
func (f *sandboxFlags) running() (*worldFile, error) {
	w, err := f.read()
	if err == nil && w == nil {
		err = errNoSandbox
	}
	return w, err
}

// startOf reads when a process started, in the kernel's own unit.
func startOf(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", fmt.Errorf("process %d: %w", pid, err)
	}
	_, rest, ok := strings.Cut(string(b), ") ") // the program's name may hold spaces
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return "", fmt.Errorf("process %d: /proc/%d/stat is not as expected", pid, pid)
	}
	return fields[19], nil
}

var errNoSandbox = errors.New("no sandbox is running; start one with drover sandbox up")

func (a *app) sandboxUp(f *sandboxFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "up", Short: "Start a sandbox in the background", Args: cobra.NoArgs,
		Example: "  drover sandbox up\n  eval \"$(drover sandbox env)\"\n  drover status",
		RunE: func(c *cobra.Command, _ []string) error {
			if w, err := f.read(); err != nil || w != nil {
				if w != nil {
					fmt.Fprintf(a.err, "The sandbox is running already (pid %d).\n", w.PID)
				}
				return err
			}
			return a.bringUp(c.Context(), f)
		},
	}
	f.worldFlags(c)
	return c
}

func (f *sandboxFlags) worldFlags(c *cobra.Command) {
	c.Flags().StringVar(&f.machines, "machines", "auto", "what runs pods: kubelet (the real one; needs root), light (simulated), or auto")
	c.Flags().BoolVar(&f.empty, "empty", false, "start without groups and workload")
}

// bringUp starts the serving process and waits until its world is ready.
func (a *app) bringUp(ctx context.Context, f *sandboxFlags) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("sandbox folder: %w", err)
	}
	os.Remove(f.path())
	args := []string{"sandbox", "serve", "--dir", f.dir, "--machines", f.machines}
	if f.empty {
		args = append(args, "--empty")
	}
	log, pid, err := background(args, "sandbox")
	if err != nil {
		return fmt.Errorf("start the sandbox: %w", err)
	}
	fmt.Fprintf(a.err, "Starting (pid %d, log %s)\n", pid, log)
	shown := 0
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		text, _ := os.ReadFile(log)
		if len(text) > shown {
			a.err.Write(text[shown:])
			shown = len(text)
		}
		if w, err := f.read(); err == nil && w != nil {
			fmt.Fprintf(a.err, "\nReady. Point your shell at it with:\n\n  eval \"$(drover sandbox env)\"\n\nthen try: drover status; drover sandbox publish; drover plan rotate %s; drover rotate %s\n", sandbox.StageGroup, sandbox.StageGroup)
			return nil
		}
		if _, err := startOf(pid); err != nil {
			return fmt.Errorf("the sandbox ended while starting; its last words are above, more in %s", f.dir)
		}
		select {
		case <-ctx.Done():
			return &exit{exitInterrupted, fmt.Errorf("stopped watching; the sandbox goes on starting (drover sandbox down ends it)")}
		case <-tick.C:
		}
	}
}

// background starts this program again, on its own, with its output in a log.
func background(args []string, name string) (log string, pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", 0, err
	}
	out, err := os.CreateTemp("", "drover-"+name+"-*.log")
	if err != nil {
		return "", 0, err
	}
	defer out.Close()
	cmd := exec.Command(self, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	go cmd.Wait() // so that an early end is seen as one, not as a zombie
	return out.Name(), cmd.Process.Pid, nil
}

func (a *app) sandboxServe(f *sandboxFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Run a sandbox in the foreground", Args: cobra.NoArgs, Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error { return a.serveWorld(c.Context(), f) },
	}
	f.worldFlags(c)
	return c
}

// demoTiming is AWS about ten times faster than it is, so that a rehearsal takes a minute or two. Everything else is real time.
var demoTiming = cloud.Timing{
	ReactionTime: time.Second, StartTime: time.Second, BootTime: 5 * time.Second, BootJitter: 2 * time.Second, ShutdownTime: 3 * time.Second,
	RetainTime: time.Hour, RetryTime: 10 * time.Second,
	Databases: cloud.DatabaseTiming{Create: 2 * time.Second, Stop: 4 * time.Second, Start: 5 * time.Second, Backup: 5 * time.Second, Snapshot: 5 * time.Second, Restore: 5 * time.Second},
}

// startWorld starts a sandbox and fills its stage.
func (a *app) startWorld(ctx context.Context, dir, machines string, empty bool) (*sandbox.World, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	w, err := sandbox.Start(ctx, sandbox.Options{Dir: dir, Progress: a.err, Timing: demoTiming, Machines: sandbox.Machines(machines), Program: filepath.Dir(self)})
	if err != nil {
		return nil, err
	}
	if err := installInto(ctx, w.Plane.Kubeconfig()); err != nil {
		w.Stop()
		return nil, err
	}
	if empty {
		return w, nil
	}
	if err := w.Stage(ctx); err != nil {
		w.Stop()
		return nil, err
	}
	return w, nil
}

func (a *app) serveWorld(ctx context.Context, f *sandboxFlags) error {
	// Instances live in memory: nodes and pods of an earlier sandbox would be ghosts here.
	if err := os.RemoveAll(filepath.Join(f.dir, "world")); err != nil {
		return fmt.Errorf("clear the sandbox folder: %w", err)
	}
	w, err := a.startWorld(ctx, filepath.Join(f.dir, "world"), f.machines, f.empty)
	if err != nil {
		return err
	}
	defer w.Stop()
	if err := f.write(w); err != nil {
		return err
	}
	defer os.Remove(f.path())
	select {
	case <-ctx.Done():
		return nil
	case <-w.Plane.Done():
		return w.Plane.Err()
	}
}

func (f *sandboxFlags) write(w *sandbox.World) error {
	started, err := startOf(os.Getpid())
	if err != nil {
		return err
	}
	file := worldFile{PID: os.Getpid(), Started: started, Endpoint: w.Endpoint, Kube: w.Plane.Kubeconfig(), Machines: string(w.Machines), Env: w.Env()}
	if !f.empty {
		if file.Traffic, err = w.URL(sandbox.StageGroup); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("describe the sandbox: %w", err)
	}
	temp := f.path() + ".new"
	if err := os.WriteFile(temp, b, 0o600); err != nil {
		return fmt.Errorf("describe the sandbox: %w", err)
	}
	return os.Rename(temp, f.path())
}

func (a *app) sandboxDown(f *sandboxFlags) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Stop the sandbox", Args: cobra.NoArgs, Example: "  drover sandbox down",
		RunE: func(c *cobra.Command, _ []string) error {
			w, err := f.read()
			if err != nil {
				return err
			}
			if w == nil {
				fmt.Fprintln(a.err, "No sandbox is running.")
				return nil
			}
			if err := syscall.Kill(w.PID, syscall.SIGTERM); err != nil {
				return fmt.Errorf("stop sandbox, pid %d: %w", w.PID, err)
			}
			for range 300 {
				if started, err := startOf(w.PID); err != nil || started != w.Started {
					fmt.Fprintln(a.err, "Stopped.")
					return nil
				}
				time.Sleep(100 * time.Millisecond)
			}
			return fmt.Errorf("stop sandbox: pid %d is still running after 30 s; see %s", w.PID, f.dir)
		},
	}
}

func (a *app) sandboxStatus(f *sandboxFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "status", Short: "Say whether a sandbox is running, and where", Args: cobra.NoArgs, Example: "  drover sandbox status",
		RunE: func(c *cobra.Command, _ []string) error {
			w, err := f.running()
			if err != nil {
				return err
			}
			return a.print(w, func(out io.Writer) {
				fmt.Fprintf(out, "Running, pid %d, %s machines\n  kubeconfig  %s\n  AWS         %s\n  traffic     %s\n", w.PID, w.Machines, w.Kube, w.Endpoint, orDash(w.Traffic))
			})
		},
	}
	a.outputFlag(c)
	return c
}

func (a *app) sandboxEnv(f *sandboxFlags) *cobra.Command {
	return &cobra.Command{
		Use: "env", Short: "Print the variables that point a shell at the sandbox", Args: cobra.NoArgs,
		Example: "  eval \"$(drover sandbox env)\"",
		RunE: func(c *cobra.Command, _ []string) error {
			w, err := f.running()
			if err != nil {
				return err
			}
			for _, v := range w.Env {
				name, value, _ := strings.Cut(v, "=")
				if value == "" {
					fmt.Fprintf(a.out, "unset %s\n", name)
					continue
				}
				fmt.Fprintf(a.out, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
			}
			return nil
		},
	}
}

func (a *app) sandboxPublish(f *sandboxFlags) *cobra.Command {
	return &cobra.Command{
		Use: "publish", Short: "Publish a new image, so that every node of the sandbox is outdated", Args: cobra.NoArgs, Example: "  drover sandbox publish\n  drover plan rotate web",
		RunE: func(c *cobra.Command, _ []string) error {
			w, err := f.running()
			if err != nil {
				return err
			}
			return publish(c.Context(), w.Env, sandbox.StageGroup, a.err)
		},
	}
}

func (a *app) sandboxBuild() *cobra.Command {
	return &cobra.Command{
		Use: "build", Short: "Build the control plane beforehand (takes minutes, once)", Args: cobra.NoArgs, Example: "  drover sandbox build",
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := plane.Find(c.Context(), a.err)
			if err == nil {
				fmt.Fprintln(a.out, path)
			}
			return err
		},
	}
}

func (a *app) serveHTTP() *cobra.Command {
	var o balancer.ServeOptions
	var addr string
	c := &cobra.Command{
		Use: "serve-http", Short: "The sandbox's own HTTP service", Args: cobra.NoArgs, Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Name = os.Getenv("POD_NAME")
			return balancer.Serve(c.Context(), addr, o)
		},
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:8080", "address to listen on")
	c.Flags().DurationVar(&o.Work, "work", 20*time.Millisecond, "how long a request takes")
	c.Flags().DurationVar(&o.Linger, "linger", 0, "how long to go on serving after SIGTERM")
	return c
}
