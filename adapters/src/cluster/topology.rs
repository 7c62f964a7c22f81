//! The owners of slots: the reports of nodes, merged into one topology. A plain value; sends nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

use redis::Value;

/// Number of slots of a cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key: that of the text between its first `{` and the next `}`, if there is any, or else of the whole key.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = || {
        let start = key.iter().position(|byte| *byte == b'{')? + 1;
        let length = key[start..].iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &key[start..start + length])
    };
    crc16::State::<crc16::XMODEM>::calculate(tag().unwrap_or(key)) % SLOTS
}

/// The role of a node in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum ClusterRole {
    /// It may own slots, and accepts writes for them.
    Primary,
    /// It copies a primary, and replaces it when it fails.
    Replica,
}

/// One node, as a line of `CLUSTER NODES` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeLine {
    id: String,
    /// Host and port for commands.
    pub(crate) address: String,
    pub(crate) role: ClusterRole,
    /// The id of the primary that it copies.
    primary: Option<String>,
    /// Grows with each change of the slots of the node, or of its primary.
    epoch: u64,
    /// The other nodes agree that it is down.
    pub(crate) failed: bool,
    slots: Vec<RangeInclusive<u16>>,
}

/// The topology of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    /// By address.
    nodes: BTreeMap<String, NodeLine>,
    /// The owner of each range, in the order of slots, without overlap.
    owners: Vec<(RangeInclusive<u16>, String)>,
    /// Slots whose owner was reported by a MOVED since.
    moved: BTreeMap<u16, String>,
    /// The nodes that own any slot; read before every command.
    owning: HashSet<String>,
}

/// Reads the reply of the node at `asked` to `CLUSTER NODES`; skips unreadable lines.
pub(crate) fn read_view(text: &str, asked: &str) -> Vec<NodeLine> {
    text.lines().filter_map(|line| read_line(line, asked)).collect()
}

/// Whether a report contains the owner of any slot.
pub(crate) fn is_owned(view: &[NodeLine]) -> bool {
    view.iter().any(|seen| !seen.slots.is_empty())
}

fn read_line(line: &str, asked: &str) -> Option<NodeLine> {
    let mut words = line.split_ascii_whitespace();
    let id = String::from(words.next()?);
    let place = words.next()?;
    let flags: Vec<_> = words.next()?.split(',').collect();
    let primary = words.next().filter(|id| *id != "-").map(String::from);
    let epoch = words.nth(2)?.parse().ok()?;
    let _link_state = words.next()?;
    if flags.contains(&"handshake") || flags.contains(&"noaddr") {
        return None;
    }
    // ip:port@bus-port,hostname; a node that has not learned its own ip leaves it out.
    let place = place.split(['@', ',']).next()?;
    let (host, port) = place.rsplit_once(':')?;
    port.parse::<u16>().ok().filter(|port| *port > 0)?;
    let host = match host {
        "" => asked.rsplit_once(':')?.0,
        host => host,
    };
    let role = if flags.contains(&"master") { ClusterRole::Primary } else { ClusterRole::Replica };
    // Slots that are migrating are in brackets.
    let slots = words.filter(|word| !word.starts_with('[')).filter_map(read_range).collect();
    let failed = flags.contains(&"fail");
    Some(NodeLine { id, address: format!("{host}:{port}"), role, primary, epoch, failed, slots })
}

fn read_range(word: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some(first..=last)
}

impl Topology {
    /// Merges the reports of several nodes with the topology before. If they disagree, the claim with the higher epoch wins, as
    /// among the nodes themselves.
    pub(crate) fn merge(before: &Self, views: Vec<Vec<NodeLine>>) -> Self {
        let known: HashSet<String> = views.iter().flatten().map(|seen| seen.id.clone()).collect();
        let old = before.nodes.values().filter(|seen| known.contains(&seen.id)).cloned();
        let mut latest: HashMap<String, NodeLine> = HashMap::new();
        let mut claims: Vec<Option<(u64, String)>> = vec![None; usize::from(SLOTS)];
        // Earlier claims of a node are dropped if a report has them at the same or a higher epoch.
        let mut newest: HashMap<String, u64> = HashMap::new();
        for seen in views.iter().flatten() {
            let epoch = newest.entry(seen.id.clone()).or_default();
            *epoch = seen.epoch.max(*epoch);
        }
        let old: Vec<_> = old
            .map(|mut seen| {
                if newest.get(&seen.id).is_some_and(|epoch| *epoch >= seen.epoch) {
                    seen.slots.clear();
                }
                seen
            })
            .collect();
        for seen in old.into_iter().chain(views.into_iter().flatten()) {
            for slot in seen.slots.iter().cloned().flatten() {
                let claim = &mut claims[usize::from(slot)];
                // At the same epoch the later one wins: the earlier topology comes first.
                if claim.as_ref().is_none_or(|(epoch, _)| *epoch <= seen.epoch) {
                    *claim = Some((seen.epoch, seen.id.clone()));
                }
            }
            let newer = latest.get(&seen.id).is_none_or(|other| other.epoch <= seen.epoch);
            if newer {
                latest.insert(seen.id.clone(), seen);
            }
        }
        Self::of_claims(latest, &claims)
    }

