//! One request while it is counted: however it ends, also when its future is dropped, it ends once.

use redis::{RedisError, RedisResult, Value};
use redis_manager_core::Instant;

use crate::connection::resp::answer::Replies;
use crate::connection::resp::request::Outgoing;
use crate::error::{CommandFailure, RedisErrorExt, Sent};
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::connection::RedisConnection;
use crate::redis_node::metrics::command_label::label_of;
use crate::redis_node::metrics::node_counters::NodeCounters;
use crate::redis_node::metrics::request_result::{RequestEnd, RequestWay, ServerErrorCode};
use crate::redis_node::reply_class::{Author, ReplyValues};

/// Sends requests that are counted.
pub(crate) trait CountsRequests {
    fn counters(&self) -> &NodeCounters;
}

impl CountsRequests for RedisConnection {
    fn counters(&self) -> &NodeCounters {
        &self.socket().counters
    }
}

/// A request from its beginning to its end. Has the sender to itself, so that nothing need be cloned. Dropped before its end, it
/// was cancelled.
#[must_use]
pub(crate) struct CountedRequest<'a, S: CountsRequests> {
    pub(crate) sender: &'a mut S,
    way: RequestWay,
    timed_from: Option<Instant>,
    has_ended: bool,
}

impl<'a, S: CountsRequests> CountedRequest<'a, S> {
    #[inline]
    pub(crate) fn begin(sender: &'a mut S, way: RequestWay, request: Outgoing<'_>) -> Self {
        let timed_from = sender.counters().begin(way, request.len());
        Self { sender, way, timed_from, has_ended: false }
    }

    #[inline]
    pub(crate) fn end<T: ReplyValues>(self, result: &RedisResult<T>, request: Outgoing<'_>) {
        self.end_as(end_of(result, request), request);
    }

    #[inline]
    pub(crate) fn end_as(mut self, end: RequestEnd, request: Outgoing<'_>) {
        self.has_ended = true;
        self.sender.counters().end(self.way, end, self.timed_from, || label_of(request));
    }
}

impl<S: CountsRequests> Drop for CountedRequest<'_, S> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.sender.counters().end(self.way, RequestEnd::Cancelled, None, || 0);
        }
    }
}

/// Sends a request of an exclusive client, unless it is refused.
pub(crate) async fn ask_counted(
    connection: &mut RedisConnection,
    checked: RedisResult<CommandProfile>,
    request: Outgoing<'_>,
) -> RedisResult<Replies> {
    let counted = CountedRequest::begin(connection, RequestWay::Exclusive, request);
    let result = match checked {
        Ok(profile) => counted.sender.ask(profile, request, Author::User).await,
        Err(refused) => Err(refused),
    };
    counted.end(&result, request);
    result
}

fn end_of<T: ReplyValues>(result: &RedisResult<T>, request: Outgoing<'_>) -> RequestEnd {
    match result {
        Ok(answer) => {
            if answer.is_refused() {
                return RequestEnd::ServerError(ServerErrorCode::ExecAbort);
            }
            let code = answer.values().iter().find_map(|value| code_of(value, request.is_transaction()));
            code.map_or(RequestEnd::Ok, RequestEnd::ServerError)
        }
        Err(error) => end_of_error(error),
    }
}

/// The code of an error, or of the first one among the replies to the commands of a transaction.
fn code_of(value: &Value, is_transaction: bool) -> Option<ServerErrorCode> {
    if let Value::ServerError(error) = value {
        return Some(ServerErrorCode::of(error.code()));
    }
    let Value::Array(replies) = value else { return None };
    if is_transaction { replies.iter().find_map(|reply| code_of(reply, false)) } else { None }
}

fn end_of_error(error: &RedisError) -> RequestEnd {
    if let Some(failure) = CommandFailure::of(error) {
        return match failure.sent {
            Sent::NotSent => RequestEnd::NotSent,
            Sent::Unknown if error.is_timeout() => RequestEnd::TimedOut,
            Sent::Unknown => RequestEnd::OutcomeUnknown,
            // Errors of a server that were passed on as text.
            Sent::Sent => RequestEnd::ServerError(ServerErrorCode::Other),
        };
    }
    if let Some(code) = error.code() {
        return RequestEnd::ServerError(ServerErrorCode::of(code));
    }
    match error.was_sent() {
        Sent::NotSent => RequestEnd::Refused,
        Sent::Unknown => RequestEnd::OutcomeUnknown,
        Sent::Sent => RequestEnd::ServerError(ServerErrorCode::Other),
    }
}
