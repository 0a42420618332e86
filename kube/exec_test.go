package kube

import (
	"strings"
	"testing"
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
