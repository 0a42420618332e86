package archive

import (
	"context"
	"path"
	"strings"
)

// bucket is a prefix in a bucket.
type bucket struct {
	Bucket
	Place
}

func (b bucket) read(ctx context.Context, key string) ([]byte, error) {
	return b.Get(ctx, b.bucket, path.Join(b.prefix, key))
}

// write relies on S3's Put being all or nothing.
func (b bucket) write(ctx context.Context, key string, body []byte) error {
	return b.Put(ctx, b.bucket, path.Join(b.prefix, key), body)
}

func (b bucket) list(ctx context.Context, environment string) ([]string, error) {
	prefix := path.Join(b.prefix, environment) + "/"
	keys, err := b.List(ctx, b.bucket, prefix)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, k := range keys {
		if n, ok := strings.CutPrefix(k, prefix); ok {
			names = append(names, n)
		}
	}
	return copies(environment, names), nil
}
