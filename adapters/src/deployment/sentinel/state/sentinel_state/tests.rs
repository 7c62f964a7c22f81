//! Stories of sentinels that answer, fall silent, lie and return.

use std::collections::BTreeSet;

use super::*;
use crate::error::FailureKind;

fn place(port: u16) -> HostPort {
    HostPort::new("h", port).expect("a place")
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn says(primary: u16, epoch: u64) -> SentinelAnswer {
    let replicas = [1, 2, 3].into_iter().filter(|port| *port != primary);
    let replicas = replicas.map(|port| ReportedReplica { place: place(port), is_down: false }).collect();
    SentinelAnswer { primary: Some(place(primary)), epoch, replicas, ..SentinelAnswer::default() }
}

fn silent() -> Result<SentinelAnswer, SentinelFault> {
    Err(SentinelFault::Silent)
}

/// What has come out: the ports that are asked, and those that were published.
#[derive(Debug, Default, PartialEq, Eq)]
struct BenchOutputs {
    asked: Vec<u16>,
    published: Vec<u16>,
    forgotten: Vec<u16>,
    rounds: usize,
}

struct SentinelBench {
    state: SentinelState,
}

impl SentinelBench {
    fn new(given: &[u16]) -> Self {
        let settings =
            SentinelSettings { given: given.iter().map(|port| place(*port)).collect(), poll_interval: Duration::from_secs(10) };
        Self { state: SentinelState::new(settings, at(0)) }
    }

    /// Three that all say so.
    fn settled(primary: u16, epoch: u64) -> Self {
        let mut bench = Self::new(&[11, 12, 13]);
        bench.put(0, SentinelInput::Tick);
        for port in [11, 12, 13] {
            bench.answer(1, port, Ok(says(primary, epoch)));
        }
        assert_eq!(bench.state.primary(), Some(&place(primary)));
        bench
    }

    fn put(&mut self, millis: u64, input: SentinelInput) -> BenchOutputs {
        self.state.handle(at(millis), input);
        let mut said = BenchOutputs::default();
        while let Some(output) = self.state.poll_output() {
            match output {
                SentinelOutput::Ask(place) => said.asked.push(place.port),
                SentinelOutput::Publish { place, .. } => said.published.push(place.port),
                SentinelOutput::Forget(place) => said.forgotten.push(place.port),
                SentinelOutput::RoundEnded => said.rounds += 1,
                SentinelOutput::Listen(_) => {}
            }
        }
        said
    }

    fn answer(&mut self, millis: u64, from: u16, answer: Result<SentinelAnswer, SentinelFault>) -> BenchOutputs {
        self.put(millis, SentinelInput::Answered { from: place(from), answer })
    }
}

/// Seen to bite: with the first answer believed at once, and with the end of the round waited for by a majority.
#[test]
fn the_first_primary_needs_most_of_the_sentinels_or_the_end_of_the_round() {
    let mut bench = SentinelBench::new(&[11, 12, 13]);
    assert_eq!(bench.put(0, SentinelInput::Tick).asked, [11, 12, 13], "all at once");
    assert_eq!(bench.answer(1, 12, Ok(says(1, 3))), BenchOutputs::default());
    assert_eq!(bench.answer(2, 13, Ok(says(1, 3))).published, [1]);
    assert_eq!(bench.answer(3, 11, Ok(says(1, 3))).rounds, 1);
    let mut bench = SentinelBench::new(&[11, 12, 13]);
    bench.put(0, SentinelInput::Tick);
    bench.answer(1, 12, Ok(says(2, 3)));
    bench.answer(300, 11, silent());
    let last = bench.answer(300, 13, silent());
    assert_eq!((last.published, last.rounds), (vec![2], 1), "it is all that there is to know");
}

/// Seen to bite: with a majority needed for a later epoch; with a former epoch believed of one sentinel.
#[test]
fn s2_a_later_epoch_is_believed_of_the_first_that_tells_it_and_never_a_former_one() {
    let mut bench = SentinelBench::settled(1, 4);
    assert_eq!(bench.put(50, SentinelInput::Hinted { from: place(12) }).asked, [12], "at once, and alone");
    assert_eq!(bench.answer(51, 12, Ok(says(2, 5))).published, [2]);
    assert_eq!(bench.put(10_000, SentinelInput::Tick).asked.len(), 3);
    bench.answer(10_001, 13, silent());
    bench.answer(10_001, 12, silent());
    bench.answer(10_002, 11, Ok(says(1, 4)));
    assert_eq!(bench.state.primary(), Some(&place(2)), "the only one that answers is behind");
    bench.put(20_000, SentinelInput::Tick);
    for port in [11, 12] {
        bench.answer(20_001, port, Ok(says(3, 0)));
    }
    assert_eq!(bench.state.primary(), Some(&place(3)), "most of them were set up anew");
}

/// Seen to bite: with the primary forgotten.
#[test]
fn s4_with_all_sentinels_gone_the_known_primary_stays() {
    let mut bench = SentinelBench::settled(1, 4);
    for round in 1..4 {
        assert_eq!(bench.put(round * 10_000, SentinelInput::Tick).asked.len(), 3);
        let ended: usize = [11, 12, 13].into_iter().map(|port| bench.answer(round * 10_000 + 1, port, silent()).rounds).sum();
        assert_eq!((ended, bench.state.primary()), (1, Some(&place(1))));
    }
    assert!(bench.state.sentinels().iter().all(|sentinel| sentinel.fault == Some(SentinelFault::Silent)));
}

/// Seen to bite: with given ones dropped, with others kept for ever, with one counted twice by its two names.
#[test]
fn s3_given_sentinels_are_never_dropped_and_discovered_ones_are_added_until_none_names_them() {
    let mut bench = SentinelBench::new(&[11]);
    bench.put(0, SentinelInput::Tick);
    let named = |ports: &[(u16, &str)]| ports.iter().map(|(port, id)| (place(*port), Some(Arc::from(*id)))).collect();
    let mut answer = SentinelAnswer { id: Some(Arc::from("a")), ..says(1, 4) };
    answer.sentinels = named(&[(12, "b"), (13, "c"), (14, "a")]);
    assert_eq!(bench.answer(1, 11, Ok(answer.clone())).asked, [12, 13], "14 is the same as 11");
    bench.answer(2, 12, silent());
    bench.answer(2, 13, silent());
    assert_eq!(bench.state.sentinels().len(), 3, "they are named, and may come back");
    bench.put(10_000, SentinelInput::Tick);
    answer.sentinels = named(&[(12, "b")]);
    bench.answer(10_001, 11, Ok(answer));
    bench.answer(10_001, 12, silent());
    assert_eq!(bench.answer(10_001, 13, silent()).forgotten, [13]);
    bench.put(20_000, SentinelInput::Tick);
    bench.answer(20_001, 11, silent());
    assert_eq!(bench.answer(20_001, 12, silent()).forgotten, [12]);
    let left: Vec<_> = bench.state.sentinels().iter().map(|sentinel| sentinel.place.port).collect();
    assert_eq!(left, [11]);
}

/// Seen to bite: with a new round for each failed dial; with none before the poll.
#[test]
fn failing_dials_have_them_asked_again_at_a_bounded_pace_and_the_last_that_answered_first() {
    let mut bench = SentinelBench::settled(1, 4);
    bench.put(10_000, SentinelInput::Tick);
    for port in [11, 12] {
        bench.answer(10_001, port, silent());
    }
    bench.answer(10_002, 13, Ok(says(1, 4)));
    assert_eq!(bench.put(10_050, SentinelInput::Wanted).asked, Vec::<u16>::new(), "too soon");
    assert_eq!(bench.state.next_deadline(), at(10_100));
    assert_eq!(bench.put(10_100, SentinelInput::Tick).asked[0], 13);
    assert_eq!(bench.put(10_300, SentinelInput::Wanted).asked, Vec::<u16>::new(), "they are being asked");
}

/// Seen to bite: with one question for a hint that comes while an older one is under way.
#[test]
fn a_hint_while_a_sentinel_is_asked_has_it_asked_once_more() {
    let mut bench = SentinelBench::settled(1, 4);
    bench.put(10_000, SentinelInput::Tick);
    assert_eq!(bench.put(10_001, SentinelInput::Hinted { from: place(12) }).asked, Vec::<u16>::new());
    assert_eq!(bench.answer(10_002, 12, Ok(says(1, 4))).asked, [12]);
    assert_eq!(bench.answer(10_003, 12, Ok(says(2, 5))).published, [2]);
    assert_eq!(bench.put(10_004, SentinelInput::Hinted { from: place(99) }), BenchOutputs::default(), "it is none of them");
}

/// Seen to bite: with the refuted one believed again at the next answer, or for ever.
#[test]
fn s1_a_server_that_says_it_is_no_primary_gives_way_to_another_that_is_told() {
    let mut bench = SentinelBench::settled(1, 4);
    bench.answer(20, 11, Ok(says(2, 4)));
    assert_eq!(bench.state.primary(), Some(&place(1)));
    let said = bench.put(30, SentinelInput::Refuted { place: place(1) });
    assert_eq!(said.published, [2]);
    bench.answer(40, 12, Ok(says(1, 4)));
    assert_eq!(bench.state.primary(), Some(&place(2)));
    bench.answer(1_200, 12, Ok(says(1, 4)));
    assert_eq!(bench.state.primary(), Some(&place(1)), "most of them say so");
}

/// Long random histories: what is asked is bounded, each question is answered once, and in the end the truth is found.
/// Seen to bite: with the epoch of the liar believed.
#[test]
fn s3_after_any_history_of_lies_and_silence_the_word_of_the_sound_ones_holds() {
    for seed in 1..2_000_u64 {
        let mut dice = seed;
        let mut roll = |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        let mut bench = SentinelBench::new(&[11, 12, 13]);
        let (mut asked, mut now, mut truth) = (BTreeSet::new(), 0, (1_u16, 1_u64));
        for step in 0..80 {
            let said = match roll(6) {
                0 => bench.put(now, SentinelInput::Wanted),
                1 => bench.put(now, SentinelInput::Hinted { from: place(11 + roll(3) as u16) }),
                2 => {
                    truth = (1 + roll(3) as u16, truth.1 + 1);
                    bench.put(now, SentinelInput::Refuted { place: place(1 + roll(3) as u16) })
                }
                3 => bench.put(now, SentinelInput::Tick),
                _ => match asked.pop_first() {
                    None => BenchOutputs::default(),
                    Some(from) => {
                        let answer = match roll(4) {
                            0 => silent(),
                            1 if from == 13 => Ok(SentinelAnswer { replicas: Vec::new(), ..says(9, 1_000) }),
                            2 => Ok(SentinelAnswer::default()),
                            _ => Ok(says(truth.0, truth.1)),
                        };
                        bench.answer(now, from, answer)
                    }
                },
            };
            for port in said.asked {
                assert!(asked.insert(port), "seed {seed}, step {step}: {port} is asked while it is asked");
            }
            now += roll(200);
        }
        // Two are sound from now on, and one lies.
        now += 20_000;
        for _ in 0..3 {
            asked.extend(bench.put(now, SentinelInput::Tick).asked);
            while let Some(from) = asked.pop_first() {
                let lie = SentinelAnswer { replicas: Vec::new(), ..says(9, 1_000) };
                asked.extend(bench.answer(now, from, Ok(if from == 13 { lie } else { says(truth.0, truth.1) })).asked);
            }
            now += 20_000;
        }
        assert_eq!(bench.state.primary(), Some(&place(truth.0)), "seed {seed}");
    }
}

/// Seen to bite: with every fault for good.
#[test]
fn a_fault_is_for_good_if_waiting_does_not_mend_it() {
    let unreachable =
        |is_permanent| SentinelFault::Unreachable { words: String::from("no"), kind: FailureKind::Refused, is_permanent };
    assert!(unreachable(true).is_permanent() && SentinelFault::NotASentinel { words: String::new() }.is_permanent());
    assert!(!unreachable(false).is_permanent() && !SentinelFault::Silent.is_permanent());
}

/// Guards against: sentinels that are behind believed again, and a server followed to that no sentinel has named.
#[test]
fn a_primary_that_names_another_one_is_followed_and_outvotes_sentinels_that_are_behind() {
    let mut bench = SentinelBench::settled(1, 4);
    let redirected = |to| SentinelInput::Redirected { from: place(1), to: place(to) };
    assert_eq!(bench.put(1_000, redirected(9)).published, [0u16; 0], "no sentinel has named it");
    assert_eq!(bench.put(1_000, redirected(2)).published, [2]);
    let replicas: Vec<_> = bench.state.replicas().into_iter().map(|replica| replica.place.port).collect();
    assert_eq!(replicas, [3, 1], "the former one is a replica now");
    assert_eq!(bench.put(1_000, redirected(3)).published, [0u16; 0], "it is the primary no more");
    let _ = bench.put(20_000, SentinelInput::Tick);
    for port in [11, 12, 13] {
        assert_eq!(bench.answer(20_001, port, Ok(says(1, 4))).published, [0u16; 0], "it is behind");
    }
    assert_eq!(bench.state.primary(), Some(&place(2)));
    let _ = bench.put(40_000, SentinelInput::Tick);
    assert_eq!(bench.answer(40_001, 11, Ok(says(3, 5))).published, [3], "a later epoch");
    let mut bench = SentinelBench::settled(1, 4);
    let _ = bench.put(1_000, redirected(2));
    assert_eq!(bench.put(1_001, SentinelInput::Refuted { place: place(2) }).published, [1], "it says that it is none");
}
