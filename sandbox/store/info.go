package store

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// version is the one whose answers are given.
const version = "7.0.15"

// quiet are the fields of sections that say nothing of what is modelled: their names are there, for who reads them.
var quiet = map[string]string{
	"Clients": "connected_clients cluster_connections maxclients client_recent_max_input_buffer client_recent_max_output_buffer blocked_clients tracking_clients clients_in_timeout_table",
	"Memory": "used_memory used_memory_human used_memory_rss used_memory_rss_human used_memory_peak used_memory_peak_human used_memory_peak_perc used_memory_overhead " +
		"used_memory_startup used_memory_dataset used_memory_dataset_perc allocator_allocated allocator_active allocator_resident total_system_memory " +
		"total_system_memory_human used_memory_lua used_memory_vm_eval used_memory_lua_human used_memory_scripts_eval number_of_cached_scripts number_of_functions " +
		"number_of_libraries used_memory_vm_functions used_memory_vm_total used_memory_vm_total_human used_memory_functions used_memory_scripts " +
		"used_memory_scripts_human maxmemory maxmemory_human maxmemory_policy allocator_frag_ratio allocator_frag_bytes allocator_rss_ratio allocator_rss_bytes " +
		"rss_overhead_ratio rss_overhead_bytes mem_fragmentation_ratio mem_fragmentation_bytes mem_not_counted_for_evict mem_replication_backlog " +
		"mem_total_replication_buffers mem_clients_slaves mem_clients_normal mem_cluster_links mem_aof_buffer mem_allocator active_defrag_running lazyfree_pending_objects " +
		"lazyfreed_objects",
	"Stats": "total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes total_net_output_bytes total_net_repl_input_bytes " +
		"total_net_repl_output_bytes instantaneous_input_kbps instantaneous_output_kbps instantaneous_input_repl_kbps instantaneous_output_repl_kbps rejected_connections " +
		"sync_full sync_partial_ok sync_partial_err expired_keys expired_stale_perc expired_time_cap_reached_count expire_cycle_cpu_milliseconds evicted_keys " +
		"evicted_clients total_eviction_exceeded_time current_eviction_exceeded_time keyspace_hits keyspace_misses pubsub_channels pubsub_patterns " +
		"pubsubshard_channels latest_fork_usec total_forks migrate_cached_sockets slave_expires_tracked_keys active_defrag_hits active_defrag_misses " +
		"active_defrag_key_hits active_defrag_key_misses total_active_defrag_time current_active_defrag_time tracking_total_keys tracking_total_items " +
		"tracking_total_prefixes unexpected_error_replies total_error_replies dump_payload_sanitizations total_reads_processed total_writes_processed " +
		"io_threaded_reads_processed io_threaded_writes_processed reply_buffer_shrinks reply_buffer_expands",
	"CPU": "used_cpu_sys used_cpu_user used_cpu_sys_children used_cpu_user_children used_cpu_sys_main_thread used_cpu_user_main_thread",
}

// info answers INFO.
func (p *process) info(sections []string) any {
	order := []string{"Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules", "Commandstats", "Errorstats", "Cluster", "Keyspace"}
	if p.watch != nil {
		order = []string{"Server", "Clients", "Stats", "CPU", "Sentinel"}
	}
	var out strings.Builder
	for _, name := range order {
		asked := func(s string) bool {
			s = strings.ToLower(s)
			return s == strings.ToLower(name) || s == "all" || s == "everything" || s == "default" && name != "Commandstats"
		}
		if len(sections) == 0 {
			sections = []string{"default"}
		}
		if !slices.ContainsFunc(sections, asked) {
			continue
		}
		if out.Len() > 0 {
			out.WriteString("\r\n")
		}
		out.WriteString("# " + name + "\r\n")
		for _, f := range p.section(name) {
			out.WriteString(f[0])
			out.WriteByte(':')
			out.WriteString(f[1])
			out.WriteString("\r\n")
		}
	}
	return out.String()
}

