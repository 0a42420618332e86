package archive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// folder is a folder. Nothing outside of it is touched, whatever links are in it.
type folder string

// Only drover may read what is in it: a record names everything of an environment.
const (
	folderMode = 0o700
	fileMode   = 0o600
)

func (f folder) read(_ context.Context, key string) ([]byte, error) {
	raw, err := f.get(key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path.Join(string(f), key), err)
	}
	return raw, nil
}

func (f folder) get(key string) ([]byte, error) {
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.Open(key)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, largest+1))
}

func (f folder) write(_ context.Context, key string, body []byte) error {
	if err := f.put(key, body); err != nil {
		return fmt.Errorf("write %s: %w", path.Join(string(f), key), err)
	}
	return nil
}

// put brings a whole file into its place, or leaves what is there.
func (f folder) put(key string, body []byte) error {
	if err := os.MkdirAll(string(f), folderMode); err != nil {
		return err
	}
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return err
	}
	defer root.Close()
	in, base := path.Split(key)
	if err := root.MkdirAll(path.Clean(in), folderMode); err != nil {
		return err
	}
	part := path.Join(in, "."+base+"."+rand.Text()+".part")
	err = fill(root, part, body)
	if err == nil {
		err = root.Rename(part, key)
	}
	if err != nil {
		return errors.Join(err, removed(root, part))
	}
	return errors.Join(settle(root, in), settle(root, ".")) // the rename, and the new folder, are on the disk too
}

// fill writes a new file, down to the disk.
func fill(root *os.Root, name string, body []byte) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func removed(root *os.Root, name string) error {
	if err := root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func settle(root *os.Root, dir string) error {
	d, err := root.Open(path.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f folder) list(_ context.Context, environment string) ([]string, error) {
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), environment)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", path.Join(string(f), environment), err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return copies(environment, names), nil
}
