package store

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// aliases are the names of old, answered under the name that was asked for.
var aliases = map[string]string{
	"slave-priority": "replica-priority", "min-slaves-to-write": "min-replicas-to-write", "min-slaves-max-lag": "min-replicas-max-lag",
	"cluster-slave-no-failover": "cluster-replica-no-failover", "slave-announce-ip": "replica-announce-ip", "slave-announce-port": "replica-announce-port",
}

// fixed are settings that a running server does not change, or whose change is not modelled: port and bind.
var fixed = []string{"port", "bind", "cluster-enabled", "cluster-config-file"}

func configGet(c *Conn, a []string) any {
	out := []any{}
	if !strings.ContainsAny(strings.Join(a[2:], ""), "*?[\\") {
		names := make([]string, 0, len(a))
		for _, name := range a[2:] {
			names = append(names, strings.ToLower(name))
		}
		slices.SortFunc(names, func(x, y string) int {
			return cmp.Or(cmp.Compare(min(len(aliases[x]), 1), min(len(aliases[y]), 1)), cmp.Compare(x, y))
		})
		for _, name := range slices.Compact(names) {
			if value, known := c.p.settings[cmp.Or(aliases[name], name)]; known {
				out = append(out, name, value)
			}
		}
		return out
	}
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(c.p.settings)), slices.Sorted(maps.Keys(aliases))) {
		asked := func(pattern string) bool {
			hit, err := path.Match(strings.ToLower(pattern), name)
			// An alias is shown when it is asked for, and not for every pattern.
			return err == nil && hit && (aliases[name] == "" || !strings.ContainsAny(pattern, "*?["))
		}
		if !slices.ContainsFunc(a[2:], asked) {
			continue
		}
		real := name
		if aliases[name] != "" {
			real = aliases[name]
		}
		out = append(out, name, c.p.settings[real])
	}
	return out
}

func configSet(c *Conn, a []string) any {
	pairs := a[2:]
	if len(pairs)%2 != 0 {
		return Reply("ERR wrong number of arguments for 'config|set' command")
	}
	next := maps.Clone(c.p.settings)
	for i := 0; i < len(pairs); i += 2 {
		name := strings.ToLower(pairs[i])
		if aliases[name] != "" {
			name = aliases[name]
		}
		if _, known := defaults[name]; !known {
			return Reply("ERR Unknown option or number of arguments for CONFIG SET - '" + pairs[i] + "'")
		}
		if slices.Contains(fixed, name) {
			return Reply("ERR CONFIG SET failed (possibly related to argument '" + pairs[i] + "') - can't set immutable config")
		}
		value, why := checked(name, pairs[i+1])
		if why != "" {
			return Reply("ERR CONFIG SET failed (possibly related to argument '" + pairs[i] + "') - " + why)
		}
		next[name] = value
	}
	c.p.settings = next
	c.p.c.Password = next["requirepass"]
	if c.p.bus != nil {
		c.p.bus.announce()
	}
	return ok
}

// checked is a value as it is kept, or why it is none.
func checked(name, value string) (string, string) {
	switch was := defaults[name]; {
	case was == "yes" || was == "no":
		if v := strings.ToLower(value); v == "yes" || v == "no" {
			return v, ""
		}
		return "", "argument must be 'yes' or 'no'"
	case was != "" && strings.Trim(was, "0123456789") == "":
		n, err := strconv.Atoi(value)
		if err != nil {
			return "", "argument couldn't be parsed into an integer"
		}
		if n < 0 {
			return "", "argument must be between 0 and 2147483647 inclusive"
		}
		return strconv.Itoa(n), ""
	}
	return value, ""
}
