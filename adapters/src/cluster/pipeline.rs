//! Pipelines and transactions on their way to one node, and to another where their keys have moved: each part is carried out
//! once.

use redis::{Cmd, Pipeline, RedisResult, ServerError, ServerErrorKind, Value};

use crate::cluster::nodes::Cluster;
use crate::cluster::redirection::{Redirection, note_moved, read_redirection, tell};
use crate::cluster::retry::elsewhere;
use crate::cluster::routed_client::in_part;
use crate::cluster::wire::{Wire, behind_asking, note_refusal, spare};
use crate::connection::resp::answer::{Replies, TransactionStep};
use crate::connection::resp::request::Outgoing;
use crate::redis_node::CommandProfile;

/// A pipeline of which some commands may have been executed.
struct PipelineProgress<'a> {
    commands: Vec<&'a Cmd>,
    /// One for each command; for one that is left, the reason.
    values: Vec<Value>,
    /// Commands that were not executed yet, in order.
    left: Vec<usize>,
}

/// How the remaining commands continue.
enum NextStep {
    Nothing,
    /// They are sent again, there.
    Wait,
    /// All of them, and none was executed: the redis crate handles it.
    Return,
    /// A part of them goes to another node; behind ASKING if set.
    Follow {
        to: String,
        asking: bool,
    },
}

impl<'a> PipelineProgress<'a> {
    fn new(pipeline: &'a Pipeline) -> Self {
        let commands: Vec<_> = pipeline.cmd_iter().collect();
        Self { values: vec![Value::Nil; commands.len()], left: (0..commands.len()).collect(), commands }
    }

    fn has_begun(&self) -> bool {
        self.left.len() < self.commands.len()
    }

    /// Notes the answers to the remaining commands.
    fn book(&mut self, cluster: &Cluster, answers: Vec<Value>) -> NextStep {
        let (mut waits, mut left) = (false, Vec::new());
        for (index, value) in std::mem::take(&mut self.left).into_iter().zip(answers) {
            let refusal = Redirection::of(self.commands[index], &value);
            waits |= refusal == Some(Redirection::NotNow);
            self.values[index] = if refusal.is_some() {
                note_refusal(cluster, &value);
                left.push(index);
                value
            } else {
                spare(value)
            };
        }
        self.left = left;
        let Some(Value::ServerError(error)) = self.left.first().map(|index| &self.values[*index]) else {
            return NextStep::Nothing;
        };
        match read_redirection(error) {
            _ if waits => NextStep::Wait,
            _ if !self.has_begun() => NextStep::Return,
            Some((_, to)) => NextStep::Follow { to: String::from(to), asking: error.kind() == Some(ServerErrorKind::Ask) },
            None => NextStep::Nothing,
        }
    }

    /// The answers, from `offset` on; for the remaining commands, the errors as they are.
    fn end(mut self, offset: usize) -> Vec<Value> {
        for index in self.left {
            let value = std::mem::replace(&mut self.values[index], Value::Nil);
            self.values[index] = tell(value);
        }
        self.values.drain(..offset.min(self.values.len()));
        self.values
    }
}

impl Wire {
    /// Sends all of it; then, while there is time, the refused commands to their new nodes. The redis crate would send all of
    /// it again.
    pub(crate) async fn send_pipeline(
        &mut self,
        cluster: &Cluster,
        pipeline: &Pipeline,
        offset: usize,
    ) -> RedisResult<Vec<Value>> {
        let mut attempt = self.attempt(cluster, |session| CommandProfile::of_pipeline(pipeline, session));
        let mut progress = PipelineProgress::new(pipeline);
        let mut asking = self.take_asking();
        let mut other: Option<Self> = None;
        let mut redirections = 0;
        loop {
            let is_whole = !progress.has_begun() && !asking;
            let rest = (!is_whole).then(|| progress.rest(asking));
            let pipeline = rest.as_ref().unwrap_or(pipeline);
            let parcel = Outgoing::whole(pipeline);
            let wire = other.as_mut().unwrap_or(self);
            // Once a part was executed, the redis crate must not send it again: the rest follows the redirection.
            let bound = asking || progress.has_begun();
            let sent = match wire.send_once(cluster, parcel, &attempt, bound).await {
                Ok(sent) => sent.ok_or_else(|| elsewhere(cluster, None))?,
                Err(error) if progress.has_begun() => return Err(in_part(error)),
                Err(error) => return Err(error),
            };
            let sent = sent.into_values(parcel)?;
            let answers = if asking { sent.into_iter().skip(1).step_by(2).collect() } else { sent };
            match progress.book(cluster, answers) {
                NextStep::Nothing => return Ok(progress.end(offset)),
                NextStep::Return => return Ok(progress.values),
                NextStep::Wait => {
                    if !attempt.pause(cluster).await {
                        return Ok(progress.end(offset));
                    }
                }
                NextStep::Follow { to, asking: asks } => {
                    redirections += 1;
                    if redirections > cluster.setup.cluster_args.retries || cluster.runtime().now() >= attempt.begin_by {
                        return Ok(progress.end(offset));
                    }
                    other = Some(Self::to(cluster, &to).map_err(in_part)?);
                    asking = asks;
                }
            }
        }
    }

