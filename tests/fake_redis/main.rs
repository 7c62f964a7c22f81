//! The fake Redis answers as a real one: the same commands go to both, and the bytes of the replies are compared.

mod cluster;
mod cluster_moves;
mod cluster_seeds;
mod fake_client;
mod generator;
mod real_cluster;
mod replication;
mod rules;
mod scenes;
mod templates;
mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use generator::{CommandDice, command};
use redis_manager::testing::fake_redis::{ConnectionId, Output, Server};
use redis_manager_tests::redis_server::RedisServer;
use scenes::{GARBAGE, SCENES};
use templates::FAMILIES;
use wire::{RealConnection, WireValue, encode};

/// Histories, every second one on RESP3, and commands in each: some 7 seconds in a debug build.
const SEEDS: u64 = 10;
const STEPS: usize = 1_000;

/// How a reply may differ, and why.
#[derive(Clone, Copy, PartialEq)]
enum Difference {
    /// In order only.
    Order,
    OrderOfPairs,
    /// In order only, and that of the items in the items.
    Deep,
    /// Only how many items there are.
    Length,
    /// A time that is left, within two seconds if it is in milliseconds.
    Near,
    /// Only what kind of value it is.
    Content,
    /// Only whether it is an error.
    Whole,
}

/// Replies that are meant to differ.
const DIFFERENCES: &[(&str, Difference, &str)] = &[
    ("KEYS", Difference::Order, "a real server has the order of its hash table"),
    ("SMEMBERS", Difference::Order, "a real server has the order of its hash table"),
    ("SINTER", Difference::Order, "a real server has the order of its hash table"),
    ("SUNION", Difference::Order, "a real server has the order of its hash table"),
    ("SDIFF", Difference::Order, "a real server has the order of its hash table"),
    ("HKEYS", Difference::Order, "a real server has the order of insertion, or of its hash table"),
    ("HVALS", Difference::Order, "a real server has the order of insertion, or of its hash table"),
    ("HGETALL", Difference::OrderOfPairs, "a real server has the order of insertion, or of its hash table"),
    ("SCAN", Difference::Deep, "a real server has the order of its hash table"),
    ("HSCAN", Difference::Deep, "a real server has the order of its hash table"),
    ("SSCAN", Difference::Deep, "a real server has the order of its hash table"),
    ("ZSCAN", Difference::Deep, "a real server has the order of its hash table"),
    ("PUBSUB CHANNELS", Difference::Order, "a real server has the order of its hash table"),
    ("PUBSUB SHARDCHANNELS", Difference::Order, "a real server has the order of its hash table"),
    ("SPOP", Difference::Order, "chance; the test pops all"),
    ("SRANDMEMBER", Difference::Length, "chance"),
    ("HRANDFIELD", Difference::Length, "chance"),
    ("XINFO", Difference::Whole, "the fake has no radix tree and does not reckon the lag"),
    ("XPENDING", Difference::Length, "idle times: the clocks are two"),
    ("CLIENT LIST", Difference::Content, "addresses, ages and sizes"),
    ("CLIENT INFO", Difference::Content, "addresses, ages and sizes"),
    ("CLIENT ID", Difference::Content, "a real server had other connections before"),
    ("TTL", Difference::Near, "the clocks are two"),
    ("PTTL", Difference::Near, "the clocks are two"),
    ("PEXPIRETIME", Difference::Content, "the clocks are two"),
    ("EXPIRETIME", Difference::Content, "the clocks are two"),
    ("TIME", Difference::Content, "the clocks are two"),
    ("RANDOMKEY", Difference::Content, "chance"),
    ("INFO", Difference::Content, "numbers of a process; the fake has fewer"),
    ("ROLE", Difference::Whole, "the real one has an offset of replication"),
    ("COMMAND", Difference::Whole, "the fake has fewer commands, and does not describe them"),
    ("HELLO", Difference::Content, "ids of connections"),
];

/// Commands that the fake knows and refuses.
const REFUSED: &[&str] = &["DEBUG", "EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO", "FUNCTION", "SCRIPT"];

