package database

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"drover.dev/sandbox/cloud"
)

// settings of every server. Where it listens comes with its start. The archive is named as seen from the data directory, where PostgreSQL runs the
// command: so a folder's name needs no quoting, and a copy of the directory archives beside itself. A segment appears there whole or not at all.
const settings = `unix_socket_directories = ''
fsync = off
shared_buffers = 16MB
max_connections = 100
password_encryption = scram-sha-256
wal_level = replica
max_wal_size = 64MB
min_wal_size = 2MB
max_wal_senders = 4
hot_standby = off
archive_mode = on
archive_timeout = 60s
archive_command = 'cp %p ../wal/.%f && mv ../wal/.%f ../wal/%f'
ssl = on
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_min_error_statement = panic
`

// access: a password from everywhere, a base backup only for the superuser.
const access = `host replication rdsadmin 127.0.0.0/8 scram-sha-256
host all rdsadmin 127.0.0.0/8 scram-sha-256
host all rdsadmin all reject
host all all all scram-sha-256
`

// roles are RDS's own. Before version 15 a setting could not be granted, nor a checkpoint.
const (
	roles = `CREATE ROLE rds_superuser NOLOGIN;
CREATE ROLE rds_password NOLOGIN;
GRANT pg_monitor, pg_signal_backend TO rds_superuser WITH ADMIN OPTION;
GRANT rds_password TO rds_superuser WITH ADMIN OPTION;
`
	roles15 = `GRANT pg_checkpoint TO rds_superuser WITH ADMIN OPTION;
GRANT SET ON PARAMETER session_replication_role TO rds_superuser;
`
)

// template is an initialised data directory, to be copied: initdb takes seconds. It is made when it is first needed.
func (s *Servers) template(ctx context.Context, major int) (string, error) {
	if err := s.templates.take(ctx); err != nil {
		return "", err
	}
	defer s.templates.give()
	dir := filepath.Join(s.opt.Dir, fmt.Sprintf("template-%d", major))
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	raw := filepath.Join(s.opt.Dir, ".template")
	if err := os.RemoveAll(raw); err != nil {
		return "", err
	}
	if err := s.initialise(ctx, major, raw); err != nil {
		return "", fmt.Errorf("initialise a data directory: %w", err)
	}
	return dir, os.Rename(raw, dir)
}

func (s *Servers) initialise(ctx context.Context, major int, data string) error {
	password, err := s.superPassword()
	if err != nil {
		return err
	}
	file := filepath.Join(s.opt.Dir, ".password")
	if err := s.files.write(file, password+"\n"); err != nil {
		return err
	}
	defer os.Remove(file)
	// Segments of log of 1 MB rather than 16: one is archived every minute in which something was written.
	if err := s.tool(ctx, major, "", "initdb", "-D", data, "-U", superuser, "--pwfile", file, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C",
		"--wal-segsize=1", "--no-sync", "--no-instructions"); err != nil {
		return err
	}
	certificate, key, err := certify()
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"postgresql.conf": settings, "pg_hba.conf": access, "server.crt": certificate, "server.key": key} {
		if err := s.files.write(filepath.Join(data, name), text); err != nil {
			return err
		}
	}
	sql := roles
	if major >= 15 {
		sql += roles15
	}
	return s.alone(ctx, major, data, sql)
}

// alone carries out SQL, a statement in a line, in a data directory that has no server.
func (s *Servers) alone(ctx context.Context, major int, data, sql string) error {
	return s.tool(ctx, major, sql, "postgres", "--single", "-D", data, "-c", "exit_on_error=on", "-c", "log_checkpoints=off", "postgres")
}

// master is the SQL that makes the master user and the database of a specification.
func master(s cloud.BackingSpec) (string, error) {
	for what, value := range map[string]string{"master user": s.User, "password": s.Password} {
		if value == "" {
			return "", fmt.Errorf("no %s given", what)
		}
	}
	for what, value := range map[string]string{"master user": s.User, "password": s.Password, "database": s.Database} {
		if strings.ContainsFunc(value, unicode.IsControl) {
			return "", fmt.Errorf("%s: it contains a control character", what)
		}
	}
	sql := fmt.Sprintf("CREATE ROLE %s LOGIN CREATEROLE CREATEDB PASSWORD %s IN ROLE rds_superuser;\nALTER DATABASE postgres OWNER TO %[1]s;\n",
		quote(s.User, `"`), quote(s.Password, `'`))
	if s.Database != "" && s.Database != "postgres" {
		sql += fmt.Sprintf("CREATE DATABASE %s OWNER %s;\n", quote(s.Database, `"`), quote(s.User, `"`))
	}
	return sql, nil
}

func quote(s, mark string) string { return mark + strings.ReplaceAll(s, mark, mark+mark) + mark }

// superPassword is the superuser's, in every database of the root, snapshots included: made with the first.
func (s *Servers) superPassword() (string, error) {
	text, err := os.ReadFile(s.passFile())
	if err == nil {
		line := strings.TrimSpace(string(text))
		return line[strings.LastIndex(line, ":")+1:], nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	password := rand.Text()
	return password, s.files.write(s.passFile(), "*:*:*:"+superuser+":"+password+"\n")
}

func (s *Servers) passFile() string { return filepath.Join(s.opt.Dir, "pgpass") }

// certify makes a certificate that is signed by itself, and its key.
func certify() (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "drover sandbox database"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	signed, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return text("CERTIFICATE", signed), text("PRIVATE KEY", secret), nil
}
