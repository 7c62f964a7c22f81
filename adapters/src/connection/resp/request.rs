//! What is to be sent, as data: a command, a pipeline or a subscription. No connection type is named here.

use redis::{Cmd, Pipeline};

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// A request for a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outgoing<'a> {
    /// It has one reply, or none if it is marked so.
    Command(&'a Cmd),
    /// It has a reply for each command, and one more each for MULTI and EXEC if it is atomic. The first `offset` are skipped,
    /// and the `count` after them are wanted.
    Pipeline { pipeline: &'a Pipeline, offset: usize, count: usize },
    /// Commands that belong together for their sender alone: a reply for each, all wanted.
    Batch(&'a [&'a Cmd]),
    /// A command that the server confirms by pushes, or over RESP2 by replies: one for each channel.
    Subscription { cmd: &'a Cmd, confirmations: usize },
}

impl<'a> Outgoing<'a> {
    /// A pipeline that is not atomic, with all of its replies.
    pub(crate) fn whole(pipeline: &'a Pipeline) -> Self {
        Self::Pipeline { pipeline, offset: 0, count: pipeline.len() }
    }

    /// The command of this number, from 0 on.
    pub(crate) fn command(self, index: usize) -> Option<&'a Cmd> {
        match self {
            Self::Command(cmd) | Self::Subscription { cmd, .. } => (index == 0).then_some(cmd),
            Self::Pipeline { pipeline, .. } => pipeline.cmd_iter().nth(index),
            Self::Batch(commands) => commands.get(index).copied(),
        }
    }

    /// How many commands it has, without MULTI and EXEC.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Command(_) | Self::Subscription { .. } => 1,
            Self::Pipeline { pipeline, .. } => pipeline.len(),
            Self::Batch(commands) => commands.len(),
        }
    }

    pub(crate) fn is_transaction(self) -> bool {
        match self {
            Self::Command(_) | Self::Subscription { .. } | Self::Batch(_) => false,
            Self::Pipeline { pipeline, .. } => pipeline.is_transaction(),
        }
    }

    /// Its caller does not wait for the reply.
    pub(super) fn is_unanswered(self) -> bool {
        matches!(self, Self::Command(cmd) if cmd.is_no_response())
    }

    /// Appends its bytes. The result is after how many of them the server may have carried out a part of it, and how many there
    /// are. A part is its first command, also in a transaction: a server that refuses MULTI carries out what follows.
    pub(super) fn encode(self, out: &mut Vec<u8>) -> (usize, usize) {
        let start = out.len();
        let mut first = None;
        match self {
            Self::Command(cmd) | Self::Subscription { cmd, .. } => cmd.write_packed_command(out),
            Self::Pipeline { pipeline, .. } if pipeline.is_transaction() => {
                out.extend_from_slice(MULTI);
                for cmd in pipeline.cmd_iter() {
                    cmd.write_packed_command(out);
                    first.get_or_insert(out.len() - start);
                }
                out.extend_from_slice(EXEC);
            }
            Self::Pipeline { pipeline, .. } => {
                for cmd in pipeline.cmd_iter() {
                    cmd.write_packed_command(out);
                    first.get_or_insert(out.len() - start);
                }
            }
            Self::Batch(commands) => {
                for cmd in commands {
                    cmd.write_packed_command(out);
                    first.get_or_insert(out.len() - start);
                }
            }
        }
        let length = out.len() - start;
        (first.unwrap_or(length), length)
    }
}
