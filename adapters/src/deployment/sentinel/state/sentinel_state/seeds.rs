//! Sentinels that lie, lag, fall silent and return, and primaries that are promoted in turn: what holds in any order.

use std::collections::BTreeMap;

use redis_manager_core::Instant;

use super::*;

/// Not one of the servers.
const FOREIGN: u16 = 9;
const SENTINELS: [u16; 3] = [11, 12, 13];

fn place(port: u16) -> HostPort {
    HostPort::new("h", port).expect("a place")
}

/// A number that looks like no other: splitmix64.
struct SentinelDice(u64);

impl SentinelDice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// What one sentinel takes for the truth; one at most lies.
#[derive(Clone, Copy)]
struct SentinelView {
    primary: u16,
    epoch: u64,
    lies: bool,
    is_silent: bool,
}

struct SentinelWorld {
    state: SentinelState,
    now: u64,
    dice: SentinelDice,
    /// The primary in truth, and the epoch of its promotion.
    truth: (u16, u64),
    views: BTreeMap<u16, SentinelView>,
    /// Questions on their way: who is asked, and when the answer comes.
    asked: Vec<(u16, u64)>,
}

impl SentinelWorld {
    fn new(seed: u64) -> Self {
        let settings = SentinelSettings { given: SENTINELS.map(place).to_vec(), poll_interval: Duration::from_secs(10) };
        let view = SentinelView { primary: 1, epoch: 1, lies: false, is_silent: false };
        Self {
            state: SentinelState::new(settings, Instant::ZERO),
            now: 0,
            dice: SentinelDice(seed),
            truth: (1, 1),
            views: SENTINELS.map(|port| (port, view)).into(),
            asked: Vec::new(),
        }
    }

    fn put(&mut self, seed: u64, input: SentinelInput) {
        let now = Instant::ZERO + Duration::from_millis(self.now);
        self.state.handle(now, input);
        assert!(self.state.next_deadline() > now, "seed {seed}: a tick leaves nothing due");
        for port in SENTINELS {
            let known = self.state.sentinels().iter().filter(|sentinel| sentinel.place == place(port)).count();
            assert_eq!(known, 1, "seed {seed}: given sentinels are never dropped");
        }
        while let Some(output) = self.state.poll_output() {
            match output {
                SentinelOutput::Ask(asked) => {
                    assert!(self.asked.iter().all(|(port, _)| *port != asked.port), "seed {seed}: one question at a time");
                    let takes = self.dice.roll(500);
                    self.asked.push((asked.port, self.now + takes));
                }
                SentinelOutput::Publish { place, .. } => {
                    assert_ne!(place.port, FOREIGN, "seed {seed}: a foreign server is the primary");
                    assert!(place.port == self.truth.0 || self.truth.1 > 1, "seed {seed}: it was never one");
                }
                SentinelOutput::Listen(_) | SentinelOutput::Forget(_) | SentinelOutput::RoundEnded => {}
            }
        }
    }

    fn answer_of(&self, port: u16) -> Result<SentinelAnswer, SentinelFault> {
        let view = self.views[&port];
        if view.is_silent {
            return Err(SentinelFault::Silent);
        }
        if view.lies {
            return Ok(SentinelAnswer { primary: Some(place(FOREIGN)), epoch: 1_000, ..SentinelAnswer::default() });
        }
        let replicas = [1, 2, 3].into_iter().filter(|port| *port != view.primary);
        let replicas = replicas.map(|port| ReportedReplica { place: place(port), is_down: false }).collect();
        Ok(SentinelAnswer { primary: Some(place(view.primary)), epoch: view.epoch, replicas, ..SentinelAnswer::default() })
    }

