package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"drover.dev/fleet"
)

// What a terminal is told. The alternate screen leaves what was there before untouched.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// watchScreen draws the run on a terminal until it is over or the person leaves.
func (a *app) watchScreen(ctx context.Context, w *watcher) error {
	out := a.out.(*os.File)
	leave, restore, err := keys(a.in)
	if err != nil {
		return err
	}
	defer restore()
	fmt.Fprint(out, enterScreen)
	defer fmt.Fprint(out, leaveScreen)
	paint := func(code, text string) string { return a.paintOn(out, code, text) }
	var last *view
	for {
		v, err := w.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case isFatal(err):
			return err
		case err != nil && last != nil:
			v = last
			v.note = "trouble: " + err.Error()
		case err != nil:
			return err
		case v == nil:
			return nil
		}
		last = v
		width, height, err := term.GetSize(int(out.Fd()))
		if err != nil {
			return fmt.Errorf("size of the terminal: %w", err)
		}
		paintFrame(out, draw(v, width, height, paint))
		if !w.pace(ctx, leave) {
			return nil
		}
	}
}

// paintFrame writes all lines at once and none beyond the last: the screen must not scroll.
func paintFrame(out io.Writer, lines []string) {
	fmt.Fprint(out, home+strings.Join(lines, clearLine+"\r\n")+clearLine+clearBelow)
}

// keys puts the terminal into raw mode, and closes leave when q or Ctrl-C is typed. Without a terminal to type on, only a signal leaves.
func keys(in any) (leave <-chan struct{}, restore func(), err error) {
	never := make(chan struct{})
	f, ok := in.(*os.File)
	if !ok || !terminal(f) {
		return never, func() {}, nil
	}
	was, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, nil, fmt.Errorf("terminal: %w", err)
	}
	typed := make(chan struct{})
	go func() { // ends with the process: a read from a terminal cannot be called off
		defer close(typed)
		key := make([]byte, 1)
		for {
			if _, err := f.Read(key); err != nil || key[0] == 'q' || key[0] == 'Q' || key[0] == ctrlC {
				return
			}
		}
	}()
	return typed, func() { term.Restore(int(f.Fd()), was) }, nil
}

const ctrlC = 3

func isFatal(err error) bool {
	var fatal *fleet.Fatal
	return errors.As(err, &fatal)
}

// watchLines prints a line for each change, for logs and pipes.
func (a *app) watchLines(ctx context.Context, w *watcher) error {
	var last *view
	trouble := ""
	for {
		v, err := w.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case isFatal(err):
			return err
		case err != nil:
			if err.Error() != trouble {
				trouble = err.Error()
				fmt.Fprintf(a.out, "%s  trouble  %s\n", time.Now().UTC().Format(time.TimeOnly), trouble)
			}
		case v == nil:
			return nil
		default:
			trouble = ""
			for _, line := range changes(last, v) {
				fmt.Fprintln(a.out, line)
			}
			last = v
		}
		if !w.pace(ctx, nil) {
			return nil
		}
	}
}
