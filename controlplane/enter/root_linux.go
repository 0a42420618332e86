package enter

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// makeRoot gives this process, in its new mount namespace, a root of its own: the
// host's files below a layer in memory, fresh /proc, /dev, /sys, /run and /dev/shm,
// and the container's mounts. Nothing it does is seen outside the namespace.
func makeRoot(spec *Spec) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	sources, err := openSources(spec.Mounts)
	if err != nil {
		return err
	}
	root, err := layerHost(spec.Scratch, spec.Hidden)
	if err != nil {
		return err
	}
	if err := mountSystem(root); err != nil {
		return err
	}
	if err := pivot(root); err != nil {
		return err
	}
	for _, f := range spec.Files {
		if err := writeFile(f); err != nil {
			return err
		}
	}
	for _, s := range sources {
		if err := s.bind(); err != nil {
			return err
		}
	}
	if err := syscall.Unmount("/.host", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the host's root: %w", err)
	}
	os.Remove("/.host") // only an empty folder, in our own layer
	if spec.ReadOnlyRoot {
		return remount("/", syscall.MS_BIND|syscall.MS_RDONLY)
	}
	return nil
}

// source is one mount whose host side is held open: after the pivot, the host's
// paths mean something else.
type source struct {
	Mount
	file *os.File
	dir  bool
}

// openSources opens in the order of targets, so that a mount inside another one
// comes after it.
func openSources(mounts []Mount) ([]source, error) {
	mounts = slices.Clone(mounts)
	slices.SortStableFunc(mounts, func(a, b Mount) int { return strings.Compare(filepath.Clean(a.Target), filepath.Clean(b.Target)) })
	var sources []source
	for _, m := range mounts {
		f, err := os.OpenFile(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("mount at %s: %w", m.Target, err)
		}
		info, err := f.Stat()
		if err != nil {
			return nil, fmt.Errorf("mount at %s: %w", m.Target, err)
		}
		sources = append(sources, source{Mount: m, file: f, dir: info.IsDir()})
	}
	return sources, nil
}

func (s source) bind() error {
	defer s.file.Close()
	if err := makeTarget(s.Target, s.dir); err != nil {
		return fmt.Errorf("mount at %s: %w", s.Target, err)
	}
	from := fmt.Sprintf("/proc/self/fd/%d", s.file.Fd())
	if err := syscall.Mount(from, s.Target, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", s.Source, s.Target, err)
	}
	if s.ReadOnly {
		return remount(s.Target, syscall.MS_BIND|syscall.MS_RDONLY)
	}
	return nil
}

func makeTarget(target string, dir bool) error {
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func writeFile(f File) error {
	os.Remove(f.Name) // it may be a link to where the host keeps its own
	if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", f.Name, err)
	}
	if err := os.WriteFile(f.Name, []byte(f.Text), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", f.Name, err)
	}
	return nil
}

func remount(target string, flags uintptr) error {
	if err := syscall.Mount("", target, "", flags|syscall.MS_REMOUNT, ""); err != nil {
		return fmt.Errorf("remount %s: %w", target, err)
	}
	return nil
}

// layerHost mounts the host's root, and each file system mounted in it, under a
// layer that takes the writes, and returns the new root.
func layerHost(scratch string, hidden []string) (string, error) {
	others, err := hostMounts(append(slices.Clone(hidden), scratch))
	if err != nil {
		return "", err
	}
	if err := syscall.Mount("drover", scratch, "tmpfs", 0, "mode=0755"); err != nil {
		return "", fmt.Errorf("mount the container's layer on %s: %w", scratch, err)
	}
	root := filepath.Join(scratch, "root")
	if err := overlay(scratch, 0, "/", root); err != nil {
		return "", err
	}
	for i, dir := range others {
		at := filepath.Join(root, dir)
		if err := overlay(scratch, i+1, dir, at); err == nil {
			continue
		}
		// Not every file system can lie under a layer; such a one is shown as it is.
		if err := syscall.Mount(dir, at, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return "", fmt.Errorf("show %s to the container: %w", dir, err)
		}
	}
	for _, dir := range hidden {
		at := filepath.Join(root, dir)
		if err := syscall.Mount("drover", at, "tmpfs", 0, "mode=0755"); err != nil {
			return "", fmt.Errorf("hide %s from the container: %w", dir, err)
		}
	}
	return root, nil
}

func overlay(scratch string, n int, lower, at string) error {
	upper := filepath.Join(scratch, fmt.Sprintf("upper%d", n))
	work := filepath.Join(scratch, fmt.Sprintf("work%d", n))
	for _, dir := range []string{upper, work, at} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("layer over %s: %w", lower, err)
		}
	}
	if info, err := os.Stat(lower); err == nil {
		os.Chmod(upper, info.Mode().Perm()|info.Mode()&os.ModeSticky) // the layer's root hides the lower one's mode
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work)
	if err := syscall.Mount("drover", at, "overlay", 0, options); err != nil {
		return fmt.Errorf("layer over %s: %w", lower, err)
	}
	return nil
}

// fresh are the folders that every container has anew.
var fresh = []string{"/proc", "/sys", "/dev", "/run"}

// hostMounts lists the folders directly below the root file system on which
// others are mounted, without those that are made fresh or left out.
func hostMounts(without []string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer f.Close()
	var points []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			points = append(points, strings.ReplaceAll(fields[4], `\040`, " "))
		}
	}
	slices.Sort(points)
	var top []string
	for _, dir := range points {
		info, err := os.Stat(dir)
		if dir == "/" || err != nil || !info.IsDir() || within(dir, fresh) || within(dir, without) || within(dir, top) {
			continue
		}
		top = append(top, dir)
	}
	return top, nil
}

func within(dir string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return dir == root || strings.HasPrefix(dir, root+"/")
	})
}

// mountSystem makes what a program takes for granted. /sys is the one of the
// network namespace, so that the pod's interfaces are seen there.
func mountSystem(root string) error {
	const quiet = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	for _, m := range []struct {
		at, kind, options string
		flags             uintptr
	}{
		{"/proc", "proc", "", quiet},
		{"/sys", "sysfs", "", quiet | syscall.MS_RDONLY},
		{"/dev", "tmpfs", "mode=0755", syscall.MS_NOSUID},
		{"/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620", syscall.MS_NOSUID | syscall.MS_NOEXEC},
		{"/dev/shm", "tmpfs", "mode=1777", quiet},
		{"/run", "tmpfs", "mode=0755", syscall.MS_NOSUID | syscall.MS_NODEV},
		{"/run/lock", "tmpfs", "mode=1777", quiet},
	} {
		at := filepath.Join(root, m.at)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
		if err := syscall.Mount("drover", at, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	return makeDevices(filepath.Join(root, "dev"))
}

func makeDevices(dev string) error {
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		at := filepath.Join(dev, name)
		if err := makeTarget(at, false); err != nil {
			return fmt.Errorf("device: %w", err)
		}
		if err := syscall.Mount("/dev/"+name, at, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("device %s: %w", name, err)
		}
	}
	for name, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return fmt.Errorf("device: %w", err)
		}
	}
	return nil
}

// pivot makes root the root of the mount namespace; the host's hangs on in /.host
// until the container's mounts are made.
func pivot(root string) error {
	host := filepath.Join(root, ".host")
	if err := os.MkdirAll(host, 0o700); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := syscall.PivotRoot(root, host); err != nil {
		return fmt.Errorf("change root to %s: %w", root, err)
	}
	return os.Chdir("/")
}
