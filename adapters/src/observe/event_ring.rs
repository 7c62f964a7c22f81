//! The latest events, numbered, for readers at different positions. It has no lock and wakes nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use redis_manager_core::Event;

use crate::observe::node_event::{MissedEvents, NodeEvent};

/// At most `capacity` events; the oldest ones are overwritten.
pub(super) struct EventRing {
    events: VecDeque<NodeEvent>,
    capacity: usize,
    /// The number of the oldest event that is kept, or of the next one.
    first: u64,
}

impl EventRing {
    pub(super) fn new(capacity: usize) -> Self {
        Self { events: VecDeque::new(), capacity, first: 0 }
    }

    /// The number of the next event: where a new reader begins.
    pub(super) fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    pub(super) fn push(&mut self, node: &str, event: &Event) {
        // Mostly it is the same node as before.
        let latest = self.events.back().map(|latest| &latest.node).filter(|name| &***name == node);
        let node = latest.map_or_else(|| Arc::from(node), Arc::clone);
        if self.events.len() == self.capacity {
            self.events.pop_front();
            self.first += 1;
        }
        self.events.push_back(NodeEvent::new(node, event.clone()));
    }

    /// The event at a reader's position, or how many of the reader's are gone; moves the position on.
    pub(super) fn read(&self, position: &mut u64) -> Option<Result<NodeEvent, MissedEvents>> {
        let missed = self.first.saturating_sub(*position);
        if missed > 0 {
            *position = self.first;
            return Some(Err(MissedEvents::new(missed)));
        }
        let index = usize::try_from(*position - self.first).ok()?;
        let event = self.events.get(index)?.clone();
        *position += 1;
        Some(Ok(event))
    }

    /// Forgets all events: there is no reader left.
    pub(super) fn clear(&mut self) {
        self.first = self.end();
        self.events = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: with `first` raised by two, with a position that is moved on by one more after a miss, and with one event more
    /// than the capacity kept.
    #[test]
    fn each_reader_gets_all_events_in_order_or_the_exact_number_of_those_that_it_missed() {
        for capacity in [1, 2, 7] {
            for between in 0..20_u64 {
                let mut ring = EventRing::new(capacity);
                ring.push("node", &Event::Aborted);
                let (mut fast, mut slow) = (ring.end(), ring.end());
                for count in 0..between {
                    let count = usize::try_from(count).expect("small");
                    ring.push("node", &Event::PoolsRemoved { count });
                    let read = ring.read(&mut fast).expect("there is one").expect("none is missed");
                    assert_eq!(read.event, Event::PoolsRemoved { count });
                    assert_eq!(ring.read(&mut fast), None);
                }
                let kept = between.min(capacity as u64);
                if between > kept {
                    assert_eq!(ring.read(&mut slow), Some(Err(MissedEvents::new(between - kept))), "{between} of {capacity}");
                }
                for count in between - kept..between {
                    let read = ring.read(&mut slow).expect("there is one").expect("none is missed");
                    assert_eq!(read.event, Event::PoolsRemoved { count: usize::try_from(count).expect("small") });
                }
                assert_eq!((ring.read(&mut slow), slow), (None, fast));
            }
        }
    }

    /// Seen to bite: with the name of the latest event taken for that of every node.
    #[test]
    fn a_name_is_stored_once_for_events_that_follow_each_other_and_each_event_has_its_own() {
        let mut ring = EventRing::new(4);
        let mut position = ring.end();
        for node in ["one", "one", "two", "one"] {
            ring.push(node, &Event::Aborted);
        }
        let names: Vec<_> =
            std::iter::from_fn(|| ring.read(&mut position)).map(|read| read.expect("none is missed").node).collect();
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["one", "one", "two", "one"]);
        assert!(Arc::ptr_eq(&names[0], &names[1]));
    }

    /// Seen to bite: with `first` left where it is.
    #[test]
    fn a_ring_that_was_cleared_has_missed_nothing_for_those_that_begin_then() {
        let mut ring = EventRing::new(2);
        (0..5).for_each(|_| ring.push("node", &Event::Aborted));
        ring.clear();
        let mut position = ring.end();
        assert_eq!((ring.read(&mut position), position), (None, 5));
    }
}
