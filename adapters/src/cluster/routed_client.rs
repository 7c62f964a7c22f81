//! A cluster client on loan: commands are sent to the right node, within their deadline.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::ConnectionLike;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use redis_manager_core::{Instant, Lease};

use crate::cluster::connector::ClusterConnector;
use crate::cluster::nodes::Cluster;
use crate::cluster::retry::{OWNER_CHANGED, goes_out_in_parts};
use crate::cluster::wire::{Wire, refresh_errand};
use crate::connection::resp::request::Outgoing;
use crate::error::{CommandFailure, Outage, RedisErrorExt, Sent};
use crate::redis_node::{
    CommandProfile, CountedRequest, CountsRequests, NodeCounters, RequestWay, ReusableSleep, Session, redact,
    refuse_unless_plain, refuse_unless_plain_pipeline, timed_out,
};

/// The code of our errors on their way through the redis crate, which ignores it.
const CONCEALED: &str = "REDISMANAGER";

/// A client of a cluster that many tasks share. The lease is returned with the last clone, or when its name is closed.
#[derive(Clone)]
pub(crate) struct RoutedClient {
    lease: Arc<SharedLease>,
    routed: RoutedConnection,
    name: Arc<str>,
}

/// `None` after it was returned.
pub(crate) struct SharedLease {
    lease: Mutex<Option<Lease<ClusterConnector>>>,
    ended: Arc<AtomicBool>,
}

impl SharedLease {
    /// No command is sent from now on.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(lease);
    }
}

impl RoutedClient {
    pub(crate) fn new(lease: Lease<ClusterConnector>, name: &str) -> Self {
        let mut routed = RoutedConnection::clone(&lease);
        // An own one: the lease is lent to others later.
        routed.ended = Arc::default();
        let ended = Arc::clone(&routed.ended);
        Self { lease: Arc::new(SharedLease { lease: Mutex::new(Some(lease)), ended }), routed, name: redact(name).into() }
    }

    pub(crate) fn lease(&self) -> &Arc<SharedLease> {
        &self.lease
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn ask(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.routed.ask(RequestWay::Shared, cmd).await
    }

    pub(crate) async fn ask_all(&mut self, pipeline: &Pipeline, offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        self.routed.ask_all(RequestWay::Shared, pipeline, offset, count).await
    }
}

/// The common state of the users of a cluster connection.
pub(crate) struct ShareState {
    /// Its driver has ended, with its runtime or by a panic: it is unusable.
    dead: AtomicBool,
    /// The version of the topology that the redis crate has loaded, or was last asked to load.
    version: AtomicU64,
}

impl ShareState {
    /// For a connection with the slots of this version of the topology, or of a later one.
    pub(crate) fn of(version: u64) -> Self {
        Self { dead: AtomicBool::new(false), version: AtomicU64::new(version) }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }
}

/// One user of a cluster connection.
pub(crate) struct RoutedConnection {
    cluster: Arc<Cluster>,
    connection: ClusterConnection<Wire>,
    /// Counts the users of the connection.
    share: Arc<ShareState>,
    /// Its pools were closed: it sends nothing any more.
    ended: Arc<AtomicBool>,
    timer: ReusableSleep,
    /// Of the name of the cluster.
    counters: Arc<NodeCounters>,
}

impl CountsRequests for RoutedConnection {
    fn counters(&self) -> &NodeCounters {
        &self.counters
    }
}

impl RoutedConnection {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        connection: ClusterConnection<Wire>,
        share: Arc<ShareState>,
        counters: Arc<NodeCounters>,
    ) -> Self {
        Self { cluster, connection, share, ended: Arc::default(), timer: ReusableSleep::default(), counters }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.cluster.is_down() || self.share.is_dead()
    }

