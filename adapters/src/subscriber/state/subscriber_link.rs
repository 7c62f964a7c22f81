//! One connection of a subscriber: what is on its way on it, and since when nothing has come.

use std::collections::BTreeSet;

use redis_manager_core::Instant;

use super::sent_requests::SentRequests;
use super::subscriber_io::SubscriberTiming;
use crate::subscriber::topic::Topic;

/// ```text
///  Wanted --- a connection is dialled ---> Dialling --- it is there ---> Up
///    '------------------------ lost, given up ---------------------------'
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkPhase {
    /// To be dialled at the end of the input.
    Wanted,
    Dialling,
    Up,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct SubscriberLink {
    pub(super) phase: LinkPhase,
    pub(super) sent: SentRequests,
    /// Those that are subscribed to here, or are to be.
    pub(super) topics: BTreeSet<Topic>,
    pub(super) heard_at: Instant,
    /// When the connection is given up if nothing comes.
    silent_at: Option<Instant>,
}

impl SubscriberLink {
    pub(super) fn new() -> Self {
        Self {
            phase: LinkPhase::Wanted,
            sent: SentRequests::default(),
            topics: BTreeSet::new(),
            heard_at: Instant::ZERO,
            silent_at: None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.phase == LinkPhase::Up
    }

    /// The connection is there.
    pub(super) fn connect(&mut self, now: Instant) {
        debug_assert_eq!(self.phase, LinkPhase::Dialling, "it was asked for");
        self.phase = LinkPhase::Up;
        self.heard_at = now;
    }

    /// The connection is gone, and with it all that was on its way.
    pub(super) fn lose(&mut self) {
        self.phase = LinkPhase::Wanted;
        self.sent.clear();
        self.silent_at = None;
    }

    pub(super) fn hear(&mut self, now: Instant, timing: SubscriberTiming) {
        self.heard_at = now;
        self.silent_at = if self.sent.is_empty() { None } else { Some(now + timing.reply_timeout) };
    }

    /// A reply is awaited from now on.
    pub(super) fn expect_reply(&mut self, now: Instant, timing: SubscriberTiming) {
        self.silent_at.get_or_insert(now + timing.reply_timeout);
    }

    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.silent_at.is_some_and(|at| at <= now)
    }

    pub(super) fn is_ping_due(&self, now: Instant, timing: SubscriberTiming) -> bool {
        self.ping_at(timing).is_some_and(|at| at <= now)
    }

    /// When a PING is due, or the connection is given up.
    pub(super) fn next_deadline(&self, timing: SubscriberTiming) -> Option<Instant> {
        self.silent_at.or_else(|| self.ping_at(timing))
    }

    fn ping_at(&self, timing: SubscriberTiming) -> Option<Instant> {
        let is_quiet = self.is_up() && self.sent.is_empty();
        is_quiet.then(|| self.heard_at + timing.ping_interval)
    }
}
