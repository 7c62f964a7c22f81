//! Small scope, all of it: every sequence of up to nine operations, on the node's state and on the reference model.
//!
//! Sequences are not run one by one: two that lead to the same state have the same futures, so only one of them is
//! extended, and the other is counted. That is sound because the state is the whole of it: the node's state as its `Debug`
//! text shows it, the model, and the tokens that are held, read through a [`sketch`] that forgets only what no rule
//! looks at. A field that is added to the node's state later is part of the text by itself. A node's state cannot be copied, so each
//! sequence is played again from the start; all but its last operation have been compared before.
//!
//! Seen to bite, each with the shortest sequence there is (seconds with the debug build; 3 operations take 0.1):
//! a cancel that keeps its grant (3); a grant that is not revoked at its deadline (3) or wakes nobody (2); no grant in
//! `dispatch` (2); a place taken again at the end of the queue (5, 0.8 s); a closing socket that is not counted (3); a
//! cut-off that is not armed again (8, 2.0 s); distrust that leaves out what is on loan (6, 2.1 s); a connection that
//! died on loan and is lent again (5); a cancelled wait that keeps its deadline (3); a permanent failure that is told to
//! nobody (4); a ramp that begins wide open (8, 5.2 s); a queue that loses its tail (3); force that spares loans (5); a
//! death at birth without back-off (3).

use std::collections::HashMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::model::{BEAT, Scope, Word};
use super::op::Op;
use super::pair::Pair;
use crate::state::ConnId;
use crate::time::Instant;

/// How many waiters there may be at once.
const WAITERS: usize = 3;

/// What pools are for: nine of these in a row.
const LENDING: &[Op] = &[
    Op::Acquire { beats: 1 },
    Op::Acquire { beats: 2 },
    Op::Cancel(0),
    Op::Cancel(usize::MAX),
    Op::Collect(0),
    Op::Release(0, Word::Sound),
    Op::Release(0, Word::Broken),
    Op::Connected(0),
    Op::ConnectFailed(0),
    Op::DiedIdle(0),
    Op::Pass,
    Op::Close { beats: 2 },
];

/// And all that can happen besides: fewer in a row.
const ALL: &[Op] = &[
    Op::Acquire { beats: 1 },
    Op::Acquire { beats: 2 },
    Op::Try,
    Op::Cancel(0),
    Op::Cancel(usize::MAX),
    Op::Collect(0),
    Op::Collect(usize::MAX),
    Op::Refuse(0),
    Op::Release(0, Word::Sound),
    Op::Release(usize::MAX, Word::Sound),
    Op::Release(0, Word::Broken),
    Op::Release(0, Word::Silent),
    Op::Release(0, Word::Soiled),
    Op::NotReady(0),
    Op::Outdated(0),
    Op::PutBack(0),
    Op::Connected(0),
    Op::ConnectFailed(0),
    Op::ConnectRefused(0),
    Op::Checked(0, Word::Sound),
    Op::Checked(0, Word::Broken),
    Op::Checked(0, Word::Silent),
    Op::Closed(0),
    Op::DiedIdle(0),
    Op::DiedGranted(0),
    Op::DiedOut(0),
    Op::Pass,
    Op::Drowse,
    Op::Close { beats: 1 },
];

/// A start of its own, since it is far from nothing: both connections are on loan.
const BOTH_OUT: &[Op] = &[Op::Connected(0), Op::Connected(0), Op::Acquire { beats: 1 }, Op::Acquire { beats: 1 }];

/// A state: a shortest sequence that leads to it, and where each operation leads from it.
struct SearchState {
    by: Vec<Op>,
    possible: Vec<Op>,
    leads_to: Vec<usize>,
}

struct Search {
    scope: Scope,
    ops: &'static [Op],
}

