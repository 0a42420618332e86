package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover.dev/sandbox/cloud"
)

// at places an action of a REST service: its method and its path, in which {name} stands for a field of the Input.
func at(method, path string, a action) action {
	a.method, a.path = method, path
	return a
}

// route finds the action that a JSON request means, and the fields that its path holds. The name is what to call it even if there is none.
func (s *service) route(r *http.Request) (name string, vars map[string]any) {
	if s.dialect == json1 {
		_, name, _ = strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		return name, nil
	}
	for name, a := range s.actions {
		if vars, ok := matchPath(a.path, r.URL.EscapedPath()); ok && a.method == r.Method {
			return name, vars
		}
	}
	return r.Method + " " + r.URL.Path, nil
}

func matchPath(pattern, path string) (map[string]any, bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	vars := map[string]any{}
	for i, part := range want {
		name, isVar := strings.CutPrefix(part, "{")
		if !isVar && part != got[i] {
			return nil, false
		}
		if isVar {
			value, err := url.PathUnescape(got[i])
			if err != nil || value == "" {
				return nil, false
			}
			vars[strings.TrimSuffix(name, "}")] = value
		}
	}
	return vars, true
}

// jsonDecoder fills an Input from JSON and notes the paths of the fields it set.
type jsonDecoder struct {
	dialect dialect
	set     []string
}

// decodeJSON makes an Input of a body, of the variables of a path, and of a query. set lists the paths, sorted and each once.
func decodeJSON(body []byte, vars map[string]any, query url.Values, fresh func() any, d dialect) (in any, set []string, err error) {
	all := map[string]any{}
	if len(bytes.TrimSpace(body)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		if err := dec.Decode(&all); err != nil {
			return nil, nil, &cloud.Error{Code: "SerializationException", Message: "The request body could not be read: " + err.Error(), Status: 400}
		}
	}
	if all == nil {
		all = map[string]any{} // of a body that says null
	}
	maps.Copy(all, vars)
	for k := range query {
		all[k] = query.Get(k)
	}
	in = fresh()
	dec := &jsonDecoder{dialect: d}
	if err := dec.fill(reflect.ValueOf(in).Elem(), all, ""); err != nil {
		return nil, nil, err
	}
	slices.Sort(dec.set)
	return in, slices.Compact(dec.set), nil
}

// jsonName is a field's name in JSON: REST services begin it with a small letter.
func jsonName(d dialect, t reflect.Type, field string) string {
	if d == restjson || t.Name() == "CreateQueueInput" && field == "Tags" { // a slip of AWS's, by now for ever
		return strings.ToLower(field[:1]) + field[1:]
	}
	return field
}

func (d *jsonDecoder) fill(v reflect.Value, from any, path string) error {
	switch {
	case from == nil:
		return nil
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.fill(v.Elem(), from, path)
	case v.Kind() == reflect.Struct && v.Type() != timeType:
		return d.fields(v, from, path)
	case v.Kind() == reflect.Slice && v.Type() != byteType:
		return d.list(v, from, path)
	case v.Kind() == reflect.Map && v.Type().Elem().Kind() == reflect.String:
		return d.dictionary(v, from, path)
	case v.Kind() == reflect.Map && v.Type().Elem().Kind() == reflect.Struct:
		return d.structures(v, from, path)
	}
	d.set = append(d.set, path)
	return d.scalar(v, from, path)
}

func (d *jsonDecoder) fields(v reflect.Value, from any, path string) error {
	object, ok := from.(map[string]any)
	if !ok {
		return d.bad(path, "a structure")
	}
	known := map[string]reflect.StructField{}
	for f := range v.Type().Fields() {
		if f.IsExported() && f.Name != "ResultMetadata" {
			known[jsonName(d.dialect, v.Type(), f.Name)] = f
		}
	}
	for name, value := range object {
		f, ok := known[name]
		below := name
		if ok {
			below = f.Name
		}
		if path != "" {
			below = path + "." + below
		}
		if !ok {
			d.set = append(d.set, below)
			continue
		}
		if err := d.fill(v.FieldByIndex(f.Index), value, below); err != nil {
			return err
		}
	}
	return nil
}