    fn of_claims(mut latest: HashMap<String, NodeLine>, claims: &[Option<(u64, String)>]) -> Self {
        latest.values_mut().for_each(|seen| seen.slots.clear());
        let mut owners: Vec<(RangeInclusive<u16>, String)> = Vec::new();
        for (slot, claim) in (0..SLOTS).zip(claims) {
            let Some(seen) = claim.as_ref().and_then(|(_, id)| latest.get_mut(id)) else { continue };
            match owners.last_mut() {
                Some((range, owner)) if *owner == seen.address && *range.end() + 1 == slot => {
                    *range = *range.start()..=slot;
                }
                Some(_) | None => owners.push((slot..=slot, seen.address.clone())),
            }
        }
        for (range, owner) in &owners {
            if let Some(seen) = latest.values_mut().find(|seen| seen.address == *owner) {
                seen.slots.push(range.clone());
            }
        }
        let nodes = latest.into_values().map(|seen| (seen.address.clone(), seen)).collect();
        let owning = owners.iter().map(|(_, owner)| owner.clone()).collect();
        Self { nodes, owners, moved: BTreeMap::new(), owning }
    }

    /// A node has reported the owner of a slot; valid until the next topology.
    pub(crate) fn with_moved(&self, slot: u16, to: &str) -> Self {
        let mut next = self.clone();
        next.moved.insert(slot, String::from(to));
        next.owning.insert(String::from(to));
        next
    }

    pub(crate) fn owner(&self, slot: u16) -> Option<&str> {
        if let Some(moved) = self.moved.get(&slot) {
            return Some(moved);
        }
        let after = self.owners.partition_point(|(range, _)| *range.end() < slot);
        self.owners.get(after).filter(|(range, _)| range.contains(&slot)).map(|(_, owner)| owner.as_str())
    }

    /// Whether a node owns any slot.
    pub(crate) fn is_owner(&self, address: &str) -> bool {
        self.owning.contains(address)
    }

    /// Whether a node owns slots, or is known as a replica of one that does. A node that was suspended may report this wrongly.
    pub(crate) fn is_part(&self, address: &str) -> bool {
        self.is_owner(address) || self.nodes.get(address).is_some_and(|seen| seen.role == ClusterRole::Replica && !seen.failed)
    }

    pub(crate) fn contains(&self, address: &str) -> bool {
        self.nodes.contains_key(address) || self.moved.values().any(|owner| owner == address)
    }

    /// Number of slots without an owner.
    pub(crate) fn uncovered(&self) -> usize {
        let covered: usize = self.owners.iter().map(|(range, _)| range.len()).sum();
        usize::from(SLOTS) - covered
    }

    /// The addresses of the nodes that own slots, each once.
    pub(crate) fn primaries(&self) -> Vec<String> {
        let mut primaries: Vec<_> = self.owners.iter().map(|(_, owner)| owner.clone()).collect();
        primaries.extend(self.moved.values().cloned());
        primaries.sort_unstable();
        primaries.dedup();
        primaries
    }

    pub(crate) fn replicas_of(&self, primary: &str) -> Vec<String> {
        let Some(id) = self.nodes.get(primary).map(|seen| &seen.id) else { return Vec::new() };
        self.nodes.values().filter(|seen| seen.primary.as_ref() == Some(id)).map(|seen| seen.address.clone()).collect()
    }

    /// How many primaries have lost their slots to one of their replicas in the next topology.
    pub(crate) fn failovers_to(&self, next: &Self) -> usize {
        let replaced =
            |primary: &String| !next.is_owner(primary) && self.replicas_of(primary).iter().any(|replica| next.is_owner(replica));
        self.primaries().iter().filter(|primary| replaced(primary)).count()
    }

    /// Every node, in the order of addresses.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeLine> {
        self.nodes.values()
    }

    pub(crate) fn primary_of(&self, seen: &NodeLine) -> Option<&str> {
        let id = seen.primary.as_ref()?;
        self.nodes.values().find(|other| other.id == *id).map(|other| other.address.as_str())
    }

    /// In the form of a reply to `CLUSTER SLOTS`; failed replicas are left out.
    pub(crate) fn slots_value(&self) -> Value {
        let mut ranges = Vec::new();
        for (range, owner) in &self.owners {
            let replicas = self.replicas_of(owner);
            let healthy = replicas.iter().filter(|replica| self.nodes.get(*replica).is_some_and(|seen| !seen.failed));
            let nodes: Vec<_> = std::iter::once(owner).chain(healthy).filter_map(|address| node_value(address)).collect();
            // Slots that have moved since are cut out of their range.
            let mut first = *range.start();
            for (slot, to) in self.moved.range(range.clone()) {
                push_range(&mut ranges, first, slot.checked_sub(1), &nodes);
                push_range(&mut ranges, *slot, Some(*slot), &node_value(to).into_iter().collect::<Vec<_>>());
                first = slot + 1;
            }
            push_range(&mut ranges, first, Some(*range.end()), &nodes);
        }
        Value::Array(ranges)
    }
}

