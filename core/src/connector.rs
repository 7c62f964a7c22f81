//! All that the core asks of a server: connect, check, and an honest word on whether a connection is broken.

use std::future::Future;

use crate::connection_monitor::ConnectionMonitor;

/// Why a connection was closed; every connection leaves with exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CloseReason {
    /// It was found broken: on return, by its monitor, or when it was about to be handed out.
    Broken,
    /// Its holder asked for it to be closed.
    Discarded,
    /// A health check failed or was not answered in time.
    CheckFailed,
    /// Its borrower left something on it that could not be undone, or not cheaply.
    Unclean,
    /// It has grown beyond what one that idles may hold.
    Oversized,
    /// The server at the other end is no longer the one that is wanted; see [`ConnectionMonitor::renew`].
    Outdated,
    /// It had been idle for longer than `max_idle_time`.
    IdleTooLong,
    /// It had reached its `max_lifetime`.
    Expired,
    /// It idled, its node had more than `min_connections_per_node`, and another node needed its place: it was below
    /// that, or had callers in the queue, and `max_total_connections` left nothing.
    Yielded,
    /// The pool was closed.
    PoolClosed,
}

/// What a borrower has left on a sound connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Residue {
    /// Nothing: it is lent again at once.
    None,
    /// Something that [`Connector::clean`] can undo.
    Removable,
    /// Something that stays: the connection is closed.
    Lasting,
    /// Nothing but memory, and too much of it: the connection is closed.
    Oversized,
}

/// Ends a connection on loan from outside; see [`Connector::kill_switch`].
pub type AbortHandle = Box<dyn FnOnce() + Send>;

/// Makes, checks and ends the connections of one node.
///
/// No method is called under a lock, and a panic in any of them costs that one connection, never the pool.
pub trait Connector: Send + Sync + 'static {
    /// What is lent to callers. It should be small: it is moved on every loan.
    type Connection: Send + 'static;
    /// Why a connect or a check failed; its text is what users read in errors, so it must hold no secret.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Opens a connection that is ready for use.
    ///
    /// The pool bounds it by `connect_timeout`, and by less while it probes a node that is down. It is not cancelled
    /// when a caller leaves, but it is dropped when the pool closes.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Asks the server for a sign of life on an idle connection; bounded by `health_check_timeout`.
    fn check(&self, conn: &mut Self::Connection) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whether `conn` must not be lent again. Called on return and before every loan, so: a flag, no I/O.
    fn is_broken(&self, conn: &mut Self::Connection) -> bool;

    /// Whether a broken `conn` is one because it was asked and did not answer in time. Its neighbours are then
    /// distrusted: each is checked before it is lent again. By default never.
    fn is_silent(&self, conn: &mut Self::Connection) -> bool {
        let _ = conn;
        false
    }

    /// What the borrower of a sound `conn` has left on it. Called on return, so: a flag, no I/O. By default nothing.
    fn residue(&self, conn: &mut Self::Connection) -> Residue {
        let _ = conn;
        Residue::None
    }

    /// Undoes what a borrower has left, and makes sure of it, before `conn` is lent again; in the background, bounded by
    /// `health_check_timeout`. A connection that cannot be cleaned is closed. By default there is nothing to do.
    fn clean(&self, conn: &mut Self::Connection) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = conn;
        std::future::ready(Ok(()))
    }

    /// Ends a connection: the only way out of the pool. By default it is dropped.
    ///
    /// Called from a task of its own, or from whoever drops the last handle; it must not wait for the network. The
    /// connection counts against the limit until this returns, for at most one second.
    fn close(&self, conn: Self::Connection, reason: CloseReason) {
        let _ = reason;
        drop(conn);
    }

    /// Given once for each new connection: it is to be called as soon as the connection is known to be dead.
    ///
    /// An idle connection is then replaced at once instead of at the next check. By default the monitor is not used.
    fn watch(&self, conn: &mut Self::Connection, monitor: ConnectionMonitor) {
        let _ = (conn, monitor);
    }

    /// A way to end `conn` while it is on loan, for a close whose deadline has passed. By default there is none.
    fn abort_handle(&self, conn: &mut Self::Connection) -> Option<AbortHandle> {
        let _ = conn;
        None
    }

    /// The pool has begun to close: called once or more, when it serves nobody any more. What waits at the server for its
    /// own sake, for a message or an element of a queue, say, is to be ended here and now; connections on loan that are
    /// otherwise in use have until the deadline of the close. A connection that dies on loan while its pool closes is not
    /// waited for. It must not wait for the network. By default nothing is ended.
    fn pool_closing(&self) {}

    /// What a connect that took too long was waiting for, for the error that tells of it. Asked right after that connect
    /// was dropped. By default nothing is known.
    fn unanswered(&self) -> Option<&'static str> {
        None
    }

    /// Whether a failed connect will fail again until somebody changes something (a wrong password, say).
    ///
    /// Waiting callers are then told at once, and the node is probed at the slowest pace. By default never.
    fn is_permanent(&self, error: &Self::Error) -> bool {
        let _ = error;
        false
    }

    /// The node's name in errors, without secrets. By default `"node"`.
    fn name(&self) -> String {
        String::from("node")
    }
}
