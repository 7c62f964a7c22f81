//! What one node reports of its cluster: the replies to `CLUSTER SLOTS`, `SHARDS` and `NODES`, read as data.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use redis::Value;

use crate::deployment::cluster_role::ClusterRole;
use crate::deployment::router::SLOTS;

/// The cluster as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopologyReport {
    pub(crate) nodes: Vec<ReportedNode>,
}

/// One node in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportedNode {
    /// The id that the cluster gave it; its address if the report has none.
    pub(crate) id: Arc<str>,
    /// Host and port for commands, as clients are to use them.
    pub(crate) address: Arc<str>,
    pub(crate) role: ClusterRole,
    /// The id of the primary that it copies.
    pub(crate) primary: Option<Arc<str>>,
    /// Grows with each change of the slots of the node, or of its primary. `None` if the report does not say.
    pub(crate) epoch: Option<u64>,
    /// The other nodes agree that it is down.
    pub(crate) failed: bool,
    pub(crate) slots: Vec<RangeInclusive<u16>>,
    /// The availability zone, where the server tells it.
    pub(crate) zone: Option<Arc<str>>,
}

/// Why a report cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportFault {
    #[error("its reply to CLUSTER {command} has an unexpected form")]
    Form { command: &'static str },
    #[error("it reports slot {slot} twice, of {one} and of {other}")]
    Overlap { slot: u16, one: Arc<str>, other: Arc<str> },
    #[error("it reports the slots {first} to {last}, and there are 0 to 16383")]
    NoSuchSlots { first: i64, last: i64 },
    #[error("it reports the port {port} of {host}")]
    Port { host: String, port: i64 },
    #[error("it reports {address} twice, as {one} and as {other}")]
    Twice { address: Arc<str>, one: Arc<str>, other: Arc<str> },
    #[error("it reports no nodes")]
    Empty,
}

/// The node that was asked.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Host and port, as it was dialled: hosts that a reply leaves out are this one.
    pub(crate) address: &'a str,
    pub(crate) tls: bool,
}

/// The replies of one node to the commands that it understood: those to
/// `CLUSTER SLOTS` and `NODES` are joined by the nodes' ids, that to `SHARDS` is for users who may ask nothing else.
///
/// # Errors
///
/// What is wrong with the report.
pub(crate) fn read_report(
    slots: Option<&Value>,
    nodes: Option<&Value>,
    shards: Option<&Value>,
    asked: Asked<'_>,
) -> Result<TopologyReport, ReportFault> {
    let endpoints = match (slots, shards) {
        (Some(slots), _) => Some(read_slots(slots, asked.address)?),
        (None, Some(shards)) => Some(read_shards(shards, asked)?),
        (None, None) => None,
    };
    let lines = nodes.map(|nodes| read_nodes(nodes, asked.address)).transpose()?;
    let report = match (endpoints, lines) {
        (Some(endpoints), Some(lines)) => join(endpoints, lines),
        (Some(endpoints), None) => endpoints,
        (None, Some(lines)) => lines.into_iter().map(|line| line.node).collect(),
        (None, None) => return Err(ReportFault::Form { command: "SLOTS" }),
    };
    check(&report)?;
    Ok(TopologyReport { nodes: report })
}

impl TopologyReport {
    /// Whether any slot has an owner: a node that was removed from its cluster reports none.
    pub(crate) fn is_owned(&self) -> bool {
        self.nodes.iter().any(|node| !node.slots.is_empty())
    }
}

/// `CLUSTER SLOTS`: for each range its first and last slot and its nodes, the primary first: endpoint, port, id, more.
fn read_slots(reply: &Value, asked: &str) -> Result<Vec<ReportedNode>, ReportFault> {
    let form = || ReportFault::Form { command: "SLOTS" };
    let mut nodes: Vec<ReportedNode> = Vec::new();
    let mut places: HashMap<Arc<str>, usize> = HashMap::new();
    for range in items(reply).ok_or_else(form)? {
        let range = items(range).ok_or_else(form)?;
        let [Value::Int(first), Value::Int(last), of_range @ ..] = range else { return Err(form()) };
        let slots = slot_range(*first, *last)?;
        let mut primary: Option<Arc<str>> = None;
        for node in of_range {
            let node = items(node).ok_or_else(form)?;
            let [endpoint, Value::Int(port), rest @ ..] = node else { return Err(form()) };
            let address = address_of(text(endpoint), *port, asked)?;
            let id = rest.first().and_then(text).map_or_else(|| Arc::clone(&address), Arc::from);
            let role = if primary.is_none() { ClusterRole::Primary } else { ClusterRole::Replica };
            let place = *places.entry(Arc::clone(&id)).or_insert_with(|| {
                let zone = rest.get(1).and_then(zone_of);
                let (id, primary) = (Arc::clone(&id), primary.clone());
                nodes.push(ReportedNode { id, address, role, primary, epoch: None, failed: false, slots: vec![], zone });
                nodes.len() - 1
            });
            if primary.is_none() {
                nodes[place].slots.push(slots.clone());
                primary = Some(id);
            }
        }
    }
    Ok(nodes)
}

