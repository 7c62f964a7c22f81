//! How slots move from primary to primary while clients go on: MIGRATING, IMPORTING, MIGRATE, SETSLOT.

use std::ops::RangeInclusive;

use super::{SlotRange, TestCluster, TestClusterNode, owner_in, wait_until_right};

/// How many keys move at once, while which neither node serves anybody.
const KEYS_AT_ONCE: usize = 100;
/// What a primary says that has heard from the new one, before us, that its last slot is gone: it follows the new one then.
const IS_REPLICA: &str = "-ERR Please use SETSLOT only with masters.";

impl TestCluster {
    /// Moves a slot or a range of them, with all keys, to this primary, as redis-cli does it: clients of those slots see
    /// ASK for a while, for keys that are not there or have moved already, and then MOVED.
    ///
    /// All of a range are announced before the first key moves, so the longer the range, the longer ASK is seen: some tenths
    /// of a second for 1 000 slots. Returns when all running nodes know. Keys must be UTF-8 without line breaks.
    pub fn move_slots(&self, slots: impl Into<SlotRange>, to: &TestClusterNode) {
        self.move_slots_while(slots, to, || {});
    }

    /// As [`move_slots`](TestCluster::move_slots), with a closure that runs while the slots are half moved: half of the
    /// keys of each slot (none, if there is only one) are at the new primary and are answered with ASK at the old one,
    /// as are keys that do not exist; the other half is still served by the old one.
    pub fn move_slots_while<T>(&self, slots: impl Into<SlotRange>, to: &TestClusterNode, act: impl FnOnce() -> T) -> T {
        let slots = slots.into().0;
        let moves = self.moves(&slots, to);
        for each in &moves {
            each.announce();
            each.migrate_half();
        }
        let result = act();
        for each in &moves {
            each.migrate_all();
            each.settle(&self.primaries());
        }
        wait_until_right(|| self.who_does_not_know(&slots, to));
        result
    }

    /// A part for each primary that has some of the slots.
    fn moves<'a>(&self, slots: &RangeInclusive<u16>, to: &'a TestClusterNode) -> Vec<Move<'a>> {
        let lines = self.look();
        let mut moves: Vec<Move<'a>> = Vec::new();
        for slot in slots.clone() {
            let owner = owner_in(&lines, slot).unwrap_or_else(|| panic!("nobody has slot {slot}: {lines:?}"));
            match moves.iter_mut().find(|each| each.from.id() == owner) {
                Some(each) => each.slots.push(slot),
                None => moves.push(Move { from: self.node(owner), to, slots: vec![slot] }),
            }
        }
        moves.retain(|each| each.from != *to);
        moves
    }

    fn who_does_not_know(&self, slots: &RangeInclusive<u16>, to: &TestClusterNode) -> Option<String> {
        let mut running = self.nodes();
        running.retain(TestClusterNode::is_running);
        running.iter().find_map(|node| {
            let text = node.command(&["CLUSTER", "NODES"]);
            let view = super::view::parse(&text)?;
            let line = view.iter().find(|line| line.id == to.id());
            let knows = line.is_some_and(|line| slots.clone().all(|slot| line.has(slot)));
            (!knows).then(|| format!("{node:?} does not know that {slots:?} moved to {to:?}: {text}"))
        })
    }
}

/// Slots on their way between two primaries.
struct Move<'a> {
    from: TestClusterNode,
    to: &'a TestClusterNode,
    slots: Vec<u16>,
}

impl Move<'_> {
    /// From here on the old primary answers ASK for keys that it does not have. First the new one, or it would send
    /// back who comes with ASKING.
    fn announce(&self) {
        self.set_slots(self.to, &["IMPORTING", self.from.id()], None);
        self.set_slots(&self.from, &["MIGRATING", self.to.id()], None);
    }

    fn migrate_half(&self) {
        for slot in &self.slots {
            let count = self.from.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]);
            let count: usize = count.parse().unwrap_or_else(|_| panic!("COUNTKEYSINSLOT of {:?}: {count}", self.from));
            self.migrate(*slot, count / 2);
        }
    }

    /// The old primary gets no new keys of these slots any more, so this ends.
    fn migrate_all(&self) {
        for slot in &self.slots {
            while self.migrate(*slot, KEYS_AT_ONCE) > 0 {}
        }
    }

    /// Tells first the new one, so that the slot is never without a node, then the old one, then the others.
    fn settle(&self, primaries: &[TestClusterNode]) {
        let node = ["NODE", self.to.id()];
        self.set_slots(self.to, &node, None);
        self.set_slots(&self.from, &node, Some(IS_REPLICA));
        for other in primaries.iter().filter(|other| *other != self.to && **other != self.from && other.is_running()) {
            self.set_slots(other, &node, Some(IS_REPLICA));
        }
    }

    /// Moves at most so many keys of a slot, and says how many there were.
    fn migrate(&self, slot: u16, most: usize) -> usize {
        let mut left = most;
        while left > 0 {
            let count = left.min(KEYS_AT_ONCE);
            let keys = self.from.command(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &count.to_string()]);
            assert!(!keys.starts_with("-ERR"), "GETKEYSINSLOT of {:?}: {keys}", self.from);
            let keys: Vec<&str> = keys.lines().collect();
            if keys.is_empty() {
                break;
            }
            let port = self.to.cluster_port().to_string();
            let mut args = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "4000"];
            args.extend(self.to.password().iter().flat_map(|password| ["AUTH", password]));
            args.push("KEYS");
            args.extend(&keys);
            let reply = self.from.command(&args);
            assert!(reply == "OK" || reply == "NOKEY", "MIGRATE of {keys:?} from {:?} to {:?}: {reply}", self.from, self.to);
            left -= keys.len();
        }
        most - left
    }

    fn set_slots(&self, node: &TestClusterNode, what: &[&str], or: Option<&str>) {
        let command = |slot: &u16| {
            let mut args = vec!["CLUSTER".to_owned(), "SETSLOT".to_owned(), slot.to_string()];
            args.extend(what.iter().map(|arg| (*arg).to_owned()));
            args
        };
        node.command_all(self.slots.iter().map(command).collect(), or);
    }
}
