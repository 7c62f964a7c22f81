//! The nodes of a fake cluster answer as those of a real one, but for ids, addresses, times and epochs.

use std::thread;
use std::time::{Duration, Instant};

use redis_manager::testing::{ClusterShape, FakeCluster, FakeNetwork, FakeRuntime, PreferredEndpoint};
use redis_manager_tests::cluster::{TestCluster, TestClusterNode};

use crate::fake_client::{FakeClient, plain};
use crate::wire::{RealConnection, WireValue, encode};

/// What is asked of the first primary and of its replica, on each protocol. `%P0`, `%P1`, `%R0`: ids of primaries and a replica.
const QUESTIONS: &[&str] = &[
    "CLUSTER SLOTS",
    "CLUSTER SHARDS",
    "CLUSTER NODES",
    "CLUSTER INFO",
    "CLUSTER MYID",
    "CLUSTER KEYSLOT foo",
    "CLUSTER KEYSLOT {user1000}.following",
    "CLUSTER KEYSLOT foo{}{bar}",
    "CLUSTER KEYSLOT foo{{bar}}zap",
    "CLUSTER REPLICAS %P0",
    "CLUSTER REPLICAS %R0",
    "CLUSTER REPLICAS abc",
    "CLUSTER COUNTKEYSINSLOT 3300",
    "CLUSTER COUNTKEYSINSLOT 99999",
    "CLUSTER COUNTKEYSINSLOT x",
    "CLUSTER GETKEYSINSLOT 3300 10",
    "CLUSTER GETKEYSINSLOT 3300 -1",
    "CLUSTER COUNT-FAILURE-REPORTS abc",
    "CLUSTER COUNT-FAILURE-REPORTS %P1",
    "CLUSTER NOTHING",
    "CLUSTER SLOTS x",
    "CLUSTER",
    "CLUSTER FAILOVER NOW",
    "CLUSTER REPLICATE abc",
    "CLUSTER REPLICATE %R0",
    "CLUSTER FORGET abc",
    "CLUSTER FORGET %P0",
    "CLUSTER ADDSLOTS 3300",
    "CLUSTER ADDSLOTSRANGE 1 2 3",
    "CLUSTER DELSLOTS 99999",
    "CLUSTER SETSLOT 3300 NODE abc",
    "CLUSTER SETSLOT 3300 NODE %R0",
    "CLUSTER SETSLOT 3300 MIGRATING abc",
    "CLUSTER SETSLOT 3300 MIGRATING %R0",
    "CLUSTER SETSLOT 7365 MIGRATING %P1",
    "CLUSTER SETSLOT 3300 IMPORTING %P1",
    "CLUSTER SETSLOT 7365 IMPORTING abc",
    "CLUSTER SETSLOT 3300 NOTHING",
    "CLUSTER SETSLOT 99999 STABLE",
    "CLUSTER SETSLOT 3300 NODE %P1",
    "GET a",
    "GET b",
    "SET c x",
    "MGET a b",
    "MGET a {a}1",
    "SELECT 1",
    "SELECT 0",
    "SPUBLISH a x",
    "SSUBSCRIBE a b",
    "SSUBSCRIBE a",
    "WATCH a",
    "BLPOP a b 0",
    "XREAD STREAMS a 0",
    "EVAL x 1 a",
    "MULTI",
    "GET a",
    "EXEC",
    "REPLICAOF NO ONE",
    "ASKING",
    "ASKING x",
    "GET a",
    "READONLY",
    "GET b",
    "GET a",
    "SET b x",
    "READWRITE",
    "READONLY x",
    "WAIT 0 0",
    "SPUBLISH b x",
    "SSUBSCRIBE b",
    "SUNSUBSCRIBE b",
];

