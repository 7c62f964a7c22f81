//! What a reply says about the node, apart from its meaning for the borrower.

use redis::{Arg, Cmd, Pipeline, RedisError, RedisResult, ServerError, Value};

/// Commands that reply with the text of an application.
const SPEAKERS: [&[u8]; 7] = [b"DEBUG", b"EVAL", b"EVALSHA", b"EVALSHA_RO", b"EVAL_RO", b"FCALL", b"FCALL_RO"];

fn speaks_for_others(cmd: &Cmd) -> bool {
    match cmd.args_iter().next() {
        Some(Arg::Simple(name)) => SPEAKERS.iter().any(|speaker| name.eq_ignore_ascii_case(speaker)),
        Some(Arg::Cursor | _) | None => false,
    }
}

/// The request. The author of an error text depends on the command that it answers.
#[derive(Clone, Copy)]
pub(crate) enum RequestRef<'a> {
    /// A request of our own: the server itself answers it.
    Ours,
    Command(&'a Cmd),
    /// The replies from this number on.
    Pipeline(&'a Pipeline, usize),
}

impl<'a> RequestRef<'a> {
    fn command(self, index: usize) -> Option<&'a Cmd> {
        match self {
            Self::Ours => None,
            Self::Command(cmd) => Some(cmd),
            Self::Pipeline(pipeline, _) => pipeline.cmd_iter().nth(index),
        }
    }

    /// The command that the reply of this number answers; `None` for the reply to the EXEC of a transaction.
    fn command_of_reply(self, index: usize) -> Option<&'a Cmd> {
        match self {
            Self::Pipeline(pipeline, _) if pipeline.is_transaction() => None,
            Self::Pipeline(_, offset) => self.command(offset.saturating_add(index)),
            Self::Ours | Self::Command(_) => self.command(index),
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
}

impl ReplyClass {
    pub(crate) fn of<T: ReplyValues>(result: &RedisResult<T>, asked: RequestRef<'_>) -> Self {
        match result {
            Ok(answer) => {
                let values = answer.values().iter().enumerate();
                values.fold(Self::AllWell, |news, (index, value)| news.or(Self::of_value(value, index, asked)))
            }
            Err(error) => Self::of_error(error, asked),
        }
    }

    fn of_value(value: &Value, index: usize, asked: RequestRef<'_>) -> Self {
        let Value::ServerError(error) = value else { return Self::AllWell };
        Self::of_server_error(error, asked.command_of_reply(index))
    }

    /// A refused transaction contains the errors of its commands, by number.
    fn of_error(error: &RedisError, asked: RequestRef<'_>) -> Self {
        let refused = error.clone().into_server_errors();
        let errors = refused.iter().flat_map(|errors| errors.iter());
        errors.fold(Self::Refused, |news, (index, error)| news.or(Self::of_server_error(error, asked.command(*index))))
    }

    /// `cmd` is the answered command, if it was one.
    fn of_server_error(error: &ServerError, cmd: Option<&Cmd>) -> Self {
        let words = || error.to_string();
        // A refused EXEC names the error that caused it.
        let cause = error.details().and_then(|details| details.split_once(" because of: "));
        let code = match cause.and_then(|(_, cause)| cause.split(' ').next()) {
            Some(code @ ("LOADING" | "MASTERDOWN" | "NOAUTH" | "READONLY")) if error.code() == "EXECABORT" => code,
            Some(_) | None => error.code(),
        };
        match code {
            "EXECABORT" | "LOADING" | "MASTERDOWN" | "NOAUTH" | "READONLY" if cmd.is_some_and(speaks_for_others) => Self::Refused,
            // It ends the transaction all the same.
            "EXECABORT" => Self::AllWell,
            "LOADING" | "MASTERDOWN" | "NOAUTH" => Self::NotReady(words()),
            "READONLY" => Self::Replica(words()),
            _ => Self::Refused,
        }
    }

    /// The worse of two.
    fn or(self, next: Self) -> Self {
        match (&self, &next) {
            (Self::AllWell, _) | (Self::Refused, Self::NotReady(_) | Self::Replica(_)) => next,
            (Self::Refused | Self::NotReady(_) | Self::Replica(_), _) => self,
        }
    }
}

/// A reply, or several.
pub(crate) trait ReplyValues {
    fn values(&self) -> &[Value];
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

impl ReplyValues for () {
    fn values(&self) -> &[Value] {
        &[]
    }
}