fn in_scenes(name: &str) -> bool {
    let mut steps = SCENES.iter().flat_map(|(_, steps)| *steps);
    steps.any(|(_, text)| text.split(' ').next() == Some(name))
}

fn difference(words: &[Vec<u8>]) -> Option<Difference> {
    let name = |count: usize| {
        let words: Vec<_> = words.iter().take(count).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).collect();
        words.join(" ")
    };
    // A cursor that was not given out means something to the real server only.
    let cursor = if name(1) == "SCAN" { words.get(1) } else { words.get(2) };
    if name(1).ends_with("SCAN") && cursor.is_some_and(|cursor| cursor != b"0") {
        return Some(Difference::Whole);
    }
    DIFFERENCES.iter().find(|(of, ..)| *of == name(1) || *of == name(2)).map(|(_, difference, _)| *difference)
}

fn agree(difference: Option<Difference>, real: &WireValue, fake: &WireValue) -> bool {
    let is_same_kind = real.line[..1] == fake.line[..1];
    match difference {
        None => real == fake,
        Some(Difference::Whole) => real.is_error() == fake.is_error(),
        Some(_) if real.is_error() || fake.is_error() => real == fake,
        Some(Difference::Order) => real.sorted(false) == fake.sorted(false),
        Some(Difference::OrderOfPairs) => real.sorted(true) == fake.sorted(true),
        Some(Difference::Deep) => real.deeply_sorted() == fake.deeply_sorted(),
        Some(Difference::Length) => is_same_kind && real.items.len() == fake.items.len(),
        Some(Difference::Near) => {
            let number = |value: &WireValue| value.line[1..].parse::<i64>().unwrap_or(0);
            let (real, fake) = (number(real), number(fake));
            real == fake || real > 0 && fake > 0 && (real - fake).abs() < 2_000
        }
        Some(Difference::Content) => is_same_kind,
    }
}

/// The machine on the time of the test.
struct Fake {
    server: Server,
    received: std::collections::BTreeMap<ConnectionId, Vec<u8>>,
}

impl Fake {
    fn new(seed: u64) -> Self {
        Self { server: Server::new(seed), received: std::collections::BTreeMap::new() }
    }

    fn now(&self) -> redis_manager::runtime::Instant {
        // The wall clock of the machine begins with 2026: so that both have the same.
        let unix = std::time::UNIX_EPOCH.elapsed().expect("it is later than 1970");
        redis_manager::runtime::Instant::ZERO + unix.saturating_sub(Duration::from_secs(1_767_225_600))
    }

    fn connect(&mut self) -> ConnectionId {
        let now = self.now();
        self.server.connected(now, "127.0.0.1:50000").expect("it takes connections")
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        let now = self.now();
        self.server.received(now, id, bytes);
        self.collect();
    }

    fn tick(&mut self) {
        let now = self.now();
        self.server.tick(now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send(id, bytes) => self.received.entry(id).or_default().extend(bytes),
                Output::Close(id) => self.received.entry(id).or_default().extend(b"+closed\r\n"),
            }
        }
    }

    /// What has come on this connection; a wait of a blocking command is waited for.
    fn replies(&mut self, id: ConnectionId) -> Vec<WireValue> {
        while !self.received.contains_key(&id)
            && self.server.next_deadline().is_some()
            && self.server.connections().iter().any(|seen| seen.blocked)
        {
            std::thread::sleep(Duration::from_millis(1));
            self.tick();
        }
        WireValue::all(&self.received.remove(&id).unwrap_or_default())
    }
}

fn shown(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| format!("\"{}\"", word.escape_ascii())).collect::<Vec<_>>().join(" ")
}

