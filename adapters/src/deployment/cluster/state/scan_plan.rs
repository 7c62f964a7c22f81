//! The order in which the nodes of a cluster are scanned, so that a key that is there all the time is seen, whatever its slot does.
//!
//! A node is scanned for some slots, from its first cursor to its last. A slot is done if the node owned it at the beginning and at
//! the end, and it was not on its way at either. A slot that was on its way, or has gone, is scanned once more where it went, after
//! the scan of the node that it came from: a key that this scan did not see any more has arrived there before.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::deployment::cluster::state::slot_set::SlotSet;
use crate::deployment::router::slot_of;

/// The slots of a node as it sees them itself, by the line of `CLUSTER NODES` that begins with `myself`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnSlots {
    owned: SlotSet,
    /// Slots on their way to another node, and its address.
    leaving: BTreeMap<u16, Arc<str>>,
}

impl OwnSlots {
    /// `None` if the text has no such line.
    pub(crate) fn read(text: &str, address_of: impl Fn(&str) -> Option<Arc<str>>) -> Option<Self> {
        let is_own =
            |line: &&str| line.split_ascii_whitespace().nth(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself"));
        let line = text.lines().find(is_own)?;
        let mut own = Self { owned: SlotSet::none(), leaving: BTreeMap::new() };
        for word in line.split_ascii_whitespace().skip(8) {
            if let Some(leaving) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
                if let Some((slot, id)) = leaving.split_once("->-")
                    && let (Ok(slot), Some(address)) = (slot.parse(), address_of(id))
                {
                    own.leaving.insert(slot, address);
                }
                continue;
            }
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
                own.owned.extend(first.min(16_383)..=last.min(16_383));
            }
        }
        Some(own)
    }
}

/// Which node is scanned next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextScan {
    Node(Arc<str>),
    /// This slot has no owner now.
    NoOwner(u16),
    Done,
}

/// A scan of a whole cluster.
pub(crate) struct ScanPlan {
    left: SlotSet,
    /// Slots that are to be scanned at this node next, whatever node owns them then.
    arrived_at: BTreeMap<u16, Arc<str>>,
    pass: Option<ScanPass>,
}

/// The scan of one node.
struct ScanPass {
    node: Arc<str>,
    slots: SlotSet,
    before: OwnSlots,
}

impl ScanPlan {
    pub(crate) fn new() -> Self {
        Self { left: SlotSet::all(), arrived_at: BTreeMap::new(), pass: None }
    }

    /// The node of the first slot that is left.
    pub(crate) fn next(&self, owner: impl Fn(u16) -> Option<Arc<str>>) -> NextScan {
        let Some(slot) = self.left.iter().next() else { return NextScan::Done };
        let node = self.arrived_at.get(&slot).cloned().or_else(|| owner(slot));
        node.map_or(NextScan::NoOwner(slot), NextScan::Node)
    }

    /// A node is scanned from now on. False, and it is not, if it has none of the slots that are left.
    pub(crate) fn begin(&mut self, node: &Arc<str>, before: &OwnSlots) -> bool {
        let mut slots = SlotSet::none();
        for slot in self.left.iter() {
            let is_here = self.arrived_at.get(&slot).map_or(before.owned.has(slot), |arrived_at| arrived_at == node);
            if is_here {
                slots.insert(slot);
            }
        }
        let is_any = slots.iter().next().is_some();
        self.pass = is_any.then(|| ScanPass { node: Arc::clone(node), slots, before: before.clone() });
        is_any
    }