impl NodeLine {
    pub(crate) fn slots(&self) -> &[RangeInclusive<u16>] {
        &self.slots
    }
}

fn node_value(address: &str) -> Option<Value> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    Some(Value::Array(vec![Value::BulkString(host.as_bytes().to_vec()), Value::Int(port)]))
}

fn push_range(ranges: &mut Vec<Value>, first: u16, last: Option<u16>, nodes: &[Value]) {
    if let Some(last) = last.filter(|last| *last >= first) {
        let ends = [Value::Int(i64::from(first)), Value::Int(i64::from(last))];
        ranges.push(Value::Array(ends.into_iter().chain(nodes.iter().cloned()).collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "\
aa 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460\n\
bb 127.0.0.1:7002@17002,host.b master - 0 1 2 connected 5461-10922 [10923->-cc]\n\
cc 127.0.0.1:7003@17003 master - 0 1 3 connected 10923-16383\n\
dd 127.0.0.1:7004@17004 slave aa 0 1 1 connected\n\
ee :7005@17005 slave bb 0 1 2 connected\n\
ff 127.0.0.1:0@0 master,noaddr - 0 1 0 disconnected\n";

    fn one() -> Topology {
        Topology::merge(&Topology::default(), vec![read_view(ONE, "127.0.0.1:7001")])
    }

    /// The slots are those that a server of version 7.0.15 gives by `CLUSTER KEYSLOT`.
    #[test]
    fn the_slot_of_a_key_is_that_of_its_tag() {
        let slots = ["foo", "{foo}bar", "x{foo}", "{}foo", "{foo", "", "123456789"].map(|key| slot_of(key.as_bytes()));
        assert_eq!(slots, [12182, 12182, 12182, 9500, 13308, 0, 12739]);
    }

    #[test]
    fn a_view_is_read_with_owners_roles_and_addresses() {
        let topology = one();
        assert_eq!(topology.nodes().count(), 5, "a node without an address is none");
        assert_eq!(topology.owner(0), Some("127.0.0.1:7001"));
        assert_eq!(topology.owner(5461), Some("127.0.0.1:7002"));
        assert_eq!(topology.owner(16383), Some("127.0.0.1:7003"));
        assert_eq!(topology.replicas_of("127.0.0.1:7002"), ["127.0.0.1:7005"], "an ip that is left out is the one asked");
        assert_eq!(topology.uncovered(), 0);
        assert_eq!(topology.primaries().len(), 3);
    }

    /// Seen to bite: with claims that hold whatever their epoch.
    #[test]
    fn the_claim_with_the_higher_epoch_holds_in_any_order() {
        let failed_over = ONE
            .replace(
                "aa 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460",
                "aa 127.0.0.1:7001@17001 master,fail - 0 0 1 disconnected",
            )
            .replace("slave aa 0 1 1 connected", "myself,master - 0 1 7 connected 0-5460");
        let fresh = || read_view(&failed_over, "127.0.0.1:7004");
        let stale = || read_view(ONE, "127.0.0.1:7001");
        for views in [vec![fresh(), stale()], vec![stale(), fresh()]] {
            let topology = Topology::merge(&one(), views);
            assert_eq!(topology.owner(100), Some("127.0.0.1:7004"));
            assert!(!topology.is_owner("127.0.0.1:7001"));
        }
        let known = Topology::merge(&one(), vec![fresh()]);
        let later = Topology::merge(&known, vec![stale()]);
        assert_eq!(later.owner(100), Some("127.0.0.1:7004"), "one that has slept does not turn it back");
    }

    #[test]
    fn a_node_that_no_report_contains_is_forgotten() {
        let without: String = ONE.lines().filter(|line| !line.starts_with("dd")).map(|line| format!("{line}\n")).collect();
        let topology = Topology::merge(&one(), vec![read_view(&without, "127.0.0.1:7001")]);
        assert!(!topology.contains("127.0.0.1:7004"));
    }

    /// Seen to bite: without the cut in `slots_value`.
    #[test]
    fn a_slot_that_was_said_to_have_moved_has_its_new_owner_until_the_next_topology() {
        let moved = one().with_moved(100, "127.0.0.1:7003").with_moved(0, "127.0.0.1:7009");
        assert_eq!((moved.owner(99), moved.owner(100)), (Some("127.0.0.1:7001"), Some("127.0.0.1:7003")));
        assert!(moved.contains("127.0.0.1:7009") && moved.is_owner("127.0.0.1:7009"));
        let Value::Array(ranges) = moved.slots_value() else { panic!("an array") };
        let ends: Vec<_> = ranges
            .iter()
            .map(|range| {
                let Value::Array(parts) = range else { panic!("an array") };
                (parts[0].clone(), parts[1].clone())
            })
            .collect();
        let expected = [(0, 0), (1, 99), (100, 100), (101, 5460), (5461, 10922), (10923, 16383)];
        assert_eq!(ends, expected.map(|(first, last)| (Value::Int(first), Value::Int(last))));
        let next = Topology::merge(&moved, vec![read_view(ONE, "127.0.0.1:7001")]);
        assert_eq!(next.owner(100), Some("127.0.0.1:7001"));
    }
}
