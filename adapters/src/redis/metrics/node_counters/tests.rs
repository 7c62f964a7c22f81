use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::smol::SmolRuntime;

const LABELS: [&str; 2] = ["other", "one"];

fn counters(use_time_sampling: usize) -> NodeCounters {
    NodeCounters::new(Arc::new(SmolRuntime::new()), use_time_sampling, LABELS.len())
}

fn read(counters: &NodeCounters) -> CommandMetrics {
    counters.read(|label| String::from(LABELS[label]))
}

/// How many of 6 400 requests of two labels in turn are timed, by label.
fn timed(use_time_sampling: usize) -> [u64; 2] {
    let counters = counters(use_time_sampling);
    for number in 0..6_400 {
        let timed_from = counters.begin(RequestWay::Shared, 1);
        counters.end(RequestWay::Shared, RequestEnd::Ok, timed_from, || number % 2);
    }
    let durations = read(&counters).durations;
    LABELS.map(|label| durations.get(label).map_or(0, Histogram::count))
}

/// Seen to bite: with the number itself for its `SPREAD`, which times the first ones; with `number % 64 == 1`, which times only
/// one of the labels.
#[test]
fn requests_that_alternate_are_timed_as_often_as_each_other() {
    assert_eq!((timed(0), timed(1)), ([0, 0], [3_200, 3_200]));
    let [one, other] = timed(64);
    assert!((45..=55).contains(&one) && (45..=55).contains(&other), "{one} and {other} of 100");
}

/// Seen to bite: with the beginnings read before the ends, which shows more ends; with a load and a store in `end`.
#[test]
fn no_count_is_lost_between_threads_and_no_reader_sees_an_end_without_its_beginning() {
    // Together, and for long enough that each is interrupted by others.
    let (counters, over, start) = (counters(1), AtomicBool::new(false), Barrier::new(4));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let counts = read(&counters).exclusive;
                assert!(counts.ended.total() <= counts.begun, "{counts:?}");
            }
        });
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..100_000 {
                        let timed_from = counters.begin(RequestWay::Exclusive, 2);
                        counters.end(RequestWay::Exclusive, RequestEnd::Refused, timed_from, || 0);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("it counts"));
        over.store(true, Ordering::Relaxed);
        reader.join().expect("it reads");
    });
    let read = read(&counters);
    assert_eq!((read.exclusive.begun, read.exclusive.ended.of(RequestResult::Refused)), (400_000, 400_000));
    assert_eq!((read.exclusive.commands, read.durations.len(), read.shared), (800_000, 0, RequestCounts::default()));
}

/// Seen to bite: with a pipeline of five as one command. Guards against: a subtraction that overflows without a command.
#[test]
fn a_pipeline_is_one_request_and_as_many_commands_as_it_has() {
    let counters = counters(0);
    let unended: Vec<_> = [1, 0, 5].map(|commands| counters.begin(RequestWay::Shared, commands)).to_vec();
    let shared = read(&counters).shared;
    assert_eq!((shared.begun, shared.commands, shared.in_flight(), unended), (3, 6, 3, vec![None; 3]));
}

/// Seen to bite: with `<=` for `<` in `duration`, with `other` counted among the names.
#[test]
fn the_first_names_are_timed_apart_and_all_later_ones_as_other() {
    let counters = NodeCounters::new(Arc::new(SmolRuntime::new()), 1, 100);
    for label in (1..MOST_LABELS).chain([OTHER]).chain(MOST_LABELS..100).chain(0..100) {
        let timed_from = counters.begin(RequestWay::Shared, 1);
        counters.end(RequestWay::Shared, RequestEnd::Ok, timed_from, || label);
    }
    let durations = counters.read(|label| label.to_string()).durations;
    let counts = |label: usize| durations.get(&label.to_string()).map(Histogram::count);
    assert_eq!(durations.len(), MOST_LABELS);
    assert!((1..MOST_LABELS).all(|label| counts(label) == Some(2)), "{durations:?}");
    assert_eq!((counts(OTHER), counts(MOST_LABELS)), (Some(200 - 2 * 32), None));
}
