package scenario

import (
	"strings"
)

// says hears a command to a store before it is carried out.
func (w *watch) says(said []string, pod string) {
	name := strings.ToUpper(said[0])
	if len(said) > 1 && name != "REPLICAOF" {
		name += " " + strings.ToUpper(said[1])
	}
	w.said[name]++
}

// ends hears that a process of a store ends. The cluster is locked.
func (w *watch) ends(addr string, graceful bool) {
}
