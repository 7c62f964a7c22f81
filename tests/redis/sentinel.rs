//! A primary behind sentinels: found, lost, replaced, and what callers see meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis_manager::runtime::Network;
use redis_manager::{FailureKind, PoolArgs, RedisErrorExt, RedisManager, Sent, SentinelArgs};
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::sentinel::{PRIMARY_NAME, TestSentinels};
use redis_manager_tests::tasks::{spawn, until};

use crate::cluster::on_tokio_and_smol;
use crate::{MS, SLACK};

on_tokio_and_smol! {
    s2_a_killed_primary_is_replaced_at_once_after_the_switch;
    s2_a_frozen_primary_is_replaced_at_once_after_the_switch;
    s3_the_first_sentinel_dies_with_the_primary;
    s4_with_all_sentinels_gone_the_known_primary_is_used_on;
    passwords_of_both_kinds_are_kept_apart;
    s5_callers_in_the_queue_keep_waiting_and_go_to_the_new_primary;
    what_is_wrong_is_told_by_its_kind;
}

const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
const GET_TIMEOUT: Duration = Duration::from_secs(8);

pub(crate) fn manager(runtime: impl Network) -> RedisManager {
    let mut args = PoolArgs::default().command_timeout(COMMAND_TIMEOUT);
    args.client_name = Some(String::from("ours"));
    let builder = RedisManager::builder().pool_args(args).max_pools_per_node(1).max_connection_size(24);
    builder.default_timeout(GET_TIMEOUT).build(runtime).expect("valid settings")
}

/// What one task has seen: it counts a key of its own up.
#[derive(Default)]
struct CounterReport {
    acknowledged: u64,
    slowest: Duration,
    wrong: Vec<String>,
    /// The last value that was acknowledged, and how many outcomes have been unknown since.
    last: i64,
    unknown: i64,
    refused: u64,
}

impl CounterReport {
    fn note(&mut self, key: &str, took: Duration, counted: redis::RedisResult<i64>) {
        self.slowest = self.slowest.max(took);
        match counted {
            Ok(value) => {
                self.acknowledged += 1;
                // Less is what the servers have lost. More was carried out twice.
                if value > self.last + self.unknown + 1 {
                    self.wrong.push(format!("{key}: {value} after {} and {} unknown", self.last, self.unknown));
                }
                (self.last, self.unknown) = (value, 0);
            }
            Err(error) if error.was_sent() == Sent::Unknown => self.unknown += 1,
            Err(_) => self.refused += 1,
        }
    }
}

/// Ends with the key that it counted up, and what it has seen.
type CountingTask = std::pin::Pin<Box<dyn Future<Output = (String, CounterReport)> + Send>>;

struct Load {
    stop: Arc<AtomicBool>,
    /// When a write was last acknowledged that began after `mark`, as the time since `begun_at`.
    first_after: Arc<AtomicU64>,
    mark: Arc<AtomicU64>,
    begun_at: Instant,
    tasks: Vec<CountingTask>,
}

/// 8 tasks with a client of their own for each write, and 64 with shared ones.
async fn load(manager: &RedisManager, url: &str, runtime: &(impl Network + Clone)) -> Load {
    let (stop, first_after, mark) =
        (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::new(AtomicU64::new(u64::MAX)));
    let begun_at = Instant::now();
    let shared = manager.get_shared_client(url).await.expect("the primary is up");
    let mut tasks = Vec::new();
    for number in 0..72 {
        let (manager, url, shared) = (manager.clone(), String::from(url), shared.clone());
        let (stop, first_after, mark, runtime_of_task) = (stop.clone(), first_after.clone(), mark.clone(), runtime.clone());
        let task = async move {
            let mut shared = shared;
            let key = format!("count:{number}");
            let mut report = CounterReport::default();
            while !stop.load(Ordering::SeqCst) {
                let start = Instant::now();
                let started = start.duration_since(begun_at).as_micros() as u64;
                let counted: redis::RedisResult<i64> = if number < 8 {
                    match manager.get_client(&url).await {
                        Ok(mut client) => client.incr(&key, 1).await,
                        Err(error) => Err(error.into()),
                    }
                } else {
                    shared.incr(&key, 1).await
                };
                if counted.is_ok() && started >= mark.load(Ordering::SeqCst) {
                    let now = begun_at.elapsed().as_micros() as u64;
                    let _ = first_after.compare_exchange(0, now, Ordering::SeqCst, Ordering::SeqCst);
                }
                report.note(&key, start.elapsed(), counted);
                runtime_of_task.sleep(2 * MS).await;
            }
            (key, report)
        };
        tasks.push(Box::pin(spawn(runtime, task)) as CountingTask);
    }
    Load { stop, first_after, mark, begun_at, tasks }
}

