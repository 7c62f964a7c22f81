//! What was sent on the connection and is not answered yet, in order.

use std::collections::VecDeque;

use crate::subscriber::topic::{Topic, TopicKind, TopicVerb};

/// A command on its way.
#[derive(Debug)]
pub(super) enum SentCommand {
    Ping,
    /// The names that are not confirmed yet. Refused as a whole, unless some were confirmed.
    Names {
        kind: TopicKind,
        verb: TopicVerb,
        topics: VecDeque<Topic>,
    },
}

#[derive(Debug, Default)]
pub(super) struct SentRequests {
    commands: VecDeque<SentCommand>,
}

impl SentRequests {
    pub(super) fn push(&mut self, command: SentCommand) {
        self.commands.push_back(command);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.commands.clear();
    }

    /// Takes a confirmation, if it is what the first command waits for.
    pub(super) fn confirm(&mut self, kind: TopicKind, verb: TopicVerb, name: &[u8]) -> Option<Topic> {
        let Some(SentCommand::Names { kind: sent, verb: asked, topics }) = self.commands.front_mut() else { return None };
        let is_it = *sent == kind && *asked == verb && topics.front().is_some_and(|topic| *topic.name == *name);
        let topic = if is_it { topics.pop_front() } else { None };
        if topics.is_empty() {
            self.commands.pop_front();
        }
        topic
    }

    /// Takes a reply that is no confirmation. `false` if the first command waits for none.
    pub(super) fn take_reply(&mut self) -> bool {
        let is_ping = matches!(self.commands.front(), Some(SentCommand::Ping));
        if is_ping {
            self.commands.pop_front();
        }
        is_ping
    }

    /// The command that an error is the reply to; none if the first one cannot be it.
    pub(super) fn take_refused(&mut self, can_be: impl Fn(&SentCommand) -> bool) -> Option<SentCommand> {
        if self.commands.front().is_some_and(can_be) { self.commands.pop_front() } else { None }
    }

    /// How many topics are on their way.
    pub(super) fn topics(&self) -> usize {
        let of = |command: &SentCommand| match command {
            SentCommand::Ping => 0,
            SentCommand::Names { topics, .. } => topics.len(),
        };
        self.commands.iter().map(of).sum()
    }
}
