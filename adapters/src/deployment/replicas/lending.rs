//! Leases on a replica that is fit.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{AcquireError, Lease};

use crate::deployment::read_from::ReadFrom;
use crate::deployment::replicas::group::{Reader, ReplicaGroup};
use crate::deployment::waiting::within;
use crate::error::GetClientError;
use crate::redis_node::RedisConnector;

impl ReplicaGroup {
    /// Lends a connection to a replica that is fit; those that are take turns. A caller in a queue stays there until the replica is
    /// fit no more, and then goes to another one.
    pub(crate) async fn lend(&self, timeout: Duration) -> Result<Lease<RedisConnector>, GetClientError> {
        self.begin_use();
        let begun_at = self.runtime().now();
        let deadline = self.deadline(timeout);
        let mut last = None;
        loop {
            let seen = self.changed.version();
            if self.is_closed() {
                return Err(GetClientError::Closed { node: self.context.shown.to_string() });
            }
            let left = deadline.saturating_duration_since(self.runtime().now());
            let member = match self.choose(&ReadFrom::Replica, true)? {
                Some(Reader::Replica(member)) => member,
                Some(Reader::Primary) | None => {
                    if within(self.runtime(), left, self.changed.beyond(seen)).await.is_none() || self.runtime_has_ended() {
                        let waited = self.runtime().now().saturating_duration_since(begun_at);
                        return Err(last.unwrap_or_else(|| self.no_replica(waited)));
                    }
                    continue;
                }
            };
            let mut lent = member.pool().get_timeout(left);
            let mut unfit = pin!(self.until_unfit(&member.place));
            let outcome = poll_fn(|cx| match Pin::new(&mut lent).poll(cx) {
                Poll::Ready(lent) => Poll::Ready(Some(lent)),
                Poll::Pending => unfit.as_mut().poll(cx).map(|()| None),
            })
            .await;
            match outcome {
                Some(Ok(lease)) => return Ok(lease),
                Some(Err(error @ AcquireError::NoHealthyPools { .. })) => {
                    self.note_refusal(&member.place);
                    last = Some(GetClientError::from(error));
                }
                // It has just left.
                Some(Err(AcquireError::Closed { .. })) if !self.is_closed() => self.note_refusal(&member.place),
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
        }
    }

    /// The same without a wait.
    pub(crate) fn no_replica(&self, waited: Duration) -> GetClientError {
        if self.runtime_has_ended() {
            return GetClientError::RuntimeEnded { node: self.context.shown.to_string() };
        }
        let status = self.status();
        let reasons: Vec<_> = status
            .replicas
            .iter()
            .map(|replica| format!("{}: {}", replica.address, replica.error.as_deref().unwrap_or("fit since just now")))
            .collect();
        let why = if reasons.is_empty() { String::from("it has none") } else { reasons.join("; ") };
        GetClientError::NoReplica { node: self.context.shown.to_string(), waited, why }
    }

    fn runtime_has_ended(&self) -> bool {
        self.context.network.has_ended()
    }
}