func (p *process) section(name string) [][2]string {
	switch name {
	case "Server":
		return p.infoServer()
	case "Persistence":
		return p.infoPersistence()
	case "Replication":
		return p.infoReplication()
	case "Sentinel":
		return p.watch.info()
	case "Cluster":
		return [][2]string{{"cluster_enabled", bit(p.bus != nil)}}
	case "Keyspace":
		if n := p.repl.set.size(); n > 0 {
			return [][2]string{{"db0", fmt.Sprintf("keys=%d,expires=0,avg_ttl=0", n)}}
		}
		return nil
	case "Commandstats":
		return p.infoCommands()
	case "Errorstats":
		var out [][2]string
		for _, code := range slices.Sorted(maps.Keys(p.errors)) {
			out = append(out, [2]string{"errorstat_" + code, fmt.Sprintf("count=%d", p.errors[code])})
		}
		return out
	}
	return p.infoQuiet(name)
}

func (p *process) infoQuiet(name string) [][2]string {
	said := map[string]string{"connected_clients": strconv.Itoa(len(p.clients)), "maxclients": "10000"}
	if p.repl != nil {
		said["used_memory"] = strconv.Itoa(900000 + p.repl.set.bytes())
		said["maxmemory_policy"] = "noeviction"
		said["sync_full"], said["sync_partial_ok"] = strconv.Itoa(p.repl.fulls), strconv.Itoa(p.repl.parts)
	}
	var out [][2]string
	for _, f := range strings.Fields(quiet[name]) {
		value := said[f]
		if value == "" {
			value = "0"
		}
		out = append(out, [2]string{f, value})
	}
	return out
}

func (p *process) infoServer() [][2]string {
	mode := "standalone"
	switch {
	case p.watch != nil:
		mode = "sentinel"
	case p.bus != nil:
		mode = "cluster"
	}
	up := p.w.now.Sub(p.started)
	return [][2]string{
		{"redis_version", version}, {"redis_git_sha1", "00000000"}, {"redis_git_dirty", "0"}, {"redis_build_id", "0"}, {"redis_mode", mode}, {"os", "Linux x86_64"}, {"arch_bits", "64"},
		{"monotonic_clock", "POSIX clock_gettime"}, {"multiplexing_api", "epoll"}, {"atomicvar_api", "c11-builtin"}, {"gcc_version", "12.2.0"}, {"process_id", "1"},
		{"process_supervised", "no"}, {"run_id", p.runID}, {"tcp_port", strconv.Itoa(p.port)}, {"server_time_usec", strconv.FormatInt(p.w.now.UnixMicro(), 10)},
		{"uptime_in_seconds", strconv.Itoa(int(up / time.Second))}, {"uptime_in_days", strconv.Itoa(int(up / (24 * time.Hour)))}, {"hz", "10"}, {"configured_hz", "10"},
		{"lru_clock", strconv.FormatInt(p.w.now.Unix()&(1<<24-1), 10)}, {"executable", "/usr/bin/redis-server"}, {"config_file", ""}, {"io_threads_active", "0"},
	}
}

func (p *process) infoPersistence() [][2]string {
	said := map[string]string{
		"loading": bit(p.busy()), "rdb_changes_since_last_save": strconv.Itoa(p.repl.changes), "rdb_last_save_time": strconv.FormatInt(p.started.Unix(), 10),
		"rdb_last_bgsave_status": "ok", "rdb_last_bgsave_time_sec": "-1", "rdb_current_bgsave_time_sec": "-1", "rdb_saves": strconv.Itoa(p.repl.saves),
		"current_fork_perc": "0.00", "aof_enabled": bit(p.c.AOF), "aof_last_rewrite_time_sec": "-1", "aof_current_rewrite_time_sec": "-1", "aof_last_bgrewrite_status": "ok",
		"aof_last_write_status": "ok",
	}
	names := "loading async_loading current_cow_peak current_cow_size current_cow_size_age current_fork_perc current_save_keys_processed current_save_keys_total " +
		"rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec rdb_saves " +
		"rdb_last_cow_size rdb_last_load_keys_expired rdb_last_load_keys_loaded aof_enabled aof_rewrite_in_progress aof_rewrite_scheduled " +
		"aof_last_rewrite_time_sec aof_current_rewrite_time_sec aof_last_bgrewrite_status aof_rewrites aof_rewrites_consecutive_failures aof_last_write_status " +
		"aof_last_cow_size module_fork_in_progress module_fork_last_cow_size"
	if p.c.AOF {
		names += " aof_current_size aof_base_size aof_pending_rewrite aof_buffer_length aof_pending_bio_fsync aof_delayed_fsync"
	}
	var out [][2]string
	for _, f := range strings.Fields(names) {
		value := said[f]
		if value == "" {
			value = "0"
		}
		out = append(out, [2]string{f, value})
	}
	return out
}