/// One connection, one family after the other in turns.
fn compare(real: &mut RealConnection, seed: u64, resp3: bool, count: usize, succeeded: &mut BTreeSet<String>) -> Vec<String> {
    let mut dice = CommandDice::new(seed);
    let mut fake = Fake::new(seed);
    let id = fake.connect();
    let (mut recent, mut wrong) = (Vec::new(), Vec::new());
    let mut start: Vec<Vec<Vec<u8>>> = vec![vec![b"FLUSHALL".to_vec()], vec![b"RESET".to_vec()]];
    if resp3 {
        start.push(vec![b"HELLO".to_vec(), b"3".to_vec()]);
    }
    let (mut family, mut left) = (0, 0);
    let mut queued: Vec<Vec<Vec<u8>>> = Vec::new();
    for step in 0..count {
        if left == 0 {
            (family, left) = (dice.below(FAMILIES.len()), 40);
        }
        left -= 1;
        let (prefix, templates) = FAMILIES[family];
        let template = templates[dice.below(templates.len())];
        let words = start.get(step).cloned().unwrap_or_else(|| command(&mut dice, prefix, template));
        let bytes = encode(&words);
        real.send(&bytes);
        fake.send(id, &bytes);
        recent.push(shown(&words));
        let expected = match real.read() {
            Ok(value) => value,
            Err(error) => {
                wrong.push(format!("seed {seed}: no reply of the real server to {}: {error}", shown(&words)));
                break;
            }
        };
        let replies = fake.replies(id);
        let name = String::from_utf8_lossy(&words[0]).to_ascii_uppercase();
        if expected.line == "+QUEUED" {
            queued.push(words.clone());
        } else if !expected.is_error() {
            succeeded.insert(name.clone());
        }
        let is_exec = name == "EXEC" && expected.items.len() == queued.len();
        let same = match replies.as_slice() {
            [got] if is_exec && got.items.len() == queued.len() => {
                queued.iter().zip(expected.items.iter().zip(&got.items)).all(|(words, (real, fake))| {
                    if !real.is_error() {
                        succeeded.insert(String::from_utf8_lossy(&words[0]).to_ascii_uppercase());
                    }
                    agree(difference(words), real, fake)
                })
            }
            [got] => agree(difference(&words), &expected, got),
            _ => false,
        };
        if matches!(name.as_str(), "EXEC" | "DISCARD" | "RESET") {
            queued.clear();
        }
        if !same {
            let key = words.get(1).map(|key| shown(std::slice::from_ref(key))).unwrap_or_default();
            let before: Vec<_> = recent.iter().rev().filter(|words: &&String| words.contains(&key)).take(40).cloned().collect();
            let got: Vec<_> = replies.iter().map(WireValue::show).collect();
            wrong.push(format!(
                "seed {seed} resp3 {resp3} step {step}: {}\n  real {}\n  fake {}\n  before, the last first: {}",
                shown(&words),
                expected.show(),
                got.join(" | "),
                before.join("; ")
            ));
            if wrong.len() > 4 {
                break;
            }
        }
    }
    wrong
}

/// Sends the steps of a scene to both, and compares what comes on each connection after each.
fn play(server: &RedisServer, scene: &str, steps: &[scenes::SceneStep], resp3: bool) -> Vec<String> {
    let mut control = RealConnection::open(server.port());
    let wrong = play_on(server, &mut control, scene, steps, resp3);
    control.send(&encode(&["CONFIG", "SET", "requirepass", ""].map(|word| word.as_bytes().to_vec())));
    control.read().expect("the control connection is alive");
    wrong
}

