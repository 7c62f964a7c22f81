//! Sharded channels of one subscriber of a real cluster: they follow their slots, and no message is missing that lies in no gap.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use redis_manager::Subscriber;
use redis_manager::pub_sub::{Event, SubscribeError, TopicKind};
use redis_manager::runtime::Network;
use redis_manager_tests::cluster::{SLOTS, TestCluster, TestClusterNode, key_for_slot};
use redis_manager_tests::tasks::until;

use crate::MS;
use crate::cluster::{NAME, builder, on_tokio_and_smol};
use crate::subscriber::{next, quick};

on_tokio_and_smol! {
    p4_no_message_is_missing_that_lies_in_no_gap_while_slots_move_and_a_primary_dies needs ShardedChannels;
    p4_each_node_with_channels_has_a_connection_and_no_other_node needs ShardedChannels;
}

/// Two of one node, and one of each of the others.
fn channels() -> Vec<String> {
    [0, 1, 8_000, SLOTS - 1].map(|slot| format!("shard:{}", key_for_slot(slot))).to_vec()
}

/// What was published, by channel: the numbers that a node has said it has published.
type TakenNumbers = BTreeMap<String, BTreeSet<u64>>;

/// A thread that publishes numbers in order, channel by channel, each at the owner of its slot.
struct ShardPublisher {
    stop: Arc<AtomicBool>,
    taken: Arc<Mutex<TakenNumbers>>,
    thread: Option<JoinHandle<()>>,
}

impl ShardPublisher {
    fn start(cluster: &TestCluster, channels: Vec<String>) -> Self {
        let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(TakenNumbers::new())));
        let ports: Vec<u16> = cluster.nodes().iter().map(|node| node.port()).collect();
        let mut this = Self { stop: Arc::clone(&stop), taken: Arc::clone(&taken), thread: None };
        this.thread = Some(thread::spawn(move || {
            let mut connections: BTreeMap<u16, BufReader<TcpStream>> = BTreeMap::new();
            let mut owners: BTreeMap<String, u16> = BTreeMap::new();
            let mut turn = 0;
            for number in 1_u64.. {
                for channel in &channels {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let port = *owners.entry(channel.clone()).or_insert_with(|| {
                        turn += 1;
                        ports[turn % ports.len()]
                    });
                    let reply = ask(&mut connections, port, &format!("SPUBLISH {channel} {number}\r\n"));
                    if reply.starts_with(':') {
                        taken.lock().expect("not poisoned").entry(channel.clone()).or_default().insert(number);
                    } else if let Some(owner) = reply.trim_end().rsplit_once(':').filter(|_| reply.starts_with("-MOVED")) {
                        owners.insert(channel.clone(), owner.1.parse().expect("a port"));
                    } else {
                        owners.remove(channel);
                    }
                    thread::sleep(MS);
                }
            }
        }));
        this
    }

    /// The last number that a node has published on each channel.
    fn last(&self) -> BTreeMap<String, u64> {
        let taken = self.taken.lock().expect("not poisoned");
        taken.iter().filter_map(|(channel, numbers)| Some((channel.clone(), *numbers.last()?))).collect()
    }

    fn taken_between(&self, channel: &str, from: u64, to: u64) -> Vec<u64> {
        let taken = self.taken.lock().expect("not poisoned");
        taken.get(channel).map(|numbers| numbers.range(from..to).copied().collect()).unwrap_or_default()
    }
}

/// The first line of the reply; nothing without a connection, or within half a second.
fn ask(connections: &mut BTreeMap<u16, BufReader<TcpStream>>, port: u16, command: &str) -> String {
    if !connections.contains_key(&port)
        && let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
    {
        stream.set_read_timeout(Some(500 * MS)).expect("a length");
        connections.insert(port, BufReader::new(stream));
    }
    let Some(connection) = connections.get_mut(&port) else { return String::new() };
    let mut reply = String::new();
    let is_answered =
        write!(connection.get_mut(), "{command}").is_ok() && connection.read_line(&mut reply).is_ok_and(|length| length > 0);
    if !is_answered {
        connections.remove(&port);
        reply.clear();
    }
    reply
}

impl Drop for ShardPublisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What events say of the numbers of each channel.
#[derive(Default)]
struct ShardChecker {
    last: BTreeMap<String, u64>,
    in_gap: BTreeSet<String>,
    /// The channels of each gap.
    gaps: Vec<Vec<String>>,
}

