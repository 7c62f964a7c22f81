//! Rounds of questions, and who is fit after them.

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);

fn place(port: u16) -> HostPort {
    HostPort::new("h", port).expect("a place")
}

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn says(is_primary: bool, offset: u64) -> ServerReport {
    ServerReport { is_primary, link_is_up: true, history: Some(Arc::from("aa")), offset, ..ServerReport::default() }
}

/// A primary 1 with replicas, with a lag of 100 bytes at most.
struct ReplicaBench {
    state: ReplicaState,
    now: u64,
    primary: u16,
    replicas: Vec<u16>,
}

impl ReplicaBench {
    fn new(replicas: &[u16]) -> Self {
        let state = ReplicaState::new(100, INTERVAL, at(0));
        let mut bench = Self { state, now: 0, primary: 1, replicas: Vec::new() };
        bench.servers(1, replicas);
        bench
    }

    fn servers(&mut self, primary: u16, replicas: &[u16]) {
        (self.primary, self.replicas) = (primary, replicas.to_vec());
        let replicas = replicas.iter().map(|port| place(*port)).collect();
        self.give(ReplicaInput::Servers { primary: Some(place(primary)), replicas });
    }

    fn give(&mut self, input: ReplicaInput) {
        self.state.handle(at(self.now), input);
    }

    fn answer(&mut self, port: u16, answer: Result<ServerReport, &str>) {
        self.give(ReplicaInput::Answered { from: place(port), answer: answer.map_err(String::from) });
    }

    fn tick(&mut self, ms: u64) {
        self.now += ms;
        self.servers(self.primary, &self.replicas.clone());
    }

    fn asked(&mut self) -> Vec<u16> {
        let mut asked = Vec::new();
        while let Some(output) = self.state.poll_output() {
            if let ReplicaOutput::Ask(place) = output {
                asked.push(place.port);
            }
        }
        asked
    }

    fn fit(&self) -> Vec<u16> {
        self.state.places().replicas.iter().map(|replica| replica.place.port).collect()
    }
}

/// Guards against: replicas asked together with the primary, and a round that waits for a replica that is silent.
#[test]
fn s6_replicas_are_asked_after_their_primary_and_a_silent_one_holds_up_no_round() {
    let mut bench = ReplicaBench::new(&[2, 3]);
    assert_eq!(bench.asked(), [1]);
    bench.answer(1, Ok(says(true, 500)));
    assert_eq!(bench.asked(), [2, 3]);
    bench.answer(2, Ok(says(false, 400)));
    assert_eq!(bench.fit(), [2]);
    bench.tick(1_000);
    assert_eq!(bench.asked(), [1]);
    bench.answer(1, Err("refused"));
    assert_eq!(bench.asked(), [2], "the other one still has a question");
    bench.answer(3, Ok(says(false, 399)));
    assert_eq!(bench.fit(), [2], "3 lacks 101 bytes");
    assert!(!bench.state.places().primary_answers);
}

/// Guards against: a refusal that lasts, a doubt that asks no question, and a failed server that stays fit.
#[test]
fn s6_one_that_refuses_or_does_not_answer_is_left_out_until_it_is_well_again() {
    let mut bench = ReplicaBench::new(&[2]);
    bench.answer(1, Ok(says(true, 500)));
    bench.answer(2, Ok(says(false, 500)));
    let _ = bench.asked();
    bench.give(ReplicaInput::Refused { place: place(2) });
    assert_eq!((bench.fit(), bench.asked()), (vec![], vec![2]));
    bench.answer(2, Ok(says(false, 500)));
    assert_eq!(bench.fit(), [0u16; 0]);
    assert_eq!(bench.state.next_deadline(at(bench.now)), at(1_000));
    bench.tick(1_000);
    assert_eq!(bench.fit(), [2]);
    let _ = bench.asked();
    bench.give(ReplicaInput::Doubted { place: place(2) });
    assert_eq!(bench.asked(), [2]);
    bench.answer(2, Err("no answer in time"));
    assert_eq!(bench.fit(), [0u16; 0]);
}

/// Guards against: a promoted server that stays a replica, and a former primary that is fit before it has been asked.
#[test]
fn s6_after_a_failover_the_former_primary_is_a_replica_once_it_says_so() {
    let mut bench = ReplicaBench::new(&[2, 3]);
    bench.answer(1, Ok(says(true, 500)));
    bench.answer(2, Ok(says(false, 500)));
    bench.answer(3, Ok(says(false, 500)));
    let _ = bench.asked();
    bench.tick(10);
    bench.servers(2, &[1, 3]);
    let mut outputs = Vec::new();
    while let Some(output) = bench.state.poll_output() {
        outputs.push(output);
    }
    assert!(outputs.contains(&ReplicaOutput::Left(place(2))) && outputs.contains(&ReplicaOutput::Ask(place(2))), "{outputs:?}");
    assert_eq!(bench.fit(), [3], "1 has said that it is a primary");
    bench.answer(2, Ok(ServerReport { history: Some(Arc::from("bb")), ..says(true, 510) }));
    assert_eq!(bench.fit(), [0u16; 0], "3 has not followed yet");
    bench.answer(1, Ok(ServerReport { history: Some(Arc::from("bb")), ..says(false, 510) }));
    assert_eq!(bench.fit(), [1]);
    bench.servers(2, &[3]);
    assert_eq!(bench.fit(), [0u16; 0]);
}
