//! Subscribers of real servers that die, freeze and vanish: no message is missing that lies in no gap.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redis_manager::SubscriberOptions;
use redis_manager::pub_sub::{Event, SubscribeError, Topic, TopicKind};
use redis_manager::runtime::Network;
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::until;
use redis_manager_tests::tcp_proxy::TcpProxy;

use crate::cluster::on_tokio_and_smol;
use crate::subscriber::{next, next_text, quick};
use crate::{MS, SLACK, assert_full_capacity, manager_of, one_pool, status};

on_tokio_and_smol! {
    p1_thirty_faults_leave_no_message_missing_that_lies_in_no_gap;
}

on_every_runtime! {
    p2_a_half_open_connection_is_replaced_within_the_interval_and_the_timeout;
    thousands_of_subscriptions_come_back_within_a_second_of_the_server;
    a_subscriber_waits_for_a_server_that_is_not_there_yet;
}

/// What events say of numbers that were published in order: each comes once and in order, or lies in a gap.
#[derive(Default)]
struct NumberChecker {
    last: u64,
    has_gap: bool,
    gaps: usize,
}

impl NumberChecker {
    /// Those that the server did not take need not come.
    fn note(&mut self, event: &Event, publisher: &NumberPublisher) {
        match event {
            Event::Message { payload, .. } => {
                let number: u64 = std::str::from_utf8(payload).expect("text").parse().expect("a number");
                assert!(number > self.last, "{number} after {}", self.last);
                let missing = publisher.taken_between(self.last + 1, number);
                let is_first = self.last == 0;
                assert!(is_first || self.has_gap || missing.is_empty(), "{missing:?} are missing, and lie in no gap");
                (self.last, self.has_gap) = (number, false);
            }
            Event::Gap { .. } => {
                self.has_gap = true;
                self.gaps += 1;
            }
            Event::Subscribed { .. } | Event::Unsubscribed { .. } | _ => {}
        }
    }
}

/// A thread that publishes numbers in order, and notes which ones the server has taken.
struct NumberPublisher {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
    next: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl NumberPublisher {
    fn start(port: u16, channel: &'static str) -> Self {
        let (stop, acknowledged, next) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::new(AtomicU64::new(0)));
        let mut this = Self { stop, acknowledged, next, thread: None };
        let (stop, acknowledged, next) = (Arc::clone(&this.stop), Arc::clone(&this.acknowledged), Arc::clone(&this.next));
        this.thread = Some(thread::spawn(move || {
            let mut connection: Option<BufReader<TcpStream>> = None;
            while !stop.load(Ordering::SeqCst) {
                let number = next.fetch_add(1, Ordering::SeqCst) + 1;
                if connection.is_none() {
                    connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(BufReader::new);
                }
                let published = connection.as_mut().is_some_and(|connection| {
                    let mut reply = String::new();
                    write!(connection.get_mut(), "PUBLISH {channel} {number}\r\n").is_ok()
                        && connection.read_line(&mut reply).is_ok_and(|length| length > 0)
                        && reply.starts_with(':')
                });
                if published {
                    acknowledged.lock().expect("not poisoned").insert(number);
                } else {
                    connection = None;
                }
                thread::sleep(MS);
            }
        }));
        this
    }

    /// The numbers from one up to another one, without it, that the server has said it has published.
    fn taken_between(&self, from: u64, to: u64) -> Vec<u64> {
        self.acknowledged.lock().expect("not poisoned").range(from..to).copied().collect()
    }
}

impl Drop for NumberPublisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Guards against: no gap after a loss, and a gap behind the first message.
async fn p1_thirty_faults_leave_no_message_missing_that_lies_in_no_gap(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    let proxy = TcpProxy::before(server.port());
    let manager = one_pool(2).health_check_timeout(200 * MS).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&proxy.url()).await.expect("the server is up");
    let mut subscriber = manager.subscriber_with(&proxy.url(), quick()).expect("valid settings");
    subscriber.subscribe(["numbers"]).await.expect("confirmed");
    let publisher = NumberPublisher::start(server.port(), "numbers");
    let mut checker = NumberChecker::default();
    // All of them on Debian's server; the others have the first ten, since the client is the same.
    let faults = if std::env::var("TESTED_SERVER").is_ok_and(|name| name != "debian") { 10 } else { 30 };
    for fault in 0..faults {
        match fault % 5 {
            0 | 3 => drop(server.try_command(&["CLIENT", "KILL", "TYPE", "pubsub"])),
            1 => server.restart(),
            2 => {
                server.stop_process();
                thread::sleep(350 * MS);
                server.continue_process();
            }
            _ => proxy.forget_connections(),
        }
        // Until messages come again, with the gap before them.
        let gaps = checker.gaps;
        let mut after = 0;
        let begun_at = runtime.now();
        while after < 20 {
            let event = next(&mut subscriber, &runtime).await;
            checker.note(&event, &publisher);
            let is_told = checker.gaps > gaps || (fault % 5 == 2 && begun_at + 600 * MS < runtime.now());
            after += usize::from(is_told && matches!(event, Event::Message { .. }));
        }
    }
    assert!((faults * 4 / 5..=faults * 4 / 3).contains(&checker.gaps), "one for each outage: {}", checker.gaps);
    let until_number = publisher.next.load(Ordering::SeqCst) + 1_000;
    let gaps = checker.gaps;
    while checker.last < until_number {
        let event = next(&mut subscriber, &runtime).await;
        checker.note(&event, &publisher);
    }
    assert_eq!(checker.gaps, gaps, "after the last fault none is missing");
    assert_eq!(status(&manager).active, 1);
    drop(publisher);
}

