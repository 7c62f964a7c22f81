//! A fake primary and its replicas: what is copied and when, what replicas refuse, WAIT, and what a change of roles loses.

use std::time::Duration;

use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};

use crate::fake_client::{FakeClient, plain};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

struct ReplicaPair {
    runtime: FakeRuntime,
    network: FakeNetwork,
    primary: FakeRedis,
    replica: FakeRedis,
}

impl ReplicaPair {
    fn start() -> Self {
        let runtime = FakeRuntime::new(1);
        let network = FakeNetwork::new(&runtime);
        let primary = FakeRedis::start(&network, "primary.test").expect("free");
        let replica = FakeRedis::start(&network, "replica.test").expect("free");
        replica.set_replication_delay(100 * MS);
        Self { runtime, network, primary, replica }
    }

    fn client(&self, server: &FakeRedis) -> FakeClient {
        FakeClient::connect(&self.network, server.address())
    }
}

/// Seen to bite: with a replica that takes writes.
#[test]
fn a_replica_copies_all_and_then_each_write_after_a_while() {
    let pair = ReplicaPair::start();
    let (mut primary, mut replica) = (pair.client(&pair.primary), pair.client(&pair.replica));
    assert_eq!(primary.ask("SET k 1 PX 5000"), "OK");
    assert_eq!(primary.ask("XADD s 1-1 f v"), "1-1");
    assert_eq!(replica.ask("SET own 1"), "OK");
    assert_eq!(replica.ask("REPLICAOF primary.test 6379"), "OK");
    assert_eq!(replica.ask("GET own"), "nil");
    assert_eq!(replica.ask("GET k"), "1");
    assert_eq!(replica.ask("SET k 2"), "-READONLY You can't write against a read only replica.");
    assert_eq!(primary.ask("MULTI"), "OK");
    primary.ask("SET k 2 KEEPTTL");
    primary.ask("LPUSH l a b");
    primary.ask("XGROUP CREATE s g 0");
    assert_eq!(primary.ask("EXEC"), "[OK, 2, OK]");
    pair.runtime.advance(90 * MS);
    assert_eq!((replica.ask("GET k"), replica.ask("LLEN l")), ("1".into(), "0".into()));
    pair.runtime.advance(20 * MS);
    assert_eq!((replica.ask("GET k"), replica.ask("LLEN l")), ("2".into(), "2".into()));
    assert_eq!(replica.ask("XINFO GROUPS s").matches("name, g").count(), 1);
    primary.ask("XREADGROUP GROUP g c STREAMS s >");
    assert_eq!(primary.ask("DEL l"), "1");
    pair.runtime.advance(SECOND);
    assert_eq!(replica.ask("EXISTS l"), "0");
    assert_eq!(replica.ask("XPENDING s g").split(',').next(), Some("[1"));
    pair.runtime.advance(5 * SECOND);
    assert_eq!((primary.ask("GET k"), replica.ask("GET k")), ("nil".into(), "nil".into()));
}

/// Seen to bite: with a role that does not follow the link.
#[test]
fn both_say_their_roles_and_how_far_they_are() {
    let pair = ReplicaPair::start();
    let (mut primary, mut replica) = (pair.client(&pair.primary), pair.client(&pair.replica));
    pair.replica.replicate(Some(&pair.primary));
    primary.ask("SET k 1");
    pair.runtime.advance(SECOND);
    let offset = pair.client(&pair.primary).ask("ROLE").split([',', '[']).nth(2).expect("an offset").trim().to_owned();
    assert_eq!(primary.ask("ROLE"), format!("[master, {offset}, [[10.0.0.2, 6379, {offset}]]]"));
    assert_eq!(replica.ask("ROLE"), format!("[slave, 10.0.0.1, 6379, connected, {offset}]"));
    let says = |client: &mut FakeClient, line: &str| client.ask("INFO replication").lines().any(|own| own == line);
    assert!(says(&mut primary, "role:master") && says(&mut primary, "connected_slaves:1"));
    assert!(says(&mut primary, &format!("slave0:ip=10.0.0.2,port=6379,state=online,offset={offset},lag=0")));
    assert!(says(&mut replica, "role:slave") && says(&mut replica, "master_host:10.0.0.1"));
    assert!(says(&mut replica, "master_link_status:up") && says(&mut replica, &format!("slave_repl_offset:{offset}")));
    pair.primary.kill();
    pair.runtime.advance(2 * SECOND);
    assert_eq!(replica.ask("ROLE"), "[slave, 10.0.0.1, 6379, connect, -1]");
    assert!(says(&mut replica, "master_link_status:down"));
    assert_eq!(replica.ask("GET k"), "1");
    assert_eq!(replica.ask("CONFIG SET replica-serve-stale-data no"), "OK");
    let stale = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    assert_eq!(replica.ask("GET k"), stale);
    assert_eq!(replica.ask("PING"), stale);
    pair.primary.start_again().expect("free");
    pair.runtime.advance(2 * SECOND);
    assert_eq!(replica.ask("GET k"), "1");
    pair.replica.kill();
    pair.runtime.advance(MS);
    let mut primary = pair.client(&pair.primary);
    assert!(says(&mut primary, "connected_slaves:0"));
}