/// `CLUSTER SHARDS`: a map with `slots` and `nodes` for each shard.
fn read_shards(reply: &Value, asked: Asked<'_>) -> Result<Vec<ReportedNode>, ReportFault> {
    let form = || ReportFault::Form { command: "SHARDS" };
    let mut nodes = Vec::new();
    for shard in items(reply).ok_or_else(form)? {
        let mut ends = items(field(shard, "slots").ok_or_else(form)?).ok_or_else(form)?.iter();
        let mut slots = Vec::new();
        while let (Some(first), Some(last)) = (ends.next(), ends.next()) {
            let (first, last) = number(first).zip(number(last)).ok_or_else(form)?;
            slots.push(slot_range(first, last)?);
        }
        let members = items(field(shard, "nodes").ok_or_else(form)?).ok_or_else(form)?;
        let is_primary = |node: &Value| field(node, "role").and_then(text) == Some("master");
        let is_well = |node: &&Value| field(node, "health").and_then(text) != Some("fail");
        // After a failover the former primary may still be listed as one.
        let primary = members.iter().find(|node| is_primary(node) && is_well(node));
        let primary = primary.or_else(|| members.iter().find(|node| is_primary(node)));
        let id_of = |node: &Value| field(node, "id").and_then(text).map(Arc::<str>::from);
        let primary_id = primary.and_then(id_of);
        for node in members {
            let port = field(node, if asked.tls { "tls-port" } else { "port" }).and_then(number);
            let address = address_of(field(node, "endpoint").and_then(text), port.ok_or_else(form)?, asked.address)?;
            let id = id_of(node).unwrap_or_else(|| Arc::clone(&address));
            let is_the_primary = primary.is_some_and(|primary| std::ptr::eq(primary, node));
            nodes.push(ReportedNode {
                address,
                role: if is_the_primary { ClusterRole::Primary } else { ClusterRole::Replica },
                primary: primary_id.clone().filter(|_| !is_the_primary),
                epoch: None,
                failed: !is_well(&node),
                slots: if is_the_primary { slots.clone() } else { vec![] },
                zone: zone_of(node),
                id,
            });
        }
    }
    Ok(nodes)
}

/// A line of `CLUSTER NODES`.
struct ReportedLine {
    node: ReportedNode,
    hostname: Option<String>,
    port: i64,
}

/// `CLUSTER NODES`: one line for each node. Nodes without an address, or that are not members yet, are left out.
fn read_nodes(reply: &Value, asked: &str) -> Result<Vec<ReportedLine>, ReportFault> {
    let form = || ReportFault::Form { command: "NODES" };
    let lines = text(reply).ok_or_else(form)?.lines().filter(|line| !line.trim().is_empty());
    lines.filter_map(|line| read_line(line, asked).transpose()).collect()
}

fn read_line(line: &str, asked: &str) -> Result<Option<ReportedLine>, ReportFault> {
    let form = || ReportFault::Form { command: "NODES" };
    let mut words = line.split_ascii_whitespace();
    let mut word = || words.next().ok_or_else(form);
    let (id, place, flags, primary) = (word()?, word()?, word()?, word()?);
    let (_ping, _pong, epoch, _link) = (word()?, word()?, word()?, word()?);
    let epoch = epoch.parse().map_err(|_| form())?;
    let has = |flag: &str| flags.split(',').any(|other| other == flag);
    if has("handshake") || has("noaddr") {
        return Ok(None);
    }
    // ip:port@bus-port,hostname,more; a node that has not learned its own ip leaves it out.
    let mut parts = place.split(',');
    let endpoint = parts.next().and_then(|endpoint| endpoint.split('@').next()).ok_or_else(form)?;
    let (host, port) = endpoint.rsplit_once(':').ok_or_else(form)?;
    let port = port.parse().map_err(|_| form())?;
    let hostname = parts.next().filter(|name| !name.is_empty() && !name.contains('=')).map(String::from);
    let address = address_of(Some(host), port, asked)?;
    let mut slots = Vec::new();
    // Slots that are on their way are in brackets.
    for range in words.filter(|word| !word.starts_with('[')) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = first.parse().ok().zip(last.parse().ok()).ok_or_else(form)?;
        slots.push(slot_range(first, last)?);
    }
    let node = ReportedNode {
        id: Arc::from(id),
        address,
        role: if has("master") { ClusterRole::Primary } else { ClusterRole::Replica },
        primary: Some(primary).filter(|primary| *primary != "-").map(Arc::from),
        epoch: Some(epoch),
        failed: has("fail"),
        slots,
        zone: None,
    };
    Ok(Some(ReportedLine { node, hostname, port }))
}

