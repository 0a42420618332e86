package wire

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover.dev/sandbox/cloud"
)

// node is one level of a form: "Filter.1.Value.2" is four of them.
type node struct {
	value string
	set   bool
	kids  map[string]*node
}

// maxDepth bounds the recursion that a hostile key could ask for; AWS's deepest request has 9 levels.
const maxDepth = 32

func parse(form url.Values) (*node, error) {
	root := &node{}
	for key, values := range form {
		parts := strings.Split(key, ".")
		if len(parts) > maxDepth {
			return nil, malformed("The parameter %.60q has more than %d levels", key, maxDepth)
		}
		n := root
		for _, p := range parts {
			if n.kids == nil {
				n.kids = map[string]*node{}
			}
			if n.kids[p] == nil {
				n.kids[p] = &node{}
			}
			n = n.kids[p]
		}
		if len(values) > 0 {
			n.value, n.set = values[0], true
		}
	}
	return root, nil
}

// decoder fills an Input and notes the paths of the fields it set, so that unsupported ones can be refused.
type decoder struct {
	dialect dialect
	set     []string
}

// decode makes an Input from a form. set lists the paths, sorted and each once.
func decode(form url.Values, fresh func() any, d dialect) (in any, set []string, err error) {
	root, err := parse(form)
	if err != nil {
		return nil, nil, err
	}
	in = fresh()
	dec := &decoder{dialect: d}
	if err := dec.fill(reflect.ValueOf(in).Elem(), root, ""); err != nil {
		return nil, nil, err
	}
	slices.Sort(dec.set)
	return in, slices.Compact(dec.set), nil
}

var (
	timeType  = reflect.TypeFor[time.Time]()
	byteType  = reflect.TypeFor[[]byte]()
	textsType = reflect.TypeFor[map[string]string]()
)

func (d *decoder) fill(v reflect.Value, n *node, path string) error {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.fill(v.Elem(), n, path)
	case v.Type() == timeType || v.Type() == byteType:
		return d.scalar(v, n, path)
	case v.Kind() == reflect.Struct:
		return d.fields(v, n, path)
	case v.Kind() == reflect.Slice:
		return d.list(v, n, path)
	case v.Type() == textsType && d.dialect == query:
		return d.dictionary(v, n, path)
	case v.Kind() == reflect.String, v.Kind() == reflect.Bool, v.CanInt(), v.CanFloat():
		return d.scalar(v, n, path)
	}
	d.set = append(d.set, path) // a kind of field no honoured one has: noted, so that it is refused
	return nil
}

func (d *decoder) fields(v reflect.Value, n *node, path string) error {
	if n.set && n.value != "" {
		return d.bad(path, n.value, "a structure")
	}
	for name, kid := range n.kids {
		field, ok := d.field(v.Type(), name)
		at := cmp.Or(field.Name, name)
		if path != "" {
			at = path + "." + at
		}
		if !ok {
			d.set = append(d.set, at)
			continue
		}
		if err := d.fill(v.FieldByIndex(field.Index), kid, at); err != nil {
			return err
		}
	}
	return nil
}

// field finds the field a request means by name.
func (d *decoder) field(t reflect.Type, name string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if !f.IsExported() || f.Name == "ResultMetadata" {
			continue
		}
		known := f.Name
		if d.dialect == ec2q {
			known = ec2RequestName(t, f.Name)
		}
		if known == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func (d *decoder) list(v reflect.Value, n *node, path string) error {
	if d.dialect != ec2q {
		if n.set && len(n.kids) == 0 && n.value == "" {
			return nil // "X=" is how a client sends an empty list
		}
		name := memberName(d.dialect, path[strings.LastIndex(path, ".")+1:], v.Type().Elem())
		if n.kids[name] == nil || len(n.kids) > 1 || n.set {
			return d.bad(path, firstKey(n), "a list of the form "+path+"."+name+".N")
		}
		n = n.kids[name]
	}
	var numbers []int
	for k := range n.kids {
		i, err := strconv.Atoi(k)
		if err != nil || i < 1 || strconv.Itoa(i) != k {
			return d.bad(path, k, "a list index")
		}
		numbers = append(numbers, i)
	}
	if n.set || len(numbers) == 0 {
		return d.bad(path, n.value, "a list")
	}
	slices.Sort(numbers)
	out := reflect.MakeSlice(v.Type(), len(numbers), len(numbers))
	for at, i := range numbers {
		if err := d.fill(out.Index(at), n.kids[strconv.Itoa(i)], path); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

// dictionary reads a map of texts, of the form X.entry.N.key and X.entry.N.value.
func (d *decoder) dictionary(v reflect.Value, n *node, path string) error {
	d.set = append(d.set, path)
	texts := map[string]string{}
	entries := n.kids["entry"]
	if entries == nil || len(n.kids) > 1 || n.set || entries.set {
		return d.bad(path, firstKey(n), "a map of the form "+path+".entry.N.key and .value")
	}
	for number, entry := range entries.kids {
		key, value := entry.kids["key"], entry.kids["value"]
		if key == nil || value == nil || len(entry.kids) > 2 || len(key.kids) > 0 || len(value.kids) > 0 {
			return d.bad(path, number, "a key and a value")
		}
		texts[key.value] = value.value
	}
	v.Set(reflect.ValueOf(texts))
	return nil
}

func firstKey(n *node) string {
	if len(n.kids) == 0 {
		return n.value
	}
	var keys []string
	for k := range n.kids {
		keys = append(keys, k)
	}
	return slices.Min(keys)
}

func (d *decoder) scalar(v reflect.Value, n *node, path string) error {
	if len(n.kids) > 0 {
		return d.bad(path, firstKey(n), "a single value")
	}
	d.set = append(d.set, path)
	s := n.value
	switch {
	case v.Type() == timeType:
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return d.bad(path, s, "a time as 2006-01-02T15:04:05Z")
		}
		v.Set(reflect.ValueOf(t))
	case v.Type() == byteType:
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return d.bad(path, s, "base64")
		}
		v.SetBytes(b)
	case v.Kind() == reflect.String:
		v.SetString(s)
	case v.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return d.bad(path, s, "true or false")
		}
		v.SetBool(b)
	case v.CanInt():
		i, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil {
			return d.bad(path, s, "an integer")
		}
		v.SetInt(i)
	case v.CanFloat():
		f, err := strconv.ParseFloat(s, v.Type().Bits())
		if err != nil {
			return d.bad(path, s, "a number")
		}
		v.SetFloat(f)
	}
	return nil
}

func (d *decoder) bad(path, value, want string) error {
	code := "ValidationError"
	if d.dialect == ec2q {
		code = "InvalidParameterValue"
	}
	return &cloud.Error{Code: code, Message: "Value (" + value + ") for parameter " + path + " is invalid. Expected " + want + ".", Status: 400}
}
