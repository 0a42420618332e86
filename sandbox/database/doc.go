// Package database keeps the data of the simulated RDS in real PostgreSQL servers, so that what logs in, loses its connections, or finds its rows
// again in a database that was stopped, started or restored has met PostgreSQL itself.
//
// Servers is a cloud.Backing: every database is a server process with a data directory, an address and an archive of write-ahead log of its own below
// one folder. A snapshot is a base backup or, of a stopped one, a copy; a restore to a point in time is the last base backup before it and the log since.
// As on RDS nobody is a superuser but rdsadmin, who is not for people: the master user may create roles and databases, and is a member of rds_superuser.
//
// It is a sandbox. Servers do not fsync: a power cut loses data. Locales are C, servers small, the certificate that clients are shown is signed by itself.
// The log is kept as long as its database: what was written bounds what the folder takes. A password of the master user cannot be
// changed from outside; SQL can. Engines other than PostgreSQL, and versions that are not installed, are refused.
//
// Servers end with this process, on Linux even when it is killed; on other systems only Close ends them.
package database
