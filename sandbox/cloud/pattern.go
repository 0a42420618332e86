package cloud

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// matcher tells whether an event, as decoded JSON, fits a pattern.
type matcher func(event map[string]any) bool

// test tells whether one value of an event fits. Objects are never asked.
type test func(value any) bool

// leaf is what a pattern says of one field: it fits if any test does, or if it may be absent and is.
type leaf struct {
	tests  []test
	absent bool
}

func badPattern(format string, args ...any) error {
	return refuse("InvalidEventPatternException", "Event pattern is not valid. Reason: %s", fmt.Sprintf(format, args...))
}

// readPattern understands an event pattern. What EventBridge has and this has not is refused: a rule that matches too little or too much
// would look like a lost event.
func readPattern(pattern string) (matcher, error) {
	d := json.NewDecoder(strings.NewReader(pattern))
	var fields map[string]any
	if err := d.Decode(&fields); err != nil || d.More() {
		return nil, badPattern("it is not a JSON object")
	}
	return readFields(fields, "")
}

func readFields(fields map[string]any, path string) (matcher, error) {
	if len(fields) == 0 {
		return nil, badPattern("Empty objects are not allowed")
	}
	var all []matcher
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		at := strings.TrimPrefix(path+"."+name, ".")
		m, err := readField(name, fields[name], at)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return func(event map[string]any) bool {
		return !slices.ContainsFunc(all, func(m matcher) bool { return !m(event) })
	}, nil
}

func readField(name string, pattern any, path string) (matcher, error) {
	switch p := pattern.(type) {
	case map[string]any:
		inner, err := readFields(p, path)
		return func(event map[string]any) bool { return within(event[name], inner) }, err
	case []any:
		if name == "$or" {
			return nil, NotSimulated("$or", "event patterns")
		}
		l, err := readLeaf(p, path)
		return func(event map[string]any) bool { return l.fits(event, name) }, err
	}
	return nil, badPattern(`"%s" must be an object or an array`, path)
}

// within looks into an object, or into any of a list of them; a field that is not there is an object without fields.
func within(value any, inner matcher) bool {
	switch v := value.(type) {
	case map[string]any:
		return inner(v)
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return within(item, inner) })
	}
	return inner(nil)
}

func (l leaf) fits(event map[string]any, name string) bool {
	value, ok := event[name]
	if !ok {
		return l.absent
	}
	return l.fitsValue(value)
}

func (l leaf) fitsValue(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		return false
	case []any:
		return slices.ContainsFunc(v, l.fitsValue)
	}
	return slices.ContainsFunc(l.tests, func(t test) bool { return t(value) })
}

func readLeaf(items []any, path string) (leaf, error) {
	if len(items) == 0 {
		return leaf{}, badPattern(`Empty arrays are not allowed at "%s"`, path)
	}
	var l leaf
	for _, item := range items {
		switch v := item.(type) {
		case []any:
			return leaf{}, badPattern(`"%s" holds an array in an array`, path)
		case map[string]any:
			if err := l.operator(v, path); err != nil {
				return leaf{}, err
			}
		default:
			l.tests = append(l.tests, equals(v))
		}
	}
	return l, nil
}

// equals compares texts, numbers, true, false and null.
func equals(want any) test { return func(value any) bool { return value == want } }

func not(t test) test { return func(value any) bool { return !t(value) } }

// textOperators compare a text with that of the pattern.
var textOperators = map[string]func(value, want string) bool{
	"prefix":             strings.HasPrefix,
	"suffix":             strings.HasSuffix,
	"equals-ignore-case": strings.EqualFold,
	"wildcard": func(value, want string) bool {
		return glob(strings.ReplaceAll(want, "?", "\x00"), strings.ReplaceAll(value, "?", "\x00"))
	},
}

