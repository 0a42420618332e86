package database

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"drover.dev/sandbox/cloud"
)

// superuser is who the server belongs to; RDS calls its own so.
const superuser = "rdsadmin"

// engines of RDS that speak PostgreSQL.
var engines = []string{"postgres", "aurora-postgresql"}

// Folder is where the programs of the newest PostgreSQL on this machine are; an error says what to install.
func Folder() (string, error) {
	folders, err := installed()
	if err != nil {
		return "", err
	}
	return folders[newest(folders)], nil
}

// installed finds the folder of PostgreSQL's programs by major version. Debian keeps them off the PATH: several may be installed.
func installed() (map[int]string, error) {
	folders := map[int]string{}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return nil, fmt.Errorf("find PostgreSQL: %w", err)
	}
	for _, path := range found {
		if n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))); err == nil {
			folders[n] = filepath.Dir(path)
		}
	}
	if len(folders) > 0 {
		return folders, nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return nil, errors.New("PostgreSQL: no program postgres in /usr/lib/postgresql nor on the PATH; install the package postgresql, e.g. apt-get install postgresql")
	}
	if path, err = filepath.EvalSymlinks(path); err != nil { // its neighbours initdb and pg_basebackup need not be on the PATH
		return nil, fmt.Errorf("PostgreSQL: %w", err)
	}
	n, err := major(version(filepath.Dir(path)))
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL: %s: %w", path, err)
	}
	return map[int]string{n: filepath.Dir(path)}, nil
}

// version is the full version of the programs in a folder: 15.4; "" when they do not say.
func version(folder string) string {
	said, err := exec.Command(filepath.Join(folder, "postgres"), "--version").Output()
	words := strings.Fields(strings.TrimPrefix(string(said), "postgres (PostgreSQL) ")) // "postgres (PostgreSQL) 15.4 (Debian ...)"
	if err != nil || len(words) == 0 {
		return ""
	}
	return words[0]
}

// newest is the newest major version of all.
func newest(folders map[int]string) int { return slices.Max(slices.Collect(maps.Keys(folders))) }

// Version is the version that a database gets when none is asked for: the newest one that is installed.
func (s *Servers) Version() string { return version(s.programs[newest(s.programs)]) }

// major is the 15 of 15.4, or of 15devel.
func major(version string) (int, error) {
	end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(version)
	}
	n, err := strconv.Atoi(version[:end])
	if err != nil {
		return 0, fmt.Errorf("version %q: it does not begin with a number", version)
	}
	return n, nil
}

// choose is the major version for a specification: the newest one when it does not say.
func choose(folders map[int]string, s cloud.BackingSpec) (int, error) {
	if !slices.Contains(engines, s.Engine) {
		return 0, fmt.Errorf("engine %q: the sandbox has real servers only for %s", s.Engine, strings.Join(engines, ", "))
	}
	if s.Version == "" {
		return newest(folders), nil
	}
	n, err := major(s.Version)
	if err != nil {
		return 0, err
	}
	if folders[n] == "" {
		return 0, fmt.Errorf("version %s: PostgreSQL %d is not installed; there is %s", s.Version, n, strings.Trim(fmt.Sprint(slices.Sorted(maps.Keys(folders))), "[]"))
	}
	return n, nil
}

// Account is whom a server has to run as, since PostgreSQL refuses to run as root; nil is us.
func Account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("find a user to run PostgreSQL as, who must not be root: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: id %q: %w", u.Username, u.Uid, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: group %q: %w", u.Username, u.Gid, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
