package kube

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
)

func TestHooksAreParsedAndPrintedBack(t *testing.T) {
	for text, want := range map[string]Hook{
		"exec: redis-cli save":           {command: "redis-cli save"},
		"exec:true":                      {command: "true"},
		"exec(sidecar): a (b): c":        {container: "sidecar", command: "a (b): c"},
		"exec: one\ntwo":                 {command: "one\ntwo"},
		"http://:8080/pre?move=1":        {port: 8080},
		"http:///pre":                    {port: 80},
		"https://orders.shop/pre":        {port: 443},
		"https://orders.shop:8443/a%20b": {port: 8443},
	} {
		got, err := ParseHook(" " + text + "\n")
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got.String() != text || got.container != want.container || got.command != want.command || got.port != want.port {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
		if (got.url != nil) == (got.command != "") {
			t.Errorf("%q: %+v is neither a call nor a command", text, got)
		}
	}
}

func TestHooksAreRefusedWhereTheyAreWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "want http://:PORT/PATH",
		"redis-cli save":         "want http://:PORT/PATH",
		"ftp://:21/x":            "want http://:PORT/PATH",
		"HTTP://:8080/":          "want http://:PORT/PATH",
		"exec redis-cli":         "exec: COMMAND or exec(CONTAINER): COMMAND",
		"exec(side: true":        "exec(CONTAINER): COMMAND",
		"exec:  ":                "no command after the colon",
		"exec(): true":           `container "" in the parentheses`,
		"exec(Side Car): true":   `container "Side Car" in the parentheses`,
		"http://:8080x/":         `invalid port ":8080x"`,
		"http://:0/":             `port "0": want 1 to 65535`,
		"http://:70000/":         `port "70000": want 1 to 65535`,
		"http://a:b@:8080/":      "credentials before the @",
		"http://:8080/\x7f":      "invalid control character",
		"exec(main) : redis-cli": "exec(CONTAINER): COMMAND",
	} {
		if got, err := ParseHook(text); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "hook ") {
			t.Errorf("%q: %+v, %v; want %q", text, got, err, want)
		}
	}
}

// What may be declared is what can be called.
func TestHooksAreDeclaredAsTheyAreCalled(t *testing.T) {
	for text, ok := range map[string]bool{
		"exec(redis): true": true, "https://host:8080/x": true, "http://:8080/x": true, "exec: true": true, "http://:80": true,
		"http://:70000/x": false, "http://a@:80/x": false, "exec:": false, "exec(): true": false, "redis-cli save": false,
	} {
		spec := plain()
		want := hook(fleet.HookPre)(&spec, text)
		_, err := ParseHook(text)
		if (want == "") != ok || (err == nil) != ok || (spec.Hooks[fleet.HookPre] == text) != ok {
			t.Errorf("%s: declared: want %q, called: %v", text, want, err)
		}
	}
}

// A right that one store's hook lacks is that store's trouble, and ends no run.
func TestHookWithoutTheRight(t *testing.T) {
	w := newWorld(t)
	w.node()
	p := w.pod("orders-0")
	_, err := w.client.CoreV1().Pods(p.Namespace).Patch(t.Context(), p.Name, types.StrategicMergePatchType, []byte(`{"status":{"podIP":"10.20.3.5","podIPs":[{"ip":"10.20.3.5"}]}}`), metav1.PatchOptions{}, "status")
	w.ok(err)
	s, err := OpenStreams(w.allow(w.name, rule("", []string{"get"}, "pods")))
	w.ok(err)
	for text, lacks := range map[string]string{"exec: true": "pods/exec", "http://:8080/": "pods/portforward"} {
		hook, err := ParseHook(text)
		w.ok(err)
		err = s.CallHook(t.Context(), s.Forward(), refOf(p), hook, time.Minute)
		w.refused(err, brokenWait, `call hook "`+text+`" in pod `+w.name+"/orders-0: ", lacks, "grant drover that right in namespace "+w.name+" (docs/stores.md has a Role to copy)")
		var fatal *fleet.Fatal
		if refused, ok := err.(*fleet.Refused); !ok || !refused.Denied || errors.As(err, &fatal) {
			t.Errorf("%s: %+v", text, err)
		}
	}
}

func TestLastOutputKeepsTheEnd(t *testing.T) {
	for _, c := range []struct {
		writes []string
		want   string
	}{
		{nil, ""},
		{[]string{"abc", "de"}, "abcde"},
		{[]string{"abc", "defgh"}, "(3 bytes before this were cut)\ndefgh"},
		{[]string{"0123456789", "", "x"}, "(6 bytes before this were cut)\n6789x"},
		{[]string{"aéé€"}, "(3 bytes before this were cut)\né€"},
		{[]string{"aa€€"}, "(3 bytes before this were cut)\n€"},
	} {
		o := &lastOutput{limit: 5}
		for _, w := range c.writes {
			if n, err := o.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("write %q: %d, %v", w, n, err)
			}
		}
		if got := o.String(); got != c.want {
			t.Errorf("%q: %q, want %q", c.writes, got, c.want)
		}
	}
}