    /// Ends it in place.
    pub(crate) fn abort_handle(&self) -> impl FnOnce() + Send + 'static {
        let ended = Arc::clone(&self.ended);
        move || ended.store(true, Ordering::SeqCst)
    }

    pub(crate) async fn ask(&mut self, way: RequestWay, cmd: &Cmd) -> RedisResult<Value> {
        let asked = Outgoing::Command(cmd);
        let counted = CountedRequest::begin(self, way, asked);
        let result = counted.sender.route(cmd).await;
        counted.end(&result, asked);
        result
    }

    pub(crate) async fn ask_all(
        &mut self,
        way: RequestWay,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let asked = Outgoing::Pipeline { pipeline, offset, count };
        let counted = CountedRequest::begin(self, way, asked);
        let result = counted.sender.route_all(pipeline, offset, count).await;
        counted.end(&result, asked);
        result
    }

    async fn route(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let request = CommandProfile::of_command(cmd, self.session());
        refuse_unless_plain(cmd, request)?;
        let renamed = in_lower_case(cmd);
        let deadline = self.deadline(request)?;
        self.look_at_changes(deadline).await;
        let asked = self.connection.req_packed_command(renamed.as_ref().unwrap_or(cmd));
        let answered = self.timer.by(self.cluster.runtime(), deadline, asked).await;
        let replied = match answered.unwrap_or_else(|| Err(timed_out(None, request.reply_timeout, self.cluster.runtime(), true)))
        {
            // The failure of one of several nodes is a part of the answer.
            Ok(Value::Map(answers)) => match answers.iter().find_map(|(_, answer)| concealed(answer)) {
                Some(error) => Err(error),
                None => Ok(Value::Map(answers)),
            },
            Ok(value) => Ok(value),
            Err(error) => Err(self.reveal(error)),
        };
        replied.map_err(|error| if goes_out_in_parts(cmd) { of_a_part(&error).unwrap_or(error) } else { error })
    }

    async fn route_all(&mut self, pipeline: &Pipeline, offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let request = refuse_unless_plain_pipeline(pipeline, offset, count, self.session())?;
        let deadline = self.deadline(request)?;
        self.look_at_changes(deadline).await;
        let asked = self.connection.req_packed_commands(pipeline, offset, count);
        let answered = self.timer.by(self.cluster.runtime(), deadline, asked).await;
        answered
            .unwrap_or_else(|| Err(timed_out(None, request.reply_timeout, self.cluster.runtime(), true)))
            .map_err(|error| self.reveal(error))
    }

    fn deadline(&self, request: CommandProfile) -> RedisResult<Option<Instant>> {
        if self.ended.load(Ordering::SeqCst) {
            return Err(CommandFailure::not_sent(None, Outage::Ours, "the pools of this client are closed").lost());
        }
        Ok(request.reply_timeout.limit().map(|limit| self.cluster.runtime().now() + limit))
    }

    /// Makes the redis crate request the slots again if they have changed. By itself it does so only after a failed command.
    async fn look_at_changes(&mut self, deadline: Option<Instant>) {
        let version = self.cluster.changed.version();
        if self.share.version.fetch_max(version, Ordering::Relaxed) >= version {
            return;
        }
        let errand = NudgeGuard { cluster: &self.cluster, number: self.cluster.begin_errand() };
        let any_node = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let looked = self.connection.route_command(refresh_errand(errand.number), any_node);
        let _whether_it_did = self.timer.by(self.cluster.runtime(), deadline, looked).await;
    }

    /// The error as it was before it passed the redis crate; or an error of the redis crate, explained.
    fn reveal(&self, error: RedisError) -> RedisError {
        if let Some(error) = concealed_in(&error) {
            return error;
        }
        if error.is_connection_dropped() {
            self.share.dead.store(true, Ordering::Relaxed);
            let text = format!("connection outcome unknown: {error}");
            return CommandFailure::unknown(None, Outage::Server, text).lost();
        }
        // No answer of a server: no node could be asked.
        let is_nobody = error.kind() == ErrorKind::ClusterConnectionNotFound || error.to_string().starts_with(OWNER_CHANGED);
        match is_nobody {
            true => CommandFailure::not_sent(None, Outage::Server, &error.to_string()).lost(),
            false => error,
        }
    }

    fn session(&self) -> Session {
        let args = &self.cluster.setup.args;
        Session::fresh(args, args.protocol, 0)
    }
}

/// The error of the whole command if this one is that of a part that was not sent: other parts may have been carried out.
fn of_a_part(error: &RedisError) -> Option<RedisError> {
    if error.was_sent() != Sent::NotSent {
        return None;
    }
    let outage = if error.is_unavailable() { Outage::Server } else { Outage::Ours };
    let text = format!("outcome unknown: a part of the command may have been carried out; another one was {error}");
    Some(CommandFailure::unknown(error.node(), outage, text).lost())
}

/// However it ends.
struct NudgeGuard<'a> {
    cluster: &'a Cluster,
    number: u64,
}

impl Drop for NudgeGuard<'_> {
    fn drop(&mut self) {
        self.cluster.end_errand(self.number);
    }
}

impl Clone for RoutedConnection {
    fn clone(&self) -> Self {
        let mut clone =
            Self::new(Arc::clone(&self.cluster), self.connection.clone(), Arc::clone(&self.share), Arc::clone(&self.counters));
        clone.ended = Arc::clone(&self.ended);
        clone
    }
}

