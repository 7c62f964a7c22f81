//! A shared client of a primary whose reads go to replicas: each command that only reads keys, and each pipeline of such commands.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind, Value};
use redis_manager_core::Instant;

use crate::connection::resp::answer::Replies;
use crate::connection::resp::request::Outgoing;
use crate::deployment::replicas::group::{Reader, ReplicaGroup};
use crate::deployment::replicas::member::ReplicaMember;
use crate::deployment::router::reads_keys;
use crate::error::{CommandFailure, GetClientError, Outage, RedisErrorExt, Sent};
use crate::redis_node::parts::{
    CommandProfile, RequestLimits, ReusableSleep, RoutedConnection, SharedHandle, name_of, refuse_unless_plain,
    refuse_unless_plain_pipeline,
};
use crate::redis_node::{RequestWay, Session, SharedConnections};

/// Without another server before then, the caller gets the last error: this part of the time of a request, and no more than
/// `LONGEST_WAY_BACK`, is kept for that.
const WAY_BACK: u32 = 20;
const LONGEST_WAY_BACK: Duration = Duration::from_millis(50);

/// Cheap to clone; clones share all connections.
pub(crate) struct ReadingClient {
    group: Arc<ReplicaGroup>,
    primary: SharedHandle,
    session: Session,
    /// The replicas that it has read from.
    readers: Vec<(Arc<ReplicaMember>, SharedHandle)>,
    timer: ReusableSleep,
    made_at: Instant,
}

impl ReadingClient {
    pub(crate) fn new(group: Arc<ReplicaGroup>, primary: Arc<SharedConnections>) -> Self {
        let made_at = group.runtime().now();
        let session = primary.session;
        Self {
            group,
            primary: SharedHandle::unready(primary),
            session,
            readers: Vec::new(),
            timer: ReusableSleep::default(),
            made_at,
        }
    }

    /// Waits until there is a server to read from.
    pub(crate) async fn ready(&mut self, timeout: Duration) -> Result<(), GetClientError> {
        self.group.begin_use();
        let is_fit = !self.group.places().replicas.is_empty();
        if is_fit { Ok(()) } else { self.primary.wait_ready(timeout).await }
    }

    async fn read(&mut self, profile: CommandProfile, request: Outgoing<'_>) -> RedisResult<Replies> {
        let begun_at = self.group.runtime().now();
        let limit = profile.reply_timeout.limit().unwrap_or(self.session.command_timeout);
        let way_back = (limit / WAY_BACK).min(LONGEST_WAY_BACK);
        let (begin_by, deadline) = (begun_at + (limit - way_back), begun_at + limit);
        let (mut last, mut without_primary) = (None, false);
        loop {
            let (now, seen) = (self.group.runtime().now(), self.group.changed.version());
            if now >= begin_by || self.group.is_closed() || self.group.context.network.has_ended() {
                return Err(last.unwrap_or_else(|| self.no_reader(now.saturating_duration_since(begun_at))));
            }
            let reader = match self.group.choose(&self.group.context.settings.read_from, without_primary) {
                Ok(reader) => reader,
                Err(error) => {
                    last = Some(error.into());
                    continue;
                }
            };
            // A server that has no connection in half of the time that is left is no use; another one may be.
            let half = now + begin_by.saturating_duration_since(now) / 2;
            let has_others = !self.group.places().replicas.is_empty();
            match reader {
                Some(Reader::Replica(member)) => {
                    let limits = RequestLimits { profile, begin_by: half, deadline };
                    match self.try_replica(&member, &limits, request).await {
                        Tried::Ended(result) => return result,
                        Tried::Elsewhere(error) => last = error.or(last),
                    }
                }
                Some(Reader::Primary) => {
                    let limits = RequestLimits { profile, begin_by: if has_others { half } else { begin_by }, deadline };
                    match self.primary.ask_unless(&limits, pending(), request).await {
                        Ok(Some(result)) => return result,
                        Ok(None) => {}
                        Err(error) if has_others && !without_primary => last = Some(error.into()),
                        Err(error) => return Err(error.into()),
                    }
                    without_primary = true;
                }
                None => {
                    let changed = self.group.changed.beyond(seen);
                    let _ends_with_the_time = self.timer.by(self.group.runtime(), Some(begin_by), changed).await;
                }
            }
        }
    }

