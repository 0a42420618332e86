package redis

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"drover.dev/fleet"
)

// Redis' words for what it is.
const (
	modeStandalone = "standalone"
	modeCluster    = "cluster"
	modeSentinel   = "sentinel"
)

// info is what INFO says.
type info map[string]string

// parseInfo reads INFO: lines of name:value under headings.
func parseInfo(text string) info {
	m := info{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			m[name] = value
		}
	}
	return m
}

// number reads a figure; what is absent or odd is 0.
func (m info) number(name string) int64 {
	n, err := strconv.ParseInt(m[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (m info) on(name string) bool { return m[name] == "1" }

func (m info) role() fleet.Role {
	switch m["role"] {
	case "master":
		return fleet.RoleMaster
	case "slave", "replica":
		return fleet.RoleReplica
	}
	return ""
}

// master is who is replicated, "" by a master.
func (m info) master() string {
	if m.role() != fleet.RoleReplica || m["master_host"] == "" {
		return ""
	}
	return address(m["master_host"], m["master_port"])
}

// offset is how far its data is. A replica that has never had a master says -1.
func (m info) offset() int64 {
	if m.role() == fleet.RoleReplica {
		return max(0, m.number("slave_repl_offset"))
	}
	return m.number("master_repl_offset")
}

// keys counts those of all databases.
func (m info) keys() int64 {
	var n int64
	for name, value := range m {
		if digits, ok := strings.CutPrefix(name, "db"); ok && isNumber(digits) {
			n += info(fields(value)).number("keys")
		}
	}
	return n
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}

// fields reads a=1,b=2.
func fields(s string) map[string]string {
	m := map[string]string{}
	for _, f := range strings.Split(s, ",") {
		if name, value, ok := strings.Cut(f, "="); ok {
			m[name] = value
		}
	}
	return m
}

// replicas are those that a master names, in its order.
func (m info) replicas() []fleet.Replica {
	var list []fleet.Replica
	for i := 0; ; i++ {
		value, ok := m["slave"+strconv.Itoa(i)]
		if !ok {
			return list
		}
		f := info(fields(value))
		list = append(list, fleet.Replica{
			Address: address(f["ip"], f["port"]),
			Online:  f["state"] == "online",
			Offset:  f.number("offset"),
			Lag:     time.Duration(f.number("lag")) * time.Second,
		})
	}
}

// saveError tells which save has failed last.
func (m info) saveError() string {
	for _, status := range []struct{ name, means string }{
		{"rdb_last_bgsave_status", "the last save of its data failed"},
		{"aof_last_write_status", "the last write of its log failed"},
		{"aof_last_bgrewrite_status", "the last rewrite of its log failed"},
	} {
		if v := m[status.name]; v != "" && v != "ok" {
			return fmt.Sprintf("%s (%s:%s)", status.means, status.name, v)
		}
	}
	return ""
}

// boundTo is the address by which a process knows the connection that asks, out of CLIENT INFO. Through a port-forward that is the loopback device,
// which means another machine to everybody else.
func boundTo(client, host string) (ip, port string, ok bool) {
	for _, f := range strings.Fields(client) {
		at, found := strings.CutPrefix(f, "laddr=")
		if !found {
			continue
		}
		ip, port, err := splitAddress(at)
		if err != nil || (ip == "127.0.0.1" || ip == "::1") && ip != host {
			return "", "", false
		}
		return ip, port, true
	}
	return "", "", false
}

// splitAddress splits at the last colon: Redis puts no brackets around IPv6.
func splitAddress(s string) (host, port string, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", errors.New("no port in " + strconv.Quote(s))
	}
	host, port = strings.TrimSuffix(strings.TrimPrefix(s[:i], "["), "]"), s[i+1:]
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", errors.New("no port in " + strconv.Quote(s))
	}
	return host, port, nil
}

// hostPort splits what address joined.
func hostPort(s string) (host, port string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return s, ""
	}
	return host, port
}
