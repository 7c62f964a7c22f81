//! Names with several addresses, as RFC 8305 has it: staggered, the first that accepts wins, and what worked is remembered.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis_manager::PoolArgs;
use redis_manager::runtime::{BoxStream, Instant, Network, Reply, Runtime, Spawn, Task, TcpOptions, Timer};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::until;

use crate::{MS, one_pool, status};

on_every_runtime! {
    h16_a_silent_address_costs_a_moment_once;
    h16_an_address_that_falls_silent_costs_a_moment_once;
    h16_of_two_addresses_that_accept_one_is_kept;
    h16_a_refusal_lets_the_next_address_be_dialled_at_once;
    h16_an_address_that_accepts_and_says_nothing_goes_last;
    h16_the_error_names_every_address_and_why_it_failed;
}

/// What an address does with those who dial it.
#[derive(Clone, Copy, Debug)]
enum AddressBehaviour {
    Never,
    Refused,
    /// It accepts after so long, at this port of 127.0.0.1.
    After(Duration, u16),
}

/// A network with a name service of its own: the name `several` has the addresses that the test says.
#[derive(Clone)]
struct Directory<R> {
    runtime: R,
    /// Their order is that of the resolver.
    addresses: Arc<Mutex<Vec<(SocketAddr, AddressBehaviour)>>>,
    /// How often each was dialled.
    dialled: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Shared by the attempts that are under way.
    under_way: Arc<AtomicUsize>,
}

/// Counts one attempt for as long as it lives.
struct CountedAttempt(Arc<AtomicUsize>);

impl CountedAttempt {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for CountedAttempt {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<R: Network + Clone> Directory<R> {
    /// The first address is 10.0.0.1.
    fn of(answers: &[AddressBehaviour], runtime: R) -> Self {
        let named = answers.iter().zip(1..).map(|(answer, last)| (ip(last), *answer));
        let addresses = named.map(|(ip, answer)| (SocketAddr::new(ip, 6379), answer)).collect();
        Self { runtime, addresses: Arc::new(Mutex::new(addresses)), dialled: Arc::default(), under_way: Arc::default() }
    }

    fn set(&self, last: u8, answer: AddressBehaviour) {
        lock(&self.addresses)[usize::from(last) - 1].1 = answer;
    }

    fn dialled(&self, last: u8) -> usize {
        lock(&self.dialled).get(&ip(last)).copied().unwrap_or(0)
    }

    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: Network> Timer for Directory<R> {
    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.runtime.sleep_until(deadline)
    }
}

impl<R: Network> Spawn for Directory<R> {
    fn spawn(&self, task: Task) {
        self.runtime.spawn(task);
    }
}

impl<R: Network> Runtime for Directory<R> {}

impl<R: Network> Network for Directory<R> {
    fn resolve<'a>(&'a self, host: &'a str, _port: u16) -> Reply<'a, Vec<SocketAddr>> {
        assert_eq!(host, "several");
        Box::pin(async { Ok(lock(&self.addresses).iter().map(|(address, _)| *address).collect()) })
    }

    fn connect_tcp<'a>(&'a self, address: SocketAddr, options: &'a TcpOptions) -> Reply<'a, BoxStream> {
        *lock(&self.dialled).entry(address.ip()).or_default() += 1;
        let answer = lock(&self.addresses).iter().find(|(known, _)| *known == address).expect("a known address").1;
        let under_way = CountedAttempt::new(&self.under_way);
        Box::pin(async move {
            let _under_way = under_way;
            match answer {
                AddressBehaviour::Never => std::future::pending().await,
                AddressBehaviour::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
                AddressBehaviour::After(delay, port) => {
                    self.runtime.sleep(delay).await;
                    self.runtime.connect_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), options).await
                }
            }
        })
    }

    fn connect_unix<'a>(&'a self, path: &'a Path) -> Reply<'a, BoxStream> {
        self.runtime.connect_unix(path)
    }
}

const URL: &str = "redis://several";

/// One address may take longer than the tests.
fn patient() -> PoolArgs {
    let mut args = PoolArgs::default();
    args.dial_timeout = 4_000 * MS;
    args
}

/// Seen to bite: with one address after the other (4 s), and with the order of the resolver at each dial.
async fn h16_a_silent_address_costs_a_moment_once(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let live = AddressBehaviour::After(Duration::ZERO, server.port());
    let network = Directory::of(&[AddressBehaviour::Never, live], runtime.clone());
    let manager = one_pool(4).pool_args(patient()).build(network.clone()).expect("valid settings");
    let begun_at = runtime.now();
    manager.add_node_pool(URL).await.expect("one address lives");
    let waited = runtime.now().saturating_duration_since(begun_at);
    assert!((250 * MS..3_000 * MS).contains(&waited), "a moment: {waited:?}");
    assert_eq!(network.under_way(), 0, "the attempt that lost is dropped");

    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(manager.get_client(URL).await.expect("a client"));
    }
    // On a busy machine it may take more than a moment itself.
    assert!(network.dialled(1) < network.dialled(2), "what worked is dialled first: {:?}", network.dialled);
    let more = manager.get_client_timeout(URL, 30 * MS).await;
    assert!(more.is_err(), "the limit holds: {more:?}");
    assert_eq!(server.client_count(), 4);
}

