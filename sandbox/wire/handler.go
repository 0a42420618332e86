package wire

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"drover.dev/sandbox/cloud"
)

// Options are what a front may have besides its cloud.
type Options struct {
	Log func(Call) // told of every request after it was answered; from several goroutines
}

// Call is one answered request. Code is empty if it went well, else AWS's error code.
type Call struct {
	Service, Action, Code string
	Took                  time.Duration
}

// maxBody is far above AWS's largest request (user data of 16 KiB in base64) and protects the sandbox from mistakes.
const maxBody = 1 << 20

// Handler serves all services of c under one URL, whatever the path.
// Below /imds/INSTANCE-ID it is that instance's metadata service.
func Handler(c *cloud.Cloud, opt Options) http.Handler {
	return &front{cloud: c, opt: opt, metadata: &metadata{cloud: c, tokens: map[string]token{}}}
}

type front struct {
	cloud *cloud.Cloud
	opt   Options
	count atomic.Int64 // makes request ids

	metadata *metadata
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if instance, path, ok := whoseMetadata(r); ok {
		f.metadata.serve(w, r, instance, path)
		return
	}
	began := time.Now()
	a := answer{w: w, id: fmt.Sprintf("5a4db0c5-0000-4000-8000-%012x", f.count.Add(1))}
	call := Call{}
	call.Code = f.serve(&a, r, &call)
	call.Took = time.Since(began)
	if f.opt.Log != nil {
		f.opt.Log(call)
	}
}

// serve answers one request and returns the error code it answered with, if any.
func (f *front) serve(a *answer, r *http.Request, call *Call) (code string) {
	defer func() {
		if p := recover(); p != nil {
			code = a.fail(&cloud.Error{Code: "InternalFailure", Message: fmt.Sprintf("the drover sandbox broke in %s of %s: %v", call.Action, call.Service, p), Status: 500})
		}
	}()
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); strings.HasPrefix(kind, "application/x-amz-json") {
		a.dialect, a.kind = json1, kind
	}
	if signer, service := credential(r, r.URL.Query()); service == "s3" {
		return f.serveS3(a, r, call, signer)
	}
	form, body, err := readForm(r)
	if err != nil {
		return a.fail(err)
	}
	key, service := credential(r, form)
	call.Service, call.Action = service, form.Get("Action")
	svc := serviceOf(service, form.Get("Version"))
	var vars map[string]any
	if svc != nil {
		call.Service, a.service, a.dialect = svc.name, svc, svc.dialect
		if svc.dialect == json1 || svc.dialect == restjson {
			call.Action, vars = svc.route(r)
		}
	}
	if err := checkSigner(key); err != nil {
		return a.fail(err)
	}
	switch {
	case svc == nil:
		return a.fail(notSimulated(fmt.Sprintf("the service %q", service)))
	case call.Action == "":
		return a.fail(&cloud.Error{Code: "MissingAction", Message: "The request is missing an action or a required parameter", Status: 400})
	}
	a.action = call.Action
	act, ok := svc.actions[call.Action]
	if !ok {
		return a.fail(notSimulated(call.Action + " of " + svc.name))
	}
	in, set, err := read(svc.dialect, act, form, body, vars)
	if err != nil {
		return a.fail(err)
	}
	if err := act.refuse(set, call.Action); err != nil {
		return a.fail(err)
	}
	out, err := act.answer(r.Context(), f.cloud, in)
	if err != nil {
		return a.fail(err)
	}
	a.success(out)
	return ""
}

// checkSigner refuses a request by its access key, of which all that is known is whether there is one and whether it has expired.
func checkSigner(key string) error {
	switch {
	case key == "":
		return &cloud.Error{Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token", Status: 403}
	case strings.HasPrefix(key, "EXPIRED"):
		return &cloud.Error{Code: "ExpiredToken", Message: "The security token included in the request is expired", Status: 403}
	}
	return nil
}

// read makes an action's Input of a request.
func read(d dialect, act action, form url.Values, body []byte, vars map[string]any) (in any, set []string, err error) {
	if d == json1 || d == restjson {
		return decodeJSON(body, vars, form, act.in, d)
	}
	delete(form, "Action")
	delete(form, "Version")
	return decode(form, act.in, d)
}

func notSimulated(what string) error {
	return &cloud.Error{Code: "NotSimulated", Message: "the drover sandbox does not simulate " + what, Status: 400}
}

// readForm returns the parameters of a request: of the body if it is a form, and of the URL for those who use GET; and the body itself.
func readForm(r *http.Request) (form url.Values, body []byte, err error) {
	body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, nil, &cloud.Error{Code: "RequestEntityTooLarge", Message: fmt.Sprintf("The request body exceeds %d bytes", maxBody), Status: 413}
		}
		return nil, nil, malformed("The request body could not be read: %v", err)
	}
	form, err = url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, malformed("The query string could not be read: %v", err)
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "" && kind != "application/x-www-form-urlencoded" {
		return form, body, nil // a JSON protocol, or one that is not known; the service it is meant for will be refused by name
	}
	posted, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, nil, malformed("The request body could not be read as a form: %v", err)
	}
	maps.Copy(form, posted)
	return form, nil, nil
}

func malformed(format string, args ...any) error {
	return &cloud.Error{Code: "MalformedQueryString", Message: fmt.Sprintf(format, args...), Status: 400}
}

var scope = regexp.MustCompile(`Credential=([^/,\s]+)/\d+/[^/]+/([^/]+)/aws4_request`)

// credential finds who signed the request for which service, in the Authorization header or, in a presigned URL, in the query;
// an empty key means nobody did.
func credential(r *http.Request, form url.Values) (key, service string) {
	signed := r.Header.Get("Authorization")
	if c := form.Get("X-Amz-Credential"); c != "" {
		signed = "Credential=" + c
		for k := range form {
			if strings.HasPrefix(k, "X-Amz-") {
				delete(form, k)
			}
		}
	}
	if m := scope.FindStringSubmatch(signed); m != nil {
		return m[1], m[2]
	}
	if signed != "" {
		return "unreadable", ""
	}
	return "", ""
}
