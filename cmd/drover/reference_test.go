package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite generated files and goldens")

// golden compares a text with a file, or rewrites the file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what comes out now; see what changed with: go test ./cmd/drover -update && git diff\ngot:\n%s", file, got)
	}
}

func commands(root *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{root}
	for _, c := range root.Commands() {
		if !c.Hidden {
			out = append(out, commands(c)...)
		}
	}
	return out
}

func testRoot() *cobra.Command {
	return (&app{in: strings.NewReader(""), out: io.Discard, err: io.Discard}).root()
}

func TestEveryCommandHasAnExample(t *testing.T) {
	for _, c := range commands(testRoot()) {
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.SplitSeq(c.Example, "\n") {
			if !strings.Contains(line, c.Root().Name()+" ") {
				t.Errorf("%s: example %q calls something else", c.CommandPath(), line)
			}
		}
	}
}

func TestReferenceIsUpToDate(t *testing.T) {
	var b strings.Builder
	b.WriteString("# The commands of drover\n\nGenerated from the program by `go test ./cmd/drover -run TestReference -update`; do not edit.\n")
	for _, c := range commands(testRoot()) {
		document(&b, c)
	}
	golden(t, "../../docs/cli.md", b.String())
}

// document writes one command's section.
func document(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n", c.CommandPath())
	text := c.Long
	if text == "" {
		text = c.Short
		if !strings.HasSuffix(text, "?") {
			text += "."
		}
	}
	fmt.Fprintf(b, "%s\n", text)
	if c.Runnable() && !c.HasSubCommands() {
		fmt.Fprintf(b, "\n```\n%s\n```\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\nExamples:\n\n```console\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
	flagTable(b, "Flags", c.NonInheritedFlags())
}

func flagTable(b *strings.Builder, title string, flags *pflag.FlagSet) {
	rows := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if rows++; rows == 1 {
			fmt.Fprintf(b, "\n%s:\n\n| flag | default | |\n|---|---|---|\n", title)
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, defaultOf(f), strings.ReplaceAll(strings.ReplaceAll(usage, "|", `\|`), "\n", " "))
	})
}

// defaultOf is a flag's default as documented. Folders of the machine that the test runs on are none.
func defaultOf(f *pflag.Flag) string {
	switch {
	case f.DefValue == "", f.DefValue == "[]", f.DefValue == "false":
		return ""
	case filepath.IsAbs(f.DefValue):
		return "in the user's home"
	}
	return "`" + f.DefValue + "`"
}
