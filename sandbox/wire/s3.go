package wire

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"drover.dev/sandbox/cloud"
)

// s3Action is one simulated action of S3. The queries and headers are those that it honours; any other of S3's is refused.
type s3Action struct {
	method       string
	ofObject     bool
	queries      string
	headers      string
	run          func(s *s3Call) error
	needsListing bool // it is told by list-type=2
}

var s3Actions = map[string]s3Action{
	"CreateBucket":  {method: "PUT", run: createBucket},
	"ListObjectsV2": {method: "GET", queries: "list-type prefix max-keys continuation-token start-after encoding-type", run: listObjects, needsListing: true},
	"PutObject":     {method: "PUT", ofObject: true, headers: "If-Match If-None-Match", run: putObject},
	"GetObject":     {method: "GET", ofObject: true, headers: "X-Amz-Checksum-Mode", run: getObject},
	"HeadObject":    {method: "HEAD", ofObject: true, headers: "X-Amz-Checksum-Mode", run: headObject},
	"DeleteObject":  {method: "DELETE", ofObject: true, run: deleteObject},
}

// plainHeaders are those that ask for nothing: of HTTP, of signatures and of the body's form, which payload reads.
var plainHeaders = []string{
	"X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Decoded-Content-Length", "X-Amz-Trailer", "X-Amz-Sdk-Checksum-Algorithm",
	"X-Amz-User-Agent",
}

// asking are the headers of HTTP that change what an action does.
var asking = []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Range"}

// s3Call is one request to S3.
type s3Call struct {
	cloud       *cloud.Cloud
	a           *answer
	r           *http.Request
	query       url.Values
	bucket, key string
	body        payload
}

// serveS3 answers a request to S3, in its REST protocol with buckets in the path.
func (f *front) serveS3(a *answer, r *http.Request, call *Call, signer string) (code string) {
	call.Service = "s3"
	s := &s3Call{cloud: f.cloud, a: a, r: r, query: r.URL.Query()}
	name, act, err := s.route()
	call.Action = name
	if err == nil {
		err = checkSigner(signer)
	}
	if err == nil {
		err = s.refuse(name, act)
	}
	if err == nil {
		s.body, err = readPayload(r)
	}
	if err == nil {
		err = act.run(s)
	}
	if err != nil {
		return s.fail(err)
	}
	return ""
}

func (s *s3Call) route() (string, s3Action, error) {
	path, key, _ := strings.Cut(strings.TrimPrefix(s.r.URL.EscapedPath(), "/"), "/")
	bucket, wrongBucket := url.PathUnescape(path)
	key, wrongKey := url.PathUnescape(key)
	s.bucket, s.key = bucket, key
	if wrongBucket == nil && wrongKey == nil && bucket != "" {
		for name, act := range s3Actions {
			if act.method == s.r.Method && act.ofObject == (key != "") && act.needsListing == (s.query.Get("list-type") == "2") {
				return name, act, nil
			}
		}
	}
	name := s.r.Method + " " + s.r.URL.RequestURI()
	return name, s3Action{}, notSimulated(name + " of s3")
}

// refuse answers for the first thing that was asked for and is not honoured.
func (s *s3Call) refuse(name string, act s3Action) error {
	for q := range s.query {
		if q != "x-id" && !strings.HasPrefix(q, "X-Amz-") && !slices.Contains(strings.Fields(act.queries), q) {
			return cloud.NotSimulated("the query "+q, name)
		}
	}
	for h := range s.r.Header {
		asks := strings.HasPrefix(h, "X-Amz-") && !strings.HasPrefix(h, "X-Amz-Checksum-") && !strings.HasPrefix(h, "X-Amz-Meta-") || slices.Contains(asking, h)
		if asks && !slices.Contains(plainHeaders, h) && !slices.Contains(strings.Fields(act.headers), h) {
			return cloud.NotSimulated("the header "+h, name)
		}
	}
	return nil
}

func (s *s3Call) fail(err error) string {
	known := asAWS(err)
	s.a.w.Header().Set("x-amz-request-id", s.a.id)
	if s.r.Method == "HEAD" { // which has no body in which to say more
		s.a.write(known.Status, "application/xml", nil)
		return known.Code
	}
	s.write(known.Status, struct {
		XMLName                            xml.Name `xml:"Error"`
		Code, Message, Resource, RequestId string
	}{Code: known.Code, Message: known.Message, Resource: s.r.URL.Path, RequestId: s.a.id})
	return known.Code
}

func (s *s3Call) write(status int, body any) {
	text, err := xml.Marshal(body)
	if err != nil {
		panic(err) // its own structures, which are all texts and numbers
	}
	s.a.write(status, "application/xml", append([]byte(xml.Header), text...))
}

