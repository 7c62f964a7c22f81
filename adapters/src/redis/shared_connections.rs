//! The connections that the shared clients of a node use, and how they are opened.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis_manager_core::{Instant, Lease, NodePool, Runtime};

use crate::error::GetClientError;
use crate::redis_node::RedisConnector;
use crate::redis_node::reply_timeout::ReusableSleep;
use crate::redis_node::session::Session;
use crate::redis_node::shared_connection::SharedConnection;
use crate::redis_node::socket_end::SocketEnd;

/// The pause after a failed attempt to open one more shared connection.
const BETWEEN_WIDENINGS: Duration = Duration::from_millis(100);

/// The shared connections of a node.
pub(crate) struct SharedConnections {
    pub(crate) pool: NodePool<RedisConnector>,
    pub(crate) runtime: Arc<dyn Runtime>,
    lanes: Box<[SharedSlot]>,
    pub(crate) session: Session,
    /// A connection without traffic for this long is checked before its next command.
    pub(crate) trusted_for: Duration,
    closed: AtomicBool,
}

/// The place of one shared connection.
#[derive(Default)]
struct SharedSlot {
    connection: Mutex<Option<Arc<SharedConnection>>>,
    /// Locked by the one command that opens it.
    opening: async_lock::Mutex<()>,
    /// No attempt to open one more connection here before then, in nanoseconds of the runtime's clock.
    next_widening_at: AtomicU64,
}

impl SharedConnections {
    pub(crate) fn new(pool: NodePool<RedisConnector>, runtime: Arc<dyn Runtime>, lanes: usize, session: Session) -> Self {
        let trusted_for = pool.config().health_check_interval();
        let lanes = (0..lanes).map(|_| SharedSlot::default()).collect();
        Self { pool, runtime, lanes, session, trusted_for, closed: AtomicBool::new(false) }
    }

    /// Whether there is only one connection.
    pub(crate) fn is_single(&self) -> bool {
        self.lanes.len() == 1
    }

    pub(crate) fn is_of(&self, pool: &NodePool<RedisConnector>) -> bool {
        self.pool.is_same(pool)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Ends the connections: what is in flight on them has an unknown outcome. New ones may be opened.
    pub(crate) fn cut(&self) {
        for lane in &self.lanes {
            let connection = lane.connection().take();
            if let Some(connection) = connection {
                connection.socket.end(SocketEnd::Lost);
                connection.retire();
            }
        }
    }

    /// The connections carry no more commands, and new ones are opened for those to come. What is in flight on them may be
    /// answered until what this returns is dropped: then they end.
    pub(crate) fn replace(&self) -> ReplacedConnections {
        let taken = self.lanes.iter().filter_map(|lane| lane.connection().take());
        let taken: Vec<_> = taken.inspect(|connection| connection.retire()).collect();
        ReplacedConnections(taken)
    }

    /// No command is sent from now on. The leases are returned when the commands in flight have ended.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.lanes.iter().for_each(SharedSlot::clear);
    }

    /// Begins a command on a new connection, by `deadline`. If several callers need one, one of them opens it and the others
    /// wait.
    pub(crate) async fn open(
        &self,
        timer: &mut ReusableSleep,
        deadline: Instant,
    ) -> Result<Arc<SharedConnection>, GetClientError> {
        let lane = self.lanes.iter().find(|lane| lane.connection().is_none()).unwrap_or(&self.lanes[0]);
        let begun_at = self.runtime.now();
        let opening = timer.by(&*self.runtime, Some(deadline), lane.opening.lock()).await;
        let now = self.runtime.now();
        if let Some(connection) = self.quietest(now) {
            return Ok(connection);
        }
        if opening.is_none() && self.runtime.has_ended() {
            return Err(GetClientError::RuntimeEnded { node: String::from(self.pool.name()) });
        }
        let mut left = if opening.is_some() { deadline.saturating_duration_since(now) } else { Duration::ZERO };
        loop {
            if self.closed.load(Ordering::SeqCst) {
                return Err(GetClientError::Closed { node: String::from(self.pool.name()) });
            }
            let lent = self.pool.get_timeout(left).await;
            // The last attempt is only a part of the wait.
            let lease =
                lent.map_err(|error| having_waited(error.into(), self.runtime.now().saturating_duration_since(begun_at)))?;
            if let Some(connection) = self.put(lane, lease) {
                return Ok(connection);
            }
            // It has died meanwhile, or the shared connections were closed.
            left = deadline.saturating_duration_since(self.runtime.now());
        }
    }

