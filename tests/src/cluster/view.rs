//! What nodes say of the cluster: CLUSTER NODES as values; asks nobody.

use std::ops::RangeInclusive;

/// One line of CLUSTER NODES: what one node knows of another, or of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodesLine {
    pub(super) id: String,
    pub(super) role: NodesLineRole,
    pub(super) epoch: u64,
    /// No handshake in progress, no failure known, and a link that stands.
    pub(super) is_well: bool,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NodesLineRole {
    Primary,
    ReplicaOf(String),
}

impl NodesLine {
    pub(super) fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|slots| slots.contains(&slot))
    }

    pub(super) fn is_replica_of(&self, id: &str) -> bool {
        matches!(&self.role, NodesLineRole::ReplicaOf(primary) if primary == id)
    }
}

/// All lines of CLUSTER NODES; None if that is not what it is.
pub(super) fn parse(nodes: &str) -> Option<Vec<NodesLine>> {
    nodes.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<NodesLine> {
    // <id> <address> <flags> <primary> <ping> <pong> <epoch> <link> <slots>...
    let fields: Vec<&str> = line.split(' ').collect();
    let (head, slots) = fields.split_at_checked(8)?;
    let flags: Vec<&str> = head[2].split(',').collect();
    let ills = ["fail?", "fail", "handshake", "noaddr"];
    Some(NodesLine {
        id: head[0].to_owned(),
        role: if flags.contains(&"slave") { NodesLineRole::ReplicaOf(head[3].to_owned()) } else { NodesLineRole::Primary },
        epoch: head[6].parse().ok()?,
        is_well: head[7] == "connected" && !flags.iter().any(|flag| ills.contains(flag)),
        // In brackets are slots that are about to move.
        slots: slots.iter().filter(|slots| !slots.starts_with('[')).map(|slots| parse_slots(slots)).collect::<Option<_>>()?,
    })
}

fn parse_slots(slots: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = "07c3 127.0.0.1:30004@31004 slave e7d1 0 1426238317239 4 connected\n\
                    e7d1 127.0.0.1:30001@31001,host myself,master - 0 0 1 connected 0-5460 7000 [9300-<-292f]\n\
                    292f 127.0.0.1:30003@31003 master,fail? - 1426238318243 0 3 disconnected";
        let lines = parse(text).expect("three lines");
        assert!(lines[0].is_replica_of("e7d1") && lines[0].is_well);
        assert_eq!((&lines[1].role, lines[1].epoch, lines[1].is_well), (&NodesLineRole::Primary, 1, true));
        assert!(lines[1].has(5_460) && lines[1].has(7_000) && !lines[1].has(9_300));
        assert!(!lines[2].is_well && lines[2].slots.is_empty());
        assert_eq!(parse("-ERR This instance has cluster support disabled"), None);
    }
}
