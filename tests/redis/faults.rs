//! Faults of real servers: what callers see and by when, and that all is whole afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis_manager::runtime::{Instant, Network};
use redis_manager::{Health, RedisManager};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until, within};

use crate::{MS, SLACK, assert_full_capacity, echo, manager_of, one_pool, status, until_settled};

on_every_runtime! {
    f1_killed_with_kill_9_under_load_and_back_three_seconds_later;
    f2_stopped_for_five_seconds_under_load;
    f1_idle_connections_are_known_to_be_dead_and_replaced_without_a_call;
    f12_client_kill_is_healed_at_once;
    a_connection_that_the_kernel_knows_to_be_dead_is_not_lent;
    f11_a_full_server_is_waited_for;
    f8_a_server_that_loads_is_waited_for;
    f13_a_changed_password_is_told_and_healed;
    f16_a_silent_node_leaves_the_others_as_they_were;
}

const TIMEOUT: Duration = Duration::from_secs(1);

/// What eight tasks see that borrow a client and PING in a loop.
#[derive(Default)]
struct Calls {
    slowest: Duration,
    wrong: usize,
    /// When each call ended, and whether it succeeded.
    ended: Vec<(Instant, bool)>,
}

struct EchoLoad {
    calls: Arc<Mutex<Calls>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>>,
}

impl EchoLoad {
    fn start(manager: &RedisManager, url: &str, runtime: &(impl Network + Clone)) -> Self {
        let (calls, stop) = (Arc::new(Mutex::new(Calls::default())), Arc::new(AtomicBool::new(false)));
        let tasks = (0..8).map(|task| {
            let (manager, url, timer) = (manager.clone(), String::from(url), runtime.clone());
            let (calls, stop) = (Arc::clone(&calls), Arc::clone(&stop));
            let calling = async move {
                let mut n = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let token = format!("{task}-{n}");
                    let started_at = timer.now();
                    let answer = within(&timer, TIMEOUT, async {
                        let mut client = manager.get_client_timeout(&url, TIMEOUT).await.ok()?;
                        echo(&mut client, &token).await.ok()
                    })
                    .await
                    .flatten();
                    let ended_at = timer.now();
                    calls.lock().expect("not poisoned").note(started_at, ended_at, answer.map(|answer| answer == token));
                    timer.sleep(2 * MS).await;
                }
            };
            Box::pin(spawn(runtime, calling)) as std::pin::Pin<Box<dyn Future<Output = ()>>>
        });
        Self { calls: Arc::clone(&calls), stop: Arc::clone(&stop), tasks: tasks.collect() }
    }

    async fn end(self) -> Calls {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await;
        }
        std::mem::take(&mut *self.calls.lock().expect("not poisoned"))
    }
}

impl Calls {
    /// `answer`: none for an error, else whether it was the right one.
    fn note(&mut self, started_at: Instant, ended_at: Instant, answer: Option<bool>) {
        self.slowest = self.slowest.max(ended_at.saturating_duration_since(started_at));
        self.wrong += usize::from(answer == Some(false));
        self.ended.push((ended_at, answer.is_some()));
    }

    /// From `back_at` until the first success, and until the last failure.
    fn recovery(&self, back_at: Instant) -> (Duration, Duration) {
        let after = |success| self.ended.iter().filter(move |(at, ok)| *at >= back_at && *ok == success);
        let first_success = after(true).map(|(at, _)| *at).min().expect("somebody succeeds after the server is back");
        let last_failure = after(false).map(|(at, _)| *at).max().unwrap_or(back_at);
        (first_success.saturating_duration_since(back_at), last_failure.saturating_duration_since(back_at))
    }
}