func readText(operator string, argument any, path string) (test, error) {
	compare, ok := textOperators[operator]
	if !ok {
		return nil, badPattern(`Unrecognized match type %s at "%s"`, operator, path)
	}
	want, ok := argument.(string)
	if _, nested := argument.(map[string]any); nested {
		return nil, NotSimulated(operator+" of an object at "+path, "event patterns")
	}
	if !ok || operator == "wildcard" && strings.Contains(want, `\`) {
		return nil, badPattern(`%s match pattern must be a string at "%s"`, operator, path)
	}
	return func(value any) bool {
		s, isText := value.(string)
		return isText && compare(s, want)
	}, nil
}

func (l *leaf) operator(object map[string]any, path string) error {
	if len(object) != 1 {
		return badPattern(`Only one key allowed in match expression at "%s"`, path)
	}
	for operator, argument := range object {
		if operator == "exists" {
			there, ok := argument.(bool)
			if !ok {
				return badPattern(`exists match pattern must be either true or false at "%s"`, path)
			}
			l.absent = l.absent || !there
			l.tests = append(l.tests, func(any) bool { return there })
			return nil
		}
		t, err := readOperator(operator, argument, path)
		if err != nil {
			return err
		}
		l.tests = append(l.tests, t)
	}
	return nil
}

func readOperator(operator string, argument any, path string) (test, error) {
	switch operator {
	case "cidr":
		return nil, NotSimulated("cidr at "+path, "event patterns")
	case "numeric":
		return readNumeric(argument, path)
	case "anything-but":
		return readAnythingBut(argument, path)
	}
	return readText(operator, argument, path)
}

// readAnythingBut takes a text, a number, a list of them, or one text operator. An absent field never fits.
func readAnythingBut(argument any, path string) (test, error) {
	switch v := argument.(type) {
	case string, float64:
		return not(equals(v)), nil
	case []any:
		for _, item := range v {
			switch item.(type) {
			case string, float64:
			default:
				return nil, badPattern(`Inside anything but list, start|null|boolean is not supported at "%s"`, path)
			}
		}
		if len(v) == 0 {
			return nil, badPattern(`Empty arrays are not allowed at "%s"`, path)
		}
		return func(value any) bool { return !slices.Contains(v, value) }, nil
	case map[string]any:
		return readNegated(v, path)
	}
	return nil, badPattern(`Value of anything-but must be an array or single string/number value at "%s"`, path)
}

func readNegated(object map[string]any, path string) (test, error) {
	if len(object) != 1 {
		return nil, badPattern(`Only one key allowed in match expression at "%s"`, path)
	}
	for operator, want := range object {
		if _, isList := want.([]any); isList {
			return nil, NotSimulated("anything-but "+operator+" of a list at "+path, "event patterns")
		}
		t, err := readText(operator, want, path)
		if err != nil {
			return nil, err
		}
		return not(t), nil
	}
	return nil, nil
}

var comparisons = map[string]func(value, bound float64) bool{
	"=":  func(a, b float64) bool { return a == b },
	"<":  func(a, b float64) bool { return a < b },
	"<=": func(a, b float64) bool { return a <= b },
	">":  func(a, b float64) bool { return a > b },
	">=": func(a, b float64) bool { return a >= b },
}

// readNumeric takes one comparison, or two for a range: [">", 0, "<=", 5].
func readNumeric(argument any, path string) (test, error) {
	parts, ok := argument.([]any)
	if !ok || len(parts) != 2 && len(parts) != 4 {
		return nil, badPattern(`Invalid numeric match at "%s"`, path)
	}
	var all []func(float64) bool
	for pair := range slices.Chunk(parts, 2) {
		name, _ := pair[0].(string)
		compare, known := comparisons[name]
		bound, isNumber := pair[1].(float64)
		if !known || !isNumber {
			return nil, badPattern(`Invalid numeric match at "%s"`, path)
		}
		all = append(all, func(n float64) bool { return compare(n, bound) })
	}
	return func(value any) bool {
		n, isNumber := value.(float64)
		return isNumber && !slices.ContainsFunc(all, func(holds func(float64) bool) bool { return !holds(n) })
	}, nil
}
