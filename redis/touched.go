package redis

import (
	"context"
	"slices"
	"strings"
)

// harmless are the commands that leave data as it is, as far as Sentinels, replicas, probes and people at a prompt use them. What is not known here may have
// written. CONFIG RESETSTAT is missing on purpose: after it nobody knows. Redis before 7.0 counts all CONFIG as one, so there it is not noticed.
var harmless = strings.Fields(`
	acl| asking auth bgrewriteaof bgsave client| cluster|info cluster|nodes cluster|slots command command| config config|get config|help config|rewrite config|set
	dbsize discard echo exec exists expiretime get getrange hello hexists hget hgetall hkeys hlen hmget hscan hvals info keys lastsave latency| lindex llen lolwut
	lrange memory| mget module|list monitor multi object| pexpiretime ping psubscribe psync pttl publish pubsub| punsubscribe quit randomkey readonly readwrite
	replconf reset role save scan scard select sismember slowlog| smembers sscan strlen subscribe sync time ttl type unsubscribe unwatch wait watch
	xinfo| xlen xrange xrevrange zcard zcount zrange zscan zscore`)

// writers are the commands that may have written since a process started, by INFO commandstats, as far as it has counted. What it loads is not counted there,
// while a log that was loaded counts as changes elsewhere. What a master has sent is.
func (m info) writers() []string {
	var list []string
	for name, value := range m {
		command, ok := strings.CutPrefix(name, "cmdstat_")
		if ok && info(fields(value)).number("calls") > 0 && !isHarmless(command) {
			list = append(list, command)
		}
	}
	slices.Sort(list)
	return list
}

// isHarmless knows a command by its name in small letters; a name that ends in | stands for all that begin so.
func isHarmless(command string) bool {
	container, _, _ := strings.Cut(command, "|")
	return slices.Contains(harmless, command) || slices.Contains(harmless, container+"|")
}

// touched tells by what a member's data may have been changed since its process started, "" when by nothing.
func (r *heard) touched(ctx context.Context) (string, error) {
	text, err := r.line.text(ctx, "INFO", "commandstats")
	if err != nil {
		return "", err
	}
	in := parseInfo(text)
	if _, counts := in["cmdstat_info"]; !counts { // it was asked for INFO just before
		return "it does not say by which commands", nil
	}
	if list := in.writers(); len(list) > 0 {
		return "it has carried out " + cut(strings.ToUpper(strings.Join(list, ", "))), nil
	}
	return "", nil
}
