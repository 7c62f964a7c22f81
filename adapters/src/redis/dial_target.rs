//! Where a node is dialled, if that changes while it lives: connections know no deployment.

use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;

use crate::error::ConnectFailure;
use crate::redis_node::address::Address;

/// A dial on its way to its place.
pub(crate) type FindPlace<'a> = Pin<Box<dyn Future<Output = Result<DialPlace, ConnectFailure>> + Send + 'a>>;

/// A server to dial.
pub(crate) struct DialPlace {
    pub(crate) address: Address,
    /// Which of the places of the node this is.
    pub(crate) version: u64,
}

/// The place that a connection leads to, of a node whose place changes.
pub(crate) struct DialledPlace {
    pub(crate) target: Weak<dyn DialTarget>,
    pub(crate) version: u64,
}

/// Tells where the primary of a node is.
pub(crate) trait DialTarget: Send + Sync {
    /// The place now; waits for it if it is not known yet.
    fn find(&self) -> FindPlace<'_>;

    /// Ends when the place is another one than that of this version.
    fn moved<'a>(&'a self, place: &'a DialPlace) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// How the place is known, for errors.
    fn told_by(&self) -> &'static str;

    /// A dial takes long, or has failed: the place may be another one.
    fn doubt(&self);

    /// The server that was the place of this version names another one, `host:port`, as its primary.
    fn redirected(&self, version: u64, to: &str);

    /// The server at this place says that it is no primary.
    fn refuted(&self, place: &DialPlace);
}
