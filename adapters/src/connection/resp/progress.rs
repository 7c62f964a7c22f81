//! The replies to one request as they come: how many are still to come, and those that are kept.

use redis::{PushKind, ServerError, Value};

use super::answer::{RefusedTransaction, Replies, TransactionStep};
use super::request::Outgoing;

/// Replies for which memory is set aside before they come; more of them make the list grow.
const MOST_SET_ASIDE: usize = 1_024;

/// The replies to a request.
#[derive(Debug)]
pub(super) enum Progress {
    /// One reply.
    One,
    Many {
        skip: usize,
        keep: usize,
        values: Vec<Value>,
    },
    /// MULTI, its commands and EXEC, of which only the reply to EXEC is kept.
    Transaction {
        commands: usize,
        seen: usize,
        errors: Vec<(TransactionStep, ServerError)>,
    },
    /// Confirmations that are still to come.
    Confirmations(usize),
}

impl Progress {
    pub(super) fn of(request: Outgoing<'_>) -> Self {
        match request {
            Outgoing::Command(_) => Self::One,
            Outgoing::Pipeline { pipeline, .. } if pipeline.is_transaction() => {
                Self::Transaction { commands: pipeline.len(), seen: 0, errors: Vec::new() }
            }
            Outgoing::Pipeline { offset, count, .. } => Self::Many { skip: offset, keep: count, values: Vec::new() },
            Outgoing::Batch(commands) => Self::Many { skip: 0, keep: commands.len(), values: Vec::new() },
            Outgoing::Subscription { confirmations, .. } => Self::Confirmations(confirmations.max(1)),
        }
    }

    /// Whether it is confirmed by pushes.
    pub(super) fn takes_pushes(&self) -> bool {
        matches!(self, Self::Confirmations(_))
    }

    /// Takes the next reply. The answer, if that was the last one.
    pub(super) fn take(&mut self, value: Value) -> Option<Replies> {
        match self {
            Self::One => Some(Replies::One(value)),
            Self::Many { skip, .. } if *skip > 0 => {
                *skip -= 1;
                None
            }
            Self::Many { skip: _, keep, values } => {
                if values.is_empty() {
                    values.reserve_exact((*keep).min(MOST_SET_ASIDE));
                }
                values.push(value);
                (values.len() >= *keep).then(|| Replies::Many(std::mem::take(values)))
            }
            Self::Transaction { commands, seen, errors } => {
                let step = match *seen {
                    0 => TransactionStep::Multi,
                    index if index <= *commands => TransactionStep::Command(index - 1),
                    _ => TransactionStep::Exec,
                };
                *seen += 1;
                let is_exec = step == TransactionStep::Exec;
                if let Value::ServerError(error) = value {
                    errors.push((step, error));
                    return is_exec.then(|| Replies::Refused(RefusedTransaction { errors: std::mem::take(errors) }));
                }
                // Whatever was replied before, it was carried out.
                is_exec.then(|| Replies::Many(vec![value]))
            }
            // The server refuses all of it with one error.
            Self::Confirmations(left) => {
                *left -= 1;
                (*left == 0 || matches!(value, Value::ServerError(_))).then_some(Replies::One(value))
            }
        }
    }
}

/// Whether a push confirms a command.
pub(super) fn is_confirmation(kind: &PushKind) -> bool {
    matches!(
        kind,
        PushKind::Subscribe
            | PushKind::PSubscribe
            | PushKind::SSubscribe
            | PushKind::Unsubscribe
            | PushKind::PUnsubscribe
            | PushKind::SUnsubscribe
    )
}

#[cfg(test)]
mod tests {
    use redis::Pipeline;

    use super::*;

    #[test]
    fn a_pipeline_keeps_the_replies_that_are_wanted() {
        let mut pipeline = Pipeline::new();
        (0..4).for_each(|_| {
            pipeline.cmd("PING");
        });
        let mut progress = Progress::of(Outgoing::Pipeline { pipeline: &pipeline, offset: 1, count: 3 });
        let replies: Vec<_> = (0..4).map(|n| progress.take(Value::Int(n))).collect();
        assert_eq!(replies[..3], [None, None, None]);
        assert_eq!(replies[3], Some(Replies::Many(vec![Value::Int(1), Value::Int(2), Value::Int(3)])));
    }
}
