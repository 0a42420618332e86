package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// usualS3 is what LoadDefaultConfig makes of a client of S3, checksums and all, with buckets in the path.
func usualS3(o *s3.Options) {
	o.UsePathStyle = true
	o.RequestChecksumCalculation, o.ResponseChecksumValidation = aws.RequestChecksumCalculationWhenSupported, aws.ResponseChecksumValidationWhenSupported
}

// bucket makes the bucket "records" through the client.
func (r *rig) bucket() *s3.Client {
	r.t.Helper()
	client := s3.NewFromConfig(r.cfg, usualS3)
	ok[*s3.CreateBucketOutput](r.t)(client.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: new("records"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(r.cloud.Region())},
	}))
	return client
}

func TestObjectsOverTheWire(t *testing.T) {
	r := newRig(t)
	client := r.bucket()
	key, body := "staging/r-1 + <more>/ä.json", strings.Repeat("0123456789", 100_000)
	made := ok[*s3.PutObjectOutput](t)(client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: new("records"), Key: &key, Body: strings.NewReader(body), IfNoneMatch: new("*"), ContentType: new("application/json"), Metadata: map[string]string{"run": "r-1"},
	}))
	_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: new("records"), Key: &key, Body: strings.NewReader("other"), IfNoneMatch: new("*")})
	r.code(err, "PreconditionFailed", "")
	got := ok[*s3.GetObjectOutput](t)(client.GetObject(ctx, &s3.GetObjectInput{Bucket: new("records"), Key: &key}))
	text, err := io.ReadAll(got.Body) // the SDK checks the checksum on the way
	if err != nil || string(text) != body || *got.ContentType != "application/json" || got.Metadata["run"] != "r-1" || *got.ETag != *made.ETag || got.ChecksumCRC32 == nil {
		t.Fatalf("got %d bytes, %v: %+v", len(text), err, got)
	}
	head := ok[*s3.HeadObjectOutput](t)(client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: new("records"), Key: &key}))
	if *head.ContentLength != int64(len(body)) || *head.ETag != *made.ETag || !head.LastModified.Equal(r.clock.Now()) {
		t.Fatalf("head %+v", head)
	}
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: new("records"), Key: &key, Body: strings.NewReader("v2"), IfMatch: new(`"0123"`)})
	r.code(err, "PreconditionFailed", "")
	ok[*s3.PutObjectOutput](t)(client.PutObject(ctx, &s3.PutObjectInput{Bucket: new("records"), Key: &key, Body: strings.NewReader("v2"), IfMatch: made.ETag}))
	ok[*s3.DeleteObjectOutput](t)(client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: new("records"), Key: &key}))
	var missing *types.NoSuchKey
	if _, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: new("records"), Key: &key}); !errors.As(err, &missing) {
		t.Fatalf("get: %v", err)
	}
	var absent *types.NotFound
	if _, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: new("records"), Key: &key}); !errors.As(err, &absent) {
		t.Fatalf("head: %v", err)
	}
	var noBucket *types.NoSuchBucket
	if _, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: new("none")}); !errors.As(err, &noBucket) {
		t.Fatalf("list: %v", err)
	}
	var owned *types.BucketAlreadyOwnedByYou
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: new("records"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	if !errors.As(err, &owned) {
		t.Fatalf("create: %v", err)
	}
}

func TestObjectsComeInPages(t *testing.T) {
	r := newRig(t)
	client := r.bucket()
	for n := range 25 {
		ok[*s3.PutObjectOutput](t)(client.PutObject(ctx, &s3.PutObjectInput{Bucket: new("records"), Key: new(fmt.Sprintf("a/%02d", n)), Body: strings.NewReader("x")}))
	}
	ok[*s3.PutObjectOutput](t)(client.PutObject(ctx, &s3.PutObjectInput{Bucket: new("records"), Key: new("b"), Body: strings.NewReader("x")}))
	var got []string
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: new("records"), Prefix: new("a/"), MaxKeys: new(int32(10)), StartAfter: new("a/02")})
	for pages.HasMorePages() {
		for _, o := range ok[*s3.ListObjectsV2Output](t)(pages.NextPage(ctx)).Contents {
			got = append(got, *o.Key)
		}
	}
	if len(got) != 22 || got[0] != "a/03" || got[21] != "a/24" {
		t.Fatalf("pages %q", got)
	}
}