    /// Sends until it is executed or finally refused. A transaction that was refused because its slot has moved was not
    /// executed, so the redis crate may send it to the new node.
    pub(crate) async fn send_transaction(
        &mut self,
        cluster: &Cluster,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let asking = self.take_asking();
        let led = asking.then(|| transaction_behind_asking(pipeline));
        let parcel = match &led {
            // All replies but the first: a refusal is reported when the command is queued.
            Some(led) => Outgoing::Pipeline { pipeline: led, offset: 1, count: led.len() - 1 },
            None => Outgoing::Pipeline { pipeline, offset, count },
        };
        let mut attempt = self.attempt(cluster, |session| CommandProfile::of_pipeline(pipeline, session));
        loop {
            let sent = match self.send_once(cluster, parcel, &attempt, asking).await {
                Ok(sent) => Ok(sent.ok_or_else(|| elsewhere(cluster, None))?),
                Err(error) => Err(error),
            };
            let Some(refused) = refusal_of_transaction(&sent) else { return shown(sent, parcel, offset, count) };
            note_moved(cluster, &refused);
            let may_wait = Redirection::of_error(&refused) == Some(Redirection::NotNow);
            if !may_wait {
                return Ok(vec![Value::ServerError(refused)]);
            }
            if !attempt.pause(cluster).await {
                return Ok(vec![tell(Value::ServerError(refused))]);
            }
        }
    }
}

impl PipelineProgress<'_> {
    /// The remaining commands, as they are sent.
    fn rest(&self, asking: bool) -> Pipeline {
        let left = self.left.iter().map(|index| self.commands[*index]);
        if asking {
            return behind_asking(left);
        }
        let mut rest = Pipeline::new();
        for cmd in left {
            rest.add_command(cmd.clone());
        }
        rest
    }
}

/// ASKING holds for all of a transaction.
fn transaction_behind_asking(pipeline: &Pipeline) -> Pipeline {
    let mut led = Pipeline::new();
    led.cmd("ASKING").cmd("MULTI");
    for cmd in pipeline.cmd_iter() {
        led.add_command(cmd.clone());
    }
    led.cmd("EXEC");
    led
}

/// Why a transaction must be sent again, to the same or another node. `None` if it was executed, or fails on every node.
fn refusal_of_transaction(sent: &RedisResult<Replies>) -> Option<ServerError> {
    let errors: Vec<&ServerError> = match sent.as_ref().ok()? {
        // Behind ASKING. The last one is the answer to EXEC: anything but an error means that it was executed, or that a
        // watched key has changed.
        // If MULTI was refused, what follows it was carried out.
        Replies::Many(values) if matches!(values.first(), Some(Value::ServerError(_))) => return None,
        Replies::Many(values) if matches!(values.last(), Some(Value::ServerError(_))) => {
            values.iter().filter_map(error_of).collect()
        }
        Replies::Many(_) | Replies::One(_) => return None,
        Replies::Refused(refused) if refused.errors.iter().any(|(step, _)| *step == TransactionStep::Multi) => return None,
        Replies::Refused(refused) => refused.errors.iter().map(|(_, error)| error).collect(),
    };
    errors.into_iter().find(|error| Redirection::of_error(error).is_some()).cloned()
}

fn error_of(value: &Value) -> Option<&ServerError> {
    if let Value::ServerError(error) = value { Some(error) } else { None }
}

/// The requested answers; those behind an ASKING are all there.
fn shown(sent: RedisResult<Replies>, parcel: Outgoing<'_>, offset: usize, count: usize) -> RedisResult<Vec<Value>> {
    let values = sent?.into_values(parcel)?;
    Ok(if parcel.is_transaction() { values } else { values.into_iter().skip(offset).take(count).collect() })
}