    /// Begins a command on the usable connection with the fewest commands in flight. If that one is in use, one more may be
    /// opened.
    pub(crate) fn quietest(&self, now: Instant) -> Option<Arc<SharedConnection>> {
        let mut quietest: Option<Arc<SharedConnection>> = None;
        let mut vacant = None;
        for lane in &self.lanes {
            let mut place = lane.connection();
            let unfit = place.take_if(|connection| !connection.is_fit(now, self.trusted_for));
            match &*place {
                None => vacant = Some(lane),
                Some(connection) => {
                    if quietest.as_ref().is_none_or(|other| connection.in_flight() < other.in_flight()) {
                        quietest = Some(Arc::clone(connection));
                    }
                }
            }
            // Not under the lock: its lease may be returned by this.
            drop(place);
            if let Some(connection) = unfit {
                connection.retire();
            }
        }
        let quietest = quietest?;
        if let Some(lane) = vacant
            && quietest.in_flight() > 0
            && lane.may_widen(now)
            && let Ok(lease) = self.pool.try_get()
        {
            return self.put(lane, lease);
        }
        quietest.begin(now, self.trusted_for).then_some(quietest)
    }

    /// Begins a command on a connection that was just leased. `None` if it has died, or if all are closed.
    fn put(&self, lane: &SharedSlot, lease: Lease<RedisConnector>) -> Option<Arc<SharedConnection>> {
        let now = self.runtime.now();
        let connection = SharedConnection::new(lease, &*self.runtime, now, self.session.command_timeout);
        let replaced = lane.connection().replace(Arc::clone(&connection));
        if let Some(replaced) = replaced {
            replaced.retire();
        }
        let begun = connection.begin(now, self.trusted_for);
        if self.closed.load(Ordering::SeqCst) {
            // `close` may have passed this slot before.
            lane.clear();
        }
        begun.then_some(connection)
    }
}

/// Connections that carry no more commands. They end with this.
pub(crate) struct ReplacedConnections(Vec<Arc<SharedConnection>>);

impl ReplacedConnections {
    /// Whether nothing is in flight on them.
    pub(crate) fn are_idle(&self) -> bool {
        self.0.iter().all(|connection| connection.in_flight() == 0)
    }
}

impl Drop for ReplacedConnections {
    fn drop(&mut self) {
        // One that is idle has gone back to its pool.
        let busy = self.0.iter().filter(|connection| connection.in_flight() > 0);
        busy.for_each(|connection| connection.socket.end(SocketEnd::Lost));
    }
}

fn having_waited(mut error: GetClientError, since: Duration) -> GetClientError {
    if let GetClientError::NoHealthyPools { waited, .. } | GetClientError::Timeout { waited, .. } = &mut error {
        *waited = since;
    }
    error
}

impl Drop for SharedConnections {
    fn drop(&mut self) {
        self.close();
    }
}

impl SharedSlot {
    fn connection(&self) -> MutexGuard<'_, Option<Arc<SharedConnection>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        let connection = self.connection().take();
        if let Some(connection) = connection {
            connection.retire();
        }
    }

    fn may_widen(&self, now: Instant) -> bool {
        let next = (now + BETWEEN_WIDENINGS).as_nanos();
        let widened =
            self.next_widening_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| (at <= now.as_nanos()).then_some(next));
        widened.is_ok()
    }
}