func TestS3ChecksumsInAllForms(t *testing.T) {
	r := newRig(t)
	client := r.bucket()
	for _, algorithm := range []types.ChecksumAlgorithm{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"} {
		ok[*s3.PutObjectOutput](t)(client.PutObject(ctx, &s3.PutObjectInput{Bucket: new("records"), Key: new("k"), Body: strings.NewReader("hello"), ChecksumAlgorithm: algorithm}))
		got := ok[*s3.GetObjectOutput](t)(client.GetObject(ctx, &s3.GetObjectInput{Bucket: new("records"), Key: new("k"), ChecksumMode: types.ChecksumModeEnabled}))
		if text, err := io.ReadAll(got.Body); err != nil || string(text) != "hello" {
			t.Errorf("%s: %q, %v", algorithm, text, err)
		}
	}
	put := func(body string, headers ...string) int {
		q, err := http.NewRequest("PUT", r.url+"/records/raw", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260301/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0")
		for n := 0; n < len(headers); n += 2 {
			q.Header.Set(headers[n], headers[n+1])
		}
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	chunked := []string{"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "Content-Encoding", "aws-chunked", "X-Amz-Trailer", "x-amz-checksum-crc32"}
	good := "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
	for name, c := range map[string]struct {
		body   string
		length string
		want   int
	}{
		"whole":              {good, "5", 200},
		"in two, signed":     {"3;chunk-signature=ab\r\nhel\r\n2;chunk-signature=cd\r\nlo\r\n0;chunk-signature=ef\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", "5", 200},
		"another length":     {good, "6", 400},
		"another sum":        {strings.Replace(good, "NhCmhg==", "AAAAAA==", 1), "5", 400},
		"cut off":            {good[:6], "5", 400},
		"no size":            {"hello", "5", 400},
		"a negative size":    {"-5\r\nhello\r\n", "5", 400},
		"more than its size": {"4\r\nhello\r\n0\r\n\r\n", "4", 400},
	} {
		if status := put(c.body, append(chunked, "X-Amz-Decoded-Content-Length", c.length)...); status != c.want {
			t.Errorf("%s: %d, want %d", name, status, c.want)
		}
	}
	if status := put("hello", "X-Amz-Content-Sha256", strings.Repeat("0", 64)); status != 400 {
		t.Errorf("wrong SHA-256 of the payload: %d", status)
	}
	if status := put("hello", "Content-Md5", "AAAA"); status != 400 {
		t.Errorf("wrong MD5: %d", status)
	}
}

// Over TLS, and for a body that cannot be read twice, the SDK sends chunks and puts the checksum behind them.
func TestObjectsInChunks(t *testing.T) {
	r := newRig(t)
	r.bucket()
	server := httptest.NewTLSServer(Handler(r.cloud, Options{Log: func(c Call) {
		if c.Service != "s3" || c.Action != "PutObject" || c.Code != "" {
			t.Errorf("call %+v", c)
		}
	}}))
	defer server.Close()
	client := s3.NewFromConfig(r.cfg, usualS3, func(o *s3.Options) { o.BaseEndpoint, o.HTTPClient = &server.URL, server.Client() })
	body := strings.Repeat("0123456789", 20_000)
	ok[*s3.PutObjectOutput](t)(client.PutObject(ctx, &s3.PutObjectInput{Bucket: new("records"), Key: new("k"), Body: io.LimitReader(strings.NewReader(body), int64(len(body))), ContentLength: new(int64(len(body)))}))
	o, err := r.cloud.GetObject("records", "k")
	if err != nil || string(o.Body) != body || o.Checksums["CRC32"] == "" {
		t.Fatalf("%d bytes, %v, %v", len(o.Body), o.Checksums, err)
	}
}

func TestS3RefusesWhatItDoesNotDo(t *testing.T) {
	r := newRig(t)
	client := r.bucket()
	ok[*s3.PutObjectOutput](t)(client.PutObject(ctx, &s3.PutObjectInput{Bucket: new("records"), Key: new("k"), Body: strings.NewReader("x")}))
	for what, do := range map[string]func() error{
		"the header Range": func() error {
			_, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: new("records"), Key: new("k"), Range: new("bytes=0-1")})
			return err
		},
		"the header X-Amz-Server-Side-Encryption": func() error {
			_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: new("records"), Key: new("k"), Body: strings.NewReader("x"), ServerSideEncryption: "aws:kms"})
			return err
		},
		"the header X-Amz-Copy-Source": func() error {
			_, err := client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: new("records"), Key: new("l"), CopySource: new("records/k")})
			return err
		},
		"the query delimiter": func() error {
			_, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: new("records"), Delimiter: new("/")})
			return err
		},
		"the query versionId": func() error {
			_, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: new("records"), Key: new("k"), VersionId: new("1")})
			return err
		},
		"the query versioning": func() error {
			_, err := client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: new("records"), VersioningConfiguration: &types.VersioningConfiguration{Status: "Enabled"}})
			return err
		},
		"DELETE /records": func() error {
			_, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: new("records")})
			return err
		},
		"GET /": func() error { _, err := client.ListBuckets(ctx, &s3.ListBucketsInput{}); return err },
	} {
		t.Run(what, func(t *testing.T) {
			if err := do(); err == nil || !strings.Contains(err.Error(), "NotSimulated") || !strings.Contains(err.Error(), what) {
				t.Fatalf("got %v", err)
			}
		})
	}
	expired := s3.NewFromConfig(r.config("EXPIRED"), usualS3)
	_, err := expired.GetObject(ctx, &s3.GetObjectInput{Bucket: new("records"), Key: new("k")})
	r.code(err, "ExpiredToken", "expired")
}

func TestAWSCommandLineKeepsAFile(t *testing.T) {
	r := newRig(t)
	r.bucket()
	path := filepath.Join(t.TempDir(), "record")
	if err := os.WriteFile(path, []byte("a record"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.awsJSON(nil, "s3api", "put-object", "--bucket", "records", "--key", "a b", "--body", path)
	var all struct{ Contents []struct{ Key string } }
	r.awsJSON(&all, "s3api", "list-objects-v2", "--bucket", "records")
	if len(all.Contents) != 1 || all.Contents[0].Key != "a b" {
		t.Fatalf("listed %+v", all)
	}
	back := path + ".back"
	r.awsJSON(nil, "s3api", "get-object", "--bucket", "records", "--key", "a b", back)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, []byte("a record")) {
		t.Fatalf("got %q, %v", got, err)
	}
}