impl std::fmt::Debug for RoutedConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoutedConnection").finish_non_exhaustive()
    }
}

/// The redis crate's own requests are recognized by their upper case; servers accept either case.
fn in_lower_case(cmd: &Cmd) -> Option<Cmd> {
    let mut words = cmd.args_iter();
    let name = match words.next()? {
        Arg::Simple(name @ (b"PING" | b"CLUSTER")) => name.to_ascii_lowercase(),
        Arg::Simple(_) | Arg::Cursor | _ => return None,
    };
    let mut renamed = Cmd::new();
    renamed.arg(name);
    for word in words {
        match word {
            Arg::Simple(word) => renamed.arg(word),
            Arg::Cursor | _ => return None,
        };
    }
    Some(renamed)
}

/// Between the fields of an error that is concealed.
const BETWEEN_FIELDS: char = '\u{1f}';

/// Makes an error of ours one that the redis crate passes on: it would send a command again after most others. Its properties
/// are added as fields before its text.
pub(crate) fn conceal(error: RedisError) -> RedisError {
    let kind = if error.is_timeout() { "timeout" } else { "lost" };
    let sent = match error.was_sent() {
        Sent::Sent => "sent",
        Sent::NotSent => "not sent",
        Sent::Unknown => "unknown",
    };
    let outage = if error.is_unavailable() { "server" } else { "ours" };
    let fields = [kind, sent, outage, error.node().unwrap_or_default(), &error.to_string()].join(&String::from(BETWEEN_FIELDS));
    redis::make_extension_error(String::from(CONCEALED), Some(fields))
}

/// The concealed error, if this is one.
fn concealed_in(error: &RedisError) -> Option<RedisError> {
    (error.code() == Some(CONCEALED)).then(|| {
        let mut fields = error.detail().unwrap_or_default().splitn(5, BETWEEN_FIELDS);
        let mut next = || fields.next().unwrap_or_default();
        let (kind, sent, outage, node, text) = (next(), next(), next(), next(), next());
        let outage = if outage == "server" { Outage::Server } else { Outage::Ours };
        let node = (!node.is_empty()).then_some(node);
        let failure = match sent {
            "sent" => CommandFailure::said(Sent::Sent, node, outage, text),
            "not sent" => CommandFailure::said(Sent::NotSent, node, outage, text),
            _ => CommandFailure::said(Sent::Unknown, node, outage, text),
        };
        if kind == "timeout" { failure.timed_out() } else { failure.lost() }
    })
}

fn concealed(answer: &Value) -> Option<RedisError> {
    let Value::ServerError(error) = answer else { return None };
    concealed_in(&RedisError::from(error.clone()))
}

/// The error of a pipeline that was executed in part, when the rest was not, or may not have been.
pub(crate) fn in_part(error: RedisError) -> RedisError {
    let was = concealed_in(&error).unwrap_or(error);
    let outage = if was.is_unavailable() { Outage::Server } else { Outage::Ours };
    let text = format!("outcome unknown: a part of the pipeline was carried out; then: {was}");
    let failure = CommandFailure::unknown(was.node(), outage, text);
    conceal(if was.is_timeout() { failure.timed_out() } else { failure.lost() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: with every kind as a lost connection.
    #[test]
    fn an_error_that_was_concealed_is_the_same_again() {
        let failure = || CommandFailure::not_sent(Some("redis://node"), Outage::Server, "unreachable");
        let facts = |error: &RedisError| (error.was_sent(), error.is_unavailable(), error.node().map(String::from));
        for error in [failure().timed_out(), failure().lost()] {
            let hidden = conceal(error.clone());
            assert!(matches!(hidden.retry_method(), redis::RetryMethod::NoRetry));
            let shown = concealed_in(&hidden).expect("it was concealed");
            assert_eq!((shown.is_timeout(), shown.is_connection_dropped()), (error.is_timeout(), error.is_connection_dropped()));
            assert_eq!((shown.to_string(), facts(&shown)), (error.to_string(), facts(&error)));
            let shown = concealed_in(&in_part(hidden)).expect("it was concealed");
            assert_eq!(shown.is_timeout(), error.is_timeout());
            assert_eq!(facts(&shown), (Sent::Unknown, true, Some(String::from("redis://node"))));
            assert!(shown.to_string().ends_with("then: not sent: unreachable"), "{shown}");
        }
    }
}
