package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// readyWithin bounds a start, recovery included: one that cannot succeed ends by itself long before.
	readyWithin = 5 * time.Minute

	// partWithin is what is left of a server gets to end by itself, once it was told to.
	partWithin = 5 * time.Second

	// glance is how often a file of PostgreSQL's or the list of processes is looked at.
	glance = 20 * time.Millisecond

	// quoted bounds how much of a log an error quotes.
	quoted = 1500
)

// process is a server that was started.
type process struct {
	cmd  *exec.Cmd
	log  string
	from int64 // where in the log its part begins
	gone chan struct{}
}

func (p *process) alive() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// said is what it wrote to its log.
func (p *process) said() string {
	f, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, p.from, 1<<20))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// launch starts the server of a database. It is waited for by the thread that started it: the death signal comes when that thread ends.
func (s *Servers) launch(d *database, settings ...string) (*process, error) {
	log, err := os.OpenFile(d.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	args := []string{"-D", d.data(), "-c", "listen_addresses=" + d.Host, "-c", "port=" + strconv.Itoa(d.Port)}
	for _, set := range settings {
		args = append(args, "-c", set)
	}
	p := &process{log: log.Name(), from: info.Size(), gone: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(s.programs[d.Major], "postgres"), args...)
	s.dress(p.cmd, d.Major)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = d.dir, log, log
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = p.cmd.Wait()
		s.opt.Log.Info("PostgreSQL ended", "database", d.id, "err", err)
		close(p.gone)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// dress gives a program of PostgreSQL's its account, an environment without anybody's settings, and an end with ours.
func (s *Servers) dress(cmd *exec.Cmd, major int) {
	cmd.Env = []string{
		"PATH=" + s.programs[major] + string(os.PathListSeparator) + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC",
		"PGPASSFILE=" + s.passFile(), "PGSSLMODE=disable", "PGCONNECT_TIMEOUT=10",
	}
	cmd.SysProcAttr = dieWithUs()
	cmd.SysProcAttr.Credential = s.owner
}

// tool runs a program of PostgreSQL's to its end. Its input may hold secrets: only what it says itself is told.
func (s *Servers) tool(ctx context.Context, major int, input, name string, args ...string) error {
	runtime.LockOSThread() // the death signal comes when the thread ends that started it
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, filepath.Join(s.programs[major], name), args...)
	s.dress(cmd, major)
	cmd.Dir, cmd.Stdin, cmd.WaitDelay = s.opt.Dir, strings.NewReader(input), time.Second
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("%s: %w: %s", name, err, end(said.String()))
	}
	return nil
}

// end is the last part of a log, from the beginning of a line.
func end(text string) string {
	text = strings.TrimSpace(text)
	if len(text) <= quoted {
		return text
	}
	_, whole, _ := strings.Cut(text[len(text)-quoted:], "\n")
	return whole
}

var errEnded = errors.New("postgres ended while starting")

// ready waits until a server takes connections, with whatever it has to recover before.
func (p *process) ready(ctx context.Context, d *database) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, fmt.Errorf("not ready after %s", readyWithin))
	defer cancel()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		if d.status(p.cmd.Process.Pid) == "ready" {
			return nil
		}
		select {
		case <-p.gone:
			return fmt.Errorf("%w: %s", errEnded, end(p.said()))
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w: %s", context.Cause(ctx), end(p.said()))
		case <-tick.C:
		}
	}
}

// status is what the server with that number says of itself in its pid file: its number is in the first line, the word in the eighth.
func (d *database) status(pid int) string {
	text, err := os.ReadFile(filepath.Join(d.data(), "postmaster.pid"))
	if err != nil {
		return "" // not yet
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 || strings.TrimSpace(lines[0]) != strconv.Itoa(pid) {
		return ""
	}
	return strings.TrimSpace(lines[7])
}

// stop ends a server in order, its clients' sessions at once.
func (p *process) stop(ctx context.Context) error {
	if !p.alive() {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal postgres: %w", err)
	}
	select {
	case <-p.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of postgres: %w: %s", context.Cause(ctx), end(p.said()))
	}
}

// kill ends a server at once, its children with it.
func (p *process) kill() error {
	for _, signal := range []os.Signal{syscall.SIGQUIT, os.Kill} { // the first is its "immediate shutdown"
		if !p.alive() {
			return nil
		}
		if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("signal postgres: %w", err)
		}
		select {
		case <-p.gone:
		case <-time.After(partWithin):
		}
	}
	if p.alive() {
		return errors.New("postgres cannot be killed")
	}
	return nil
}

// clear ends all processes that live in a data directory, and takes a pid file away that nobody stands behind: those of a server that was killed,
// or of an earlier process of ours. Nobody else may use the folder, which is locked.
func (d *database) clear() error {
	if err := d.server().kill(); err != nil {
		return err
	}
	if err := evict(d.data()); err != nil {
		return err
	}
	if !staleIsKnown {
		return nil
	}
	return os.RemoveAll(filepath.Join(d.data(), "postmaster.pid"))
}

func evict(data string) error {
	signal := syscall.SIGQUIT // "immediate shutdown"
	for began, told := time.Now(), false; ; time.Sleep(glance) {
		pids, err := inhabitants(data)
		if err != nil || len(pids) == 0 {
			return err
		}
		switch waited := time.Since(began); {
		case waited > 2*partWithin:
			return fmt.Errorf("processes %v live in %s and cannot be ended", pids, data)
		case waited > partWithin:
			signal, told = syscall.SIGKILL, false
		}
		if told {
			continue
		}
		told = true
		for _, pid := range pids {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end process %d, which lives in %s: %w", pid, data, err)
			}
		}
	}
}

// free says whether nobody listens there.
func free(host string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