func createBucket(s *s3Call) error {
	var want struct{ LocationConstraint string }
	if len(s.body.data) > 0 {
		if err := xml.Unmarshal(s.body.data, &want); err != nil {
			return &cloud.Error{Code: "MalformedXML", Message: "The XML you provided was not well-formed: " + err.Error(), Status: 400}
		}
	}
	if err := s.cloud.CreateBucket(s.bucket, want.LocationConstraint); err != nil {
		return err
	}
	s.a.w.Header().Set("Location", "/"+s.bucket)
	s.a.write(200, "application/xml", nil)
	return nil
}

func putObject(s *s3Call) error {
	if m := s.r.Header.Get("If-None-Match"); m != "" && m != "*" {
		return cloud.NotSimulated("If-None-Match other than *", "PutObject")
	}
	sum := md5.Sum(s.body.data)
	if want := s.r.Header.Get("Content-Md5"); want != "" && want != base64.StdEncoding.EncodeToString(sum[:]) {
		return &cloud.Error{Code: "BadDigest", Message: "The Content-MD5 you specified did not match what we received.", Status: 400}
	}
	o := cloud.Object{Key: s.key, Body: s.body.data, Kind: or(s.r.Header.Get("Content-Type"), "binary/octet-stream"), Meta: map[string]string{}, Checksums: s.body.sums}
	for h, v := range s.r.Header {
		if name, ok := strings.CutPrefix(h, "X-Amz-Meta-"); ok {
			o.Meta[strings.ToLower(name)] = v[0]
		}
	}
	when := cloud.Condition{Absent: s.r.Header.Get("If-None-Match") == "*", ETag: strings.Trim(s.r.Header.Get("If-Match"), `"`)}
	o, err := s.cloud.PutObject(s.bucket, o, when)
	if err != nil {
		return err
	}
	s.describe(o, true)
	s.a.write(200, "application/xml", nil)
	return nil
}

// describe says in headers what an object is.
func (s *s3Call) describe(o cloud.Object, sums bool) {
	h := s.a.w.Header()
	h.Set("ETag", `"`+o.ETag+`"`)
	if !sums {
		return
	}
	for algorithm, sum := range o.Checksums {
		h.Set("x-amz-checksum-"+algorithm, sum)
		h.Set("x-amz-checksum-type", "FULL_OBJECT")
	}
}

func getObject(s *s3Call) error {
	o, err := s.cloud.GetObject(s.bucket, s.key)
	if err != nil {
		return err
	}
	s.show(o, o.Body)
	return nil
}

func headObject(s *s3Call) error {
	o, err := s.cloud.HeadObject(s.bucket, s.key)
	if err != nil {
		return err
	}
	s.show(o, nil)
	return nil
}

func (s *s3Call) show(o cloud.Object, body []byte) {
	s.describe(o, strings.EqualFold(s.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED"))
	h := s.a.w.Header()
	h.Set("Last-Modified", o.Modified.UTC().Format(http.TimeFormat))
	h.Set("Content-Length", strconv.Itoa(len(o.Body)))
	for name, value := range o.Meta {
		h.Set("x-amz-meta-"+name, value)
	}
	s.a.write(200, o.Kind, body)
}

func deleteObject(s *s3Call) error {
	if err := s.cloud.DeleteObject(s.bucket, s.key); err != nil {
		return err
	}
	s.a.write(204, "application/xml", nil)
	return nil
}

// listing is the answer to ListObjectsV2.
type listing struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name, Prefix          string
	KeyCount, MaxKeys     int
	IsTruncated           bool
	EncodingType          string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listed
}

type listed struct {
	Key, LastModified, ETag string
	Size                    int
	StorageClass            string
}

func listObjects(s *s3Call) error {
	size := int32(1000)
	if text := s.query.Get("max-keys"); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 1 {
			return &cloud.Error{Code: "InvalidArgument", Message: "Provided max-keys not an integer above 0: " + text, Status: 400}
		}
		size = min(size, int32(n))
	}
	all, err := s.cloud.ListObjects(s.bucket, s.query.Get("prefix"))
	if err != nil {
		return err
	}
	if after := s.query.Get("start-after"); after != "" {
		all = slices.DeleteFunc(all, func(o cloud.Object) bool { return o.Key <= after })
	}
	shown, next, err := page(all, func(o cloud.Object) string { return o.Key }, optional(s.query.Get("continuation-token")), &size, 1000, 1000)
	if err != nil {
		return err
	}
	encode := func(text string) string { return text }
	out := listing{Name: s.bucket, KeyCount: len(shown), MaxKeys: int(size), IsTruncated: next != nil, EncodingType: s.query.Get("encoding-type")}
	if out.EncodingType == "url" {
		encode = url.QueryEscape
	}
	out.Prefix = encode(s.query.Get("prefix"))
	if next != nil {
		out.NextContinuationToken = *next
	}
	for _, o := range shown {
		out.Contents = append(out.Contents, listed{encode(o.Key), o.Modified.UTC().Format("2006-01-02T15:04:05.000Z"), fmt.Sprintf("%q", o.ETag), len(o.Body), "STANDARD"})
	}
	s.write(200, out)
	return nil
}
