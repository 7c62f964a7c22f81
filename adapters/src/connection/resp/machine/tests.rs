//! The machine beside a model of a server that answers whole commands in order, and its rules one by one.

use std::collections::VecDeque;

use redis::{Cmd, Pipeline};
use redis_manager_core::testing::SeededRng;

use super::super::answer::{Replies, TransactionStep};
use super::super::model::{StoryPlan, StorySeen, echo, run_story};
use super::super::parser::ReplyLimits;
use super::super::protocol_error::ProtocolError;
use super::*;

const LIMITS: WireLimits =
    WireLimits { reply: ReplyLimits { max_bytes: 1 << 20, max_depth: 10 }, in_flight: 4, unsent: 200, kept_buffer: 1_000 };

fn wide() -> WireLimits {
    WireLimits { in_flight: 1_000, unsent: 1 << 20, ..LIMITS }
}

fn bulk(word: &str) -> Value {
    Value::BulkString(word.as_bytes().to_vec())
}

fn send(machine: &mut Machine, request: Outgoing<'_>) -> RequestId {
    let id = machine.begin();
    match machine.send(id, request) {
        Sending::Waits(id) => id,
        other @ (Sending::InLine(_) | Sending::Unanswered) => panic!("its reply is waited for: {other:?}"),
    }
}

/// Sends a command, and has all of it written.
fn ask(machine: &mut Machine, cmd: &Cmd) -> RequestId {
    let id = send(machine, Outgoing::Command(cmd));
    write_all(machine);
    id
}

fn write_all(machine: &mut Machine) {
    machine.wrote(machine.unsent().len());
}

fn answered(value: Value) -> Result<RequestOutcome, RequestId> {
    Ok(RequestOutcome::Answered(Replies::One(value)))
}

/// Guards against: a fate by the bytes of the whole pipeline, or by its first byte; replies to the one who has left given to the
/// next one; room that is not given on when a caller leaves the line.
#[test]
fn every_reply_belongs_to_its_request_and_every_fate_is_exact() {
    let mut seen = StorySeen::default();
    for seed in 0..3_000 {
        let mut rng = SeededRng::new(seed);
        let choose = &mut |count| rng.index(count);
        seen.add(&run_story(&StoryPlan::chosen(choose), 120, choose));
    }
    let StorySeen { answered, unbegun, unsent, maybe_executed } = seen;
    assert!(answered > 5_000 && unbegun.min(unsent).min(maybe_executed) > 500, "{seen:?}");
}

/// Guards against: a look at the flags only after a whole value.
#[test]
fn data_that_no_request_has_asked_for_is_a_fault_at_its_first_byte() {
    let mut machine = Machine::new(wide());
    assert_eq!(machine.receive(b"$"), Err(StreamFault::Unasked(b'$')));
    let mut machine = Machine::new(wide());
    let id = ask(&mut machine, &echo("a"));
    assert_eq!(machine.receive(b"$1\r\na\r\n+"), Err(StreamFault::Unasked(b'+')), "two replies for one request");
    assert_eq!(machine.take_outcome(id), answered(bulk("a")), "the first one counts");
    let mut machine = Machine::new(wide());
    machine.set_open_ended(true);
    assert_eq!(machine.receive(b"+late\r\n>2\r\n+invalidate\r\n_\r\n"), Ok(()));
    assert_eq!((machine.kept_pushes(), machine.received().has_reply_since(ReceivedMark::default())), (0, false));
}

/// Guards against: the bytes of a request not looked at.
#[test]
fn a_reply_before_its_request_was_written_is_a_fault() {
    let mut machine = Machine::new(wide());
    let id = send(&mut machine, Outgoing::Command(&echo("a")));
    assert_eq!(machine.receive(b"+OK\r\n"), Err(StreamFault::Early));
    machine.end();
    assert_eq!(machine.take_outcome(id), Ok(RequestOutcome::Ended(RequestFate::Unsent)));
    // An error may come before the rest of a large request.
    let mut machine = Machine::new(wide());
    let id = send(&mut machine, Outgoing::Command(&echo("a")));
    machine.wrote(1);
    assert_eq!(machine.receive(b"-ERR Protocol error\r\n"), Err(StreamFault::Early), "what follows is not understood");
    assert!(matches!(machine.take_outcome(id), Ok(RequestOutcome::Answered(Replies::One(Value::ServerError(_))))));
}

#[test]
fn what_cannot_be_read_is_a_fault() {
    let mut machine = Machine::new(wide());
    let first = ask(&mut machine, &echo("a"));
    let second = ask(&mut machine, &echo("b"));
    let fault = machine.receive(b"$1\r\na\r\n?");
    assert_eq!(fault, Err(StreamFault::Protocol(ProtocolError::UnknownType { byte: b'?' })));
    machine.end();
    assert_eq!(machine.take_outcome(first), answered(bulk("a")), "it came before");
    assert_eq!(machine.take_outcome(second), Ok(RequestOutcome::Ended(RequestFate::MaybeExecuted)));
}

