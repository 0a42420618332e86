package v1alpha1

import (
	"bufio"
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"drover.dev/fleet"
)

// ReadEnvironment reads an object, each of its parts apart: a spec that cannot be understood does not hide the record, and is Trouble of this environment
// alone; a wish that cannot be is apart from that, for the next one replaces it. The calendar in a ConfigMap, if the spec names one, is for the caller to read.
func ReadEnvironment(u *unstructured.Unstructured, source string) (fleet.Environment, *ConfigMapKey) {
	out := fleet.Environment{Name: u.GetName(), Source: source}
	var bad troubles
	for field := range u.Object {
		if !slices.Contains([]string{"apiVersion", "kind", "metadata", "spec", "status"}, field) {
			bad.add(field, "unknown field")
		}
	}
	var spec EnvironmentSpec
	if decode(u.Object["spec"], "spec", &spec, &bad) {
		var form []string
		out.Spec, form = spec.Spec()
		bad = append(bad, form...)
	}
	readWish(u, &out)
	readStatus(u, &out, &bad)
	slices.Sort(bad)
	out.Trouble = bad
	if spec.Schedule != nil && spec.Schedule.Holidays != nil {
		return out, spec.Schedule.Holidays.ConfigMap
	}
	return out, nil
}

// readStatus reads the record and the sleeps. A field that this version does not know is an error: it may be one that has to be put back.
func readStatus(u *unstructured.Unstructured, out *fleet.Environment, bad *troubles) {
	status, _ := u.Object["status"].(map[string]any)
	if raw, ok := status["record"]; ok {
		var record SleepRecord
		if known := len(*bad); decode(raw, "status.record", &record, bad) && len(*bad) == known {
			r, err := record.Record(out.Name)
			if err != nil {
				*bad = append(*bad, err.Error())
			}
			out.Record = &r
		} else {
			bad.add("status.record", "cannot be read as a whole: written by another version of drover?")
		}
	}
	var sleeps struct {
		Sleeps []Sleep `json:"sleeps"`
	}
	if raw, ok := status["sleeps"]; ok {
		decode(map[string]any{"sleeps": raw}, "status", &sleeps, bad)
	}
	for i := range sleeps.Sleeps {
		out.Sleeps = append(out.Sleeps, sleeps.Sleeps[i].Sleep())
	}
}

var unknownField = regexp.MustCompile(`^unknown field "(.*)"$`)

// yamlOn is why a field is called true or false.
const yamlOn = "unknown field: YAML reads on and off as true and false; put quotes around it, or look up what the field is called"

// decode reads one part of an object, and tells whether it could. Fields that are unknown are trouble, and the others are read.
func decode(raw any, at string, into any, bad *troubles) bool {
	content, ok := raw.(map[string]any)
	if !ok {
		bad.add(at, "is missing, or has no fields")
		return false
	}
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(content, into, true)
	strict, some := runtime.AsStrictDecodingError(err)
	switch {
	case err == nil:
		return true
	case !some:
		bad.add(at+fieldOf(content, into), "%s", wantOf(content, into, err))
		return false
	}
	for _, e := range strict.Errors() {
		m := unknownField.FindStringSubmatch(e.Error())
		switch {
		case m == nil:
			bad.add(at, "%v", e)
		case strings.HasSuffix(m[1], "true") || strings.HasSuffix(m[1], "false"):
			bad.add(at+"."+m[1], "%s", yamlOn)
		default:
			bad.add(at+"."+m[1], "unknown field")
		}
	}
	return true
}

// mistyped finds the field that has another type than it should: the converter does not name it.
func mistyped(content map[string]any, into any) *stdjson.UnmarshalTypeError {
	var wrong *stdjson.UnmarshalTypeError
	if body, err := stdjson.Marshal(content); err == nil {
		errors.As(stdjson.Unmarshal(body, into), &wrong)
	}
	return wrong
}

func fieldOf(content map[string]any, into any) string {
	if wrong := mistyped(content, into); wrong != nil {
		return "." + wrong.Field
	}
	return ""
}

func wantOf(content map[string]any, into any, err error) string {
	wrong := mistyped(content, into)
	switch {
	case wrong == nil:
		return err.Error()
	case wrong.Type.String() == "string":
		return fmt.Sprintf("is a %s: want text; put it in quotes", wrong.Value)
	}
	return fmt.Sprintf("is a %s: want %s", wrong.Value, wantedBy[wrong.Type.Kind().String()])
}

var wantedBy = map[string]string{"slice": "a list", "struct": "fields", "bool": "true or false", "int": "a whole number", "int32": "a whole number", "int64": "a whole number", "map": "fields"}

// Manifest is an Environment as it stands in a file.
//
// +kubebuilder:object:generate=false
type Manifest struct {
	Environment fleet.Environment
	Content     *unstructured.Unstructured
}

// ParseManifests reads a YAML file with Environments. Errors are of documents that are none; what is wrong with one that is, is its Trouble.
func ParseManifests(data []byte, source string) ([]Manifest, []error) {
	var out []Manifest
	var errs []error
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for n := 1; ; n++ {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, errs
		}
		at := fmt.Sprintf("%s, document %d", source, n)
		if err != nil {
			return out, append(errs, fmt.Errorf("%s: %w", at, err))
		}
		m, err := manifestOf(document, source)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", at, err))
		case m == nil:
		case slices.ContainsFunc(out, func(o Manifest) bool { return o.Environment.Name == m.Environment.Name }):
			errs = append(errs, fmt.Errorf("%s: environment %s is there twice", at, m.Environment.Name))
		default:
			out = append(out, *m)
		}
	}
}

// ParseEnvironments reads the Environments of a YAML file.
func ParseEnvironments(data []byte, source string) ([]fleet.Environment, []error) {
	manifests, errs := ParseManifests(data, source)
	var out []fleet.Environment
	for _, m := range manifests {
		out = append(out, m.Environment)
	}
	return out, errs
}

// manifestOf reads one document; nil when it is empty.
func manifestOf(document []byte, source string) (*Manifest, error) {
	body, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(bytes.TrimSpace(body), []byte("null")) {
		return nil, nil
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(body, &u.Object); err != nil {
		return nil, fmt.Errorf("want an Environment: %w", err)
	}
	name, _, _ := unstructured.NestedString(u.Object, "metadata", "name")
	switch {
	case u.GetAPIVersion() != GroupVersion.String() || u.GetKind() != "Environment":
		return nil, fmt.Errorf("is %q of %q: want Environment of %s", u.GetKind(), u.GetAPIVersion(), GroupVersion)
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		return nil, fmt.Errorf("metadata.name: %q: want small letters, digits, - and .", name)
	}
	if _, _, err := unstructured.NestedStringMap(u.Object, "metadata", "annotations"); err != nil {
		return nil, fmt.Errorf("metadata.annotations: %w", err)
	}
	delete(u.Object, "status") // of an object that was read from a cluster, as is a wish
	unstructured.RemoveNestedField(u.Object, "metadata", "annotations", WishKey)
	e, calendar := ReadEnvironment(u, source)
	if calendar != nil {
		e.Trouble = append(e.Trouble, "spec.schedule.holidays.configMap: is read of Environments in the cluster only: apply this one, or give calendar")
	}
	return &Manifest{e, u}, nil
}