/// Guards against: a subscriber that waits for a connection that nothing comes from.
async fn p2_a_half_open_connection_is_replaced_within_the_interval_and_the_timeout(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let proxy = TcpProxy::before(server.port());
    let manager = one_pool(2).health_check_timeout(300 * MS).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&proxy.url()).await.expect("the server is up");
    let options = SubscriberOptions::default().ping_interval(200 * MS);
    let mut subscriber = manager.subscriber_with(&proxy.url(), options).expect("valid settings");
    subscriber.subscribe(["news"]).await.expect("confirmed");
    assert!(matches!(next(&mut subscriber, &runtime).await, Event::Subscribed { .. }));
    let begun_at = runtime.now();
    proxy.forget_connections();
    let event = next(&mut subscriber, &runtime).await;
    let Event::Gap { lasted, channels, .. } = &event else { panic!("{event:?}") };
    assert_eq!(**channels, [Topic::new(TopicKind::Channel, "news")]);
    let took = runtime.now().saturating_duration_since(begun_at);
    // The pool may lend one that is as dead, and finds that out by itself.
    assert!(took <= 500 * MS + 500 * MS + SLACK && *lasted <= took + 200 * MS + SLACK, "{took:?} {lasted:?}");
    server.command(&["PUBLISH", "news", "back"]);
    assert_eq!(next_text(&mut subscriber, &runtime).await, "back");
}

/// Guards against: a round trip for each name.
async fn thousands_of_subscriptions_come_back_within_a_second_of_the_server(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut subscriber = manager.subscriber(&server.url()).expect("the node is there");
    subscriber.subscribe((0..1_000).map(|number| format!("channel-{number}"))).await.expect("confirmed");
    subscriber.psubscribe((0..200).map(|number| format!("pattern-{number}-*"))).await.expect("confirmed");
    server.restart();
    let back_at = runtime.now();
    until(&runtime, "all are back", || {
        server.command(&["PUBSUB", "NUMPAT"]) == "200" && server.command(&["PUBSUB", "CHANNELS"]).lines().count() == 1_000
    })
    .await;
    let took = runtime.now().saturating_duration_since(back_at);
    assert!(took < SLACK, "{took:?}");
    let mut gaps = 0;
    loop {
        match next(&mut subscriber, &runtime).await {
            Event::Subscribed { .. } => {}
            Event::Gap { channels, .. } => {
                assert_eq!(channels.len(), 1_200);
                gaps += 1;
                server.command(&["PUBLISH", "pattern-7-x", "end"]);
            }
            Event::Message { channel, pattern, .. } => {
                assert_eq!((&channel[..], pattern.as_deref()), (&b"pattern-7-x"[..], Some(&b"pattern-7-*"[..])));
                break;
            }
            other @ (Event::Unsubscribed { .. } | _) => panic!("{other:?}"),
        }
    }
    assert_eq!(gaps, 1);
    let counts = manager.node(&server.url()).expect("it is there").command_metrics().subscriptions;
    assert_eq!((counts.gaps, counts.resubscriptions), (1, 1));
    assert!(counts.gap_time > Duration::ZERO);
}

async fn a_subscriber_waits_for_a_server_that_is_not_there_yet(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    let url = server.url();
    server.kill();
    let manager = one_pool(2).default_timeout(500 * MS).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool_lazy(&url).expect("a URL");
    let mut subscriber = manager.subscriber(&url).expect("no server is needed");
    let error = subscriber.subscribe(["early"]).await.expect_err("there is no server");
    assert!(matches!(error, SubscribeError::Timeout { .. }), "{error}");
    let late = {
        let waiting = subscriber.subscribe(["late"]);
        server.spawn_on_same_port();
        waiting.await
    };
    if late.is_err() {
        subscriber.subscribe(["late"]).await.expect("the server is up");
    }
    server.wait_until_up();
    assert_eq!(["early", "late"].map(|channel| server.command(&["PUBLISH", channel, "1"])), ["0", "1"]);
    assert_eq!(next_text(&mut subscriber, &runtime).await, "1");
    drop(subscriber);
    assert_full_capacity(&manager, &server, 2).await;
}
