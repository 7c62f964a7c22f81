//! A server that is asked now and then, on a connection of its own that is kept for the next questions.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, RedisError, Value};
use redis_manager_core::{Connector, Runtime};

use crate::connection::resp::request::Outgoing;
use crate::deployment::signal::Signal;
use crate::deployment::waiting::within;
use crate::error::ConnectFailure;
use crate::redis_node::RedisConnector;
use crate::redis_node::parts::{Author, CommandProfile, RedisConnection, ReplyTimeout};

/// A server that is asked now and then.
pub(crate) struct KeptConnection {
    pub(crate) connector: RedisConnector,
    kept: Mutex<Option<Box<RedisConnection>>>,
    /// Raised when it is asked no more.
    pub(crate) gone: Signal,
}

/// Why a server has not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskFailure {
    #[error("no answer in time")]
    Silent,
    #[error("{0}")]
    Unreachable(ConnectFailure),
    /// The connection has ended before the replies.
    #[error("{0}")]
    Lost(String),
}

impl KeptConnection {
    pub(crate) fn new(connector: RedisConnector) -> Self {
        Self { connector, kept: Mutex::new(None), gone: Signal::default() }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.version() > 0
    }

    /// It is asked no more, and its connections are closed.
    pub(crate) fn leave(&self) {
        self.gone.raise();
        let kept = self.take_kept();
        drop(kept);
    }

    /// The replies to some questions, within `limit`. They may be asked twice.
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub(crate) async fn ask(&self, runtime: &dyn Runtime, questions: &[Cmd], limit: Duration) -> Result<Vec<Value>, AskFailure> {
        let questions: Vec<&Cmd> = questions.iter().collect();
        // What is under way when the time is up is dropped with its connection.
        within(runtime, limit, self.ask_all(&questions, limit)).await.ok_or(AskFailure::Silent)?
    }

    async fn ask_all(&self, questions: &[&Cmd], limit: Duration) -> Result<Vec<Value>, AskFailure> {
        let kept = self.take_kept();
        if let Some(kept) = kept
            && let Ok(values) = self.ask_on(kept, questions, limit).await
        {
            return Ok(values);
        }
        // The kept one may have been closed although the server is up.
        let fresh = self.connector.connect().await.map_err(AskFailure::Unreachable)?;
        let asked = self.ask_on(fresh, questions, limit).await;
        asked.map_err(|error| AskFailure::Lost(self.connector.secrets.clean(&error.to_string())))
    }

    async fn ask_on(
        &self,
        mut conn: Box<RedisConnection>,
        questions: &[&Cmd],
        limit: Duration,
    ) -> Result<Vec<Value>, RedisError> {
        let profile = CommandProfile { reply_timeout: ReplyTimeout::Ordinary(Some(limit)), ..CommandProfile::UNBOUNDED };
        let request = Outgoing::Batch(questions);
        let values = conn.ask(profile, request, Author::Ours).await?.into_values(request)?;
        if !self.is_gone() {
            let replaced = self.kept().replace(conn);
            drop(replaced);
        }
        Ok(values)
    }

    fn take_kept(&self) -> Option<Box<RedisConnection>> {
        self.kept().take()
    }

    fn kept(&self) -> MutexGuard<'_, Option<Box<RedisConnection>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
