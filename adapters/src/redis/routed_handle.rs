//! What a router needs of the shared connections of one node: requests that go elsewhere if their slot does.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use redis::{Cmd, RedisResult, Value};
use redis_manager_core::Instant;

use crate::connection::resp::answer::Replies;
use crate::connection::resp::request::Outgoing;
use crate::error::GetClientError;
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::metrics::RequestWay;
use crate::redis_node::metrics::counted_request::CountedRequest;
use crate::redis_node::metrics::request_result::RequestEnd;
use crate::redis_node::reply_class::Author;
use crate::redis_node::reply_timeout::ReusableSleep;
use crate::redis_node::shared_connections::SharedConnections;
use crate::redis_node::shared_handle::{SharedHandle, SharedRequest};

/// Until when a request may begin, and be answered.
#[derive(Clone, Copy)]
pub(crate) struct RequestLimits {
    pub(crate) profile: CommandProfile,
    /// Nothing is begun any more.
    pub(crate) begin_by: Instant,
    /// No reply is waited for any more.
    pub(crate) deadline: Instant,
}

impl SharedHandle {
    /// Whether its connections were closed for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.connections.is_closed()
    }

    /// A client that waits for a connection at its first command.
    pub(crate) fn unready(connections: Arc<SharedConnections>) -> Self {
        Self { connections, pinned: None, timer: ReusableSleep::default() }
    }

    /// Sends commands of our own, which are not counted. A reply for each, which may be an error.
    pub(crate) async fn ask_ours(&mut self, commands: &[&Cmd]) -> RedisResult<Vec<Value>> {
        let profile = CommandProfile { reply_timeout: self.connections.session.ordinary(), ..CommandProfile::UNBOUNDED };
        let request = Outgoing::Batch(commands);
        self.ask(SharedRequest { profile, request, author: Author::Ours }).await.and_then(|replies| replies.into_values(request))
    }

    /// Sends a request of a user. While it waits for a connection, the wait may be cancelled: `elsewhere` ends when the request
    /// must not be sent here any more. Then, and only if nothing was sent, there is no result.
    pub(crate) async fn ask_unless(
        &mut self,
        limits: &RequestLimits,
        elsewhere: impl Future<Output = ()>,
        request: Outgoing<'_>,
    ) -> Result<Option<RedisResult<Replies>>, GetClientError> {
        let counted = CountedRequest::begin(self, RequestWay::Shared, request);
        let outcome = counted.sender.ask_here_or(limits, elsewhere, request).await;
        match &outcome {
            Ok(Some(result)) => counted.end(result, request),
            Ok(None) | Err(_) => counted.end_as(RequestEnd::NotSent, request),
        }
        outcome
    }

    async fn ask_here_or(
        &mut self,
        limits: &RequestLimits,
        elsewhere: impl Future<Output = ()>,
        request: Outgoing<'_>,
    ) -> Result<Option<RedisResult<Replies>>, GetClientError> {
        let asked = SharedRequest { profile: limits.profile, request, author: Author::User };
        let mut elsewhere = pin!(elsewhere);
        loop {
            let now = self.connections.runtime.now();
            let reserved = {
                let mut reserving = pin!(self.reserve(now, limits.begin_by));
                poll_fn(|cx| match reserving.as_mut().poll(cx) {
                    Poll::Ready(reserved) => Poll::Ready(Some(reserved)),
                    Poll::Pending => elsewhere.as_mut().poll(cx).map(|()| None),
                })
                .await
            };
            let Some(flight) = reserved.transpose()? else { return Ok(None) };
            if let Some(result) = flight.send(asked, limits.deadline).await {
                return Ok(Some(result));
            }
        }
    }
}
