//! The nodes that a client has sent to, with their shared connections.

use std::sync::Arc;

use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::error::GetClientError;
use crate::redis_node::parts::SharedHandle;

/// In the order of their numbers.
#[derive(Clone, Default)]
pub(crate) struct NodeHandles {
    handles: Vec<(ClusterNodeId, SharedHandle)>,
}

impl NodeHandles {
    /// The client of a node's shared connections.
    #[inline]
    pub(super) fn of(&mut self, cluster: &Cluster, node: ClusterNodeId) -> Result<&mut SharedHandle, GetClientError> {
        let at = match self.handles.binary_search_by_key(&node, |(other, _)| *other) {
            Ok(at) => at,
            Err(at) => {
                let member = cluster.member(node)?;
                self.handles.insert(at, (node, SharedHandle::unready(Arc::clone(&member.connections))));
                at
            }
        };
        Ok(&mut self.handles[at].1)
    }

    /// A node was closed: its connections are not used any more, nor those of others that have left.
    pub(super) fn forget(&mut self, node: ClusterNodeId) {
        self.handles.retain(|(other, handle)| *other != node && !handle.is_closed());
    }
}
