package archive

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"drover.dev/fleet"
)

func TestOnlyDroverReadsCopies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "copies")
	if err := (&Archive{}).Save(t.Context(), "file://"+dir, record("e-1")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "staging"): 0o700, filepath.Join(dir, "staging", "e-1.yaml"): 0o600} {
		if is, err := os.Stat(path); err != nil || is.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, is.Mode(), err, want)
		}
	}
	nothingElse(t, filepath.Join(dir, "staging"), "e-1.yaml")
}

func nothingElse(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("in %s: %v, want %v", dir, names, want)
	}
}

func TestFoldersThatAreNotThere(t *testing.T) {
	dir := t.TempDir()
	if _, err := (&Archive{}).Load(t.Context(), "file://"+dir+"/unmounted", "staging"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "unmounted") {
		t.Errorf("a volume that is not mounted: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "staging"), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&Archive{}).Save(t.Context(), "file://"+dir, record("e-1")); !errors.Is(err, syscall.ENOTDIR) || !strings.Contains(err.Error(), dir+"/staging/e-1.yaml: ") {
		t.Errorf("a file in the folder's place: %v", err)
	}
}

// A link in the folder leads nobody out of it.
func TestLinksLeadNowhere(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "staging")); err != nil {
		t.Fatal(err)
	}
	if err := (&Archive{}).Save(t.Context(), "file://"+dir, record("e-1")); err == nil {
		t.Error("it was written through the link")
	}
	nothingElse(t, outside)
}

// elsewhere says to a test's second process what to do.
const elsewhere, where = "DROVER_TEST_ARCHIVE", "DROVER_TEST_ARCHIVE_FOLDER"

// A disk that is full, and a folder that may not be written: limits of a process, so they are tried in one of its own.
func TestDisksThatTakeNothing(t *testing.T) {
	if how := os.Getenv(elsewhere); how != "" {
		saveIn(t, how, os.Getenv(where))
		return
	}
	for how, want := range map[string]string{"full": "file too large", "read only": "permission denied"} {
		t.Run(how, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "drover-archive") // not the test's own, into which another user may not look
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			before := record("e-1")
			if err := (&Archive{}).Save(t.Context(), "file://"+dir, before); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "staging"), 0o555), os.Chmod(filepath.Join(dir, "staging", "e-1.yaml"), 0o444)); err != nil {
				t.Fatal(err)
			}
			if how == "full" {
				if err := os.Chmod(filepath.Join(dir, "staging"), 0o777); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(os.Args[0], "-test.run", "^TestDisksThatTakeNothing$", "-test.v")
			cmd.Env = append(os.Environ(), elsewhere+"="+how, where+"="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "it said: save a copy of record e-1 of environment staging: ") || !strings.Contains(string(out), want) {
				t.Errorf("%v: want %q in\n%s", err, want, out)
			}
			nothingElse(t, filepath.Join(dir, "staging"), "e-1.yaml")
			if got := load1(t, &Archive{}, "file://"+dir); len(got) != 1 || !got[0].Marks.Off.IsZero() {
				t.Errorf("the copy before: %+v", got)
			}
		})
	}
}

// saveIn tries to write a later copy.
func saveIn(t *testing.T, how, dir string) {
	if os.Getuid() == 0 { // whom no mode keeps out
		if err := errors.Join(syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
			t.Fatal(err)
		}
	}
	if how == "full" {
		signal.Ignore(syscall.SIGXFSZ)
		var was syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 512, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was) }()
	}
	r := record("e-1")
	r.Marks = fleet.SleepMarks{Off: began}
	os.Stdout.WriteString("it said: " + (&Archive{}).Save(t.Context(), "file://"+dir, r).Error() + "\n")
}
