package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"

	"drover.dev/engine"
)

// outputFlag adds -o to a command that prints data.
func (a *app) outputFlag(c *cobra.Command) {
	c.Flags().StringVarP(&a.output, "output", "o", "table", "output format: table, json or yaml")
	c.PreRunE = func(*cobra.Command, []string) error {
		switch a.output {
		case "table", "json", "yaml":
			return nil
		}
		return &exit{exitUsage, fmt.Errorf("--output %q: not a format; use table, json or yaml", a.output)}
	}
}

// print writes a document in the chosen format; table is called for the human one.
func (a *app) print(document any, table func(io.Writer)) error {
	switch a.output {
	case "json":
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		return enc.Encode(document)
	case "yaml":
		b, err := yaml.Marshal(document)
		if err != nil {
			return fmt.Errorf("print as yaml: %w", err)
		}
		_, err = a.out.Write(b)
		return err
	}
	table(a.out)
	return nil
}

// columns prints rows under a header, aligned.
func columns(w io.Writer, header string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.ReplaceAll(header, " ", "\t"))
	for _, r := range rows {
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	tw.Flush()
}

// paint colours a word on stderr for people, when it is a terminal that wants it.
func (a *app) paint(code, text string) string { return a.paintOn(a.err, code, text) }

func (a *app) paintOn(w io.Writer, code, text string) string {
	if a.color == "never" || a.color == "auto" && (os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !terminal(w)) {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	green  = "32"
	yellow = "33"
	red    = "31"
	dim    = "2"
	bold   = "1"
)

func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// teller prints notes of a run on stderr, a line each.
func (a *app) teller(began time.Time) func(engine.Note) {
	return func(n engine.Note) {
		at := fmt.Sprintf("%7s", "+"+n.At.Sub(began).Round(time.Second).String())
		switch {
		case n.Err != nil && n.Action != nil:
			fmt.Fprintf(a.err, "%s  %s %s: %v %s\n", at, a.paint(yellow, "not yet "), n.Action, n.Err, a.paint(dim, "(again in "+n.Again.String()+")"))
		case n.Err != nil:
			fmt.Fprintf(a.err, "%s  %s %v %s\n", at, a.paint(red, "trouble "), n.Err, a.paint(dim, "(again in "+n.Again.String()+")"))
		case n.Hold != nil:
			fmt.Fprintf(a.err, "%s  %s %s\n", at, a.paint(dim, "waiting "), a.paint(dim, fmt.Sprintf("%s (for %s)", n.Hold, n.Hold.For(n.At))))
		case n.Action != nil:
			fmt.Fprintf(a.err, "%s  %s %s %s\n", at, a.paint(green, "done    "), n.Action, a.paint(dim, "· "+n.Action.Why))
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// counted is a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func verbS(n int) string {
	if n == 1 {
		return "s"
	}
	return ""
}
