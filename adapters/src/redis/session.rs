//! The known state of a connection's session when a command is about to be sent.

use std::time::Duration;

use redis::{Arg, Cmd, ProtocolVersion};

use crate::redis_node::commands::Effect;
use crate::redis_node::dirty_flags::DirtyFlags;
use crate::redis_node::pool_args::{PoolArgs, UnknownCommands};
use crate::redis_node::reply_timeout::ReplyTimeout;

/// The state of the session before a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) traces: DirtyFlags,
    /// The database in the node's URL.
    pub(crate) home: i64,
    pub(crate) command_timeout: Duration,
    /// The protocol when the connection was made.
    pub(crate) protocol: ProtocolVersion,
    pub(crate) unknown_commands: UnknownCommands,
}

impl Session {
    /// The session of a new connection.
    pub(crate) fn fresh(args: &PoolArgs, protocol: ProtocolVersion, home: i64) -> Self {
        let &PoolArgs { command_timeout, unknown_commands, .. } = args;
        Self { traces: DirtyFlags::NONE, home, command_timeout, protocol, unknown_commands }
    }

    /// Takes what the hook `after_connect` has left for the normal state, or says why it cannot be.
    pub(crate) fn adopt(&mut self) -> Result<(), &'static str> {
        let refused = [
            (DirtyFlags::MULTI | DirtyFlags::UNSURE, "it has left a transaction open"),
            (DirtyFlags::WATCH, "it has left keys watched"),
            (DirtyFlags::DATABASE, "it has selected another database, which belongs into the URL"),
            (DirtyFlags::LISTENS, "it has subscribed to channels"),
            (DirtyFlags::PROTOCOL, "it has changed the protocol, which belongs into the URL or pool_args.protocol"),
            (DirtyFlags::ASTRAY, "it has turned replies off"),
        ];
        if let Some((_, problem)) = refused.into_iter().find(|(flags, _)| self.traces.has(*flags)) {
            return Err(problem);
        }
        self.traces = DirtyFlags::NONE;
        Ok(())
    }

    /// Whether a transaction is known to be open.
    pub(crate) fn is_in_transaction(self) -> bool {
        self.traces.has(DirtyFlags::MULTI) && !self.traces.has(DirtyFlags::UNSURE)
    }

    /// The timeout of a command that does not block.
    pub(crate) fn ordinary(self) -> ReplyTimeout {
        ReplyTimeout::Ordinary(Some(self.command_timeout))
    }

    /// How long the reply to a command of this effect may take.
    pub(crate) fn reply_timeout(self, effect: Effect, cmd: &Cmd) -> ReplyTimeout {
        let (timeout, blocks) = match effect {
            // Inside MULTI it is only queued.
            Effect::Blocks(_) | Effect::Takes(_) if self.is_in_transaction() => return self.ordinary(),
            Effect::Blocks(timeout) => (timeout, true),
            Effect::Takes(timeout) => (timeout, false),
            Effect::None | Effect::Watch | Effect::Unwatch | Effect::Multi | Effect::EndMulti => return self.ordinary(),
            Effect::Select | Effect::Lasting | Effect::Container(..) | Effect::Protocol => return self.ordinary(),
            Effect::Empty | Effect::Unknown | Effect::MayClose => return self.ordinary(),
            Effect::Subscribes | Effect::Uncounted | Effect::Reply => return self.ordinary(),
        };
        match timeout.read(cmd) {
            None if blocks && timeout.is_certain() => ReplyTimeout::Blocking(Some(self.command_timeout)),
            None => self.ordinary(),
            Some(Duration::ZERO) if blocks => ReplyTimeout::Blocking(None),
            Some(own) if blocks => ReplyTimeout::Blocking(Some(own.saturating_add(self.command_timeout))),
            Some(own) => ReplyTimeout::Ordinary(Some(own.saturating_add(self.command_timeout))),
        }
    }

    /// Whether a SELECT names the database of the node's URL.
    pub(crate) fn is_home(self, cmd: &Cmd) -> bool {
        match cmd.args_iter().nth(1) {
            Some(Arg::Simple(number)) => number == self.home.to_string().as_bytes(),
            Some(Arg::Cursor | _) | None => false,
        }
    }
}
