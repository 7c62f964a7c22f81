//! The pools of a cluster's nodes: opened when they are used, closed when their node has left.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use redis_manager_core::Runtime;

use crate::connection::resp::answer::Replies;
use crate::deployment::cluster::inner::{Cluster, read};
use crate::deployment::cluster::member::{ClusterMember, ReadTarget, ReadTargets};
use crate::deployment::cluster::redirection::moves_in;
use crate::deployment::cluster::state::topology::ClusterNodeId;
use crate::deployment::cluster_role::ClusterRole;
use crate::deployment::read_from::ReadFrom;
use crate::error::GetClientError;
use crate::redis_node::parts::{NodeMembership, RedirectionListener};
use crate::redis_node::{RedisConnector, Session, SharedConnections};

/// How long the commands in flight to a node that has left may be answered.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl Cluster {
    /// The member of a number, with pools that begin to fill if it is new.
    pub(crate) fn member(&self, node: ClusterNodeId) -> Result<Arc<ClusterMember>, GetClientError> {
        let known = read(&self.by_id).get(&node).filter(|member| member.pool().is_open()).cloned();
        if let Some(member) = known {
            return Ok(member);
        }
        let address = self.state().topology().node(node).map(|node| Arc::clone(&node.address));
        let gone = || GetClientError::Closed { node: String::from("a node that has left the cluster") };
        let member = self.member_at(&address.ok_or_else(gone)?)?;
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).insert(node, Arc::clone(&member));
        Ok(member)
    }

    /// The member of a number, if it has pools.
    pub(crate) fn known_member(&self, node: ClusterNodeId) -> Option<Arc<ClusterMember>> {
        read(&self.by_id).get(&node).cloned()
    }

    /// The member at an address, if it has pools that are open.
    pub(crate) fn open_member(&self, address: &str) -> Option<Arc<ClusterMember>> {
        read(&self.members).get(address).filter(|member| member.pool().is_open()).cloned()
    }

    /// The same by its address.
    pub(crate) fn member_at(&self, address: &str) -> Result<Arc<ClusterMember>, GetClientError> {
        let closed = || GetClientError::Closed { node: String::from(address) };
        let known = read(&self.members).get(address).filter(|member| member.pool().is_open()).cloned();
        if let Some(member) = known.filter(|_| !self.is_closed()) {
            return Ok(member);
        }
        if self.is_closed() {
            return Err(closed());
        }
        // Not under the lock: it calls code of users, the address map and the observer.
        let made = Arc::new(self.make_member(address)?);
        let (member, replaced) = {
            let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
            // Another call may have made it meanwhile; the pool is the same.
            match members.get(address).filter(|known| known.connections.is_of(made.pool())) {
                Some(known) => (Arc::clone(known), None),
                None => (Arc::clone(&made), members.insert(Arc::from(address), Arc::clone(&made))),
            }
        };
        drop((replaced, made));
        if self.is_closed() {
            // It was closed meanwhile, perhaps before the member was inserted.
            let late = self.members.write().unwrap_or_else(PoisonError::into_inner).remove(address);
            late.iter().for_each(|member| member.connections.close());
            return Err(closed());
        }
        Ok(member)
    }

    fn make_member(&self, address: &str) -> Result<ClusterMember, GetClientError> {
        let unknown = || GetClientError::UnknownNode { node: String::from(address) };
        let (host, port) = address.rsplit_once(':').ok_or_else(unknown)?;
        let port = port.parse().map_err(|_| unknown())?;
        let place = self.context.startup[0].beside(host, port).map_err(|_| unknown())?;
        let session = Session::fresh(&self.context.args, place.login.protocol(), place.login.db());
        let map = self.context.cluster_args.address_map.as_ref();
        let membership = NodeMembership {
            redirections: Arc::new(ClusterListener(self.weak())),
            reads: self.read_from != ReadFrom::Primary,
            dialled_at: map.and_then(|map| map.dialled(host, port)),
        };
        let connector = || {
            let (args, hooks) = (self.context.args.clone(), self.context.hooks.clone());
            let network = Arc::clone(&self.context.network);
            RedisConnector::new(network, place, args, hooks, self.context.nodes.config()).within(membership)
        };
        let pool = self.context.nodes.open(address, connector)?;
        let runtime = Arc::clone(&self.context.network) as Arc<dyn Runtime>;
        let connections = SharedConnections::new(pool, runtime, self.context.lanes, session);
        Ok(ClusterMember::new(Arc::from(address), Arc::new(connections)))
    }

    /// A node has left. Its pools are closed with those of all strangers.
    pub(super) fn forget(&self, node: ClusterNodeId) {
        let removed = self.by_id.write().unwrap_or_else(PoisonError::into_inner).remove(&node);
        drop(removed);
    }

    /// Closes the pools of nodes that do not belong to the cluster, in the background: those that have left, and startup nodes
    /// that the cluster has under other names.
    pub(super) fn close_strangers(&self) {
        let known: Vec<Arc<str>> = read(&self.members).keys().cloned().collect();
        let strangers: Vec<_> = {
            let state = self.state();
            let is_stranger = |address: &Arc<str>| state.was_reported() && state.topology().find(address).is_none();
            known.into_iter().filter(is_stranger).collect()
        };
        for address in strangers {
            let removed = self.members.write().unwrap_or_else(PoisonError::into_inner).remove(&address);
            if let Some(member) = removed {
                self.close_member(member);
            }
        }
    }

    fn close_member(&self, member: Arc<ClusterMember>) {
        let timeout = self.context.nodes.config().default_timeout();
        let closing = self.context.nodes.begin_close_nodes([&*member.address], timeout);
        let last_words = self.runtime().sleep(LAST_WORDS);
        self.runtime().spawn(Box::pin(async move {
            last_words.await;
            member.connections.cut();
            member.connections.close();
            closing.drained().await;
        }));
    }

    pub(super) fn publish_read_targets(&self) {
        if self.read_from == ReadFrom::Primary {
            return;
        }
        let mut targets = ReadTargets::default();
        {
            let state = self.state();
            let topology = state.topology();
            for (node, known) in topology.nodes() {
                let target = ReadTarget { node, zone: known.zone.clone() };
                match topology.primary_of(known) {
                    Some(primary) if known.role == ClusterRole::Replica && !known.failed && !state.is_ailing(node) => {
                        targets.add_replica(primary, target);
                    }
                    Some(_) => {}
                    None => targets.add_primary(target),
                }
            }
        }
        let replaced =
            std::mem::replace(&mut *self.read_targets.write().unwrap_or_else(PoisonError::into_inner), Arc::new(targets));
        drop(replaced);
    }

    pub(crate) fn read_targets(&self) -> Arc<ReadTargets> {
        Arc::clone(&read(&self.read_targets))
    }
}

/// Hears of the redirections on exclusive connections.
struct ClusterListener(Weak<Cluster>);

impl RedirectionListener for ClusterListener {
    fn look_at(&self, answer: &Replies) {
        for (slot, to) in moves_in(answer) {
            if let Some(cluster) = self.0.upgrade() {
                cluster.moved(slot, &to);
            }
        }
    }
}