    async fn try_replica(&mut self, member: &Arc<ReplicaMember>, limits: &RequestLimits, request: Outgoing<'_>) -> Tried {
        let group = Arc::clone(&self.group);
        let handle = self.handle_of(member);
        match handle.ask_unless(limits, group.until_unfit(&member.place), request).await {
            Ok(Some(Ok(replies))) if is_refused(&replies, request) => {
                group.note_refusal(&member.place);
                Tried::Elsewhere(Some(error_of(replies, request)))
            }
            Ok(Some(Err(error))) if error.was_sent() == Sent::NotSent => {
                group.note_refusal(&member.place);
                Tried::Elsewhere(Some(error))
            }
            Ok(Some(result)) => Tried::Ended(result),
            Ok(None) => Tried::Elsewhere(None),
            Err(error) => {
                group.note_refusal(&member.place);
                Tried::Elsewhere(Some(error.into()))
            }
        }
    }

    fn handle_of(&mut self, member: &Arc<ReplicaMember>) -> &mut SharedHandle {
        self.readers.retain(|(_, handle)| !handle.is_closed());
        let known = self.readers.iter().position(|(known, _)| Arc::ptr_eq(known, member));
        let at = known.unwrap_or_else(|| {
            self.readers.push((Arc::clone(member), SharedHandle::unready(Arc::clone(&member.connections))));
            self.readers.len() - 1
        });
        &mut self.readers[at].1
    }

    fn no_reader(&self, waited: Duration) -> RedisError {
        if self.group.is_closed() {
            let why = "the pools of this client are closed";
            return CommandFailure::not_sent(Some(&self.group.context.shown), Outage::Ours, why).lost();
        }
        self.group.no_replica(waited).into()
    }
}

/// What a try has come to.
enum Tried {
    Ended(RedisResult<Replies>),
    /// Nothing was carried out here; why, if that is an error.
    Elsewhere(Option<RedisError>),
}

/// Whether a replica has carried out nothing of it, since it loads or has lost its primary. A script may say the same of itself.
fn is_refused(replies: &Replies, request: Outgoing<'_>) -> bool {
    let is_refusal = |value: &Value| {
        let kind = if let Value::ServerError(error) = value { error.kind() } else { None };
        matches!(kind, Some(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown | ServerErrorKind::ReadOnly))
    };
    let values = replies.values();
    let runs_a_script = |index: usize| request.command(index).is_some_and(is_script);
    !values.is_empty() && values.iter().all(is_refusal) && !(0..values.len()).any(runs_a_script)
}

fn is_script(cmd: &Cmd) -> bool {
    let name = name_of(cmd);
    name.starts_with("EVAL") || name.starts_with("FCALL")
}

fn error_of(replies: Replies, request: Outgoing<'_>) -> RedisError {
    let values = replies.into_values(request).unwrap_or_default();
    let error = values.into_iter().find_map(|value| value.extract_error().err());
    error.unwrap_or_else(|| CommandFailure::not_sent(None, Outage::Server, "the replica refuses reads").lost())
}

impl Clone for ReadingClient {
    fn clone(&self) -> Self {
        Self {
            group: Arc::clone(&self.group),
            primary: self.primary.clone(),
            session: self.session,
            readers: self.readers.clone(),
            timer: ReusableSleep::default(),
            made_at: self.made_at,
        }
    }
}

impl RoutedConnection for ReadingClient {
    fn ask<'a>(&'a mut self, _way: RequestWay, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        if !reads_keys(cmd) {
            return self.primary.req_packed_command(cmd);
        }
        Box::pin(async move {
            let profile = CommandProfile::of_command(cmd, self.session);
            refuse_unless_plain(cmd, profile)?;
            self.read(profile, Outgoing::Command(cmd)).await.and_then(Replies::into_value)
        })
    }

    fn ask_all<'a>(
        &'a mut self,
        _way: RequestWay,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        if pipeline.is_transaction() || !pipeline.cmd_iter().all(reads_keys) {
            return self.primary.req_packed_commands(pipeline, offset, count);
        }
        Box::pin(async move {
            let profile = refuse_unless_plain_pipeline(pipeline, offset, count, self.session)?;
            let request = Outgoing::Pipeline { pipeline, offset, count };
            self.read(profile, request).await.and_then(|replies| replies.into_values(request))
        })
    }

    fn clone_routed(&self) -> Box<dyn RoutedConnection> {
        Box::new(self.clone())
    }

    fn name(&self) -> &str {
        &self.group.context.shown
    }

    fn db(&self) -> i64 {
        self.session.home
    }

    fn age(&self) -> Duration {
        self.group.runtime().now().saturating_duration_since(self.made_at)
    }
}
