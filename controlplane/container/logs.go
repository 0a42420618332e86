package container

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxLine is the longest piece of a line that is written as one; a longer line
// becomes several, marked as partial.
const maxLine = 16 << 10

// logFile is a container's log in the format that the kubelet reads. While it is
// not open, what is written is lost.
type logFile struct {
	path string // empty: no log wanted

	mu   sync.Mutex
	file *os.File
}

func newLogFile(dir, name string) *logFile {
	if dir == "" || name == "" {
		return &logFile{}
	}
	return &logFile{path: filepath.Join(dir, name)}
}

// open opens the file, or opens it again after the kubelet has moved the old one.
func (l *logFile) open() error {
	if l.path == "" {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	l.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file = f
	return nil
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// stream is a writer for one of the container's outputs.
func (l *logFile) stream(name string) io.Writer { return &logStream{log: l, name: name} }

type logStream struct {
	log  *logFile
	name string
}

// Write gives each line its time. What a program writes without an end of line is
// written at once, as a partial line: a log that waits hides what happened last.
func (s *logStream) Write(data []byte) (int, error) {
	var out bytes.Buffer
	now := time.Now().UTC().Format(time.RFC3339Nano)
	for rest := data; len(rest) > 0; {
		tag, piece, n := "P", rest, len(rest)
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			tag, piece, n = "F", rest[:i], i+1
		}
		if len(piece) > maxLine {
			tag, piece, n = "P", rest[:maxLine], maxLine
		}
		fmt.Fprintf(&out, "%s %s %s %s\n", now, s.name, tag, piece)
		rest = rest[n:]
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if s.log.file != nil {
		s.log.file.Write(out.Bytes())
	}
	return len(data), nil // a full disk must not stop the program
}