/// A slot moves from the first primary to the second one: who is asked, and what.
const MOVE: &[(usize, &str)] = &[
    (1, "CLUSTER SETSLOT 3300 IMPORTING %P0"),
    (0, "CLUSTER SETSLOT 3300 MIGRATING %P1"),
    (0, "CLUSTER NODES"),
    (1, "CLUSTER NODES"),
    (0, "GET b"),
    (0, "GET {b}no"),
    (0, "SET {b}no 1"),
    (0, "MGET b {b}no"),
    (0, "MGET {b}no {b}nor"),
    (0, "MULTI"),
    (0, "GET b"),
    (0, "GET {b}no"),
    (0, "EXEC"),
    (1, "GET b"),
    (1, "ASKING"),
    (1, "GET {b}no"),
    (1, "GET {b}no"),
    (1, "ASKING"),
    (1, "SET {b}no 2"),
    (1, "ASKING"),
    (1, "MGET {b}no b"),
    (1, "ASKING"),
    (1, "MULTI"),
    (1, "GET {b}no"),
    (1, "GET {b}nor"),
    (1, "EXEC"),
    (1, "GET {b}no"),
    (3, "READONLY"),
    (3, "GET {b}no"),
    (3, "GET b"),
    (0, "CLUSTER SETSLOT 3300 NODE %P1"),
    (0, "CLUSTER COUNTKEYSINSLOT 3300"),
    (0, "DEL b"),
    (1, "CLUSTER SETSLOT 3300 NODE %P1"),
    (0, "CLUSTER SETSLOT 3300 NODE %P1"),
    (0, "GET b"),
    (1, "GET b"),
    (1, "GET {b}no"),
    (0, "CLUSTER SLOTS"),
    (1, "CLUSTER SLOTS"),
    (0, "CLUSTER NODES"),
    (1, "CLUSTER GETKEYSINSLOT 3300 10"),
];

/// One side of the comparison: a way to ask, and the names of its nodes.
struct ClusterSide<'a> {
    ask: Box<dyn FnMut(&str) -> WireValue + 'a>,
    /// Id, host, port; the primaries first, then the replicas.
    nodes: Vec<(String, String, u16)>,
}

impl ClusterSide<'_> {
    fn ask(&mut self, question: &str) -> String {
        let names = [("%P0", 0), ("%P1", 1), ("%R0", 3)];
        let question = names.iter().fold(question.to_owned(), |text, (name, at)| text.replace(name, &self.nodes[*at].0));
        let reply = (self.ask)(&question);
        let text = plain(&reply);
        let text = if question == "CLUSTER NODES" || question.starts_with("CLUSTER REPLICAS") && !reply.is_error() {
            let lines = if reply.items.is_empty() { vec![text] } else { reply.items.iter().map(plain).collect() };
            let text = self.without_names(&nodes_without_times(&lines.join("\n")));
            sorted(text.lines().map(str::to_owned).collect()).join("\n")
        } else if question == "CLUSTER INFO" {
            let is_compared = |line: &&str| !line.contains("_stats_") && !line.contains("epoch");
            text.lines().filter(is_compared).collect::<Vec<_>>().join("\n")
        } else if question == "CLUSTER SHARDS" {
            shards_without_offsets(&reply)
        } else {
            text
        };
        format!("{} {}", kinds(&reply), self.without_names(&text))
    }

    fn without_names(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (number, (id, host, port)) in self.nodes.iter().enumerate() {
            text = text.replace(id, &format!("<id {number}>"));
            text = text.replace(&format!("{host}, {port}, <id {number}>"), &format!("<host>, <port>, <id {number}>"));
            text = text.replace(&format!("nil, {port}, <id {number}>"), &format!("nil, <port>, <id {number}>"));
            text = text.replace(&format!("@{}", u32::from(*port) + 10_000), "@<bus>");
            text = text.replace(&format!("<id {number}>, port, {port}, "), &format!("<id {number}>, port, <port>, "));
        }
        for (_, host, port) in &self.nodes {
            text = text.replace(&format!(", {port}, "), ", <port>, ");
            text = text.replace(&format!(":{port}"), ":<port>").replace(host, "<host>");
        }
        text
    }
}

