//! The events that one reader has not taken yet: bounded, with a policy for the rest. Pure.

use std::collections::{BTreeSet, VecDeque};

use redis_manager_core::Instant;

use crate::subscriber::event::{GapReason, SubscriptionEvent};
use crate::subscriber::options::{Overflow, SubscriberOptions};
use crate::subscriber::topic::Topic;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct EventBuffer {
    events: VecDeque<SubscriptionEvent>,
    bytes: usize,
    most_events: usize,
    most_bytes: usize,
    overflow: Overflow,
    /// What was dropped and is not told yet.
    dropped: Option<DroppedEvents>,
    /// Nothing is taken in any more.
    has_overflowed: bool,
}

#[derive(Debug)]
struct DroppedEvents {
    messages: u64,
    since: Instant,
    until: Instant,
    /// Of a gap that was dropped, too.
    reason: Option<GapReason>,
    topics: BTreeSet<Topic>,
}

impl EventBuffer {
    pub(crate) fn new(options: &SubscriberOptions) -> Self {
        let SubscriberOptions { buffer_messages, buffer_bytes, overflow, .. } = *options;
        Self {
            events: VecDeque::new(),
            bytes: 0,
            most_events: buffer_messages,
            most_bytes: buffer_bytes,
            overflow,
            dropped: None,
            has_overflowed: false,
        }
    }

    /// Takes an event in. The result is how many messages were dropped for it.
    pub(crate) fn push(&mut self, now: Instant, event: SubscriptionEvent) -> u64 {
        if self.has_overflowed {
            return 0;
        }
        if self.overflow == Overflow::End && self.is_at_limit() {
            self.has_overflowed = true;
            return u64::from(event.topic_of_message().is_some());
        }
        self.bytes += event.weight();
        self.events.push_back(event);
        if self.overflow != Overflow::DropOldest {
            return 0;
        }
        let mut count = 0;
        while self.events.len() > self.most_events || (self.bytes > self.most_bytes && self.events.len() > 1) {
            let Some(oldest) = self.take() else { break };
            count += self.note_dropped(now, &oldest);
        }
        count
    }

    fn note_dropped(&mut self, now: Instant, event: &SubscriptionEvent) -> u64 {
        let new = DroppedEvents { messages: 0, since: now, until: now, reason: None, topics: BTreeSet::new() };
        match event {
            SubscriptionEvent::Message { .. } => {
                let dropped = self.dropped.get_or_insert(new);
                dropped.messages += 1;
                dropped.until = now;
                if let Some((kind, name)) = event.topic_of_message() {
                    dropped.topics.insert(Topic::new(kind, name));
                }
                1
            }
            // It is told with what was dropped beside it.
            SubscriptionEvent::Gap { since, lasted, reason, channels } => {
                let dropped = self.dropped.get_or_insert(new);
                dropped.since = dropped.since.min(*since);
                dropped.until = dropped.until.max(*since + *lasted);
                dropped.reason.get_or_insert(*reason);
                dropped.topics.extend(channels.iter().cloned());
                match reason {
                    GapReason::Dropped { messages } => dropped.messages += messages,
                    GapReason::ConnectionLost | GapReason::Silent | GapReason::Moved => {}
                }
                0
            }
            SubscriptionEvent::Subscribed { .. } | SubscriptionEvent::Unsubscribed { .. } => 0,
        }
    }

    /// The next event for the reader.
    pub(crate) fn pop(&mut self) -> Option<SubscriptionEvent> {
        if let Some(dropped) = self.dropped.take() {
            let DroppedEvents { messages, since, until, reason, topics } = dropped;
            let reason = reason.filter(|_| messages == 0).unwrap_or(GapReason::Dropped { messages });
            let lasted = until.saturating_duration_since(since);
            return Some(SubscriptionEvent::Gap { since, lasted, reason, channels: topics.into_iter().collect() });
        }
        self.take()
    }

    fn take(&mut self) -> Option<SubscriptionEvent> {
        let event = self.events.pop_front()?;
        self.bytes -= event.weight();
        Some(event)
    }

    fn is_at_limit(&self) -> bool {
        self.events.len() >= self.most_events || self.bytes >= self.most_bytes
    }

    /// Whether the connection is not to be read for its sake.
    pub(crate) fn stops_reading(&self) -> bool {
        self.overflow == Overflow::StopReading && self.is_at_limit()
    }

