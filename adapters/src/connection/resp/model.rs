//! The machine beside a model of a server that answers whole commands in order. For tests, and for fuzzing.

use std::collections::VecDeque;

use redis::{Cmd, Pipeline, Value};

use super::answer::{Replies, RequestFate, RequestOutcome};
use super::machine::{Machine, RequestId, Sending};
use super::parser::ReplyLimits;
use super::request::Outgoing;
use super::wire_limits::WireLimits;

/// What a story of the model sends: commands that echo words, alone, in pipelines and in transactions.
pub(super) enum ChosenRequest {
    Alone(Cmd),
    Together(Pipeline),
}

impl ChosenRequest {
    fn chosen(choose: &mut dyn FnMut(usize) -> usize, number: usize) -> (Self, Vec<String>) {
        let long = "x".repeat(if choose(8) == 0 { 300 } else { choose(20) });
        let count = choose(4);
        let words: Vec<_> = (0..count.max(1)).map(|part| format!("{number}-{part}-{long}")).collect();
        if count == 0 {
            return (Self::Alone(echo(&words[0])), words);
        }
        let mut pipeline = Pipeline::new();
        if choose(2) == 0 {
            pipeline.atomic();
        }
        words.iter().for_each(|word| {
            pipeline.add_command(echo(word));
        });
        (Self::Together(pipeline), words)
    }

    fn request(&self) -> Outgoing<'_> {
        match self {
            Self::Alone(cmd) => Outgoing::Command(cmd),
            Self::Together(pipeline) if pipeline.is_transaction() => {
                Outgoing::Pipeline { pipeline, offset: pipeline.len() + 1, count: 1 }
            }
            Self::Together(pipeline) => Outgoing::whole(pipeline),
        }
    }

    fn answer(&self, words: &[String]) -> Replies {
        let values: Vec<_> = words.iter().map(|word| bulk(word)).collect();
        match self {
            Self::Alone(_) => Replies::One(values[0].clone()),
            Self::Together(pipeline) if pipeline.is_transaction() => Replies::Many(vec![Value::Array(values)]),
            Self::Together(_) => Replies::Many(values),
        }
    }
}

/// A server that carries out every command that it has got whole.
#[derive(Default)]
struct OrderedServer {
    written: usize,
    /// Where each command ends, what is answered, and the request that counts as begun with it.
    commands: VecDeque<(usize, String, Option<usize>)>,
    replies: VecDeque<u8>,
    /// Requests that were carried out, in part or as a whole.
    executed: Vec<usize>,
    ends_at: usize,
}

impl OrderedServer {
    fn note(&mut self, number: usize, sent: &ChosenRequest, words: &[String]) {
        let mut add = |length: usize, reply: String, begins: bool| {
            self.ends_at += length;
            self.commands.push_back((self.ends_at, reply, begins.then_some(number)));
        };
        let bulk_of = |word: &String| format!("${}\r\n{word}\r\n", word.len());
        let is_atomic = sent.request().is_transaction();
        if is_atomic {
            add(15, String::from("+OK\r\n"), false);
        }
        for (index, word) in words.iter().enumerate() {
            let reply = if is_atomic { String::from("+QUEUED\r\n") } else { bulk_of(word) };
            add(echo(word).get_packed_command().len(), reply, index == 0);
        }
        if is_atomic {
            let replies: String = words.iter().map(bulk_of).collect();
            add(14, format!("*{}\r\n{replies}", words.len()), false);
        }
    }

    fn take(&mut self, count: usize) {
        self.written += count;
        while self.commands.front().is_some_and(|(end, ..)| *end <= self.written) {
            let (_, reply, begun) = self.commands.pop_front().expect("it was there");
            self.replies.extend(reply.bytes());
            self.executed.extend(begun);
        }
    }
}

/// No request of the stories has more bytes.
const LARGEST: usize = 1_200;

/// A request that has begun, and what it sends once it is admitted.
struct OpenRequest {
    number: usize,
    id: RequestId,
    /// It has been admitted, and may have lost its room since.
    was_admitted: bool,
    sent: Option<(ChosenRequest, Vec<String>)>,
}

/// How the requests of a story ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StorySeen {
    pub(super) answered: usize,
    /// Not admitted before the end.
    pub(super) unbegun: usize,
    pub(super) unsent: usize,
    pub(super) maybe_executed: usize,
}

impl StorySeen {
    #[cfg(test)]
    pub(super) fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.unbegun += other.unbegun;
        self.unsent += other.unsent;
        self.maybe_executed += other.maybe_executed;
    }
}

/// What can happen next in a story.
#[derive(Clone, Copy)]
enum StoryStep {
    Begin,
    Leave,
    Write,
    Receive,
}

/// A request of the story with its words, by its number.
type RequestOfNumber = fn(&mut dyn FnMut(usize) -> usize, usize) -> (ChosenRequest, Vec<String>);

/// The bounds of a story, and what its requests are.
pub(super) struct StoryPlan {
    pub(super) limits: WireLimits,
    pub(super) request: RequestOfNumber,
}

