package plane

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	// binaryVariable names a control plane to use instead of any other.
	binaryVariable = "DROVER_CONTROLPLANE"

	// binaryName is what a release puts beside drover itself.
	binaryName = "drover-controlplane"

	// buildReport is how often a build says that it still runs.
	buildReport = 20 * time.Second
)

// Find returns a control plane binary. It takes the first of: the file that
// $DROVER_CONTROLPLANE names; drover-controlplane beside the running program; the
// result of Build on the controlplane/ folder found in, or above, the working
// directory or the folder of the running program.
func Find(ctx context.Context, progress io.Writer) (string, error) {
	if file := os.Getenv(binaryVariable); file != "" {
		if err := executable(file); err != nil {
			return "", fmt.Errorf("control plane from $%s: %w", binaryVariable, err)
		}
		return file, nil
	}
	var roots []string
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), binaryName)
		if executable(beside) == nil {
			return beside, nil
		}
		roots = append(roots, filepath.Dir(self))
	}
	if cwd, err := os.Getwd(); err == nil {
		roots = append([]string{cwd}, roots...)
	}
	for _, root := range roots {
		if dir := sourceAbove(root); dir != "" {
			return Build(ctx, dir, progress)
		}
	}
	return "", fmt.Errorf("control plane: $%s is not set, no %s beside this program, and no controlplane/go.mod in or above %s",
		binaryVariable, binaryName, strings.Join(roots, " or "))
}

func executable(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s: not an executable file", file)
	}
	return nil
}

// sourceAbove finds the folder controlplane/ in dir or the nearest of its parents.
func sourceAbove(dir string) string {
	for {
		source := filepath.Join(dir, "controlplane")
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// Build returns the binary made from the Go module in srcDir. It is kept in the
// user's cache under a hash of the source and the compiler, so that only the
// first call after a change compiles, which takes minutes; progress is told then.
// Any number of processes may build at once: one does, the others wait for it.
func Build(ctx context.Context, srcDir string, progress io.Writer) (string, error) {
	if progress == nil {
		progress = io.Discard
	}
	srcDir, err := filepath.Abs(srcDir)
	if err != nil {
		return "", fmt.Errorf("build control plane: %w", err)
	}
	file, err := cachedBinary(ctx, srcDir)
	if err != nil {
		return "", fmt.Errorf("build control plane: %w", err)
	}
	if executable(file) == nil {
		return file, nil
	}
	unlock, err := lockFile(ctx, file+".lock")
	if err != nil {
		return "", fmt.Errorf("build control plane: %w", err)
	}
	defer unlock()
	if executable(file) == nil { // by whoever held the lock
		return file, nil
	}
	if err := compile(ctx, srcDir, file, progress); err != nil {
		return "", fmt.Errorf("build control plane in %s: %w", srcDir, err)
	}
	return file, nil
}

// cachedBinary names the file that holds, or will hold, the binary of this source.
func cachedBinary(ctx context.Context, srcDir string) (string, error) {
	sum, err := sourceHash(ctx, srcDir)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "drover")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return filepath.Join(dir, "controlplane-"+sum), nil
}

// sourceHash covers all that decides what the binary does: source, versions of
// the modules, compiler.
func sourceHash(ctx context.Context, srcDir string) (string, error) {
	if _, err := os.Stat(filepath.Join(srcDir, "go.mod")); err != nil {
		return "", fmt.Errorf("source not found: %w", err)
	}
	sum := sha256.New()
	version, err := goCommand(ctx, srcDir, "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return "", goError(err)
	}
	sum.Write(version)
	err = filepath.WalkDir(srcDir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !isSource(entry.Name()) {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(srcDir, file)
		fmt.Fprintf(sum, "%s %d\n", name, len(data))
		sum.Write(data)
		return err
	})
	return fmt.Sprintf("%.8x", sum.Sum(nil)), err
}

func isSource(name string) bool {
	return name == "go.mod" || name == "go.sum" ||
		strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// compile builds beside the final name and renames, so that the name never holds
// half a binary.
func compile(ctx context.Context, srcDir, file string, progress io.Writer) error {
	flags, err := linkerFlags(filepath.Join(srcDir, "go.mod"))
	if err != nil {
		return err
	}
	start := time.Now()
	fmt.Fprintf(progress, "building the control plane (etcd and Kubernetes) into %s: this takes several minutes, once\n", file)
	partial := fmt.Sprintf("%s.%d.partial", file, os.Getpid())
	defer os.Remove(partial)
	var said bytes.Buffer
	cmd := goCommand(ctx, srcDir, "build", "-ldflags", flags, "-o", partial, ".")
	cmd.Stdout, cmd.Stderr = &said, &said
	quiet := every(buildReport, func() {
		fmt.Fprintf(progress, "still building the control plane, %s so far\n", time.Since(start).Round(time.Second))
	})
	err = cmd.Run()
	quiet()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", goError(err), lastLines(said.String(), 20))
	}
	if err := os.Rename(partial, file); err != nil {
		return err
	}
	fmt.Fprintf(progress, "built the control plane in %s\n", time.Since(start).Round(time.Second))
	return nil
}

var kubernetesVersion = regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)$`)

// linkerFlags names the version of Kubernetes in the binary; a server that is not
// told calls itself v0.0.0-master, and clients then refuse it or guess.
func linkerFlags(goMod string) (string, error) {
	data, err := os.ReadFile(goMod)
	if err != nil {
		return "", err
	}
	m := kubernetesVersion.FindSubmatch(data)
	if m == nil {
		return "", fmt.Errorf("%s: requires no release of k8s.io/kubernetes", goMod)
	}
	const at = "k8s.io/component-base/version"
	return fmt.Sprintf("-s -w -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s", at, m[1], m[2], m[3]), nil
}

// goCommand runs the go command outside any workspace and flags of the caller's.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly -buildvcs=false", "CGO_ENABLED=0")
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func goError(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("Go is needed to build the control plane and is not on PATH (or set $%s to a built one): %w", binaryVariable, err)
	}
	return err
}

// every calls f at each interval until the returned function was called.
func every(interval time.Duration, f func()) (stop func()) {
	ticker, done, gone := time.NewTicker(interval), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-ticker.C:
				f()
			case <-done:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done); <-gone }
}

// lastLines returns the end of a text, for an error message.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
