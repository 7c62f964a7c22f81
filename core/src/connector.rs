//! All that the core asks of a server: connect, check, and an honest word on whether a connection is broken.

use std::future::Future;

use crate::close_reason::CloseReason;
use crate::condition::Condition;
use crate::connection_monitor::ConnectionMonitor;

/// Ends a connection on loan from outside; see [`Connector::abort_handle`].
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

    /// In which condition `conn` is, as far as can be told without waiting. Asked on return, and before each loan, where the
    /// connection is lent only if it is [`Clean`](Condition::Clean).
    ///
    /// It must neither wait nor allocate. A panic means [`Broken`](Condition::Broken).
    fn inspect(&self, conn: &mut Self::Connection) -> Condition;

    /// Undoes what a borrower has left, and makes sure of it, before `conn` is lent again; in the background, bounded by
    /// `health_check_timeout`. A connection that cannot be cleaned is closed. By default there is nothing to do.
    fn clean(&self, conn: &mut Self::Connection) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = conn;
        std::future::ready(Ok(()))
    }

    /// Ends a connection: the only way out of the pool. By default it is dropped.
    ///
    /// Called from a task of its own, or where the last handle is dropped; it must not wait for the network. The
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

    /// The pool has begun to close: called once or more, when it serves no caller any more. What waits at the server for its
    /// own sake, for a message or an element of a queue, say, is to be ended here and now; connections on loan that are
    /// otherwise in use have until the deadline of the close. A connection that dies on loan while its pool closes is not
    /// waited for. It must not wait for the network. By default nothing is ended.
    fn pool_closing(&self) {}

    /// What a connect that took too long was waiting for, for the error that reports it. Asked right after that connect
    /// was dropped. By default nothing is known.
    fn unanswered(&self) -> Option<&'static str> {
        None
    }

    /// Whether a failed connect will fail again until something is changed (a wrong password, say).
    ///
    /// Waiting callers then get their errors at once, and the node is probed at the slowest pace. By default never.
    fn is_permanent(&self, error: &Self::Error) -> bool {
        let _ = error;
        false
    }

    /// The node's name in errors, without secrets. By default `"node"`.
    fn name(&self) -> String {
        String::from("node")
    }
}
