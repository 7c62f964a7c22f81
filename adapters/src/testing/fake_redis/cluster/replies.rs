//! What a node tells of the cluster, in the forms of Redis 7: SLOTS, SHARDS, NODES and INFO.

use std::ops::RangeInclusive;

use redis_manager_core::Instant;

use super::super::reply::Response;
use super::state::{FakeClusterState, FakeKnownNode, NodeIndex, PreferredEndpoint};

/// The port of the cluster bus is that of the clients and so much.
const BUS_PORT: u32 = 10_000;

fn count(number: u64) -> Response {
    Response::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

impl FakeClusterState {
    pub(super) fn slots_reply(&self, offset: u64) -> Response {
        let entry = |(range, owner): &(RangeInclusive<u16>, NodeIndex)| {
            let primary = &self.nodes[*owner];
            let replicas = self.replicas_of(&primary.id);
            let fit = replicas.filter(|(index, node)| node.failed_at.is_none() && self.offset_of(*index, offset) > 0);
            let mut words = vec![count((*range.start()).into()), count((*range.end()).into()), self.node_entry(primary)];
            words.extend(fit.map(|(_, node)| self.node_entry(node)));
            Response::Array(words)
        };
        Response::Array(self.runs().iter().map(entry).collect())
    }

    fn node_entry(&self, node: &FakeKnownNode) -> Response {
        let preferred = self.settings.preferred_endpoint;
        let host = match preferred {
            PreferredEndpoint::UnknownEndpoint => Response::Null,
            PreferredEndpoint::Ip | PreferredEndpoint::Hostname => Response::text(self.endpoint(node)),
        };
        let mut more = Vec::new();
        if preferred != PreferredEndpoint::Ip {
            more.push((Response::text("ip"), Response::text(node.ip.as_str())));
        }
        if preferred != PreferredEndpoint::Hostname && !node.hostname.is_empty() {
            more.push((Response::text("hostname"), Response::text(node.hostname.as_str())));
        }
        Response::Array(vec![host, count(node.port.into()), Response::text(node.id.as_str()), Response::Map(more)])
    }

    /// What it has heard of the offset of a node; of itself it knows it.
    fn offset_of(&self, index: NodeIndex, own: u64) -> u64 {
        if index == 0 { own } else { self.nodes[index].offset }
    }

    pub(super) fn shards_reply(&self, offset: u64) -> Response {
        let shard = |index: NodeIndex, node: &FakeKnownNode| {
            let slots = self.ranges_of(index);
            let slots = slots.into_iter().flat_map(|range| [count((*range.start()).into()), count((*range.end()).into())]);
            let mut nodes = vec![self.shard_node(index, node, offset)];
            nodes.extend(self.replicas_of(&node.id).map(|(index, node)| self.shard_node(index, node, offset)));
            Response::Map(vec![
                (Response::text("slots"), Response::Array(slots.collect())),
                (Response::text("nodes"), Response::Array(nodes)),
            ])
        };
        let primaries = self.known().filter(|(_, node)| node.primary.is_none());
        Response::Array(primaries.map(|(index, node)| shard(index, node)).collect())
    }

    fn shard_node(&self, index: NodeIndex, node: &FakeKnownNode, own_offset: u64) -> Response {
        let offset = self.offset_of(index, own_offset);
        let is_replica = node.primary.is_some();
        let health = match () {
            () if node.failed_at.is_some() => "fail",
            () if is_replica && offset == 0 => "loading",
            () => "online",
        };
        let text = |key: &str, value: &str| (Response::text(key), Response::text(value));
        let mut pairs = vec![
            text("id", &node.id),
            (Response::text("port"), count(node.port.into())),
            text("ip", &node.ip),
            text("endpoint", self.endpoint(node)),
        ];
        if !node.hostname.is_empty() {
            pairs.push(text("hostname", &node.hostname));
        }
        pairs.push(text("role", if is_replica { "replica" } else { "master" }));
        pairs.push((Response::text("replication-offset"), count(offset)));
        pairs.push(text("health", health));
        Response::Map(pairs)
    }

    /// One line of CLUSTER NODES, without its end.
    pub(super) fn node_line(&self, index: NodeIndex, now: Instant, unix_ms: i64) -> String {
        let node = &self.nodes[index];
        let mut flags = Vec::new();
        flags.extend((index == 0).then_some("myself"));
        flags.push(if node.primary.is_some() { "slave" } else { "master" });
        flags.extend(node.is_suspected.then_some("fail?"));
        flags.extend(node.failed_at.is_some().then_some("fail"));
        let hostname = if node.hostname.is_empty() { String::new() } else { format!(",{}", node.hostname) };
        let silent_ms = i64::try_from(now.saturating_duration_since(node.heard_at).as_millis()).unwrap_or(i64::MAX);
        let (ping, pong) = match () {
            () if index == 0 => (0, unix_ms),
            () if node.is_ill() => (unix_ms - silent_ms, unix_ms - silent_ms),
            () => (0, unix_ms - silent_ms),
        };
        let epoch = match node.primary.as_deref().and_then(|id| self.index_of(id)) {
            Some(primary) => self.nodes[primary].config_epoch,
            None => node.config_epoch,
        };
        let link = if index != 0 && node.is_ill() { "disconnected" } else { "connected" };
        let mut line = format!(
            "{} {}:{}@{}{hostname} {} {} {ping} {pong} {epoch} {link}",
            node.id,
            node.ip,
            node.port,
            u32::from(node.port) + BUS_PORT,
            flags.join(","),
            node.primary.as_deref().unwrap_or("-"),
        );
        for range in self.ranges_of(index) {
            let (start, end) = (range.start(), range.end());
            line += &if start == end { format!(" {start}") } else { format!(" {start}-{end}") };
        }
        if index == 0 {
            line.extend(self.migrating.iter().map(|(slot, to)| format!(" [{slot}->-{}]", self.nodes[*to].id)));
            line.extend(self.importing.iter().map(|(slot, from)| format!(" [{slot}-<-{}]", self.nodes[*from].id)));
        }
        line
    }

    pub(super) fn nodes_text(&self, now: Instant, unix_ms: i64) -> String {
        self.known().map(|(index, _)| self.node_line(index, now, unix_ms) + "\n").collect()
    }

    pub(super) fn info_text(&self) -> String {
        let slots_of = |is_wanted: &dyn Fn(&FakeKnownNode) -> bool| -> usize {
            self.known().filter(|(_, node)| is_wanted(node)).map(|(index, _)| self.counts[index]).sum()
        };
        let my_epoch = self.served().map_or(0, |served| self.nodes[served].config_epoch);
        let lines = [
            ("cluster_state", String::from(if self.is_ok { "ok" } else { "fail" })),
            ("cluster_slots_assigned", slots_of(&|_| true).to_string()),
            ("cluster_slots_ok", slots_of(&|node| !node.is_ill()).to_string()),
            ("cluster_slots_pfail", slots_of(&|node| node.is_suspected).to_string()),
            ("cluster_slots_fail", slots_of(&|node| node.failed_at.is_some()).to_string()),
            ("cluster_known_nodes", self.known().count().to_string()),
            ("cluster_size", self.size().to_string()),
            ("cluster_current_epoch", self.current_epoch.to_string()),
            ("cluster_my_epoch", my_epoch.to_string()),
            ("cluster_stats_messages_sent", String::from("0")),
            ("cluster_stats_messages_received", String::from("0")),
            ("total_cluster_links_buffer_limit_exceeded", String::from("0")),
        ];
        lines.into_iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect()
    }
}
