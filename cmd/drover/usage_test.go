package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// Wrong flags and arguments are told before anything is connected.
func TestUsage(t *testing.T) {
	t.Setenv("KUBECONFIG", "/nonexistent")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"rotate", 64, "requires at least 1 arg"},
		{"rotate web --canary -1m", 64, "--canary -1m0s: must be positive"},
		{"rotate web --bake -1m", 64, "--bake -1m0s: must be positive"},
		{"rotate web --bake soon", 64, `invalid argument "soon" for "--bake"`},
		{"rotate web --probe shop/healthz", 64, `--probe: probe "shop/healthz": want http://`},
		{"rotate web --probe prometheus=http://prom", 64, "says no query"},
		{"rotate web --surge 0", 64, `--surge "0": want a number of nodes`},
		{"rotate web --older-than -1h", 64, "--older-than -1h0m0s: must be positive"},
		{"plan rotate web --selector !", 64, "--selector"},
		{"plan rotate web -o xml", 64, "not a format"},
		{"rotate web", 1, "no region; set AWS_REGION or pass --region"},
		{"abort", 64, "accepts 1 arg"},
		{"rollback web api", 64, "accepts 1 arg"},
		{"pause web --all", 64, "--all and web: choose one"},
		{"resume web --all", 64, "--all and web: choose one"},
		{"pause a b", 64, "accepts at most 1 arg"},
		{"pause web --kubeconfig /nonexistent", 1, "/nonexistent"},
		{"install --kubeconfig /nonexistent", 1, "/nonexistent"},
		{"install --environments", 64, "--environments: for --controller only"},
		{"install now", 64, "unknown command"},
		{"watch a b", 64, "accepts at most 1 arg"},
		{"explain pod", 64, "accepts 1 arg"},
		{"move", 64, "accepts 1 arg"},
		{"move shop/a -n blue", 64, "pod shop/a is not in namespace blue"},
		{"move a --kubeconfig /nonexistent", 1, "/nonexistent"},
		{"promote a --force --takeover", 64, "--force or --takeover, not both"},
		{"promote", 64, "accepts 1 arg"},
		{"stores a b", 64, "accepts at most 1 arg"},
		{"stores -o xml", 64, "not a format"},
		{"stores --kubeconfig /nonexistent", 1, "/nonexistent"},
		{"env stop", 64, "which environment? Name it, or a file with --file"},
		{"env stop staging --for -1h", 64, "--for -1h0m0s: must be positive"},
		{"env stop staging --force all", 64, "--force all: that is no code of a finding that may be overridden: env-guests"},
		{"env start staging --force env-jobs", 64, "unknown flag: --force"},
		{"env plan staging qa", 64, "accepts at most 1 arg"},
		{"env plan staging -f /nonexistent", 1, "environments: open /nonexistent"},
		{"env plan staging --prices /nonexistent", 1, "price list: open /nonexistent"},
		{"env plan staging", 1, "no region; set AWS_REGION or pass --region"},
		{"env status", 64, "accepts 1 arg"},
		{"env list --kubeconfig /nonexistent", 1, "/nonexistent"},
		{"env apply", 64, "required flag(s) \"file\" not set"},
		{"env check -f /nonexistent", 1, "environments: open /nonexistent"},
		{"env repair staging --from /nonexistent", 1, "copy of a record: open /nonexistent"},
		{"env off staging", 64, `unknown command "off" for "drover env"`},
		{"isolate", 64, "accepts 1 arg"},
		{"isolate staging --apply --group-only", 64, "if any flags in the group [apply group-only]"},
		{"isolate staging --max -1", 64, "--max -1: must be positive"},
		{"explain workload", 64, "accepts 1 arg"},
		{"explain departure a b", 64, "accepts 1 arg"},
		{"nope", 64, "unknown command"},
		{"plan rotat web", 64, `unknown command "rotat" for "drover plan"; see drover plan --help`},
		{"explain nodes a", 64, `unknown command "nodes" for "drover explain"`},
		{"sandbox start", 64, `unknown command "start" for "drover sandbox"`},
		{"sandbox demo drain", 64, `unknown command "drain" for "drover sandbox demo"`},
		{"plan", 0, "drover plan [command]"},
		{"version --color bogus", 64, `--color "bogus": use auto, always or never`},
		{"drain n --undo --force", 64, "if any flags in the group [force undo]"},
		{"drain n --undo --wait=false", 64, "if any flags in the group [wait undo]"},
		{"drain n --undo --expect-plan x", 64, "if any flags in the group [expect-plan undo]"},
		{"rotate web --probe https://u:secret@shop", 64, "carries credentials"},
		{"rotate --nope", 64, "unknown flag: --nope"},
		{"version", 0, "drover "},
	} {
		var out, errs bytes.Buffer
		code := run(strings.Fields(tc.args), strings.NewReader(""), &out, &errs)
		if code != tc.code || !strings.Contains(out.String()+errs.String(), tc.says) {
			t.Errorf("drover %s: exit code %d, want %d with %q:\n%s%s", tc.args, code, tc.code, tc.says, out.String(), errs.String())
		}
	}
}

func TestNobodyIsThereToAnswer(t *testing.T) {
	var errs bytes.Buffer
	a := &app{in: strings.NewReader("yes\n"), err: &errs}
	if err := a.approve(t.Context(), "Go?", false); err == nil || err.(*exit).code != exitRefused {
		t.Errorf("without a terminal: %v", err)
	}
	if err := a.approve(t.Context(), "Go?", true); err != nil {
		t.Errorf("with --yes: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	for text, code := range map[string]int{"y\n": 0, " Yes\n": 0, "n\n": exitRefused, "\n": exitRefused, "y": exitRefused} {
		err := answered(t.Context(), strings.NewReader(text))
		var coded *exit
		if code == 0 && err != nil || code != 0 && (!errors.As(err, &coded) || coded.code != code) {
			t.Errorf("%q: %v", text, err)
		}
	}
	never, typist := io.Pipe()
	defer typist.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var coded *exit
	if err := answered(ended, never); !errors.As(err, &coded) || coded.code != exitInterrupted {
		t.Errorf("Ctrl-C at the question: %v", err)
	}
}
