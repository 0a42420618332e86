package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"drover.dev/fleet"
)

// What a copy says of itself. A change that an older drover would misread takes a new version.
const (
	apiVersion = "drover.dev/v1alpha1"
	kind       = "SleepRecord"
)

// largest is how long a copy may be: some thousand times a usual one, and far less than memory.
const largest = 16 << 20

// document is a copy as it is written. Its field names are what files of years ago have: they never change, whatever fleet calls them.
type document struct {
	APIVersion  string     `json:"apiVersion"`
	Kind        string     `json:"kind"`
	Environment string     `json:"environment"`
	Run         string     `json:"run"`
	By          string     `json:"by,omitempty"`
	Why         string     `json:"why,omitempty"`
	At          *time.Time `json:"at,omitempty"`
	Forced      []string   `json:"forced,omitempty"`
	Parts       []part     `json:"parts,omitempty"`
	Groups      []group    `json:"groups,omitempty"`
	Databases   []database `json:"databases,omitempty"`
	Exits       []exit     `json:"exits,omitempty"`
	Rates       []rate     `json:"rates,omitempty"`
	Hash        string     `json:"hash,omitempty"`

	Marks      *marks   `json:"marks,omitempty"`
	Fights     []fight  `json:"fights,omitempty"`
	Exceptions []string `json:"exceptions,omitempty"`
}

type part struct {
	Turn       string `json:"turn"`
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
	Tier       int    `json:"tier"`
	Ready      int    `json:"ready,omitempty"`
	Value      string `json:"value,omitempty"`
	Absent     bool   `json:"absent,omitempty"`
}

type group struct {
	Name      string   `json:"name"`
	Scaling   string   `json:"scaling,omitempty"`
	Managed   bool     `json:"managed,omitempty"`
	Cluster   string   `json:"cluster,omitempty"`
	Min       int      `json:"min"`
	Max       int      `json:"max"`
	Desired   int      `json:"desired"`
	Suspended []string `json:"suspended,omitempty"`
	Protected []string `json:"protected,omitempty"`
	Keepers   []string `json:"keepers,omitempty"`
	Exits     int      `json:"exits,omitempty"`
}

type database struct {
	ID     string  `json:"id"`
	Class  string  `json:"class,omitempty"`
	Status string  `json:"status,omitempty"`
	MinACU float64 `json:"minACU,omitempty"`
	MaxACU float64 `json:"maxACU,omitempty"`
	Lower  bool    `json:"lower,omitempty"`
	ToACU  float64 `json:"toACU,omitempty"`
}

type exit struct {
	Node     string     `json:"node,omitempty"`
	Instance string     `json:"instance"`
	Group    string     `json:"group,omitempty"`
	Cause    string     `json:"cause,omitempty"`
	Why      string     `json:"why,omitempty"`
	Replace  bool       `json:"replace,omitempty"`
	Release  bool       `json:"release,omitempty"`
	Drained  string     `json:"drained,omitempty"`
	Targets  []string   `json:"targets,omitempty"`
	Deadline *time.Time `json:"deadline,omitempty"`
}

type rate struct {
	Subject  string  `json:"subject"`
	On       float64 `json:"on"`
	Off      float64 `json:"off"`
	Currency string  `json:"currency,omitempty"`
	Source   string  `json:"source,omitempty"`
}

type marks struct {
	Archived  *time.Time `json:"archived,omitempty"`
	Off       *time.Time `json:"off,omitempty"`
	Asleep    *time.Time `json:"asleep,omitempty"`
	Starting  *time.Time `json:"starting,omitempty"`
	StartedBy string     `json:"startedBy,omitempty"`
	Again     *time.Time `json:"again,omitempty"`
	Served    *time.Time `json:"served,omitempty"`
}

type fight struct {
	Subject string     `json:"subject"`
	By      string     `json:"by,omitempty"`
	Times   int        `json:"times"`
	Last    *time.Time `json:"last,omitempty"`
}