fn play_on(
    server: &RedisServer,
    control: &mut RealConnection,
    scene: &str,
    steps: &[scenes::SceneStep],
    resp3: bool,
) -> Vec<String> {
    let mut fake = Fake::new(1);
    let mut reals: Vec<Option<(RealConnection, i64, ConnectionId)>> = (0..6).map(|_| None).collect();
    let mut wrong = Vec::new();
    for (number, text) in [(0, "FLUSHALL")].iter().chain(steps) {
        if reals[*number].is_none() {
            let mut real = RealConnection::open(server.port());
            let id = fake.connect();
            // The later ones are those that a password is asked of.
            let mut real_id = 0;
            if *number < 4 {
                real.send(&encode(&[b"CLIENT".to_vec(), b"ID".to_vec()]));
                real_id = real.read().expect("an id").line[1..].parse().expect("a number");
                if resp3 {
                    let hello = encode(&[b"HELLO".to_vec(), b"3".to_vec()]);
                    real.send(&hello);
                    real.read().expect("a reply");
                    fake.send(id, &hello);
                    fake.received.clear();
                }
            }
            reals[*number] = Some((real, real_id, id));
        }
        let words = |ids: &dyn Fn(usize) -> String| -> Vec<Vec<u8>> {
            let word = |word: &str| match word.strip_prefix("ID").and_then(|digits| digits.parse().ok()) {
                Some(number) => ids(number).into_bytes(),
                None => word.trim_matches('\'').as_bytes().to_vec(),
            };
            text.split(' ').map(word).collect()
        };
        let for_real = words(&|number| reals[number].as_ref().expect("it is open").1.to_string());
        let for_fake = words(&|number| reals[number].as_ref().expect("it is open").2.to_string());
        let (real, _, id) = reals[*number].as_mut().expect("it is open");
        real.send(&encode(&for_real));
        fake.send(*id, &encode(&for_fake));
        // Twice: what was sent before the first may be read after it, but not after the second.
        for _ in 0..2 {
            control.send(&encode(&[b"AUTH".to_vec(), b"secret".to_vec()]));
            control.read().expect("the control connection is alive");
        }
        for (at, slot) in reals.iter_mut().enumerate() {
            let Some((real, _, id)) = slot else { continue };
            let got = WireValue::all(&fake.received.remove(id).unwrap_or_default());
            for value in got {
                let expected = match value.line.as_str() {
                    "+closed" if real.read().is_err() => continue,
                    "+closed" => Err(std::io::ErrorKind::ConnectionAborted.into()),
                    _ => real.read(),
                };
                let is_same = expected.as_ref().is_ok_and(|expected| agree(difference(&for_real), expected, &value));
                if !is_same {
                    let expected = expected.map(|expected| expected.show());
                    wrong.push(format!("{scene}, resp3 {resp3}, {text}, on {at}:\n  real {expected:?}\n  fake {}", value.show()));
                    return wrong;
                }
            }
        }
    }
    wrong
}

/// Seen to bite: with those who wait served in the reverse order of arrival.
#[test]
fn several_connections_get_what_they_get_from_a_real_server() {
    let server = RedisServer::start_with(&["--hz", "500"]);
    let mut wrong = Vec::new();
    for resp3 in [false, true] {
        for (scene, steps) in SCENES {
            wrong.extend(play(&server, scene, steps, resp3));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bytes_that_are_no_command_get_the_same_error_in_any_split() {
    let server = RedisServer::start();
    for garbage in GARBAGE {
        let mut real = RealConnection::open(server.port());
        real.send(garbage);
        let expected = real.read_to_end();
        for size in [1, 3, garbage.len()] {
            let mut fake = Fake::new(1);
            let id = fake.connect();
            garbage.chunks(size).for_each(|piece| fake.send(id, piece));
            let got = fake.received.remove(&id).unwrap_or_default();
            let expected = [expected.as_slice(), b"+closed\r\n"].concat();
            assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{}", garbage.escape_ascii());
        }
    }
}

/// Seen to bite: with a RENAME that lost when the key expires.
#[test]
fn the_fake_server_answers_as_a_real_one() {
    // A quick clock: the ends of waits are seen at its ticks.
    let server = RedisServer::start_with(&["--hz", "500"]);
    let mut succeeded = BTreeSet::new();
    let mut wrong = Vec::new();
    for seed in 0..SEEDS {
        let mut real = RealConnection::open(server.port());
        wrong.extend(compare(&mut real, seed, seed % 2 == 1, STEPS, &mut succeeded));
    }
    wrong.truncate(40);
    let unproved = |name: &&str| !succeeded.contains(*name) && !REFUSED.contains(name) && !in_scenes(name);
    let unproved: Vec<_> = Server::command_names().into_iter().filter(unproved).collect();
    assert!(unproved.is_empty(), "commands that never succeeded: {unproved:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
