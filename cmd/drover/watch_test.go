package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

func plainly(_, text string) string { return text }

// seen is the shop in the middle of its rotation, as watch sees it.
func seen(t *testing.T) *view {
	t.Helper()
	s := during(t, evac.Options{}, 8)
	s.Pods = append(s.Pods, pod("api-9", "ip-10-0-0-4.eu-west-1.compute.internal"), pod("api-8", "ip-10-0-0-5.eu-west-1.compute.internal"))
	s.Pods[len(s.Pods)-1].Ready = false
	v := viewOf(&s, stand(&s, &s.Rotations[0]))
	v.place, v.left = "cluster shop, account 000000000000, eu-west-1", 42*time.Second
	return v
}

func TestDraw(t *testing.T) {
	golden(t, "testdata/watch-80x24.txt", strings.Join(draw(seen(t), 80, 24, plainly), "\n")+"\n")
}

func TestDrawPaused(t *testing.T) {
	s := during(t, evac.Options{}, 6)
	s.Rotations[0].Paused = &fleet.Pause{By: "grace@example", Why: "checkout is slow", At: s.Now}
	v := viewOf(&s, stand(&s, &s.Rotations[0]))
	v.place = "cluster shop"
	golden(t, "testdata/watch-paused-60x20.txt", strings.Join(draw(v, 60, 20, plainly), "\n")+"\n")
}

// crowd is a run over many nodes with many pods.
func crowd(nodes, pods int) *view {
	v := &view{run: "r-20261121-120000-abc", groups: "groups " + strings.Repeat("web-blue, ", 12), who: "ada@example", phase: "Moving", place: "cluster shop", took: time.Hour, forecast: 2 * time.Hour, left: time.Hour, moved: 10, pods: nodes * pods, gone: 1, exits: nodes}
	for i := range nodes {
		r := row{name: fmt.Sprintf("ip-10-0-%d-%d.eu-west-1.compute.internal", i/250, i%250), zone: "eu-west-1a", state: []string{"Emptying", "Waiting", "Gone"}[min(i/20, 2)]}
		for j := range pods {
			r.pods = append(r.pods, podState(j*4/pods))
		}
		v.old, v.fresh = append(v.old, r), append(v.fresh, r)
		v.waiting = append(v.waiting, fmt.Sprintf("budget shop/api-%d: 4 healthy, needs 4, allows 0, and so on and on until no line can hold it any more", i))
	}
	return v
}

func TestDrawManyNodes(t *testing.T) {
	golden(t, "testdata/watch-many-80x24.txt", strings.Join(draw(crowd(100, 60), 80, 24, plainly), "\n")+"\n")
}

// Whatever there is to show, the picture is as high as the screen and no wider.
func TestDrawKeepsToTheScreen(t *testing.T) {
	for _, nodes := range []int{0, 1, 3, 12, 200} {
		for _, pods := range []int{0, 1, 40, 300} {
			for _, width := range []int{20, 40, 60, 80, 132} {
				for _, height := range []int{3, 8, 10, 24, 50} {
					lines := draw(crowd(nodes, pods), width, height, plainly)
					if len(lines) != height {
						t.Errorf("%d nodes, %d pods, %dx%d: %d lines", nodes, pods, width, height, len(lines))
					}
					if height >= fewest && !strings.HasSuffix(lines[len(lines)-1], "q leaves") {
						t.Errorf("%d nodes, %d pods, %dx%d: ends with %q", nodes, pods, width, height, lines[len(lines)-1])
					}
					for i, l := range lines {
						if wide(l) > width {
							t.Errorf("%d nodes, %d pods, %dx%d: line %d is %d wide: %q", nodes, pods, width, height, i, wide(l), l)
						}
					}
				}
			}
		}
	}
}

func TestColourOnlyRepeats(t *testing.T) {
	v := seen(t)
	strip := func(lines []string) string {
		s := strings.Join(lines, "\n")
		for _, code := range []string{"<32>", "<33>", "<31>", "<2>", "<1>", "</>"} {
			s = strings.ReplaceAll(s, code, "")
		}
		return s
	}
	painted := draw(v, 80, 24, func(code, text string) string { return "<" + code + ">" + text + "</>" })
	if strip(painted) != strings.Join(draw(v, 80, 24, plainly), "\n") {
		t.Error("the picture without colour differs in more than colour")
	}
}

func TestChanges(t *testing.T) {
	var before *view
	var lines []string
	for _, rounds := range []int{1, 3, 5, 7, 8} {
		s := during(t, evac.Options{}, rounds)
		v := viewOf(&s, stand(&s, &s.Rotations[0]))
		lines = append(lines, changes(before, v)...)
		before = v
	}
	if again := changes(before, before); len(again) > 0 {
		t.Errorf("nothing changed, and yet: %v", again)
	}
	golden(t, "testdata/watch-lines.txt", strings.Join(lines, "\n")+"\n")
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0:00", 9400 * time.Millisecond: "0:09", 61 * time.Second: "1:01", 3*time.Hour + 2*time.Minute + time.Second: "3:02:01"} {
		if got := clock(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

// A store that is in the middle of a move of the run is told with its step, once.
func TestWatchTellsOfMovesOfStores(t *testing.T) {
	s := during(t, evac.Options{}, 7)
	st := addOrders(&s)
	begun(&s, st, "orders-master-0", s.Rotations[0].Run)
	look := func() *view { return viewOf(&s, stand(&s, &s.Rotations[0])) }
	first := look()
	if len(first.moving) != 1 || !strings.HasPrefix(first.moving[0], "store shop/orders: moves pod shop/orders-master-0 for 2m10s: ") {
		t.Fatalf("moving: %q", first.moving)
	}
	for _, w := range first.waiting {
		if strings.HasPrefix(w, "store shop/orders") {
			t.Errorf("told twice: %s", w)
		}
	}
	if text := strings.Join(draw(first, 132, 24, plainly), "\n"); !strings.Contains(text, "store shop/orders: moves pod shop/orders-master-0") {
		t.Error(text)
	}
	s.Now = s.Now.Add(time.Second)
	if lines := changes(first, look()); strings.Contains(strings.Join(lines, "\n"), "moving") {
		t.Errorf("a second later is no news: %q", lines)
	}
	s.Stores[0].Members[0].Fence = fleet.Fence{Replicas: 1, Lag: 2}
	if lines := strings.Join(changes(first, look()), "\n"); !strings.Contains(lines, "moving   store shop/orders: moves pod shop/orders-master-0") {
		t.Errorf("the next step: %q", lines)
	}
	s.Stores[0].Move.Run = "r-another"
	if v := look(); len(v.moving) > 0 {
		t.Errorf("another run's: %q", v.moving)
	}
}