impl ShardChecker {
    /// Those that no node took need not come.
    fn note(&mut self, event: &Event, publisher: &ShardPublisher) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        match event {
            Event::Message { payload, channel, kind, .. } => {
                let (number, channel): (u64, _) = (text(payload).parse().expect("a number"), text(channel));
                assert_eq!(*kind, TopicKind::Sharded);
                let last = self.last.insert(channel.clone(), number);
                let had_gap = self.in_gap.remove(&channel);
                let Some(last) = last else { return };
                assert!(number > last, "{channel}: {number} after {last}");
                let missing = publisher.taken_between(&channel, last + 1, number);
                assert!(had_gap || missing.is_empty(), "{channel}: {missing:?} are missing, and lie in no gap");
            }
            Event::Gap { channels, .. } => {
                let names: Vec<String> = channels.iter().map(|topic| text(&topic.name)).collect();
                self.in_gap.extend(names.iter().cloned());
                self.gaps.push(names);
            }
            Event::Subscribed { .. } => {}
            other @ (Event::Unsubscribed { .. } | _) => panic!("{other:?}"),
        }
    }

    /// Reads until so many more numbers of each channel have come than a node has published by now.
    async fn read_on(&mut self, more: u64, subscriber: &mut Subscriber, publisher: &ShardPublisher, runtime: &impl Network) {
        let goal: BTreeMap<String, u64> = publisher.last().into_iter().map(|(channel, last)| (channel, last + more)).collect();
        while goal.iter().any(|(channel, goal)| self.last.get(channel).is_none_or(|last| last < goal)) {
            let event = next(subscriber, runtime).await;
            self.note(&event, publisher);
        }
    }
}

/// Guards against: a channel that stays with a node that has lost its slot, and no gap where one has moved.
async fn p4_no_message_is_missing_that_lies_in_no_gap_while_slots_move_and_a_primary_dies(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().require_full_coverage(false).start();
    let manager = builder(&cluster).health_check_timeout(300 * MS).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    let mut subscriber = manager.subscriber_with(NAME, quick()).expect("valid settings");
    let channels = channels();
    subscriber.ssubscribe(&channels).await.expect("confirmed");
    let publisher = ShardPublisher::start(&cluster, channels.clone());
    until(&runtime, "each channel has numbers", || publisher.last().len() == channels.len()).await;
    let mut checker = ShardChecker::default();
    checker.read_on(20, &mut subscriber, &publisher, &runtime).await;
    assert!(checker.gaps.is_empty(), "{:?}", checker.gaps);
    let homes = [cluster.owner_of_slot(0), cluster.owner_of_slot(SLOTS - 1)];
    let moves = 8;
    for round in 1..=moves {
        cluster.move_slots(0..=1, &homes[round % 2]);
        checker.read_on(20, &mut subscriber, &publisher, &runtime).await;
        let moved: BTreeSet<&String> = checker.gaps.iter().flatten().collect();
        assert!(moved.iter().all(|channel| channels[..2].contains(channel)), "only of those that moved: {:?}", checker.gaps);
    }
    assert!((moves..=2 * moves).contains(&checker.gaps.len()), "one for each move, or for each of the two: {:?}", checker.gaps);
    checker.gaps.clear();
    let owner = cluster.owner_of_slot(8_000);
    owner.kill();
    cluster.wait_for_promotion(&owner);
    checker.read_on(20, &mut subscriber, &publisher, &runtime).await;
    assert_eq!(checker.gaps, [[channels[2].clone()]], "one for the channel of the node that has died");
    owner.restart();
    cluster.wait_until_whole();
    checker.read_on(20, &mut subscriber, &publisher, &runtime).await;
    let gaps = checker.gaps.len();
    checker.read_on(250, &mut subscriber, &publisher, &runtime).await;
    assert_eq!(checker.gaps.len(), gaps, "after the last fault none is missing");
    drop(publisher);
    manager.close_all_pools().await;
    assert!(matches!(subscriber.ssubscribe(["late"]).await, Err(SubscribeError::Ended(_))));
}

/// Guards against: one connection for each slot, and connections that stay when their last channel has gone.
async fn p4_each_node_with_channels_has_a_connection_and_no_other_node(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).start();
    let manager = builder(&cluster).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    let subscriber = manager.subscriber(NAME).expect("it is there");
    let subscribers = || cluster.primaries().iter().map(subscribed_clients).collect::<Vec<usize>>();
    let channels = channels();
    subscriber.ssubscribe(&channels).await.expect("confirmed");
    assert_eq!(subscribers(), [1, 1, 1]);
    let owner = cluster.owner_of_slot(0);
    for (name, count) in [(&channels[0], 1), (&channels[1], 0)] {
        subscriber.sunsubscribe([name]).await.expect("confirmed");
        until(&runtime, "a node without a channel has no subscriber", || subscribed_clients(&owner) == count).await;
    }
    // Its connection goes with the one channel that is left there.
    cluster.move_slots(SLOTS - 1, &owner);
    until(&runtime, "the channel has followed its slot", || subscribers() == [1, 1, 0]).await;
    drop(subscriber);
    until(&runtime, "all are given up", || subscribers() == [0, 0, 0]).await;
}

/// Connections that are subscribed to something.
fn subscribed_clients(node: &TestClusterNode) -> usize {
    node.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().filter(|line| line.starts_with("id=")).count()
}
