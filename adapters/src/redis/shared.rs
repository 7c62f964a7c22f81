//! Clients that many tasks share: plain commands over a few connections, which are leased from the node's pools.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use redis_manager_core::{GetClientError, Instant, Lease, NodePool, Runtime};

use crate::redis_node::RedisConnector;
use crate::redis_node::connection::{is_fatal, outcome_unknown, timed_out};
use crate::redis_node::link::{Link, Padded};
use crate::redis_node::news::{Answer, News};
use crate::redis_node::patience::{KeptTimer, Patience};
use crate::redis_node::session::{Request, Session, Traces};

/// How long after a vain attempt another one is made to widen what is shared.
const BETWEEN_WIDENINGS: Duration = Duration::from_millis(100);

/// When a connection was last used is noted no more often than this, in nanoseconds: all tasks would write to one place.
const NOTED_EVERY: u64 = 1_000_000;

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
pub struct SharedClient {
    hub: Arc<Hub>,
    seat: Option<Seat>,
    timer: KeptTimer,
}

/// What a shared client keeps of the connection that it used last. It does not keep the connection.
#[derive(Clone)]
struct Seat {
    track: Arc<Track>,
    handle: MultiplexedConnection,
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

/// One shared connection. Once it is retired, its lease goes back when the last command has left it.
struct Track {
    handle: MultiplexedConnection,
    link: Arc<Link>,
    in_flight: Padded<AtomicUsize>,
    /// When a command was last sent on it, more or less, in nanoseconds of the runtime's clock.
    used_at: AtomicU64,
    /// When a command was sent and the server had been heard since the one before it, as precisely.
    unheard_since: AtomicU64,
    /// Nothing heard for so long: it is silent.
    patience: Duration,
    retire_at: Instant,
    /// It is to carry no more commands.
    retired: AtomicBool,
    /// A command was dropped before its reply.
    outstanding: AtomicBool,
    /// A command got no reply in time.
    silent: AtomicBool,
    /// None once it has gone back.
    lease: Mutex<Option<Lease<RedisConnector>>>,
}

impl SharedClient {
    /// Waits until the node has a connection to share.
    pub(crate) async fn ready(hub: Arc<Hub>, timeout: Duration) -> Result<Self, GetClientError> {
        let mut client = Self { hub, seat: None, timer: KeptTimer::default() };
        let now = client.hub.runtime.now();
        client.board(now, now + timeout).await?.arrive();
        Ok(client)
    }

    /// A command begins: on the connection of the one before, if that is the only one, or on the quietest; by `deadline`.
    async fn board(&mut self, now: Instant, deadline: Instant) -> Result<Flight<'_>, GetClientError> {
        let alone = self.hub.lanes.len() == 1;
        let kept = self.seat.as_ref().is_some_and(|seat| alone && seat.track.begin(now, self.hub.trusted_for));
        if !kept {
            let track = match self.hub.quietest(now) {
                Some(track) => track,
                None => self.hub.open(&mut self.timer, deadline).await?,
            };
            let known = self.seat.as_ref().is_some_and(|seat| Arc::ptr_eq(&seat.track, &track));
            if !known {
                let handle = track.handle.clone();
                self.seat = Some(Seat { track, handle });
            }
        }
        let Seat { track, handle } = self.seat.as_mut().expect("it was taken just now");
        Ok(Flight { track, handle, timer: &mut self.timer, runtime: &*self.hub.runtime, answered: false })
    }