const (
	head     = "# How everything of an environment was before drover switched it off. The last line tells whether this file is whole.\n"
	checksum = "# sha256: "
)

// Encode writes a copy. It fails for a record that would not read back as it is.
func Encode(r fleet.SleepRecord) ([]byte, error) {
	d := fromRecord(r)
	body, err := yaml.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	raw := sealed(append([]byte(head), body...))
	back, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("encode: it would not be read back: %w", err)
	}
	if !reflect.DeepEqual(back, d) {
		return nil, errors.New("encode: it would read back as something else: has it text that is not UTF-8?")
	}
	return raw, nil
}

// sealed adds the line that tells whether a copy is whole.
func sealed(body []byte) []byte {
	return fmt.Appendf(body, "%s%x\n", checksum, sha256.Sum256(body))
}

// Decode reads a copy, and nothing but a whole one of this version.
func Decode(raw []byte) (fleet.SleepRecord, error) {
	d, err := parse(raw)
	if err != nil {
		return fleet.SleepRecord{}, err
	}
	return d.record(), nil
}

func parse(raw []byte) (document, error) {
	var d document
	body, err := whole(raw)
	if err != nil {
		return d, err
	}
	text, err := yaml.YAMLToJSONStrict(body)
	if err != nil {
		return d, errors.New(strings.Join(strings.Fields(err.Error()), " ")) // on one line
	}
	unknown, err := json.UnmarshalStrict(text, &d)
	if d.APIVersion != apiVersion || d.Kind != kind { // said first: the fields of another version are other ones
		return d, fmt.Errorf("it is %q of %q: this drover reads %s of %s", d.Kind, d.APIVersion, kind, apiVersion)
	}
	if err := errors.Join(append(unknown, err)...); err != nil {
		return d, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return d, d.valid()
}

// whole returns a copy without its checksum.
func whole(raw []byte) ([]byte, error) {
	end := len(raw) - len(checksum) - 2*sha256.Size - 1
	switch {
	case len(raw) > largest:
		return nil, fmt.Errorf("it is longer than %d bytes: no copy of drover's is", largest)
	case end < 0 || !bytes.HasPrefix(raw[end:], []byte(checksum)) || raw[len(raw)-1] != '\n':
		return nil, fmt.Errorf("its last line is no checksum: it is cut after %d bytes, or was written by something else", len(raw))
	case !bytes.Equal(sealed(slices.Clone(raw[:end])), raw):
		return nil, errors.New("it does not match its checksum: it is damaged, or was changed")
	}
	return raw[:end], nil
}

var turns = []fleet.Turn{fleet.Scaled, fleet.Suspended, fleet.Held, fleet.Unsynced}

// valid tells what nobody could act on.
func (d *document) valid() error {
	if err := errors.Join(validName("environment", d.Environment), validName("run", d.Run)); err != nil {
		return err
	}
	for i, p := range d.Parts {
		switch {
		case p.Kind == "" || p.Name == "":
			return fmt.Errorf("parts[%d]: without a kind or a name", i)
		case !slices.Contains(turns, fleet.Turn(p.Turn)):
			return fmt.Errorf("parts[%d] (%s %s/%s): turn %q is none of %v", i, p.Kind, p.Namespace, p.Name, p.Turn, turns)
		case p.Absent && p.Value != "":
			return fmt.Errorf("parts[%d] (%s %s/%s): absent, and yet with a value", i, p.Kind, p.Namespace, p.Name)
		}
	}
	return nil
}

// differ names the fields by which two records are not of the same originals.
func differ(a, b fleet.SleepRecord) []string {
	x, y := fromRecord(a), fromRecord(b)
	x.Marks, x.Fights, x.Exceptions = y.Marks, y.Fights, y.Exceptions
	var fields []string
	of := reflect.TypeFor[document]()
	for i := range of.NumField() {
		if !reflect.DeepEqual(reflect.ValueOf(x).Field(i).Interface(), reflect.ValueOf(y).Field(i).Interface()) {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			fields = append(fields, name)
		}
	}
	return fields
}
