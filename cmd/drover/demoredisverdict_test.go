package main

import (
	"errors"
	"maps"
	"strings"
	"testing"

	rediskeys "drover.dev/sandbox/keys"
)

// wellRotated is a verdict in which every promise holds.
func wellRotated() *redisVerdict {
	return &redisVerdict{
		before: map[string]bool{"i-1": true, "i-2": true}, after: map[string]bool{"i-3": true, "i-4": true},
		work: rediskeys.Report{Lines: []rediskeys.Line{
			{Store: sessionStore, Library: "go-redis", Written: 10, Read: 5}, {Store: sessionStore, Library: "rueidis", Written: 10, Failed: 3, Errors: map[string]int{"READONLY": 3}},
			{Store: cacheStore, Library: "go-redis", Written: 10},
		}},
		lost:      map[string]rediskeys.Loss{sessionStore: {}, cacheStore: {}},
		failovers: map[string]int{"session": 2, "cache 0-1": 1, "cache 2-3": 1, "cache 4-5": 2}, temporary: 1,
		covered: clusterSlots, members: clusterMembers, same: true,
	}
}

func TestRedisVerdict(t *testing.T) {
	var out strings.Builder
	if err := wellRotated().print(&out); err != nil || strings.Count(out.String(), "\n  ok ") != 8 {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for name, c := range map[string]struct {
		spoil func(v *redisVerdict)
		says  string
	}{
		"a write is lost":            {func(v *redisVerdict) { v.lost[cacheStore] = rediskeys.Loss{Writes: 1} }, "cache: 1 of 10 acknowledged writes are lost to applications, 0"},
		"a master cannot be read":    {func(v *redisVerdict) { v.lost[sessionStore] = rediskeys.Loss{Trouble: errors.New("no answer")} }, "are lost to applications (no answer), 0 of them"},
		"a reader missed a write":    {func(v *redisVerdict) { v.work.Lines[0].Missing = 1 }, "1 of 5 reads missed one"},
		"nothing was written":        {func(v *redisVerdict) { v.work.Lines[2].Written = 0 }, "cache: 0 of 0"},
		"an old node stays":          {func(v *redisVerdict) { v.after = maps.Clone(v.before) }, "0 of 2 old instances are gone"},
		"no way back":                {func(v *redisVerdict) { v.failovers["session"] = 1 }, "there and back: 2): 1"},
		"a shard without a failover": {func(v *redisVerdict) { v.failovers["cache 0-1"] = 0 }, "0 0-1, 1 2-3"},
		"two without a temporary":    {func(v *redisVerdict) { v.temporary = 0 }, "of which there were 0"},
		"a shard unseen":             {func(v *redisVerdict) { delete(v.failovers, "cache 0-1") }, "1 2-3, 2 4-5"},
		"a stale address":            {func(v *redisVerdict) { v.stale = []string{"10.0.0.1:6379"} }, "1 10.0.0.1:6379"},
		"a temporary pod is left":    {func(v *redisVerdict) { v.strangers = []string{"x-drover"} }, "left: 1 x-drover"},
		"a slot is not served":       {func(v *redisVerdict) { v.covered-- }, "16383 of 16384"},
		"a member is away":           {func(v *redisVerdict) { v.members-- }, "all 5 members"},
		"members differ":             {func(v *redisVerdict) { v.same, v.differ = false, "a and b" }, "members differ: a and b"},
	} {
		v, out := wellRotated(), strings.Builder{}
		c.spoil(v)
		err := v.print(&out)
		var coded *exit
		if !errors.As(err, &coded) || coded.code != exitFailed || !strings.HasPrefix(err.Error(), "1 of 8 promises did not hold: ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if i := strings.Index(out.String(), "BROKEN"); i < 0 || !strings.Contains(strings.SplitN(out.String()[i:], "\n", 2)[0], c.says) {
			t.Errorf("%s: does not say %q\n%s", name, c.says, out.String())
		}
	}
	v := wellRotated()
	v.failovers["session"], v.stale = 1, []string{"10.0.0.1:6379"}
	if err := v.print(&out); err == nil || err.Error() != "2 of 8 promises did not hold: failovers of the pinned master (there and back: 2): 1; and "+
		"addresses of pods that are gone, in the lists of Sentinels and members: 1 10.0.0.1:6379" {
		t.Errorf("%v", err)
	}
	v = wellRotated()
	if v.guard, v.temporary = true, 0; v.print(&out) != nil {
		t.Error("people who drain choose their order")
	}
}