/// The kinds of the values, from outside inwards; texts as `$`.
fn kinds(value: &WireValue) -> String {
    let mark = &value.line[..1];
    let inner: Vec<String> = value.items.iter().map(kinds).collect();
    if inner.is_empty() { mark.to_owned() } else { format!("{mark}({})", sorted(inner).join("")) }
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort();
    all
}

fn nodes_without_times(text: &str) -> String {
    let line = |line: &str| {
        let mut fields: Vec<_> = line.split(' ').map(str::to_owned).collect();
        for at in [4, 5, 6] {
            if let Some(field) = fields.get_mut(at).filter(|field| *field != "0") {
                *field = "<number>".to_owned();
            }
        }
        // The first pong may not have come yet.
        if let Some(pong) = fields.get_mut(5) {
            *pong = "<number>".to_owned();
        }
        fields.join(" ")
    };
    text.trim_start_matches("txt:").lines().map(line).collect::<Vec<_>>().join("\n")
}

fn shards_without_offsets(value: &WireValue) -> String {
    let mut value = value.clone();
    for shard in &mut value.items {
        for node in shard.items.iter_mut().flat_map(|field| &mut field.items) {
            let at = node.items.iter().position(|field| field.text == b"replication-offset");
            if let Some(at) = at {
                node.items[at + 1].line = ":<offset>".into();
            }
        }
    }
    sorted(value.items.iter().map(plain).collect()).join("\n")
}

fn fake_nodes(cluster: &FakeCluster) -> Vec<(String, String, u16)> {
    let nodes = cluster.nodes();
    nodes.iter().map(|node| (node.id.clone(), node.address.ip().to_string(), node.address.port())).collect()
}

/// The first primary, and its replica; then the others in the same order.
fn real_nodes(cluster: &TestCluster) -> Vec<TestClusterNode> {
    cluster.nodes()
}

fn real_side<'a>(cluster: &TestCluster, of: &TestClusterNode) -> ClusterSide<'a> {
    let mut connection = RealConnection::open(of.port());
    let ask = move |question: &str| {
        connection.send(&encode(&question.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>()));
        connection.read().unwrap_or_else(|error| panic!("{question}: {error}"))
    };
    let nodes = real_nodes(cluster);
    let nodes = nodes.iter().map(|node| (node.id().to_owned(), "127.0.0.1".to_owned(), node.port())).collect();
    ClusterSide { ask: Box::new(ask), nodes }
}

fn fake_side<'a>(network: &FakeNetwork, cluster: &FakeCluster, number: usize) -> ClusterSide<'a> {
    let mut client = FakeClient::of(network, cluster, number);
    let ask = move |question: &str| client.try_ask(question).unwrap_or_else(|| panic!("no reply to {question}"));
    ClusterSide { ask: Box::new(ask), nodes: fake_nodes(cluster) }
}

