//! The commands on replication: REPLICAOF, ROLE, WAIT, and what INFO says of it.

use super::replication::{ReplicaLink, forty_digits};
use super::reply::{Answer, Response};
use super::server::{ConnectionId, Server};
use super::session::AckWait;
use super::words::{Bytes, integer, strict_integer, upper};

const WAIT_ON_REPLICA: &str = "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
                               configured to be writable (which is not the default) writes to replicas are just local and are not \
                               propagated.";

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn replicaof(server: &mut Server, _id: ConnectionId, args: &[Bytes]) -> Answer {
    if server.cluster.is_some() {
        return Err("ERR REPLICAOF not allowed in cluster mode.".into());
    }
    let now = server.now;
    if upper(&args[1]) == "NO" && upper(&args[2]) == "ONE" {
        server.follow(now, None);
        return Ok(Response::OK);
    }
    let port = strict_integer(&args[2]).and_then(|port| u16::try_from(port).ok()).ok_or("ERR Invalid master port")?;
    let primary = Some((String::from_utf8_lossy(&args[1]).into_owned(), port));
    if server.primary() == primary {
        return Ok(Response::Simple("OK Already connected to specified master"));
    }
    server.follow(now, primary);
    Ok(Response::OK)
}

pub(super) fn role(server: &mut Server, _id: ConnectionId, _args: &[Bytes]) -> Answer {
    let offset = number(server.history().offset);
    if let Some((host, port)) = server.primary() {
        let (state, offset) = match server.replication.link {
            ReplicaLink::Up => ("connected", offset),
            ReplicaLink::Never | ReplicaLink::Down { .. } => ("connect", -1),
        };
        let (word, host, port) = (Response::text("slave"), Response::text(host), Response::Integer(port.into()));
        return Ok(Response::Array(vec![word, host, port, Response::text(state), Response::Integer(offset)]));
    }
    if server.behaviour.read_only || server.behaviour.master_down {
        let state = if server.behaviour.master_down { "connect" } else { "connected" };
        let (host, state) = (Response::text("127.0.0.1"), Response::text(state));
        return Ok(Response::Array(vec![Response::text("slave"), host, Response::Integer(6379), state, Response::Integer(0)]));
    }
    let replica = |((host, port), offset): (&(String, u16), &u64)| {
        Response::bulks([host.clone(), port.to_string(), offset.to_string()].map(String::into_bytes))
    };
    let replicas = server.replication.followers.iter().map(replica).collect();
    Ok(Response::Array(vec![Response::text("master"), Response::Integer(offset), Response::Array(replicas)]))
}

pub(super) fn wait(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    if server.replication.is_replica() {
        return Err(WAIT_ON_REPLICA.into());
    }
    let replicas = integer(&args[1])?;
    let timeout = strict_integer(&args[2]).ok_or("ERR timeout is not an integer or out of range")?;
    if timeout < 0 {
        return Err("ERR timeout is negative".into());
    }
    let replicas = usize::try_from(replicas).unwrap_or(0);
    let offset = server.history().offset;
    let reached = server.replication.followers_at(offset);
    // Without a replica it would wait for one in a real server, too.
    if reached >= replicas {
        return Ok(Response::count(reached));
    }
    let until = (timeout > 0).then(|| server.after_ms(timeout));
    server.session(id).ack_wait = Some(AckWait { offset, replicas, until });
    Ok(Response::WaitForReplicas)
}

impl Server {
    /// How many replicas have what a WAIT asks for; it waits no more.
    pub(super) fn acks_so_far(&mut self, id: ConnectionId) -> Response {
        let wait = self.session(id).ack_wait.take();
        Response::count(wait.map_or(0, |wait| self.replication.followers_at(wait.offset)))
    }

    /// Ends the WAITs that are served, or whose time has come.
    pub(super) fn end_ack_waits(&mut self) {
        let (now, is_replica) = (self.now, self.replication.is_replica());
        let is_over = |wait: &AckWait| {
            is_replica
                || wait.until.is_some_and(|until| until <= now)
                || self.replication.followers_at(wait.offset) >= wait.replicas
        };
        let over: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.ack_wait.as_ref().is_some_and(is_over))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            let reply = self.acks_so_far(id);
            self.send_reply(id, &reply);
            self.runnable.push_back(id);
        }
    }

    /// The section Replication of INFO.
    pub(super) fn replication_lines(&self) -> Vec<String> {
        let replication = &self.replication;
        let offset = replication.history.offset;
        let mut lines = Vec::new();
        if let Some((host, port)) = &replication.primary {
            let is_up = replication.link == ReplicaLink::Up;
            lines.push(String::from("role:slave"));
            lines.push(format!("master_host:{host}"));
            lines.push(format!("master_port:{port}"));
            lines.push(format!("master_link_status:{}", if is_up { "up" } else { "down" }));
            lines.push(format!("master_last_io_seconds_ago:{}", if is_up { 0 } else { -1 }));
            lines.push(String::from("master_sync_in_progress:0"));
            lines.push(format!("slave_read_repl_offset:{offset}"));
            lines.push(format!("slave_repl_offset:{offset}"));
            match replication.link {
                ReplicaLink::Up => {}
                ReplicaLink::Never => lines.push(String::from("master_link_down_since_seconds:-1")),
                ReplicaLink::Down { since } => {
                    let seconds = self.now.saturating_duration_since(since).as_secs();
                    lines.push(format!("master_link_down_since_seconds:{seconds}"));
                }
            }
            lines.extend(["slave_priority:100", "slave_read_only:1", "replica_announced:1"].map(String::from));
        } else if self.behaviour.read_only {
            let told = ["role:slave", "master_host:127.0.0.1", "master_port:6379", "master_link_status:up", "slave_read_only:1"];
            return told.map(String::from).to_vec();
        } else {
            lines.push(String::from("role:master"));
        }
        lines.push(format!("connected_slaves:{}", replication.followers.len()));
        for (number, ((host, port), reached)) in replication.followers.iter().enumerate() {
            lines.push(format!("slave{number}:ip={host},port={port},state=online,offset={reached},lag=0"));
        }
        let former = replication.former.last();
        let former_id = former.map_or_else(|| "0".repeat(40), |former| forty_digits(former.id));
        lines.push(String::from("master_failover_state:no-failover"));
        lines.push(format!("master_replid:{}", forty_digits(replication.history.id)));
        lines.push(format!("master_replid2:{former_id}"));
        lines.push(format!("master_repl_offset:{offset}"));
        let second = former.map_or(-1, |former| number(former.offset + 1));
        lines.push(format!("second_repl_offset:{second}"));
        lines
    }
}
