package cloud

import (
	"encoding/json"
	"testing"
)

func TestEventPatterns(t *testing.T) {
	const event = `{"source":"aws.ec2","detail-type":"Spot","account":"1","resources":["arn:a","arn:b"],
		"detail":{"instance-id":"i-1","state":"running","count":5,"ok":true,"none":null,"tags":[{"k":"a","v":"1"},{"k":"b","v":"2"}],"deep":{"x":"y"}}}`
	var decoded map[string]any
	if err := json.Unmarshal([]byte(event), &decoded); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pattern string
		want    bool
	}{
		{`{"source":["aws.ec2"]}`, true},
		{`{"source":["aws.s3","aws.ec2"]}`, true},
		{`{"source":["aws.s3"]}`, false},
		{`{"source":["aws.ec2"],"detail-type":["Other"]}`, false},
		{`{"source":["aws.ec2"],"detail-type":["Spot"],"detail":{"state":["running","stopped"]}}`, true},
		{`{"detail":{"state":["stopped"]}}`, false},
		{`{"detail":{"count":[5]}}`, true},
		{`{"detail":{"count":[5.0]}}`, true},
		{`{"detail":{"count":["5"]}}`, false},
		{`{"detail":{"ok":[true]}}`, true},
		{`{"detail":{"none":[null]}}`, true},
		{`{"detail":{"state":[null]}}`, false},
		{`{"resources":["arn:b"]}`, true},
		{`{"resources":["arn:c"]}`, false},
		{`{"resources":[{"prefix":"arn:"}]}`, true},
		{`{"source":[{"prefix":"aws."}]}`, true},
		{`{"source":[{"prefix":"own."}]}`, false},
		{`{"source":[{"suffix":".ec2"}]}`, true},
		{`{"source":[{"equals-ignore-case":"AWS.EC2"}]}`, true},
		{`{"source":[{"wildcard":"a*.*2"}]}`, true},
		{`{"source":[{"wildcard":"aws?ec2"}]}`, false},
		{`{"detail":{"count":[{"prefix":"5"}]}}`, false},
		{`{"detail":{"state":[{"anything-but":"running"}]}}`, false},
		{`{"detail":{"state":[{"anything-but":["a","b"]}]}}`, true},
		{`{"detail":{"count":[{"anything-but":[5,6]}]}}`, false},
		{`{"detail":{"state":[{"anything-but":{"prefix":"run"}}]}}`, false},
		{`{"detail":{"state":[{"anything-but":{"suffix":"run"}}]}}`, true},
		{`{"detail":{"absent":[{"anything-but":"x"}]}}`, false},
		{`{"detail":{"state":[{"exists":true}]}}`, true},
		{`{"detail":{"state":[{"exists":false}]}}`, false},
		{`{"detail":{"absent":[{"exists":true}]}}`, false},
		{`{"detail":{"absent":[{"exists":false}]}}`, true},
		{`{"detail":{"absent":["x",{"exists":false}]}}`, true},
		{`{"absent":{"below":[{"exists":false}]}}`, true},
		{`{"absent":{"below":["x"]}}`, false},
		{`{"detail":{"deep":[{"exists":true}]}}`, false}, // EventBridge: only of leaves
		{`{"detail":{"count":[{"numeric":[">",0,"<=",5]}]}}`, true},
		{`{"detail":{"count":[{"numeric":["<",5]}]}}`, false},
		{`{"detail":{"count":[{"numeric":["=",5]}]}}`, true},
		{`{"detail":{"state":[{"numeric":["=",5]}]}}`, false},
		{`{"detail":{"tags":{"k":["b"]}}}`, true},
		{`{"detail":{"tags":{"k":["b"],"v":["1"]}}}`, false},
		{`{"detail":{"deep":{"x":["y"]}}}`, true},
	} {
		match, err := readPattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
		} else if got := match(decoded); got != c.want {
			t.Errorf("%s: %v, want %v", c.pattern, got, c.want)
		}
	}
}

func TestEventPatternsThatAreRefused(t *testing.T) {
	l := newLab(t, Config{})
	for _, c := range []struct{ pattern, code, text string }{
		{`x`, "InvalidEventPatternException", "not a JSON object"},
		{`[]`, "InvalidEventPatternException", "not a JSON object"},
		{`{"a":["b"]} {}`, "InvalidEventPatternException", "not a JSON object"},
		{`{}`, "InvalidEventPatternException", "Empty objects"},
		{`{"source":"aws.ec2"}`, "InvalidEventPatternException", `"source" must be an object or an array`},
		{`{"detail":{"state":7}}`, "InvalidEventPatternException", `"detail.state" must be`},
		{`{"source":[]}`, "InvalidEventPatternException", "Empty arrays"},
		{`{"source":[["a"]]}`, "InvalidEventPatternException", "array in an array"},
		{`{"source":[{"prefix":"a","suffix":"b"}]}`, "InvalidEventPatternException", "Only one key"},
		{`{"source":[{"like":"a"}]}`, "InvalidEventPatternException", "Unrecognized match type like"},
		{`{"source":[{"prefix":7}]}`, "InvalidEventPatternException", "must be a string"},
		{`{"source":[{"wildcard":"a\\*"}]}`, "InvalidEventPatternException", "must be a string"},
		{`{"source":[{"exists":"yes"}]}`, "InvalidEventPatternException", "either true or false"},
		{`{"source":[{"numeric":[">"]}]}`, "InvalidEventPatternException", "Invalid numeric match"},
		{`{"source":[{"numeric":["~",1]}]}`, "InvalidEventPatternException", "Invalid numeric match"},
		{`{"source":[{"anything-but":null}]}`, "InvalidEventPatternException", "anything-but"},
		{`{"source":[{"anything-but":[true]}]}`, "InvalidEventPatternException", "anything but list"},
		{`{"source":[{"anything-but":[]}]}`, "InvalidEventPatternException", "Empty arrays"},
		{`{"source":[{"anything-but":{}}]}`, "InvalidEventPatternException", "Only one key"},
		{`{"source":[{"anything-but":{"prefix":["a"]}}]}`, "NotSimulated", "anything-but prefix of a list"},
		{`{"source":[{"prefix":{"equals-ignore-case":"a"}}]}`, "NotSimulated", "prefix of an object"},
		{`{"source":[{"cidr":"10.0.0.0/8"}]}`, "NotSimulated", "cidr"},
		{`{"$or":[{"source":["a"]},{"source":["b"]}]}`, "NotSimulated", "$or"},
	} {
		_, err := l.PutRule(Rule{Name: "r", Pattern: c.pattern}, nil)
		l.refused(err, c.code, c.text)
	}
	_, err := l.DescribeRule("r")
	l.refused(err, "ResourceNotFoundException", "Rule r does not exist on EventBus default.")
}

func FuzzEventPattern(f *testing.F) {
	f.Add(`{"source":[{"prefix":"aws."}],"detail":{"a":[{"numeric":[">",1]}]}}`, `{"source":"aws.ec2","detail":{"a":2}}`)
	f.Add(`{"a":[{"anything-but":{"suffix":"x"}},null]}`, `{"a":[1,[2,{"b":null}]]}`)
	f.Fuzz(func(t *testing.T, pattern, event string) {
		match, err := readPattern(pattern)
		var decoded map[string]any
		if err == nil && json.Unmarshal([]byte(event), &decoded) == nil {
			if match(decoded) != match(decoded) {
				t.Fatalf("%s of %s is undecided", pattern, event)
			}
		}
	})
}
