package env_test

import (
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

func TestDanger2StoreThatWasBrokenBeforeKeepsTheStart(t *testing.T) {
	o := fleet.Owner{Kind: "StatefulSet", Namespace: "staging", Name: "redis"}
	s := asleep(t, staging(func(s *fleet.Snapshot) {
		s.Parts = append(s.Parts, fleet.Part{Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: o, UID: "uid-redis", Value: "2", Ready: 2, Pods: 2, Claims: true})
		pod(s, o, "redis-0", "stg-1")
		pod(s, o, "redis-1", "stg-2")
		fleet.SortParts(s.Parts)
	}))
	rec := s.Environments[0].Record
	rec.Groups, s.Group("stg").Sleep = nil, nil
	rec.Marks.Starting, rec.Marks.Served = s.Now, s.Now
	s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true}
	p := s.Part(o)
	p.Off, p.Value, p.Ready = false, "2", 2
	pod(s, o, "redis-0", "prod-1")
	pod(s, o, "redis-1", "prod-2")
	n := len(s.Pods)
	s.Stores = []fleet.Store{{Name: "staging/redis", Mover: fleet.SentinelMover, Confirmed: true, Read: s.Now, Members: []fleet.Member{
		{Pod: s.Pods[n-2].Ref, Role: fleet.RoleMaster}, {Pod: s.Pods[n-1].Ref, Role: fleet.RoleReplica, Link: false, Master: "10.0.0.99"}}}}
	told := ""
	for range 20 {
		s.Now = s.Now.Add(time.Hour)
		told += tick(s, on, 1)
	}
	if !strings.Contains(told, "turn Deployment staging/api on") {
		t.Errorf("its replica had no link before the stop either, perhaps; 20 hours later api is not on: %v", on(s).Holds)
	}
}