/// The endpoints of the one with the roles, epochs and slots of the other. A node that is not in `endpoints` (a replica that
/// failed, a primary without slots) gets the kind of address that the others have.
fn join(endpoints: Vec<ReportedNode>, lines: Vec<ReportedLine>) -> Vec<ReportedNode> {
    let known: HashMap<Arc<str>, ReportedNode> = endpoints.into_iter().map(|node| (Arc::clone(&node.id), node)).collect();
    let prefers_names = lines.iter().any(|line| {
        let address = known.get(&line.node.id).map(|node| &*node.address);
        line.hostname.as_ref().is_some_and(|name| address.is_some_and(|address| address == format!("{name}:{}", line.port)))
    });
    let with_endpoint = |line: ReportedLine| {
        let ReportedLine { mut node, hostname, port } = line;
        match (known.get(&node.id), hostname) {
            (Some(endpoint), _) => {
                node.address = Arc::clone(&endpoint.address);
                node.zone = endpoint.zone.clone();
            }
            (None, Some(name)) if prefers_names => node.address = Arc::from(format!("{name}:{port}")),
            (None, _) => {}
        }
        node
    };
    lines.into_iter().map(with_endpoint).collect()
}

fn check(nodes: &[ReportedNode]) -> Result<(), ReportFault> {
    if nodes.is_empty() {
        return Err(ReportFault::Empty);
    }
    let mut addresses: HashMap<&str, &ReportedNode> = HashMap::new();
    for node in nodes.iter().filter(|node| !node.failed) {
        if let Some(other) = addresses.insert(&node.address, node)
            && other.id != node.id
        {
            let (address, one, other) = (Arc::clone(&node.address), Arc::clone(&other.id), Arc::clone(&node.id));
            return Err(ReportFault::Twice { address, one, other });
        }
    }
    let mut claims: Vec<(&RangeInclusive<u16>, &ReportedNode)> =
        nodes.iter().flat_map(|node| node.slots.iter().map(move |range| (range, node))).collect();
    claims.sort_unstable_by_key(|(range, _)| *range.start());
    let overlap = claims.windows(2).find(|pair| pair[0].0.end() >= pair[1].0.start());
    overlap.map_or(Ok(()), |pair| {
        let (one, other) = (Arc::clone(&pair[0].1.address), Arc::clone(&pair[1].1.address));
        Err(ReportFault::Overlap { slot: *pair[1].0.start(), one, other })
    })
}

/// Host and port. A host that is left out, unknown or null is that of the node that was asked.
fn address_of(host: Option<&str>, port: i64, asked: &str) -> Result<Arc<str>, ReportFault> {
    let own = asked.rsplit_once(':').map_or(asked, |(host, _)| host);
    let host = host.filter(|host| !host.is_empty() && *host != "?").unwrap_or(own);
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(Arc::from(format!("{host}:{port}"))),
        Ok(_) | Err(_) => Err(ReportFault::Port { host: String::from(host), port }),
    }
}

fn slot_range(first: i64, last: i64) -> Result<RangeInclusive<u16>, ReportFault> {
    let none = || ReportFault::NoSuchSlots { first, last };
    let (from, to) = u16::try_from(first).ok().zip(u16::try_from(last).ok()).ok_or_else(none)?;
    if from <= to && to < SLOTS { Ok(from..=to) } else { Err(none()) }
}

fn items(value: &Value) -> Option<&[Value]> {
    if let Value::Array(items) = value { Some(items) } else { None }
}

/// The value of a field, of a map of RESP3 or of the flat array that RESP2 has for it.
fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    if let Value::Map(fields) = value {
        return fields.iter().find(|(key, _)| text(key) == Some(name)).map(|(_, value)| value);
    }
    items(value)?.chunks_exact(2).find(|pair| text(&pair[0]) == Some(name)).map(|pair| &pair[1])
}

fn zone_of(fields: &Value) -> Option<Arc<str>> {
    field(fields, "availability-zone").and_then(text).filter(|zone| !zone.is_empty()).map(Arc::from)
}

fn number(value: &Value) -> Option<i64> {
    if let Value::Int(number) = value { Some(*number) } else { text(value)?.parse().ok() }
}

fn text(value: &Value) -> Option<&str> {
    if let Value::SimpleString(text) | Value::VerbatimString { text, .. } = value {
        return Some(text);
    }
    if let Value::BulkString(bytes) = value { std::str::from_utf8(bytes).ok() } else { None }
}

#[cfg(test)]
mod tests;