/// Guards against: a caller that begins later and is admitted while others wait.
#[test]
fn beyond_the_bounds_callers_wait_in_order() {
    let mut machine = Machine::new(LIMITS);
    let mut sent: VecDeque<_> = (0..4).map(|_| ask(&mut machine, &echo("a"))).collect();
    let (second, third) = (machine.begin(), machine.begin());
    assert!(!machine.is_admitted(&second) && !machine.is_admitted(&third));
    assert_eq!(machine.receive(b"$1\r\na\r\n"), Ok(()));
    let ready: Vec<_> = std::iter::from_fn(|| machine.poll_ready()).collect();
    assert!(ready.contains(&second.index()) && ready.contains(&sent[0].index()) && ready.len() == 2, "{ready:?}");
    assert!(machine.is_admitted(&second) && !machine.is_admitted(&third));
    assert!(machine.take_outcome(sent.pop_front().expect("four")).is_ok());
    let fourth = machine.begin();
    machine.leave(second);
    assert!(machine.is_admitted(&third) && !machine.is_admitted(&fourth), "what was given to one who leaves goes to the next");
    machine.leave(fourth);
    machine.leave(third);
    sent.into_iter().for_each(|id| machine.leave(id));
    assert_eq!(machine.in_flight(), 3, "the replies to those that have left are still to come");
    assert_eq!(machine.receive(b"+1\r\n+2\r\n+3\r\n"), Ok(()));
    assert_eq!(machine.in_flight(), 0);
    // By bytes: one request may be larger.
    let mut machine = Machine::new(LIMITS);
    let large = send(&mut machine, Outgoing::Command(&echo(&"x".repeat(1_000))));
    let next = machine.begin();
    assert!(!machine.is_admitted(&next));
    machine.wrote(900);
    assert!(machine.is_admitted(&next), "less than the bound is left");
    machine.leave(large);
    machine.leave(next);
}

/// Guards against: room that is given to all who wait, whatever they send; a place at the end of the line for one who comes too
/// late for the room; those who have left and are never forgotten.
#[test]
fn those_in_line_take_no_more_than_the_bound_and_keep_their_places() {
    let mut machine = Machine::new(WireLimits { in_flight: 1_000, ..LIMITS });
    let large = echo(&"x".repeat(150));
    let mut open: Vec<_> = (0..100).map(|_| machine.begin()).collect();
    let mut sent = 0;
    while sent < 100 {
        let before = sent;
        // The last ones that have room come first.
        let mut left: Vec<_> = Vec::new();
        for id in open.drain(..).rev() {
            if !machine.is_admitted(&id) {
                left.push(id);
                continue;
            }
            match machine.send(id, Outgoing::Command(&large)) {
                Sending::Waits(id) => {
                    sent += 1;
                    machine.leave(id);
                }
                Sending::InLine(id) => left.push(id),
                Sending::Unanswered => panic!("its reply is waited for"),
            }
            assert!(machine.unsent().len() < LIMITS.unsent + 200, "{} bytes", machine.unsent().len());
        }
        left.reverse();
        open = left;
        write_all(&mut machine);
        assert!(sent > before, "a caller has room");
    }
    // Those who leave the line take no memory.
    let _large = send(&mut machine, Outgoing::Command(&echo(&"x".repeat(1_000))));
    for _ in 0..10_000 {
        let id = machine.begin();
        machine.leave(id);
    }
    assert!(machine.entries.len() < 200, "{} entries", machine.entries.len());
}

/// Guards against: tables that are as long as the largest crowd was, whether its replies come first or its callers leave first.
#[test]
fn a_crowd_that_has_gone_leaves_no_tables_behind() {
    for leaves_first in [false, true] {
        let mut machine = Machine::new(WireLimits { in_flight: 3_000, ..wide() });
        let crowd: Vec<_> = (0..3_000).map(|_| send(&mut machine, Outgoing::Command(&echo("a")))).collect();
        write_all(&mut machine);
        let reply = |machine: &mut Machine| assert_eq!(machine.receive(&b"$1\r\na\r\n".repeat(3_000)), Ok(()));
        if leaves_first {
            crowd.into_iter().for_each(|id| machine.leave(id));
            reply(&mut machine);
        } else {
            reply(&mut machine);
            crowd.into_iter().for_each(|id| assert_eq!(machine.take_outcome(id), answered(bulk("a"))));
        }
        assert_eq!((machine.entries.capacity(), machine.free.capacity(), machine.ready.capacity()), (0, 0, 0));
        let id = ask(&mut machine, &echo("b"));
        assert_eq!(machine.receive(b"$1\r\nb\r\n"), Ok(()));
        assert_eq!(machine.take_outcome(id), answered(bulk("b")));
    }
}

/// Guards against: a slot that is kept for a reply that nobody waits for; one that is not.
#[test]
fn a_request_without_response_is_answered_for_nobody() {
    let mut machine = Machine::new(wide());
    let mut silent = echo("nobody");
    silent.set_no_response(true);
    let id = machine.begin();
    assert!(matches!(machine.send(id, Outgoing::Command(&silent)), Sending::Unanswered));
    let id = ask(&mut machine, &echo("a"));
    assert_eq!(machine.receive(b"$6\r\nnobody\r\n$1\r\na\r\n"), Ok(()));
    assert_eq!(machine.take_outcome(id), answered(bulk("a")));
}

