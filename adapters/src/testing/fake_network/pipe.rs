//! One direction of a connection: bytes under way, in order.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use redis_manager_core::Instant;
use redis_manager_core::testing::SeededRng;

use crate::testing::fake_network::conditions::{Cut, LinkConditions};

/// What is read next, and when it arrives.
enum Segment {
    Bytes { at: Instant, bytes: Vec<u8>, read: usize },
    Cut { at: Instant, cut: Cut },
}

impl Segment {
    fn at(&self) -> Instant {
        match self {
            Self::Bytes { at, .. } | Self::Cut { at, .. } => *at,
        }
    }
}

/// What a reader finds.
pub(super) enum Readable {
    /// So many bytes were copied.
    Bytes(usize),
    Cut(Cut),
    /// Something arrives then.
    At(Instant),
    /// Nothing is under way.
    Nothing,
}

#[derive(Default)]
pub(super) struct Pipe {
    segments: VecDeque<Segment>,
    unread: usize,
    /// When the line has sent what was written, by its bandwidth.
    sent_at: Instant,
    /// When the last segment arrives: none overtakes it.
    last_at: Instant,
    /// Nothing arrives while this is set.
    pub(super) is_held: bool,
    /// After so many more bytes the connection is cut.
    pub(super) cut_after: Option<(usize, Cut)>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    /// Copies what has arrived. The waker is kept if nothing has.
    pub(super) fn read(&mut self, now: Instant, target: &mut [u8], waker: &Waker) -> Readable {
        if self.is_held {
            self.reader = Some(waker.clone());
            return Readable::Nothing;
        }
        let mut copied = 0;
        while let Some(segment) = self.segments.front_mut() {
            if segment.at() > now {
                break;
            }
            match segment {
                Segment::Cut { cut, .. } if copied == 0 => return Readable::Cut(*cut),
                Segment::Cut { .. } => break,
                Segment::Bytes { bytes, read, .. } => {
                    let length = (bytes.len() - *read).min(target.len() - copied);
                    target[copied..copied + length].copy_from_slice(&bytes[*read..*read + length]);
                    (copied, *read) = (copied + length, *read + length);
                    self.unread -= length;
                    if *read < bytes.len() {
                        break;
                    }
                    self.segments.pop_front();
                }
            }
        }
        if copied > 0 {
            return Readable::Bytes(copied);
        }
        self.reader = Some(waker.clone());
        self.segments.front().map_or(Readable::Nothing, |segment| Readable::At(segment.at()))
    }

    /// Sends bytes: at most what the window takes, or all. The result is how many, and how the connection is cut by them.
    pub(super) fn write(
        &mut self,
        now: Instant,
        bytes: &[u8],
        is_all: bool,
        conditions: &LinkConditions,
        rng: &mut SeededRng,
    ) -> (usize, Option<Cut>) {
        let taken = if is_all { bytes.len() } else { bytes.len().min(conditions.window.max(1).saturating_sub(self.unread)) };
        let mut rest = &bytes[..taken];
        let mut cut = None;
        if let Some((left, how)) = &mut self.cut_after {
            if rest.len() >= *left {
                rest = &rest[..*left];
                cut = Some(*how);
            }
            *left -= rest.len();
        }
        while !rest.is_empty() {
            let length = conditions.max_segment.map_or(rest.len(), |most| rest.len().min(1 + rng.index(most.max(1))));
            let (segment, others) = rest.split_at(length);
            let at = self.arrival(now, length, conditions, rng);
            self.unread += length;
            self.segments.push_back(Segment::Bytes { at, bytes: segment.to_vec(), read: 0 });
            rest = others;
        }
        (taken, cut)
    }

    /// When a segment of so many bytes arrives that is sent now.
    fn arrival(&mut self, now: Instant, length: usize, conditions: &LinkConditions, rng: &mut SeededRng) -> Instant {
        let sending = conditions.bandwidth.map_or(Duration::ZERO, |bandwidth| {
            Duration::from_nanos((length as u64).saturating_mul(1_000_000_000) / bandwidth.max(1))
        });
        self.sent_at = self.sent_at.max(now) + sending;
        let jitter = if conditions.jitter.is_zero() { Duration::ZERO } else { rng.up_to(conditions.jitter) };
        self.last_at = self.last_at.max(self.sent_at + conditions.latency + jitter);
        self.last_at
    }

    /// The writer has ended, or the connection was cut, after what is under way.
    pub(super) fn cut(&mut self, now: Instant, cut: Cut, conditions: &LinkConditions, rng: &mut SeededRng) {
        if !self.is_cut() {
            let at = self.arrival(now, 0, conditions, rng);
            self.segments.push_back(Segment::Cut { at, cut });
        }
    }

    /// What has not arrived never does: a reset overtakes it.
    pub(super) fn lose_what_is_under_way(&mut self, now: Instant) {
        self.segments.retain(|segment| segment.at() <= now);
        let length = |segment: &Segment| match segment {
            Segment::Bytes { bytes, read, .. } => bytes.len() - read,
            Segment::Cut { .. } => 0,
        };
        self.unread = self.segments.iter().map(length).sum();
        (self.last_at, self.sent_at) = (now, now);
    }

    pub(super) fn is_cut(&self) -> bool {
        matches!(self.segments.back(), Some(Segment::Cut { .. }))
    }

    /// Whether bytes have arrived that nobody has read.
    pub(super) fn has_unread(&self, now: Instant) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Bytes { at, .. } if *at <= now))
    }

    /// Bytes under way or not yet read.
    pub(super) fn unread(&self) -> usize {
        self.unread
    }

    pub(super) fn wait_for_room(&mut self, waker: &Waker) {
        self.writer = Some(waker.clone());
    }

    pub(super) fn take_reader(&mut self) -> Option<Waker> {
        self.reader.take()
    }

    pub(super) fn take_writer(&mut self) -> Option<Waker> {
        self.writer.take()
    }

    pub(super) fn has_waiting_reader(&self) -> bool {
        self.reader.is_some()
    }
}