async fn f1_killed_with_kill_9_under_load_and_back_three_seconds_later(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    let manager = manager_of(&server, 4, runtime.clone()).await;
    let load = EchoLoad::start(&manager, &server.url(), &runtime);
    runtime.sleep(300 * MS).await;
    server.kill();
    until(&runtime, "the node is seen to be down", || status(&manager).health == Health::Down).await;
    assert_eq!(status(&manager).unhealthy_pools, 1);
    runtime.sleep(3_000 * MS).await;
    server.restart();
    let back_at = runtime.now();
    for _ in 0..15 {
        assert!(RedisServer::open_count(&[&server]) <= 4, "{:?}", server.client_list());
        runtime.sleep(100 * MS).await;
    }
    let calls = load.end().await;
    let (first_success, last_failure) = calls.recovery(back_at);
    // Each is given up at its timeout, unless something blocks the whole runtime.
    assert!(calls.slowest <= 3 * TIMEOUT, "a call took {:?}", calls.slowest);
    let soon = 600 * MS + SLACK;
    assert!(first_success <= soon && last_failure <= soon, "{first_success:?} {last_failure:?}");
    assert_eq!(calls.wrong, 0);
    assert_eq!(status(&manager).health, Health::Up);
    assert_full_capacity(&manager, &server, 4).await;
}

async fn f2_stopped_for_five_seconds_under_load(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 4, runtime.clone()).await;
    let load = EchoLoad::start(&manager, &server.url(), &runtime);
    runtime.sleep(300 * MS).await;
    server.stop_process();
    runtime.sleep(5_000 * MS).await;
    server.continue_process();
    let back_at = runtime.now();
    for _ in 0..15 {
        assert!(RedisServer::open_count(&[&server]) <= 4, "{:?}", server.client_list());
        runtime.sleep(100 * MS).await;
    }
    let calls = load.end().await;
    let (first_success, last_failure) = calls.recovery(back_at);
    // Each is given up at its timeout, unless something blocks the whole runtime.
    assert!(calls.slowest <= 3 * TIMEOUT, "a call took {:?}", calls.slowest);
    let soon = 600 * MS + SLACK;
    assert!(first_success <= soon && last_failure <= soon, "{first_success:?} {last_failure:?}");
    assert_eq!(calls.wrong, 0);
    assert_full_capacity(&manager, &server, 4).await;
}

async fn f1_idle_connections_are_known_to_be_dead_and_replaced_without_a_call(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    let manager = one_pool(3).min_idle(3).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    server.kill();
    until(&runtime, "all three are gone", || status(&manager).idle == 0 && status(&manager).health == Health::Down).await;
    assert!(status(&manager).last_error.is_some());
    server.restart();
    until(&runtime, "all three are back", || status(&manager).idle == 3 && status(&manager).health == Health::Up).await;
    assert_eq!(status(&manager).last_error, None);
    assert_full_capacity(&manager, &server, 3).await;
}

async fn f12_client_kill_is_healed_at_once(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(3).min_idle(2).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    until(&runtime, "both are there", || status(&manager).idle == 2).await;
    let mut held = manager.get_client(&server.url()).await.expect("a client");
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let error = echo(&mut held, "token").await.expect_err("its connection is gone, and is not replaced under it");
    assert!(error.to_string().contains("connection lost"), "{error}");
    drop(held);
    // The end of the idle one is known as soon as its task has run, which may be after the next loan of it.
    let started_at = runtime.now();
    loop {
        let mut client = manager.get_client(&server.url()).await.expect("a client");
        if echo(&mut client, "token").await.is_ok() {
            break;
        }
    }
    assert!(runtime.now().saturating_duration_since(started_at) < SLACK);
    until_settled(&manager, &server, &runtime).await;
    assert_full_capacity(&manager, &server, 3).await;
}

async fn f11_a_full_server_is_waited_for(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(2).min_idle(0).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let held = manager.get_client(&server.url()).await.expect("a client");
    // One for us, one for the harness.
    server.command(&["CONFIG", "SET", "maxclients", "2"]);
    let refused = manager.get_client_timeout(&server.url(), 300 * MS).await.expect_err("the server is full");
    assert!(refused.to_string().contains("dials are failing"), "{refused}");
    assert_eq!(status(&manager).health, Health::Suspect);
    server.command(&["CONFIG", "SET", "maxclients", "100"]);
    drop(manager.get_client_timeout(&server.url(), 5_000 * MS).await.expect("there is room again"));
    drop(held);
    assert_full_capacity(&manager, &server, 2).await;
}

