package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"drover.dev/fleet"
)

// textAtMost bounds what is read from a bucket: what drover keeps there is a few hundred kilobytes at most.
const textAtMost = 16 << 20

// Bucket keeps texts on S3.
type Bucket struct{ s3 *s3.Client }

// Bucket returns the hand on buckets of the account.
func (c *Cloud) Bucket() *Bucket { return &Bucket{c.s3} }

// byPath has a bucket be named in the path where somebody gave an endpoint: what answers there need not have a host name for each bucket.
func byPath(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil }

// Put writes a text, whatever was there.
func (b *Bucket) Put(ctx context.Context, bucket, key string, body []byte) error {
	return b.put(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body), ContentLength: sdk.Int64(int64(len(body)))})
}

// Create writes a text where none is. Where one is, whatever it says, the error is fs.ErrExist.
func (b *Bucket) Create(ctx context.Context, bucket, key string, body []byte) error {
	return b.put(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body), ContentLength: sdk.Int64(int64(len(body))), IfNoneMatch: sdk.String("*")})
}

func (b *Bucket) put(ctx context.Context, in *s3.PutObjectInput) error {
	what := "write " + address(*in.Bucket, *in.Key)
	_, err := b.s3.PutObject(ctx, in)
	switch {
	case codeIs(err, "PreconditionFailed"):
		return fmt.Errorf("%s: %w", what, fs.ErrExist)
	case codeIs(err, "ConditionalRequestConflict"):
		return fmt.Errorf("%s: %w", what, &fleet.Refused{Reason: "somebody else writes it at this moment"})
	}
	return aboutBucket(what, err)
}

// Get reads a text. Where there is none the error is fs.ErrNotExist; a bucket that does not exist is another one.
func (b *Bucket) Get(ctx context.Context, bucket, key string) ([]byte, error) {
	what := "read " + address(bucket, key)
	out, err := b.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if codeIs(err, "NoSuchKey") {
		return nil, fmt.Errorf("%s: %w", what, fs.ErrNotExist)
	}
	if err != nil {
		return nil, aboutBucket(what, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(io.LimitReader(out.Body, textAtMost+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case len(body) > textAtMost:
		return nil, fmt.Errorf("%s: it has more than %d bytes, so it is none of drover's", what, textAtMost)
	}
	return body, nil
}

// List returns the keys that begin with a prefix, in the order of S3. None is no error.
func (b *Bucket) List(ctx context.Context, bucket, prefix string) ([]string, error) {
	var out []string
	pages := s3.NewListObjectsV2Paginator(b.s3, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, aboutBucket("list "+address(bucket, prefix), err)
		}
		for _, o := range page.Contents {
			out = append(out, sdk.ToString(o.Key))
		}
	}
	return out, nil
}

func address(bucket, key string) string { return "s3://" + bucket + "/" + key }

// aboutBucket says what is wrong with a bucket, and what to do.
func aboutBucket(what string, err error) error {
	var none *s3types.NoSuchBucket
	switch {
	case errors.As(err, &none) || codeIs(err, "NoSuchBucket"):
		return fmt.Errorf("%s: there is no such bucket; create it, with versions kept, outside of the cluster's own account if that can be", what)
	case codeIs(err, "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"):
		return fmt.Errorf("%s: the bucket is in another region: %w", what, explain(err))
	}
	return doing(what, err)
}
