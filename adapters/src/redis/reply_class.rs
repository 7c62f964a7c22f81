//! What a reply says about the node, apart from its meaning for the borrower.

use redis::{Arg, Cmd, ServerError, Value};

use crate::connection::resp::answer::{Replies, TransactionStep, cause_of_abort};
use crate::connection::resp::request::Outgoing;

/// Commands that reply with the text of an application.
const SPEAKERS: [&[u8]; 7] = [b"DEBUG", b"EVAL", b"EVALSHA", b"EVALSHA_RO", b"EVAL_RO", b"FCALL", b"FCALL_RO"];

fn speaks_for_others(cmd: &Cmd) -> bool {
    match cmd.args_iter().next() {
        Some(Arg::Simple(name)) => SPEAKERS.iter().any(|speaker| name.eq_ignore_ascii_case(speaker)),
        Some(Arg::Cursor | _) | None => false,
    }
}

/// The author of a request. The author of an error text depends on the command that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// A request of our own: the server itself answers it.
    Ours,
    User,
}

impl Author {
    /// The command of a user that the reply of this number answers; `None` for the reply to the EXEC of a transaction.
    fn command_of_reply(self, request: Outgoing<'_>, index: usize) -> Option<&Cmd> {
        match request {
            _ if self == Self::Ours => None,
            Outgoing::Pipeline { .. } if request.is_transaction() => None,
            Outgoing::Pipeline { offset, .. } => request.command(offset.saturating_add(index)),
            Outgoing::Command(_) | Outgoing::Subscription { .. } | Outgoing::Batch(_) => request.command(index),
        }
    }

    fn command_of_step(self, request: Outgoing<'_>, step: TransactionStep) -> Option<&Cmd> {
        match step {
            TransactionStep::Command(index) if self == Self::User => request.command(index),
            TransactionStep::Command(_) | TransactionStep::Multi | TransactionStep::Exec => None,
        }
    }
}

/// The meaning of a reply for the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplyClass {
    AllWell,
    /// An error that is the command's own.
    Refused,
    /// The node cannot serve any caller now; with the server's text.
    NotReady(String),
    /// The node is not the primary that is needed; with the server's text.
    Replica(String),
    /// The same, with host and port of the primary. Only servers that were asked to say so do.
    Redirected {
        words: String,
        to: String,
    },
}

impl ReplyClass {
    pub(crate) fn of(answer: &Replies, request: Outgoing<'_>, author: Author) -> Self {
        match answer {
            Replies::One(_) | Replies::Many(_) => {
                let values = answer.values().iter().enumerate();
                values.fold(Self::AllWell, |news, (index, value)| {
                    let Value::ServerError(error) = value else { return news };
                    news.or(Self::of_server_error(error, author.command_of_reply(request, index)))
                })
            }
            // It contains the errors of its commands, by number.
            Replies::Refused(refused) => refused.errors.iter().fold(Self::Refused, |news, (step, error)| {
                news.or(Self::of_server_error(error, author.command_of_step(request, *step)))
            }),
        }
    }

    /// `cmd` is the answered command, if it was one.
    fn of_server_error(error: &ServerError, cmd: Option<&Cmd>) -> Self {
        let words = || error.to_string();
        let code = match cause_of_abort(error) {
            Some(code @ ("LOADING" | "MASTERDOWN" | "NOAUTH" | "READONLY" | "REDIRECT")) => code,
            Some(_) | None => error.code(),
        };
        match code {
            "EXECABORT" | "LOADING" | "MASTERDOWN" | "NOAUTH" | "READONLY" | "REDIRECT" if cmd.is_some_and(speaks_for_others) => {
                Self::Refused
            }
            // It ends the transaction all the same.
            "EXECABORT" => Self::AllWell,
            "LOADING" | "MASTERDOWN" | "NOAUTH" => Self::NotReady(words()),
            "READONLY" => Self::Replica(words()),
            "REDIRECT" => Self::Redirected { words: words(), to: String::from(error.details().unwrap_or_default()) },
            _ => Self::Refused,
        }
    }

    /// The worse of two.
    fn or(self, next: Self) -> Self {
        match (&self, &next) {
            (Self::AllWell, _) | (Self::Refused, Self::NotReady(_) | Self::Replica(_) | Self::Redirected { .. }) => next,
            (Self::Refused | Self::NotReady(_) | Self::Replica(_) | Self::Redirected { .. }, _) => self,
        }
    }
}

/// A reply, or several.
pub(crate) trait ReplyValues {
    fn values(&self) -> &[Value];

    /// Whether it was a transaction that was not carried out.
    fn is_refused(&self) -> bool {
        false
    }
}

impl ReplyValues for Value {
    fn values(&self) -> &[Value] {
        std::slice::from_ref(self)
    }
}

impl ReplyValues for Vec<Value> {
    fn values(&self) -> &[Value] {
        self
    }
}

impl ReplyValues for Replies {
    fn values(&self) -> &[Value] {
        Self::values(self)
    }

    fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}