    /// Whether the scan of this node returns the key.
    pub(crate) fn is_wanted(&self, key: &[u8]) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.slots.has(slot_of(key)))
    }

    /// The node was scanned to its end. False if no slot is done by it.
    pub(crate) fn end(&mut self, after: &OwnSlots) -> bool {
        let Some(ScanPass { node, slots, before }) = self.pass.take() else { return false };
        let mut is_any_done = false;
        for slot in slots.iter() {
            let has_arrived = self.arrived_at.get(&slot) == Some(&node);
            if let Some(to) = after.leaving.get(&slot).or_else(|| before.leaving.get(&slot)) {
                self.arrived_at.insert(slot, Arc::clone(to));
                is_any_done = true;
            } else if has_arrived || (before.owned.has(slot) && after.owned.has(slot)) {
                self.arrived_at.remove(&slot);
                self.left.remove(slot);
                is_any_done = true;
            }
        }
        is_any_done
    }

    /// The node could not be scanned to its end: its slots are left, at whatever node owns them.
    pub(crate) fn abandon(&mut self, node: &str) {
        self.pass = None;
        self.arrived_at.retain(|_, arrived_at| **arrived_at != *node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(slots: &str) -> OwnSlots {
        let text = format!("aa h:1@1 myself,master - 0 0 1 connected {slots}\nbb h:2@1 master - 0 0 1 connected\n");
        OwnSlots::read(&text, |id| (id == "bb").then(|| Arc::from("h:2"))).expect("it has a line of its own")
    }

    fn node(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    /// A plan of which only these slots are left.
    fn plan(slots: &[u16]) -> ScanPlan {
        let mut left = SlotSet::none();
        slots.iter().for_each(|slot| left.insert(*slot));
        ScanPlan { left, ..ScanPlan::new() }
    }

    fn left(plan: &ScanPlan) -> Vec<u16> {
        plan.left.iter().collect()
    }

    #[test]
    fn own_slots_are_read_with_those_on_their_way() {
        let own = own("0-2 7 [2->-bb] [9-<-bb]");
        assert_eq!(own.owned.iter().collect::<Vec<_>>(), [0, 1, 2, 7]);
        assert_eq!(own.leaving, BTreeMap::from([(2, node("h:2"))]), "what arrives is not its own yet");
        assert!(OwnSlots::read("aa h:1@1 master - 0 0 1 connected 0", |_| None).is_none());
    }

    /// Seen to bite: with slots that are done if they were owned at the end.
    #[test]
    fn k5_a_slot_that_leaves_during_the_scan_of_its_node_is_scanned_where_it_went() {
        let mut plan = plan(&[0, 1, 2, 7]);
        assert_eq!(plan.next(|_| Some(node("h:1"))), NextScan::Node(node("h:1")));
        assert!(plan.begin(&node("h:1"), &own("0-2 7")));
        assert!(plan.end(&own("0-1 7 [7->-bb]")));
        assert_eq!(left(&plan), [2, 7], "one has gone, the other is on its way");
        assert_eq!(plan.next(|_| Some(node("h:2"))), NextScan::Node(node("h:2")));
        assert!(plan.begin(&node("h:2"), &own("2")));
        assert!(plan.end(&own("2")), "it owns one, and the other one arrives there");
        assert_eq!((left(&plan), plan.next(|_| None)), (vec![], NextScan::Done));
    }

    /// Seen to bite: with a pass that takes all slots that are left.
    #[test]
    fn k5_keys_of_slots_that_a_node_does_not_own_are_not_returned() {
        let (mine, other) = (slot_of(b"a"), slot_of(b"b"));
        let mut plan = plan(&[mine, other]);
        assert!(plan.begin(&node("h:1"), &own(&mine.to_string())));
        assert!(plan.is_wanted(b"a") && !plan.is_wanted(b"b"));
        assert!(plan.end(&own(&mine.to_string())));
        assert_eq!(left(&plan), [other]);
        assert!(!plan.begin(&node("h:1"), &own(&mine.to_string())), "it has nothing of what is left");
        assert_eq!(plan.next(|_| None), NextScan::NoOwner(other));
    }

    /// Seen to bite: without the `retain`.
    #[test]
    fn k5_a_slot_whose_new_node_fails_is_scanned_at_its_owner() {
        let mut plan = plan(&[7]);
        assert!(plan.begin(&node("h:1"), &own("7 [7->-bb]")));
        plan.end(&own("7 [7->-bb]"));
        assert_eq!(plan.next(|_| Some(node("h:1"))), NextScan::Node(node("h:2")));
        plan.abandon("h:2");
        assert_eq!(plan.next(|_| Some(node("h:1"))), NextScan::Node(node("h:1")));
    }
}