/// Seen to bite: with a WAIT that counts replicas that are behind.
#[test]
fn wait_is_answered_when_so_many_replicas_have_all_or_at_its_timeout() {
    let pair = ReplicaPair::start();
    pair.replica.replicate(Some(&pair.primary));
    let mut primary = pair.client(&pair.primary);
    primary.ask("SET k 1");
    let asked_at = pair.runtime.now();
    assert_eq!(primary.ask("WAIT 1 1000"), "1");
    let took = pair.runtime.now().saturating_duration_since(asked_at);
    assert!((90 * MS..110 * MS).contains(&took), "{took:?}");
    assert_eq!(primary.ask("WAIT 1 0"), "1", "all is there");
    primary.ask("SET k 2");
    let asked_at = pair.runtime.now();
    assert_eq!(primary.ask("WAIT 2 50"), "0");
    assert!(pair.runtime.now().saturating_duration_since(asked_at) >= 50 * MS);
    pair.runtime.advance(SECOND);
    assert_eq!(primary.ask("WAIT 2 50"), "1");
    assert!(pair.client(&pair.replica).ask("WAIT 1 0").starts_with("-ERR WAIT cannot be used with replica instances."));
}

/// Seen to bite: with a promoted replica that keeps the history of its primary.
#[test]
fn a_primary_that_becomes_a_replica_loses_what_the_other_never_got() {
    let pair = ReplicaPair::start();
    pair.replica.replicate(Some(&pair.primary));
    let (mut primary, mut replica) = (pair.client(&pair.primary), pair.client(&pair.replica));
    primary.ask("SET a 1");
    pair.runtime.advance(SECOND);
    primary.ask("SET b 1");
    assert_eq!(replica.ask("REPLICAOF NO ONE"), "OK");
    assert_eq!(replica.ask("SET c 1"), "OK");
    let mut waiter = pair.client(&pair.primary);
    waiter.send("BLPOP q 0");
    pair.runtime.advance(MS);
    pair.primary.replicate(Some(&pair.replica));
    let unblocked = "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
    assert_eq!(plain(&waiter.read().expect("it is unblocked")), unblocked);
    pair.runtime.advance(SECOND);
    assert_eq!(primary.ask("MGET a b c"), "[1, nil, 1]");
    let lost: Vec<_> = pair.primary.lost_writes().into_iter().map(|write| (write.server, write.command)).collect();
    assert_eq!(lost, [("10.0.0.1:6379".to_owned(), ["SET", "b", "1"].map(|word| word.as_bytes().to_vec()).to_vec())]);
    assert!(pair.replica.lost_writes().is_empty());
}

/// Seen to bite: with a start that loads in no time.
#[test]
fn a_server_loads_its_data_for_a_while_after_its_start() {
    let pair = ReplicaPair::start();
    pair.primary.set_loading_time(SECOND);
    pair.primary.kill();
    pair.primary.start_again().expect("free");
    let mut client = pair.client(&pair.primary);
    assert_eq!(client.ask("GET k"), "-LOADING Redis is loading the dataset in memory");
    assert!(client.ask("INFO persistence").contains("loading:1"));
    pair.runtime.advance(SECOND);
    assert_eq!(client.ask("GET k"), "nil");
}

/// Seen to bite: with a frozen primary that goes on giving.
#[test]
fn black_holes_and_stopped_processes_hold_up_replicas_too() {
    let pair = ReplicaPair::start();
    pair.replica.replicate(Some(&pair.primary));
    let (mut primary, mut replica) = (pair.client(&pair.primary), pair.client(&pair.replica));
    primary.ask("SET k 1");
    pair.primary.freeze();
    pair.runtime.advance(SECOND);
    assert_eq!(replica.ask("GET k"), "nil");
    pair.primary.thaw();
    pair.runtime.advance(SECOND);
    assert_eq!(replica.ask("GET k"), "1");
    pair.replica.host().black_hole(redis_manager::testing::Direction::ToServer);
    primary.ask("SET k 2");
    pair.runtime.advance(SECOND);
    pair.replica.host().heal();
    assert_eq!(replica.ask("GET k"), "1");
    pair.runtime.advance(2 * SECOND);
    assert_eq!(replica.ask("GET k"), "2");
}
