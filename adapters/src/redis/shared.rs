//! Clients that many tasks share: plain commands over a few connections, which are leased from the node's pools.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use redis_manager_core::{GetClientError, Instant, Lease, NodePool, Runtime};

use crate::redis_node::connection::{is_fatal, outcome_unknown, timed_out, within};
use crate::redis_node::news::{Answer, News};
use crate::redis_node::patience::Patience;
use crate::redis_node::session::{Request, Session, Traces};
use crate::redis_node::RedisConnector;
use crate::redis_node::link::Link;

/// How long after a vain attempt another one is made to widen what is shared.
const BETWEEN_WIDENINGS: Duration = Duration::from_millis(100);

/// A client that any number of tasks use at once. Cheap to clone; made by
/// [`RedisManager::get_shared_client`](crate::RedisManager::get_shared_client).
///
/// All shared clients of a node send their commands over the same `shared_connections_per_node` connections, each command
/// over the one with the fewest in flight. Those connections are on loan from the node's pools for as long as there is a
/// shared client: they count as `active`, and against the limits.
///
/// It is for plain commands, atomic pipelines and scripts. What changes a session or keeps the connection busy is refused
/// with an error of the kind [`Client`](ErrorKind::Client) that names the command, and nothing is sent: `WATCH`, a single
/// `MULTI`, commands that block, `SELECT`, `AUTH`, `HELLO`, `RESET`, `SUBSCRIBE`, `MONITOR`, most of `CLIENT`, and
/// commands without a response. Get a [`Client`](crate::Client) for those.
///
/// # Lost connections
///
/// A command has `command_timeout` from start to end. One that was never sent waits within it for a new connection; the
/// error says `not sent` if none came. One that may have been sent is never sent again: its error says `outcome unknown`.
///
/// # Cancel safety
///
/// A command future may be dropped at any time; a command that was sent may still be carried out. Others do not notice.
#[derive(Clone)]
pub struct SharedClient {
    hub: Arc<Hub>,
}

/// What the shared clients of a node have in common.
pub(crate) struct Hub {
    pool: NodePool<RedisConnector>,
    runtime: Arc<dyn Runtime>,
    lanes: Box<[Lane]>,
    session: Session,
    /// A connection that has carried nothing for so long is checked before it carries more.
    trusted_for: Duration,
    /// How old a connection may grow here.
    max_lifetime: Duration,
    closed: AtomicBool,
}

/// The place of one shared connection.
#[derive(Default)]
struct Lane {
    track: Mutex<Option<Arc<Track>>>,
    /// Held by the one command that opens it.
    opening: async_lock::Mutex<()>,
    /// Before then nobody tries to widen into it, in nanoseconds of the runtime's clock.
    next_widening_at: AtomicU64,
}

/// One shared connection. When the last command has left it after it was replaced, its lease goes back.
struct Track {
    handle: MultiplexedConnection,
    link: Arc<Link>,
    in_flight: AtomicUsize,
    /// When a command was last sent on it, in nanoseconds of the runtime's clock.
    used_at: AtomicU64,
    retire_at: Instant,
    /// It is to carry no more commands.
    retired: AtomicBool,
    /// A command was dropped before its reply.
    outstanding: AtomicBool,
    /// A command got no reply in time.
    silent: AtomicBool,
    lease: Mutex<Lease<RedisConnector>>,
}

impl SharedClient {
    /// Waits until the node has a connection to share.
    pub(crate) async fn ready(hub: Arc<Hub>, timeout: Duration) -> Result<Self, GetClientError> {
        let now = hub.runtime.now();
        if hub.quietest(now).is_none() {
            hub.open(now, now + timeout).await?;
        }
        Ok(Self { hub })
    }
}

impl Hub {
    pub(crate) fn new(
        pool: NodePool<RedisConnector>,
        runtime: Arc<dyn Runtime>,
        lanes: usize,
        home: i64,
        command_timeout: Duration,
    ) -> Self {
        let session = Session { traces: Traces::NONE, home, command_timeout };
        let (trusted_for, max_lifetime) = (pool.config().health_check_interval(), pool.config().max_lifetime());
        let lanes = (0..lanes).map(|_| Lane::default()).collect();
        Self { pool, runtime, lanes, session, trusted_for, max_lifetime, closed: AtomicBool::new(false) }
    }

