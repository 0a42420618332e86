package scenario

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var (
	simulations = flag.Int("sim", 60, "how many seeds TestSim tries")
	firstSeed   = flag.Uint64("seed", 1, "the first of them")
)

// TestSim tells stories and random fleets in random orders. A failure prints its seed and the story, ready to save.
func TestSim(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	failed := 0
	told, ends := map[Kind]int{}, map[ending]int{}
	for seed := *firstSeed; seed < *firstSeed+uint64(*simulations); seed++ {
		file, v := simulation(t, files, seed)
		stage := NewStage(v)
		out, ok := tellOnce(t.TempDir(), file, v, stage, false)
		told[v.Kind]++
		ends[stage.outcome.kind]++
		if ok {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		diary, _ := stage.tellDiary(nil)
		t.Errorf("seed %d, %s. Again: make sim N=1 SEED=%d\n%s\n%s\nThe story, to save in scenario/testdata:\n%s", seed, v, seed, out, diary, text)
		if failed++; failed == 5 {
			t.Fatal("five seeds failed; the others are not tried")
		}
	}
	t.Logf("%d seeds from %d: %v, ended %v", *simulations, *firstSeed, told, ends)
}

// simulation is what a seed stands for: an even one a story of ours, an odd one a fleet at random.
func simulation(t *testing.T, files []string, seed uint64) (string, Variation) {
	if seed%2 == 0 {
		return files[seed/2%uint64(len(files))], Variation{Kind: Shuffle, Seed: seed}
	}
	file := filepath.Join(t.TempDir(), "random.txtar")
	if err := os.WriteFile(file, []byte(Random(seed)), 0o644); err != nil {
		t.Fatal(err)
	}
	v := Variation{Kind: Shuffle, Seed: seed}
	switch n := seed / 2; n % 8 {
	case 0:
		v = Variation{Kind: Restart}
	case 1:
		v = Variation{Kind: Twice}
	case 2:
		v = Variation{Kind: Stale, N: 3}
	case 3:
		v = Variation{Kind: Fail, N: int(n / 8 % 200)}
	case 4:
		v = Variation{Kind: Lose, N: int(n / 8 % 200)}
	}
	return file, v
}
