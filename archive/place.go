package archive

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Place is where copies go: a folder, or a bucket with a prefix.
type Place struct {
	folder         string // absolute; "" for a bucket
	bucket, prefix string
}

func (p Place) String() string {
	if p.folder != "" {
		return (&url.URL{Scheme: "file", Path: p.folder}).String()
	}
	return "s3://" + path.Join(p.bucket, p.prefix)
}

// at names a copy, for people.
func (p Place) at(key string) string { return p.String() + "/" + key }

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// ParseURL reads file:///FOLDER or s3://BUCKET/PREFIX. Its errors name the URL, without a password that it might have.
func ParseURL(s string) (Place, error) {
	u, err := url.Parse(s)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err // which does not quote all of it
		}
		return Place{}, fmt.Errorf("archive: no URL: %w", err)
	}
	fail := func(format string, args ...any) (Place, error) {
		return Place{}, fmt.Errorf("archive %q: %s", u.Redacted(), fmt.Sprintf(format, args...))
	}
	switch {
	case u.Scheme != "file" && u.Scheme != "s3":
		return fail("scheme %q: want file:///FOLDER or s3://BUCKET/PREFIX", u.Scheme)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fail("want a folder or a bucket and a prefix, and nothing else: no user, no query, no fragment")
	case u.Opaque != "" || u.Scheme == "file" && u.Host != "":
		return fail("its path is relative: want file:/// with three slashes and an absolute path")
	case slices.Contains(strings.Split(u.Path, "/"), ".."):
		return fail("its path leaves what it names by ..: name the place itself")
	case strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fail("its path has control characters")
	case u.Scheme == "file" && path.Clean("/"+u.Path) == "/":
		return fail("it names no folder")
	case u.Scheme == "file":
		return Place{folder: path.Clean(u.Path)}, nil
	case u.Host == "":
		return fail("it names no bucket: want s3://BUCKET/PREFIX")
	case !bucketName.MatchString(u.Host):
		return fail("bucket %q: 3 to 63 small letters, digits, dots and hyphens", u.Host)
	}
	return Place{bucket: u.Host, prefix: strings.Trim(path.Clean("/"+u.Path), "/")}, nil
}

func (a *Archive) shelf(s string) (Place, shelf, error) {
	p, err := ParseURL(s)
	switch {
	case err != nil:
		return p, nil, err
	case p.folder != "":
		return p, folder(p.folder), nil
	case a.Bucket == nil:
		return p, nil, fmt.Errorf("archive %q: nothing here reaches S3", p)
	}
	return p, bucket{a.Bucket, p}, nil
}

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)

// validName keeps names within their folder: they become parts of paths.
func validName(what, s string) error {
	if !name.MatchString(s) {
		return fmt.Errorf("%s %q: letters, digits, dots, hyphens and underscores, at most 200, and a letter or digit first", what, s)
	}
	return nil
}