func (d *jsonDecoder) list(v reflect.Value, from any, path string) error {
	items, ok := from.([]any)
	if !ok {
		return d.bad(path, "a list")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		if err := d.fill(v.Index(i), item, path); err != nil {
			return err
		}
	}
	return nil
}

func (d *jsonDecoder) dictionary(v reflect.Value, from any, path string) error {
	object, ok := from.(map[string]any)
	if !ok {
		return d.bad(path, "a map")
	}
	d.set = append(d.set, path)
	v.Set(reflect.MakeMap(v.Type()))
	for k, item := range object {
		text, ok := item.(string)
		if !ok {
			return d.bad(path, "a map of texts")
		}
		v.SetMapIndex(reflect.ValueOf(k), reflect.ValueOf(text).Convert(v.Type().Elem()))
	}
	return nil
}

// structures reads a map of structures; their fields have paths like those of a list's.
func (d *jsonDecoder) structures(v reflect.Value, from any, path string) error {
	object, ok := from.(map[string]any)
	if !ok {
		return d.bad(path, "a map")
	}
	v.Set(reflect.MakeMap(v.Type()))
	for k, item := range object {
		one := reflect.New(v.Type().Elem()).Elem()
		if err := d.fill(one, item, path); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(k), one)
	}
	return nil
}

// scalar sets one value. What came in a path or a query is text whatever it means.
func (d *jsonDecoder) scalar(v reflect.Value, from any, path string) error {
	text := fmt.Sprint(from)
	switch _, isText := from.(string); {
	case v.Kind() == reflect.String && isText:
		v.SetString(text)
	case v.Type() == timeType:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.Abs(n) > farthest {
			return d.bad(path, "seconds since 1970")
		}
		v.Set(reflect.ValueOf(time.UnixMilli(int64(n * 1000))))
	case v.Type() == byteType:
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return d.bad(path, "base64")
		}
		v.SetBytes(b)
	case v.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return d.bad(path, "true or false")
		}
		v.SetBool(b)
	case v.CanInt():
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return d.bad(path, "an integer")
		}
		v.SetInt(n)
	case v.Kind() == reflect.String:
		return d.bad(path, "a text")
	}
	return nil // a kind of field that no honoured one has: noted, so that it is refused
}

// farthest is the end of the year 9999, beyond which no time can be written as AWS writes it.
const farthest = 253402300799

func (d *jsonDecoder) bad(path, want string) error {
	return &cloud.Error{Code: "SerializationException", Message: "The value for " + path + " is invalid. Expected " + want + ".", Status: 400}
}

// encodeJSON is the SDK's value as a JSON service writes it; what is not set is left out.
func encodeJSON(v reflect.Value, d dialect) any {
	switch {
	case v.Kind() == reflect.Pointer:
		return encodeJSON(v.Elem(), d)
	case v.Type() == timeType:
		return float64(v.Interface().(time.Time).UnixMilli()) / 1000
	case v.Type() == byteType:
		return base64.StdEncoding.EncodeToString(v.Bytes())
	case v.Kind() == reflect.Struct:
		out := map[string]any{}
		for f, value := range v.Fields() {
			if f.IsExported() && f.Name != "ResultMetadata" && !unset(value) {
				out[jsonName(d, v.Type(), f.Name)] = encodeJSON(value, d)
			}
		}
		return out
	case v.Kind() == reflect.Slice:
		out := []any{}
		for i := range v.Len() {
			out = append(out, encodeJSON(v.Index(i), d))
		}
		return out
	case v.Kind() == reflect.Map:
		out := map[string]any{}
		for k, item := range v.Seq2() {
			out[k.String()] = encodeJSON(item, d)
		}
		return out
	}
	return v.Interface()
}

func unset(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	}
	return false
}

func (a *answer) writeJSON(status int, body any) {
	kind := "application/json"
	if a.dialect == json1 {
		kind = or(a.kind, "application/x-amz-json-1.1")
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // the SDK's types hold nothing that JSON cannot say
	}
	a.write(status, kind, text)
}