    pub(crate) fn is_of(&self, pool: &NodePool<RedisConnector>) -> bool {
        self.pool.is_same(pool)
    }

    /// No command is sent from now on; the leases go back when those in flight have ended.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let tracks: Vec<_> = self.lanes.iter().filter_map(|lane| lane.track().take()).collect();
        drop(tracks);
    }

    /// A new connection to send on, by `deadline`. Of several that want one, one opens it and the others wait for that.
    async fn open(&self, now: Instant, deadline: Instant) -> Result<Arc<Track>, GetClientError> {
        let lane = self.lanes.iter().find(|lane| lane.track().is_none()).unwrap_or(&self.lanes[0]);
        let left = deadline.saturating_duration_since(now);
        let opening = within(&*self.runtime, Patience::Ordinary(Some(left)), lane.opening.lock()).await;
        let now = self.runtime.now();
        if let Some(track) = self.quietest(now) {
            return Ok(track);
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(GetClientError::Closed { node: String::from(self.pool.name()) });
        }
        let left = if opening.is_some() { deadline.saturating_duration_since(now) } else { Duration::ZERO };
        let lease = self.pool.get_timeout(left).await?;
        Ok(self.put(lane, lease))
    }

    /// The sound connection with the fewest commands in flight. If it is in use, another lane may be opened beside it.
    fn quietest(&self, now: Instant) -> Option<Arc<Track>> {
        let mut quietest: Option<Arc<Track>> = None;
        let mut vacant = None;
        for lane in &self.lanes {
            let mut place = lane.track();
            let unfit = place.take_if(|track| !track.is_fit(now, self.trusted_for));
            match &*place {
                None => vacant = Some(lane),
                Some(track) => {
                    if quietest.as_ref().is_none_or(|other| track.in_flight() < other.in_flight()) {
                        quietest = Some(Arc::clone(track));
                    }
                }
            }
            // Not under the lock: its lease may go back with it.
            drop(place);
            drop(unfit);
        }
        let quietest = quietest?;
        match vacant {
            Some(lane) if quietest.in_flight() > 0 && lane.may_widen(now) => match self.pool.try_get() {
                Ok(lease) => Some(self.put(lane, lease)),
                Err(_) => Some(quietest),
            },
            Some(_) | None => Some(quietest),
        }
    }

    fn put(&self, lane: &Lane, lease: Lease<RedisConnector>) -> Arc<Track> {
        let now = self.runtime.now();
        let track = Arc::new(Track {
            handle: lease.handle(),
            link: Arc::clone(lease.link()),
            in_flight: AtomicUsize::new(0),
            used_at: AtomicU64::new(now.as_nanos()),
            retire_at: now + self.max_lifetime,
            retired: AtomicBool::new(false),
            outstanding: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            lease: Mutex::new(lease),
        });
        let mut place = lane.track();
        // A hub that is closed keeps nothing; the command that came for it is the last.
        let replaced = match self.closed.load(Ordering::SeqCst) {
            true => place.take(),
            false => place.replace(Arc::clone(&track)),
        };
        drop(place);
        drop(replaced);
        track
    }

    async fn ask<T: Answer>(
        &self,
        patience: Patience,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let mut now = self.runtime.now();
        let deadline = patience.limit().map_or(Instant::from_nanos(u64::MAX), |limit| now + limit);
        let track = match self.quietest(now) {
            Some(track) => track,
            None => {
                let opened = self.open(now, deadline).await.map_err(not_sent)?;
                now = self.runtime.now();
                opened
            }
        };
        let mut flight = Flight::begin(track, now);
        let left = Patience::Ordinary(Some(deadline.saturating_duration_since(now)));
        let mut handle = flight.track.handle.clone();
        let answered = within(&*self.runtime, left, send(&mut handle)).await;
        flight.answered = answered.is_some();
        let track = &flight.track;
        let Some(result) = answered else {
            track.silent.store(true, Ordering::Relaxed);
            track.retire();
            return Err(timed_out(patience));
        };
        let result = result.map_err(|error| match is_fatal(&error) {
            true => {
                // Whatever else is in flight might get a reply that is not its own.
                track.link.close();
                outcome_unknown(&error)
            }
            false => error,
        });
        match News::of(&result) {
            News::AllWell | News::Refused => {}
            news @ (News::NotReady(_) | News::Replica(_)) => {
                track.retire();
                track.link.tell(&news);
            }
        }
        result
    }
}