/// Waits until the real nodes have told each other how far they are.
fn write_and_wait(cluster: &TestCluster) {
    let nodes = real_nodes(cluster);
    for (node, key) in nodes.iter().zip(["b", "c", "a"]) {
        assert_eq!(node.command(&["SET", key, "1"]), "OK");
    }
    let all_told = || nodes[..4].iter().all(|node| !node.command(&["CLUSTER", "SHARDS"]).contains("loading"));
    let begun_at = Instant::now();
    while !all_told() {
        assert!(begun_at.elapsed() < Duration::from_secs(20), "no offsets");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Seen to bite: with `slots` of CLUSTER SHARDS as texts, as the documentation of 7.0 could be read.
#[test]
fn nodes_of_a_fake_cluster_answer_as_those_of_a_real_one() {
    let real = TestCluster::start();
    let runtime = FakeRuntime::new(1);
    let network = FakeNetwork::new(&runtime);
    let fake = FakeCluster::start(&network, ClusterShape::default()).expect("a free name");
    write_and_wait(&real);
    for (number, key) in ["b", "c", "a"].iter().enumerate() {
        assert_eq!(FakeClient::of(&network, &fake, number).ask(&format!("SET {key} 1")), "OK");
    }
    runtime.advance(Duration::from_secs(1));
    let nodes = real_nodes(&real);
    let mut wrong = Vec::new();
    for number in [0, 3] {
        for protocol in ["2", "3"] {
            let (mut expected, mut got) = (real_side(&real, &nodes[number]), fake_side(&network, &fake, number));
            let hello = format!("HELLO {protocol}");
            (expected.ask)(&hello);
            (got.ask)(&hello);
            for question in QUESTIONS {
                let (expected, got) = (expected.ask(question), got.ask(question));
                if expected != got {
                    wrong.push(format!("node {number}, RESP{protocol}, {question}:\n  real {expected}\n  fake {got}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Seen to bite: with `?` for a node without a host name left out.
#[test]
fn endpoints_are_told_as_by_a_real_node() {
    let real = TestCluster::start();
    let runtime = FakeRuntime::new(1);
    let network = FakeNetwork::new(&runtime);
    let fake = FakeCluster::start(&network, ClusterShape::default()).expect("a free name");
    write_and_wait(&real);
    for (number, key) in ["b", "c", "a"].iter().enumerate() {
        assert_eq!(FakeClient::of(&network, &fake, number).ask(&format!("SET {key} 1")), "OK");
    }
    runtime.advance(Duration::from_secs(1));
    let nodes = real_nodes(&real);
    nodes[1].command(&["CONFIG", "SET", "cluster-announce-hostname", "one.test"]);
    fake.announce_hostname(1, "one.test");
    let begun_at = Instant::now();
    while !nodes[0].command(&["CLUSTER", "NODES"]).contains("one.test") {
        assert!(begun_at.elapsed() < Duration::from_secs(20), "no host name");
        thread::sleep(Duration::from_millis(50));
    }
    runtime.advance(Duration::from_secs(1));
    let mut wrong = Vec::new();
    let kinds = [
        ("ip", PreferredEndpoint::Ip),
        ("hostname", PreferredEndpoint::Hostname),
        ("unknown-endpoint", PreferredEndpoint::UnknownEndpoint),
    ];
    for (word, endpoint) in kinds {
        nodes[0].command(&["CONFIG", "SET", "cluster-preferred-endpoint-type", word]);
        fake.set(Some(0), |settings| settings.preferred_endpoint = endpoint);
        let (mut expected, mut got) = (real_side(&real, &nodes[0]), fake_side(&network, &fake, 0));
        for question in ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES", "GET c", "GET a"] {
            let (expected, got) = (expected.ask(question), got.ask(question));
            if expected != got {
                wrong.push(format!("{word}, {question}:\n  real {expected}\n  fake {got}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Seen to bite: with ASK for several keys of which one is there.
#[test]
fn a_slot_moves_as_between_real_nodes() {
    let real = TestCluster::start();
    let runtime = FakeRuntime::new(1);
    let network = FakeNetwork::new(&runtime);
    let fake = FakeCluster::start(&network, ClusterShape::default()).expect("a free name");
    write_and_wait(&real);
    for (number, key) in ["b", "c", "a"].iter().enumerate() {
        assert_eq!(FakeClient::of(&network, &fake, number).ask(&format!("SET {key} 1")), "OK");
    }
    runtime.advance(Duration::from_secs(1));
    let mut reals: Vec<_> = real_nodes(&real).iter().map(|node| real_side(&real, node)).collect();
    let mut fakes: Vec<_> = (0..6).map(|number| fake_side(&network, &fake, number)).collect();
    for (number, question) in MOVE {
        let (expected, got) = (reals[*number].ask(question), fakes[*number].ask(question));
        assert_eq!(got, expected, "node {number}, {question}");
    }
}
