package database

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// folders makes and fills what the servers' account owns.
type folders struct{ owner *syscall.Credential }

func (f folders) own(path string) error {
	if f.owner == nil {
		return nil
	}
	return os.Lchown(path, int(f.owner.Uid), int(f.owner.Gid))
}

// make makes a folder for nobody but the servers; it may exist.
func (f folders) make(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return f.own(dir)
}

func (f folders) write(file, text string) error {
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return f.own(file)
}

// copy makes a data directory like another one, which no server may be writing to. What names the server of the other one stays behind.
func (f folders) copy(to, from string) error {
	if err := f.make(to); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	for _, name := range []string{"postmaster.pid", "postmaster.opts"} {
		if err := os.RemoveAll(filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return filepath.WalkDir(to, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.IsDir() { // the key of its certificate must not be readable for others
			if err := os.Chmod(path, 0o600); err != nil {
				return err
			}
		}
		return f.own(path)
	})
}

// Reachable says why the servers could not get to a folder of ours: they may have to run as somebody else.
func Reachable(dir string) error {
	who, err := Account()
	if err != nil || who == nil {
		return err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if info.Mode().Perm()&0o001 == 0 && (!ok || st.Uid != who.Uid) {
			return fmt.Errorf("folder %s: closed to the user with id %d, as whom PostgreSQL runs because it refuses to run as root; chmod o+x it", dir, who.Uid)
		}
	}
	return nil
}
