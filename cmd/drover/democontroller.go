package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"drover.dev/sandbox"
)

// demoController is drover controller as anybody would run it: this same program, in another process, with nothing but the environment.
type demoController struct {
	cmd   *exec.Cmd
	leads chan struct{} // closed when it says so
	gone  chan struct{} // closed when it has ended
	err   error         // how; read after gone
}

// startController sets the group up, with drover setup, and returns when the controller leads.
func (d *poolerDemo) startController(ctx context.Context) (*demoController, error) {
	if err := d.runSetup(ctx); err != nil {
		return nil, err
	}
	tell := func(line string) { d.say("drover", "", "%s", line) }
	return d.a.startController(ctx, d.w, tell, "--queue", demoQueue)
}

// startController starts a controller in the world, and returns when it leads.
func (a *app) startController(ctx context.Context, w *sandbox.World, tell func(line string), flags ...string) (*demoController, error) {
	fmt.Fprintf(a.err, "\n$ drover controller %s &\n", strings.Join(flags, " "))
	cmd, err := selfIn(w, append([]string{"controller", "--listen", "127.0.0.1:0"}, flags...)...)
	if err != nil {
		return nil, err
	}
	c := &demoController{cmd: cmd, leads: make(chan struct{}), gone: make(chan struct{})}
	said := &lines{tell: heard(tell, sync.OnceFunc(func() { close(c.leads) }))}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("drover controller: %w", err)
	}
	go func() {
		c.err = cmd.Wait()
		close(c.gone)
	}()
	select {
	case <-c.leads:
		return c, nil
	case <-c.gone:
		return nil, fmt.Errorf("drover controller ended while starting: %w", c.err)
	case <-ctx.Done():
		c.stop()
		return nil, ctx.Err()
	case <-time.After(leadLimit):
		c.stop()
		return nil, errors.New("drover controller does not lead")
	}
}

// demoQueue is what drover setup calls the queue of the sandbox's cluster; leadLimit is more than a lease lasts.
const (
	demoQueue = "drover-" + sandbox.EKSCluster
	leadLimit = time.Minute
)

// alive is an error when the controller has ended although nobody told it to. A demo without one has none to end.
func (c *demoController) alive() error {
	if c == nil {
		return nil
	}
	select {
	case <-c.gone:
		return fmt.Errorf("drover controller ended by itself: %w", c.err)
	default:
		return nil
	}
}

// stop ends the controller and waits for it. It may be called more than once.
func (c *demoController) stop() {
	if c == nil {
		return
	}
	_ = c.cmd.Process.Signal(os.Interrupt) // an error says that it has ended
	select {
	case <-c.gone:
	case <-time.After(15 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.gone
	}
}

// runSetup makes the queue, the rules and the hook.
func (d *poolerDemo) runSetup(ctx context.Context) error {
	fmt.Fprintf(d.a.err, "\n$ drover setup %s --yes\n", sandbox.PoolerGroup)
	cmd, err := selfIn(d.w, "setup", sandbox.PoolerGroup, "--yes", "--color", d.a.color)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = d.a.out, d.a.err
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("drover setup: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(os.Interrupt) })()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("drover setup: %w", err)
	}
	return nil
}

// selfIn is this program, to be run in a world.
func selfIn(w *sandbox.World, args ...string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), w.Env()...)
	return cmd, nil
}

// heard tells what a controller says, without its own time, and notes when it leads.
func heard(tell func(string), leads func()) func(string) {
	return func(line string) {
		if at, rest, ok := strings.Cut(line, "  "); ok {
			if _, err := time.Parse(time.RFC3339, at); err == nil {
				line = rest
			}
		}
		tell(line)
		if line == "leads" {
			leads()
		}
	}
}

// lines passes whole lines on.
type lines struct {
	tell func(string)
	rest string
}

func (l *lines) Write(b []byte) (int, error) {
	whole := strings.Split(l.rest+string(b), "\n")
	for _, line := range whole[:len(whole)-1] {
		l.tell(line)
	}
	l.rest = whole[len(whole)-1]
	return len(b), nil
}
