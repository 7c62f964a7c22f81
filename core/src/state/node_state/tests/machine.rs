//! Long random histories on a node's state and on the reference model; a history that goes wrong is shrunk to a short one.
//!
//! What [`exhaustive`](super::exhaustive) cannot reach: many connections, a long queue, two hundred operations.
//! Seen to kill all the breaks that are listed there, most of them in 0.3 s (but for the wait that keeps its deadline,
//! on which the node's state loops for ever).

use proptest::prelude::{Strategy, any};
use proptest::prop_oneof;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::model::{Scope, Word};
use super::op::Op;
use super::pair::Pair;

fn scope() -> impl Strategy<Value = Scope> {
    (1..6_usize, 0..4_usize, 1..8_usize, any::<bool>()).prop_map(|(limit, min_idle, max_waiters, fail_fast)| Scope {
        limit,
        min_idle: min_idle.min(limit),
        max_waiters,
        fail_fast,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let nth = || 0..6_usize;
    let lending = prop_oneof![
        6 => (0..5_u32).prop_map(|beats| Op::Acquire { beats }),
        1 => nth().prop_map(|_| Op::Try),
        2 => nth().prop_map(Op::Cancel),
        4 => nth().prop_map(Op::Collect),
        1 => nth().prop_map(Op::Refuse),
        2 => nth().prop_map(Op::PutBack),
        2 => nth().prop_map(|n| Op::Release(n, Word::Sound)),
        1 => nth().prop_map(|n| Op::Release(n, Word::Broken)),
        1 => nth().prop_map(|n| Op::Release(n, Word::Silent)),
        2 => nth().prop_map(|n| Op::Release(n, Word::Soiled)),
        1 => nth().prop_map(Op::NotReady),
        1 => nth().prop_map(Op::Outdated),
    ];
    let serving = prop_oneof![
        6 => nth().prop_map(Op::Connected),
        2 => nth().prop_map(Op::ConnectFailed),
        1 => nth().prop_map(Op::ConnectRefused),
        3 => nth().prop_map(|n| Op::Checked(n, Word::Sound)),
        1 => nth().prop_map(|n| Op::Checked(n, Word::Broken)),
        1 => nth().prop_map(|n| Op::Checked(n, Word::Silent)),
        3 => nth().prop_map(Op::Closed),
        1 => nth().prop_map(Op::DiedIdle),
        1 => nth().prop_map(Op::DiedGranted),
        1 => nth().prop_map(Op::DiedOut),
    ];
    let time = prop_oneof![
        20 => nth().prop_map(|_| Op::Pass),
        8 => nth().prop_map(|_| Op::Drowse),
        1 => (0..4_u32).prop_map(|beats| Op::Close { beats }),
    ];
    prop_oneof![10 => lending, 10 => serving, 3 => time]
}

/// Gives every token back in the end, and nothing is left.
fn drain(pair: &mut Pair) {
    let ways_out = [
        Op::Close { beats: 2 },
        Op::Collect(0),
        Op::Release(0, Word::Sound),
        Op::Connected(0),
        Op::Checked(0, Word::Sound),
        Op::Closed(0),
    ];
    while let Some(op) = ways_out.into_iter().find(|op| pair.allows(*op)) {
        pair.apply(op);
        pair.compare();
    }
    assert!(pair.waiters.is_empty() && pair.bench.state.is_finished(), "{:?}", pair.bench.status());
}

#[test]
fn a_random_history_agrees_with_the_model_and_ends_with_nothing_left() {
    let config = Config { cases: 256, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let history = (scope(), any::<u64>(), proptest::collection::vec(op(), 1..200));
    let played = TestRunner::new_with_rng(config, seed).run(&history, |(scope, seed, ops)| {
        let mut pair = Pair::new(scope, seed);
        for op in ops {
            if pair.allows(op) {
                pair.apply(op);
                pair.compare();
            }
        }
        drain(&mut pair);
        Ok(())
    });
    played.unwrap_or_else(|failure| panic!("{failure}"));
}
