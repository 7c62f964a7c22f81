//! Leases on the nodes of a cluster.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{AcquireError, Lease};

use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster::member::ClusterMember;
use crate::deployment::cluster::name_state::NameState;
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::waiting::either;
use crate::error::GetClientError;
use crate::redis_node::RedisConnector;

impl Cluster {
    /// Lends a connection to the owner of a slot, and follows the slot while the call waits. A caller in a queue stays there
    /// until the slot belongs to another node, or the name is closed.
    pub(crate) async fn lend(
        &self,
        name: &NameState,
        slot: u16,
        timeout: Duration,
    ) -> Result<Lease<RedisConnector>, GetClientError> {
        let now = self.runtime().now();
        let deadline = now + timeout;
        let mut left = timeout;
        loop {
            let version = self.changed.version();
            let (node, member) = self.owner_of(name, slot)?;
            let mut lent = member.pool().get_timeout(left);
            let mut elsewhere = pin!(self.until_owned_by_another(name, slot, node, &member));
            let outcome = poll_fn(|cx| match Pin::new(&mut lent).poll(cx) {
                Poll::Ready(lent) => Poll::Ready(Some(lent)),
                Poll::Pending => elsewhere.as_mut().poll(cx).map(|()| None),
            })
            .await;
            match outcome {
                Some(Ok(lease)) => return Ok(lease),
                // Its pools were just closed because it left the cluster.
                Some(Err(AcquireError::Closed { .. })) if !self.is_closed() && self.changed.version() > version => {}
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
            left = deadline.saturating_duration_since(self.runtime().now());
            if left.is_zero() {
                return Err(GetClientError::NoOwner { node: name.shown.to_string(), slot });
            }
        }
    }

    fn owner_of(&self, name: &NameState, slot: u16) -> Result<(ClusterNodeId, Arc<ClusterMember>), GetClientError> {
        let node = self.owners.owner(slot);
        self.check_lends(name)?;
        if node == ClusterNodeId::NONE {
            return Err(GetClientError::NoOwner { node: name.shown.to_string(), slot });
        }
        Ok((node, self.member(node)?))
    }

    /// The cluster may be open under another name.
    fn check_lends(&self, name: &NameState) -> Result<(), GetClientError> {
        let is_closed = self.is_closed() || name.is_closed();
        if is_closed { Err(GetClientError::Closed { node: name.shown.to_string() }) } else { Ok(()) }
    }

    async fn until_owned_by_another(&self, name: &NameState, slot: u16, node: ClusterNodeId, member: &ClusterMember) {
        // There is no free connection: the node may fail.
        self.doubt();
        let mut seen = self.changed.version();
        while self.owners.owner(slot) == node && member.pool().is_open() && !name.is_closed() {
            seen = self.changed.beyond(seen).await;
        }
    }

    /// Lends a connection to a node of the cluster, whatever it owns.
    pub(crate) async fn lend_of_node(
        &self,
        name: &NameState,
        address: &str,
        timeout: Duration,
    ) -> Result<Lease<RedisConnector>, GetClientError> {
        self.check_lends(name)?;
        let node = self.state().topology().find(address);
        let unknown = || GetClientError::UnknownNode { node: String::from(address) };
        let member = self.member(node.ok_or_else(unknown)?)?;
        match either(member.pool().get_timeout(timeout), self.until_closed(name)).await {
            Some(lent) => Ok(lent?),
            None => Err(GetClientError::Closed { node: name.shown.to_string() }),
        }
    }

    async fn until_closed(&self, name: &NameState) {
        let mut seen = self.changed.version();
        while !name.is_closed() {
            seen = self.changed.beyond(seen).await;
        }
    }
}