/// Guards against: pushes that answer any request; confirmations that are not counted; an error that answers only one of several.
#[test]
fn subscriptions_are_confirmed_by_pushes_and_other_pushes_go_aside() {
    let mut machine = Machine::new(wide());
    machine.listen();
    let subscribe = redis::cmd("SUBSCRIBE").arg("a").arg("b").clone();
    let request = Outgoing::Subscription { cmd: &subscribe, confirmations: 2 };
    let (before, id) = (ask(&mut machine, &echo("x")), send(&mut machine, request));
    write_all(&mut machine);
    let message = b">3\r\n+message\r\n+a\r\n+hello\r\n";
    let confirmed = |name: &str| format!(">3\r\n+subscribe\r\n+{name}\r\n:1\r\n").into_bytes();
    assert_eq!(machine.receive(&confirmed("other")), Ok(()), "no request of ours is confirmed by it");
    assert_eq!(machine.receive(b"$1\r\nx\r\n"), Ok(()));
    assert_eq!(machine.take_outcome(before), answered(bulk("x")));
    assert_eq!(machine.receive(&[&confirmed("a")[..], message].concat()), Ok(()));
    let id = machine.take_outcome(id).expect_err("one is missing");
    assert_eq!(machine.receive(&confirmed("b")), Ok(()));
    assert!(matches!(machine.take_outcome(id), Ok(RequestOutcome::Answered(Replies::One(Value::Push { .. })))));
    let pushes: Vec<_> = std::iter::from_fn(|| machine.poll_push()).map(|push| push.kind).collect();
    assert_eq!(pushes, [PushKind::Subscribe, PushKind::Message]);
    let id = send(&mut machine, request);
    write_all(&mut machine);
    assert_eq!(machine.receive(b"-NOPERM no\r\n"), Ok(()));
    assert!(matches!(machine.take_outcome(id), Ok(RequestOutcome::Answered(Replies::One(Value::ServerError(_))))));
}

/// Guards against: the number of a reply taken for that of its command; an EXEC that is not looked at; a transaction that stays
/// open under the requests behind it; one that counts as open after a redirection.
#[test]
fn a_refused_transaction_says_which_of_its_commands_was_refused() {
    let rows: [(&str, TransactionStep, &str); 6] = [
        ("-NOPERM no\r\n$1\r\na\r\n$1\r\nb\r\n-ERR EXEC without MULTI\r\n", TransactionStep::Multi, "MULTI, so that"),
        (
            "+OK\r\n-ERR first\r\n+QUEUED\r\n-EXECABORT x\r\n",
            TransactionStep::Command(0),
            "command 1 (ECHO) because of: ERR first",
        ),
        (
            "+OK\r\n+QUEUED\r\n-LOADING no\r\n-EXECABORT x\r\n",
            TransactionStep::Command(1),
            "command 2 (ECHO) because of: LOADING no",
        ),
        ("+OK\r\n+QUEUED\r\n+QUEUED\r\n-NOPERM exec\r\n", TransactionStep::Exec, "EXEC because of: NOPERM exec"),
        ("-NOPERM no\r\n$1\r\na\r\n$1\r\nb\r\n-NOPERM no\r\n", TransactionStep::Multi, "MULTI, so that"),
        ("+OK\r\n+QUEUED\r\n+QUEUED\r\n-MOVED 7 a:1\r\n", TransactionStep::Exec, "EXEC because of: MOVED 7 a:1"),
    ];
    let mut pipeline = Pipeline::new();
    pipeline.atomic().add_command(echo("a")).add_command(echo("b"));
    let request = Outgoing::Pipeline { pipeline: &pipeline, offset: 3, count: 1 };
    for (replies, step, words) in rows {
        let mut machine = Machine::new(wide());
        let id = send(&mut machine, request);
        write_all(&mut machine);
        let stays_open = words.contains("NOPERM exec");
        let fault = if stays_open { Err(StreamFault::OpenTransaction) } else { Ok(()) };
        assert_eq!(machine.receive(replies.as_bytes()), fault, "{replies}");
        let Ok(RequestOutcome::Answered(answer)) = machine.take_outcome(id) else { panic!("{replies}: it is not answered") };
        let Replies::Refused(refused) = &answer else { panic!("{replies}: {answer:?}") };
        assert_eq!(refused.errors[0].0, step, "{replies}");
        let error = answer.into_values(request).expect_err("it was refused");
        assert_eq!(error.code(), Some("EXECABORT"), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    // A proxy that carries out what is left of it.
    let mut machine = Machine::new(wide());
    let id = send(&mut machine, request);
    write_all(&mut machine);
    assert_eq!(machine.receive(b"+OK\r\n-ERR first\r\n+QUEUED\r\n*1\r\n+b\r\n"), Ok(()));
    assert!(matches!(machine.take_outcome(id), Ok(RequestOutcome::Answered(Replies::Many(_)))));
}
