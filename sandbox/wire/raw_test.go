package wire

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"drover.dev/sandbox/cloud"
)

const signedFor = "AWS4-HMAC-SHA256 Credential=test/20260301/eu-west-1/%s/aws4_request, SignedHeaders=host, Signature=0"

// raw sends a form as no client would and returns status and body.
func raw(h http.Handler, service, form string) (int, string) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if service != "" {
		r.Header.Set("Authorization", strings.Replace(signedFor, "%s", service, 1))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(body)
}

func TestMalformedRequests(t *testing.T) {
	h := Handler(cloud.New(cloud.Config{}), Options{})
	for _, c := range []struct {
		name, service, form string
		status              int
		want                string
	}{
		{"no action", "autoscaling", "Version=2011-01-01", 400, "<Code>MissingAction</Code>"},
		{"bad escape", "autoscaling", "Action=%zz", 400, "<Code>MalformedQueryString</Code>"},
		{"unsigned", "", "Action=DescribeInstances&Version=2016-11-15", 403, "<Response><Errors><Error><Code>MissingAuthenticationToken</Code>"},
		{"unsigned query", "", "Action=X&Version=2011-01-01", 403, "<Error><Type>Sender</Type><Code>MissingAuthenticationToken</Code>"},
		{"service by version", "other", "Action=GetCallerIdentity&Version=2011-06-15", 200, "<Account>123456789012</Account>"},
		{"unknown service", "lambda", "Action=Invoke", 400, "does not simulate the service &#34;lambda&#34;"},
		{"not a number", "autoscaling", "Action=SetDesiredCapacity&AutoScalingGroupName=g&DesiredCapacity=many", 400, "Value (many) for parameter DesiredCapacity is invalid. Expected an integer."},
		{"number too large", "autoscaling", "Action=SetDesiredCapacity&DesiredCapacity=99999999999", 400, "Expected an integer"},
		{"scalar for a list", "ec2", "Action=DescribeInstances&InstanceId=i-1", 400, "<Code>InvalidParameterValue</Code>"},
		{"index zero", "ec2", "Action=DescribeInstances&InstanceId.0=i-1", 400, "Expected a list index"},
		{"huge index", "ec2", "Action=DescribeInstances&InstanceId.999999999=i-12345678", 400, "InvalidInstanceID.NotFound"},
		{"list without member", "autoscaling", "Action=SuspendProcesses&ScalingProcesses.1=Launch", 400, "ScalingProcesses.member.N"},
		{"list for a scalar", "ec2", "Action=DescribeInstances&NextToken.1=x", 400, "Expected a single value"},
		{"unknown field", "ec2", "Action=DescribeInstances&Colour=red", 400, "does not simulate Colour of DescribeInstances"},
		{"too deep", "ec2", "Action=DescribeInstances&" + strings.Repeat("A.", 100) + "=x", 400, "more than 32 levels"},
		{"metadata is no field", "ec2", "Action=DescribeInstances&ResultMetadata.x=1", 400, "does not simulate ResultMetadata"},
		{"missing number", "autoscaling", "Action=SetDesiredCapacity&AutoScalingGroupName=g", 400, "must contain the parameter DesiredCapacity"},
		{"map without entries", "sns", "Action=CreateTopic&Name=a&Attributes.1.key=x", 400, "Attributes.entry.N.key"},
		{"map without a value", "sns", "Action=CreateTopic&Name=a&Attributes.entry.1.key=x", 400, "a key and a value"},
		{"empty list", "autoscaling", "Action=DescribeAutoScalingGroups&AutoScalingGroupNames=", 200, "<AutoScalingGroups></AutoScalingGroups>"},
	} {
		status, body := raw(h, c.service, c.form)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s; want %d with %s", c.name, status, body, c.status, c.want)
		}
	}
	if status, _ := raw(h, "ec2", strings.Repeat("a", maxBody+1)); status != 413 {
		t.Errorf("a body too large: %d", status)
	}
}

// TestPresignedGet is how Kubernetes' tokens of EKS ask who somebody is.
func TestPresignedGet(t *testing.T) {
	h := Handler(cloud.New(cloud.Config{}), Options{})
	q := url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}, "X-Amz-Credential": {"test/20260301/eu-west-1/sts/aws4_request"}, "X-Amz-Signature": {"0"}}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/?"+q.Encode(), nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "user/drover-sandbox") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

func TestPanicIsAnsweredAsInternalFailure(t *testing.T) {
	c := cloud.New(cloud.Config{})
	var calls []Call
	f := &front{cloud: c, opt: Options{Log: func(c Call) { calls = append(calls, c) }}}
	saved := stsActions["GetCallerIdentity"]
	defer func() { stsActions["GetCallerIdentity"] = saved }()
	stsActions["GetCallerIdentity"] = action{in: saved.in, run: func(*cloud.Cloud, any) (any, error) { panic("broken") }}
	status, body := raw(f, "sts", "Action=GetCallerIdentity")
	if status != 500 || !strings.Contains(body, "<Type>Receiver</Type><Code>InternalFailure</Code>") {
		t.Fatalf("%d %s", status, body)
	}
	if len(calls) != 1 || calls[0].Code != "InternalFailure" || calls[0].Action != "GetCallerIdentity" || calls[0].Service != "sts" {
		t.Fatalf("log: %+v", calls)
	}
}