/// Seen to bite: with the order of the resolver at each dial.
async fn h16_an_address_that_falls_silent_costs_a_moment_once(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let live = AddressBehaviour::After(Duration::ZERO, server.port());
    let network = Directory::of(&[live, live], runtime.clone());
    let manager = one_pool(2).pool_args(patient()).build(network.clone()).expect("valid settings");
    manager.add_node_pool(URL).await.expect("both live");
    network.set(1, AddressBehaviour::Never);
    let dialled_before = network.dialled(1);
    let first = manager.get_client(URL).await.expect("an idle one");
    let begun_at = runtime.now();
    let second = manager.get_client(URL).await.expect("the other address lives");
    let waited = runtime.now().saturating_duration_since(begun_at);
    assert!((200 * MS..3_000 * MS).contains(&waited), "a moment: {waited:?}");
    drop((first, second));

    for _ in 0..4 {
        let dialled = network.dialled(2);
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        until(&runtime, "a new one", || network.dialled(2) > dialled && status(&manager).idle > 0).await;
    }
    let silent = network.dialled(1) - dialled_before;
    assert!(silent < network.dialled(2), "it goes last from then on: {silent} of {}", network.dialled(2));
}

/// Seen to bite: with the attempts of losers kept in the dialler.
async fn h16_of_two_addresses_that_accept_one_is_kept(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let slow = AddressBehaviour::After(300 * MS, server.port());
    let network = Directory::of(&[slow, slow], runtime.clone());
    let manager = one_pool(1).build(network.clone()).expect("valid settings");
    let received = || {
        let stats = server.command(&["INFO", "stats"]);
        let count = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:")).expect("a count");
        count.trim().parse::<usize>().expect("a number")
    };
    let before = received();
    manager.add_node_pool(URL).await.expect("both live");
    assert_eq!((network.dialled(1), network.dialled(2), network.under_way()), (1, 1, 0));
    assert_eq!(received(), before + 1, "one stream");
    let status = status(&manager);
    assert_eq!((status.idle, status.connecting, server.client_count()), (1, 0, 1), "{status:?}");
}

/// Seen to bite: with a `Race` that waits for the stagger also after a failure.
async fn h16_a_refusal_lets_the_next_address_be_dialled_at_once(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let live = AddressBehaviour::After(Duration::ZERO, server.port());
    let mut answers = [AddressBehaviour::Refused; 9];
    answers[8] = live;
    let network = Directory::of(&answers, runtime.clone());
    let manager = one_pool(1).build(network.clone()).expect("valid settings");
    let begun_at = runtime.now();
    manager.add_node_pool(URL).await.expect("one address lives");
    let waited = runtime.now().saturating_duration_since(begun_at);
    assert!(waited < 1_500 * MS, "not eight times 250 ms: {waited:?}");
}

/// Seen to bite: with a `Trial` that notes nothing, and with a `note_failed` that leaves it among what worked (each dial
/// goes to the silent server, until the deadline).
async fn h16_an_address_that_accepts_and_says_nothing_goes_last(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let deaf = AddressBehaviour::After(Duration::ZERO, silent.local_addr().expect("it is bound").port());
    let live = AddressBehaviour::After(Duration::ZERO, server.port());
    let network = Directory::of(&[deaf, live], runtime.clone());
    let mut args = PoolArgs::default();
    args.connect_timeout = 200 * MS;
    let manager = one_pool(1).pool_args(args).build(network).expect("valid settings");
    manager.add_node_pool_timeout(URL, 5_000 * MS).await.expect("one of them answers");
}

/// Seen to bite: with the last failure alone in the error.
async fn h16_the_error_names_every_address_and_why_it_failed(runtime: impl Network + Clone) {
    let network = Directory::of(&[AddressBehaviour::Never, AddressBehaviour::Refused, AddressBehaviour::Never], runtime.clone());
    let mut args = PoolArgs::default();
    args.dial_timeout = 300 * MS;
    let manager = one_pool(1).pool_args(args).build(network).expect("valid settings");
    let error = manager.add_node_pool_timeout(URL, 1_500 * MS).await.expect_err("nobody accepts").to_string();
    let words = |last: u8, why: &str| format!("10.0.0.{last}:6379: {why}");
    let silent = "no answer within 300ms";
    for words in [String::from("cannot connect to several: "), words(1, silent), words(2, "connection refused"), words(3, silent)]
    {
        assert!(error.contains(&words), "{words}: {error}");
    }
}
