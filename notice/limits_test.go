package notice

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"drover.dev/fleet"
)

// The parser takes no name that the Departure object would not take.
func TestFieldsAreThoseOfTheDefinition(t *testing.T) {
	text, err := os.ReadFile("../deploy/crds/drover.dev_departures.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	signal := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["signals"].Items.Schema.Properties
	for _, f := range fields(fleet.Notice{}) {
		if p := signal[f.name]; p.MaxLength == nil || *p.MaxLength != int64(f.most) {
			t.Errorf("%s: %d bytes are taken, the definition says %v", f.name, f.most, p.MaxLength)
		}
	}
}

func TestNamesThatAreTooLong(t *testing.T) {
	hook := func(key string, n int) string {
		all := map[string]string{"LifecycleHookName": "h", "AutoScalingGroupName": "g", "LifecycleActionToken": "t", "Origin": "EC2", "Destination": "EC2"}
		all[key] = strings.Repeat("x", n)
		var detail []string
		for k, v := range all {
			detail = append(detail, fmt.Sprintf("%q:%q", k, v))
		}
		return fmt.Sprintf(`{"source":"aws.autoscaling","detail-type":"EC2 Instance-terminate Lifecycle Action","time":"2026-01-02T15:04:05Z",
			"detail":{"LifecycleTransition":"autoscaling:EC2_INSTANCE_TERMINATING","EC2InstanceId":"i-0a1b2c3d",%s}}`, strings.Join(detail, ","))
	}
	for key, most := range map[string]int{"LifecycleHookName": 256, "AutoScalingGroupName": 256, "LifecycleActionToken": 256, "Origin": 64, "Destination": 64} {
		if _, err := Parse(hook(key, most)); err != nil {
			t.Errorf("%s of %d bytes: %v", key, most, err)
		}
		var bad *Error
		if _, err := Parse(hook(key, most+1)); !errors.As(err, &bad) || !strings.Contains(bad.What, fmt.Sprintf("at most %d bytes are kept", most)) {
			t.Errorf("%s of %d bytes: %v", key, most+1, err)
		}
	}
}

func TestCanaryIsAKey(t *testing.T) {
	for id, ok := range map[string]bool{"canary-00ff": true, "a.b_C": true, strings.Repeat("x", 253): true, "my test": false, ".": false, "..x": false, "a/b": false, strings.Repeat("x", 254): false} {
		body := fmt.Sprintf(`{"source":%q,"detail-type":%q,"time":"2026-01-02T15:04:05Z","detail":%s}`, CanarySource, CanaryType, CanaryDetail(id, strings.Repeat("c", 100)))
		if _, err := Parse(body); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}