// TestHonouredFieldsExist guards the lists of honoured fields against misspelling, which would refuse a field for ever.
func TestHonouredFieldsExist(t *testing.T) {
	for _, s := range services {
		for name, a := range s.actions {
			for _, path := range a.honours {
				at := reflect.TypeOf(a.in()).Elem()
				for _, step := range strings.Split(path, ".") {
					for at.Kind() == reflect.Pointer || at.Kind() == reflect.Slice || at.Kind() == reflect.Map {
						at = at.Elem()
					}
					f, ok := at.FieldByName(step)
					if !ok {
						t.Errorf("%s of %s honours %s, but the SDK has no %s", name, s.name, path, step)
						break
					}
					at = f.Type
				}
			}
			if got := strings.TrimSuffix(reflect.TypeOf(a.in()).Elem().Name(), "Input"); got != name {
				t.Errorf("%s of %s reads the input of %s", name, s.name, got)
			}
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"Action=DescribeInstances&Filter.1.Name=tag:a&Filter.1.Value.1=b&MaxResults=5",
		"Action=DescribeInstances&Filter.2.Name=vpc-id&Filter.10.Name=x",
		"Action=CreateLaunchTemplate&LaunchTemplateName=x&LaunchTemplateData.ImageId=ami&LaunchTemplateData.TagSpecification.1.ResourceType=instance&LaunchTemplateData.TagSpecification.1.Tag.1.Key=k",
		"Action=CreateAutoScalingGroup&AutoScalingGroupName=g&MinSize=0&MaxSize=1&AvailabilityZones.member.1=eu-west-1a&LaunchTemplate.LaunchTemplateName=x",
		"Action=CreateAutoScalingGroup&AutoScalingGroupName=g&MinSize=0&MaxSize=1&Tags.member.1.Key=k&Tags.member.1.PropagateAtLaunch=true",
		"Action=DescribeAutoScalingGroups&NextToken=MSBn&MaxRecords=1",
		"Action=TerminateInstanceInAutoScalingGroup&InstanceId=i-1&ShouldDecrementDesiredCapacity=maybe",
		"Action=CreateTargetGroup&Name=web&Matcher.HttpCode=200&Port=-1",
		"Action=RegisterTargets&Targets.member.1.Id=&Targets.member.1.Port=1",
		"Action=ModifyTargetGroupAttributes&Attributes.member.1.Key=deregistration_delay.timeout_seconds&Attributes.member.1.Value=x",
		"Action=CreateTags&ResourceId.1=i-00000000&Tag.1.Key=&Tag.1.Value=",
		"Action=CreateTopic&Name=news&Attributes.entry.1.key=Policy&Attributes.entry.1.value={}",
		"Action=CreateTopic&Name=news&Attributes.entry.1.key=Policy&Attributes.entry=x",
		"Action=SetInstanceHealth&HealthStatus=\xff\x00&InstanceId=\u2028",
		"Action&&&=&.=.&..=&a.=b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, form string) {
		c := cloud.New(cloud.Config{Clock: cloud.NewVirtualClock(cloud.RealClock(1).Now())})
		h := Handler(c, Options{})
		for _, s := range services {
			status, body := raw(h, s.name, form)
			if status >= 500 {
				t.Fatalf("%s answered %d: %s", s.name, status, body)
			}
			if s.dialect == json1 || s.dialect == restjson {
				if !json.Valid([]byte(body)) {
					t.Fatalf("%s answered what is not JSON: %s", s.name, body)
				}
				continue
			}
			if err := xml.Unmarshal([]byte(body), new(struct{})); err != nil {
				t.Fatalf("%s answered what is not XML: %v\n%s", s.name, err, body)
			}
		}
	})
}

// TestDecodeNotesEveryPath shows what the refusal of unsupported fields stands on.
func TestDecodeNotesEveryPath(t *testing.T) {
	form, _ := url.ParseQuery("Filter.1.Name=a&Filter.2.Value.1=b&InstanceId.3=i&Nonsense.1=x")
	in, set, err := decode(form, func() any { return new(ec2.DescribeInstancesInput) }, ec2q)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"Filters.Name", "Filters.Values", "InstanceIds", "Nonsense"}; !slices.Equal(set, want) {
		t.Fatalf("set %q, want %q", set, want)
	}
	if got := in.(*ec2.DescribeInstancesInput); len(got.Filters) != 2 || *got.Filters[0].Name != "a" || got.InstanceIds[0] != "i" {
		t.Fatalf("decoded %+v", got)
	}
	form, _ = url.ParseQuery("Tags.member.1.Key=a&Tags.member.1.PropagateAtLaunch=true&MinSize=3")
	in, _, err = decode(form, func() any { return new(as.CreateAutoScalingGroupInput) }, query)
	if got := in.(*as.CreateAutoScalingGroupInput); err != nil || *got.MinSize != 3 || !*got.Tags[0].PropagateAtLaunch {
		t.Fatalf("decoded %+v, %v", got, err)
	}
}
