//! A connection that shared clients use, from its lease to its return.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis_manager_core::{Instant, Lease, Runtime};

use crate::connection::resp::received_mark::ReceivedMark;
use crate::redis_node::RedisConnector;
use crate::redis_node::dirty_flags::DirtyFlags;
use crate::redis_node::padded::Padded;
use crate::redis_node::socket::Socket;

/// The time of the last use is updated at most once per this many nanoseconds: all tasks write to the same place.
const NOTED_EVERY: u64 = 1_000_000;

/// One shared connection. After it is retired, its lease is returned when the last command has ended.
pub(crate) struct SharedConnection {
    pub(crate) socket: Arc<Socket>,
    in_flight: Padded<AtomicUsize>,
    /// When a command was last sent, in nanoseconds of the runtime's clock, approximately.
    used_at: AtomicU64,
    /// The data that the server had sent by then.
    received: Mutex<ReceivedMark>,
    /// A command got its reply since then.
    answered: AtomicBool,
    /// When the first command without any reply data after it was sent; as precise as `used_at`.
    unanswered_since: AtomicU64,
    /// Without any reply for this long, the connection is silent.
    reply_timeout: Duration,
    /// It must carry no more commands.
    retired: AtomicBool,
    /// A command was dropped before its reply.
    outstanding: AtomicBool,
    /// The connection must be checked before it is lent again.
    unchecked: AtomicBool,
    /// A command got no reply in time.
    silent: AtomicBool,
    /// `None` after the lease was returned.
    lease: Mutex<Option<Lease<RedisConnector>>>,
}

impl SharedConnection {
    /// The connection is silent if no data arrives for `reply_timeout` while commands are sent.
    pub(crate) fn new(lease: Lease<RedisConnector>, runtime: &dyn Runtime, now: Instant, reply_timeout: Duration) -> Arc<Self> {
        lease.socket().share(runtime);
        let connection = Arc::new(Self {
            socket: Arc::clone(lease.socket()),
            in_flight: Padded(AtomicUsize::new(0)),
            used_at: AtomicU64::new(now.as_nanos()),
            received: Mutex::new(lease.socket().received()),
            answered: AtomicBool::new(false),
            unanswered_since: AtomicU64::new(now.as_nanos()),
            reply_timeout,
            retired: AtomicBool::new(false),
            outstanding: AtomicBool::new(false),
            unchecked: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            lease: Mutex::new(Some(lease)),
        });
        let dying = Arc::downgrade(&connection);
        // So that its place in the pool becomes free even if no command follows.
        connection.socket.at_end_run(move || dying.upgrade().iter().for_each(|connection| connection.retire()));
        connection
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.0.load(Ordering::SeqCst)
    }

    /// Begins a command; false if this connection must carry no more. A command that has begun must
    /// [`end`](SharedConnection::end).
    pub(crate) fn begin(&self, now: Instant, trusted_for: Duration) -> bool {
        if !self.is_fit(now, trusted_for) {
            return false;
        }
        self.in_flight.0.fetch_add(1, Ordering::SeqCst);
        // In this order: `retire` sets the flag first and reads the count afterwards.
        if self.retired.load(Ordering::SeqCst) {
            self.end();
            return false;
        }
        let used_at = self.used_at.load(Ordering::Relaxed);
        if now.as_nanos().saturating_sub(used_at) > NOTED_EVERY {
            self.used_at.store(now.as_nanos(), Ordering::Relaxed);
            let silent = self.has_fallen_silent(now);
            if silent {
                // Otherwise callers with shorter timeouts would be sent here forever.
                self.fall_silent();
            }
            if silent || self.is_outlived() {
                self.retire();
                self.end();
                return false;
            }
        }
        true
    }

    /// Whether the pool wants the connection back: it is too old, or leads to the wrong server.
    fn is_outlived(&self) -> bool {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(Lease::is_retired)
    }

    /// Whether commands were sent and no reply came for `reply_timeout`. A part of a reply is a sign of life. A push is not: it
    /// answers no command.
    fn has_fallen_silent(&self, now: Instant) -> bool {
        let mark = self.socket.received();
        let before = std::mem::replace(&mut *self.received.lock().unwrap_or_else(PoisonError::into_inner), mark);
        if self.answered.swap(false, Ordering::Relaxed) || mark.has_reply_since(before) {
            self.unanswered_since.store(now.as_nanos(), Ordering::Relaxed);
            return false;
        }
        let since = Instant::from_nanos(self.unanswered_since.load(Ordering::Relaxed));
        now.saturating_duration_since(since) >= self.reply_timeout
    }

    /// A command got its reply.
    pub(crate) fn answer(&self) {
        // The flag is set already in most cases, and other tasks read it.
        if !self.answered.load(Ordering::Relaxed) {
            self.answered.store(true, Ordering::Relaxed);
        }
    }

    /// The connection is checked when it returns to the pool.
    pub(crate) fn check_later(&self) {
        self.unchecked.store(true, Ordering::SeqCst);
    }

    /// A command in flight is dropped, or times out, before its reply.
    pub(crate) fn abandon(&self) {
        self.outstanding.store(true, Ordering::SeqCst);
    }

    /// Commands get no replies any more. The pool is notified when the lease is returned.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        if self.in_flight.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.give_back_if_idle();
        }
    }

    /// Whether it may carry one more command.
    pub(crate) fn is_fit(&self, now: Instant, trusted_for: Duration) -> bool {
        let sound = !self.socket.is_dead() && !self.retired.load(Ordering::Relaxed);
        let used_at = Instant::from_nanos(self.used_at.load(Ordering::Relaxed));
        if sound && self.in_flight() == 0 && now.saturating_duration_since(used_at) > trusted_for {
            // It returns to the pool, which checks it before it is lent again.
            self.unchecked.store(true, Ordering::Relaxed);
            return false;
        }
        sound
    }

    /// Carries no more commands. The lease is returned as soon as none is in flight.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.give_back_if_idle();
    }

    /// Returns the lease. Called by `retire` and by the end of each command; the later one returns it.
    fn give_back_if_idle(&self) {
        if self.in_flight() > 0 || !self.retired.load(Ordering::SeqCst) {
            return;
        }
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut lease) = lease {
            let silent = self.silent.load(Ordering::SeqCst);
            lease.socket().unshare();
            if self.unchecked.load(Ordering::SeqCst) {
                lease.leave(DirtyFlags::CHECK);
            }
            if silent || self.outstanding.load(Ordering::SeqCst) {
                lease.note_outstanding(silent);
            }
        }
    }
}

#[cfg(all(test, feature = "tokio"))]
mod tests;
