package store

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

func clientList(c *Conn, _ []string) any {
	var b strings.Builder
	for _, o := range c.p.clients {
		b.WriteString(o.line())
	}
	return b.String()
}

func clientPause(c *Conn, a []string) any {
	ms, err := strconv.Atoi(a[2])
	if err != nil || ms < 0 {
		return Reply("ERR timeout is not an integer or out of range")
	}
	total := true
	switch {
	case len(a) > 4, len(a) == 4 && !strings.EqualFold(a[3], "WRITE") && !strings.EqualFold(a[3], "ALL"):
		return Reply("ERR CLIENT PAUSE mode must be WRITE or ALL")
	case len(a) == 4:
		total = strings.EqualFold(a[3], "ALL")
	}
	c.p.repl.hold(c.w.now.Add(time.Duration(ms)*time.Millisecond), total)
	return ok
}

// hold makes writes wait until a moment; a later end, and the stricter mode, of a pause that already is stays.
func (r *repl) hold(until time.Time, total bool) {
	if !r.held() {
		r.pause, r.total = until, total
		return
	}
	r.total = r.total || total
	if until.After(r.pause) {
		r.pause = until
	}
}

func clientUnpause(c *Conn, _ []string) any {
	c.p.repl.pause = time.Time{}
	return ok
}

// clientKill knows ID, TYPE normal and SKIPME.
func clientKill(c *Conn, a []string) any {
	filters := a[2:]
	if len(filters)%2 != 0 {
		return Reply("ERR syntax error")
	}
	skip, id := true, 0
	for i := 0; i < len(filters); i += 2 {
		value := filters[i+1]
		switch strings.ToUpper(filters[i]) {
		case "ID":
			n, err := strconv.Atoi(value)
			if err != nil || n <= 0 {
				return Reply("ERR client-id should be greater than 0")
			}
			id = n
		case "TYPE":
			if !slices.Contains([]string{"normal", "replica", "slave", "master", "pubsub"}, strings.ToLower(value)) {
				return Reply("ERR Unknown client type '" + value + "'")
			}
			if !strings.EqualFold(value, "normal") {
				return int64(0) // connections of other kinds are not clients here
			}
		case "SKIPME":
			skip = strings.EqualFold(value, "yes")
		default:
			return Reply("ERR syntax error")
		}
	}
	killed := int64(0)
	for _, o := range slices.Clone(c.p.clients) {
		if o == c && skip || id != 0 && o.id != id {
			continue
		}
		o.close()
		killed++
	}
	return killed
}