async fn f8_a_server_that_loads_is_waited_for(runtime: impl Network + Clone) {
    // Ten megabytes in two seconds: it answers once for every second one, and Redis 6.2 can be told no other number.
    let mut server = RedisServer::start_with(&["--key-load-delay", "600", "--rdbcompression", "no"]);
    let manager = manager_of(&server, 2, runtime.clone()).await;
    for part in ["1", "2", "3", "4", "5"] {
        let fill = "for n = 1, 500 do redis.call('SET', ARGV[1] .. n, string.rep('x', 4000)) end";
        assert_eq!(server.command(&["EVAL", fill, "0", part]), "(nil)");
    }
    assert_eq!(server.command(&["SAVE"]), "OK");
    server.kill();
    until(&runtime, "its end is noticed", || status(&manager).idle == 0).await;
    let (asking, url) = (manager.clone(), server.url());
    let waiting = spawn(&runtime, async move { asking.get_client(&url).await });
    until(&runtime, "it is probed as often as for one who waits", || status(&manager).waiting == 1).await;
    server.spawn_on_same_port();
    let is_told = || status(&manager).last_error.is_some_and(|error| error.contains("is loading"));
    until(&runtime, "it is seen to load", is_told).await;
    let mut client = waiting.await.expect("once it has loaded");
    let answer = echo(&mut client, "token").await.expect("it is not lent while it loads");
    assert_eq!(answer, "token");
    drop(client);
    server.wait_until_up();
    assert_full_capacity(&manager, &server, 2).await;
}

async fn f13_a_changed_password_is_told_and_healed(runtime: impl Network + Clone) {
    let mut server = RedisServer::start_with(&["--requirepass", "old"]);
    let manager = one_pool(2).probe_backoff(10 * MS, 50 * MS, 100 * MS).build(runtime.clone()).expect("valid settings");
    let url = server.url();
    manager.add_node_pool(&url).await.expect("the server is up");
    server.command(&["CONFIG", "SET", "requirepass", "new"]);
    server.password = Some(String::from("new"));
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    until(&runtime, "the node is seen to refuse us", || status(&manager).health == Health::Down).await;
    let refused = manager.get_client_timeout(&url, 500 * MS).await.expect_err("the password is wrong now");
    let text = refused.to_string();
    assert!(text.contains("WRONGPASS") && !text.contains(":old@"), "{text}");
    server.command(&["CONFIG", "SET", "requirepass", "old"]);
    server.password = Some(String::from("old"));
    until(&runtime, "a probe succeeds", || status(&manager).health == Health::Up).await;
    assert_full_capacity(&manager, &server, 2).await;
}

async fn f16_a_silent_node_leaves_the_others_as_they_were(runtime: impl Network + Clone) {
    let (silent, sound) = (RedisServer::start(), RedisServer::start());
    let manager = one_pool(2).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&silent.url()).await.expect("the server is up");
    manager.add_node_pool(&sound.url()).await.expect("the server is up");
    silent.stop_process();
    let (manager_of_caller, url) = (manager.clone(), silent.url());
    let timer = runtime.clone();
    let stuck = spawn(&runtime, async move {
        within(&timer, 2_000 * MS, async {
            let mut client = manager_of_caller.get_client(&url).await.expect("it idles, nobody knows yet");
            echo(&mut client, "token").await.is_ok()
        })
        .await
    });
    let mut slowest = Duration::ZERO;
    for n in 0..100 {
        let started_at = runtime.now();
        let mut client = manager.get_client(&sound.url()).await.expect("a client");
        assert_eq!(echo(&mut client, &n.to_string()).await.expect("a sound one"), n.to_string());
        slowest = slowest.max(runtime.now().saturating_duration_since(started_at));
        drop(client);
        runtime.sleep(3 * MS).await;
    }
    assert!(slowest < 1_000 * MS, "{slowest:?}");
    assert_eq!(stuck.await, None);
    silent.continue_process();
    let mut client = manager.get_client(&silent.url()).await.expect("it is back");
    assert_eq!(echo(&mut client, "token").await.expect("a sound one"), "token");
}

/// On one thread the runtime has no time to notice the end.
///
/// Guards against: no look at the socket before a loan.
async fn a_connection_that_the_kernel_knows_to_be_dead_is_not_lent(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    for _ in 0..5 {
        until(&runtime, "one idles", || status(&manager).idle > 0).await;
        server.kill();
        std::thread::sleep(10 * MS);
        assert!(manager.try_get_client(&server.url()).is_err(), "there is none to lend");
        server.restart();
    }
}
