//! Subscriptions to channels, patterns and sharded channels, and messages to them.

use std::collections::BTreeSet;

use super::reply::{Answer, Response};
use super::server::{ConnectionId, Server};
use super::session::FakeSession;
use super::subcommands::unknown_subcommand;
use super::words::{Bytes, matches_glob, upper, wrong_arity};

/// What is subscribed to; by its words in replies.
#[derive(Clone, Copy)]
enum SubscriptionKind {
    Channel,
    Pattern,
    Shard,
}

impl SubscriptionKind {
    fn set(self, session: &mut FakeSession) -> &mut BTreeSet<Bytes> {
        match self {
            Self::Channel => &mut session.channels,
            Self::Pattern => &mut session.patterns,
            Self::Shard => &mut session.shard_channels,
        }
    }

    fn count(self, session: &FakeSession) -> usize {
        match self {
            Self::Channel | Self::Pattern => session.subscriptions(),
            Self::Shard => session.shard_channels.len(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Channel => "",
            Self::Pattern => "p",
            Self::Shard => "s",
        }
    }
}

fn change(session: &mut FakeSession, kind: SubscriptionKind, verb: &str, name: Option<&Bytes>) -> Response {
    if let Some(name) = name {
        if verb == "subscribe" {
            kind.set(session).insert(name.clone());
        } else {
            kind.set(session).remove(name);
        }
    }
    let name = name.map_or(Response::Null, |name| Response::Bulk(name.clone()));
    let word = Response::text(format!("{}{verb}", kind.word()));
    Response::Push(vec![word, name, Response::count(kind.count(session))])
}

fn subscribe_to(server: &mut Server, id: ConnectionId, args: &[Bytes], kind: SubscriptionKind) -> Answer {
    let session = server.session(id);
    Ok(Response::Several(args[1..].iter().map(|name| change(session, kind, "subscribe", Some(name))).collect()))
}

fn unsubscribe_from(server: &mut Server, id: ConnectionId, args: &[Bytes], kind: SubscriptionKind) -> Answer {
    let session = server.session(id);
    let names: Vec<Bytes> = if args.len() > 1 { args[1..].to_vec() } else { kind.set(session).iter().cloned().collect() };
    if names.is_empty() {
        return Ok(change(session, kind, "unsubscribe", None));
    }
    Ok(Response::Several(names.iter().map(|name| change(session, kind, "unsubscribe", Some(name))).collect()))
}

pub(super) fn subscribe(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    subscribe_to(server, id, args, SubscriptionKind::Channel)
}

pub(super) fn psubscribe(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    subscribe_to(server, id, args, SubscriptionKind::Pattern)
}

pub(super) fn ssubscribe(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    subscribe_to(server, id, args, SubscriptionKind::Shard)
}

pub(super) fn unsubscribe(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    unsubscribe_from(server, id, args, SubscriptionKind::Channel)
}

pub(super) fn punsubscribe(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    unsubscribe_from(server, id, args, SubscriptionKind::Pattern)
}

pub(super) fn sunsubscribe(server: &mut Server, id: ConnectionId, args: &[Bytes]) -> Answer {
    unsubscribe_from(server, id, args, SubscriptionKind::Shard)
}

fn push(server: &mut Server, id: ConnectionId, words: &[&[u8]]) {
    server.push_message(id, &Response::Push(words.iter().map(|word| Response::text(*word)).collect()));
}

pub(super) fn publish(server: &mut Server, _id: ConnectionId, args: &[Bytes]) -> Answer {
    let receivers = server.publish(&args[1], &args[2]);
    server.send_over_bus(&args[1], &args[2], false);
    server.published_to_none += u64::from(receivers == 0);
    Ok(Response::count(receivers))
}

impl Server {
    /// Publishes a message to those who have subscribed here, by channel or by pattern. The result is how many got it.
    pub fn publish(&mut self, channel: &[u8], text: &[u8]) -> usize {
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        let mut receivers = 0;
        for id in &ids {
            if self.session(*id).channels.contains(channel) {
                push(self, *id, &[b"message", channel, text]);
                receivers += 1;
            }
        }
        for id in ids {
            for pattern in self.session(id).patterns.clone() {
                if matches_glob(&pattern, channel) {
                    push(self, id, &[b"pmessage", &pattern, channel, text]);
                    receivers += 1;
                }
            }
        }
        receivers
    }

    /// The same for a sharded channel.
    pub fn publish_sharded(&mut self, channel: &[u8], text: &[u8]) -> usize {
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        let mut receivers = 0;
        for id in ids {
            if self.session(id).shard_channels.contains(channel) {
                push(self, id, &[b"smessage", channel, text]);
                receivers += 1;
            }
        }
        receivers
    }

    /// Sends to a subscriber, whatever its CLIENT REPLY says.
    pub(super) fn push_message(&mut self, id: ConnectionId, message: &Response) {
        let mut bytes = Vec::new();
        message.encode(self.session(id).resp3, &mut bytes);
        self.send(id, bytes);
    }
}

pub(super) fn spublish(server: &mut Server, _id: ConnectionId, args: &[Bytes]) -> Answer {
    let receivers = server.publish_sharded(&args[1], &args[2]);
    server.send_over_bus(&args[1], &args[2], true);
    server.published_to_none += u64::from(receivers == 0);
    Ok(Response::count(receivers))
}

pub(super) fn pubsub(server: &mut Server, _id: ConnectionId, args: &[Bytes]) -> Answer {
    let word = upper(&args[1]);
    let is_shard = word.starts_with("SHARD");
    let set = |session: &FakeSession| if is_shard { session.shard_channels.clone() } else { session.channels.clone() };
    match word.as_str() {
        "CHANNELS" | "SHARDCHANNELS" if args.len() <= 3 => {
            let all: BTreeSet<Bytes> = server.sessions.values().flat_map(set).collect();
            let is_asked = |name: &Bytes| args.get(2).is_none_or(|pattern| matches_glob(pattern, name));
            Ok(Response::bulks(all.into_iter().filter(is_asked)))
        }
        "NUMSUB" | "SHARDNUMSUB" => {
            let count = |name: &Bytes| server.sessions.values().filter(|session| set(session).contains(name)).count();
            let pairs = args[2..].iter().flat_map(|name| [Response::Bulk(name.clone()), Response::count(count(name))]);
            Ok(Response::Array(pairs.collect()))
        }
        "NUMPAT" if args.len() == 2 => {
            let all: BTreeSet<&Bytes> = server.sessions.values().flat_map(|session| &session.patterns).collect();
            Ok(Response::count(all.len()))
        }
        "CHANNELS" | "SHARDCHANNELS" | "NUMPAT" => Err(wrong_arity(&format!("pubsub|{}", word.to_ascii_lowercase()))),
        _ => Err(unknown_subcommand("PUBSUB", &args[1])),
    }
}
