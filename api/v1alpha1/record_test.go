package v1alpha1

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// fill sets every field of v, so that one which the object forgets shows; some lists and pointers stay empty.
func fill(v reflect.Value, r *rand.Rand) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1+r.Int64N(4e9), 0).UTC()))
		return
	case fleet.Intent:
		v.SetString([]string{string(fleet.Forward), string(fleet.Back)}[r.IntN(2)])
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), r)
		}
	case reflect.Pointer:
		if r.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), r)
		}
	case reflect.Slice:
		if n := r.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(v.Index(i), r)
			}
		}
	case reflect.String:
		v.SetString([]string{"", "web", "größer als 3 \"x\"", fmt.Sprint("n-", r.IntN(1000))}[r.IntN(4)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int:
		v.SetInt(int64(r.IntN(1000)))
	case reflect.Float64:
		v.SetFloat(float64(r.IntN(100)) / 8)
	case reflect.Int64: // a duration
		v.SetInt(r.Int64N(int64(100 * time.Hour)))
	default:
		panic(fmt.Sprintf("no value for %s", v.Type()))
	}
}

// What is read back is what was recorded, through the JSON that the API server keeps.
func TestARecordReadsBackExactly(t *testing.T) {
	for seed := range uint64(300) {
		var want fleet.RotationRecord
		if seed > 0 { // the first is empty
			fill(reflect.ValueOf(&want).Elem(), rand.New(rand.NewPCG(seed, seed)))
		}
		object, err := FromRecord(want)
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var back Rotation
		if err := json.Unmarshal(body, &back); err != nil {
			t.Fatal(err)
		}
		got, err := back.Record()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d:\n got %+v\nwant %+v\n  as %s", seed, got, want, body)
		}
	}
}

func TestUnknownIntentIsAnError(t *testing.T) {
	if _, err := FromRecord(fleet.RotationRecord{Run: "r-1", Intent: "sideways"}); err == nil || !strings.Contains(err.Error(), `rotation r-1: intent "sideways"`) {
		t.Errorf("written: %v", err)
	}
	r := &Rotation{Spec: RotationSpec{Intent: "Sideways"}}
	r.Name = "r-1"
	if _, err := r.Record(); err == nil || !strings.Contains(err.Error(), `rotation r-1: intent "Sideways"`) {
		t.Errorf("read: %v", err)
	}
}

func TestMarksAreSetOnce(t *testing.T) {
	at := func(second int64) metav1.Time { return metav1.Unix(second, 0) }
	got := Marks{Moving: at(1)}.With(Marks{Moving: at(9), Canary: at(2)})
	if want := (Marks{Moving: at(1), Canary: at(2)}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What is checked in is what the types generate.
func TestGeneratingChangesNothing(t *testing.T) {
	dir := t.TempDir()
	gen := exec.Command("go", "tool", "controller-gen", "object", "crd", "paths=.", "output:object:dir="+dir, "output:crd:dir="+dir)
	gen.Env = append(os.Environ(), "GOFLAGS=-mod=readonly -trimpath")
	if out, err := gen.CombinedOutput(); err != nil {
		t.Fatalf("controller-gen: %v\n%s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(made) != 6 {
		t.Fatalf("generated %v, %v", made, err)
	}
	for _, path := range made {
		kept := filepath.Join("../../deploy/crds", filepath.Base(path))
		if filepath.Ext(path) == ".go" {
			kept = filepath.Base(path)
		}
		if want, got := read(t, path), read(t, kept); got != want {
			t.Errorf("%s is out of date: go generate ./api/...", kept)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	out, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
