package archive

import (
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for in, want := range map[string]string{
		"file:///var/lib/drover":       "file:///var/lib/drover",
		"file:///var//lib/./drover/":   "file:///var/lib/drover",
		"file:///with%20space":         "file:///with%20space",
		"s3://copies":                  "s3://copies",
		"s3://copies/":                 "s3://copies",
		"s3://my.copies-1/team/drover": "s3://my.copies-1/team/drover",
		"s3://copies//team//drover/":   "s3://copies/team/drover",
	} {
		if p, err := ParseURL(in); err != nil || p.String() != want {
			t.Errorf("%s: %s, %v; want %s", in, p, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                              `archive "": scheme "": want file:///FOLDER or s3://BUCKET/PREFIX`,
		"/var/lib/drover":               `archive "/var/lib/drover": scheme ""`,
		"https://copies.example":        `scheme "https"`,
		"file://var/lib":                "its path is relative",
		"file:var/lib":                  "its path is relative",
		"file:///":                      "it names no folder",
		"file:///.":                     "it names no folder",
		"file://":                       "it names no folder",
		"file:///var/../etc":            "leaves what it names by ..",
		"file:///var/%2e%2e/etc":        "leaves what it names by ..",
		"file:///a%0ab":                 "control characters",
		"s3://":                         "it names no bucket",
		"s3:///prefix":                  "it names no bucket",
		"s3:copies":                     "its path is relative",
		"s3://Copies/x":                 `bucket "Copies"`,
		"s3://copies:443/x":             `bucket "copies:443"`,
		"s3://copies/../other":          "leaves what it names by ..",
		"s3://copies/x?versionId=1":     "no query",
		"s3://copies/x?":                "no query",
		"s3://key:p4ssword@copies/x":    `archive "s3://key:xxxxx@copies/x"`,
		"s3://key:p4ssword@copies:x/%z": "archive: no URL",
	} {
		_, err := ParseURL(in)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "p4ssword") {
			t.Errorf("%s: %v; want %q", in, err, want)
		}
	}
}
