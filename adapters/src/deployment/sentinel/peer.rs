//! One sentinel: how it is asked, on a connection that is kept for the next question.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, RedisError, Value};
use redis_manager_core::{Connector, Runtime};

use crate::connection::resp::request::Outgoing;
use crate::deployment::sentinel::state::answer::{SentinelAnswer, SentinelFault, read_answer};
use crate::deployment::signal::Signal;
use crate::deployment::waiting::within;
use crate::error::ConnectFailure;
use crate::redis_node::RedisConnector;
use crate::redis_node::parts::{Author, CommandProfile, RedisConnection, ReplyTimeout};

/// One sentinel.
pub(crate) struct SentinelPeer {
    pub(crate) connector: RedisConnector,
    kept: Mutex<Option<Box<RedisConnection>>>,
    /// Raised when it is asked no more.
    pub(crate) gone: Signal,
}

impl SentinelPeer {
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

    /// Asks who the primary of a name is, within `limit`.
    ///
    /// # Errors
    ///
    /// Why it gave no usable answer.
    pub(crate) async fn ask(&self, runtime: &dyn Runtime, name: &str, limit: Duration) -> Result<SentinelAnswer, SentinelFault> {
        let question = |word: &str, is_about_name: bool| {
            let mut cmd = redis::cmd("SENTINEL");
            cmd.arg(word);
            if is_about_name {
                cmd.arg(name);
            }
            cmd
        };
        let commands = [
            question("GET-MASTER-ADDR-BY-NAME", true),
            question("MASTER", true),
            question("SENTINELS", true),
            question("REPLICAS", true),
            question("MYID", false),
        ];
        let commands: Vec<&Cmd> = commands.iter().collect();
        // What is under way when the time is up is dropped with its connection.
        let replies = within(runtime, limit, self.ask_all(&commands, limit)).await.ok_or(SentinelFault::Silent)??;
        read_answer(&replies, |words| self.connector.secrets.clean(words))
    }

    async fn ask_all(&self, commands: &[&Cmd], limit: Duration) -> Result<Vec<Value>, SentinelFault> {
        let kept = self.take_kept();
        if let Some(kept) = kept
            && let Ok(values) = self.ask_on(kept, commands, limit).await
        {
            return Ok(values);
        }
        // The kept one may have been closed although the sentinel is up. All questions may be asked twice.
        let fresh = self.connector.connect().await.map_err(unreachable)?;
        self.ask_on(fresh, commands, limit).await.map_err(|error| {
            let words = self.connector.secrets.clean(&error.to_string());
            SentinelFault::Refused { words }
        })
    }

    async fn ask_on(&self, mut conn: Box<RedisConnection>, commands: &[&Cmd], limit: Duration) -> Result<Vec<Value>, RedisError> {
        let profile = CommandProfile { reply_timeout: ReplyTimeout::Ordinary(Some(limit)), ..CommandProfile::UNBOUNDED };
        let request = Outgoing::Batch(commands);
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

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Box<RedisConnection>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreachable(failure: ConnectFailure) -> SentinelFault {
    let (kind, is_permanent) = (failure.kind(), failure.is_permanent());
    SentinelFault::Unreachable { words: failure.to_string(), kind, is_permanent }
}
