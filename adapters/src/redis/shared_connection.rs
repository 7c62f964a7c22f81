//! A connection that shared clients send on, from its lease to its return.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis_manager_core::{Instant, Lease};

use crate::redis_node::RedisConnector;
use crate::redis_node::padded::Padded;
use crate::redis_node::received::ReceivedMark;
use crate::redis_node::socket::{InFlight, Socket};

/// When a connection was last used is noted no more often than this, in nanoseconds: all tasks would write to one place.
const NOTED_EVERY: u64 = 1_000_000;

/// One shared connection. Once it is retired, its lease goes back when the last command has left it.
pub(crate) struct SharedConnection {
    pub(crate) handle: MultiplexedConnection,
    pub(crate) socket: Arc<Socket>,
    in_flight: Arc<InFlight>,
    /// When a command was last sent on it, more or less, in nanoseconds of the runtime's clock.
    used_at: AtomicU64,
    /// What the server had sent then.
    heard: Mutex<ReceivedMark>,
    /// A command got its reply since then.
    answered: AtomicBool,
    /// When a command was sent and there had been a reply, or a part of one, since the one before it, as precisely.
    unheard_since: AtomicU64,
    /// No reply for so long: it is silent.
    reply_timeout: Duration,
    /// It is to carry no more commands.
    retired: AtomicBool,
    /// A command was dropped before its reply.
    outstanding: AtomicBool,
    /// A command got no reply in time.
    silent: AtomicBool,
    /// None once it has gone back.
    lease: Mutex<Option<Lease<RedisConnector>>>,
}

impl SharedConnection {
    /// Nothing is heard for `reply_timeout` while commands are sent: it is silent.
    pub(crate) fn new(lease: Lease<RedisConnector>, now: Instant, reply_timeout: Duration) -> Arc<Self> {
        let in_flight = Arc::new(Padded(AtomicUsize::new(0)));
        lease.socket().share(Arc::clone(&in_flight));
        let connection = Arc::new(Self {
            handle: lease.handle(),
            socket: Arc::clone(lease.socket()),
            in_flight,
            used_at: AtomicU64::new(now.as_nanos()),
            heard: Mutex::new(lease.socket().received.mark()),
            answered: AtomicBool::new(false),
            unheard_since: AtomicU64::new(now.as_nanos()),
            reply_timeout,
            retired: AtomicBool::new(false),
            outstanding: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            lease: Mutex::new(Some(lease)),
        });
        let dying = Arc::downgrade(&connection);
        // So that its place in the pool is free also if no command comes.
        connection.socket.at_end_run(move || dying.upgrade().iter().for_each(|connection| connection.retire()));
        connection
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.0.load(Ordering::SeqCst)
    }

    /// A command begins; false if this connection is to carry no more. One that has begun must [`end`](SharedConnection::end).
    pub(crate) fn begin(&self, now: Instant, trusted_for: Duration) -> bool {
        if !self.is_fit(now, trusted_for) {
            return false;
        }
        self.in_flight.0.fetch_add(1, Ordering::SeqCst);
        // In this order: whoever retires it looks at the count afterwards.
        if self.retired.load(Ordering::SeqCst) {
            self.end();
            return false;
        }
        let used_at = self.used_at.load(Ordering::Relaxed);
        if now.as_nanos().saturating_sub(used_at) > NOTED_EVERY {
            self.used_at.store(now.as_nanos(), Ordering::Relaxed);
            let silent = self.has_fallen_silent(now);
            if silent {
                // Callers that give up sooner than that would be sent here for ever.
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

    /// Whether the pool wants the connection back: it is too old, or leads to a server that is not wanted any more.
    fn is_outlived(&self) -> bool {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(Lease::is_retired)
    }

    /// Whether commands were sent and no reply came for as long as one may take. A part of a reply is a sign of life, too; a
    /// push is none: no command gets its reply by it.
    fn has_fallen_silent(&self, now: Instant) -> bool {
        let mark = self.socket.received.mark();
        let before = std::mem::replace(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner), mark);
        if self.answered.swap(false, Ordering::Relaxed) || mark.has_reply_since(before) {
            self.unheard_since.store(now.as_nanos(), Ordering::Relaxed);
            return false;
        }
        let since = Instant::from_nanos(self.unheard_since.load(Ordering::Relaxed));
        now.saturating_duration_since(since) >= self.reply_timeout
    }

    /// A command that began at `begun_at` got its reply.
    pub(crate) fn answer(&self, begun_at: Instant) {
        // Mostly it is noted already, and others read it.
        if !self.answered.load(Ordering::Relaxed) {
            self.answered.store(true, Ordering::Relaxed);
        }
        self.socket.outstanding.answered(begun_at);
    }

    /// It is checked when it goes back to the pool.
    pub(crate) fn check_later(&self) {
        self.outstanding.store(true, Ordering::SeqCst);
    }

    /// A command that has begun is dropped, or given up, before its reply.
    pub(crate) fn abandon(&self, now: Instant) {
        self.socket.outstanding.leave(now);
        self.outstanding.store(true, Ordering::SeqCst);
    }

    /// No command gets a reply any more: the pool is told so when the lease goes back.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        if self.in_flight.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            if self.socket.buffers().have_outgrown() {
                // While commands follow each other it is of use; it is not to idle with what it holds.
                self.retired.store(true, Ordering::SeqCst);
            }
            self.give_back_if_idle();
        }
    }

    /// Whether it may carry one more command.
    pub(crate) fn is_fit(&self, now: Instant, trusted_for: Duration) -> bool {
        let sound = !self.socket.is_dead() && !self.retired.load(Ordering::Relaxed);
        let used_at = Instant::from_nanos(self.used_at.load(Ordering::Relaxed));
        if sound && self.in_flight() == 0 && now.saturating_duration_since(used_at) > trusted_for {
            // It goes back to the pool, which asks it for a sign of life before it is lent again.
            self.outstanding.store(true, Ordering::Relaxed);
            return false;
        }
        sound
    }

    /// Carries no more commands; the lease goes back as soon as none is in flight.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.give_back_if_idle();
    }

    /// Whoever comes last gives the lease back: the one that retires it, or the last command to leave.
    fn give_back_if_idle(&self) {
        if self.in_flight() > 0 || !self.retired.load(Ordering::SeqCst) {
            return;
        }
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut lease) = lease {
            let silent = self.silent.load(Ordering::SeqCst);
            let outstanding = silent || self.outstanding.load(Ordering::SeqCst);
            lease.socket().unshare(outstanding);
            if outstanding {
                lease.note_outstanding(silent);
            }
        }
    }
}

#[cfg(all(test, feature = "tokio"))]
mod tests;
