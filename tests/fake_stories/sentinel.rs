//! A primary behind sentinels that lag, lie, fall silent and return.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redis_manager::redis::{self, AsyncCommands, RedisResult};
use redis_manager::runtime::{Spawn, Timer};
use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{FailureKind, RedisErrorExt, RedisManager, Sent, SentinelArgs};

use crate::story::{MS, SECOND, SEEDS, quiet_builder};

const NAME: &str = "orders";

/// What one sentinel says.
#[derive(Clone)]
struct Testimony {
    /// Index of the server; none: it does not know the name.
    primary: Option<usize>,
    epoch: u64,
    /// Whether it tells of replicas.
    tells_replicas: bool,
}

/// Servers, of which the first one is the primary, and three sentinels.
struct Scene {
    runtime: FakeRuntime,
    servers: Vec<FakeRedis>,
    sentinels: Vec<FakeRedis>,
    said: Vec<Arc<Mutex<Testimony>>>,
    manager: RedisManager,
}

fn bulk(words: &[String]) -> String {
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    words
}

fn list(words: &[String]) -> String {
    format!("*{}\r\n{}", words.len(), bulk(words))
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| String::from(*word)).collect()
}

impl Scene {
    fn begin(seed: u64) -> Self {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let start = |name: String| FakeRedis::start(&network, &name).expect("a free address");
        let servers: Vec<_> = (0..4).map(|number| start(format!("server{number}.test:6379"))).collect();
        let sentinels: Vec<_> = (0..3).map(|number| start(format!("sentinel{number}.test:26379"))).collect();
        // The last one is foreign.
        servers[1].replicate(Some(&servers[0]));
        servers[2].replicate(Some(&servers[0]));
        let places: Vec<_> = servers.iter().map(|server| server.address()).collect();
        let said: Vec<_> =
            (0..3).map(|_| Arc::new(Mutex::new(Testimony { primary: Some(0), epoch: 1, tells_replicas: true }))).collect();
        for (number, (sentinel, said)) in sentinels.iter().zip(&said).enumerate() {
            let (said, places) = (Arc::clone(said), places.clone());
            sentinel.set(|behaviour| {
                behaviour.script = Some(Box::new(move |words| {
                    let word =
                        |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).to_uppercase()).unwrap_or_default();
                    if word(0) != "SENTINEL" {
                        return None;
                    }
                    let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let place = |index: usize| (places[index].ip().to_string(), places[index].port().to_string());
                    let reply = match (word(1).as_str(), said.primary) {
                        ("MYID", _) => bulk(&[format!("id{number}")]),
                        ("GET-MASTER-ADDR-BY-NAME", None) => String::from("*-1\r\n"),
                        (_, None) => String::from("-ERR No such master with that name\r\n"),
                        ("GET-MASTER-ADDR-BY-NAME", Some(primary)) => list(&[place(primary).0, place(primary).1]),
                        ("MASTER", Some(_)) => list(&[texts(&["config-epoch"]), vec![said.epoch.to_string()]].concat()),
                        ("REPLICAS", Some(primary)) if said.tells_replicas => {
                            let replicas = (0..3).filter(|index| *index != primary).map(|index| {
                                let (ip, port) = place(index);
                                list(&[texts(&["ip"]), vec![ip], texts(&["port"]), vec![port]].concat())
                            });
                            format!("*2\r\n{}", replicas.collect::<String>())
                        }
                        _ => String::from("*0\r\n"),
                    };
                    Some(reply.into_bytes())
                }));
            });
        }
        let manager = quiet_builder(8).default_timeout(20 * SECOND).build(network).expect("valid settings");
        Self { runtime, servers, sentinels, said, manager }
    }

    fn added(seed: u64) -> Self {
        let scene = Self::begin(seed);
        scene.runtime.block_on(scene.manager.add_sentinel(NAME, scene.args())).expect("the primary is up");
        scene
    }

    fn args(&self) -> SentinelArgs {
        SentinelArgs::new("mymaster", ["sentinel0.test", "sentinel1.test:26379", "sentinel2.test:26379"])
    }

    fn say(&self, sentinel: usize, change: impl FnOnce(&mut Testimony)) {
        change(&mut self.said[sentinel].lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The servers follow another one, and a sentinel learns of it and announces it.
    fn promote(&self, primary: usize, epoch: u64, first_to_know: usize) {
        self.servers[primary].replicate(None);
        self.tell(first_to_know, primary, epoch);
        self.sentinels[first_to_know].publish("+switch-master", "mymaster 10.0.0.1 1 10.0.0.2 2");
    }

    fn tell(&self, sentinel: usize, primary: usize, epoch: u64) {
        self.say(sentinel, |said| *said = Testimony { primary: Some(primary), epoch, tells_replicas: true });
    }

    fn set(&self, key: &str) -> RedisResult<()> {
        self.runtime.block_on(async {
            let mut client = self.manager.get_client(NAME).await?;
            client.set(key, "value").await
        })
    }
}

/// Seen to bite: without the subscription, and with a majority needed for a later epoch.
#[test]
fn s2_what_one_sentinel_announces_is_followed_at_once_also_if_the_old_primary_hangs() {
    for seed in SEEDS {
        let scene = Scene::added(seed);
        scene.set("key").expect("the primary is up");
        scene.servers[0].freeze();
        scene.runtime.advance(SECOND);
        let begun_at = scene.runtime.now();
        scene.promote(1, 2, 2);
        // One that is lent before the word has come leads to the old one.
        scene.runtime.advance(20 * MS);
        scene.set("other").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let took = scene.runtime.now().saturating_duration_since(begun_at);
        assert!(took < 300 * MS, "seed {seed}: {took:?}");
        assert_eq!(scene.servers[1].count_of("SET"), 1);
        let status = scene.manager.sentinel_status(NAME).expect("it is there");
        assert_eq!((status.failovers, status.primary), (1, Some(scene.servers[1].address().to_string())));
    }
}

/// Seen to bite: without the ROLE in the login.
#[test]
fn s1_a_primary_that_does_not_say_so_gets_no_command_and_is_asked_again() {
    for seed in SEEDS {
        let scene = Scene::begin(seed);
        (0..3).for_each(|sentinel| scene.tell(sentinel, 1, 1));
        let added = scene.manager.add_sentinel_timeout(NAME, scene.args(), 2 * SECOND);
        let error = scene.runtime.block_on(added).expect_err("it is a replica");
        assert_eq!(error.kind(), FailureKind::NotPrimary, "seed {seed}: {error}");
        scene.manager.node(NAME).expect_err("nothing is left");
        let (manager, args, network) = (scene.manager.clone(), scene.args(), scene.runtime.clone());
        let ended = Arc::new(Mutex::new(None));
        let place = Arc::clone(&ended);
        scene.runtime.spawn(Box::pin(async move {
            let added = manager.add_sentinel(NAME, args).await.map(drop);
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some((added, network.now()));
        }));
        scene.runtime.advance(3 * SECOND);
        let promoted_at = scene.runtime.now();
        scene.servers[1].replicate(None);
        scene.runtime.advance(3 * SECOND);
        let (added, at) = ended.lock().unwrap_or_else(PoisonError::into_inner).take().expect("it has ended");
        added.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(at.saturating_duration_since(promoted_at) < SECOND, "seed {seed}");
        assert_eq!(scene.servers[1].count_of("SET"), 0);
    }
}

/// Seen to bite: with the latest epoch believed of any one.
#[test]
fn s3_a_sentinel_that_names_a_foreign_server_is_outvoted() {
    for seed in SEEDS {
        let scene = Scene::begin(seed);
        scene.say(1, |said| *said = Testimony { primary: Some(3), epoch: 1_000, tells_replicas: false });
        scene.runtime.block_on(scene.manager.add_sentinel(NAME, scene.args())).expect("two say the truth");
        for _ in 0..5 {
            scene.set("key").expect("the primary is up");
            scene.sentinels[1].publish("+switch-master", "mymaster 10.0.0.1 1 10.0.0.2 2");
            scene.runtime.advance(11 * SECOND);
        }
        assert_eq!(scene.servers[3].host().connections_made(), 0, "seed {seed}");
        assert_eq!(scene.servers[0].count_of("SET"), 5);
    }
}

/// Seen to bite: with the primary forgotten when no sentinel answers.
#[test]
fn s4_with_all_sentinels_gone_the_known_primary_is_dialled_again() {
    for seed in SEEDS {
        let scene = Scene::added(seed);
        scene.sentinels[0].kill();
        scene.sentinels[1].freeze();
        scene.sentinels[2].vanish();
        scene.runtime.advance(25 * SECOND);
        scene.set("key").expect("it is known");
        scene.servers[0].kill();
        scene.runtime.advance(SECOND);
        scene.servers[0].start_again().expect("a free address");
        scene.set("key").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let status = scene.manager.sentinel_status(NAME).expect("it is there");
        assert!(status.sentinels.len() == 3 && status.sentinels.iter().all(|sentinel| sentinel.error.is_some()), "{status:?}");
    }
}

/// Guards against: a redirection that is a READONLY like any other, and sentinels that are behind believed again.
#[test]
fn s2_a_former_primary_that_redirects_is_left_at_once_and_for_good() {
    for seed in SEEDS {
        let scene = Scene::added(seed);
        scene.set("key").expect("the primary is up");
        scene.servers[1].replicate(None);
        scene.servers[0].replicate(Some(&scene.servers[1]));
        let answer = format!("-REDIRECT {}\r\n", scene.servers[1].address());
        scene.servers[0].set(|behaviour| {
            behaviour.script = Some(Box::new(move |words| (words.first()? == b"SET").then(|| answer.clone().into_bytes())));
        });
        let error = scene.set("key").expect_err("it is a replica");
        assert_eq!(error.code(), Some("REDIRECT"), "seed {seed}: {error}");
        let begun_at = scene.runtime.now();
        scene.set("key").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let took = scene.runtime.now().saturating_duration_since(begun_at);
        assert!(took < 50 * MS, "seed {seed}: {took:?}");
        for _ in 0..3 {
            scene.runtime.advance(11 * SECOND);
            scene.set("key").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        let status = scene.manager.sentinel_status(NAME).expect("it is there");
        let place = scene.servers[1].address().to_string();
        assert_eq!((status.failovers, status.primary.as_ref()), (1, Some(&place)), "seed {seed}: no sentinel has noticed");
        let change = status.last_failover.expect("there was one");
        assert_eq!((change.from, change.to), (scene.servers[0].address().to_string(), place), "seed {seed}");
        assert_eq!(scene.servers[1].count_of("SET"), 4, "seed {seed}");
    }
}

/// Seen to bite: with the unknown name and silence told as one.
#[test]
fn each_kind_of_failure_is_told_by_its_name() {
    let scene = Scene::begin(1);
    let add = |limit| {
        let begun_at = scene.runtime.now();
        let error = scene.runtime.block_on(scene.manager.add_sentinel_timeout(NAME, scene.args(), limit)).expect_err("a failure");
        (error.kind(), scene.runtime.now().saturating_duration_since(begun_at), error.to_string())
    };
    (0..3).for_each(|sentinel| scene.say(sentinel, |said| said.primary = None));
    let (kind, took, words) = add(5 * SECOND);
    assert!(kind == FailureKind::UnknownName && took < SECOND, "{took:?} {words}");
    scene.sentinels.iter().for_each(FakeRedis::kill);
    let (kind, took, words) = add(2 * SECOND);
    assert!(kind == FailureKind::NoSentinel && took < 3 * SECOND, "{took:?} {words}");
    assert!(words.matches("sentinel").count() >= 4, "each one's reason: {words}");
}

/// Sentinels lag, lie, fall silent and return while primaries are frozen, killed and replaced. In the end all is well within seconds, and
/// no counter is higher than what was sent. `SIMULATION_SEEDS` says how many seeds, from `SIMULATION_FIRST` on. Guards against: a dial
/// of the old primary that holds up the next one. Guards against: connections that stay at a former primary, and a primary that is not
/// asked for its role.
#[test]
fn s5_after_any_history_writes_go_on_and_nothing_is_carried_out_twice() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let first = number("SIMULATION_FIRST", 0);
    for seed in first..first + number("SIMULATION_SEEDS", 20) {
        history(seed);
    }
}

fn history(seed: u64) {
    let scene = Scene::added(seed);
    let mut dice = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut roll = |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let (sent, stop) = (Arc::<AtomicI64>::default(), Arc::<AtomicBool>::default());
    let acknowledged_by_all = Arc::<AtomicI64>::default();
    let problems = Arc::<Mutex<Vec<String>>>::default();
    for shared in [false, true] {
        let (manager, sent, stop, runtime) = (scene.manager.clone(), Arc::clone(&sent), Arc::clone(&stop), scene.runtime.clone());
        let (problems, acknowledged) = (Arc::clone(&problems), Arc::clone(&acknowledged_by_all));
        scene.runtime.spawn(Box::pin(async move {
            let mut shared = if shared { manager.get_shared_client(NAME).await.ok() } else { None };
            while !stop.load(Ordering::SeqCst) {
                let counted: RedisResult<i64> = match &mut shared {
                    Some(shared) => shared.incr("count", 1).await,
                    None => match manager.get_client(NAME).await {
                        Ok(mut client) => client.incr("count", 1).await,
                        Err(error) => Err(redis::RedisError::from(error)),
                    },
                };
                let was_sent = counted.as_ref().map_or_else(RedisErrorExt::was_sent, |_| Sent::Sent);
                if was_sent != Sent::NotSent {
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                acknowledged.fetch_add(i64::from(counted.is_ok()), Ordering::SeqCst);
                if let Ok(count) = counted
                    // The other one may have one on its way.
                    && count > sent.load(Ordering::SeqCst) + 1
                {
                    problems
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(format!("{count} after {}", sent.load(Ordering::SeqCst)));
                }
                runtime.sleep(50 * MS).await;
            }
        }));
    }
    let (mut primary, mut epoch) = (0, 1);
    for _ in 0..8 {
        match roll(6) {
            0 => scene.sentinels[roll(3) as usize].freeze(),
            1 => scene.sentinels[roll(3) as usize].kill(),
            2 => scene.say(roll(3) as usize, |said| *said = Testimony { primary: Some(3), epoch: 99, tells_replicas: false }),
            _ => {
                let old = primary;
                primary = (primary + 1 + roll(2) as usize) % 3;
                epoch += 1;
                if roll(2) == 0 {
                    scene.servers[old].freeze()
                } else {
                    scene.servers[old].kill()
                }
                let _ = scene.servers[primary].start_again();
                scene.servers[primary].thaw();
                scene.promote(primary, epoch, roll(3) as usize);
                scene.runtime.advance(roll(500) as u32 * MS);
                let _ = scene.servers[old].start_again();
                scene.servers[old].thaw();
                scene.servers[old].replicate(Some(&scene.servers[primary]));
            }
        }
        scene.runtime.advance(roll(3_000) as u32 * MS);
        for sentinel in 0..3 {
            if roll(2) == 0 {
                scene.tell(sentinel, primary, epoch);
            }
        }
    }
    for (number, sentinel) in scene.sentinels.iter().enumerate() {
        let _ = sentinel.start_again();
        sentinel.thaw();
        scene.tell(number, primary, epoch);
    }
    scene.runtime.advance(15 * SECOND);
    let before = acknowledged_by_all.load(Ordering::SeqCst);
    scene.runtime.advance(5 * SECOND);
    let (status, pools) = (scene.manager.sentinel_status(NAME), scene.manager.fetch_pool_status());
    let counted = acknowledged_by_all.load(Ordering::SeqCst) - before;
    assert!(counted > 60, "seed {seed}: {counted} writes in 5 s to {}: {status:?} {pools:?}", scene.servers[primary].address());
    stop.store(true, Ordering::SeqCst);
    scene.runtime.advance(6 * SECOND);
    let problems = problems.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(problems.is_empty(), "seed {seed}: {problems:?}");
    assert_eq!(scene.servers[3].count_of("INCR"), 0, "seed {seed}: a foreign server was written to");
    for (number, server) in scene.servers.iter().enumerate().filter(|(number, _)| *number != primary) {
        assert_eq!(server.connections().len(), 0, "seed {seed}: connections are left at server {number}");
    }
}
