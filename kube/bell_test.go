package kube

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBellRingsAtOnceAndOnceMoreForARush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBell()
		rang := func() bool {
			select {
			case <-b.C:
				return true
			default:
				return false
			}
		}
		b.Ring()
		if !rang() {
			t.Error("the first change did not ring at once")
		}
		for range 50 {
			b.Ring()
			time.Sleep(time.Millisecond) // virtual
		}
		if rang() {
			t.Error("rang again within the calm")
		}
		time.Sleep(calm)
		if !rang() {
			t.Error("the last change of the rush was lost")
		}
		time.Sleep(calm)
		if rang() {
			t.Error("rang without a change")
		}
	})
}
