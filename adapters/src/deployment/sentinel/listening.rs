//! The announcements of one sentinel: one task that holds a subscription. They are hints; what holds is what it answers.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use redis::{ProtocolVersion, PushInfo, Value};
use redis_manager_core::Connector;

use crate::connection::resp::request::Outgoing;
use crate::deployment::kept_connection::KeptConnection;
use crate::deployment::waiting::{either, within};
use crate::network::Network;
use crate::redis_node::parts::{Author, CommandProfile, RedisConnection, ReplyTimeout};

/// After a subscription has failed, or ended.
const PAUSE: Duration = Duration::from_secs(1);

/// What is announced of the servers of a name.
const CHANNELS: [&str; 5] = ["+switch-master", "+promoted-slave", "+sdown", "-sdown", "+slave"];

/// Listens to one sentinel until it is gone. Does not keep the deployment alive.
pub(super) struct AnnouncementReader {
    /// Called for each announcement about the name, and when it begins to listen.
    pub(super) hint: Box<dyn Fn() + Send + Sync>,
    pub(super) peer: Arc<KeptConnection>,
    pub(super) network: Arc<dyn Network>,
    pub(super) primary_name: Arc<str>,
    /// For the dial, and for the confirmation.
    pub(super) limit: Duration,
}

impl AnnouncementReader {
    pub(super) async fn run(self) {
        while !self.peer.is_gone() {
            let gone = async {
                let _ = self.peer.gone.beyond(0).await;
            };
            let Some(speaks) = either(self.listen(), gone).await else { return };
            if !speaks {
                // Over RESP2 nothing is announced on a connection like ours: it is asked from time to time.
                return;
            }
            let gone = async {
                let _ = self.peer.gone.beyond(0).await;
            };
            either(self.network.sleep(PAUSE), gone).await;
        }
    }

    /// One subscription, to its end. False if another attempt is of no use.
    async fn listen(&self) -> bool {
        let Some(Ok(mut conn)) = within(&*self.network, self.limit, self.peer.connector.connect()).await else { return true };
        if conn.protocol() == ProtocolVersion::RESP2 {
            return false;
        }
        let Some(_entry) = conn.listen() else { return false };
        if !self.subscribe(&mut conn).await {
            return true;
        }
        // What was announced before is asked for.
        (self.hint)();
        while let Some(push) = poll_fn(|cx| conn.socket().poll_push(cx)).await {
            if is_about(&push, &self.primary_name) {
                (self.hint)();
            }
        }
        true
    }

    async fn subscribe(&self, conn: &mut RedisConnection) -> bool {
        let mut cmd = redis::cmd("SUBSCRIBE");
        cmd.arg(&CHANNELS);
        let profile = CommandProfile { reply_timeout: ReplyTimeout::Ordinary(Some(self.limit)), ..CommandProfile::UNBOUNDED };
        let request = Outgoing::Subscription { cmd: &cmd, confirmations: CHANNELS.len() };
        let confirmed = conn.ask(profile, request, Author::Ours).await;
        confirmed.is_ok_and(|replies| replies.into_value().is_ok_and(|value| !matches!(value, Value::ServerError(_))))
    }
}

/// Whether an announcement is of a name: it is one of its words.
fn is_about(push: &PushInfo, primary_name: &str) -> bool {
    let Some(Value::BulkString(words)) = push.data.last() else { return false };
    words.split(|byte| *byte == b' ').any(|word| word == primary_name.as_bytes())
}