impl Search {
    /// Covers every sequence of up to `length` operations after those of `before`; how many there are.
    fn run(scope: Scope, before: &[Op], ops: &'static [Op], length: usize) -> u64 {
        let search = Self { scope, ops };
        let start = search.play(before);
        let full = before.len() + length;
        let mut known = HashMap::from([(search.state(&start), 0)]);
        let mut states = vec![SearchState { by: before.to_vec(), possible: search.possible(&start), leads_to: Vec::new() }];
        let mut next = 0;
        while next < states.len() && states[next].by.len() < full {
            for op in states[next].possible.clone() {
                let sequence: Vec<_> = states[next].by.iter().copied().chain([op]).collect();
                let pair = search.play(&sequence);
                // Where the last operation leads does not matter.
                let reached = if sequence.len() == full {
                    0
                } else {
                    *known.entry(search.state(&pair)).or_insert_with(|| {
                        states.push(SearchState { by: sequence, possible: search.possible(&pair), leads_to: Vec::new() });
                        states.len() - 1
                    })
                };
                states[next].leads_to.push(reached);
            }
            next += 1;
        }
        let sequences = count(&states, length);
        println!("{scope:?}: {sequences} sequences of up to {length} operations, {} states", states.len());
        sequences
    }

    /// What can happen next.
    fn possible(&self, pair: &Pair) -> Vec<Op> {
        // One more may ask when all of them queue: it is told that the queue is full.
        let has_waiters = pair.waiters.len() >= WAITERS && pair.model.queued() < WAITERS;
        let is_acquire = |op: &Op| matches!(op, Op::Acquire { .. });
        self.ops.iter().copied().filter(|op| pair.allows(*op) && !(has_waiters && is_acquire(op))).collect()
    }

    /// Plays a sequence from the start and compares all after its last operation.
    fn play(&self, sequence: &[Op]) -> Pair {
        let played = catch_unwind(AssertUnwindSafe(|| {
            let mut pair = Pair::new(self.scope, 7);
            sequence.iter().for_each(|op| pair.apply(*op));
            pair.compare();
            pair
        }));
        played.unwrap_or_else(|_| panic!("the shortest sequence that goes wrong: {sequence:?} with {:?}", self.scope))
    }

    /// The whole state: state, model and tokens.
    fn state(&self, pair: &Pair) -> String {
        let state = &pair.bench.state;
        let slot = |id: ConnId| (id.slot(), state.connections.get(id).is_some());
        let waiters: Vec<_> = pair.waiters.iter().map(|(n, id)| (n, id.slot(), state.queue.position(*id).is_some())).collect();
        let loans: Vec<_> = pair.loans.iter().map(|loan| (loan.conn, slot(loan.id))).collect();
        let connects: Vec<_> = pair.connects.iter().map(|ticket| slot(ticket.id)).collect();
        let checks: Vec<_> = pair.checks.iter().map(|checkup| (checkup.conn, slot(checkup.id))).collect();
        // In their order, without those that have ended; the records say since when.
        let is_under_way =
            |(at, id): &&(Instant, ConnId)| state.connections.get(*id).is_some_and(|meta| meta.entered_at() == *at);
        let began: Vec<_> = state.closes.iter().filter(is_under_way).map(|(_, id)| id.slot()).collect();
        let closes: Vec<_> = pair.closes.iter().map(|(closing, conn)| (conn, closing.id.map(slot))).collect();
        assert!(!state.has_actions(), "all orders were taken");
        let mut text = String::new();
        let dialer = format!("{:?}", state.dialer);
        // Behind it are constants, lengths of dials, and words.
        let gate = dialer.split_once("backoff").expect("a field of that name").0;
        write!(text, "{:?}{:?}{gate}", state.connections, state.queue).expect("a string takes all");
        write!(
            text,
            "{:?}{began:?}{:?}{:?}{:?}{}",
            state.deadlines,
            state.trust,
            state.closes.lifecycle(),
            state.dialer.has_met_server(),
            state.dialer.is_refused_for_good()
        )
        .expect("a string takes all");
        write!(text, "{:?}{waiters:?}{loans:?}{connects:?}{checks:?}{closes:?}", pair.model).expect("a string takes all");
        sketch(&text, pair.bench.now, state.trust.epoch(), state.trust.server_generation())
    }
}

