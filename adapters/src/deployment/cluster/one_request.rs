//! A request that goes to one node, in its two forms: a command, or a transaction. Sends nothing.

use redis::{Cmd, Pipeline, ServerError, Value};

use crate::connection::resp::answer::{Replies, TransactionStep};
use crate::connection::resp::request::Outgoing;
use crate::deployment::cluster::redirection::Redirection;

/// A request in its two forms.
pub(super) trait OneRequest: Sync {
    fn outgoing(&self) -> Outgoing<'_>;

    /// Behind ASKING, which holds for the next command or transaction.
    fn behind_asking(&self) -> Pipeline;

    /// Why it was not carried out here, if another node would, or this one later.
    fn redirection(&self, replies: &Replies) -> Option<Redirection>;
}

impl OneRequest for Cmd {
    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::Command(self)
    }

    fn behind_asking(&self) -> Pipeline {
        let mut led = Pipeline::new();
        led.cmd("ASKING").add_command(self.clone());
        led
    }

    #[inline]
    fn redirection(&self, replies: &Replies) -> Option<Redirection> {
        match replies {
            Replies::One(value) => Redirection::of(self, value),
            // Behind ASKING.
            Replies::Many(values) => values.last().and_then(|value| Redirection::of(self, value)),
            Replies::Refused(_) => None,
        }
    }
}

/// An atomic pipeline, of which `count` replies after the first `offset` are wanted.
pub(super) struct TransactionRequest<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) offset: usize,
    pub(super) count: usize,
}

impl OneRequest for TransactionRequest<'_> {
    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::Pipeline { pipeline: self.pipeline, offset: self.offset, count: self.count }
    }

    fn behind_asking(&self) -> Pipeline {
        let mut led = Pipeline::new();
        led.cmd("ASKING").cmd("MULTI");
        for cmd in self.pipeline.cmd_iter() {
            led.add_command(cmd.clone());
        }
        led.cmd("EXEC");
        led
    }

    fn redirection(&self, replies: &Replies) -> Option<Redirection> {
        let errors: Vec<&ServerError> = match replies {
            // Behind ASKING. The last one is the answer to EXEC: anything but an error means that it was carried out, or that a
            // watched key has changed. If MULTI was refused, what follows it was carried out.
            Replies::Many(values) if matches!(values.first(), Some(Value::ServerError(_))) => return None,
            Replies::Many(values) if matches!(values.last(), Some(Value::ServerError(_))) => {
                values.iter().filter_map(|value| if let Value::ServerError(error) = value { Some(error) } else { None }).collect()
            }
            Replies::Many(_) | Replies::One(_) => return None,
            Replies::Refused(refused) if refused.errors.iter().any(|(step, _)| *step == TransactionStep::Multi) => return None,
            Replies::Refused(refused) => refused.errors.iter().map(|(_, error)| error).collect(),
        };
        errors.into_iter().find_map(Redirection::of_error)
    }
}