    /// Whether so much was taken that the connection is to be read again.
    pub(crate) fn has_room_again(&self) -> bool {
        self.events.len() <= self.most_events / 2 && self.bytes <= self.most_bytes / 2
    }

    pub(crate) fn has_overflowed(&self) -> bool {
        self.has_overflowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::subscriber::topic::TopicKind;

    fn message(number: u8, length: usize) -> SubscriptionEvent {
        let payload = vec![number; length];
        SubscriptionEvent::Message { kind: TopicKind::Channel, channel: b"c".to_vec(), pattern: None, payload }
    }

    fn buffer(overflow: Overflow) -> EventBuffer {
        EventBuffer::new(&SubscriberOptions::default().buffer_messages(4).buffer_bytes(100).overflow(overflow))
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn drain(buffer: &mut EventBuffer) -> Vec<SubscriptionEvent> {
        std::iter::from_fn(|| buffer.pop()).collect()
    }

    fn gap(since: u64, lasted: u64, reason: GapReason) -> SubscriptionEvent {
        let (since, lasted) = (at(since), Duration::from_millis(lasted));
        SubscriptionEvent::Gap { since, lasted, reason, channels: [Topic::new(TopicKind::Channel, "c")].into() }
    }

    /// Seen to bite: with the newest dropped, with a count that starts anew, with the gap behind the messages, and without the
    /// bound by bytes.
    #[test]
    fn p3_the_oldest_are_dropped_and_told_with_their_number_before_the_next_message() {
        let mut buffer = buffer(Overflow::DropOldest);
        let dropped: u64 = (0..7).map(|n| buffer.push(at(n), message(n as u8, 1))).sum();
        assert_eq!(dropped, 3);
        assert_eq!(buffer.pop(), Some(gap(4, 2, GapReason::Dropped { messages: 3 })));
        assert_eq!(drain(&mut buffer), [3, 4, 5, 6].map(|n| message(n, 1)));
        for n in 0..3 {
            buffer.push(at(10), message(n, 60));
        }
        assert_eq!(drain(&mut buffer), [gap(10, 0, GapReason::Dropped { messages: 2 }), message(2, 60)]);
        assert_eq!(buffer.push(at(11), message(9, 1_000)), 0, "one message is kept, however large");
        assert_eq!(drain(&mut buffer), [message(9, 1_000)]);
    }

    /// Seen to bite: with a gap that is dropped as other events are.
    #[test]
    fn p3_a_gap_that_is_dropped_is_told_with_what_was_dropped_beside_it() {
        let mut buffer = buffer(Overflow::DropOldest);
        buffer.push(at(10), gap(3, 4, GapReason::Silent));
        for n in 0..4 {
            buffer.push(at(10), message(n, 1));
        }
        assert_eq!(buffer.pop(), Some(gap(3, 7, GapReason::Silent)));
        assert_eq!(drain(&mut buffer).len(), 4);
        buffer.push(at(20), message(0, 1));
        buffer.push(at(20), gap(15, 1, GapReason::ConnectionLost));
        for n in 0..4 {
            buffer.push(at(20), message(n, 1));
        }
        assert_eq!(buffer.pop(), Some(gap(15, 5, GapReason::Dropped { messages: 1 })));
    }

    /// Seen to bite: with a limit of one more, and with a buffer that has room again as soon as it is not full.
    #[test]
    fn p3_reading_stops_at_the_limit_and_goes_on_at_half_of_it() {
        let mut buffer = buffer(Overflow::StopReading);
        for n in 0..4 {
            assert!(!buffer.stops_reading(), "{n}");
            buffer.push(at(0), message(n, 1));
        }
        assert!(buffer.stops_reading());
        buffer.pop();
        assert!(!buffer.stops_reading() && !buffer.has_room_again());
        buffer.pop();
        assert!(buffer.has_room_again());
        buffer.push(at(0), message(9, 99));
        assert!(buffer.stops_reading() && drain(&mut buffer).len() == 3);
    }

    /// Seen to bite: with what was kept thrown away, and with messages after the first that was lost.
    #[test]
    fn p3_a_reader_that_is_to_end_gets_what_was_kept_and_nothing_after_the_first_loss() {
        let mut buffer = buffer(Overflow::End);
        for n in 0..5 {
            assert!(!buffer.has_overflowed());
            buffer.push(at(0), message(n, 1));
        }
        assert!(buffer.has_overflowed());
        buffer.pop();
        buffer.push(at(0), message(9, 1));
        assert_eq!(drain(&mut buffer), [1, 2, 3].map(|n| message(n, 1)));
    }
}