impl Load {
    /// From now on the first acknowledged write is wanted.
    fn mark(&self) {
        self.first_after.store(0, Ordering::SeqCst);
        self.mark.store(self.begun_at.elapsed().as_micros() as u64, Ordering::SeqCst);
    }

    /// When the first write came back that had begun after the mark.
    fn first_write(&self) -> Option<Instant> {
        let at = self.first_after.load(Ordering::SeqCst);
        (at > 0).then(|| self.begun_at + Duration::from_micros(at))
    }

    /// Every promise that holds in any case; what was counted is on the primary.
    async fn end(self, primary: &RedisServer) {
        self.stop.store(true, Ordering::SeqCst);
        let mut acknowledged = 0;
        for task in self.tasks {
            let (key, report) = task.await;
            assert!(report.wrong.is_empty(), "{:?}", report.wrong);
            assert!(report.slowest < GET_TIMEOUT + COMMAND_TIMEOUT + SLACK, "{key}: {:?}", report.slowest);
            let stored: i64 = primary.command(&["GET", &key]).parse().unwrap_or(0);
            let most = report.last + report.unknown;
            assert!((report.last..=most).contains(&stored), "{key} is {stored}, and {} to {most} was told", report.last);
            acknowledged += report.acknowledged;
        }
        println!("{acknowledged} writes were acknowledged");
    }
}

/// Our connections to a server that are logged in; those of its sentinels and its replicas have other names, or none at first.
fn ours(server: &RedisServer) -> Vec<String> {
    server.client_list().into_iter().filter(|line| line.contains("name=ours ")).collect()
}

async fn failover(runtime: impl Network + Clone, kills: bool, sentinel_dies: bool) {
    let mut all = TestSentinels::start();
    let manager = manager(runtime.clone());
    let url = all.url();
    manager.add_node_pool(&url).await.expect("the primary is up");
    let load = load(&manager, &url, &runtime).await;
    runtime.sleep(300 * MS).await;
    let old = all.primary().expect("sentinels answer");
    if sentinel_dies {
        all.kill_sentinel(0);
    }
    if kills {
        all.servers[old].kill();
    } else {
        all.servers[old].stop_process();
    }
    let hurt_at = Instant::now();
    load.mark();
    let (new, switched_at) = all.wait_for_failover(old);
    until(&runtime, "writes go on", || load.first_write().is_some()).await;
    let first = load.first_write().expect("just seen");
    let took = first.saturating_duration_since(switched_at);
    println!("switched after {:?}, first write {took:?} later", switched_at.duration_since(hurt_at));
    assert!(took < 300 * MS, "the first write came {took:?} after +switch-master");
    let status = manager.sentinel_status(&url).expect("it is there");
    assert_eq!(status.primary, Some(format!("127.0.0.1:{}", all.servers[new].port())));
    assert_eq!(status.failovers, 1, "{status:?}");
    if kills {
        all.servers[old].spawn_on_same_port();
        all.servers[old].wait_until_up();
    } else {
        runtime.sleep(1_000 * MS).await;
        all.servers[old].continue_process();
    }
    // What was cut off while it was frozen it has yet to notice.
    until(&runtime, "the old primary has none of our connections", || ours(&all.servers[old]).is_empty()).await;
    let back_at = Instant::now();
    while back_at.elapsed() < 2_000 * MS {
        assert_eq!(ours(&all.servers[old]), Vec::<String>::new(), "the old primary is used");
        runtime.sleep(50 * MS).await;
    }
    if sentinel_dies {
        all.restart_sentinel(0);
    }
    let is_whole = spawn_blocking_wait(&runtime, all);
    let all = is_whole.await;
    assert_eq!(all.primary(), Some(new));
    load.end(&all.servers[new]).await;
    manager.close_all_pools().await;
    assert!(all.servers.iter().all(|server| ours(server).is_empty()), "nothing is left");
}