/// How many sequences of up to `length` operations start at the first state.
fn count(states: &[SearchState], length: usize) -> u64 {
    let mut sequences = 0;
    let mut ways = vec![0; states.len()];
    ways[0] = 1;
    for _ in 0..length {
        let mut further = vec![0; states.len()];
        for (state, ways) in states.iter().zip(&ways) {
            sequences += ways * state.leads_to.len() as u64;
            state.leads_to.iter().for_each(|to| further[*to] += ways);
        }
        ways = further;
    }
    sequences
}

/// What matters of a text.
///
/// Forgotten are numbers that only say which of several was first (generations, arrivals: slots and lists say it, too);
/// what the settings of [`Pair`] make irrelevant (how long dials took, how often they failed, since when something idles);
/// how far back the past lies; and the time within a beat, as nothing looks at it.
fn sketch(text: &str, now: Instant, trust_epoch: u64, generation: u64) -> String {
    let mut sketch = String::with_capacity(text.len());
    let (mut rest, mut key, mut is_closing) = (text, "", false);
    while let Some(start) = rest.bytes().position(|byte| byte.is_ascii_digit()) {
        let (words, numbers) = rest.split_at(start);
        sketch.push_str(words);
        if let Some((before, _)) = words.rsplit_once(": ") {
            key = before.rsplit(' ').next().unwrap_or(before);
        }
        let end = numbers.find(|c: char| !c.is_alphanumeric() && c != '.').unwrap_or(numbers.len());
        let number = &numbers[..end];
        rest = &numbers[end..];
        match key {
            "epoch" | "generation" | "arrival" | "arrivals" | "idle_since" | "timeouts" => {}
            "trust_epoch" => {
                is_closing = words.contains("phase: Closing");
                sketch.push(if number.parse() == Ok(trust_epoch) { '=' } else { '<' });
            }
            "server_generation" => sketch.push(if number.parse() == Ok(generation) { '=' } else { '<' }),
            "entered_at" if !is_closing => {}
            "failures" => sketch.push(if number == "0" { '0' } else { '+' }),
            _ => match instant(number) {
                Some(at) if at < now => sketch.push('<'),
                Some(at) => sketch.push(beats(at, now)),
                None => sketch.push_str(number),
            },
        }
    }
    sketch.push_str(rest);
    sketch
}

/// In which beat from now; a letter, so that it is no count.
fn beats(at: Instant, now: Instant) -> char {
    let beats = at.saturating_duration_since(now).as_nanos().div_ceil(BEAT.as_nanos());
    char::from(b'A' + u8::try_from(beats.min(9)).expect("at most 9"))
}

fn instant(number: &str) -> Option<Instant> {
    let unit = number.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let nanos = match &number[unit..] {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    let value: f64 = number[..unit].parse().ok()?;
    Some(Instant::from_nanos((value * nanos).round() as u64))
}

fn scope(limit: usize) -> Scope {
    Scope { limit, min_idle: 0, max_waiters: WAITERS, fail_fast: false }
}

// The numbers are there so that the search cannot shrink unnoticed.

#[test]
fn every_short_sequence_agrees_with_the_model_when_one_may_be_out() {
    assert!(Search::run(scope(1), &[], LENDING, 9) >= 5_000_000);
}

#[test]
fn every_short_sequence_agrees_with_the_model_when_two_may_be_out() {
    assert!(Search::run(scope(2), &[], LENDING, 9) >= 9_000_000);
}

#[test]
fn every_shorter_sequence_of_all_there_is_agrees_with_the_model() {
    assert!(Search::run(scope(1), &[], ALL, 6) >= 280_000);
    assert!(Search::run(scope(2), &[], ALL, 6) >= 310_000);
    let busy = Scope { min_idle: 2, fail_fast: true, ..scope(2) };
    assert!(Search::run(busy, BOTH_OUT, ALL, 5) >= 288_000);
}
