package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"drover.dev/depart"
)

// Exit codes. They are part of the interface: scripts branch on them.
const (
	exitDone        = 0   // done, or nothing to do
	exitFailed      = 1   // an error
	exitChanges     = 2   // plan shows changes, only with --detailed-exitcode; check or stores found something worth mending
	exitBlocked     = 3   // a guard says no; nothing was done
	exitTimeout     = 4   // --timeout passed, or another process did not stop in time; what was begun can be gone on with
	exitRefused     = 5   // needs --yes
	exitTakenBack   = 6   // a person took the run back meanwhile (drover abort)
	exitUsage       = 64  // wrong flags or arguments
	exitInterrupted = 130 // Ctrl-C
)

// exit is an error with an exit code. Its message may be empty when everything has been said already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *exit) Unwrap() error { return e.err }

// app is one call of the command: its streams and global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	color    string
	output   string
	conn     connection
}

// silence has client-go's own log say nothing: it repeats what our errors say, without saying what to do. Errors go to a threshold of their own, and
// what is logged through a context to a logger of its own, so that the output alone is not enough.
func silence() {
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	klog.SetLoggerWithOptions(klog.Logger{}, klog.ContextualLogger(true))
}

// run is the whole program but for os.Exit.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	silence()
	a := &app{in: in, out: out, err: errs}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	ctx, stop := interruptible()
	defer stop()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var coded *exit
	if errors.As(err, &coded) {
		if msg := coded.Error(); msg != "" {
			fmt.Fprintln(errs, "drover:", msg)
		}
		return coded.code
	}
	fmt.Fprintln(errs, "drover:", err)
	if errors.Is(err, depart.ErrNothing) {
		return exitDone // already as it was asked for
	}
	if usageError(err) {
		return exitUsage
	}
	if ctx.Err() != nil {
		return exitInterrupted
	}
	return exitFailed
}

// interruptible returns a context that the first Ctrl-C ends; the second one leaves at once.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for range signals {
			if ctx.Err() != nil {
				os.Exit(exitInterrupted)
			}
			cancel()
		}
	}()
	return ctx, func() { signal.Stop(signals); close(signals); cancel() }
}

// usageError recognises cobra's own complaints about flags and arguments, which have no type.
func usageError(err error) bool {
	for _, begin := range []string{"unknown command", "unknown flag", "unknown shorthand", "accepts ", "requires ", "invalid argument", "flag needs", "required flag", "if any flags in the group", "bad flag"} {
		if strings.HasPrefix(err.Error(), begin) {
			return true
		}
	}
	return false
}

// checkColor checks a flag that every command has.
func (a *app) checkColor() error {
	switch a.color {
	case "auto", "always", "never":
		return nil
	}
	return usagef("--color %q: use auto, always or never", a.color)
}

// family makes a command that only holds others say so when it is called with something that none of them is: cobra would show its help, and succeed.
func family(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		return usagef("unknown command %q for %q; see %s --help", args[0], c.CommandPath(), c.CommandPath())
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "drover",
		Short: "Bring Kubernetes nodes and take them away without anybody noticing",
		Long: `Drover replaces and empties Kubernetes nodes on AWS/EKS without the people who use the workloads noticing.

It plans first, shows the plan, asks, and then goes through with it: pods leave under their PodDisruptionBudgets, each once,
and a machine is closed by its own id when it is empty and out of every load balancer.

Nothing is changed by plan, watch, explain, stores and status. Try everything without a cloud: drover sandbox demo rotate

Exit codes: 0 done or nothing to do, 1 failed, 2 plan shows changes (--detailed-exitcode) or check or stores found something worth mending, 3 blocked, 4 --timeout passed, 5 not approved,
6 somebody took the run back, 64 usage, 130 interrupted.`,
		Example:      "  drover status\n  drover plan rotate web\n  drover rotate web",
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	a.conn.flags(root.PersistentFlags())
	root.PersistentFlags().StringVar(&a.color, "color", "auto", "colours on a terminal: auto, always or never (NO_COLOR is honoured)")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.checkColor() }
	root.AddCommand(a.planCommand(), a.rotateCommand(), a.abortCommand(), a.rollbackCommand(), a.pauseCommand(), a.resumeCommand(), a.drainCommand(), a.moveCommand(), a.promoteCommand(), a.storesCommand(), a.envCommand(), a.isolateCommand(), a.watchCommand(),
		a.explainCommand(), a.statusCommand(), a.historyCommand(), a.controllerCommand(), a.imdsCommand(), a.installCommand(), a.setupCommand(), a.checkCommand(), a.sandboxCommand(), a.versionCommand())
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &exit{exitUsage, fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	})
	return root
}