func (p *process) infoReplication() [][2]string {
	r := p.repl
	var out [][2]string
	say := func(name string, value any) { out = append(out, [2]string{name, fmt.Sprint(value)}) }
	if r.master == "" {
		say("role", "master")
	} else {
		p.infoMaster(say)
	}
	say("connected_slaves", len(r.feeds))
	if need := p.number("min-replicas-to-write"); need > 0 && p.number("min-replicas-max-lag") > 0 {
		say("min_slaves_good_slaves", r.good())
	}
	for i, f := range r.feeds {
		host, port := f.to.announced()
		say(fmt.Sprintf("slave%d", i), fmt.Sprintf("ip=%s,port=%d,state=%s,offset=%d,lag=%d", host, port, f.state(), f.shown(), f.lag()))
	}
	histlen := int64(0)
	if r.first > 0 {
		histlen = r.offset - r.first + 1
	}
	say("master_failover_state", "no-failover")
	say("master_replid", r.replid)
	say("master_replid2", r.replid2)
	say("master_repl_offset", r.offset)
	say("second_repl_offset", r.second)
	say("repl_backlog_active", bit(r.first > 0))
	say("repl_backlog_size", backlogSize)
	say("repl_backlog_first_byte_offset", r.first)
	say("repl_backlog_histlen", histlen)
	return out
}

// infoMaster is what a replica says of its master.
func (p *process) infoMaster(say func(string, any)) {
	r := p.repl
	host, port := split(r.master)
	status, ago := "down", -1
	if r.link == linkUp {
		status, ago = "up", 0
		if f := r.source; f != nil && !f.from.awake() {
			ago = int(p.w.now.Sub(f.heard) / time.Second)
		}
	}
	say("role", "slave")
	say("master_host", host)
	say("master_port", port)
	say("master_link_status", status)
	say("master_last_io_seconds_ago", ago)
	say("master_sync_in_progress", bit(r.link == linkSync))
	say("slave_read_repl_offset", r.offset)
	say("slave_repl_offset", r.offset)
	if r.link == linkSync {
		say("master_sync_total_bytes", 0)
		say("master_sync_read_bytes", 0)
		say("master_sync_left_bytes", 0)
		say("master_sync_perc", "0.00")
		say("master_sync_last_io_seconds_ago", 0)
	}
	if r.link != linkUp {
		since := -1
		if !r.down.IsZero() {
			since = int(p.w.now.Sub(r.down) / time.Second)
		}
		say("master_link_down_since_seconds", since)
	}
	say("slave_priority", p.number("replica-priority"))
	say("slave_read_only", 1)
	say("replica_announced", bit(p.yes("replica-announced")))
}

func (f *feed) state() string {
	switch {
	case f.online:
		return "online"
	case f.since.IsZero():
		return "send_bulk"
	}
	return "wait_bgsave"
}

// shown is the position that a replica has told of; none before it is online.
func (f *feed) shown() int64 {
	if !f.online {
		return 0
	}
	return f.acked
}

func (f *feed) lag() int {
	if !f.online {
		return 0
	}
	return int(f.from.w.now.Sub(f.heard) / time.Second)
}

// role answers ROLE.
func (p *process) role() any {
	if p.watch != nil {
		names := []any{}
		for _, m := range p.watch.masters {
			names = append(names, m.name)
		}
		return []any{"sentinel", names}
	}
	r := p.repl
	if r.master != "" {
		host, port := split(r.master)
		return []any{"slave", host, int64(port), string(r.link), r.offset}
	}
	replicas := []any{}
	for _, f := range r.feeds {
		if f.online {
			host, port := f.to.announced()
			replicas = append(replicas, []any{host, strconv.Itoa(port), strconv.FormatInt(f.acked, 10)})
		}
	}
	return []any{"master", r.offset, replicas}
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