    async fn ask<T: Answer>(
        &mut self,
        patience: Patience,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let now = self.hub.runtime.now();
        let deadline = patience.limit().map_or(Instant::from_nanos(u64::MAX), |limit| now + limit);
        let mut flight = self.board(now, deadline).await.map_err(not_sent)?;
        let answered = flight.timer.by(flight.runtime, Some(deadline), send(flight.handle)).await;
        flight.answered = answered.is_some();
        let track = flight.track;
        let Some(result) = answered else {
            track.silent.store(true, Ordering::SeqCst);
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

impl Clone for SharedClient {
    fn clone(&self) -> Self {
        Self { hub: Arc::clone(&self.hub), seat: self.seat.clone(), timer: KeptTimer::default() }
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
        self.lanes.iter().for_each(Lane::clear);
    }

    /// A command begins on a new connection, by `deadline`. Of several that want one, one opens it and the others wait.
    async fn open(&self, timer: &mut KeptTimer, deadline: Instant) -> Result<Arc<Track>, GetClientError> {
        let lane = self.lanes.iter().find(|lane| lane.track().is_none()).unwrap_or(&self.lanes[0]);
        let opening = timer.by(&*self.runtime, Some(deadline), lane.opening.lock()).await;
        let now = self.runtime.now();
        if let Some(track) = self.quietest(now) {
            return Ok(track);
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(GetClientError::Closed { node: String::from(self.pool.name()) });
        }
        let left = if opening.is_some() { deadline.saturating_duration_since(now) } else { Duration::ZERO };
        let lease = self.pool.get_timeout(left).await?;
        self.put(lane, lease)
    }

    /// A command begins on the sound connection with the fewest in flight. If it is in use, another lane may be opened
    /// beside it.
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
            if let Some(track) = unfit {
                track.retire();
            }
        }
        let quietest = quietest?;
        if let Some(lane) = vacant
            && quietest.in_flight() > 0
            && lane.may_widen(now)
            && let Ok(lease) = self.pool.try_get()
        {
            return self.put(lane, lease).ok();
        }
        quietest.begin(now, self.trusted_for).then_some(quietest)
    }

    /// A command begins on a connection that has just been leased.
    fn put(&self, lane: &Lane, lease: Lease<RedisConnector>) -> Result<Arc<Track>, GetClientError> {
        let now = self.runtime.now();
        lease.link().set_shared(true);
        let track = Arc::new(Track {
            handle: lease.handle(),
            link: Arc::clone(lease.link()),
            in_flight: Padded(AtomicUsize::new(0)),
            used_at: AtomicU64::new(now.as_nanos()),
            unheard_since: AtomicU64::new(now.as_nanos()),
            patience: self.session.command_timeout,
            retire_at: now + self.max_lifetime,
            retired: AtomicBool::new(false),
            outstanding: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            lease: Mutex::new(Some(lease)),
        });
        let dying = Arc::downgrade(&track);
        // So that its place in the pool is free also if no command comes.
        track.link.at_end_run(move || dying.upgrade().iter().for_each(|track| track.retire()));
        let replaced = lane.track().replace(Arc::clone(&track));
        if let Some(replaced) = replaced {
            replaced.retire();
        }
        let begun = track.begin(now, self.trusted_for);
        if self.closed.load(Ordering::SeqCst) {
            // It was closed meanwhile, and may have looked at this lane before.
            lane.clear();
        }
        if begun { Ok(track) } else { Err(GetClientError::Closed { node: String::from(self.pool.name()) }) }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.close();
    }
}

impl Lane {
    fn track(&self) -> MutexGuard<'_, Option<Arc<Track>>> {
        self.track.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        let track = self.track().take();
        if let Some(track) = track {
            track.retire();
        }
    }

    fn may_widen(&self, now: Instant) -> bool {
        let next = (now + BETWEEN_WIDENINGS).as_nanos();
        let widened =
            self.next_widening_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| (at <= now.as_nanos()).then_some(next));
        widened.is_ok()
    }
}

impl Track {
    fn in_flight(&self) -> usize {
        self.in_flight.0.load(Ordering::Relaxed)
    }

    /// A command begins; false if this connection is to carry no more. One that has begun must [`end`](Track::end).
    fn begin(&self, now: Instant, trusted_for: Duration) -> bool {
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
            if self.has_fallen_silent(now) {
                // Callers that give up sooner than that would be sent here for ever.
                self.silent.store(true, Ordering::SeqCst);
                self.retire();
                self.end();
                return false;
            }
        }
        true
    }

    /// Whether commands were sent and nothing was heard for as long as one may take.
    fn has_fallen_silent(&self, now: Instant) -> bool {
        if self.link.take_heard() {
            self.unheard_since.store(now.as_nanos(), Ordering::Relaxed);
            return false;
        }
        let since = Instant::from_nanos(self.unheard_since.load(Ordering::Relaxed));
        now.saturating_duration_since(since) >= self.patience
    }

    fn end(&self) {
        if self.in_flight.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.give_back_if_idle();
        }
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

    /// Carries no more commands; the lease goes back as soon as none is in flight.
    fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.give_back_if_idle();
    }

    /// Whoever comes last gives the lease back: the one that retires it, or the last command to leave.
    fn give_back_if_idle(&self) {
        if self.in_flight.0.load(Ordering::SeqCst) > 0 || !self.retired.load(Ordering::SeqCst) {
            return;
        }
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut lease) = lease {
            lease.link().set_shared(false);
            let silent = self.silent.load(Ordering::SeqCst);
            if silent || self.outstanding.load(Ordering::SeqCst) {
                lease.note_outstanding(silent);
            }
        }
    }
}

/// A command under way, from its beginning to its end.
struct Flight<'a> {
    track: &'a Track,
    handle: &'a mut MultiplexedConnection,
    timer: &'a mut KeptTimer,
    runtime: &'a dyn Runtime,
    answered: bool,
}

impl Flight<'_> {
    /// Nothing was sent.
    fn arrive(mut self) {
        self.answered = true;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.track.outstanding.store(true, Ordering::SeqCst);
        }
        self.track.end();
    }
}

impl ConnectionLike for SharedClient {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let request = Request::of_command(cmd, self.hub.session);
        Box::pin(async move {
            refuse_unless_plain(cmd, request)?;
            self.ask(request.patience, async |handle| handle.send_packed_command(cmd).await).await
        })
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        let traces = if pipeline.is_transaction() { Traces::MULTI } else { Traces::NONE };
        let inside = Session { traces, ..self.hub.session };
        Box::pin(async move {
            for cmd in pipeline.cmd_iter() {
                refuse_unless_plain(cmd, Request::of_command(cmd, inside))?;
            }
            let request = Request::of_packed_commands(pipeline, offset.saturating_add(count), self.hub.session);
            if request.leaves.has(Traces::LASTING) {
                let text = "a shared client waits for all replies of a pipeline";
                return Err(RedisError::from((ErrorKind::Client, text)));
            }
            self.ask(request.patience, async |handle| handle.send_packed_commands(pipeline, offset, count).await).await
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
