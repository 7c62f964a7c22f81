//! What comes back for a request: its replies, or a transaction that was refused, or that its connection has ended.

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerError, ServerErrorKind, Value};

use super::request::Outgoing;

/// The replies to a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Replies {
    /// To a command.
    One(Value),
    /// To a pipeline: those that are wanted.
    Many(Vec<Value>),
    /// To an atomic pipeline that was not carried out as one.
    Refused(RefusedTransaction),
}

/// The errors of a transaction, in order: at least one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RefusedTransaction {
    pub(crate) errors: Vec<(TransactionStep, ServerError)>,
}

/// A command of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionStep {
    Multi,
    /// From 0 on.
    Command(usize),
    Exec,
}

/// How the end of a connection leaves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFate {
    /// The server has not got a whole command of it: it may be sent again elsewhere.
    Unsent,
    MaybeExecuted,
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RequestOutcome {
    Answered(Replies),
    Ended(RequestFate),
}

impl Replies {
    /// Whether the server may take what follows for a part of it.
    pub(super) fn leaves_open(&self) -> bool {
        match self {
            Self::One(_) | Self::Many(_) => false,
            Self::Refused(refused) => refused.may_be_open(),
        }
    }

    pub(crate) fn values(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
            Self::Refused(_) => &[],
        }
    }

    /// The reply to a command.
    pub(crate) fn into_value(self) -> RedisResult<Value> {
        match self {
            Self::One(value) => Ok(value),
            Self::Many(mut values) => Ok(values.pop().unwrap_or_default()),
            Self::Refused(refused) => Err(refused.into_error(None)),
        }
    }

    /// The replies to the pipeline of a request.
    pub(crate) fn into_values(self, request: Outgoing<'_>) -> RedisResult<Vec<Value>> {
        match self {
            Self::One(value) => Ok(vec![value]),
            Self::Many(values) => Ok(values),
            Self::Refused(refused) => Err(refused.into_error(Some(request))),
        }
    }
}

/// Errors of EXEC with which the server ends the transaction: `EXECABORT`, and what a node of a cluster says of its keys.
const ENDS_TRANSACTION: [&str; 6] = ["ASK", "CLUSTERDOWN", "CROSSSLOT", "EXECABORT", "MOVED", "TRYAGAIN"];

impl RefusedTransaction {
    /// Whether the server may still queue what follows: EXEC was refused as any command may be. So do servers before Redis 6.0.6,
    /// and those that have no EXEC under this name.
    pub(super) fn may_be_open(&self) -> bool {
        let is_begun = self.errors.iter().all(|(step, _)| *step != TransactionStep::Multi);
        is_begun
            && self.errors.iter().any(|(step, error)| {
                let is_ended = ENDS_TRANSACTION.contains(&error.code()) || error.details() == Some("EXEC without MULTI");
                *step == TransactionStep::Exec && !is_ended
            })
    }

    /// The error names the first step that was refused, and gives the server's words for it.
    fn into_error(self, request: Option<Outgoing<'_>>) -> RedisError {
        let Some((step, error)) = self.errors.into_iter().next() else {
            return RedisError::from((ErrorKind::Server(ServerErrorKind::ExecAbort), "the transaction was refused"));
        };
        let at = match step {
            TransactionStep::Exec if error.code() == "EXECABORT" => return error.into(),
            TransactionStep::Exec => String::from("EXEC"),
            TransactionStep::Multi => String::from("MULTI, so that its commands are no transaction,"),
            TransactionStep::Command(index) => match request.and_then(|request| request.command(index)) {
                Some(cmd) => format!("command {} ({})", index + 1, name_of(cmd)),
                None => format!("command {}", index + 1),
            },
        };
        let words = format!("{} {}", error.code(), error.details().unwrap_or_default());
        let line = format!("-EXECABORT Transaction refused at {at} because of: {}\r\n", words.trim_end());
        match redis::parse_redis_value(line.as_bytes()) {
            Ok(Value::ServerError(error)) => error.into(),
            Ok(_) | Err(_) => {
                RedisError::from((ErrorKind::Server(ServerErrorKind::ExecAbort), "the transaction was refused", words))
            }
        }
    }
}

/// The code of the error that is the reason for an `EXECABORT`, if that names one: in the words of servers, and in ours.
pub(crate) fn cause_of_abort(error: &ServerError) -> Option<&str> {
    let (_, cause) = error.details()?.split_once(" because of: ")?;
    if error.code() == "EXECABORT" { cause.split(' ').next() } else { None }
}

/// The name of a command in capital letters; other bytes than letters, digits and a few signs are left out.
fn name_of(cmd: &Cmd) -> String {
    match cmd.args_iter().next() {
        Some(redis::Arg::Simple(word)) => {
            let shown = word.iter().filter(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
            shown.take(64).map(|byte| char::from(byte.to_ascii_uppercase())).collect()
        }
        Some(redis::Arg::Cursor | _) | None => String::new(),
    }
}