impl Lane {
    fn track(&self) -> MutexGuard<'_, Option<Arc<Track>>> {
        self.track.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_widen(&self, now: Instant) -> bool {
        let next = (now + BETWEEN_WIDENINGS).as_nanos();
        let widened = self.next_widening_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
            (at <= now.as_nanos()).then_some(next)
        });
        widened.is_ok()
    }
}

impl Track {
    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it may carry one more command.
    fn is_fit(&self, now: Instant, trusted_for: Duration) -> bool {
        let sound = !self.link.is_dead() && !self.retired.load(Ordering::Relaxed) && now < self.retire_at;
        let used_at = Instant::from_nanos(self.used_at.load(Ordering::Relaxed));
        if sound && self.in_flight() == 0 && now.saturating_duration_since(used_at) > trusted_for {
            // It goes back to the pool, which asks it for a sign of life before it is lent again.
            self.outstanding.store(true, Ordering::Relaxed);
            return false;
        }
        sound
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        let lease = self.lease.get_mut().unwrap_or_else(PoisonError::into_inner);
        let silent = *self.silent.get_mut();
        if silent || *self.outstanding.get_mut() {
            lease.note_outstanding(silent);
        }
    }
}

/// A command under way.
struct Flight {
    track: Arc<Track>,
    answered: bool,
}

impl Flight {
    fn begin(track: Arc<Track>, now: Instant) -> Self {
        track.in_flight.fetch_add(1, Ordering::Relaxed);
        track.used_at.store(now.as_nanos(), Ordering::Relaxed);
        Self { track, answered: false }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.answered {
            self.track.outstanding.store(true, Ordering::Relaxed);
        }
        self.track.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionLike for SharedClient {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let request = Request::of_command(cmd, self.hub.session);
        Box::pin(async move {
            refuse_unless_plain(cmd, request)?;
            self.hub.ask(request.patience, async |handle| handle.send_packed_command(cmd).await).await
        })
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        let traces = if pipeline.is_transaction() { Traces::MULTI } else { Traces::NONE };
        let inside = Session { traces, ..self.hub.session };
        Box::pin(async move {
            for cmd in pipeline.cmd_iter() {
                refuse_unless_plain(cmd, Request::of_command(cmd, inside))?;
            }
            let patience = Request::of_pipeline(pipeline, self.hub.session).patience;
            self.hub.ask(patience, async |handle| handle.send_packed_commands(pipeline, offset, count).await).await
        })
    }

    fn get_db(&self) -> i64 {
        self.hub.session.home
    }
}

impl fmt::Debug for SharedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedClient").field("node", &self.hub.pool.name()).finish_non_exhaustive()
    }
}

/// Others would notice.
fn refuse_unless_plain(cmd: &Cmd, request: Request) -> RedisResult<()> {
    if request.leaves.is_none() && request.ends.is_none() && !request.patience.is_blocking() {
        return Ok(());
    }
    let words = cmd.args_iter().take(1).filter_map(|word| match word {
        Arg::Simple(word) => Some(String::from_utf8_lossy(word).to_uppercase()),
        Arg::Cursor | _ => None,
    });
    Err(RedisError::from((ErrorKind::Client, "a shared client cannot send this command", words.collect())))
}

/// The error of a command for which there was no connection.
#[derive(Debug, thiserror::Error)]
#[error("not sent: {0}")]
struct NotSent(#[source] GetClientError);

fn not_sent(error: GetClientError) -> RedisError {
    let kind = match &error {
        GetClientError::Timeout { .. } | GetClientError::NoHealthyPools { .. } => io::ErrorKind::TimedOut,
        GetClientError::UnknownNode { .. } | GetClientError::Saturated { .. } | GetClientError::Closed { .. } | _ => {
            io::ErrorKind::NotConnected
        }
    };
    RedisError::from(io::Error::new(kind, NotSent(error)))
}
