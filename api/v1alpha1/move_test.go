package v1alpha1

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// What is read back is what was engaged; whether its run is idle is for the observer to say.
func TestAMoveReadsBackExactly(t *testing.T) {
	for seed := range uint64(300) {
		var want fleet.StoreMove
		if seed > 0 { // the first is empty
			fill(reflect.ValueOf(&want).Elem(), rand.New(rand.NewPCG(seed, seed)))
			want.Switched = want.Switched.Add(123456 * time.Microsecond)
		}
		object, err := FromMove(want.Pod.Namespace, "orders", want)
		if err != nil {
			t.Fatal(err)
		}
		want.Idle = false
		body, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var back Move
		if err := json.Unmarshal(body, &back); err != nil {
			t.Fatal(err)
		}
		if got := back.Move(); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d:\n got %+v\nwant %+v\n  as %s", seed, got, want, body)
		}
	}
}

func TestAMoveIsOfItsStoresNamespace(t *testing.T) {
	_, err := FromMove("shop", "orders", fleet.StoreMove{Pod: fleet.PodRef{Namespace: "other", Name: "orders-0"}})
	if err == nil || !strings.Contains(err.Error(), "move shop/orders: its pod other/orders-0 is in another namespace") {
		t.Errorf("got %v", err)
	}
}