impl StoryPlan {
    /// With bounds and requests of many sizes.
    pub(super) fn chosen(choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let limits = WireLimits {
            reply: ReplyLimits { max_bytes: 1 << 20, max_depth: 10 },
            in_flight: 1 + choose(6),
            unsent: 50 + choose(400),
            kept_buffer: 1_000,
        };
        Self { limits, request: ChosenRequest::chosen }
    }
}

/// Runs the machine for so many steps, which `choose` picks, a number below the given one each time, and then ends it. Asserts
/// that every reply belongs to its request, that requests are admitted in order, and that every fate is exact.
pub(super) fn run_story(plan: &StoryPlan, steps: usize, choose: &mut dyn FnMut(usize) -> usize) -> StorySeen {
    let limits = plan.limits;
    let (mut machine, mut server, mut seen) = (Machine::new(limits), OrderedServer::default(), StorySeen::default());
    let (mut open, mut order): (Vec<OpenRequest>, VecDeque<usize>) = Default::default();
    for number in 0..steps {
        let mut possible = vec![StoryStep::Begin];
        possible.extend((!open.is_empty()).then_some(StoryStep::Leave));
        possible.extend((!machine.unsent().is_empty()).then_some(StoryStep::Write));
        possible.extend((!server.replies.is_empty()).then_some(StoryStep::Receive));
        match possible[choose(possible.len())] {
            StoryStep::Begin => {
                order.push_back(number);
                open.push(OpenRequest { number, id: machine.begin(), was_admitted: false, sent: None });
            }
            StoryStep::Leave => {
                let left = open.swap_remove(choose(open.len()));
                order.retain(|other| *other != left.number);
                machine.leave(left.id);
            }
            StoryStep::Write => {
                let count = 1 + choose(machine.unsent().len());
                machine.wrote(count);
                server.take(count);
            }
            StoryStep::Receive => {
                let count = 1 + choose(server.replies.len());
                let bytes: Vec<u8> = server.replies.drain(..count).collect();
                machine.receive(&bytes).expect("the server is in step");
            }
        }
        open.sort_by_key(|request| request.number);
        open = std::mem::take(&mut open)
            .into_iter()
            .map(|request| send_if_admitted(request, &mut machine, &mut server, &mut order, plan, choose))
            .collect();
        while machine.poll_ready().is_some() {}
        for mut request in std::mem::take(&mut open) {
            match machine.take_outcome(request.id) {
                Ok(outcome) => {
                    let (sent, words) = request.sent.as_ref().expect("only what was sent is answered");
                    assert_eq!(outcome, RequestOutcome::Answered(sent.answer(words)), "its own reply");
                    seen.answered += 1;
                }
                Err(id) => {
                    request.id = id;
                    open.push(request);
                }
            }
        }
    }
    machine.end();
    for OpenRequest { number, id, sent, .. } in open {
        let Ok(RequestOutcome::Ended(fate)) = machine.take_outcome(id) else { panic!("M1: {number} has no fate") };
        let is_executed = server.executed.contains(&number);
        assert_eq!(fate, if is_executed { RequestFate::MaybeExecuted } else { RequestFate::Unsent }, "the fate of {number}");
        match (sent.is_some(), is_executed) {
            (false, _) => seen.unbegun += 1,
            (true, false) => seen.unsent += 1,
            (true, true) => seen.maybe_executed += 1,
        }
    }
    let late = machine.begin();
    assert_eq!(machine.take_outcome(late), Ok(RequestOutcome::Ended(RequestFate::Unsent)), "after the end");
    seen
}

fn send_if_admitted(
    mut request: OpenRequest,
    machine: &mut Machine,
    server: &mut OrderedServer,
    order: &mut VecDeque<usize>,
    plan: &StoryPlan,
    choose: &mut dyn FnMut(usize) -> usize,
) -> OpenRequest {
    if request.sent.is_none() && machine.is_admitted(&request.id) {
        if !std::mem::replace(&mut request.was_admitted, true) {
            assert_eq!(order.pop_front(), Some(request.number), "room is given in order");
        }
        if choose(2) == 1 {
            // Its caller has no turn yet.
            return request;
        }
        let (sent, words) = (plan.request)(choose, request.number);
        request.id = match machine.send(request.id, sent.request()) {
            Sending::Waits(id) => {
                server.note(request.number, &sent, &words);
                request.sent = Some((sent, words));
                id
            }
            Sending::InLine(id) => id,
            Sending::Unanswered => unreachable!("the replies of all of them are waited for"),
        };
        assert!(machine.unsent().len() < plan.limits.unsent + LARGEST, "more waits to be written than the bound and one request");
    }
    request
}

/// Runs a story that the bytes choose, and asserts what must hold of all of them.
pub fn check_connection_machine(bytes: &[u8]) {
    let mut bytes = bytes.iter();
    let steps = bytes.len().min(500);
    let choose = &mut |count| bytes.next().map_or(0, |byte| usize::from(*byte) * count / 256);
    run_story(&StoryPlan::chosen(choose), steps, choose);
}

pub(super) fn echo(word: &str) -> Cmd {
    redis::cmd("ECHO").arg(word).clone()
}

fn bulk(word: &str) -> Value {
    Value::BulkString(word.as_bytes().to_vec())
}
