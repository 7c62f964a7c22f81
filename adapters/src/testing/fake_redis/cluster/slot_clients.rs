//! Clients whose slot has gone: those who wait for a key get a redirection, those who listen to a sharded channel are told its end;
//! and messages that go to the other nodes.

use redis_manager_core::Instant;

use super::super::reply::Response;
use super::super::server::{ConnectionId, Server};
use super::super::session::FakeSession;
use super::super::table::find_command;
use super::super::words::upper;
use super::slots::slot_of;
use super::state::BusMessage;

impl Server {
    /// Looks after the clients of slots that this node, or its shard, does not have any more.
    pub(super) fn leave_slots(&mut self, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let left = std::mem::take(&mut cluster.left);
        if !left.is_empty() {
            let listening = |(id, session): (&ConnectionId, &FakeSession)| {
                let gone = session.shard_channels.iter().filter(|channel| left.contains(&slot_of(channel)));
                gone.map(|channel| (*id, channel.clone())).collect::<Vec<_>>()
            };
            let gone: Vec<_> = self.sessions.iter().flat_map(listening).collect();
            for (id, channel) in gone {
                let session = self.session(id);
                session.shard_channels.remove(&channel);
                let rest = Response::count(session.shard_channels.len());
                let words = vec![Response::text("sunsubscribe"), Response::Bulk(channel), rest];
                self.push_message(id, &Response::Push(words));
            }
        }
        self.redirect_blocked(now);
    }

    /// Who waits for a key that is not to be had here any more is told where to go.
    fn redirect_blocked(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let Some(cluster) = &self.cluster else { return };
        let mut redirected = Vec::new();
        for (id, session) in &self.sessions {
            let Some(blocked) = &session.blocked else { continue };
            let Some(spec) = find_command(&upper(&blocked.wait.args[0])) else { continue };
            let args = blocked.wait.args.as_slice();
            let is_here = blocked.wait.keys.first().is_some_and(|key| cluster.serves(slot_of(key)));
            if !is_here && let Err(failure) = cluster.check_route(&self.databases[session.database], session, &[(spec, args)]) {
                redirected.push((*id, failure));
            }
        }
        for (id, failure) in redirected {
            self.unblock(id, Err(failure));
        }
        self.run_all();
    }

    /// A message for the other nodes of the cluster.
    pub(in super::super) fn send_over_bus(&mut self, channel: &[u8], text: &[u8], is_sharded: bool) {
        if let Some(cluster) = &mut self.cluster {
            cluster.bus.push(BusMessage { channel: channel.to_vec(), text: text.to_vec(), is_sharded });
            self.make_cluster_news();
        }
    }

    /// What it has for the other nodes: to be given to [`take_bus_messages`](Self::take_bus_messages) of each that hears it.
    pub fn bus_messages(&mut self) -> Vec<BusMessage> {
        self.cluster.as_mut().map(|cluster| std::mem::take(&mut cluster.bus)).unwrap_or_default()
    }

    /// Delivers messages of another node to the subscribers here.
    pub fn take_bus_messages(&mut self, from: &str, messages: &[BusMessage]) {
        let Some(cluster) = &self.cluster else { return };
        let shard_of = |id: &str| {
            let node = cluster.nodes.get(cluster.index_of(id)?)?;
            Some(node.primary.clone().unwrap_or_else(|| node.id.clone()))
        };
        let is_same_shard = shard_of(from).is_some_and(|shard| shard_of(&cluster.me().id) == Some(shard));
        for BusMessage { channel, text, is_sharded } in messages {
            if !is_sharded {
                self.publish(channel, text);
            } else if is_same_shard {
                self.publish_sharded(channel, text);
            }
        }
    }
}