    /// Lets the time pass up to the next thing that happens, or by a bit.
    fn pass(&mut self, seed: u64) {
        let next = Duration::from_nanos(self.state.next_deadline().as_nanos()).as_millis() as u64;
        let answer = self.asked.iter().map(|(_, at)| *at).min().unwrap_or(u64::MAX);
        self.now = self.now.max(next.min(answer));
        let due: Vec<u16> = self.asked.iter().filter(|(_, at)| *at <= self.now).map(|(port, _)| *port).collect();
        self.asked.retain(|(port, _)| !due.contains(port));
        for port in due {
            let answer = self.answer_of(port);
            self.put(seed, SentinelInput::Answered { from: place(port), answer });
        }
        self.put(seed, SentinelInput::Tick);
    }

    fn happen(&mut self, seed: u64) {
        let port = SENTINELS[self.dice.roll(3) as usize];
        let truth = self.truth;
        match self.dice.roll(8) {
            // With the others silent, one that lies has the only word, and one that has lied until it is asked again.
            0 if !self.is_lied_to() => self.view(port).is_silent ^= true,
            1 => {
                let liars: Vec<u16> = self.views.iter().filter(|(_, view)| view.lies).map(|(port, _)| *port).collect();
                for liar in liars {
                    self.learn(liar);
                }
                // The others have spoken: a majority is honest.
                self.views.values_mut().for_each(|view| view.is_silent = false);
                let begun_at = self.now;
                while self.now < begun_at + 11_000 {
                    self.pass(seed);
                }
                self.view(port).lies = true;
            }
            2 => {
                self.truth = (1 + (truth.0 + self.dice.roll(2) as u16) % 3, truth.1 + 1);
                self.learn(port);
                self.put(seed, SentinelInput::Hinted { from: place(port) });
            }
            3 => {
                self.learn(port);
                self.put(seed, SentinelInput::Hinted { from: place(port) });
            }
            4 => self.put(seed, SentinelInput::Wanted),
            5 => {
                if let Some(primary) = self.state.primary().filter(|primary| primary.port != truth.0).cloned() {
                    self.put(seed, SentinelInput::Refuted { place: primary });
                }
            }
            6 => {
                if let Some(primary) = self.state.primary().filter(|primary| primary.port != truth.0).cloned() {
                    self.put(seed, SentinelInput::Redirected { from: primary, to: place(truth.0) });
                }
            }
            _ => self.pass(seed),
        }
    }

    fn is_lied_to(&self) -> bool {
        let said = |sentinel: &KnownSentinel| sentinel.said.as_ref().and_then(|answer| answer.primary.clone());
        let has_lied = self.state.sentinels().iter().any(|sentinel| said(sentinel) == Some(place(FOREIGN)));
        has_lied || self.views.values().any(|view| view.lies)
    }

    fn view(&mut self, port: u16) -> &mut SentinelView {
        self.views.get_mut(&port).expect("one of the given ones")
    }

    fn learn(&mut self, port: u16) {
        let (primary, epoch) = self.truth;
        let is_silent = self.views[&port].is_silent;
        self.views.insert(port, SentinelView { primary, epoch, lies: false, is_silent });
    }
}

/// Guards against: the latest epoch believed of any one; a question that is asked twice at a time; a redirection that outlives the
/// word of the sentinels; given ones that are dropped when they are silent.
#[test]
fn s3_after_any_history_the_primary_is_the_one_that_honest_sentinels_name() {
    let count = std::env::var("SIMULATION_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(500);
    for seed in 0..count {
        let mut world = SentinelWorld::new(seed);
        for _ in 0..10 {
            world.pass(seed);
        }
        for _ in 0..200 {
            world.happen(seed);
            if world.dice.roll(3) > 0 {
                world.pass(seed);
            }
        }
        // One may go on lying.
        for port in SENTINELS {
            let lies = world.views[&port].lies;
            world.view(port).is_silent = false;
            if !lies {
                world.learn(port);
            }
        }
        let healed_at = world.now;
        while world.now < healed_at + 25_000 {
            world.pass(seed);
        }
        let primary = world.state.primary().map(|primary| primary.port);
        assert_eq!(primary, Some(world.truth.0), "seed {seed}");
    }
}