/// Waits on a thread of its own, so that tasks go on.
async fn spawn_blocking_wait(runtime: &impl Network, all: TestSentinels) -> TestSentinels {
    let waiting = std::thread::spawn(move || {
        all.wait_until_whole();
        all
    });
    while !waiting.is_finished() {
        runtime.sleep(10 * MS).await;
    }
    waiting.join().expect("all are whole again")
}

async fn s2_a_killed_primary_is_replaced_at_once_after_the_switch(runtime: impl Network + Clone) {
    failover(runtime, true, false).await;
}

async fn s2_a_frozen_primary_is_replaced_at_once_after_the_switch(runtime: impl Network + Clone) {
    failover(runtime, false, false).await;
}

async fn s3_the_first_sentinel_dies_with_the_primary(runtime: impl Network + Clone) {
    failover(runtime, true, true).await;
}

async fn s4_with_all_sentinels_gone_the_known_primary_is_used_on(runtime: impl Network + Clone) {
    let mut all = TestSentinels::start();
    let manager = manager(runtime.clone());
    let args = SentinelArgs::new(PRIMARY_NAME, all.addresses()).poll_interval(200 * MS);
    manager.add_sentinel("orders", args).await.expect("the primary is up");
    let load = load(&manager, "orders", &runtime).await;
    for index in 0..3 {
        if index == 1 { all.stop_sentinel(index) } else { all.kill_sentinel(index) }
    }
    until(&runtime, "no sentinel answers", || {
        let status = manager.sentinel_status("orders").expect("it is there");
        status.sentinels.iter().all(|sentinel| sentinel.error.is_some())
    })
    .await;
    // New connections are dialled, too.
    all.servers[0].command(&["CLIENT", "KILL", "TYPE", "normal"]);
    runtime.sleep(300 * MS).await;
    load.mark();
    let start = Instant::now();
    until(&runtime, "writes go on", || load.first_write().is_some()).await;
    assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
    // `SENTINELS_DOWN_SECONDS=20` for as long as an outage may take.
    let seconds = std::env::var("SENTINELS_DOWN_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let down_until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < down_until {
        load.mark();
        until(&runtime, "writes go on", || load.first_write().is_some()).await;
        runtime.sleep(100 * MS).await;
    }
    let status = manager.sentinel_status("orders").expect("it is there");
    assert_eq!((status.sentinels.len(), status.failovers), (3, 0), "given ones are never dropped: {status:?}");
    all.continue_sentinel(1);
    all.restart_sentinel(0);
    all.restart_sentinel(2);
    until(&runtime, "all sentinels answer", || {
        let status = manager.sentinel_status("orders").expect("it is there");
        status.sentinels.iter().all(|sentinel| sentinel.error.is_none())
    })
    .await;
    load.end(&all.servers[0]).await;
}

async fn passwords_of_both_kinds_are_kept_apart(runtime: impl Network + Clone) {
    let all = TestSentinels::start_with(Some("ofthedata"), Some("ofthesentinels"));
    let manager = manager(runtime);
    let url = all.url();
    manager.add_node_pool(&url).await.expect("both passwords are right");
    let mut client = manager.get_client(&url).await.expect("a client");
    let () = client.set("key", "value").await.expect("SET");
    let shown = format!("{:?} {:?} {:?}", manager.fetch_pool_status(), manager.sentinel_status(&url), manager.node(&url));
    assert!(!shown.contains("ofthe"), "{shown}");
    for (password, sentinel_password) in [("ofthedata", "wrongword"), ("wrongword", "ofthesentinels")] {
        let args = SentinelArgs::new(PRIMARY_NAME, all.addresses());
        let args = args.password(String::from(password)).sentinel_password(String::from(sentinel_password));
        let start = Instant::now();
        let error = manager.add_sentinel("other", args).await.expect_err("one is wrong");
        assert_eq!((error.kind(), error.is_retryable()), (FailureKind::Authentication, false), "{error}");
        assert!(start.elapsed() < GET_TIMEOUT, "at once: {:?}", start.elapsed());
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("ofthe") && !shown.contains("wrongword"), "{shown}");
    }
}

