//! What a pool holds of a fake server: its connections, and the connector that makes, checks and closes them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::condition::Condition;
use crate::connection_monitor::ConnectionMonitor;
use crate::connector::{AbortHandle, Connector};
use crate::runtime::Task;
use crate::testing::fake_server::Peer;
use crate::testing::fake_server::{FakeError, FakeMode, FakeServer};

/// A connection to a [`FakeServer`]; the server forgets it when it is dropped.
#[derive(Debug)]
pub struct FakeConnection {
    server: FakeServer,
    id: u64,
    /// Requests sent and not answered.
    outstanding: usize,
    /// Whether one of them was waited for in vain.
    timed_out: bool,
}

impl FakeConnection {
    /// Asks the server to say `token`.
    ///
    /// # Errors
    ///
    /// [`FakeError::Lost`] if the connection is gone; [`FakeError::Loading`] and [`FakeError::Demoted`] as the server is,
    /// which its pool learns.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the answer, it leaves the connection with an answer outstanding: on return the pool waits for that
    /// before it lends the connection again.
    pub async fn echo(&mut self, token: u64) -> Result<u64, FakeError> {
        self.answer().await?;
        let monitor = self.server.monitor_of(self.id);
        if self.is_loading() {
            monitor.iter().for_each(|monitor| monitor.suspect("the server is loading"));
            return Err(FakeError::Loading);
        }
        if self.server.has_demoted(self.id) {
            monitor.iter().for_each(|monitor| monitor.failed_over("the server is a replica"));
            return Err(FakeError::Demoted);
        }
        Ok(token)
    }

    /// The same, and waits no longer than `timeout`: a connection that stays silent for so long makes the pool distrust
    /// the others when it comes back.
    ///
    /// # Errors
    ///
    /// [`FakeError::TimedOut`] then, [`FakeError::Lost`] if the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// As for [`echo`](Self::echo).
    pub async fn echo_timeout(&mut self, token: u64, timeout: Duration) -> Result<u64, FakeError> {
        let sleep = self.server.runtime().sleep(timeout);
        if let Some(answer) = within(sleep, self.echo(token)).await {
            return answer;
        }
        self.timed_out = true;
        Err(FakeError::TimedOut)
    }

    /// The server's number for this connection.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether a server at the other end still has this connection.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.server.peer_of(self.id), Peer::Server | Peer::Former)
    }

    /// Waits for all that was asked on this connection: answers come in the order of the requests.
    async fn answer(&mut self) -> Result<(), FakeError> {
        self.outstanding += 1;
        self.server.answer_on(self.id).await;
        self.outstanding = 0;
        if self.is_alive() { Ok(()) } else { Err(FakeError::Lost) }
    }

    fn is_loading(&self) -> bool {
        self.server.peer_of(self.id) == Peer::Server && self.server.mode() == FakeMode::Loading
    }

    /// Whether a borrower must not get it.
    pub(crate) fn is_known_unfit(&self) -> bool {
        self.outstanding > 0 || self.is_known_broken()
    }

    fn is_known_broken(&self) -> bool {
        self.timed_out || self.server.peer_of(self.id) == Peer::Lost
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.server.let_go(self.id);
    }
}

/// Connects a pool to a [`FakeServer`].
#[derive(Clone, Debug)]
pub struct FakeConnector {
    server: FakeServer,
}

/// Here, so that the file of the server does not depend on that of its connections.
impl FakeServer {
    /// What a pool needs to connect to this server.
    #[must_use]
    pub fn connector(&self) -> FakeConnector {
        FakeConnector { server: self.clone() }
    }
}

impl Connector for FakeConnector {
    type Connection = FakeConnection;
    type Error = FakeError;

    async fn connect(&self) -> Result<FakeConnection, FakeError> {
        let id = self.server.dial().await?;
        Ok(FakeConnection { server: self.server.clone(), id, outstanding: 0, timed_out: false })
    }

    async fn check(&self, conn: &mut FakeConnection) -> Result<(), FakeError> {
        self.server.note_check();
        conn.answer().await?;
        if conn.is_loading() { Err(FakeError::Loading) } else { Ok(()) }
    }

    fn inspect(&self, conn: &mut FakeConnection) -> Condition {
        match (self.server.peer_of(conn.id) == Peer::Lost, conn.timed_out) {
            (true, _) => Condition::Broken,
            (false, true) => Condition::Unresponsive,
            (false, false) if conn.outstanding > 0 => Condition::Resettable,
            (false, false) => Condition::Clean,
        }
    }

    async fn clean(&self, conn: &mut FakeConnection) -> Result<(), FakeError> {
        conn.answer().await
    }

    fn close(&self, conn: FakeConnection, reason: CloseReason) {
        self.server.note_close(reason, conn.is_known_broken());
        self.server.hang();
        drop(conn);
    }

    fn watch(&self, conn: &mut FakeConnection, monitor: ConnectionMonitor) {
        if let Some(monitor) = self.server.set_monitor(conn.id, monitor) {
            monitor.closed();
        }
    }

    fn abort_handle(&self, conn: &mut FakeConnection) -> Option<AbortHandle> {
        let (server, id) = (self.server.clone(), conn.id);
        Some(Box::new(move || server.cut_off(id)))
    }

    fn is_permanent(&self, error: &FakeError) -> bool {
        matches!(error, FakeError::Rejected)
    }

    fn name(&self) -> String {
        String::from("fake")
    }
}

/// Runs `future` until `sleep` ends.
pub(crate) async fn within<T>(mut sleep: Task, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}
