package plane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// stopPatience is what a component gets to leave after SIGTERM. All of them
	// need well under a second when nothing is wrong.
	stopPatience = 5 * time.Second

	// tailBytes is how much of a log an error quotes at most.
	tailBytes = 2048
)

// child is one process of ours. It dies with this process, however that ends.
type child struct {
	name string
	log  string // file
	cmd  *exec.Cmd
	gone chan struct{} // closed once the process was waited for
	err  error         // how it ended; read after gone
}

// startChild runs a program under the given name, its output appended to the log.
func startChild(name, log string, cmd *exec.Cmd) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	dieWithParent(cmd)
	c := &child{name: name, log: log, cmd: cmd, gone: make(chan struct{})}
	if err := spawn(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		c.err = cmd.Wait()
		close(c.gone)
	}()
	return c, nil
}

// stop ends the process: SIGTERM, and SIGKILL when patience is over. It returns
// once the process is gone; an unwilling one is not an error.
func (c *child) stop(patience time.Duration) {
	c.signal(syscall.SIGTERM)
	select {
	case <-c.gone:
	case <-time.After(patience):
		c.kill()
	}
}

// kill ends the process at once and waits for it.
func (c *child) kill() {
	c.signal(syscall.SIGKILL)
	<-c.gone
}

// signal is silent about a process that has already gone.
func (c *child) signal(s os.Signal) {
	if err := c.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		panic(fmt.Sprintf("signal %s to our child %s: %v", s, c.name, err))
	}
}

// obituary says how the process ended, in its own last words. Call it after gone.
func (c *child) obituary() error {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("%s ended by itself: %s; the end of %s:\n%s", c.name, how, c.log, tail(c.log))
}

func tail(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		f.Seek(-tailBytes, io.SeekEnd)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text), 12)
}

// spawn starts a command from the one thread that starts all our children. The
// kernel sends the parent-death signal when the *thread* that forked ends, and Go
// ends threads as it likes; this one is locked and never returns.
func spawn(cmd *exec.Cmd) error {
	result := make(chan error)
	spawner() <- func() { result <- cmd.Start() }
	return <-result
}

var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// lockFile takes the exclusive lock of a file, made if needed, waiting for it
// until the context ends. The lock goes with the process that holds it.
func lockFile(ctx context.Context, file string) (unlock func(), err error) {
	for {
		unlock, err := tryLock(file)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the lock %s: %w", file, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tryLock is lockFile without the waiting: EWOULDBLOCK says that it is held.
func tryLock(file string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return func() { f.Close() }, nil
}
