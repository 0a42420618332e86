// Package store is Redis 7.0, Redis Sentinel and Redis Cluster in memory, at the level of their commands: what drover's stories speak to instead of processes.
//
// Make a [World] with [New], start processes in it with [World.Start], speak to them over [World.Connect], and let clients write with [World.Write]; what became of
// their writes is in [World.Report]. A process's address and its volume are separate: stop it, start it elsewhere with the same volume, and it is the pod that came
// back. The world sets no alarms: whenever it is asked, it first lets happen, in order, what has fallen due by then. The same seed and the same calls give the same life.
//
// Replication, Sentinels and the cluster bus follow the servers' own rules with the servers' own periods (INFO each 10 s, hello each 2 s, a ping a second), so that their
// times come out rather than being put in: a plain SENTINEL FAILOVER leaves the old master writable for about 10 s, a cluster's node hears of a new replica with the next
// gossip. Only three times are put in: the lag of replication, the delay of a packet, and how long a full copy takes for its size.
//
// It keeps a log of writes in place of data structures: SET, APPEND and GET are the only commands on keys. It has no TLS, no ACL users, no transactions, no pub/sub for
// clients, no scripts, no FAILOVER (SENTINEL FAILOVER and CLUSTER FAILOVER it has), no resharding (CLUSTER SETSLOT is understood as far as CLUSTER NODES shows it), and does not evict, expire or run out of memory. What it does not
// know it refuses as Redis refuses an unknown command.
package store
