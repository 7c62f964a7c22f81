//! A connection on loan: used through `Deref`, given back by dropping it.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use crate::connector::Connector;
use crate::node::Node;
use crate::state::Loan;

/// A connection on loan from a [`NodePool`](crate::NodePool).
///
/// Dropping it gives the connection back: without blocking, without a runtime, from any thread, also in a panic and
/// after the runtime's end. It cannot be cloned.
#[must_use = "a lease that is dropped at once goes back at once"]
pub struct Lease<K: Connector> {
    node: Arc<Node<K>>,
    /// None only while it is being dropped.
    loan: Option<Loan<K::Connection>>,
}

impl<K: Connector> Lease<K> {
    pub(crate) fn new(node: Arc<Node<K>>, loan: Loan<K::Connection>) -> Self {
        Self { node, loan: Some(loan) }
    }

    /// Whether the pool will close the connection when it comes back: it is too old, dead, or outdated. To be asked
    /// now and then where a lease is kept for long; if so, give it back.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.loan.as_ref().is_none_or(|loan| self.node.is_retired(loan.id()))
    }

    /// How old the connection is: the time since its dial succeeded.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.loan.as_ref().map_or(Duration::ZERO, |loan| self.node.age_of(loan.id()))
    }

    /// The node that the connection belongs to, by the name that its connector gives.
    #[must_use]
    pub fn node_name(&self) -> &str {
        self.node.name()
    }

    /// Gives the connection back to be closed instead of lent again.
    pub fn discard(mut self) {
        if let Some(loan) = self.loan.take() {
            self.node.discard(loan);
        }
    }
}

impl<K: Connector> Deref for Lease<K> {
    type Target = K::Connection;

    fn deref(&self) -> &K::Connection {
        &self.loan.as_ref().expect("a lease has its loan until it is dropped").conn
    }
}

impl<K: Connector> DerefMut for Lease<K> {
    fn deref_mut(&mut self) -> &mut K::Connection {
        &mut self.loan.as_mut().expect("a lease has its loan until it is dropped").conn
    }
}

impl<K: Connector> Drop for Lease<K> {
    fn drop(&mut self) {
        if let Some(loan) = self.loan.take() {
            self.node.give_back(loan);
        }
    }
}

impl<K: Connector> fmt::Debug for Lease<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("node", &self.node.name()).finish_non_exhaustive()
    }
}
