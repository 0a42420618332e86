// Package enter is the first program of every container: it turns a fresh process,
// already in namespaces of its own, into the inside of a container, and then
// becomes the container's command.
//
// The parent starts the same binary under the name Name with a Spec on file
// descriptor 3, and learns from descriptor 4 how it went: text is an error, the
// end of the file is a command that runs. The command then is process 1 of its
// PID namespace, as in any other container: it gets no default signal handlers,
// and when it ends, the kernel ends all that it left behind.
//
// It refuses to isolate for security. The root is the host's own files under a
// writable layer that goes with the container; nothing is hidden or limited.
package enter

import "encoding/json"

// Name is the argv[0] that makes a process of this binary a container's first.
const Name = "drover-container"

// The descriptors that a parent passes; see the package comment.
const (
	specFD   = 3
	resultFD = 4
)

// Spec is what a container's process has to become.
type Spec struct {
	// Netns is the file of the network namespace to join; empty stays with the host.
	Netns    string
	Hostname string

	// Scratch is an empty folder to mount the container's own layer on. The mount
	// lives in the container's mount namespace only.
	Scratch string

	// Hidden are host folders that the container does not see.
	Hidden []string

	Mounts       []Mount
	Files        []File
	ReadOnlyRoot bool

	Args []string
	Env  []string
	Cwd  string

	// Path is a host folder in which commands are looked for first; seen by the
	// container under the same name.
	Path string

	UID, GID uint32
	Groups   []uint32
}

// Mount shows a host file or folder at a place in the container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// File is a small file written into the container's own layer.
type File struct{ Name, Text string }

func (s *Spec) encode() ([]byte, error) { return json.Marshal(s) }