async fn s5_callers_in_the_queue_keep_waiting_and_go_to_the_new_primary(runtime: impl Network + Clone) {
    let mut all = TestSentinels::start();
    let manager = manager(runtime.clone());
    let url = all.url();
    manager.add_node_pool(&url).await.expect("the primary is up");
    let mut borrowed = manager.get_client(&url).await.expect("a client");
    let old = all.primary().expect("sentinels answer");
    all.servers[old].kill();
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let (manager, url) = (manager.clone(), url.clone());
            spawn(&runtime, async move {
                let mut client = manager.get_client(&url).await?;
                client.incr::<_, _, i64>("count", 1).await
            })
        })
        .collect();
    let (new, _) = all.wait_for_failover(old);
    for caller in waiting {
        let counted = caller.await;
        assert!(counted.is_ok(), "{counted:?}");
    }
    assert_eq!(all.servers[new].command(&["GET", "count"]), "16");
    assert!(borrowed.get::<_, Option<i64>>("count").await.is_err(), "it leads to the old one");
    drop(borrowed);
    let mut client = manager.get_client(&url).await.expect("a client");
    assert_eq!(client.get::<_, i64>("count").await.expect("GET"), 16);
}

async fn what_is_wrong_is_told_by_its_kind(runtime: impl Network + Clone) {
    let mut all = TestSentinels::start();
    let manager = manager(runtime);
    let limit = 700 * MS;
    let add = async |name: &str, sentinels: Vec<String>| {
        let start = Instant::now();
        let added = manager.add_sentinel_timeout("other", SentinelArgs::new(name, sentinels), limit).await;
        assert!(start.elapsed() < limit + SLACK, "{:?}", start.elapsed());
        assert!(added.is_ok() || manager.node("other").is_err(), "nothing is left");
        added.map(drop).map_err(|error| (error.kind(), error.to_string()))
    };
    let (kind, words) = add("nobody", all.addresses()).await.expect_err("an unknown name");
    assert_eq!(kind, FailureKind::UnknownName, "{words}");
    let data = vec![format!("127.0.0.1:{}", all.servers[0].port())];
    let (kind, words) = add(PRIMARY_NAME, data).await.expect_err("a data node");
    assert!(kind == FailureKind::NoSentinel && words.contains("it is no sentinel"), "{words}");
    let (kind, words) =
        add(PRIMARY_NAME, vec![String::from("127.0.0.1:1"), String::from("127.0.0.1:2")]).await.expect_err("no one");
    assert!(kind == FailureKind::NoSentinel && words.contains("127.0.0.1:1: ") && words.contains("127.0.0.1:2: "), "{words}");
    for (name, sentinels, setting) in [
        ("", all.addresses(), "primary_name"),
        (PRIMARY_NAME, vec![], "sentinels"),
        (PRIMARY_NAME, vec![String::from("s:0")], "sentinels"),
    ] {
        let (kind, words) = add(name, sentinels).await.expect_err("bad settings");
        assert!(kind == FailureKind::Configuration && words.contains(setting), "{words}");
    }
    let sentinel = format!("redis://127.0.0.1:{}", all.sentinel_ports()[0]);
    let plain = manager.add_node_pool(&sentinel).await.expect("it answers as a server does");
    let mut client = plain.get_client().await.expect("a client");
    assert!(client.get::<_, Option<String>>("key").await.is_err(), "it keeps no data");
    drop(client);
    plain.close().await;
    // Half of them are dead or frozen: the others are believed at once.
    let mut some = vec![String::from("127.0.0.1:1")];
    all.stop_sentinel(0);
    some.extend(all.addresses());
    add(PRIMARY_NAME, some).await.expect("two are left");
    manager.close_node_pools("other").await;
    all.continue_sentinel(0);
    // The primary is dead, and not yet replaced.
    let old = all.primary().expect("sentinels answer");
    all.servers[old].kill();
    let (kind, words) =
        add(PRIMARY_NAME, all.addresses()).await.err().unwrap_or((FailureKind::Refused, String::from("by the sentinels")));
    assert!(kind == FailureKind::Refused && words.contains("by the sentinels"), "{kind:?}: {words}");
}
